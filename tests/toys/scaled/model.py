"""The plain network, its logits scaled by a number that trains."""

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import VisionTransformer

from frugalvit.models.heads import Adapted, HeadOnFeatures


class Scale(nn.Module):
    """One number."""

    def __init__(self, first: float):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(first))

    def forward(self, logits: Tensor) -> Tensor:
        """Scaled logits."""
        return self.factor * logits


class Scaled(Adapted):
    """A backbone whose logits are scaled."""

    def __init__(self, backbone: VisionTransformer, first: float = 1.0):
        super().__init__()
        self.backbone = backbone
        self.scale = Scale(first)

    def on_features(self) -> nn.Module:
        """The head and the scale, which train on cached features too."""
        return nn.Sequential(HeadOnFeatures(self.backbone), self.scale)

    def forward(self, images: Tensor) -> Tensor:
        """Logits `[batch, classes]`."""
        return self.scale(self.backbone(images))


def adapt(backbone: VisionTransformer, settings: dict[str, Any]) -> Scaled:
    """Around a backbone."""
    return Scaled(backbone, settings["first_scale"])


def describe(model: Scaled) -> dict[str, Any]:
    """Nothing: the weights hold the scale."""
    return {}


def restore(backbone: VisionTransformer, card: dict[str, Any]) -> Scaled:
    """The model of a card."""
    return Scaled(backbone)
