"""Operating points of early exits in words: what each promises, which criteria there are."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from frugalvit.figures import point_words
from frugalvit.operating_point import FULL, is_chosen, point_of

COLUMNS = (
    "run",
    "seed",
    "setting",
    "value",
    "split",
    "n",
    "accuracy",
    "gflops",
    "latency_ms",
    "latency_p95_ms",
    "images_per_s",
    "mean_depth",
    "exit_histogram",
    "criterion",
    "chosen",
    "note",
)
CRITERIA = ("confidence", "entropy", "margin", "patience", "ensemble")
TARGETS = ("budget", "drop", "risk")


def delta_of(epsilon: float, targets: Mapping[str, Any]) -> float | None:
    """The error probability of a risk target, from the config's `targets`; None if it has none.

    `targets["risk"]` is one mapping with `epsilon` and `delta`, or a list of them; a `delta` beside
    it stands for all.
    """
    risks = targets.get("risk") or []
    for risk in risks if isinstance(risks, list | tuple) else [risks]:
        own = risk if isinstance(risk, Mapping) else {}
        if "delta" in own and math.isclose(own.get("epsilon", epsilon), epsilon, rel_tol=1e-6):
            return own["delta"]
    return targets.get("delta")


def points_text(share: float) -> str:
    """'1 point', '0.5 points' from a fraction."""
    return f"{share * 100:g} point{'' if math.isclose(share, 0.01) else 's'}"


def setting_text(setting: str, value: float | None, targets: Mapping[str, Any]) -> str:
    """What an operating point promises: 'risk, at most 2 points lost with 90 % confidence'."""
    if setting == FULL:
        return "full model, no image leaves early"
    if value is None:
        return setting
    if setting == "drop":
        return f"drop, at most {points_text(value)} lost on calibration images"
    if setting == "risk":
        delta = delta_of(value, targets)
        sure = "guaranteed" if delta is None else f"with {(1 - delta) * 100:g} % confidence"
        return f"risk, at most {points_text(value)} lost {sure}"
    return f"{setting}, at most {value * 100:g} % of the full model's GFLOPs"


def deployed_text(points: pd.DataFrame, targets: Mapping[str, Any]) -> str:
    """The deployed point in words, or an empty text if none is marked."""
    deployed = points[is_chosen(points)]
    if deployed.empty:
        return ""
    point = point_of(deployed.iloc[0])
    return setting_text(point.setting, point.value, targets)


def criteria_of(points: pd.DataFrame) -> list[str]:
    """Criteria that have a curve, the known ones in their usual order."""
    found = point_words.curves_of(points, TARGETS)
    return sorted(found, key=lambda name: (CRITERIA.index(name) if name in CRITERIA else 9, name))


def targets_of(points: pd.DataFrame) -> list[pd.DataFrame]:
    """The seeds' rows of every target but `full`, in the config's order.

    A deployed point of a criterion's curve counts as a target.
    """
    wanted = points["setting"].isin(TARGETS) | (is_chosen(points) & (points["setting"] != FULL))
    order = {name: place for place, name in enumerate(TARGETS)}
    groups = points[wanted].groupby(["setting", "value"], dropna=False)
    found = sorted(groups, key=lambda group: (order.get(group[0][0], 9), group[0][1]))
    return [rows for _, rows in found]
