"""Which of several GPUs is a job's: Snakemake counts them on one machine, but names none."""

import logging
import os
import tempfile
from pathlib import Path
from typing import IO

from frugalvit.lock import try_hold

log = logging.getLogger(__name__)

_held: list[IO] = []  # locks of this process; they end with it, however it ends


def claim(count: int, visible: int, folder: Path | None = None) -> list[int]:
    """Indices of `count` GPUs that no other job of this user holds, kept until the process ends.

    Where no more are visible than are wanted, all are this job's: a cluster's scheduler shows a job
    nothing else. Where too few are free, because something else also runs here, taken ones are shared.

    Args:
        count: GPUs wanted, at most `visible`.
        visible: GPUs that CUDA shows.
        folder: where the locks lie; the user's own one among temporary files where None.
    """
    if visible <= count:
        return list(range(visible))
    folder = folder or Path(tempfile.gettempdir()) / f"frugalvit-gpus-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    free = []
    for index, name in enumerate(_names(visible)):
        if len(free) == count:
            break
        file = (folder / f"{name}.lock").open("w")
        if try_hold(file):
            _held.append(file)
            free.append(index)
        else:
            file.close()
    taken = [index for index in range(visible) if index not in free]
    if len(free) < count:
        log.warning("only %d of %d GPUs free: sharing with other jobs", len(free), visible)
    return sorted(free + taken[: count - len(free)])


def _names(visible: int) -> list[str]:
    """What tells each visible GPU from the machine's others, whatever CUDA numbers it here."""
    shown = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")]
    if len(shown) != visible or not all(shown):
        return [str(index) for index in range(visible)]
    return [name.replace("/", "_") for name in shown]
