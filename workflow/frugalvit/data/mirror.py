"""The mirror: a folder in which files are looked for by name before the network is asked."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def find_mirror(config: Mapping[str, Any]) -> str | None:
    """The mirror's folder: the config's, else the environment's, else None.

    No rule has it among its parameters: where a file was found changes nothing in it.
    """
    folder = config.get("mirror") or os.environ.get("FRUGALVIT_MIRROR")
    return str(Path(folder).expanduser()) if folder else None
