"""The base's depth, and experiments that start from others or are compared with them."""

from typing import TYPE_CHECKING, Any

from frugalvit.errors import ConfigError
from frugalvit.models.architectures import ARCHITECTURE_KEYS, named_architecture

if TYPE_CHECKING:
    from frugalvit.config.experiments import Experiment


def known_architecture(base: dict) -> dict[str, Any] | None:
    """The base's architecture where the config tells all of it, else None: a weights file does."""
    if base["source"] == "torchvision":
        return named_architecture(base["model"], base["image_size"]) if base["model"] else None
    if not isinstance(base["architecture"], dict | None):  # a name that timm knows
        return None
    told = {**(base["architecture"] or {}), "image_size": base["image_size"]}
    return told if set(ARCHITECTURE_KEYS) <= set(told) else None


def known_layers(base: dict) -> int | None:
    """Blocks of the base where the config tells, else None."""
    stated = base["architecture"] if isinstance(base["architecture"], dict) else {}
    return (known_architecture(base) or stated).get("num_layers")


def depth(raw: dict, config: dict, source: "Experiment | None") -> int | None:
    """Blocks of an experiment's model, where the config tells."""
    kept = raw.get("keep_blocks") or (source.keep_blocks if source else None)
    return kept or known_layers(config["base"])


def check_whole(at: str, raw: dict[str, Any], config: dict, plain: str) -> None:
    """Check an experiment whose base is a model of timm's, which stands as it is.

    Args:
        at: key of the experiment.
        raw: its entry.
        config: the study, its `base` the experiment's own.
        plain: the method of the network itself.

    Raises:
        ConfigError: it asks for what only this project's ViT can do.
    """
    name = f"timm's {config['base']['architecture']}"
    if raw["method"] != plain:
        raise ConfigError(
            f"{at}.method: {raw['method']} adapts the blocks of a ViT, and {name} stands as it is; "
            f"write {plain}, or load a ViT's weights with source file or hub"
        )
    if "keep_blocks" in raw:
        raise ConfigError(f"{at}.keep_blocks: {name} is answered whole; remove it")
    for index, phase in enumerate(raw.get("schedule", ())):
        if isinstance(phase["train"], dict):
            raise ConfigError(
                f"{at}.schedule[{index}].train: {name} has no blocks that train apart; write head or all"
            )
    for key in ("dropout", "stochastic_depth"):
        if raw.get(key, config["training"][key]):
            raise ConfigError(f"{at}.{key}: {name} is trained without; set it to 0")


def check_related(key: str, at: str, raw: dict[str, Any], other: "Experiment", plain: str) -> None:
    """Check an experiment that another starts from, or is compared with.

    Args:
        key: that names it.
        at: key of the experiment that does.
        raw: its entry, `seeds` among its keys.
        other: the one named.
        plain: the method that it must be of.

    Raises:
        ConfigError: another method, other splits or other seeds.
    """
    if other.method != plain:
        raise ConfigError(
            f"{key}: '{other.name}' is of method {other.method}; name a {plain} experiment"
        )
    own = f"splits-{raw['splits']}" if raw.get("splits") else "splits"
    if other.splits != own:
        raise ConfigError(
            f"{at}.splits: '{other.name}' was trained on other splits, whose training images may "
            f"be test images here; use the splits of '{other.name}'"
        )
    absent = [seed for seed in raw["seeds"] if seed not in other.seeds]
    if absent:
        raise ConfigError(
            f"{at}.seeds: '{other.name}' has no run with seed {absent[0]}; give both the same seeds"
        )
