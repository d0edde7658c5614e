"""Attention of torchvision's encoder blocks, computed one way by every model.

torch's `nn.MultiheadAttention` takes slower paths: in evaluation a kernel that is not fused, in
training one with the batch second, for which it copies queries, keys and values. Here one projection
is followed by the fused kernel, as in timm. Parameters and their names stay torchvision's.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import VisionTransformer
from torchvision.models.vision_transformer import EncoderBlock


class Block(EncoderBlock):
    """torchvision's encoder block; attention may be kept from some keys."""

    def forward(self, input: Tensor, keys: Tensor | None = None) -> Tensor:
        """The block's output `[batch, tokens, dim]`.

        Args:
            input: tokens, `[batch, tokens, dim]`.
            keys: as `attend` takes them.
        """
        tokens = input + self.dropout(attend(self.self_attention, self.ln_1(input), keys))
        return tokens + self.mlp(self.ln_2(tokens))


def attend_directly(model: VisionTransformer) -> None:
    """Turn the blocks of `model` into `Block`s, in place."""
    for block in model.encoder.layers:
        # A block built anew would draw its weights once more, and a seed give other ones.
        block.__class__ = Block


def query_key_value(
    attention: nn.MultiheadAttention, tokens: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values `[..., heads, head_dim]` of normalised tokens `[..., dim]`."""
    joined = F.linear(tokens, attention.in_proj_weight, attention.in_proj_bias)
    query, key, value = joined.unflatten(-1, (3, attention.num_heads, attention.head_dim)).unbind(
        -3
    )
    return query, key, value


def attend(attention: nn.MultiheadAttention, tokens: Tensor, keys: Tensor | None = None) -> Tensor:
    """Self-attention `[batch, tokens, dim]` of normalised tokens of the same shape.

    Args:
        attention: a block's.
        tokens: after the block's first norm.
        keys: which may be attended to, bool `[batch, tokens]`, at least one an image; None for all.
    """
    mask = None if keys is None else keys[:, None, None, :]
    query, key, value = query_key_value(attention, tokens)
    return attend_to(attention, query, key, value, mask)


def attend_to(
    attention: nn.MultiheadAttention,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None = None,
) -> Tensor:
    """Attention's output `[batch, tokens, dim]` for those who also read queries or keys.

    Args:
        attention: a block's.
        query: as `query_key_value` gives it, `[batch, tokens, heads, head_dim]`.
        key: of the same shape.
        value: of the same shape.
        mask: bool, where attention may go, or float, what is added to the scores; broadcasts to
            `[batch, heads, tokens, tokens]`.
    """
    query, key, value = (part.transpose(1, 2) for part in (query, key, value))
    if mask is not None and mask.is_floating_point():
        mask = mask.to(query.dtype)
    dropout = attention.dropout if attention.training else 0.0
    mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout)
    return attention.out_proj(mixed.transpose(1, 2).flatten(2))


def take(tokens: Tensor, indices: Tensor) -> Tensor:
    """The tokens `[batch, chosen, dim]` that stand at `indices` `[batch, chosen]`."""
    # As rows of one table: `gather` would want an index for every number of every token.
    starts = torch.arange(tokens.shape[0], device=tokens.device)[:, None] * tokens.shape[1]
    rows = (starts + indices).flatten()
    return tokens.flatten(0, 1).index_select(0, rows).unflatten(0, indices.shape)
