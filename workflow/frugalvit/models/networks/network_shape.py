"""What a network is, how its shape is checked, and what it computes; no torch, for the configuration.

A network is a JSON-able dict: `kind`, `image_size`, `channels`, `num_classes`, `embedding` (width of a
layer before the classifier, 0 for none), and what `KEYS` lists of its kind. FLOPs are counted as
`models.flops` does: matrix products and convolutions, a multiply-add as 2.
"""

from collections.abc import Mapping
from typing import Any

from frugalvit.errors import ConfigError
from frugalvit.models.flops import block_flops

Shape = Mapping[str, Any]

# Kind -> keys of its own.
KEYS = {
    "vit": ("patch_size", "num_layers", "num_heads", "hidden_dim", "mlp_dim", "stem", "pooling"),
    "resnet18": ("small_stem",),
    "conv_encoder": ("widths",),
}
COMMON = {"channels": 3, "embedding": 0}  # keys of every kind, and what they are where left out
PUBLISHED = "torchvision"  # as `weights`: ImageNet's, in place of a file
KERNEL = 3  # of a convolutional stem and of `conv_encoder`
RESNET_WIDTHS = (64, 128, 256, 512)  # He et al. 2016, table 1: 18 layers
RESNET_BLOCKS = 2


def network_shape(network: Mapping[str, Any], image_size: int, num_classes: int) -> dict[str, Any]:
    """The shape that an experiment's `network` asks for, without the keys of other kinds.

    Args:
        network: its keys; what it leaves out of `channels` and `embedding` is 3 and 0.
        image_size: px.
        num_classes: outputs.
    """
    kind = network["kind"]
    common = {"kind": kind, **{key: network.get(key, value) for key, value in COMMON.items()}}
    own = {key: network.get(key) for key in KEYS[kind]}
    return {**common, **own, "image_size": image_size, "num_classes": num_classes}


def check_network(shape: Shape) -> None:
    """Refuse a network that cannot be built.

    Raises:
        ConfigError: its message begins with the key inside `network`.
    """
    kind, size = shape["kind"], shape["image_size"]
    if kind == "vit":
        _check_vit(shape, size)
    elif kind == "resnet18" and shape["channels"] != 3:
        raise ConfigError("channels: resnet18 reads 3; leave it out")
    elif kind == "conv_encoder" and side_left(shape) < 1:
        most = (size - 1) // (KERNEL - 1)
        raise ConfigError(
            f"widths: {len(shape['widths'])} convolutions without padding leave nothing of {size} px; "
            f"list at most {most}"
        )


def _check_vit(shape: Shape, size: int) -> None:
    for key in KEYS["vit"][:5]:
        if shape.get(key) is None:
            raise ConfigError(f"{key}: missing; kind vit needs it")
    patch, dim, heads = shape["patch_size"], shape["hidden_dim"], shape["num_heads"]
    if size % patch:
        raise ConfigError(
            f"patch_size: {size} px is no multiple of {patch}; use a divisor of {size}"
        )
    if dim % heads:
        raise ConfigError(f"num_heads: {heads} does not divide hidden_dim {dim}; choose a divisor")
    if shape["stem"]:
        halvings = patch.bit_length() - 1
        if patch != 2**halvings or len(shape["stem"]) < halvings:
            raise ConfigError(
                f"stem: {len(shape['stem'])} convolutions make no patches of {patch} px; halving takes "
                f"one each: use a patch_size of 2, 4 or 8, and that many convolutions at least"
            )


def stem_strides(shape: Shape) -> list[int]:
    """Stride of each convolution of a stem: the last ones halve the image until patches are reached."""
    halvings = shape["patch_size"].bit_length() - 1
    return [1] * (len(shape["stem"]) - halvings) + [2] * halvings


def side_left(shape: Shape) -> int:
    """Side (px) of what `conv_encoder`'s convolutions leave."""
    return shape["image_size"] - (KERNEL - 1) * len(shape["widths"])


def network_gflops(shape: Shape) -> float:
    """GFLOPs per image."""
    body, width = body_flops(shape)
    embedding, classes = shape["embedding"], shape["num_classes"]
    head = 2 * (width * embedding + embedding * classes if embedding else width * classes)
    return (body + head) / 1e9


def body_flops(shape: Shape) -> tuple[int, int]:
    """FLOPs per image of all before the head, and the width that a head reads."""
    count = {"vit": _vit, "resnet18": _resnet, "conv_encoder": _conv_encoder}[shape["kind"]]
    return count(shape)


def places_side(shape: Shape) -> int:
    """Places along a side of what a `resnet18` makes of an image."""
    side = shape["image_size"]
    halvings = len(RESNET_WIDTHS) - 1 if shape["small_stem"] else len(RESNET_WIDTHS) + 1
    return -(-side // 2**halvings)


def _convolution(inputs: int, outputs: int, kernel: int, side: int) -> int:
    """FLOPs of a convolution whose output has `side` px."""
    return 2 * inputs * outputs * kernel**2 * side**2


def _vit(shape: Shape) -> tuple[int, int]:
    patch, dim = shape["patch_size"], shape["hidden_dim"]
    grid, channels, total = shape["image_size"] // patch, shape["channels"], 0
    if shape["stem"]:
        side = shape["image_size"]
        for width, stride in zip(shape["stem"], stem_strides(shape)):
            side //= stride
            total += _convolution(channels, width, KERNEL, side)
            channels = width
        total += _convolution(channels, dim, 1, grid)
    else:
        total += _convolution(channels, dim, patch, grid)
    with_class_token = shape["pooling"] == "class"
    tokens = grid**2 + with_class_token
    total += shape["num_layers"] * sum(block_flops(shape, tokens).values())
    # Of sequence pooling a score a token, then their weighted sum.
    return total + (0 if with_class_token else 4 * tokens * dim), dim


def _resnet(shape: Shape) -> tuple[int, int]:
    side, inputs = shape["image_size"], RESNET_WIDTHS[0]
    if shape["small_stem"]:
        total = _convolution(3, inputs, 3, side)
    else:
        side = -(-side // 2)
        total = _convolution(3, inputs, 7, side)
        side = -(-side // 2)  # pooled
    for stage, width in enumerate(RESNET_WIDTHS):
        if stage:
            side = -(-side // 2)
            total += _convolution(inputs, width, 1, side)  # of the shortcut
        total += _convolution(inputs, width, 3, side)
        total += (2 * RESNET_BLOCKS - 1) * _convolution(width, width, 3, side)
        inputs = width
    return total, inputs


def _conv_encoder(shape: Shape) -> tuple[int, int]:
    side, inputs, total = shape["image_size"], shape["channels"], 0
    for width in shape["widths"]:
        side -= KERNEL - 1
        total += _convolution(inputs, width, KERNEL, side)
        inputs = width
    return total, inputs * side**2
