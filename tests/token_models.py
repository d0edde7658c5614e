"""Small models whose tokens leave, for tests of their points."""

import torch
from torch import nn

from frugalvit.methods.avit.model import AViT
from frugalvit.methods.registry import part
from frugalvit.models.backbone import build
from frugalvit.operating_point import Point
from tests.small_study import ARCHITECTURE

CLASSES, TOKENS, BLOCKS = 10, 10, 3
HALTING = {
    "eps": 0.01, "inference_eps": [0.6, 0.3], "expected_depth": 2.0, "depth_std": 1.0,
    "baseline": None,
}  # fmt: skip
HOW = {
    "avit": HALTING,
    "token_merging": {"r": [2, 1]},
    "token_pruning": {"keep_tokens": [0.4, 0.6], "prune_blocks": [2], "select": "attention"},
}


def backbone() -> nn.Module:
    """A random model that tells images apart, and whose tokens differ in their first channel."""
    torch.manual_seed(0)
    model = build(ARCHITECTURE | {"image_size": 24}, CLASSES)
    nn.init.normal_(model.heads.head.weight)
    with torch.no_grad():
        model.conv_proj.weight *= 3
        model.encoder.pos_embedding[..., 0] = torch.linspace(-1.2, 0.8, TOKENS)
    return model.eval()


def model_of(method: str) -> nn.Module:
    """The model of a run of this method."""
    return AViT(backbone(), 3.0, -0.5).eval() if method == "avit" else backbone()


def models_of(method: str) -> dict[Point, nn.Module]:
    """The model of each of its operating points."""
    return part(method, "points").models(model_of(method), HOW[method])
