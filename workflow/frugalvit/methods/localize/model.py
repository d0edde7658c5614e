"""Two heads on one backbone, or on a ResNet-18: the class of an image, and the box of its object.

What answers is one tensor `[batch, classes + 4 + 2]`: logits, the box `x0, y0, x1, y1` as shares of the
view's side, and the logarithms of the two losses' learned variances, which only training reads.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torchvision.models import VisionTransformer

from frugalvit.methods.localize.box_heads import make_heads
from frugalvit.models.backbone import CLASS_TOKEN, PATCH_MEAN, block_outputs, pool
from frugalvit.models.halves import SecondHalf
from frugalvit.models.heads import Adapted
from frugalvit.models.networks.convolutional import ResNet18Body
from frugalvit.models.networks.network import Network
from frugalvit.models.networks.network_shape import (
    RESNET_WIDTHS,
    body_flops,
    network_shape,
    places_side,
)


class Answers(NamedTuple):
    """A model's outputs, taken apart."""

    logits: Tensor  # [batch, classes]
    boxes: Tensor  # [batch, 4]
    log_variances: Tensor  # [batch, 2]: of the class, of the box


def answers_of(outputs: Tensor) -> Answers:
    """Take a model's outputs `[batch, classes + 4 + 2]` apart."""
    return Answers(outputs[:, :-6], outputs[:, -6:-2], outputs[:, -2:])


class Localizer(Adapted):
    """A backbone whose head is replaced by two: class and box.

    Args:
        backbone: whose own head is dropped.
        how: `localize` of a run's settings.
    """

    def __init__(self, backbone: VisionTransformer, how: Mapping[str, Any]):
        super().__init__()
        backbone.heads = make_heads(backbone.hidden_dim, backbone.num_classes, how)
        self.backbone = backbone
        self.how = dict(how)

    def forward(self, images: Tensor) -> Tensor:
        """Outputs, see the module."""
        *_, tokens = block_outputs(self.backbone, images)
        heads = self.backbone.heads
        return heads(self.backbone.encoder.ln(tokens if heads.reads_grid else pool(tokens)))

    def on_features(self) -> nn.Module:
        """Both heads on cached features."""
        return HeadsOnFeatures(self.backbone)

    def second_half(self, blocks: int) -> nn.Module:
        """The last blocks and both heads."""
        return SecondHalfToBoxes(self.backbone, blocks)

    @property
    def grid_blocks(self) -> list[int]:
        """The last block, where heads read every token."""
        return [self.num_layers] if self.backbone.heads.reads_grid else []


class SecondHalfToBoxes(SecondHalf):
    """The last blocks of a backbone, its norm and both heads."""

    def answer(self, tokens: Tensor) -> Tensor:
        """Outputs, see the module."""
        return self.heads(self.norm(tokens if self.heads.reads_grid else pool(tokens)))


class HeadsOnFeatures(nn.Module):
    """Final norm and both heads on the last block's tokens; shares its weights with a model.

    Reads `[batch, blocks, 2, dim]`, or a list of this and of `[batch, 1 + patches, dim]`.
    """

    def __init__(self, backbone: VisionTransformer):
        super().__init__()
        self.norm, self.heads = backbone.encoder.ln, backbone.heads

    def forward(self, inputs: Tensor | Sequence[Tensor]) -> Tensor:
        """Outputs, as the whole model gives them for the same images."""
        if isinstance(inputs, Tensor):
            return self.heads(self.norm(inputs[:, -1, [CLASS_TOKEN, PATCH_MEAN]]))
        return self.heads(self.norm(inputs[1]))


class NetworkLocalizer(Network):
    """A ResNet-18 in place of a backbone, with the same heads.

    Its places stand for patches, and their mean for the class token.

    Args:
        shape: of kind `resnet18` (`models.networks.network_shape`).
        how: `localize` of a run's settings.
    """

    def __init__(self, shape: dict[str, Any], how: Mapping[str, Any]):
        super().__init__(shape)
        self.body = ResNet18Body(shape["small_stem"])
        self.heads = make_heads(RESNET_WIDTHS[-1], self.num_classes, how)
        self.how = dict(how)

    @property
    def gflops(self) -> float:
        """GFLOPs per image."""
        return (body_flops(self.shape)[0] + self.heads.flops(places_side(self.shape) ** 2)) / 1e9

    def embed(self, images: Tensor) -> Tensor:
        """Means over places, `[batch, 512]`."""
        return self.body(images)

    def forward(self, images: Tensor) -> Tensor:
        """Outputs, see the module."""
        places = self.body.places(images).flatten(2).transpose(1, 2)  # [batch, places, 512]
        tokens = torch.cat([places.mean(dim=1, keepdim=True), places], dim=1)
        return self.heads(tokens if self.heads.reads_grid else pool(tokens))


def adapt(backbone: VisionTransformer, settings: dict[str, Any]) -> Localizer:
    """Fresh heads on a backbone; see `methods.method.ModelPart`."""
    return Localizer(backbone, settings["localize"])


def begin(settings: dict[str, Any], image_size: int, num_classes: int) -> NetworkLocalizer:
    """A network of its own with fresh heads; see `methods.method.ModelPart`."""
    shape = network_shape(settings["network"], image_size, num_classes)
    return NetworkLocalizer(shape, settings["localize"])


def describe(model: Localizer | NetworkLocalizer) -> dict[str, Any]:
    """Its heads, and what it is where it stands on no backbone."""
    if isinstance(model, Localizer):
        return {"localize": model.how}
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return {"architecture": model.shape, "parameters": parameters, "localize": model.how}


def restore(
    backbone: VisionTransformer | None, card: dict[str, Any]
) -> Localizer | NetworkLocalizer:
    """The model of a card."""
    if backbone is None:
        return NetworkLocalizer(card["architecture"], card["localize"])
    return Localizer(backbone, card["localize"])
