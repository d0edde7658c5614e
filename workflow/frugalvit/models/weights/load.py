"""Weights from a file, in any naming, as torchvision's `VisionTransformer` takes them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from frugalvit.errors import ConfigError, WeightsError
from frugalvit.files import sha256_file
from frugalvit.models.backbone import build
from frugalvit.models.weights.conversion import convert
from frugalvit.models.weights.description import Description, describe
from frugalvit.models.weights.opening import State
from frugalvit.models.weights.rival import compare_with_timm
from frugalvit.models.weights.tensors import check_exists, check_written, read_checkpoint


def load_file(
    path: str | Path,
    *,
    image_size: int,
    sha256: str | None = None,
    num_heads: int | None = None,
    expected: Mapping[str, int | None] | None = None,
    description: Description | None = None,
    check: str | None = None,
) -> tuple[State, dict[str, Any], dict[str, Any]]:
    """Load a ViT from a safetensors file or a torch pickle, in any naming, for `image_size` px.

    Args:
        path: the file; its content tells its format, not its name.
        image_size: side of the square image in px that the model shall see.
        sha256: expected checksum, 64 hexadecimal digits.
        num_heads: attention heads a block, where they are not 64 wide.
        expected: architecture keys that the file must have; None values are not compared.
        description: what is known of the model beside its tensors; where None, what the files
            beside it say.
        check: `timm` compares with timm's own model, which has to be installed.

    Returns:
        `(state, architecture, info)` of `conversion.convert`; `info` also has `file`, `sha256`,
        `described_by` (files) and `timm` (an architecture's name), and where there are such,
        `preprocessing`, `under` (the checkpoint's key) and `checked` (the architecture that it was
        compared with, and the largest difference).

    Raises:
        WeightsError: the file is missing, empty, truncated, unsafe, no plain ViT, or another than
            the checksum, `expected` or the description says.
    """
    path = Path(path)
    check_exists(path)
    checksum = checked_sum(path, sha256)
    description = describe(path) if description is None else description
    check_written(path, checksum, description.weights_sha256)
    try:
        tensors, under = read_checkpoint(path, checked=bool(sha256))
        state, architecture, info = convert(
            tensors, image_size=image_size, num_heads=num_heads, description=description
        )
    except (WeightsError, ConfigError) as error:
        raise WeightsError(str(error) if str(path) in str(error) else f"{path}: {error}") from None
    for key, value in (expected or {}).items():
        if value is not None and architecture.get(key) != value:
            raise WeightsError(
                f"{path}: its {key} is {architecture.get(key)}, not {value} as stated: "
                "correct base.architecture or take another file"
            )
    origin: dict[str, Any] = {"file": path.name, "sha256": checksum, "under": under}
    origin |= {"described_by": list(description.sources), "timm": description.architecture}
    if description.preprocessing:
        origin["preprocessing"] = description.preprocessing
    if check:
        compared = compare_with_timm(path, tensors, state, architecture, description.architecture)
        origin["checked"] = compared
    return state, architecture, {**origin, **info}


def checked_sum(path: Path, stated: str | None) -> str:
    """A file's SHA-256, which must be the one that the study states."""
    checksum = sha256_file(path)
    if stated and checksum != stated.lower():
        raise WeightsError(
            f"{path}: its SHA-256 is {checksum[:12]}…, not {stated[:12]}… as stated: "
            "fetch it again or correct the checksum"
        )
    return checksum


def random(architecture: dict[str, Any], seed: int = 0) -> State:
    """Random weights without a head, the same for the same seed; torch's generator is unmoved."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return build(architecture, 0).state_dict()
