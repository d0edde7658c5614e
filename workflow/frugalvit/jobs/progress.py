"""Progress of a long job: a line in its log every ten seconds at most, none for short work."""

import io
import logging
from types import TracebackType
from typing import Any

from tqdm import tqdm

log = logging.getLogger(__name__)

LINE_SECONDS = 10.0  # before the first line, and between two


class _Lines(tqdm):
    """tqdm's meter; where it would draw a bar, a line goes to the log."""

    monitor_interval = 0  # no thread that watches over it
    lines = 0  # said so far

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        """Say how far it is; nothing at the end, where tqdm would clear its bar."""
        if msg is not None or self.n == self.total:
            return
        self.lines += 1
        if not self.total:
            log.info("%s: %s", self.desc, self.counted(self.n))
            return
        elapsed = self.format_dict["elapsed"]
        rate = (self.n - self.initial) / elapsed if elapsed else 0
        left = self.format_interval((self.total - self.n) / rate) if rate else "?"
        log.info(
            "%s: %s of %s, %s left", self.desc, self.shown(self.n), self.counted(self.total), left
        )

    def shown(self, count: int) -> str:
        """A count of images as it is, of bytes in MB."""
        return f"{count * 1e-6 if self.unit == 'B' else count:,.0f}"

    def counted(self, count: int) -> str:
        """A count with its unit."""
        return f"{self.shown(count)} {'MB' if self.unit == 'B' else self.unit}"


class Progress:
    """Context manager that counts towards `total`, and says how far it is and how long it will take.

    `extract plain: 512 of 3,000 images, 00:40 left`; work that had such a line ends with one that
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
        timing: dict[str, Any] = {"mininterval": LINE_SECONDS, "delay": LINE_SECONDS}
        self._meter = _Lines(
            total=total, initial=initial, unit=unit, miniters=1, leave=False, file=io.StringIO(),
            disable=not enabled, **timing,
        )  # fmt: skip
        self._meter.desc = label

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        meter = self._meter
        if meter.lines and error is None:
            took = meter.format_interval(meter.format_dict["elapsed"])
            log.info("%s: %s in %s", meter.desc, meter.counted(meter.n), took)
        meter.close()

    def advance(self, count: int) -> None:
        """Count `count` more as done."""
        self._meter.update(count)
