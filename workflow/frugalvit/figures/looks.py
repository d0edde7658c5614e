"""How figures that compare methods show each, and which of its operating points are what."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from frugalvit.figures.style import GREY
from frugalvit.operating_point import Point


@dataclass(frozen=True)
class MethodLook:
    """How figures show one method, as it says in its room (`methods.method.Method`)."""

    words: str  # 'early exits'
    label: str  # beside a mark
    marker: str
    color: str
    targets: tuple[str, ...] = ()  # settings that are aimed at, not part of a curve
    masked: tuple[str, ...] = ()  # settings that compute what another point leaves out
    values: Mapping[str, str] = field(default_factory=dict)  # setting -> what its value is of

    def words_of(self, point: Point) -> str:
        """A point by what its value is of: 'eps 0.01' where tokens are packed, 'r 4', 'full'."""
        return replace(point, setting=self.values.get(point.setting, point.setting)).name


OTHER = MethodLook("another method", "other", "h", GREY)
Looks = Mapping[str, MethodLook]  # by method, in the order in which figures name them


def read_looks(given: Mapping[str, Mapping[str, Any]]) -> dict[str, MethodLook]:
    """From the options of a figure, see `figures.shown.looks`."""
    return {
        name: MethodLook(
            **{**one, "targets": tuple(one["targets"]), "masked": tuple(one["masked"])}
        )
        for name, one in given.items()
    }
