"""One writer of one result at a time: locks that end with the process that holds them.

`flock` on a file, which the kernel lets go of however the process ends, `kill -9` included, and which
most network file systems hand on to other machines (NFS does, some others only when mounted so). Where
a file system has no locks nobody waits.
"""

import errno
import hashlib
import json
import logging
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from frugalvit.files import try_hold, writing

log = logging.getLogger(__name__)

POLL = 1.0  # seconds between two tries
REMIND = 600.0  # seconds between two messages while waiting


@contextmanager
def exclusive(path: str | Path, what: str, note: str = "") -> Iterator[str | None]:
    """Hold the lock file `path` while the block runs, after whoever holds it now.

    Args:
        path: created for the time of the block.
        what: is being made, for the message to who waits.
        note: shown to whoever waits for this block.

    Yields:
        The note of the process that was waited for; None where there was none.
    """
    file, waited = _acquire(Path(path), what)
    try:
        mine = {"pid": os.getpid(), "host": platform.node(), "note": note}
        with suppress(OSError):  # on a full disk nobody is told who holds it, but it is held
            os.write(file.fileno(), json.dumps(mine).encode())
        yield waited
    finally:
        # Before it is let go of: whoever opened it meanwhile sees that its file is no longer there.
        if _is_at(file, Path(path)):
            Path(path).unlink(missing_ok=True)
        file.close()


@contextmanager
def alone(job: Any, script: str) -> Iterator[bool]:
    """Keep two processes from making a Snakemake job's outputs at once.

    A Snakemake that is killed leaves its jobs running; its successor starts them again. The second
    process waits, and then goes on with what the first one left.

    Args:
        job: the script's `snakemake` object.
        script: the script's file.

    Yields:
        Whether the outputs are made: the process waited for was this same job, and finished it.
    """
    first = Path(job.output[0])
    first.parent.mkdir(parents=True, exist_ok=True)
    mine = _identity(job, script)
    with exclusive(first.with_name(f".{first.name}.lock"), str(first), mine) as waited:
        made = waited == mine and all(Path(path).exists() for path in job.output)
        made = made and not first.with_name("last.ckpt").exists()  # of a training that was cut off
        if made:
            log.info("made by the process waited for: nothing left to do")
        yield made


def _acquire(path: Path, what: str) -> tuple[IO, str | None]:
    waited, told = None, -REMIND
    while True:
        with writing(what):
            file = path.open("a+")
        try:
            held = try_hold(file)
        except OSError as error:
            if error.errno == errno.ESTALE:  # removed by its last holder, on another machine
                file.close()
                continue
            log.warning("%s: no locks on this file system (%s)", path, error.strerror)
            return file, None
        if held and _is_at(file, path):
            file.truncate(0)
            return file, waited
        if not held:
            holder = _read(file)
            waited = holder.get("note", "")
            if time.monotonic() - told >= REMIND:
                told = time.monotonic()
                log.info(
                    "waiting: process %s on %s already makes %s, perhaps left over by a Snakemake that "
                    "was killed; end it to go on at once",
                    holder.get("pid", "?"), holder.get("host", "?"), what,
                )  # fmt: skip
            time.sleep(POLL)
        file.close()


def _is_at(file: IO, path: Path) -> bool:
    """Whether the open file still is the one of that name: its last holder removes it."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ESTALE):
            return False
        raise


def _read(file: IO) -> dict[str, Any]:
    file.seek(0)
    try:
        return json.load(file)
    except (ValueError, OSError):  # not written yet, or a file system that lets nobody else read
        return {}


def _identity(job: Any, script: str) -> str:
    """Checksum of what decides a job's results: rule, script, parameters and the state of its inputs."""
    states = [Path(path).stat() for path in job.input]
    inputs = [[path, state.st_size, state.st_mtime_ns] for path, state in zip(job.input, states)]
    parts = [job.rule, Path(script).read_text(), dict(job.params.items()), list(job.params), inputs]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()
