"""Numbers of a study: finite, of 64 bits at most, and taken as numbers where YAML reads text."""

import math
import re
from collections.abc import Collection
from typing import Any

from frugalvit.errors import shown

LARGEST = 2**63 - 1  # of a whole number: seeds and counts lie in 64 bits
_WHOLE = re.compile(r"[-+]?[0-9]{1,19}")
_NUMBER = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[-+]?[0-9]+)?", re.IGNORECASE)


def is_whole(value: Any) -> bool:
    """Whether it is a whole number. JSON takes 2.0 for one, Python's range does not."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST


def is_number(value: Any) -> bool:
    """Whether it is a number; infinity and NaN are none."""
    return is_whole(value) or (isinstance(value, float) and math.isfinite(value))


def from_text(value: Any, types: Collection[str]) -> Any:
    """The number that a text plainly is, where a schema of these types wants one; else `value`.

    YAML 1.1 takes `1e-5` and `1E5` for text.
    """
    wanted = {"number", "integer"} & set(types)
    if not isinstance(value, str) or not wanted or not _NUMBER.fullmatch(value):
        return value
    number: float = int(value) if _WHOLE.fullmatch(value) else float(value)
    if "number" not in wanted and is_number(number) and number == int(number):
        number = int(number)
    return number if is_number(number) else value


def problem(value: Any) -> str | None:
    """What is wrong with a value that should be a number, and the remedy; None where it is none."""
    if isinstance(value, int) and not isinstance(value, bool) and not is_whole(value):
        return f"{shown(value)} has more than 64 bits; at most {LARGEST}"
    try:
        number = float(value) if isinstance(value, str) else value
    except ValueError:
        return None
    if isinstance(number, float) and not math.isfinite(number):
        return f"{shown(value)} is not a finite number; write one such as 0.001 or 1.0e-05"
    return None
