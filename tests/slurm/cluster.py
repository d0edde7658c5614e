"""A real SLURM of one node for tests, and Snakemake through the shipped profile on it."""

import contextlib
import fcntl
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.workflows import STUDY, environment

HERE = Path(__file__).parent
PROFILE = ("--workflow-profile", "workflow/profiles/slurm", "--configfile", STUDY)
SHIPPED = (sys.executable, "-m", "snakemake")
# The test cluster has no accounting database, but for the test that wants one.
FAST = (
    sys.executable, str(HERE / "fast_snakemake.py"), "--slurm-status-command", "squeue",
)  # fmt: skip
PATIENCE = 600  # seconds; a machine that runs other tests too is slow


def state_folder() -> Path:
    """One folder for every test session, so that a killed session's cluster is found and replaced."""
    folder = Path(tempfile.gettempdir()) / "frugalvit-slurm"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o755)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        pytest.skip(f"no SLURM here: {folder} is another user's")
    return folder


@contextlib.contextmanager
def only_session() -> Iterator[None]:
    """One test session at a time: a machine holds one cluster of ours. It is stopped at the end."""
    with (state_folder() / "session").open("w") as file:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    pytest.fail("another test session uses this machine's SLURM")
                time.sleep(1)
        try:
            yield
        finally:
            _script("down.sh")


def start(gpus: int = 1, cpus: int = 3, database: bool = False) -> None:
    """Start a cluster, in place of one of another kind; skip the test where none can run."""
    done = _script("up.sh", str(gpus), str(cpus), *(["database"] if database else []))
    if done.returncode == 2:
        pytest.skip(f"no SLURM here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr


def _script(name: str, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        ["bash", str(HERE / name), str(state_folder()), *arguments],
        capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip


@dataclass(frozen=True)
class Job:
    """What `scontrol show job` tells of a job; times in seconds since the epoch."""

    number: int
    name: str  # rule_train_run_wildcards_unfreeze_last-s0
    state: str
    submitted: float
    started: float
    ended: float
    gpus: str
    partition: str
    minutes: int
    memory: str
    alone: bool


def jobs() -> list[Job]:
    """All jobs in order; an hour after their end the test cluster forgets them."""
    told = _ask("scontrol", "-o", "show", "job")
    found = [_job(line) for line in told.splitlines() if line.startswith("JobId=")]
    return sorted(found, key=lambda job: job.number)


def _job(line: str) -> Job:
    fields = dict(re.findall(r"(\S+?)=(\S*)", line))
    hours, minutes, _ = fields["TimeLimit"].split(":")
    return Job(
        int(fields["JobId"]),
        fields["Comment"].removeprefix("rule_"),
        fields["JobState"],
        *(_seconds(fields[key]) for key in ("SubmitTime", "StartTime", "EndTime")),
        gpus=fields.get("TresPerJob", ""),
        partition=fields["Partition"],
        minutes=int(hours) * 60 + int(minutes),
        memory=fields["MinMemoryNode"],
        alone=fields["OverSubscribe"] == "NO",
    )


def _seconds(told: str) -> float:
    if told == "Unknown":
        return float("inf")
    return time.mktime(time.strptime(told, "%Y-%m-%dT%H:%M:%S"))


def queue() -> list[str]:
    """Numbers of jobs that wait or run."""
    return _ask("squeue", "-h", "-o", "%A").split()


def end_soon(job: Job) -> None:
    """Let a job's time be up. SLURM looks every 30 seconds, and knows no limit below a minute."""
    _ask("scontrol", "update", f"JobId={job.number}", "EndTime=now+1")


def _ask(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


class Running:
    """Snakemake on the cluster, through the shipped profile."""

    def __init__(self, folder: Path, *arguments: str, program: tuple = FAST):
        self.words = folder / "snakemake.log"  # no pipe, which would block once it is full
        self.before = max((job.number for job in jobs()), default=0)
        with self.words.open("w") as output:
            self.process = subprocess.Popen(
                [program[0], *program[1:], *PROFILE, *arguments],
                cwd=folder, env=environment(folder), start_new_session=True,
                stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *error) -> None:
        """Whatever is left of it and of its jobs ends."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        if left := queue():
            _ask("scancel", *left)

    def finish(self, code: int = 0) -> str:
        """What it said until its end; the test fails with it where it ended with another code."""
        self.process.wait(timeout=PATIENCE)
        words = self.words.read_text()
        assert self.process.returncode == code, words[-5000:]
        return words

    def jobs(self, rule: str = "") -> list[Job]:
        """Its own jobs, of one rule where one is named, once none of them is about to end."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            mine = [job for job in jobs() if job.number > self.before and job.name.startswith(rule)]
            if all(job.state != "COMPLETING" for job in mine):
                return mine
            time.sleep(0.2)
        raise AssertionError(f"jobs do not end: {mine}")

    def wait_for(self, found: Callable[[], Any]) -> Any:
        """What `found` gives once it gives something."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if answer := found():
                return answer
            assert self.process.poll() is None, f"ended early: {self.words.read_text()[-5000:]}"
            time.sleep(0.1)
        raise AssertionError(f"not seen in {PATIENCE} s: {self.words.read_text()[-5000:]}")


def process_of(log: Path) -> int | None:
    """The process that writes a rule's log."""
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if any(link.readlink() == log for link in (entry / "fd").iterdir()):
                return int(entry.name)
    return None
