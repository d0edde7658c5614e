"""What can be refused as soon as there is a base."""

from typing import Any

from torchvision.models import VisionTransformer

from frugalvit.methods.token_merging.points import models


def check(model: VisionTransformer, settings: dict[str, Any], how: dict[str, Any]) -> None:
    """Make the model of each point; see `methods.method.CheckPart`."""
    models(model, how)
