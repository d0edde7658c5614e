"""Kills that are aimed: at jobs which are soon over, while they write (see `slow/sitecustomize.py`)."""

import os
import random
import time
from pathlib import Path

import psutil

from tests.chaos.killing import KINDS, script_of
from tests.chaos.slow.sitecustomize import PAUSE, SLOW

SHARE = 0.25  # of all kills
Aim = tuple[str, str, float]  # script, kind of the kill, seconds after the script began to write


def draw(count: int, seed: int) -> list[Aim]:
    """Aims, every script and kind as often as any other."""
    rng = random.Random(f"{seed} aims")
    kinds = list(KINDS)
    aims = [
        (SLOW[n % len(SLOW)], kinds[n % len(kinds)], rng.uniform(0, PAUSE)) for n in range(count)
    ]
    rng.shuffle(aims)
    return aims


def environment(folder: Path) -> dict[str, str]:
    """What makes the jobs of a call write slowly, and say so in the folder."""
    (folder / "writing").mkdir(parents=True, exist_ok=True)
    slow = str(Path(__file__).with_name("slow"))
    paths = [slow, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {
        "FRUGALVIT_CHAOS": str((folder / "writing").resolve()),
        "PYTHONPATH": os.pathsep.join(paths),
    }


def due(
    aims: list[Aim], jobs: list[psutil.Process], folder: Path
) -> tuple[Aim, psutil.Process] | None:
    """An aim that a running job now meets, and the job."""
    for job in jobs:
        mark, script = folder / "writing" / str(job.pid), script_of(job)
        for aim in aims:
            if aim[0] == script and mark.exists():
                began = mark.stat().st_ctime
                if began >= _started(job) and time.time() - began >= aim[2]:
                    return aim, job
    return None


def _started(job: psutil.Process) -> float:
    """When a process began; a mark of an earlier one of the same number is older."""
    try:
        return job.create_time()
    except psutil.NoSuchProcess:
        return float("inf")
