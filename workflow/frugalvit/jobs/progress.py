"""Progress of a long job: a bar on a terminal, a plain line every ten per cent in a log."""

import logging
import sys
from types import TracebackType

from tqdm import tqdm

log = logging.getLogger(__name__)


class Progress:
    """Context manager that counts towards `total` (None when it is unknown).

    Args:
        label: what is being done, e.g. `decode flowers102`.
        total: the count that means done.
        unit: `B` for bytes (shown with binary prefixes) or a noun.
        initial: the count that earlier work left done.
        enabled: False shows nothing.
    """

    def __init__(
        self, label: str, total: int | None, unit: str, initial: int = 0, enabled: bool = True
    ) -> None:
        self.label, self.total, self.unit = label, total, unit
        self.done = initial
        self._terminal = enabled and sys.stderr.isatty()
        self._plain = enabled and not self._terminal
        self._next_line = self._tenth() + 1
        self._bar = tqdm(
            desc=label,
            total=total,
            initial=initial,
            unit=unit,
            unit_scale=unit == "B",
            unit_divisor=1024,
            disable=not self._terminal,
            leave=False,
        )

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()

    def advance(self, count: int) -> None:
        """Count `count` more as done."""
        self.done += count
        self._bar.update(count)
        if self._plain and self.total and self._tenth() >= self._next_line:
            self._next_line = self._tenth() + 1
            log.info("%s: %d of %d %s", self.label, self.done, self.total, self.unit)

    def _tenth(self) -> int:
        return 10 * self.done // self.total if self.total else 0
