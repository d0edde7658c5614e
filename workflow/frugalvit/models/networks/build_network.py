"""Any network by its description."""

from typing import Any

from frugalvit.errors import ConfigError
from frugalvit.models.networks.convolutional import ConvEncoder, ResNet18
from frugalvit.models.networks.network import Classifier
from frugalvit.models.networks.network_shape import check_network
from frugalvit.models.networks.vision_transformer import ViT


def build_network(shape: dict[str, Any], dropout: float = 0.0) -> Classifier:
    """A network with random weights drawn from torch's global generator.

    Args:
        shape: as `models.networks.network_shape` describes it.
        dropout: of a ViT; others have none.

    Raises:
        ConfigError: it cannot be built; the message begins with the key inside `network`.
    """
    check_network(shape)
    if shape["kind"] == "vit":
        return ViT(shape, dropout)
    if dropout:
        raise ConfigError(f"kind: {shape['kind']} has no dropout; set dropout: 0")
    return ResNet18(shape) if shape["kind"] == "resnet18" else ConvEncoder(shape)
