"""Experiments that stand for several: recipes taken over, a matrix spread out, all before any check."""

import copy
import itertools
import math
import re
from typing import Any

from frugalvit.config.grids import MOST_POINTS, set_setting
from frugalvit.config.lines import key_path
from frugalvit.config.schema import merge, validate
from frugalvit.errors import ConfigError, shown

LONGEST_NAME = 60  # of an experiment


def spread_out(config: dict) -> dict:
    """A configuration whose experiments have neither `matrix` nor `recipe`; what is no block stays.

    Each combination of a matrix becomes an experiment, named after the values that differ, in the order
    of `itertools.product`. A recipe's keys stand under the experiment's own.

    Raises:
        ConfigError: no such recipe or setting, or two experiments of one name.
    """
    experiments = config.get("experiments")
    if not isinstance(experiments, dict):
        return config
    recipes = _recipes(config)
    found: dict[Any, Any] = {}
    for name, raw in experiments.items():
        if not isinstance(raw, dict):
            _add(found, name, raw)
            continue
        for own, entry in _combinations(name, raw, recipes):
            _add(found, own, entry)
    kept = {key: value for key, value in config.items() if key != "recipes"}
    return {**kept, "experiments": found}


def _recipes(config: dict) -> dict[str, dict]:
    recipes = config.get("recipes", {})
    validate({"recipes": recipes}, "with_recipes")
    for name, own in recipes.items():
        for key in ("matrix", "recipe"):
            if key in own:
                raise ConfigError(
                    f"recipes.{name}.{key}: a recipe cannot hold this; write it in the experiment"
                )
    return recipes


def _add(found: dict, name: Any, entry: Any) -> None:
    if name in found:
        key = key_path(["experiments", name])
        raise ConfigError(f"{key}: a matrix makes another of this name; rename one of them")
    found[name] = entry


def _combinations(name: str, raw: dict, recipes: dict[str, dict]) -> list[tuple[str, dict]]:
    """Name and entry of every combination of an entry's matrix; the entry alone where it has none.

    The recipe is taken over first, so that a matrix may vary what it brings.
    """
    if "matrix" not in raw:
        return [(name, _with_recipe(name, raw, recipes))]
    at = f"experiments.{name}.matrix"
    matrix = validate({"matrix": raw["matrix"]}, "with_matrix", f"experiments.{name}")["matrix"]
    count = math.prod(len(values) for values in matrix.values())
    if count > MOST_POINTS:
        raise ConfigError(
            f"{at}: {count:,} experiments, at most {MOST_POINTS:,} can be made; shorten the lists"
        )
    found = []
    plain = {key: value for key, value in raw.items() if key != "matrix"}
    for values in itertools.product(*matrix.values()):
        chosen = dict(zip(matrix, values))
        of_recipe = {"recipe": chosen["recipe"]} if "recipe" in chosen else {}
        entry = _with_recipe(name, copy.deepcopy(plain) | of_recipe, recipes)
        suffix = []
        for setting, value in chosen.items():
            if setting in ("matrix", "grid"):
                raise ConfigError(f"{at}.{setting}: a matrix cannot vary this; remove it")
            if setting != "recipe":
                set_setting(f"{at}.{setting}", entry, setting, value)
            if len(matrix[setting]) > 1:
                suffix.append(_words(setting, value, matrix[setting]))
        own = "_".join([str(name), *suffix])
        if len(own) > LONGEST_NAME:
            raise ConfigError(
                f"{at}: {shown(own)} is longer than {LONGEST_NAME} letters; give the experiment a "
                "shorter name, or divide the matrix"
            )
        found.append((own, entry))
    return found


def _words(setting: str, value: Any, values: list) -> str:
    """What tells one value of a setting from its others: `num_heads_8`, `source`."""
    if isinstance(value, dict | list):
        value = values.index(value)
    text = re.sub(r"[^a-z0-9]+", "_", str(value).lower()).strip("_")
    if isinstance(value, str) and text:
        return text
    key = re.sub(r"[^a-z0-9]+", "_", setting.rpartition(".")[2].lower()).strip("_")
    return f"{key}_{text}"


def _with_recipe(name: str, entry: dict, recipes: dict[str, dict]) -> dict:
    if "recipe" not in entry:
        return entry
    recipe = entry["recipe"]
    if not isinstance(recipe, str) or recipe not in recipes:
        known = ", ".join(recipes) or "none"
        raise ConfigError(
            f"experiments.{name}.recipe: no recipe {shown(recipe)}; recipes has {known}"
        )
    return merge(recipes[recipe], {key: value for key, value in entry.items() if key != "recipe"})
