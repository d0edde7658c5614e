"""Operations of a backbone, counted from its architecture.

One multiply-add counts as 2 FLOPs. Matrix products are counted (patch projection, attention, MLP,
head); norms, softmax, GELU and additions, under 1 % together, are not, as in fvcore, timm and
torch's own `FlopCounterMode`.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def num_tokens(architecture: Mapping[str, Any]) -> int:
    """Tokens that a block reads: patches and the class token."""
    return (architecture["image_size"] // architecture["patch_size"]) ** 2 + 1


def block_flops(architecture: Mapping[str, Any], tokens: Any) -> dict[str, Any]:
    """FLOPs per image of one encoder block that reads `tokens` (a number, or `[images]`), by part."""
    dim, mlp_dim = architecture["hidden_dim"], architecture["mlp_dim"]
    return {
        "query_key_value": 2 * tokens * dim * 3 * dim,
        "attention": 2 * 2 * tokens * tokens * dim,  # scores, then the weighted sum
        "projection": 2 * tokens * dim * dim,
        "mlp": 2 * 2 * tokens * dim * mlp_dim,
    }


def flops_by_part(
    architecture: Mapping[str, Any],
    num_classes: int,
    tokens_per_block: "Sequence[int] | Sequence[Tensor] | None" = None,
) -> dict[str, Any]:
    """FLOPs per image of every part: `patch_embedding`, `block 1` …, `head`.

    Args:
        architecture: as in `models.backbone`.
        num_classes: outputs of the head; 0 for none.
        tokens_per_block: tokens that each block reads, class token included; fewer entries than
            `num_layers` are an early exit. Integer tensors `[images]` where images differ, which
            then are what the blocks' entries are. None: every block reads all tokens.
    """
    tokens = num_tokens(architecture)
    if tokens_per_block is None:
        tokens_per_block = [tokens] * architecture["num_layers"]
    dim = architecture["hidden_dim"]
    parts = {"patch_embedding": 2 * (tokens - 1) * dim * 3 * architecture["patch_size"] ** 2}
    for k, count in enumerate(tokens_per_block, start=1):
        parts[f"block {k}"] = sum(block_flops(architecture, count).values())
    parts["head"] = 2 * dim * num_classes
    return parts


def vit_flops(
    architecture: Mapping[str, Any],
    num_classes: int,
    tokens_per_block: "Sequence[int] | Sequence[Tensor] | None" = None,
) -> Any:
    """GFLOPs per image, all parts of `flops_by_part` together: a number, or `[images]` of them."""
    return sum(flops_by_part(architecture, num_classes, tokens_per_block).values()) / 1e9
