"""What labels with boxes hold besides the box that each image keeps: counted, listed, told."""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from frugalvit.errors import DataError

log = logging.getLogger(__name__)

_NAMED = 10  # faults in a message; the report has all
_SHOWN = 5  # examples in a table


@dataclass
class Annotations:
    """Counts over a whole export, before `dataset.classes` and `dataset.limit_per_class`."""

    boxes: int = 0  # of the images whose labels can be used
    beyond_largest: int = 0  # boxes of images that have a larger one, left out
    clipped: int = 0  # boxes that reached a little past an edge of their image
    crowds: int = 0  # boxes around crowds, left out and not among `boxes`
    unlabelled: list[str] = field(default_factory=list)  # images without a label, left out

    def record(self) -> dict[str, Any]:
        """For a JSON report."""
        return asdict(self)


def told(record: dict[str, Any]) -> str:
    """What a record says, in words."""
    crowds = f", {record['crowds']} around crowds besides" if record["crowds"] else ""
    return (
        f"{record['boxes']} boxes: {record['beyond_largest']} beyond the largest of their image, "
        f"{record['clipped']} clipped{crowds}; images without a label: {len(record['unlabelled'])}"
    )


def rows(record: dict[str, Any]) -> list[tuple[str, str, bool, int, str]]:
    """Of `checks.csv`: `check, policy, passed, found, what`."""
    unlabelled = record["unlabelled"]
    found = [
        ("images_without_a_label", "left out", len(unlabelled), ", ".join(unlabelled[:_SHOWN])),
        ("boxes_beyond_the_largest", "left out", record["beyond_largest"], ""),
        ("boxes_around_crowds", "left out", record["crowds"], ""),
        ("boxes_clipped", "clipped", record["clipped"], ""),
    ]
    return [(check, policy, not count, count, what) for check, policy, count, what in found]


def judge(faults: Sequence[dict[str, str]], said: str, left: int, skip: bool) -> None:
    """Refuse what has faults, or warn of what is left out.

    Args:
        faults: each `file` and `error`.
        said: how many of what, as the message begins.
        left: how many images have none.
        skip: whether what has faults is left out (`dataset.skip_bad_images`).

    Raises:
        DataError: one line with the first faults, unless they are left out; or nothing is left.
    """
    if not faults:
        return
    named = "; ".join(f"{bad['file']}: {bad['error']}" for bad in faults[:_NAMED])
    more = len(faults) - _NAMED
    named += f"; and {more} more" if more > 0 else ""
    if not skip:
        raise DataError(f"{said} ({named}); mend them or set dataset.skip_bad_images: true")
    if not left:
        raise DataError(f"{said} ({named}); none is left")
    log.warning("%s and are left out: %s", said, named)
