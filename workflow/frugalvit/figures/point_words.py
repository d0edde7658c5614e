"""Operating points of early exits: their words, their curves, the one that is deployed."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from frugalvit.figures import style

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
    "criterion",
    "chosen",
    "note",
)
CRITERIA = ("confidence", "entropy", "margin", "patience", "ensemble")
TARGETS = ("full", "budget", "drop", "risk")


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


def setting_text(setting: str, value: float, targets: Mapping[str, Any]) -> str:
    """What an operating point promises: 'risk, at most 2 points lost with 90 % confidence'."""
    if setting == "full":
        return "full model, no image leaves early"
    if pd.isna(value):
        return setting
    if setting == "drop":
        return f"drop, at most {points_text(value)} lost on calibration images"
    if setting == "risk":
        delta = delta_of(value, targets)
        sure = "guaranteed" if delta is None else f"with {(1 - delta) * 100:g} % confidence"
        return f"risk, at most {points_text(value)} lost {sure}"
    return f"{setting}, at most {value * 100:g} % of the full model's GFLOPs"


def is_chosen(points: pd.DataFrame) -> pd.Series:
    """Whether each row is of the deployed point; a CSV's True may come as text."""
    return points["chosen"].astype(str).str.lower().isin(("true", "1", "1.0"))


def deployed_text(points: pd.DataFrame, targets: Mapping[str, Any]) -> str:
    """The deployed point in words, or an empty text if none is marked."""
    deployed = points[is_chosen(points)]
    if deployed.empty:
        return ""
    row = deployed.iloc[0]
    return setting_text(row["setting"], row["value"], targets)


def criterion_in_use(points: pd.DataFrame) -> str | None:
    """The criterion by which the targets are reached; else the first that has a curve."""
    of_targets = points[points["setting"].isin(TARGETS)]
    for rows in (points[is_chosen(points)], of_targets):
        named = rows["criterion"].dropna()
        if len(named):
            return str(named.iloc[0])
    return next(iter(criteria_of(points)), None)


def criteria_of(points: pd.DataFrame) -> list[str]:
    """Criteria that have a curve, the known ones in their usual order."""
    found = [str(name) for name in points["setting"].unique() if name not in TARGETS]
    return sorted(found, key=lambda name: (CRITERIA.index(name) if name in CRITERIA else 9, name))


def curve(points: pd.DataFrame, criterion: str) -> pd.DataFrame:
    """A criterion's points averaged over seeds, cheapest first.

    A value that only some seeds reached is left out, unless no value is common to all: the mean
    would jump with the seeds that it is of.
    """
    own = points[points["setting"] == criterion]
    counts = own.groupby("value")["run"].nunique()
    common = counts.index[counts == own["run"].nunique()]
    own = own[own["value"].isin(common)] if len(common) else own
    columns = ["accuracy", "gflops", "latency_ms"]
    means = own.groupby("value")[columns].mean() if len(common) else own[columns]
    return means.sort_values("gflops", kind="stable")


def targets_of(points: pd.DataFrame) -> list[tuple[str, float, pd.DataFrame]]:
    """Setting, value and the seeds' rows of every target but `full`, in the config's order.

    A deployed point of a criterion's curve counts as a target.
    """
    wanted = points["setting"].isin(TARGETS[1:])
    wanted |= is_chosen(points) & (points["setting"] != "full")
    order = {name: place for place, name in enumerate(TARGETS)}
    groups = points[wanted].groupby(["setting", "value"], dropna=False)
    found = [(setting, value, rows) for (setting, value), rows in groups]
    return sorted(found, key=lambda target: (order.get(target[0], 9), target[1]))


def spread_text(values: pd.Series, digits: int) -> str:
    """'2.41 ± 0.05' of the seeds' values; a dash where there is none."""
    values = values.dropna()
    if values.empty:
        return style.DASH
    spread = f" ± {values.std():.{digits}f}" if len(values) > 1 else ""
    return f"{values.mean():.{digits}f}{spread}"
