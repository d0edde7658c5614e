"""A study's base: its settings checked, and the run that pretrains it."""

from pathlib import Path

from frugalvit.config.experiments import run_settings
from frugalvit.config.schema import load_schema, merge, validate
from frugalvit.data.mirror import find_file
from frugalvit.errors import ConfigError

# Short side over centre crop, both in px, as most weights are published.
_RESIZED, _CROPPED = 256, 224
# torchvision's weights that are published otherwise.
_PUBLISHED = {("vit_l_16", "IMAGENET1K_V1"): (242, 224)}
_UNCROPPED = "IMAGENET1K_SWAG"  # how those begin that see the whole square
_DEFAULTS = {"vit_h_14": "IMAGENET1K_SWAG_E2E_V1"}  # of the other models IMAGENET1K_V1


def resized_side(base: dict) -> int:
    """Short side (px) that images are resized to before the centre crop of `image_size`.

    The crop's share is the one that the base was published with, where that is known.
    """
    size, resized, cropped = base["image_size"], _RESIZED, _CROPPED
    if base["source"] == "torchvision":
        weights = base["weights"].rpartition(".")[2]
        if weights == "DEFAULT":
            weights = _DEFAULTS.get(base["model"], "IMAGENET1K_V1")
        if weights.startswith(_UNCROPPED):
            return size
        resized, cropped = _PUBLISHED.get((base["model"], weights), (resized, cropped))
    # As many pixels on both sides: an odd number would move the crop off the centre.
    return size + 2 * round(size * (resized - cropped) / cropped / 2)


def check_base(base: dict, mirror: str | None) -> None:
    """Check what the schema cannot.

    Raises:
        ConfigError: one line that names the key and the remedy.
    """
    source = base["source"]
    needs = {"torchvision": "model", "hub": "repository", "file": "file", "pretrain": "pretrain"}
    if source in needs and not base[needs[source]]:
        raise ConfigError(f"base.{needs[source]}: missing; base.source {source} needs it")
    if base["check"] and source not in ("file", "hub"):
        raise ConfigError(
            f"base.check: base.source {source} brings no weights of timm's naming; leave it out"
        )
    if source == "file":
        find_file(base["file"], mirror, "base.file")
    architecture = base["architecture"] or {}
    if source in ("pretrain", "random"):
        known = load_schema()["$defs"]["base"]["properties"]["architecture"]["properties"]
        for key in known:
            if key not in architecture:
                raise ConfigError(
                    f"base.architecture.{key}: missing; base.source {source} needs it"
                )
        if architecture["hidden_dim"] % architecture["num_heads"]:
            raise ConfigError(
                f"base.architecture.num_heads: {architecture['num_heads']} heads do not divide "
                f"hidden_dim {architecture['hidden_dim']}; choose a divisor"
            )
    patch = architecture.get("patch_size")
    if patch and base["image_size"] % patch:
        raise ConfigError(
            f"base.image_size: {base['image_size']} px is no multiple of the patch size {patch}; "
            f"use {base['image_size'] // patch * patch or patch}"
        )
    ready = base["pretrain"] and base["pretrain"]["ready_made"]
    if source == "pretrain" and ready and not Path(ready).is_file():
        raise ConfigError(
            f"base.pretrain.ready_made: no file '{ready}'; correct the path, or null pretrains anew"
        )


def pretraining_run(config: dict) -> dict:
    """Settings of the run that makes the base: `training` defaults, the pretraining's own changes."""
    pretrain = config["base"]["pretrain"]
    # From nothing there is nothing to forget: one rate for all blocks, whatever the number of images.
    training = validate({}, "training") | {"lr": 0.001, "layer_decay": 1.0}
    training = merge(training, pretrain["training"])
    phase = {"train": "all", "epochs": pretrain["epochs"]}
    settings = run_settings("pretrain", pretrain["seed"], training, [phase])
    base = {key: config["base"][key] for key in ("architecture", "image_size", "mean", "std")}
    return settings | {"dataset": pretrain["dataset"], "splits": pretrain["splits"], "base": base}
