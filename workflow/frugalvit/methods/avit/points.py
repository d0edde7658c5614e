"""Operating points of A-ViT: packed, masked, and packed with other values of eps."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from frugalvit.methods.avit.model import AViT
from frugalvit.methods.avit.packing import Packed
from frugalvit.methods.tokens.answers import Leaving
from frugalvit.operating_point import Point


def models(model: AViT, how: dict[str, Any]) -> dict[Point, Leaving]:
    """The model of each point, the one in use first, the masked one second.

    Args:
        model: of the run, in evaluation mode.
        how: `eps` that it was trained with, and others, `inference_eps`.
    """
    eps = how["eps"]
    return {
        Point("packed", eps, chosen=True): Packed(_with_eps(model, eps)),
        # Computes halted tokens and only hides them.
        Point("masked", eps): _with_eps(model, eps),
        **{
            Point("eps", other): Packed(_with_eps(model, other))
            for other in sorted(how["inference_eps"])
        },
    }


def timed(
    model: AViT, points: Sequence[Point], how: dict[str, Any], folder: Path
) -> dict[str, nn.Module]:
    """See `methods.method.PointsPart`."""
    return {point.model: module for point, module in models(model, how).items()}


def _with_eps(model: AViT, eps: float) -> AViT:
    """The same weights, with tokens that halt when their scores have cumulated to 1 - `eps`."""
    return AViT(model.backbone, model.gamma, model.beta, eps).eval()
