"""The steps inside a torchvision encoder block, for methods that work between them."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.vision_transformer import EncoderBlock


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
        key: likewise.
        value: likewise.
        mask: bool, where attention may go, or float, what is added to the scores; broadcasts to
            `[batch, heads, tokens, tokens]`.
    """
    query, key, value = (part.transpose(1, 2) for part in (query, key, value))
    if mask is not None and mask.is_floating_point():
        mask = mask.to(query.dtype)
    mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    return attention.out_proj(mixed.transpose(1, 2).flatten(2))


def take(tokens: Tensor, indices: Tensor) -> Tensor:
    """The tokens `[batch, chosen, dim]` that stand at `indices` `[batch, chosen]`."""
    # As rows of one table: `gather` would want an index for every number of every token.
    starts = torch.arange(len(tokens), device=tokens.device)[:, None] * tokens.shape[1]
    rows = (starts + indices).flatten()
    return tokens.flatten(0, 1).index_select(0, rows).unflatten(0, indices.shape)


def masked_block(block: EncoderBlock, tokens: Tensor, keys: Tensor) -> Tensor:
    """One encoder block's output `[batch, tokens, dim]`, in which only some keys take part.

    Args:
        block: of a backbone.
        tokens: its input, `[batch, tokens, dim]`.
        keys: bool `[batch, tokens]`, at least one an image.
    """
    tokens = tokens + block.dropout(attend(block.self_attention, block.ln_1(tokens), keys))
    return tokens + block.mlp(block.ln_2(tokens))
