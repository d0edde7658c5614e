"""Progress of a long job: a line in its log every ten seconds at most, none for short work."""

import logging
from time import monotonic
from types import TracebackType

log = logging.getLogger(__name__)

LINE_SECONDS = 10.0  # before the first line, and between two


class Progress:
    """Context manager that counts towards `total`, and says how far it is and how long it will take.

    `extract plain: 512 of 3,000 images, 40 s left`; work that had such a line ends with one that
    tells how long it took.

    Args:
        label: what is being done, e.g. `decode flowers102`.
        total: the count that means done; None when it is unknown.
        unit: a noun, or `B` for bytes (shown as MB).
        initial: the count that earlier work left done.
        enabled: False says nothing.
    """

    def __init__(
        self, label: str, total: int | None, unit: str, initial: int = 0, enabled: bool = True
    ) -> None:
        self.label, self.total = label, total
        self.unit = "MB" if unit == "B" else unit
        self._scale = 1e-6 if unit == "B" else 1
        self.initial = self.done = initial
        self.enabled = enabled
        self._started = monotonic()
        self._next_line = self._started + LINE_SECONDS
        self._lines = 0

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._lines and error is None:
            self._say(f"{self._shown(self.done)} {self.unit} in {_duration(self._seconds())}")

    def advance(self, count: int) -> None:
        """Count `count` more as done."""
        self.done += count
        if not self.enabled or monotonic() < self._next_line or self.done == self.total:
            return
        self._next_line = monotonic() + LINE_SECONDS
        if not self.total:
            self._say(f"{self._shown(self.done)} {self.unit}")
            return
        left = (self.total - self.done) * self._seconds() / max(self.done - self.initial, 1)
        self._say(
            f"{self._shown(self.done)} of {self._shown(self.total)} {self.unit}, "
            f"{_duration(left)} left"
        )

    def _say(self, what: str) -> None:
        self._lines += 1
        log.info("%s: %s", self.label, what)

    def _seconds(self) -> float:
        return monotonic() - self._started

    def _shown(self, count: int) -> str:
        return f"{count * self._scale:,.0f}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
