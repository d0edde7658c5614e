"""Weights of a ResNet-18 that others trained: from torchvision, or from a file in its naming.

Of a file only tensors are read (`models.weights.tensors`); its classifier is left out, for every run has
heads of its own.
"""

import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.models import ResNet18_Weights

from frugalvit.data.mirror import find_file
from frugalvit.errors import WeightsError
from frugalvit.files import sha256_file, write_json
from frugalvit.models.networks.convolutional import ResNet18Body
from frugalvit.models.networks.network_shape import PUBLISHED
from frugalvit.models.weights.opening import State, shown
from frugalvit.models.weights.tensors import read_checkpoint, save
from frugalvit.models.weights.torchvision_weights import fetch

log = logging.getLogger(__name__)

COUNTER = "num_batches_tracked"  # of a batch norm; older files lack it
# Torchvision's, and what this project's own networks have beside their `body`.
HEADS = ("fc.", "embedding.", "classifier.", "heads.")
WRAPPERS = ("module.", "body.")  # before all names: of several GPUs; of this project


def export_network(
    weights: str,
    weights_path: str | Path,
    card_path: str | Path,
    *,
    mirror: str | Path | None = None,
    cache: str | Path = "data/weights",
) -> dict[str, Any]:
    """Write the weights that a ResNet-18's body begins with, and where they come from.

    Args:
        weights: `torchvision`, or a file, which is looked for in the mirror too.
        weights_path: safetensors, named as `ResNet18Body` names them.
        card_path: JSON beside it.
        mirror: folder in which files are looked for first.
        cache: folder for the download.

    Returns:
        The card: `file`, its `sha256`, `left_out` (tensors of its classifier), and of what was
        published `url`.

    Raises:
        ConfigError: there is no such file.
        WeightsError: it cannot be had, or is no ResNet-18's.
    """
    origin: dict[str, Any] = {}
    if weights == PUBLISHED:
        member = ResNet18_Weights.IMAGENET1K_V1
        path = fetch(member, cache=cache, mirror=mirror)
        origin = {"weights": str(member), "url": member.url}
    else:
        path = find_file(weights, str(mirror) if mirror else None, "network.weights")
    state, left_out = read_body(path)
    save(weights_path, state)
    card = {"file": path.name, "sha256": sha256_file(path), "left_out": left_out, **origin}
    write_json(card_path, card)
    log.info("%s: %d tensors of a ResNet-18, without its classifier", path, len(state))
    return card


def read_body(path: str | Path) -> tuple[State, list[str]]:
    """The tensors of a ResNet-18's body, and the names of those of its classifier.

    Raises:
        WeightsError: the file cannot be read, or is no ResNet-18's in torchvision's naming.
    """
    tensors = _unwrapped(read_checkpoint(path)[0])
    left_out = sorted(name for name in tensors if name.startswith(HEADS))
    found = {name: tensor for name, tensor in tensors.items() if name not in left_out}
    with torch.device("meta"):
        wanted = ResNet18Body().state_dict()
    for name, own in wanted.items():
        if name.endswith(COUNTER):
            found.setdefault(name, torch.zeros((), dtype=torch.int64))
        _check(path, name, found.get(name), own)
    further = sorted(found.keys() - wanted.keys())
    if further:
        raise WeightsError(
            f"{path}: has {shown(further[0])}, which no ResNet-18 of torchvision's has; take the "
            "state_dict() of resnet18"
        )
    return {name: found[name].to(own.dtype) for name, own in wanted.items()}, left_out


def _unwrapped(tensors: State) -> State:
    """Names without what a wrapper puts before all that is of the body."""
    for wrapper in WRAPPERS:
        if any(name.startswith(f"{wrapper}conv1.") for name in tensors):
            tensors = {name.removeprefix(wrapper): tensor for name, tensor in tensors.items()}
    return tensors


def _check(path: str | Path, name: str, found: Tensor | None, own: Tensor) -> None:
    if found is None:
        raise WeightsError(
            f"{path}: lacks {name}: no ResNet-18 in torchvision's naming; take the state_dict() of "
            "resnet18"
        )
    if found.shape != own.shape:
        raise WeightsError(
            f"{path}: {name} is {list(found.shape)}, a ResNet-18's {list(own.shape)}; take the "
            "state_dict() of resnet18"
        )
    if not bool(found.isfinite().all()):
        raise WeightsError(f"{path}: {name} holds values that are not finite; fetch it again")
