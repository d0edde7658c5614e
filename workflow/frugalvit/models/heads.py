"""A model's heads on cached features: what a phase trains while the backbone stays frozen."""

from torch import Tensor, nn
from torchvision.models import VisionTransformer

from frugalvit.methods.avit.model import AViT
from frugalvit.methods.early_exit.model import EarlyExits, ExitsOnFeatures
from frugalvit.models.backbone import CLASS_TOKEN, backbone_of


class HeadOnFeatures(nn.Module):
    """Final norm and head on the last block's pooled tokens; shares its weights with a model."""

    def __init__(self, model: VisionTransformer):
        super().__init__()
        self.norm = model.encoder.ln
        self.heads = model.heads

    def forward(self, features: Tensor) -> Tensor:
        """Logits `[batch, classes]` from `[batch, blocks, 2, dim]`, as the whole model gives them."""
        return self.heads(self.norm(features[:, -1, CLASS_TOKEN]))


def on_features(model: VisionTransformer | EarlyExits | AViT) -> nn.Module:
    """The module that reads cached features in the model's place; tokens do not halt in it."""
    if isinstance(model, EarlyExits):
        return ExitsOnFeatures(model)
    return HeadOnFeatures(backbone_of(model))


def on_images(model: VisionTransformer | EarlyExits | AViT) -> nn.Module:
    """The module that reads images in the model's place while heads alone train: none halts."""
    return backbone_of(model) if isinstance(model, AViT) else model


def feature_blocks(model: VisionTransformer | EarlyExits | AViT) -> list[int]:
    """Blocks whose features `on_features(model)` reads, ascending, the last block last."""
    if isinstance(model, EarlyExits):
        return model.exit_after
    return [len(backbone_of(model).encoder.layers)]


def grid_blocks(model: VisionTransformer | EarlyExits | AViT) -> list[int]:
    """Blocks of which `on_features(model)` reads every token."""
    return model.grid_blocks if isinstance(model, EarlyExits) else []
