"""The base's depth, and experiments that start from others or are compared with them."""

from typing import TYPE_CHECKING, Any

from frugalvit.errors import ConfigError

if TYPE_CHECKING:
    from frugalvit.config.experiments import Experiment

# Encoder blocks of torchvision's models, known here so that a wrong schedule fails before any
# download; other bases are checked by the rules that see the weights.
TORCHVISION_LAYERS = {
    "vit_b_16": 12,
    "vit_b_32": 12,
    "vit_l_16": 24,
    "vit_l_32": 24,
    "vit_h_14": 32,
}


def known_layers(base: dict) -> int | None:
    """Blocks of the base where the config tells, else None."""
    layers = TORCHVISION_LAYERS.get(base["model"]) if base["source"] == "torchvision" else None
    return layers or (base["architecture"] or {}).get("num_layers")


def depth(raw: dict, config: dict, source: "Experiment | None") -> int | None:
    """Blocks of an experiment's model, where the config tells."""
    kept = raw.get("keep_blocks") or (source.keep_blocks if source else None)
    return kept or known_layers(config["base"])


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
