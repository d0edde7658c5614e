"""The mirror: a folder in which files are looked for by name before the network is asked."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from frugalvit.errors import ConfigError


def find_mirror(config: Mapping[str, Any]) -> str | None:
    """The mirror's folder: the config's, else the environment's, else None.

    No rule has it among its parameters: where a file was found changes nothing in it.
    """
    folder = config.get("mirror") or os.environ.get("FRUGALVIT_MIRROR")
    return at_home(folder) if folder else None


def at_home(path: str) -> str:
    """The path with the home folder for `~`; as it is where no user has that name."""
    try:
        return str(Path(path).expanduser())
    except RuntimeError:
        return path


def find_file(path: str, mirror: str | None, key: str) -> Path:
    """The file at `path`, or of that name in the mirror.

    Raises:
        ConfigError: when neither exists.
    """
    places = [Path(path), *([Path(mirror) / Path(path).name] if mirror else [])]
    for place in places:
        if place.is_file():
            return place
    looked = " nor in the mirror" if mirror else " (and no mirror is set)"
    raise ConfigError(f"{key}: no file '{path}'{looked}; correct the path or fetch the file")
