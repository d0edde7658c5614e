"""The models behind operating points of early exits."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from frugalvit.files import read_json
from frugalvit.methods.early_exit.exiting import Exiting
from frugalvit.methods.early_exit.model import EarlyExits
from frugalvit.operating_point import FULL, Point


def timed(
    model: EarlyExits, points: Sequence[Point], how: dict[str, Any], folder: Path
) -> dict[str, nn.Module]:
    """One model a threshold; see `methods.method.PointsPart`."""
    temperatures = read_json(folder / "calibration.json")["temperatures"]
    models: dict[str, nn.Module] = {}
    for point in points:
        if point.model != FULL:
            models[point.model] = Exiting(model, *point.rule, temperatures)
    return models
