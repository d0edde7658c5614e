"""Grid searches: which points are tried, and how many runs a study may have."""

import copy
import math
import random
from collections.abc import Sequence
from typing import Any

from frugalvit.config.lines import key_path, steps_of
from frugalvit.config.schema import hashable, validate
from frugalvit.errors import ConfigError, shown

MOST_RUNS = 5_000  # of a study; each is several jobs of Snakemake
MOST_POINTS = 1_000  # of a grid
MOST_CHOICES = 20_000  # points times seeds: each final run carries the settings of all points
_FIXED = ("splits", "seeds", "method", "from", "baseline", "keep_blocks", "base", "image_size")


def check_runs(config: dict) -> None:
    """Count the runs of a validated study before they are spread out.

    Raises:
        ConfigError: there are more than anybody waits for.
    """
    runs = 0
    for name, raw in config["experiments"].items():
        key, grid = f"experiments.{name}.grid", raw.get("grid")
        seeds = len(raw.get("seeds", config["seeds"]))
        points = _points_tried(grid) if grid else 0
        if points > MOST_POINTS:
            raise ConfigError(
                f"{key}: {points:,} points, at most {MOST_POINTS:,} can be tried; set max_sets"
            )
        if points * seeds > MOST_CHOICES:
            raise ConfigError(
                f"{key}: {points:,} points for each of {seeds:,} seeds, at most {MOST_CHOICES:,} in "
                "all; lower max_sets or name fewer seeds"
            )
        runs += seeds + points * (len(grid["seeds"] or [0]) if grid else 0)
    if runs > MOST_RUNS:
        raise ConfigError(
            f"experiments: {runs:,} runs, at most {MOST_RUNS:,} can be in a study; name fewer seeds, "
            "or divide it"
        )


def _combinations(grid: dict) -> int:
    return math.prod(len(values) for values in grid["parameters"].values())


def _points_tried(grid: dict) -> int:
    most, all_of_them = grid["max_sets"], _combinations(grid)
    return min(most, all_of_them) if most else all_of_them


def grid_points(at: str, grid: dict) -> list[dict]:
    """The grid's points in a fixed order; `max_sets` of them drawn by `seed`, still in order.

    Args:
        at: key of its experiment.
        grid: validated; it may span far more points than are drawn.

    Raises:
        ConfigError: it spans more points than can be drawn from.
    """
    keys = sorted(grid["parameters"])
    values = [grid["parameters"][key] for key in keys]
    combinations, tried = _combinations(grid), _points_tried(grid)
    places: Sequence[int] = range(combinations)
    if tried < combinations:
        try:
            places = sorted(random.Random(grid["seed"]).sample(places, tried))
        except OverflowError:  # of range, beyond 2^63
            raise ConfigError(
                f"{at}.grid.parameters: more than 2^63 points; shorten the lists"
            ) from None
    return [dict(zip(keys, _point(values, place))) for place in places]


def _point(values: list[list], place: int) -> list:
    """The point at a place of `itertools.product`, whose last list turns fastest."""
    chosen = []
    for choices in reversed(values):
        place, index = divmod(place, len(choices))
        chosen.append(choices[index])
    return chosen[::-1]


def apply_point(at: str, raw: dict, point: dict) -> dict:
    """A copy of an experiment with a grid point's settings in place, validated again.

    Args:
        at: key of the experiment.
        raw: its entry.
        point: setting -> value; text that stands for a number becomes it, here too.

    Raises:
        ConfigError: there is no such setting, or it takes no such value.
    """
    chosen = copy.deepcopy({key: value for key, value in raw.items() if key != "grid"})
    for setting, value in point.items():
        where = f"{at}.grid.parameters.{setting}"
        if setting in _FIXED:
            raise ConfigError(f"{where}: a grid cannot vary this; write one experiment for each")
        place, last = set_setting(where, chosen, setting, value)
        try:
            validate(chosen, "experiment", at)
        except ConfigError as error:
            raise ConfigError(f"{where}: {shown(value)} does not fit: {error}") from None
        point[setting] = place[last]
    return chosen


def set_setting(where: str, raw: dict, setting: str, value: Any) -> tuple[Any, str | int]:
    """Put a value at `lr` or `schedule[1].lr` of an experiment's entry, in place.

    Args:
        where: key to name.
        raw: the entry.
        setting: dotted, and indexed for lists.
        value: of it.

    Returns:
        The block or list that holds it now, and under which key or index.

    Raises:
        ConfigError: there is no such place.
    """
    steps = steps_of(setting)
    place: Any = raw
    try:
        for step in steps[:-1]:
            place = place[step] if isinstance(step, int) else place.setdefault(step, {})
        place[steps[-1]] = copy.deepcopy(value)  # points of a grid must not share a block
    except (IndexError, KeyError, TypeError, AttributeError):
        schedule = raw.get("schedule", [0])
        last = len(schedule) - 1 if isinstance(schedule, list) else 0
        example = key_path(["schedule", last, "lr"])
        raise ConfigError(
            f"{where}: no such setting; write a key such as lr or {example}"
        ) from None
    return place, steps[-1]


def check_distinct(at: str, points: list[dict], settings: list[dict]) -> None:
    """Refuse two points that train the same, as where a phase overrides what the grid varies.

    Args:
        at: key of the experiment.
        points: of its grid.
        settings: of the runs at these points.

    Raises:
        ConfigError: names a setting in which two such points differ.
    """
    first: dict[Any, dict] = {}
    for point, trained in zip(points, settings):
        twin = first.setdefault(hashable(trained), point)
        if twin is point:
            continue
        setting = next(
            (key for key in point if hashable(point[key]) != hashable(twin[key])), next(iter(point))
        )
        raise ConfigError(
            f"{at}.grid.parameters.{setting}: {shown(twin[setting])} and {shown(point[setting])} train "
            "the same; remove one of them, or the key in a phase or in the grid that overrides it"
        )
