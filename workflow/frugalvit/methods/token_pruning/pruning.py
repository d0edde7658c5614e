"""Token pruning: after some blocks only the tokens that the class token attends to go on.

EViT (Liang et al. 2022, "Not All Patches Are What You Need: Expediting Vision Transformers via
Token Reorganizations", sections 3.1 to 3.3) on an unchanged backbone, without its training. Two other
ways to choose are controls: by the norm of a token's keys, and at random. A choice has to beat chance.
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

SELECT = ("attention", "key_norm", "random")
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


def key_norms(key: Tensor) -> Tensor:
    """Norm of each patch token's keys, mean over heads: float32 `[batch, tokens - 1]`.

    Args:
        key: `[batch, tokens, heads, head_dim]`, class token first.
    """
    return key[:, 1:].float().norm(dim=-1).mean(dim=2)


def drawn(images: Tensor, block: int, count: int) -> Tensor:
    """Random numbers `[batch, count]`, the same for an image whatever stands beside it in a batch.

    Each image's own pixels seed them (SplitMix64's finaliser of their sum, the block and the place).

    Args:
        images: `[batch, 3, image_size, image_size]`.
        block: in which is drawn.
        count: numbers an image.
    """
    seeds = images.double().flatten(1).sum(dim=1).view(torch.int64)[:, None]
    places = torch.arange(count, device=images.device) + 1_000_003 * block
    mixed = seeds + (places + 1) * _signed(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ ((mixed >> shift) & ((1 << (64 - shift)) - 1))) * _signed(factor)
    return ((mixed ^ (mixed >> 31)) & ((1 << 24) - 1)).float()


def _signed(value: int) -> int:
    """The 64 bits of `value` as torch's integers hold them."""
    return value - (1 << 64) if value >= 1 << 63 else value


def prune(tokens: Tensor, attention: Tensor, kept: int, scores: Tensor | None = None) -> Tensor:
    """Keep the class token and the `kept` most attended patch tokens, in order; fuse the others.

    The fused token, the last, is the others' sum, weighed by their attention (section 3.3). As in
    the paper, it is not divided by the sum of weights.

    Args:
        tokens: `[batch, tokens, dim]`, class token first.
        attention: to each patch token, `[batch, tokens - 1]`.
        kept: fewer than there are patch tokens.
        scores: of each patch token, `[batch, tokens - 1]`, by which they are kept in place of
            attention, the largest.

    Returns:
        `[batch, 1 + kept + 1, dim]`.
    """
    order = (attention if scores is None else scores).argsort(dim=1, descending=True, stable=True)
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
        select: what tokens are kept by, one of `SELECT`.

    Raises:
        ConfigError: `keep` is not above 0 and at most 1, or the backbone lacks one of `blocks`. The
            message lacks the key, which the caller knows.
    """

    def __init__(
        self,
        backbone: VisionTransformer,
        keep: float,
        blocks: Sequence[int] | None = None,
        select: str = SELECT[0],
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
        self.select = select

    def thinning_flops(self, before: int, after: int) -> int:
        """The class token's scores, and the fused token."""
        dim = self.backbone.hidden_dim
        return 2 * before * dim + 2 * (before - after + 1) * dim

    def forward(self, images: Tensor) -> Tensor:
        """Logits `[batch, classes]` of normalised `images` `[batch, 3, image_size, image_size]`."""
        backbone = self.backbone
        tokens = embed(backbone, images)
        blocks = zip(backbone.encoder.layers, self.tokens, strict=True)
        for number, (block, after) in enumerate(blocks, start=1):
            query, key, value = query_key_value(block.self_attention, block.ln_1(tokens))
            tokens = tokens + block.dropout(attend_to(block.self_attention, query, key, value))
            if after < tokens.shape[1]:
                # The class token and the fused one are no patch tokens that were kept.
                scores = self.scores(images, key, number)
                tokens = prune(tokens, class_attention(query, key), after - 2, scores)
            tokens = tokens + block.mlp(block.ln_2(tokens))
        return backbone.heads(backbone.encoder.ln(tokens[:, 0]))

    def scores(self, images: Tensor, key: Tensor, block: int) -> Tensor | None:
        """What a block keeps tokens by, `[batch, tokens - 1]`; None for attention."""
        if self.select == "key_norm":
            return key_norms(key)
        return drawn(images, block, key.shape[1] - 1) if self.select == "random" else None
