"""Operating points of token pruning: a share of tokens each, without training."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn
from torchvision.models import VisionTransformer

from frugalvit.methods.token_pruning.pruning import TokenPruning
from frugalvit.methods.tokens.answers import Leaving
from frugalvit.operating_point import Point


def models(model: VisionTransformer, how: dict[str, Any]) -> dict[Point, Leaving]:
    """The model of each point, the one in use first.

    Args:
        model: of the run.
        how: `keep_tokens`, the shares, `prune_blocks`, where, and `select`, by what.
    """
    return {
        Point("keep", keep, chosen=place == 0): TokenPruning(
            model, keep, how["prune_blocks"], how["select"]
        )
        for place, keep in enumerate(how["keep_tokens"])
    }


def timed(
    model: VisionTransformer, points: Sequence[Point], how: dict[str, Any], folder: Path
) -> dict[str, nn.Module]:
    """See `methods.method.PointsPart`."""
    return {point.model: module for point, module in models(model, how).items()}
