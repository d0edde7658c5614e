"""torchvision's `VisionTransformer` with an embedding layer, and what small images gain from.

A convolutional stem in place of the patch projection: Xiao et al. 2021, "Early Convolutions Help
Transformers See Better". Sequence pooling in place of the class token: Hassani et al. 2021, "Escaping
the Big Data Paradigm with Compact Transformers", section 3.2.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import VisionTransformer
from torchvision.models.vision_transformer import ConvStemConfig

from frugalvit.models.attention import attend_directly
from frugalvit.models.networks.network import Classifier
from frugalvit.models.networks.network_shape import KERNEL, KEYS, stem_strides


class ViT(Classifier):
    """A Vision Transformer for `channels` x `image_size`; see `models.networks.network_shape`.

    Args:
        shape: of kind `vit`.
        dropout: of tokens and of every block's branches.
    """

    def __init__(self, shape: dict[str, Any], dropout: float = 0.0):
        super().__init__(shape, shape["hidden_dim"])
        backbone = VisionTransformer(
            shape["image_size"],
            *(shape[key] for key in KEYS["vit"][:5]),
            dropout=dropout,
            num_classes=self.num_classes,
            conv_stem_configs=_stem(shape) if shape["stem"] else None,
        )
        attend_directly(backbone)
        backbone.heads = nn.Sequential()
        if shape["channels"] != 3:
            _read_channels(backbone, shape["channels"])
        self.pooling = None
        if shape["pooling"] == "sequence":
            backbone.class_token = None
            places = backbone.encoder.pos_embedding
            backbone.encoder.pos_embedding = nn.Parameter(places[:, 1:].detach().clone())
            self.pooling = nn.Linear(shape["hidden_dim"], 1)
        self.backbone = backbone

    def features(self, images: Tensor) -> Tensor:
        """The class token, or all tokens weighted, after the final norm: `[batch, hidden_dim]`."""
        backbone = self.backbone
        tokens = backbone._process_input(images)
        if self.pooling is None:
            tokens = torch.cat(
                [backbone.class_token.expand(images.shape[0], -1, -1), tokens], dim=1
            )
        tokens = backbone.encoder.dropout(tokens + backbone.encoder.pos_embedding)
        tokens = backbone.encoder.layers(tokens)
        if self.pooling is None:
            return backbone.encoder.ln(tokens[:, 0])
        tokens = backbone.encoder.ln(tokens)
        weights = self.pooling(tokens).softmax(dim=1)  # [batch, tokens, 1]
        return (weights.transpose(1, 2) @ tokens)[:, 0]


def _stem(shape: dict[str, Any]) -> list[ConvStemConfig]:
    return [
        ConvStemConfig(width, KERNEL, stride)
        for width, stride in zip(shape["stem"], stem_strides(shape))
    ]


def _read_channels(backbone: VisionTransformer, channels: int) -> None:
    """Have the first convolution read other than three channels, drawn as torchvision draws it."""
    stem = backbone.conv_proj
    first: Any = stem if isinstance(stem, nn.Conv2d) else stem[0][0]
    weight = torch.empty(first.out_channels, channels, *first.kernel_size)
    if first is stem:
        nn.init.trunc_normal_(weight, std=math.sqrt(1 / weight[0].numel()))
    else:
        nn.init.kaiming_uniform_(weight, a=math.sqrt(5))
    first.in_channels, first.weight = channels, nn.Parameter(weight)
