"""Parameters of a rule that rerun nothing where they change."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, repr=False)
class Untracked:
    """A value that Snakemake hands to the job and does not compare with the one of its last run.

    It compares values of Python's own types alone. For what a job checks before others start: a job
    that waited for a check would run anew with it, and `ancient` would hide that job's own changes.
    """

    value: Any

    def __repr__(self) -> str:
        return "(not compared)"
