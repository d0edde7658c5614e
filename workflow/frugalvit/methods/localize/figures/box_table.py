"""Classes and boxes of all experiments as a table, beside numbers that others published, as HTML."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from frugalvit.chance import interval_text
from frugalvit.figures import tables
from frugalvit.figures.about import About
from frugalvit.figures.html_page import html_head, table
from frugalvit.figures.style import DASH
from frugalvit.words import SPLIT_NAMES

MEASURES = {  # name -> heading; all are shares
    "accuracy": "class right, %",
    "mean_iou": "mean IoU, %",
    "iou_50": "IoU ≥ .50, %",
    "iou_75": "IoU ≥ .75, %",
    "iou_90": "IoU ≥ .90, %",
    "joint": "class right and IoU ≥ .50, %",
}
NEEDS = {
    "metrics": ("run", "split", "n", "accuracy"),
    "summary": ("experiment", "run", "seed", "split", "device"),
}


def plot(given: Mapping[str, pd.DataFrame], about: About) -> str:
    """See `figures.plotting`."""
    return draw(
        given["metrics"],
        given["summary"],
        study=about.study,
        experiments=about.options["listed"]["box_table"],
        published=about.options["published"],
    )


def draw(
    metrics: pd.DataFrame,
    summary: pd.DataFrame,
    *,
    study: str,
    experiments: Sequence[str],
    published: Sequence[Mapping[str, Any]],
) -> str:
    """A table a split: an experiment a row, then what others published, in grey.

    Args:
        metrics: rows of `metrics.csv`.
        summary: rows of `summary.csv`.
        study: its name.
        experiments: in the order of their rows.
        published: `name`, `split`, `n` (may lack), `measures` (name -> share) each.
    """
    of_runs = summary[["experiment", "run", "seed", "split", "device"]]
    told = metrics.merge(of_runs, on=["run", "split"])
    parts = []
    for split in ("valid", "test"):
        others = [row for row in published if row["split"] == split]
        own = told[(told["split"] == split) & told["experiment"].isin(experiments)]
        if len(own):
            parts.append(_table(own, experiments, others, split))
    devices = escape(", ".join(sorted(told["device"].dropna().unique())))
    seeds = escape(tables.seeds_text(told.loc[told["experiment"].isin(experiments), "seed"]))
    return (
        f"{html_head(f'{study}: classes and boxes')}"
        f"<p>Mean over seeds ± standard deviation ({seeds}); beneath, the 95 % interval of one "
        "model's share (Wilson's): what it may be on other images like these. The most of each "
        f"column is marked. In italics: as others published it. Trained on: {devices}.</p>"
        f"{''.join(parts)}</html>\n"
    )


def _table(
    own: pd.DataFrame, experiments: Sequence[str], others: Sequence[Mapping[str, Any]], split: str
) -> str:
    """One split's heading and table."""
    groups = [(name, own[own["experiment"] == name]) for name in experiments]
    groups = [(name, rows) for name, rows in groups if len(rows)]
    measures = [name for name in MEASURES if name in own and own[name].notna().any()]
    means = {name: [rows[name].mean() if name in rows else np.nan for _, rows in groups]
             for name in measures}  # fmt: skip
    foreign = {name: [row["measures"].get(name, np.nan) for row in others] for name in measures}
    most = {name: np.nanmax([*means[name], *foreign[name]]) for name in measures}
    headings = ("experiment", "seeds", "images", *(MEASURES[name] for name in measures))
    body = []
    for name, rows in groups:
        n = int(rows["n"].iloc[0])
        cells = [
            _cell(tables.percent(rows[measure]), rows[measure].mean(), most[measure],
                  _counted(rows, measure))
            for measure in measures
        ]  # fmt: skip
        body.append(
            f"<tr><td>{escape(name)}</td><td>{len(rows)}</td><td>{n}</td>{''.join(cells)}</tr>"
        )
    for row in others:
        cells = []
        for measure in measures:
            value = row["measures"].get(measure, np.nan)
            text = DASH if np.isnan(value) else f"{value * 100:.2f} %"
            cells.append(_cell(text, value, most[measure], row.get("n") or 0))
        body.append(
            f"<tr class='published'><td>{escape(row['name'])}</td><td>{DASH}</td>"
            f"<td>{row.get('n') or DASH}</td>{''.join(cells)}</tr>"
        )
    return table(f"{SPLIT_NAMES[split].capitalize()} images", headings, body)


def _counted(rows: pd.DataFrame, measure: str) -> int:
    """Images that a share is of: of boxes, those that have one; 0 of what is no share of images."""
    if measure == "mean_iou":
        return 0
    counted = "boxed" if measure != "accuracy" and "boxed" in rows else "n"
    return 0 if pd.isna(rows[counted].iloc[0]) else int(rows[counted].iloc[0])


def _cell(text: str, value: float, most: float, n: int) -> str:
    """A share with its interval where `n` images gave it; marked where it is the most."""
    marked = " class='most'" if value >= most - 1e-9 else ""
    beneath = f"<small>{interval_text(value, n)}</small>" if n and not np.isnan(value) else ""
    return f"<td{marked}>{escape(text.removesuffix(' %'))}{beneath}</td>"
