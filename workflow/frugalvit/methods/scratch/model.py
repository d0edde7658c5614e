"""The model of training from scratch: a network by its description."""

from typing import Any

from frugalvit.models.networks.build_network import build_network
from frugalvit.models.networks.network import Network
from frugalvit.models.networks.network_shape import network_shape
from frugalvit.models.stochastic_depth import add_stochastic_depth


def begin(settings: dict[str, Any], image_size: int, num_classes: int) -> Network:
    """The network that a run begins with; see `methods.method.ModelPart`."""
    shape = network_shape(settings["network"], image_size, num_classes)
    model = build_network(shape, settings["dropout"])
    if settings["stochastic_depth"]:
        add_stochastic_depth(model.backbone, settings["stochastic_depth"])
    return model


def describe(model: Network) -> dict[str, Any]:
    """All that `restore` needs."""
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return {"architecture": model.shape, "parameters": parameters}


def restore(backbone: None, card: dict[str, Any]) -> Network:
    """The network of a card."""
    return build_network(card["architecture"])
