"""Weights for timm's models as they are: from a file, from a hub, or none."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn

from frugalvit.data.seen import scaled_side
from frugalvit.errors import ConfigError, WeightsError
from frugalvit.models.timm_models import TimmModel, describe_model, published
from frugalvit.models.weights.hub import FILE, fetch
from frugalvit.models.weights.load import checked_sum
from frugalvit.models.weights.opening import State, shown
from frugalvit.models.weights.tensors import check_exists, read_checkpoint

NO_WEIGHTS = "none"  # of `base.weights`: random ones


def from_timm(
    settings: Mapping[str, Any], file: Path | None, cache: str | Path, mirror: str | Path | None
) -> tuple[State, dict[str, Any], dict[str, Any]]:
    """A model of timm at a size, with weights.

    Args:
        settings: the study's `base`: `architecture`, timm's name, `image_size`, `weights`, and what says
            where they come from.
        file: on this machine, where they come from one.
        cache: folder for downloads.
        mirror: folder in which files are looked for first.

    Returns:
        `(state, architecture, info)` of a `TimmModel`. `info` has `timm` (its version), `license`,
        `source`, `preprocessing` as timm publishes it, and of weights `file`, `sha256`, `repository` and
        `revision`.

    Raises:
        ConfigError: timm has no such model, or not at that size.
        WeightsError: the weights cannot be had, or are not those of the model.
    """
    name, size = settings["architecture"], settings["image_size"]
    architecture, told = describe_model(name, size), published(name)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(settings.get("seed", 0))
        model = TimmModel(architecture, 0)
    info: dict[str, Any] = {
        "timm": timm.__version__,
        "license": told.license,
        "source": told.origin_url or told.hf_hub_id or told.url or None,
        "preprocessing": {
            "mean": list(told.mean),
            "std": list(told.std),
            "interpolation": told.interpolation,
            "crop": told.crop_pct,
        },
    }
    if settings["weights"] == NO_WEIGHTS:
        return model.state_dict(), architecture, info | {"seed": settings.get("seed", 0)}
    if file is None:
        repository = settings["repository"] or told.hf_hub_id
        if not repository:
            raise ConfigError(
                f"base.repository: timm knows none of {name}; name one, or a file, or set weights: none"
            )
        at = (repository, settings["revision"])
        file = fetch(at, settings["file"] or FILE, cache, mirror, settings["sha256"])
        info |= {"repository": at[0], "revision": at[1]}
    check_exists(file)
    info |= {"file": file.name, "sha256": checked_sum(file, settings["sha256"])}
    tensors, _ = read_checkpoint(file, checked=bool(settings["sha256"]))
    load_published(model.body, tensors, told.classifier, f"{file}: timm's {name}")
    return model.state_dict(), architecture, info


def load_published(
    body: nn.Module, tensors: State, classifier: str | tuple[str, ...] | None, whose: str
) -> None:
    """Load tensors in timm's naming, positions resampled as timm does; a classifier's are left out.

    Args:
        body: timm's model without a classifier.
        tensors: of the file.
        classifier: how timm calls it in this model, perhaps several.
        whose: file and model, for the message.

    Raises:
        WeightsError: they are another model's, or not finite.
    """
    module = sys.modules[type(body).__module__]
    convert = getattr(module, "checkpoint_filter_fn", None)
    names = (classifier,) if isinstance(classifier, str) else tuple(classifier or ())
    try:
        given = convert(dict(tensors), body) if convert else dict(tensors)
        own = body.state_dict()
        given = {
            name: tensor
            for name, tensor in given.items()
            if name in own or not name.startswith(tuple(f"{one}." for one in names))
        }
        keys = body.load_state_dict(given, strict=False)
    except Exception as error:  # whatever timm's own reading raises
        raise WeightsError(f"{whose} cannot take these weights ({shown(error, 120)})") from None
    odd = [*keys.missing_keys, *keys.unexpected_keys]
    if odd:
        raise WeightsError(
            f"{whose} has other tensors ({', '.join(odd[:3])}): name its true architecture"
        )
    for name, tensor in body.state_dict().items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise WeightsError(
                f"{whose}: {name} holds values that are not finite; take another file"
            )


def seen_as_published(settings: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, Any]:
    """How a store's squares become views as timm publishes it: `interpolation`, and `stored`.

    Args:
        settings: the study's `base`; its `store` is the short side and the square (px) that are stored,
            or its `stored` is what `dataset.resize` decides for all.
        told: `interpolation` and `crop`, the share of the short side.
    """
    seen: dict[str, Any] = {"interpolation": told["interpolation"]}
    if "stored" in settings:
        seen["stored"] = settings["stored"]
    elif store := settings.get("store"):
        side = scaled_side(settings["image_size"], told["crop"], *store)
        # A store that lacks a few pixels of what was published is taken as it is.
        seen |= {"stored": min(side, store[1])} if side != store[1] else {}
    return seen
