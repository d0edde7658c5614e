"""What every workflow script does around its work: a log, and errors that fit one line."""

import logging
import os
import re
import shlex
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from frugalvit.checksums import check_tables, note_tables
from frugalvit.errors import (
    FrugalError,
    StorageError,
    TrainingError,
    memory_problem,
    storage_problem,
)
from frugalvit.files import real_path
from frugalvit.jobs.lock import alone
from frugalvit.jobs.messages import ERROR

# Threads of OpenMP that wait for each other spin, which beside other jobs takes the very core that the
# thread waited for needs. Here they soon sleep: at once would cost a small model on two idle cores four
# times its time, after 1,000 turns it costs 8 % of that (tests/benchmarks/spinning_threads.py). Read
# once, when a process loads OpenMP, which comes with torch.
WAITING = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "1000"}


def run_job(main: Callable[[Any], None], snakemake: Any) -> None:
    """Run `main(snakemake)`, logging to the rule's log and to standard error.

    Tables that it reads are compared with the checksums that the jobs which wrote them have noted;
    those that it writes are noted. A `FrugalError`, a disk that is full or closed and memory that runs
    out become one line and exit code 1. Any other exception is a bug of ours: its traceback goes to
    the log as well as to standard error.
    """
    start_log(snakemake.log[0] if snakemake.log else None)
    try:
        with alone(snakemake, main.__globals__["__file__"]) as made:
            if not made:
                if snakemake.log:
                    with suppress(OSError):
                        os.truncate(snakemake.log[0], 0)  # what an earlier try, now over, has said
                check_tables(snakemake.input)
                main(snakemake)
                note_tables(snakemake.output)
    except Exception as error:
        if told := mistake(error):
            logging.error("%s%s", ERROR, told)
        else:
            logging.exception("%s failed", snakemake.rule)
        sys.exit(1)


def mistake(error: Exception) -> FrugalError | None:
    """What is the user's to mend, in one line: as it was raised, or what the machine refused.

    None for a bug of ours.
    """
    if isinstance(error, FrugalError):
        return error
    if problem := storage_problem(error):
        file = getattr(error, "filename", None)
        named = f"{real_path(file)}: " if file else ""
        return StorageError(f"{named}{problem} and run again")
    if problem := memory_problem(error):
        return TrainingError(
            f"out of memory ({problem}); lower evaluation.batch_size or training.batch_size, or let "
            "fewer jobs run at once"
        )
    if str(error).startswith("DataLoader worker (pid"):
        signal = re.search(r"killed by signal: (\w+)", str(error))
        return TrainingError(
            f"a process that reads images was killed ({signal[1] if signal else 'unexpectedly'}), most "
            "often for want of memory: lower compute.loader_workers, or free memory and run again"
        )
    return None


def start_log(file: str | None) -> None:
    """Log to standard error and to the end of `file`, where several processes may write."""
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if file:
        with suppress(OSError):  # what a log cannot hold stands on the terminal
            Path(file).parent.mkdir(parents=True, exist_ok=True)
            handlers.append(logging.FileHandler(file))
    logging.raiseExceptions = False  # nor does a full disk add tracebacks to each line
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=handlers, force=True)
    logging.captureWarnings(True)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)


def prepare_jobs() -> None:
    """Let the scripts' own processes, in conda environments and on a cluster too, run as they should.

    They find this library, their threads sleep while they wait, and their interpreter may lie in a
    folder whose name has a space. Every Snakemake process that reads the workflow calls this, also
    the one inside a cluster job.
    """
    folder = str(Path(__file__).resolve().parents[2])
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if folder not in paths:
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [folder, *paths]))
    for name, value in WAITING.items():
        os.environ.setdefault(name, value)
    # Snakemake puts it into a shell's command as it is. Once quoted it is no file's name any more.
    if Path(sys.executable).exists():
        sys.executable = shlex.quote(sys.executable)
