"""Stochastic depth: while training, residual branches are dropped image by image.

Huang et al. 2016, "Deep Networks with Stochastic Depth", with the linear rule of section 4.
"""

from torch import nn
from torchvision.models import VisionTransformer
from torchvision.ops import StochasticDepth

from frugalvit.errors import ConfigError


def add_stochastic_depth(model: VisionTransformer, rate: float) -> None:
    """Have each block of `model` drop either residual branch, per image, while it trains.

    The rate rises linearly from 0 at the first block to `rate` at the last; what stays is divided
    by the chance to stay. In evaluation mode nothing changes, and no parameter's name does. A
    second call sets the rate anew.

    Args:
        model: changed in place.
        rate: of the last block.

    Raises:
        ConfigError: `rate` is not at least 0 and below 1. The message lacks the key, which the
            caller knows.
    """
    if not 0 <= rate < 1:
        raise ConfigError(f"{rate!r} is no rate to drop a branch: take one from 0 to below 1")
    layers = model.encoder.layers
    for index, block in enumerate(layers):
        at_block = rate * index / max(1, len(layers) - 1)
        # Both branches end in a Dropout, which has no parameters and thus no names to keep.
        block.dropout = _then_drop(block.dropout, at_block)
        block.mlp[-1] = _then_drop(block.mlp[-1], at_block)


def _then_drop(dropout: nn.Module, rate: float) -> nn.Sequential:
    """`dropout`, then stochastic depth, which replaces one that an earlier call has put there."""
    if isinstance(dropout, nn.Sequential):
        dropout = dropout[0]
    return nn.Sequential(dropout, StochasticDepth(rate, mode="row"))
