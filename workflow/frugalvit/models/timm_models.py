"""Models of timm as they are: convolutional networks, hybrids, ViTs of any kind, answered whole.

Nothing in them is adapted. Their pooled features are what a linear head reads. timm is imported where
one is made: other jobs need not wait for it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from frugalvit.errors import ConfigError
from frugalvit.models.heads import Pooled
from frugalvit.models.weights.opening import first_line, shown


class TimmModel(Pooled):
    """timm's model without its classifier, and a linear head.

    Args:
        architecture: `timm`, its name there, `image_size` (px), `hidden_dim`, the width of its pooled
            features, and `gflops` of these.
        num_classes: outputs of the head; 0 for none.
    """

    def __init__(self, architecture: dict[str, Any], num_classes: int):
        super().__init__()
        self.shape = dict(architecture)
        self.num_classes = num_classes
        self.hidden_dim = architecture["hidden_dim"]
        self.body = create(architecture["timm"], architecture["image_size"])
        self.heads: nn.Module = nn.Identity()
        if num_classes:
            self.heads = nn.Linear(self.hidden_dim, num_classes)
            nn.init.zeros_(self.heads.weight)  # as the head of `models.backbone.build`
            nn.init.zeros_(self.heads.bias)

    @property
    def architecture(self) -> dict[str, Any]:
        """What it is made from, with its `num_classes`."""
        return self.shape | {"num_classes": self.num_classes}

    @property
    def gflops(self) -> float:
        """GFLOPs per image."""
        return self.shape["gflops"] + 2 * self.hidden_dim * self.num_classes / 1e9

    def pool(self, images: Tensor) -> Tensor:
        """Pooled features `[batch, dim]`."""
        return self.body(images)


def create(name: str, image_size: int) -> nn.Module:
    """timm's model without a classifier, with random weights drawn from torch's global generator.

    Raises:
        ConfigError: timm has no such model, or it cannot see squares of that size.
    """
    import timm

    if not timm.is_model(name):
        close = get_close_matches(name, timm.list_models(), n=1)
        hint = f"did you mean '{close[0]}'?" if close else "timm.list_models() lists them"
        raise ConfigError(f"base.architecture: timm has no model '{shown(name)}'; {hint}")
    fixed = published(name).fixed_input_size
    sized: dict[str, Any] = {"img_size": image_size} if fixed else {}
    try:
        model = timm.create_model(name, pretrained=False, num_classes=0, **sized)
        model.eval()
        with torch.no_grad():
            features = model(torch.zeros(1, 3, image_size, image_size))
    except Exception as error:  # each of timm's models checks in its own way
        raise ConfigError(
            f"image_size: timm's {name} cannot see {image_size} px ({first_line(error)}); take another"
        ) from None
    if features.ndim != 2:
        raise ConfigError(
            f"base.architecture: timm's {name} gives no pooled features of an image; take another"
        )
    return model


def published(name: str) -> Any:
    """timm's `PretrainedCfg` of a model: preprocessing, licence, where its weights come from."""
    import timm

    return timm.models.get_pretrained_cfg(name, allow_unregistered=True)


def describe_model(name: str, image_size: int) -> dict[str, Any]:
    """The architecture of a `TimmModel`: name, size, width, and GFLOPs as torch's counter counts them.

    Raises:
        ConfigError: see `create`.
    """
    with torch.random.fork_rng(devices=[]), _unfused():
        model = create(name, image_size)
        images = torch.zeros(1, 3, image_size, image_size)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            features = model(images)
    return {
        "timm": name,
        "image_size": image_size,
        "hidden_dim": features.shape[1],
        "gflops": counter.get_total_flops() / 1e9,
    }


@contextmanager
def _unfused() -> Iterator[None]:
    """Have models made inside compute attention by products, which the counter sees on a CPU."""
    from timm.layers import set_fused_attn, use_fused_attn

    before, experimental = use_fused_attn(), use_fused_attn(experimental=True)
    set_fused_attn(False)
    try:
        yield
    finally:
        set_fused_attn(before, experimental=experimental)
