"""Which of several GPUs is a job's: Snakemake counts them on one machine, but names none."""

import logging
import os
import tempfile
from pathlib import Path
from typing import IO

from frugalvit.files import try_hold

log = logging.getLogger(__name__)

_held: list[IO] = []  # locks of this process; they end with it, however it ends
_claimed: dict[tuple[int, int], list[int]] = {}  # what this process was given


def claim(count: int, visible: int, folder: Path | None = None) -> list[int]:
    """Indices of `count` GPUs that no other job of this user holds, kept until the process ends.

    Where too few are free, because something else also runs here, taken ones are shared. In a job of
    SLURM all that are visible are this job's. A process that asks again gets the same.

    Args:
        count: GPUs wanted, at most `visible`.
        visible: GPUs that CUDA shows.
        folder: where the locks lie; the user's own one among temporary files where None.
    """
    if "SLURM_JOB_ID" in os.environ:
        return list(range(count))
    if (count, visible) not in _claimed:
        try:
            free = _lock(count, visible, folder)
        except OSError as error:
            log.warning("GPUs cannot be locked (%s): other jobs may use the same", error)
            free = list(range(count))
        if len(free) < count:
            log.warning("only %d of %d GPUs free: sharing with other jobs", len(free), visible)
        taken = [index for index in range(visible) if index not in free]
        _claimed[count, visible] = sorted(free + taken[: count - len(free)])
    return _claimed[count, visible]


def _lock(count: int, visible: int, folder: Path | None) -> list[int]:
    folder = folder or Path(tempfile.gettempdir()) / f"frugalvit-gpus-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    free: list[int] = []
    for index, name in enumerate(_names(visible)):
        if len(free) == count:
            break
        file = (folder / f"{name}.lock").open("w")
        if try_hold(file):
            _held.append(file)
            free.append(index)
        else:
            file.close()
    return free


def _names(visible: int) -> list[str]:
    """What tells each visible GPU from the machine's others, whatever CUDA numbers it here."""
    shown = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")]
    if len(shown) != visible or not all(shown):
        return [str(index) for index in range(visible)]
    return [name.replace("/", "_") for name in shown]
