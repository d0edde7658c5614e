"""A study cut down to one experiment and what that needs, with settings changed."""

import copy
from collections.abc import Mapping
from typing import Any

from frugalvit.config.matrix import spread_out
from frugalvit.config.schema import merge, validate
from frugalvit.errors import ConfigError
from frugalvit.methods import registry


def one_experiment(config: dict[str, Any], name: str) -> dict[str, Any]:
    """A study of one experiment, of those it starts from, and of those it is compared with.

    Args:
        config: of the study, as its file says.
        name: of the experiment; of a matrix, one that it makes.

    Raises:
        ConfigError: the study breaks its schema, or there is no such experiment.
    """
    config = spread_out(copy.deepcopy(config))
    validate(copy.deepcopy(config))  # what is changed below is what the schema says
    experiments = config["experiments"]
    if name not in experiments:
        known = ", ".join(experiments)
        raise ConfigError(f"--experiment: no experiment '{name}'; the study has {known}")
    needed, pending = {}, [name]
    while pending:
        one = pending.pop()
        if one in needed or one not in experiments:
            continue  # what is missing the study's own check tells
        needed[one] = experiments[one]
        pending += [
            experiments[one][key] for key in ("from", "baseline") if key in experiments[one]
        ]
    kept = {one: raw for one, raw in experiments.items() if one in needed}
    shown = {key: value for key, value in config.get("figures", {}).items() if key != "experiments"}
    return {**config, "experiments": kept, "figures": shown}


def changed(
    config: dict[str, Any],
    name: str,
    *,
    seed: int | None = None,
    fraction: float | None = None,
    unfreeze: str | None = None,
    training: Mapping[str, Any],
) -> dict[str, Any]:
    """A study whose experiment has other settings.

    Args:
        config: as `one_experiment` gives it.
        name: of the experiment.
        seed: of all its runs.
        fraction: of the images that train; the others validate and test as `splits` says.
        unfreeze: in which epoch everything trains, the first or the last; in the others the heads do.
        training: `lr`, of every phase; `epochs`, of all phases, of which the longest takes what the
            others leave; `batch_size`. None leaves a setting as it is.

    Raises:
        ConfigError: a search gives several values of what is not set here, or nothing trains.
    """
    config = copy.deepcopy(config)
    raw = config["experiments"][name]
    asked = {key: value for key, value in training.items() if value is not None}
    _without_search(name, raw, asked)
    method = registry.method(raw["method"])
    if not method.trains:
        raise ConfigError(
            f"--experiment: {name} trains nothing; name the experiment it starts from, {raw.get('from')}"
        )
    if unfreeze:
        word = method.head_phases[0] if method.head_phases else "all"
        _unfreeze(raw, unfreeze, word)
    if "epochs" in asked:
        _leave_rest(raw)
        raw["epochs"] = asked["epochs"]
    if "lr" in asked:
        raw["lr"] = asked["lr"]
        for phase in raw.get("schedule", []):
            phase.pop("lr", None)
    if "batch_size" in asked:
        raw["batch_size"] = asked["batch_size"]
    if fraction is not None:
        divided = {"mode": "fraction", "fraction": fraction}
        config["splits"] = merge(config.get("splits", {}), divided)
    if seed is not None:
        for one in config["experiments"].values():
            one["seeds"] = [seed]
    return config


def _without_search(name: str, raw: dict[str, Any], asked: dict[str, Any]) -> None:
    """Take a search out of an experiment whose searched settings are all given."""
    if "grid" not in raw:
        return
    parameters = raw["grid"].get("parameters", {})
    open_ = sorted(key for key in parameters if key not in asked)
    if open_:
        options = " and ".join(f"--{key.replace('_', '-')}" for key in open_)
        raise ConfigError(
            f"experiments.{name}.grid: searches {', '.join(open_)}, which the workflow does; one run "
            f"needs {options}"
        )
    del raw["grid"]


def _epochs(raw: dict[str, Any]) -> int:
    """Epochs of all phases."""
    own = [phase["epochs"] for phase in raw.get("schedule", [])]
    return raw["epochs"] if "rest" in own else sum(own)


def _unfreeze(raw: dict[str, Any], which: str, word: str) -> None:
    epochs = _epochs(raw)
    heads, everything = {"train": word, "epochs": "rest"}, {"train": "all", "epochs": 1}
    schedules = {
        "none": [heads], "first": [everything, heads], "last": [heads, everything],
    }  # fmt: skip
    raw["schedule"], raw["epochs"] = schedules[which], epochs


def _leave_rest(raw: dict[str, Any]) -> None:
    """Have one phase, the last of the longest, take what the others leave of all epochs."""
    schedule = raw.get("schedule", [])
    if any(phase["epochs"] == "rest" for phase in schedule):
        return
    longest = max(schedule, key=lambda phase: phase["epochs"], default=None)
    if longest is not None:
        longest["epochs"] = "rest"
