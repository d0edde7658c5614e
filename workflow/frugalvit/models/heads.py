"""Heads on cached features."""

from torch import Tensor, nn
from torchvision.models import VisionTransformer


class HeadOnFeatures(nn.Module):
    """Final norm and head on raw class tokens `[batch, dim]`; shares its weights with a model."""

    def __init__(self, model: VisionTransformer):
        super().__init__()
        self.norm = model.encoder.ln
        self.heads = model.heads

    def forward(self, class_tokens: Tensor) -> Tensor:
        """Logits `[batch, classes]`, as the whole model gives them for the same images."""
        return self.heads(self.norm(class_tokens))
