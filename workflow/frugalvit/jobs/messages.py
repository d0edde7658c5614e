"""What a run says on the terminal: what takes long, and of each failed job one line."""

import logging
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ERROR = "error: "  # begins the line of a mistake that is the user's to mend


def what_takes_long(rules: Sequence[str], short: Collection[str]) -> str:
    """One line on a plan, whose copies and figures Snakemake counts like trainings.

    Args:
        rules: name of the rule of each job that will run.
        short: rules whose jobs take seconds.
    """
    counts = Counter(rule for rule in rules if rule not in short)
    named = ", ".join(f"{count} {rule}" for rule, count in counts.most_common())
    rest = len(rules) - counts.total()
    if not named:
        return f"{rest} jobs, of seconds each (downloads apart)"
    others = f"; the other {rest} take seconds each (downloads apart)" if rest else ""
    return f"Of {len(rules)} jobs these may take long: {named}{others}"


class Failed(NamedTuple):
    """A job that failed."""

    rule: str
    logs: Sequence[str]

    def text(self) -> str:
        """All that its logs say."""
        files = (Path(file) for file in self.logs)
        return "\n".join(file.read_text(errors="replace") for file in files if file.is_file())

    @property
    def mistake(self) -> str | None:
        """The line of a `FrugalError`, None where something else ended the job."""
        told = [line for line in self.text().splitlines() if line.startswith(ERROR)]
        return told[-1].removeprefix(ERROR) if told else None

    def reason(self) -> str:
        """Why it failed, in one line."""
        if self.mistake:
            return self.mistake
        lines = [line.strip() for line in self.text().splitlines() if line.strip()]
        if not lines:
            return "it ended before its first word; what stands above may tell why"
        if any(line.startswith("Traceback (most recent call last)") for line in lines):
            return f"{lines[-1]} (an error of the program, not of yours; the log has the traceback)"
        return f"it was ended from outside, for want of memory or time perhaps, after: {lines[-1]}"


class Failures(logging.Filter):
    """Learns from Snakemake's records which jobs failed, and leaves out how it wraps their errors.

    A job has told its mistake in one line. Snakemake adds the shell's command, the exit status and
    the job's files, 30 lines of them; its own log file keeps these.
    """

    def __init__(self) -> None:
        super().__init__()
        self._failed: dict[int, Failed] = {}

    def watch(self) -> None:
        """Filter what Snakemake writes to the terminal."""
        for handler in logging.getLogger("snakemake.logging").handlers:
            if handler.name == "DefaultStreamHandler":
                handler.filters.insert(
                    0, self
                )  # before `--quiet`, which would keep records from it

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is shown."""
        event = getattr(record, "event", None)  # a word of Snakemake's interface for loggers
        if event == "job_finished":
            self._failed.pop(_of(record, "job_id"), None)  # by another try
        elif event == "job_error":
            failed = Failed(_of(record, "rule_name"), _of(record, "log") or [])
            self._failed[_of(record, "jobid")] = failed
            return not failed.mistake
        words = record.getMessage()
        if event == "error" and _of(record, "exception") == "RuleException":
            return not words.rstrip().endswith("returned non-zero exit status 1.")
        return not (self._failed and any(part in words for part in FINAL))

    def summary(self) -> str:
        """Each failed job's error, its log and what to do; empty where none failed."""
        if not self._failed:
            return ""
        lines = [""]
        for failed in self._failed.values():
            lines.append(f"{failed.rule} failed: {failed.reason()}")
            lines += [f"  log: {file}" for file in failed.logs]
        lines.append("Mend this and give the same command again: it goes on from what is finished.")
        return "\n".join(lines)


# Of Snakemake's last words, what our summary says better.
FINAL = (
    "Exiting because a job execution failed.",
    "At least one job did not complete successfully.",
)


def _of(record: logging.LogRecord, name: str) -> Any:
    return getattr(record, name, None)
