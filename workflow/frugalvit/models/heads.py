"""A model's heads, and its last blocks, on what is cached: what a phase trains while the rest is frozen.

A method's model derives from `Adapted` and says there what differs; the plain network is torchvision's
`VisionTransformer` itself.
"""

from abc import abstractmethod

from torch import Tensor, nn
from torchvision.models import VisionTransformer

from frugalvit.models.backbone import CLASS_TOKEN, backbone_of, class_token
from frugalvit.models.halves import FirstHalf, SecondHalf
from frugalvit.models.networks.network import Network


class HeadOnFeatures(nn.Module):
    """Final norm and head on the last block's pooled tokens; shares its weights with a model."""

    def __init__(self, model: VisionTransformer):
        super().__init__()
        self.norm = model.encoder.ln
        self.heads = model.heads

    def forward(self, features: Tensor) -> Tensor:
        """Logits `[batch, classes]` from `[batch, blocks, 2, dim]`, as the whole model gives them."""
        return self.heads(self.norm(features[:, -1, CLASS_TOKEN]))


class Adapted(nn.Module):
    """A model that observes a backbone; as here it trains and answers as the plain network does."""

    backbone: VisionTransformer

    @property
    def num_layers(self) -> int:
        """Blocks of the backbone."""
        return len(self.backbone.encoder.layers)

    def on_features(self) -> nn.Module:
        """See `on_features`."""
        return HeadOnFeatures(self.backbone)

    def on_images(self) -> nn.Module:
        """See `on_images`."""
        return self

    def first_half(self, blocks: int) -> nn.Module:
        """See `first_half`."""
        return FirstHalf(self.backbone, blocks)

    def second_half(self, blocks: int) -> nn.Module | None:
        """See `second_half`; a model that does not say how it goes on is computed whole."""
        return None

    @property
    def feature_blocks(self) -> list[int]:
        """See `feature_blocks`."""
        return [self.num_layers]

    @property
    def grid_blocks(self) -> list[int]:
        """See `grid_blocks`."""
        return []


class Pooled(Adapted):
    """A model without blocks that train apart: its head reads one vector an image, which is cached."""

    hidden_dim: int
    heads: nn.Module

    @abstractmethod
    def pool(self, images: Tensor) -> Tensor:
        """What the head reads, `[batch, dim]`, of images `[batch, 3, side, side]`."""

    def forward(self, images: Tensor) -> Tensor:
        """Logits `[batch, classes]`; without a head what it would read."""
        return self.heads(self.pool(images))

    @property
    def num_layers(self) -> int:
        """None that trains apart."""
        return 0

    def on_features(self) -> nn.Module:
        """See `on_features`."""
        return PooledHead(self.heads)

    @property
    def feature_blocks(self) -> list[int]:
        """The one that is cached."""
        return [1]


class PooledHead(nn.Module):
    """The head on cached features `[batch, 1, 1, dim]`; shares its weights with a model."""

    def __init__(self, heads: nn.Module):
        super().__init__()
        self.heads = heads

    def forward(self, features: Tensor) -> Tensor:
        """Logits `[batch, classes]`."""
        return self.heads(features[:, 0, 0])


def embed(model: nn.Module, images: Tensor) -> Tensor:
    """An image's embedding, `[batch, width]`: a network's own, or of whatever stands on a backbone its
    class token after the final norm.
    """
    if isinstance(model, Network):
        return model.embed(images)
    if isinstance(model, Pooled):
        return model.pool(images)
    return class_token(backbone_of(model), images)


def on_features(model: nn.Module) -> nn.Module:
    """The module that reads cached features in the model's place."""
    return model.on_features() if isinstance(model, Adapted) else HeadOnFeatures(backbone_of(model))


def on_images(model: nn.Module) -> nn.Module:
    """The module that reads images in the model's place while only heads train."""
    return model.on_images() if isinstance(model, Adapted) else model


def first_half(model: nn.Module, blocks: int) -> nn.Module:
    """What makes of images all that the model has in hand after its first `blocks` (`models.halves`)."""
    if isinstance(model, Adapted):
        return model.first_half(blocks)
    return FirstHalf(backbone_of(model), blocks)


def second_half(model: nn.Module, blocks: int) -> nn.Module | None:
    """What gives the model's outputs from there on; None where the model cannot be taken apart."""
    if isinstance(model, Adapted):
        return model.second_half(blocks)
    return SecondHalf(backbone_of(model), blocks)


def feature_blocks(model: nn.Module) -> list[int]:
    """Blocks whose features `on_features(model)` reads, ascending, the last block last."""
    if isinstance(model, Adapted):
        return model.feature_blocks
    return [len(backbone_of(model).encoder.layers)]


def grid_blocks(model: nn.Module) -> list[int]:
    """Blocks of which `on_features(model)` reads every token."""
    return model.grid_blocks if isinstance(model, Adapted) else []
