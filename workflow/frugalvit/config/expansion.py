"""All experiments of a study, each after those that it builds on."""

from frugalvit.config.experiments import Experiment, Run, expand
from frugalvit.config.foreign_keys import check_own_keys
from frugalvit.config.sized_bases import SizedBase, base_named, check_inherited, folder_of
from frugalvit.errors import ConfigError

BASE = "base"  # what an experiment says that starts from no other
LONGEST_CHAIN = (
    100  # of experiments, each from the one before; Snakemake goes through it by recursion
)


def expanded(
    config: dict, bases: dict[str, SizedBase]
) -> tuple[dict[str, Experiment], dict[str, Run]]:
    """All experiments of a validated config and all their runs, in the config's order.

    Args:
        config: the study.
        bases: that experiments start from, by folder.
    """
    experiments: dict[str, Experiment] = {}
    runs: dict[str, Run] = {}
    found: dict[str, tuple[Experiment, dict[str, Run]]] = {}
    for name, raw in config["experiments"].items():
        check_own_keys(f"experiments.{name}", raw)
    for name in _sources_first(config["experiments"]):
        raw = config["experiments"][name]
        if raw.get("from") == BASE:
            del raw["from"]
        base = _base_of(name, raw, config, bases, found)
        # Its own base, at its size, in place of the study's first.
        own = config | {"base": bases[base].settings}
        found[name] = expand(name, raw, own, found, base)
    for name in config["experiments"]:
        experiments[name] = found[name][0]
        runs.update(found[name][1])
    return experiments, runs


def _base_of(
    name: str,
    raw: dict,
    config: dict,
    bases: dict[str, SizedBase],
    found: dict[str, tuple[Experiment, dict[str, Run]]],
) -> str:
    """Folder of the base, at a size, that an experiment starts from, be it through another."""
    at = f"experiments.{name}"
    if "from" in raw:
        folder = found[raw["from"]][0].base
        check_inherited(config, at, raw, raw["from"], bases[folder])
    else:
        base = base_named(config, raw, at)
        size = raw.get("image_size", config["bases"][base]["image_size"])
        folder = folder_of(config, base, size)
    return folder


def _sources_first(raw: dict[str, dict]) -> list[str]:
    """Names of experiments in an order in which each comes after those that it builds on."""
    if BASE in raw and any(entry.get("from") == BASE for entry in raw.values()):
        raise ConfigError(f"experiments.{BASE}: the name of the pretrained base; choose another")
    ordered: dict[str, int] = {}  # name -> experiments that it builds on, one upon the other
    for first in raw:
        chain = [first]
        while chain:
            name = chain[-1]
            waited_for = _named(name, raw)
            missing = next((key for key, other in waited_for.items() if other not in ordered), None)
            if missing is None:
                ordered[name] = 1 + max(
                    (ordered[other] for other in waited_for.values()), default=0
                )
                chain.pop()
                if ordered[name] > LONGEST_CHAIN:
                    raise ConfigError(
                        f"experiments.{name}.{next(iter(waited_for))}: more than {LONGEST_CHAIN} "
                        "experiments build one upon the other; start from an earlier one"
                    )
            elif waited_for[missing] in chain:
                loop = " from ".join(
                    [*chain[chain.index(waited_for[missing]) :], waited_for[missing]]
                )
                raise ConfigError(f"experiments.{name}.{missing}: leads back to itself ({loop})")
            else:
                chain.append(waited_for[missing])
    return list(ordered)


def _named(name: str, raw: dict[str, dict]) -> dict[str, str]:
    """The experiments that one names, by the key that does."""
    found = {key: raw[name][key] for key in ("from", "baseline") if raw[name].get(key)}
    if found.get("from") == BASE:
        del found["from"]
    for key, other in found.items():
        if other not in raw:
            raise ConfigError(
                f"experiments.{name}.{key}: no experiment '{other}'; "
                f"use one of: {', '.join(known for known in raw if known != name)}"
            )
    return found
