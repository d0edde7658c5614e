"""Every Python process of a chaos run imports this: jobs that are soon over write slowly.

A kill at a random moment would hardly ever hit them at work. What a job tells the disk waits, and a file
in `FRUGALVIT_CHAOS`, called like the process's number, says that it has begun to write.
"""

import os
import sys
import time
from pathlib import Path

SLOW = ("download_dataset", "prepare_dataset", "extract_features", "plot")  # scripts
PAUSE = 1.0  # seconds before what is written is sent to the disk, and before it gets its name


def _slowed(function):
    def slow(*arguments, **options):
        Path(os.environ["FRUGALVIT_CHAOS"], str(os.getpid())).touch()
        time.sleep(PAUSE)
        return function(*arguments, **options)

    return slow


# A script's own process, not the shell that starts it.
_names = [Path(part).name for part in sys.orig_argv if ".snakemake/scripts/" in part]
if "FRUGALVIT_CHAOS" in os.environ and any(
    name.endswith(f".{script}.py") for name in _names for script in SLOW
):
    os.fsync, os.replace = _slowed(os.fsync), _slowed(os.replace)
