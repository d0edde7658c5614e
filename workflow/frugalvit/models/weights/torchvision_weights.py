"""torchvision's published ViT weights: from a mirror folder or downloaded, with their checksum."""

import logging
import re
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch
from torchvision.models import WeightsEnum, get_model, get_model_weights, list_models

from frugalvit.errors import ConfigError, WeightsError
from frugalvit.files import sha256_file
from frugalvit.models.backbone import architecture_of
from frugalvit.models.weights.description import Description
from frugalvit.models.weights.load import load_file
from frugalvit.models.weights.opening import State

log = logging.getLogger(__name__)

ATTEMPTS = 3
WAIT = 2.0  # seconds before the second attempt, doubled before the third
TIMEOUT = 60.0  # seconds without an answer; torch's downloader knows none


def from_torchvision(
    name: str,
    weights: str,
    image_size: int,
    *,
    cache: str | Path,
    mirror: str | Path | None = None,
) -> tuple[State, dict[str, Any], dict[str, Any]]:
    """Load a published ViT for `image_size` px.

    Args:
        name: torchvision's builder, such as `vit_b_16`.
        weights: member of its weights enum, such as `IMAGENET1K_V1`,
            `IMAGENET1K_SWAG_E2E_V1` or `DEFAULT`.
        image_size: side of the square image in px that the model shall see; positions are
            resampled to it.
        cache: folder for the download.
        mirror: folder in which the file is looked for first.

    Returns:
        `(state, architecture, info)` of `weights.load_file`; `info` also has `model`, `weights`,
        `url` and, from the weights' own transforms, `preprocessing` (`mean`, `std`, `crop_size`
        and `resize_size` in px, `interpolation`).

    Raises:
        ConfigError: torchvision has no such model or weights.
        WeightsError: the file cannot be had, or is not the one that torchvision names.
    """
    member = weights_member(name, weights)
    path = fetch(member, cache=cache, mirror=mirror)
    with torch.device("meta"):
        published = architecture_of(get_model(name, weights=None))
    state, architecture, info = load_file(
        path,
        image_size=image_size,
        description=Description(
            sources=("torchvision's builder",),
            num_heads=published["num_heads"],
            eps=published["eps"],
        ),
        expected={key: published[key] for key in ("patch_size", "num_layers", "hidden_dim")},
    )
    transforms = member.transforms()
    preprocessing = {
        "mean": list(transforms.mean),
        "std": list(transforms.std),
        "crop_size": transforms.crop_size[0],
        "resize_size": transforms.resize_size[0],
        "interpolation": transforms.interpolation.value,
    }
    origin = {"model": name, "weights": member.name, "url": member.url}
    return state, architecture, {**info, **origin, "preprocessing": preprocessing}


def weights_member(name: str, weights: str) -> WeightsEnum:
    """The member of a model's weights enum.

    Raises:
        ConfigError: torchvision has no such ViT, or it has no such weights; says which exist.
    """
    names = [model for model in list_models() if model.startswith("vit_")]
    if name not in names:
        raise ConfigError(
            f"base.model: torchvision has no '{name}': choose from {', '.join(names)}"
        )
    members = get_model_weights(name).__members__
    member = weights.rpartition(".")[2]  # ViT_B_16_Weights.IMAGENET1K_V1 is understood too
    if member not in members:
        raise ConfigError(
            f"base.weights: {name} has no '{weights}': choose from {', '.join(members)}"
        )
    return members[member]


def fetch(member: WeightsEnum, *, cache: str | Path, mirror: str | Path | None = None) -> Path:
    """The weights' file, checked: from the mirror, from the cache, or downloaded into the cache.

    Raises:
        WeightsError: the mirror's file has another checksum, or the download failed three times.
    """
    name = Path(urlsplit(member.url).path).name
    prefix = re.search(r"-([a-f0-9]{8,})\.", name)
    if mirror and (Path(mirror) / name).is_file():
        return _checked(Path(mirror) / name, prefix)
    path = Path(cache) / name
    if path.is_file():
        try:
            return _checked(path, prefix)
        except WeightsError as error:
            log.info("%s; downloading it again", error)
            path.unlink()
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with _timeout(TIMEOUT):
                member.get_state_dict(
                    progress=sys.stderr.isatty(),
                    check_hash=True,
                    model_dir=str(cache),
                    map_location="cpu",
                    weights_only=True,
                )
            return path
        except (OSError, RuntimeError) as error:  # RuntimeError: torch's word for a wrong hash
            path.unlink(missing_ok=True)
            reason = str(error).splitlines()[0]
            log.info("%s: attempt %d of %d failed (%s)", member.url, attempt, ATTEMPTS, reason)
            if attempt < ATTEMPTS:
                time.sleep(WAIT * 2 ** (attempt - 1))
    raise WeightsError(
        f"{member.url}: cannot be downloaded ({reason}); put {name} into the mirror folder"
    )


def _checked(path: Path, prefix: re.Match[str] | None) -> Path:
    """`path`, if its SHA-256 begins with the digits in its name."""
    if prefix and not sha256_file(path).startswith(prefix[1]):
        raise WeightsError(
            f"{path}: its SHA-256 does not begin with {prefix[1]}, as its name says: fetch it again"
        )
    return path


@contextmanager
def _timeout(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
