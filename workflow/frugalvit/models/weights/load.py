"""Weights from a file, in any naming, as torchvision's `VisionTransformer` takes them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from frugalvit.errors import WeightsError
from frugalvit.files import sha256_file
from frugalvit.models.backbone import build
from frugalvit.models.weights.conversion import convert
from frugalvit.models.weights.tensors import State, check_exists, read_tensors


def load_file(
    path: str | Path,
    *,
    image_size: int,
    sha256: str | None = None,
    num_heads: int | None = None,
    expected: Mapping[str, int | None] | None = None,
) -> tuple[State, dict[str, Any], dict[str, Any]]:
    """Load a ViT from a safetensors file or a torch pickle, in any naming, for `image_size` px.

    Args:
        path: the file; its content tells its format, not its name.
        image_size: side of the square image in px that the model shall see.
        sha256: expected checksum, 64 hexadecimal digits.
        num_heads: attention heads a block, where they are not 64 wide.
        expected: architecture keys that the file must have; None values are not compared.

    Returns:
        `(state, architecture, info)` of `conversion.convert`; `info` also has `file` and `sha256`.

    Raises:
        WeightsError: the file is missing, empty, truncated, unsafe, no plain ViT, or another than
            the checksum or `expected` says.
    """
    path = Path(path)
    check_exists(path)
    checksum = sha256_file(path)
    if sha256 and checksum != sha256.lower():
        raise WeightsError(
            f"{path}: its SHA-256 is {checksum[:12]}…, not {sha256[:12]}… as stated: "
            "fetch it again or correct the checksum"
        )
    try:
        state, architecture, info = convert(
            read_tensors(path), image_size=image_size, num_heads=num_heads
        )
    except WeightsError as error:
        raise WeightsError(str(error) if str(path) in str(error) else f"{path}: {error}") from None
    for key, value in (expected or {}).items():
        if value is not None and architecture.get(key) != value:
            raise WeightsError(
                f"{path}: its {key} is {architecture.get(key)}, not {value} as stated: "
                "correct base.architecture or take another file"
            )
    return state, architecture, {"file": path.name, "sha256": checksum, **info}


def random(architecture: dict[str, Any], seed: int = 0) -> State:
    """Random weights without a head, the same for the same seed; torch's generator is unmoved."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return build(architecture, 0).state_dict()
