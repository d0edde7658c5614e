"""How many attention heads a ViT has, which no file of tensors tells."""

from typing import NamedTuple

from frugalvit.errors import WeightsError

HEAD_DIM = 64
WIDEST = 1024  # up to here published ViTs have heads 64 wide, but for the tests' own among them

# Published models whose heads are not 64 wide: (hidden_dim, num_layers, mlp_dim) to num_heads.
KNOWN_HEADS = {
    (1280, 32, 5120): 16,  # ViT-H: Dosovitskiy et al. 2021, table 1; MAE, DeiT III, SWAG
    (1152, 27, 4304): 16,  # SoViT-400m: Alabdulmohsin et al. 2023
    (1408, 40, 6144): 16,  # ViT-g: Zhai et al. 2022, table 2
    (1664, 48, 8192): 16,  # ViT-G: the same
    (64, 6, 192): 2,  # timm's test_vit, test_vit2, test_vit3 and test_vit4
    (64, 8, 192): 2,
    (96, 9, 192): 3,
    (96, 9, 288): 3,
}


class Heads(NamedTuple):
    """A number of heads, and where it comes from."""

    number: int
    why: str


def choose_heads(
    shape: tuple[int, int, int], stated: int | None, told: int | None, told_by: str
) -> Heads:
    """The number of attention heads a block of a model of this shape.

    Args:
        shape: `(hidden_dim, num_layers, mlp_dim)`.
        stated: what the study says.
        told: what a file beside the weights says.
        told_by: that file.

    Raises:
        WeightsError: nothing tells, the two contradict each other, or the heads do not divide the
            width.
    """
    hidden_dim = shape[0]
    if stated and told and stated != told:
        raise WeightsError(
            f"base.architecture.num_heads: {stated}, but {told_by} says {told}: correct it"
        )
    if stated:
        heads = Heads(stated, "as base.architecture states")
    elif told:
        heads = Heads(told, f"as {told_by} says")
    elif shape in KNOWN_HEADS:
        heads = Heads(KNOWN_HEADS[shape], "known of this shape")
    elif hidden_dim % HEAD_DIM:
        raise WeightsError(
            f"hidden_dim {hidden_dim} is not 64 per head: state base.architecture.num_heads"
        )
    elif hidden_dim > WIDEST:
        raise WeightsError(
            f"nothing tells how many heads a ViT of {shape[1]} blocks, {hidden_dim} wide, MLP "
            f"{shape[2]}, has (above {WIDEST} they are seldom 64 wide): state "
            "base.architecture.num_heads"
        )
    else:
        heads = Heads(hidden_dim // HEAD_DIM, "assumed: 64 wide each, for nothing tells")
    if hidden_dim % heads.number:
        where = "base.architecture.num_heads" if stated else f"{told_by}: num_heads"
        raise WeightsError(f"{where}: {heads.number} does not divide its hidden_dim {hidden_dim}")
    return heads
