"""Self-attention within packed sequences: of different lengths, one after the other in one array.

Norms, projections and MLPs read such an array as it is; only attention has to know where one image
ends. Which way is fastest differs by device, so there are three.
"""

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention.varlen import varlen_attn
from torchvision.models.vision_transformer import EncoderBlock

from frugalvit.models.attention import query_key_value

GROUPS_ELSEWHERE = 4  # where neither single images nor variable lengths are quick
_FLASH_CAPABILITY = (8, 0)  # of the first CUDA devices with torch's variable-length kernel


def ragged_block(
    block: EncoderBlock, tokens: Tensor, lengths: Sequence[int], groups: int | None = None
) -> Tensor:
    """One encoder block's output `[tokens, dim]` for images of different lengths, for inference.

    Args:
        block: of a backbone.
        tokens: its input, `[tokens, dim]`, image after image.
        lengths: tokens of each image, all above 0.
        groups: as `attend_ragged` takes them.
    """
    normed = block.ln_1(tokens)
    tokens = tokens + attend_ragged(block.self_attention, normed, lengths, groups)
    return tokens + block.mlp(block.ln_2(tokens))


def attend_ragged(
    attention: nn.MultiheadAttention,
    tokens: Tensor,
    lengths: Sequence[int],
    groups: int | None = None,
) -> Tensor:
    """Self-attention `[tokens, dim]` of normalised tokens of the same shape, within each image.

    Args:
        attention: a block's.
        tokens: after the block's first norm, image after image.
        lengths: tokens of each image, all above 0.
        groups: how many groups images of similar length are padded in. None: no padding on a CPU,
            nor in half precision on CUDA; elsewhere `GROUPS_ELSEWHERE`.
    """
    query, key, value = query_key_value(attention, tokens)  # [tokens, heads, head_dim]
    if groups is None and tokens.device.type == "cpu":
        # Slices without a mask take half the time of four padded groups with one, and cost no more
        # per operation than a full batch.
        mixed = _attend_images(query, key, value, lengths)
    elif groups is None and _has_variable_length(query):
        ends = torch.tensor([0, *lengths], device=query.device).cumsum(0, dtype=torch.int32)
        longest = max(lengths)
        # Only with `return_aux` would it be a tuple.
        mixed = cast(Tensor, varlen_attn(query, key, value, ends, ends, longest, longest))
    else:
        mixed = _attend_groups(query, key, value, lengths, groups or GROUPS_ELSEWHERE)
    return attention.out_proj(mixed.flatten(1))


def _has_variable_length(query: Tensor) -> bool:
    return (
        query.device.type == "cuda"
        and query.dtype in (torch.float16, torch.bfloat16)
        and query.shape[-1] % 8 == 0  # the kernel's head widths
        and query.shape[-1] <= 256
        and torch.cuda.get_device_capability(query.device) >= _FLASH_CAPABILITY
    )


def _attend_images(query: Tensor, key: Tensor, value: Tensor, lengths: Sequence[int]) -> Tensor:
    """Each image by itself."""
    parts = (
        [image.transpose(0, 1)[None] for image in part.split(lengths)]
        for part in (query, key, value)
    )
    mixed = (
        F.scaled_dot_product_attention(queries, keys, values)
        for queries, keys, values in zip(*parts, strict=True)
    )
    return torch.cat([image.squeeze(0).transpose(0, 1) for image in mixed])


def _attend_groups(
    query: Tensor, key: Tensor, value: Tensor, lengths: Sequence[int], groups: int
) -> Tensor:
    """Images of similar length together, the shorter ones padded with keys that are masked."""
    sizes = torch.tensor(lengths)
    starts = sizes.cumsum(0) - sizes
    mixed = torch.empty_like(query)
    for members in sizes.argsort().chunk(groups):
        positions = torch.arange(int(sizes[members].max()))
        real = positions < sizes[members, None]  # [images, longest]
        # Padding repeats an image's first token: what it holds must be finite, and is never read.
        rows = (starts[members, None] + positions * real).to(query.device)
        mask = None if bool(real.all()) else real[:, None, None, :].to(query.device)
        queries, keys, values = (part[rows].transpose(1, 2) for part in (query, key, value))
        answer = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
        real = real.to(query.device)
        mixed[rows[real]] = answer.transpose(1, 2)[real]
    return mixed
