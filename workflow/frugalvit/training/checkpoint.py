"""Resume: the state after each epoch, stamped with what it belongs to."""

import hashlib
import json
import logging
import zipfile
from pathlib import Path
from typing import Any

import torch

from frugalvit.files import atomic_path

log = logging.getLogger(__name__)


def fingerprint(**parts: Any) -> str:
    """16 hexadecimal digits over JSON-able values: settings, data, base weights, code."""
    text = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Checkpoint:
    """`last.ckpt` beside a run's outputs, undeclared to Snakemake so that it outlives a failed job."""

    def __init__(self, path: str | Path, stamp: str):
        self.path = Path(path)
        self.stamp = stamp

    def save(self, state: dict[str, Any]) -> None:
        """Replace the checkpoint: a kill at any moment leaves the old one or the new one."""
        # Through a file of Python's, whose error tells why nothing can be written.
        with atomic_path(self.path) as temporary, temporary.open("wb") as file:
            torch.save({"stamp": self.stamp, **state}, file)

    def load(self) -> dict[str, Any] | None:
        """The saved state, or None; one that is broken or of other settings is discarded."""
        if not self.path.exists():
            return None
        try:
            # torch does not compare the sums that it saves: it would load damaged numbers.
            with zipfile.ZipFile(self.path) as archive:
                if archive.testzip():
                    raise zipfile.BadZipFile
            state = torch.load(self.path, map_location="cpu", weights_only=True)
            stamp = state["stamp"]
        except Exception:  # a broken pickle can raise anything
            log.info("%s is not readable: discarded, training starts anew", self.path)
            self.remove()
            return None
        if stamp != self.stamp:
            log.info("%s belongs to other settings, data or code: discarded", self.path)
            self.remove()
            return None
        return state

    def remove(self) -> None:
        """Forget the checkpoint once the run is complete."""
        self.path.unlink(missing_ok=True)
