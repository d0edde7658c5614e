"""Keys of an experiment that belong to one method: checked, completed, and divided by use."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from frugalvit.config import token_keys
from frugalvit.config.schema import load_schema, validate
from frugalvit.errors import ConfigError

# Encoder blocks of torchvision's models, known here so that a wrong schedule fails before any
# download; other bases are checked by the rules that see the weights.
TORCHVISION_LAYERS = {
    "vit_b_16": 12,
    "vit_b_32": 12,
    "vit_l_16": 24,
    "vit_l_32": 24,
    "vit_h_14": 32,
}
# Of the keys of early exits, those that training depends on; a new target must not train anew.
_TRAINING = ("exits", "exit_head", "depth_power", "distillation")
# Keys that only some methods have, besides those of early exits.
_OWN_KEYS = {
    "avit": ("halting", "baseline", "distillation"),
    "token_merging": ("r",),
    "token_pruning": ("keep_tokens", "prune_blocks"),
}


def known_layers(base: dict) -> int | None:
    """Blocks of the base where the config tells, else None."""
    layers = TORCHVISION_LAYERS.get(base["model"]) if base["source"] == "torchvision" else None
    return layers or (base["architecture"] or {}).get("num_layers")


def depth(raw: dict, config: dict, source: Any | None) -> int | None:
    """Blocks of an experiment's model, where the config tells."""
    kept = raw.get("keep_blocks") or (source.keep_blocks if source else None)
    return kept or known_layers(config["base"])


def of_training(raw: dict) -> dict[str, Any]:
    """What a method adds to the settings that a run is trained with."""
    if raw["method"] == "early_exit":
        keys = _complete(raw)
        return {key: keys[key] for key in _TRAINING}
    if raw["method"] == "avit":
        return token_keys.of_training(raw)
    return {"keep_blocks": raw["keep_blocks"]} if "keep_blocks" in raw else {}


@dataclass(frozen=True)
class Found:
    """What an experiment's own keys say of its evaluation."""

    exits: dict[str, Any] | None = None  # how thresholds of early exits are made
    tokens: dict[str, Any] | None = None  # how tokens that leave are evaluated


def check(
    at: str,
    raw: dict,
    config: dict,
    source: Any | None,
    baseline: Any | None,
    seeds: Sequence[int],
) -> Found:
    """Check an experiment's keys against its method, its source and its baseline.

    Args:
        at: key of the experiment.
        raw: its entry in the config.
        config: the whole study.
        source: the expanded experiment that it starts from, or None.
        baseline: the expanded experiment that it is compared with, or None.
        seeds: the experiment's.

    Raises:
        ConfigError: one line that names the key and the remedy.
    """
    method = raw["method"]
    _check_own_keys(at, raw)
    if source:
        _check_related(f"{at}.from", at, raw, source, seeds)
        if "grid" in raw:
            raise ConfigError(f"{at}.grid: a search starts from the base; remove grid or from")
    if baseline:
        _check_related(f"{at}.baseline", at, raw, baseline, seeds)
    layers = depth(raw, config, source)
    if method in token_keys.TRAINING_FREE:
        return Found(tokens=token_keys.check_training_free(at, raw, layers))
    if "schedule" not in raw:
        raise ConfigError(f"{at}.schedule: missing; {method} trains, and needs its phases")
    if method == "early_exit":
        return Found(exits=_check_exits(at, raw, config, source, layers))
    for index, phase in enumerate(raw["schedule"]):
        if phase["train"] in ("heads", "exits"):
            raise ConfigError(
                f"{at}.schedule[{index}].train: '{phase['train']}' is for method early_exit; "
                "write head"
            )
    if method == "avit":
        name = baseline.name if baseline else None
        return Found(tokens=token_keys.check_halting(at, raw, name, layers))
    _check_kept_blocks(at, raw, config, source)
    return Found()


def _check_own_keys(at: str, raw: dict) -> None:
    of_exits = load_schema()["$defs"]["exit_overrides"]["properties"]
    owners: dict[str, list[str]] = {key: ["early_exit"] for key in of_exits}
    for method, keys in _OWN_KEYS.items():
        for key in keys:
            owners.setdefault(key, []).append(method)
    for key, methods in owners.items():
        if key in raw and raw["method"] not in methods:
            raise ConfigError(
                f"{at}.{key}: only method {' and '.join(methods)} has this; remove it, or set "
                f"method: {methods[0]}"
            )


def _check_kept_blocks(at: str, raw: dict, config: dict, source: Any | None) -> None:
    keep = raw.get("keep_blocks")
    if keep and source:
        raise ConfigError(f"{at}.keep_blocks: cuts the base, not another experiment; remove from")
    layers = known_layers(config["base"])
    if keep and layers and keep > layers:
        raise ConfigError(f"{at}.keep_blocks: {keep}, but the base has {layers} blocks; use fewer")


def _check_related(key: str, at: str, raw: dict, other: Any, seeds: Sequence[int]) -> None:
    if other.method != "fine_tune":
        raise ConfigError(
            f"{key}: '{other.name}' is of method {other.method}; name a fine_tune experiment"
        )
    own = f"splits-{raw['splits']}" if raw.get("splits") else "splits"
    if other.splits != own:
        raise ConfigError(
            f"{at}.splits: '{other.name}' was trained on other splits, whose training images may "
            f"be test images here; use the splits of '{other.name}'"
        )
    absent = [seed for seed in seeds if seed not in other.seeds]
    if absent:
        raise ConfigError(
            f"{at}.seeds: '{other.name}' has no run with seed {absent[0]}; give both the same seeds"
        )


def _complete(raw: dict) -> dict[str, Any]:
    keys = load_schema()["$defs"]["exit_overrides"]["properties"]
    return validate({key: copy.deepcopy(raw[key]) for key in keys if key in raw}, "early_exit")


def _check_exits(
    at: str, raw: dict, config: dict, source: Any | None, layers: int | None
) -> dict[str, Any]:
    keys = _complete(raw)
    if "grid" in raw:
        raise ConfigError(f"{at}.grid: a search is for method fine_tune; remove it")
    if "keep_blocks" in raw:
        raise ConfigError(
            f"{at}.keep_blocks: is for method fine_tune; start from an experiment that has it"
        )
    for index, phase in enumerate(raw["schedule"]):
        where = f"{at}.schedule[{index}].train"
        if phase["train"] == "head":
            raise ConfigError(f"{where}: 'head' is the plain model's; write heads, or exits")
        if phase["train"] == "exits" and index == 0 and not source:
            raise ConfigError(
                f"{where}: 'exits' leaves the model's own head as it is, which the base has not "
                "trained; write heads, or start from an experiment (from)"
            )
    _check_blocks(at, keys, layers)
    _check_targets(at, keys)
    variant = raw.get("splits")
    changes = config["split_variants"][variant] if variant else {}
    if not changes.get("calibration", config["splits"]["calibration"]):
        where = f"split_variants.{variant}" if variant else "splits"
        raise ConfigError(
            f"{where}.calibration: missing; {at} makes its thresholds on calibration images; add "
            "calibration: {from: valid, fraction: 0.5}"
        )
    return {key: value for key, value in keys.items() if key not in _TRAINING}


def _check_blocks(at: str, keys: dict, layers: int | None) -> None:
    if layers and keys["exits"] != "all":
        for index, block in enumerate(keys["exits"]):
            if block > layers:
                raise ConfigError(
                    f"{at}.exits[{index}]: {block}, but the base has {layers} blocks; use 1 to "
                    f"{layers}"
                )
        if set(keys["exits"]) == {layers}:
            raise ConfigError(f"{at}.exits: no exit before the last block; name an earlier one")
    exits = layers if keys["exits"] == "all" else len({*keys["exits"], layers or 0})
    if keys["criterion"] == "patience" and exits and exits < 3:
        raise ConfigError(
            f"{at}.criterion: patience asks exits in a row to agree, and {exits} exits leave it "
            "nothing to decide; use confidence"
        )


def _check_targets(at: str, keys: dict) -> None:
    if not keys["targets"][keys["choose"]]:
        raise ConfigError(
            f"{at}.choose: '{keys['choose']}', but targets.{keys['choose']} is empty; add a target"
        )
    epsilons = [target["epsilon"] for target in keys["targets"]["risk"]]
    for index, epsilon in enumerate(epsilons):
        if epsilon in epsilons[:index]:
            raise ConfigError(
                f"{at}.targets.risk[{index}].epsilon: {epsilon:g} stands twice; keep one delta for it"
            )
