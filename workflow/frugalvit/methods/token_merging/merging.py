"""Token merging: each block joins its most similar patch tokens; no training, no new weights.

ToMe (Bolya et al. 2023, "Token Merging: Your ViT But Faster", section 3) on an unchanged backbone.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models import VisionTransformer

from frugalvit.errors import ConfigError
from frugalvit.methods.tokens.thinning import Thinned
from frugalvit.models.attention import attend_to, query_key_value, take
from frugalvit.models.backbone import architecture_of, embed
from frugalvit.models.flops import num_tokens


class Matching(NamedTuple):
    """Which tokens merge into which, indices (int64) among all tokens of an image."""

    source: Tensor  # [batch, r]: merge, each into the token at the same place of `target`
    target: Tensor  # [batch, r]: a token may receive several
    kept: Tensor  # [batch, tokens - r]: what stays, in the order in which it leaves the block


def match(keys: Tensor, r: int) -> Matching:
    """Bipartite soft matching (section 3, "Bipartite Soft Matching"): the `r` most similar pairs.

    Patch tokens go in turn to the sets B and A, each of A finds the most similar of B, and the `r`
    best found pairs merge. The class token is in neither set. What stays are the class token, the
    rest of A in its order, and B.

    Args:
        keys: `[batch, tokens, head_dim]`, class token first; compared by their cosine.
        r: at most half of the patch tokens, rounded down.
    """
    keys = F.normalize(keys, dim=-1)
    similarity = keys[:, 2::2] @ keys[:, 1::2].transpose(1, 2)
    best, partner = similarity.max(dim=2)
    order = best.argsort(dim=1, descending=True, stable=True)
    merging, rest = order[:, :r], order[:, r:].sort(dim=1).values
    classes = order.new_zeros(keys.shape[0], 1)
    receivers = torch.arange(1, keys.shape[1], 2, device=keys.device).expand(keys.shape[0], -1)
    return Matching(
        source=2 * merging + 2,
        target=2 * partner.gather(1, merging) + 1,
        kept=torch.cat([classes, 2 * rest + 2, receivers], dim=1),
    )


def merge(tokens: Tensor, sizes: Tensor, matching: Matching) -> tuple[Tensor, Tensor]:
    """Join matched tokens to their average, weighed by size.

    Args:
        tokens: `[batch, tokens, dim]`.
        sizes: patches that each stands for, `[batch, tokens]` (float32).
        matching: of these tokens.

    Returns:
        Tokens `[batch, tokens - r, dim]` and their sizes, in the order of `matching.kept`.
    """
    source, target, kept = matching
    source_sizes = sizes.gather(1, source)
    merged_sizes = sizes.scatter_add(1, target, source_sizes)
    # Several tokens may go into one. A product with the matrix of their shares adds them in the
    # same order each time, which a scattered sum on a GPU does not.
    receivers = tokens.shape[1] // 2  # the last of what is kept, at 1, 3, 5 …
    shares = tokens.new_zeros(tokens.shape[0], receivers, source.shape[1])
    source_shares = (source_sizes / merged_sizes.gather(1, target)).to(tokens.dtype)
    shares.scatter_(1, (target // 2)[:, None], source_shares[:, None])
    received = shares @ take(tokens, source)
    own_shares = (sizes / merged_sizes).gather(1, kept).to(tokens.dtype)
    stay, receive = (take(tokens, kept) * own_shares[..., None]).tensor_split([-receivers], dim=1)
    return torch.cat([stay, receive + received], dim=1), merged_sizes.gather(1, kept)


def merged_in(block: int, share: float, patches: int, blocks: int) -> int:
    """Tokens that merge in a block (from 1) where `share` of the patches has merged after the last."""
    return round(block * share * patches / blocks) - round((block - 1) * share * patches / blocks)


class TokenMerging(Thinned):
    """A `VisionTransformer` whose blocks merge tokens; observes it, copies nothing of it.

    Between a block's attention and its MLP, the `r` patch tokens that are most like another merge
    into it: similarity of the attention's keys, averaged over heads. A token of s patches counts in
    attention as s tokens (proportional attention, equation 1).

    Args:
        backbone: with its own norm and head, as it was trained.
        r: a whole number of tokens that merge in every block, or, below 1, the share of the patch
            tokens that have merged after the last one, spread evenly over the blocks. A block merges
            half of the patch tokens that it reads at most.

    Raises:
        ConfigError: `r` is neither. The message lacks the key, which the caller knows.
    """

    def __init__(self, backbone: VisionTransformer, r: float):
        if isinstance(r, bool) or r < 0 or (r >= 1 and r != int(r)):
            raise ConfigError(
                f"{r!r} is no number of tokens to merge in a block: take 0, 1, 2 … or a share below 1"
            )
        patches = num_tokens(architecture_of(backbone)) - 1
        blocks = len(backbone.encoder.layers)

        def leaving(block: int, count: int) -> int:
            merged = int(r) if r >= 1 else merged_in(block, r, patches, blocks)
            return count - min(merged, (count - 1) // 2)

        super().__init__(backbone, leaving)
        self.r = r

    def thinning_flops(self, before: int, after: int) -> int:
        """Similarities of candidates and receivers, and the averages of those that merge."""
        architecture = architecture_of(self.backbone)
        dim = architecture["hidden_dim"]
        receivers, candidates = before // 2, (before - 1) // 2
        similarities = 2 * receivers * candidates * dim // architecture["num_heads"]
        return similarities + 2 * receivers * (before - after) * dim

    def forward(self, images: Tensor) -> Tensor:
        """Logits `[batch, classes]` of normalised `images` `[batch, 3, image_size, image_size]`."""
        backbone = self.backbone
        tokens = embed(backbone, images)
        sizes = torch.ones(tokens.shape[:2], device=tokens.device)
        mask = None  # what sizes add to the scores: nothing until tokens have merged
        for block, after in zip(backbone.encoder.layers, self.tokens, strict=True):
            query, key, value = query_key_value(block.self_attention, block.ln_1(tokens))
            tokens = tokens + block.dropout(
                attend_to(block.self_attention, query, key, value, mask)
            )
            if after < tokens.shape[1]:
                matching = match(key.mean(dim=2), tokens.shape[1] - after)
                tokens, sizes = merge(tokens, sizes, matching)
                mask = sizes.log()[:, None, None, :]
            tokens = tokens + block.mlp(block.ln_2(tokens))
        return backbone.heads(backbone.encoder.ln(tokens[:, 0]))
