"""A study's bases: their settings checked, and the runs that pretrain them."""

from pathlib import Path

from frugalvit.config.experiments import FROM_NOTHING, NONE, TIMM, run_settings
from frugalvit.config.schema import load_schema, merge, validate
from frugalvit.data.mirror import find_file
from frugalvit.errors import ConfigError
from frugalvit.methods import registry

ONE = "base"  # the key, and the name, of a base that stands alone
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
    if base["source"] == NONE:
        return size
    if base["source"] == "torchvision":
        weights = base["weights"].rpartition(".")[2]
        if weights == "DEFAULT":
            weights = _DEFAULTS.get(base["model"], "IMAGENET1K_V1")
        if weights.startswith(_UNCROPPED):
            return size
        resized, cropped = _PUBLISHED.get((base["model"], weights), (resized, cropped))
    # As many pixels on both sides: an odd number would move the crop off the centre.
    return size + 2 * round(size * (resized - cropped) / cropped / 2)


def without_base(images: dict) -> dict:
    """The `base` of a study that has none: what is seen, and nothing to start from."""
    base = validate({"source": "random"}, "base")
    seen = {"image_size": images["size"], "mean": images["mean"], "std": images["std"]}
    return base | seen | {"source": NONE}


def collect_bases(config: dict) -> None:
    """Fill in `bases`, name -> settings, of a validated study, and `base`, the first of them.

    Raises:
        ConfigError: neither a base nor images, or both, or an experiment that starts from a base.
    """
    if "base" in config and "bases" in config:
        raise ConfigError("base: bases names them all; write this one there, with a name")
    if ONE in config.get("bases", {}):
        raise ConfigError(
            f"bases.{ONE}: the name of a base that stands alone; give it another name"
        )
    if "bases" in config or "base" in config:
        if "images" in config:
            raise ConfigError(
                "images: the base's image_size, mean and std hold; remove images or base"
            )
        config.setdefault("bases", {ONE: config.get("base")})
        config["base"] = next(iter(config["bases"].values()))
        return
    if "images" not in config:
        raise ConfigError(
            "base: missing; add it (the pretrained backbone), or images where all is from scratch"
        )
    for name, raw in config["experiments"].items():
        if registry.method(raw["method"]).based(raw):
            raise ConfigError(
                f"experiments.{name}.method: {raw['method']} starts from a base; add base, or take "
                "another method or, where it has one, a network of its own"
            )
    config["base"] = without_base(config["images"])
    config["bases"] = {ONE: config["base"]}


def base_key(name: str) -> str:
    """The key under which a base of `bases` stands in the study."""
    return ONE if name == ONE else f"bases.{name}"


def check_base(base: dict, mirror: str | None, at: str) -> None:
    """Check what the schema cannot.

    Args:
        base: its settings.
        mirror: folder in which weights are looked for first.
        at: its key.

    Raises:
        ConfigError: one line that names the key and the remedy.
    """
    source = base["source"]
    needs = {"torchvision": "model", "hub": "repository", "file": "file", "pretrain": "pretrain"}
    if source in needs and not base[needs[source]]:
        raise ConfigError(f"{at}.{needs[source]}: missing; base.source {source} needs it")
    if base["check"] and source not in ("file", "hub"):
        raise ConfigError(
            f"{at}.check: base.source {source} brings no weights of timm's naming; leave it out"
        )
    if source == "file" or (source == TIMM and base["file"] and not base["repository"]):
        find_file(base["file"], mirror, f"{at}.file")
    if isinstance(base["architecture"], str) != (source == TIMM):
        wanted = "the name of one of timm's models" if source == TIMM else "a block of keys"
        raise ConfigError(f"{at}.architecture: with base.source {source} write {wanted}")
    architecture = stated_shape(base)
    if source in ("pretrain", "random"):
        known = load_schema()["$defs"]["base"]["properties"]["architecture"]["properties"]
        for key in known:
            if key not in architecture:
                raise ConfigError(
                    f"{at}.architecture.{key}: missing; base.source {source} needs it"
                )
        if architecture["hidden_dim"] % architecture["num_heads"]:
            raise ConfigError(
                f"{at}.architecture.num_heads: {architecture['num_heads']} heads do not divide "
                f"hidden_dim {architecture['hidden_dim']}; choose a divisor"
            )
    check_patches(base, f"{at}.image_size")
    ready = base["pretrain"] and base["pretrain"]["ready_made"]
    if source == "pretrain" and ready and not Path(ready).is_file():
        raise ConfigError(
            f"{at}.pretrain.ready_made: no file '{ready}'; correct the path, or null pretrains anew"
        )


def stated_shape(base: dict) -> dict:
    """What a base's settings state of its architecture; nothing of a model of timm's."""
    return base["architecture"] if isinstance(base["architecture"], dict) else {}


def check_patches(base: dict, key: str) -> None:
    """Refuse a size that is no whole number of patches, where the study tells how large they are.

    Raises:
        ConfigError: names `key`.
    """
    patch = stated_shape(base).get("patch_size")
    if patch and base["image_size"] % patch:
        raise ConfigError(
            f"{key}: {base['image_size']} px is no multiple of the patch size {patch}; "
            f"use {base['image_size'] // patch * patch or patch}"
        )


def pretraining_run(base: dict) -> dict:
    """Settings of the run that makes a base: `training` defaults, the pretraining's own changes."""
    pretrain = base["pretrain"]
    training = validate({}, "training") | FROM_NOTHING
    training = merge(training, pretrain["training"])
    phase = {"train": "all", "epochs": pretrain["epochs"]}
    settings = run_settings("pretrain", pretrain["seed"], training, [phase])
    made = {key: base[key] for key in ("architecture", "image_size", "mean", "std")}
    return settings | {"dataset": pretrain["dataset"], "splits": pretrain["splits"], "base": made}
