"""How much memory a piece of a test takes, whatever the process took before."""

import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STATUS, PEAK_TO_NOW = Path("/proc/self/status"), "5"  # see proc(5), clear_refs


@contextmanager
def at_most(kilobytes: int) -> Iterator[None]:
    """Fails where more than so much memory is taken inside, at its peak.

    On Linux the process's peak is set back first: it would hide all that stays below an earlier one.
    """
    linux = sys.platform == "linux"
    if linux:
        Path("/proc/self/clear_refs").write_text(PEAK_TO_NOW)
    before = _kilobytes("VmRSS") if linux else _ever()
    try:
        yield
    finally:
        assert (_kilobytes("VmHWM") if linux else _ever()) - before < kilobytes


def _kilobytes(name: str) -> int:
    lines = (line.split() for line in STATUS.read_text().splitlines())
    return next(int(words[1]) for words in lines if words[0] == f"{name}:")


def _ever() -> int:
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest // 1024 if sys.platform == "darwin" else largest
