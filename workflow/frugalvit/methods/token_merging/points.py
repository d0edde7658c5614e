"""Operating points of token merging: a share or number of tokens each, without training."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn
from torchvision.models import VisionTransformer

from frugalvit.methods.token_merging.merging import TokenMerging
from frugalvit.methods.tokens.answers import Leaving
from frugalvit.operating_point import Point


def models(model: VisionTransformer, how: dict[str, Any]) -> dict[Point, Leaving]:
    """The model of each point, the one in use first.

    Args:
        model: of the run.
        how: `r`, how many tokens merge.
    """
    return {
        Point("r", r, chosen=place == 0): TokenMerging(model, r) for place, r in enumerate(how["r"])
    }


def timed(
    model: VisionTransformer, points: Sequence[Point], how: dict[str, Any], folder: Path
) -> dict[str, nn.Module]:
    """See `methods.method.PointsPart`."""
    return {point.model: module for point, module in models(model, how).items()}
