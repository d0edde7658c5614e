"""Where a run falls short: far below what it started from, or of the target that it was given.

The one place that decides it; the summary, the log and the table of results repeat its words.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from frugalvit.chance import sign_test

COLLAPSE = 0.10  # of accuracy lost, more than any method here is meant to cost
SIGNIFICANT = 0.05  # p of the sign test below which the loss is no chance


def collapse(own: pd.DataFrame, source: pd.DataFrame, name: str) -> str:
    """What a run lost against another on the same test images; empty where that is no collapse.

    A collapse is a loss of more than `COLLAPSE` that the exact sign test over the images tells from
    chance: of few images ten points are one or two.

    Args:
        own: the run's predictions: `id, split, label, predicted`.
        source: the other's.
        name: of the other.
    """
    pairs = _right(own).to_frame("own").join(_right(source).rename("source"), how="inner")
    if pairs.empty:
        return ""
    won = int((pairs["own"] & ~pairs["source"]).sum())
    lost = int((~pairs["own"] & pairs["source"]).sum())
    if lost - won <= COLLAPSE * len(pairs) or sign_test(won, lost) >= SIGNIFICANT:
        return ""
    before, after = pairs["source"].mean(), pairs["own"].mean()
    return (
        f"accuracy collapsed: {100 * after:.1f} % of the test images, where {name} has "
        f"{100 * before:.1f} % ({lost} lost, {won} won)"
    )


def _right(predictions: pd.DataFrame) -> pd.Series:
    tested = predictions[predictions["split"] == "test"].set_index("id")
    return tested["label"] == tested["predicted"]


def shortfalls(
    runs: Iterable[Mapping[str, Any]],
    predictions: Mapping[str, pd.DataFrame],
    missed: Mapping[str, list[str]],
) -> dict[str, str]:
    """Run -> what to say of it, of those that fall short.

    Args:
        runs: each `run`, and `compared`: the run that it started from, or is compared with, or None.
        predictions: of the runs that are compared, by run.
        missed: run -> the targets that it missed, in the words of its method (`Method.missed`).
    """
    said = {}
    for run in runs:
        name, other = run["run"], run["compared"]
        found = list(missed.get(name, ()))
        if other and (fallen := collapse(predictions[name], predictions[other], other)):
            found.insert(0, fallen)
        if found:
            said[name] = "; ".join(found)
    return said
