"""Making the base of a study: weights from wherever they come, and a card."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from frugalvit.errors import ConfigError
from frugalvit.files import sha256_file, write_json
from frugalvit.models.any_model import architecture_of_model, build_model, counts_of_model
from frugalvit.models.base import CARD, WEIGHTS
from frugalvit.models.weights.description import describe
from frugalvit.models.weights.hub import FILE, from_hub
from frugalvit.models.weights.load import load_file, random
from frugalvit.models.weights.opening import State
from frugalvit.models.weights.tensors import save
from frugalvit.models.weights.timm_weights import from_timm, seen_as_published
from frugalvit.models.weights.torchvision_weights import from_torchvision
from frugalvit.provenance import environment

log = logging.getLogger(__name__)

IMAGENET_MEAN = [0.485, 0.456, 0.406]
IMAGENET_STD = [0.229, 0.224, 0.225]


def export_base(
    settings: Mapping[str, Any],
    weights_path: str | Path,
    card_path: str | Path,
    *,
    freeze_check: Callable[[nn.Module], Any] | None = None,
    mirror: str | Path | None = None,
    cache: str | Path = "data/weights",
    pretrained: Sequence[str | Path] = (),
    pretraining: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write a study's base and its card.

    Args:
        settings: the study's `base`: `source`, `image_size`, and what the source needs.
        weights_path: safetensors in torchvision's naming, without a head.
        card_path: JSON beside it.
        freeze_check: gives the card's `frozen` for the base: what each schedule freezes.
        mirror: folder in which weights files are looked for first.
        cache: folder for downloads.
        pretrained: weights and card that the pretraining wrote, for `source: pretrain`.
        pretraining: the settings that it should have been made with.

    Returns:
        The card.

    Raises:
        ConfigError: a setting is wrong, a schedule does not fit the base, or ready-made weights
            come from other settings than the study's.
        WeightsError: the weights cannot be had or are unfit.
    """
    state, architecture, info = _load(settings, mirror, cache, pretrained, pretraining)
    model: Any = build_model(architecture, 0)
    model.load_state_dict(state)
    preprocessing = _preprocessing(settings, info)
    _say(settings, info)
    card = {
        "source": settings["source"],
        "file": info.pop("file", None),
        "sha256": info.pop("sha256", None),
        "architecture": architecture_of_model(model),
        "preprocessing": preprocessing,
        "parameters": counts_of_model(model),
        # How many classes a study has is known only with its images.
        "head_parameters_per_class": model.hidden_dim + 1,
        "frozen": freeze_check(model) if freeze_check else {},
        "origin": info,
        "environment": environment(),
    }
    save(weights_path, state)
    card["weights_sha256"] = sha256_file(weights_path)
    write_json(card_path, card)
    return card


def _say(settings: Mapping[str, Any], info: Mapping[str, Any]) -> None:
    """Log what was taken of what no tensor tells, and what guards the file."""
    for key, why in info.get("taken", {}).items():
        log.log(logging.WARNING if "assumed" in why else logging.INFO, "base: %s: %s", key, why)
    if (
        info.get("file")
        and settings["source"] in ("file", "hub", "timm")
        and not settings.get("sha256")
    ):
        log.info(
            "base.sha256: none stated, so a change of %s would pass; it is %s now",
            info["file"],
            info["sha256"],
        )


def export_random(settings: Mapping[str, Any], folder: str | Path, *, seed: int = 0) -> None:
    """Write a base of random weights, for pretraining: `architecture`, `image_size`, mean, std."""
    export_base(
        {**settings, "source": "random", "seed": seed},
        Path(folder) / WEIGHTS,
        Path(folder) / CARD,
    )


def _load(
    settings: Mapping[str, Any],
    mirror: str | Path | None,
    cache: str | Path,
    pretrained: Sequence[str | Path],
    pretraining: Mapping[str, Any] | None,
) -> tuple[State, dict[str, Any], dict[str, Any]]:
    source, image_size = settings["source"], settings["image_size"]
    if source == "timm":
        local = settings["file"] and not settings["repository"]
        return from_timm(
            settings, _find(settings["file"], mirror) if local else None, cache, mirror
        )
    stated = dict(settings.get("architecture") or {})
    fit: dict[str, Any] = {"num_heads": stated.get("num_heads"), "expected": stated}
    foreign = {**fit, "sha256": settings.get("sha256"), "check": settings.get("check")}
    if source == "torchvision":
        return from_torchvision(
            settings["model"], settings["weights"], image_size, cache=cache, mirror=mirror
        )
    if source == "random":
        architecture = {**stated, "image_size": image_size}
        seed = settings.get("seed", 0)
        return random(architecture, seed), architecture, {"seed": seed}
    if source == "file":
        path = _find(settings["file"], mirror)
        return load_file(path, image_size=image_size, **foreign)
    if source == "hub":
        return from_hub(
            settings["repository"],
            image_size,
            revision=settings["revision"],
            file=settings["file"] or FILE,
            cache=cache,
            mirror=mirror,
            **foreign,
        )
    if source == "pretrain":
        weights, card = (Path(path) for path in pretrained)
        described = describe(weights, [card])
        state, architecture, info = load_file(
            weights, image_size=image_size, description=described, **fit
        )
        return state, architecture, {**info, **_pretraining(card, pretraining)}
    raise ConfigError(
        f"base.source: '{source}' is unknown: choose from torchvision, hub, file, timm, pretrain, random"
    )


def _find(name: str, mirror: str | Path | None) -> Path:
    """The weights file at `name`, or of that name in the mirror."""
    path = Path(name).expanduser()
    if not path.is_file() and mirror and (Path(mirror) / path.name).is_file():
        return Path(mirror) / path.name
    if not path.is_file():
        looked = f" nor in the mirror {mirror}" if mirror else " (and no mirror is set)"
        raise ConfigError(
            f"base.file: no file '{name}'{looked}: correct the path or fetch the file"
        )
    return path


def _pretraining(card: Path, wanted: Mapping[str, Any] | None) -> dict[str, Any]:
    """What a pretraining's card tells about how the base came to be."""
    kept = ("settings", "n", "epochs", "best_epoch", "train_seconds", "device", "environment")
    content = json.loads(card.read_text())
    made_with = content.get("settings", {})
    if wanted is not None:
        plain = json.loads(json.dumps(wanted, default=str))
        keys = sorted(key for key in plain if plain[key] != made_with.get(key))
        if keys:
            raise ConfigError(
                f"base.pretrain: {card.parent} was made with another {', '.join(keys)}: "
                "write `ready_made: null` to pretrain anew"
            )
    return {
        "preprocessing": content.get("preprocessing", {}),
        "pretraining": {key: content[key] for key in kept if key in content},
    }


def _preprocessing(settings: Mapping[str, Any], info: dict[str, Any]) -> dict[str, Any]:
    """Size and normalisation: the study's word, else the weights' own, else ImageNet's."""
    own = info.get("preprocessing", {})
    found = {
        "image_size": settings["image_size"],
        "mean": list(settings.get("mean") or own.get("mean") or IMAGENET_MEAN),
        "std": list(settings.get("std") or own.get("std") or IMAGENET_STD),
        **({"stored": settings["stored"]} if "stored" in settings else {}),
    }
    if settings["source"] == "timm":
        found |= seen_as_published(settings, own)
    stated = settings.get("mean") and settings.get("std")
    if "taken" in info:
        why = "as the study states" if stated else "as the weights' publisher says"
        if not (stated or own):
            why = (
                "ImageNet's, assumed: nothing tells (Google's and timm's augreg models want 0.5 "
                "throughout); state base.mean and base.std"
            )
        info["taken"]["mean_and_std"] = why
    return found
