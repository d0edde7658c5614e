"""Token pruning: after some blocks only the tokens that the class token attends to go on.

EViT (Liang et al. 2022, "Not All Patches Are What You Need: Expediting Vision Transformers via
Token Reorganizations", sections 3.1 to 3.3) on an unchanged backbone, without its training.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.models import VisionTransformer

from frugalvit.errors import ConfigError
from frugalvit.methods.tokens.thinning import Thinned
from frugalvit.models.attention import attend_to, query_key_value, take
from frugalvit.models.backbone import embed

TWELFTHS = (4, 7, 10)  # of the depth, where the paper prunes (section 4.1)


def default_blocks(num_layers: int) -> list[int]:
    """Blocks that prune, counted from 1: 4, 7 and 10 of 12, and the like, rounded up."""
    return sorted({-(-num_layers * part // 12) for part in TWELFTHS})


def class_attention(query: Tensor, key: Tensor) -> Tensor:
    """Attention of the class token to each patch token, mean over heads: float32
    `[batch, tokens - 1]`.

    Args:
        query: `[batch, tokens, heads, head_dim]`, class token first.
        key: of the same shape.
    """
    scores = query[:, 0, :, None] @ key.permute(0, 2, 3, 1)  # [batch, heads, 1, tokens]
    scores = scores.squeeze(2).float() / math.sqrt(query.shape[-1])
    weights = torch.softmax(scores, dim=-1)
    return weights.mean(dim=1)[:, 1:]


def prune(tokens: Tensor, attention: Tensor, kept: int) -> Tensor:
    """Keep the class token and the `kept` most attended patch tokens, in order; fuse the others.

    The fused token, the last, is the others' sum, weighed by their attention (section 3.3). As in
    the paper, it is not divided by the sum of weights.

    Args:
        tokens: `[batch, tokens, dim]`, class token first.
        attention: to each patch token, `[batch, tokens - 1]`.
        kept: fewer than there are patch tokens.

    Returns:
        `[batch, 1 + kept + 1, dim]`.
    """
    order = attention.argsort(dim=1, descending=True, stable=True)
    best, others = order[:, :kept].sort(dim=1).values, order[:, kept:]
    weights = attention.gather(1, others).to(tokens.dtype)
    fused = weights[:, None] @ take(tokens, others + 1)
    return torch.cat([tokens[:, :1], take(tokens, best + 1), fused], dim=1)


class TokenPruning(Thinned):
    """A `VisionTransformer` some of whose blocks prune tokens; observes it, copies nothing of it.

    Between the attention and the MLP of such a block, patch tokens to which the class token attends
    least are fused into one token. To later blocks it is a patch token as any other: it is counted
    among those of which a share is kept, and may be kept or fused again. A single token that would
    not be kept stays as it is, for fusing it would save nothing.

    Args:
        backbone: with its own norm and head, as it was trained.
        keep: share of patch tokens that each of `blocks` keeps, rounded up; the fused one is extra.
        blocks: which prune, counted from 1; None for `default_blocks`.

    Raises:
        ConfigError: `keep` is not above 0 and at most 1, or the backbone lacks one of `blocks`. The
            message lacks the key, which the caller knows.
    """

    def __init__(
        self, backbone: VisionTransformer, keep: float, blocks: Sequence[int] | None = None
    ):
        num_layers = len(backbone.encoder.layers)
        if not 0 < keep <= 1:
            raise ConfigError(f"{keep!r} is no share of tokens to keep: take one in (0, 1]")
        blocks = default_blocks(num_layers) if blocks is None else blocks
        for block in blocks:
            if not 1 <= block <= num_layers:
                raise ConfigError(
                    f"block {block} is to prune, but the base has {num_layers} blocks; "
                    f"use 1 to {num_layers}"
                )

        def leaving(block: int, count: int) -> int:
            # 0.07 * 100 is 7.000000000000001, of which 8 would be too many.
            kept = math.ceil(round(keep * (count - 1), 6))
            return min(count, 1 + kept + 1) if block in blocks else count

        super().__init__(backbone, leaving)
        self.keep = keep
        self.blocks = sorted(set(blocks))

    def thinning_flops(self, before: int, after: int) -> int:
        """The class token's scores, and the fused token."""
        dim = self.backbone.hidden_dim
        return 2 * before * dim + 2 * (before - after + 1) * dim

    def forward(self, images: Tensor) -> Tensor:
        """Logits `[batch, classes]` of normalised `images` `[batch, 3, image_size, image_size]`."""
        backbone = self.backbone
        tokens = embed(backbone, images)
        for block, after in zip(backbone.encoder.layers, self.tokens, strict=True):
            query, key, value = query_key_value(block.self_attention, block.ln_1(tokens))
            tokens = tokens + block.dropout(attend_to(block.self_attention, query, key, value))
            if after < tokens.shape[1]:
                # The class token and the fused one are no patch tokens that were kept.
                tokens = prune(tokens, class_attention(query, key), after - 2)
            tokens = tokens + block.mlp(block.ln_2(tokens))
        return backbone.heads(backbone.encoder.ln(tokens[:, 0]))
