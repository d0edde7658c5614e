"""A model's heads on cached features: what a phase trains while the backbone stays frozen."""

from torch import Tensor, nn
from torchvision.models import VisionTransformer

from frugalvit.models.exits import CLASS_TOKEN, EarlyExits, ExitsOnFeatures


class HeadOnFeatures(nn.Module):
    """Final norm and head on the last block's pooled tokens; shares its weights with a model."""

    def __init__(self, model: VisionTransformer):
        super().__init__()
        self.norm = model.encoder.ln
        self.heads = model.heads

    def forward(self, features: Tensor) -> Tensor:
        """Logits `[batch, classes]` from `[batch, blocks, 2, dim]`, as the whole model gives them."""
        return self.heads(self.norm(features[:, -1, CLASS_TOKEN]))


def on_features(model: VisionTransformer | EarlyExits) -> nn.Module:
    """The module that reads cached features in the model's place."""
    return ExitsOnFeatures(model) if isinstance(model, EarlyExits) else HeadOnFeatures(model)


def feature_blocks(model: VisionTransformer | EarlyExits) -> list[int]:
    """Blocks whose features `on_features(model)` reads, ascending, the last block last."""
    return model.exit_after if isinstance(model, EarlyExits) else [len(model.encoder.layers)]


def grid_blocks(model: VisionTransformer | EarlyExits) -> list[int]:
    """Blocks of which `on_features(model)` reads every token."""
    return model.grid_blocks if isinstance(model, EarlyExits) else []
