"""One call of Snakemake, and the ways to kill it; nothing but what it started is ever touched."""

import os
import random
import signal
import subprocess
from pathlib import Path
from typing import Self

import psutil

from tests.workflows import command, environment

KINDS = {
    "job": "one job's process",
    "snakemake": "Snakemake alone, its jobs left alive",
    "group": "Snakemake and its jobs",
}


class Call:
    """Snakemake in a session of its own; ending the block ends it, and jobs that outlived it."""

    def __init__(
        self, folder: Path, arguments: list[str], log: Path, more: dict[str, str] | None = None
    ) -> None:
        self.orphans: list[psutil.Process] = []
        self._log = log.open("a")
        self._log.write(f"\n$ snakemake {' '.join(arguments)}\n")
        self._log.flush()
        self.process = subprocess.Popen(
            command(*arguments),
            cwd=folder, stdout=self._log, stderr=self._log, env=environment(folder) | (more or {}),
            start_new_session=True,
        )  # fmt: skip
        self._main = psutil.Process(self.process.pid)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.kill_group()
        self._log.close()

    @property
    def identity(self) -> list[float]:
        """What tells this process from a later one of the same number."""
        return [self.process.pid, self._main.create_time()]

    def jobs(self) -> list[psutil.Process]:
        """The processes that run a rule's script."""
        return [each for each in self._started() if _runs_script(each)]

    def kill(self, kind: str, rng: random.Random, aimed: psutil.Process | None = None) -> str:
        """Kill as `KINDS` says, if that can be done now; of a kill that is aimed, that job.

        Returns:
            What was killed, or an empty string: there is no job to kill.
        """
        jobs = [aimed] if aimed else self.jobs()
        running = [script_of(each) for each in jobs]
        if kind == "job":
            if not jobs:
                return ""
            chosen = rng.randrange(len(jobs))
            jobs[chosen].kill()
            return running[chosen]
        if kind == "snakemake":
            self.orphans = self._started()
            self.process.kill()
            self.process.wait()
        else:
            self.kill_group()
        return ", ".join(running) or "no job running"

    def kill_group(self) -> None:
        """Kill the session's processes, of which Snakemake is the first."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def _started(self) -> list[psutil.Process]:
        try:
            return self._main.children(recursive=True)
        except psutil.NoSuchProcess:
            return []


def end_earlier(identity: list[float] | None) -> None:
    """Kill a call that an earlier, killed `tests.chaos` left, if it still is that process."""
    if identity and psutil.pid_exists(int(identity[0])):
        earlier = psutil.Process(int(identity[0]))
        if earlier.create_time() == identity[1]:
            os.killpg(earlier.pid, signal.SIGKILL)


def end_orphans(orphans: list[psutil.Process], seconds: float) -> int:
    """Wait for jobs that outlived their Snakemake, then end them; returns how many had to be ended."""
    _, alive = psutil.wait_procs(orphans, timeout=seconds)
    for each in alive:
        each.kill()
    return len(alive)


def script_of(process: psutil.Process) -> str:
    """`train_run` of a process that runs `….train_run.py`."""
    try:
        script = next(part for part in process.cmdline() if ".snakemake/scripts/" in part)
    except (psutil.NoSuchProcess, StopIteration):
        return "a job just ended"
    return Path(script).stem.split(".", 1)[-1]


def _runs_script(process: psutil.Process) -> bool:
    try:
        parts = process.cmdline()
    except psutil.NoSuchProcess:
        return False
    # A shell around it has the whole command as one argument.
    return any(part.endswith(".py") and ".snakemake/scripts/" in part for part in parts[1:]) and (
        "python" in Path(parts[0]).name
    )
