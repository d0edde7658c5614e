"""The steps inside a torchvision encoder block, for methods that work between them."""

import torch.nn.functional as F
from torch import Tensor, nn


def query_key_value(attention: nn.MultiheadAttention, tokens: Tensor) -> tuple[Tensor, ...]:
    """Queries, keys and values `[..., heads, head_dim]` of normalised tokens `[..., dim]`."""
    joined = F.linear(tokens, attention.in_proj_weight, attention.in_proj_bias)
    return joined.unflatten(-1, (3, attention.num_heads, attention.head_dim)).unbind(-3)


def attend(attention: nn.MultiheadAttention, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
    """Self-attention `[batch, tokens, dim]` of normalised tokens of the same shape.

    Args:
        attention: a block's.
        tokens: after the block's first norm.
        mask: keys that may be attended to, bool `[batch, tokens]`, at least one an image; None for
            all. Or what is added to the scores, float, that broadcasts to
            `[batch, heads, tokens, tokens]`.
    """
    query, key, value = (
        part.transpose(1, 2) for part in query_key_value(attention, tokens)
    )  # [batch, heads, tokens, head_dim]
    if mask is not None and mask.ndim == 2:
        mask = mask[:, None, None, :]
    mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    return attention.out_proj(mixed.transpose(1, 2).flatten(2))


def masked_block(block: nn.Module, tokens: Tensor, keys: Tensor) -> Tensor:
    """One encoder block's output `[batch, tokens, dim]`, in which only some keys take part.

    Args:
        block: torchvision's `EncoderBlock`.
        tokens: its input, `[batch, tokens, dim]`.
        keys: bool `[batch, tokens]`, at least one an image.
    """
    tokens = tokens + block.dropout(attend(block.self_attention, block.ln_1(tokens), keys))
    return tokens + block.mlp(block.ln_2(tokens))
