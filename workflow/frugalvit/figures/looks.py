"""How figures that compare methods show each, and which of its operating points are what."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from frugalvit.figures.style import GREY


@dataclass(frozen=True)
class MethodLook:
    """Of one method; what it says of itself in its room (`methods.method.Method`)."""

    words: str  # 'early exits'
    label: str  # beside a mark
    marker: str
    color: str
    targets: tuple[str, ...] = ()  # settings that are aimed at, not part of a curve
    masked: tuple[str, ...] = ()  # settings that compute what another point leaves out


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
