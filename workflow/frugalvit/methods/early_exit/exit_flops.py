"""Operations up to each exit, counted as `models.flops` does."""

from collections.abc import Mapping, Sequence
from typing import Any

from frugalvit.methods.early_exit.model import head_kind
from frugalvit.models.flops import flops_by_part, num_tokens


def head_flops(
    architecture: Mapping[str, Any], num_classes: int, kind: str, hidden_dim: int
) -> int:
    """FLOPs per image of one exit's head; counted as in `models.flops`.

    Args:
        architecture: as in `models.backbone`.
        num_classes: outputs.
        kind: `linear`, `mlp` or `conv`.
        hidden_dim: of `mlp` and `conv`.
    """
    dim = architecture["hidden_dim"]
    if kind == "linear":
        return 2 * 2 * dim * num_classes
    if kind == "mlp":
        return 2 * (2 * dim * hidden_dim + hidden_dim * num_classes)
    patches = num_tokens(architecture) - 1
    convolutions = 2 * patches * (dim * hidden_dim + 9 * hidden_dim)
    return convolutions + 2 * (hidden_dim + dim) * num_classes


def exit_flops(
    architecture: Mapping[str, Any],
    num_classes: int,
    exit_after: Sequence[int],
    head: Mapping[str, Any],
) -> list[float]:
    """GFLOPs per image that leaves at each exit: patches, blocks and every exit up to there.

    An image at the last exit has been through all the others. The plain model, which asks none,
    costs `cost.vit_flops(architecture, num_classes)`.

    Args:
        architecture: as in `models.backbone`.
        num_classes: of every exit.
        exit_after: blocks with an exit, ascending, the last block among them.
        head: settings of the heads, as `model.EarlyExits` takes them.
    """
    parts = flops_by_part(architecture, num_classes)
    last = exit_after[-1]
    spent, gflops = parts["patch_embedding"], []
    for block in range(1, last + 1):
        spent += parts[f"block {block}"]
        if block == last:
            spent += parts["head"]
        elif block in exit_after:
            kind = head_kind(head, block)
            spent += head_flops(architecture, num_classes, kind, head["hidden_dim"])
        if block in exit_after:
            gflops.append(spent / 1e9)
    return gflops
