"""Operating points in figures: the curve in use, means over seeds, numbers with their spread."""

from collections.abc import Sequence

import pandas as pd

from frugalvit.figures import style
from frugalvit.operating_point import FULL, is_chosen


def curves_of(points: pd.DataFrame, targets: Sequence[str]) -> list[str]:
    """Settings that make curves: neither aimed at nor the plain model."""
    return [str(name) for name in points["setting"].unique() if name not in (FULL, *targets)]


def criterion_in_use(points: pd.DataFrame, targets: Sequence[str]) -> str | None:
    """The criterion by which the targets are reached; else the first that has a curve."""
    of_targets = points[points["setting"].isin([FULL, *targets])]
    for rows in (points[is_chosen(points)], of_targets):
        named = rows["criterion"].dropna()
        if len(named):
            return str(named.iloc[0])
    return next(iter(curves_of(points, targets)), None)


def of_use(points: pd.DataFrame, targets: Sequence[str]) -> pd.DataFrame:
    """One experiment's points without the curves of criteria that are not in use.

    `targets` are its method's settings that are aimed at; where there is none, its points are one
    curve.
    """
    used = criterion_in_use(points, targets) if targets else None
    return points if used is None else points[points["setting"].isin([FULL, *targets, used])]


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


def spread_text(values: pd.Series, digits: int) -> str:
    """'2.41 ± 0.05' of the seeds' values; a dash where there is none."""
    values = values.dropna()
    if values.empty:
        return style.DASH
    spread = f" ± {values.std():.{digits}f}" if len(values) > 1 else ""
    return f"{values.mean():.{digits}f}{spread}"
