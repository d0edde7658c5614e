"""Whatever a base is: this project's ViT, or one of timm's models as it is."""

from typing import Any

from torch import nn

from frugalvit.models.backbone import architecture_of, build, part_counts
from frugalvit.models.flops import vit_flops
from frugalvit.models.timm_models import TimmModel


def build_model(
    architecture: dict[str, Any], num_classes: int, *, dropout: float = 0.0
) -> nn.Module:
    """The network of an architecture, its weights random; see `models.backbone.build`."""
    if "timm" in architecture:
        return TimmModel(architecture, num_classes)
    return build(architecture, num_classes, dropout=dropout)


def architecture_of_model(model: Any) -> dict[str, Any]:
    """The architecture that `build_model` makes a model from, with its `num_classes`."""
    return model.architecture if isinstance(model, TimmModel) else architecture_of(model)


def gflops_of_model(model: Any) -> float:
    """GFLOPs per image of a network that answers whole."""
    if isinstance(model, TimmModel):
        return model.gflops
    shape = architecture_of(model)
    return vit_flops(shape, shape["num_classes"])


def counts_of_model(model: Any) -> dict[str, int]:
    """Number of parameters by part, and in all."""
    if not isinstance(model, TimmModel):
        return part_counts(model)
    body, head = (sum(p.numel() for p in part.parameters()) for part in (model.body, model.heads))
    return {"body": body, "head": head, "total": body + head}


def numbers_cached(architecture: dict[str, Any]) -> int:
    """Numbers of one image in one view that are cached while the backbone is frozen."""
    pooled = 1 if "timm" in architecture else 2 * architecture["num_layers"]
    return pooled * architecture["hidden_dim"]
