"""Classes and boxes of all experiments as a table, beside numbers that others published, as HTML."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from frugalvit.chance import interval_text
from frugalvit.figures import tables
from frugalvit.figures.about import About
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
_STYLE = """
body { font: 14px/1.5 system-ui, "DejaVu Sans", sans-serif; color: #1a1a1a; margin: 24px; }
h1 { font-size: 18px; margin: 0 0 4px; }
h2 { font-size: 15px; margin: 18px 0 4px; }
p { max-width: 90ch; color: #444; margin: 4px 0 12px; }
table { border-collapse: collapse; }
th, td { padding: 4px 9px; text-align: right; white-space: nowrap; border-bottom: 1px solid #ddd; }
th { white-space: normal; vertical-align: bottom; border-bottom: 2px solid #444; font-weight: 600; }
th:first-child, td:first-child { text-align: left; white-space: normal; }
tr.published td { color: #666; font-style: italic; }
td.most { font-weight: 700; background: #eef4fa; }
td small { display: block; color: #666; font-weight: 400; font-style: normal; }
"""


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
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{escape(study)}</title>"
        f"<style>{_STYLE}</style><h1>{escape(study)}: classes and boxes</h1>"
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
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    body = []
    for name, rows in groups:
        n = int(rows["n"].iloc[0])
        cells = [
            _cell(tables.percent(rows[measure]), rows[measure].mean(), most[measure],
                  n if measure != "mean_iou" else 0)
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
    return (
        f"<h2>{SPLIT_NAMES[split].capitalize()} images</h2>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"
    )


def _cell(text: str, value: float, most: float, n: int) -> str:
    """A share with its interval where `n` images gave it; marked where it is the most."""
    marked = " class='most'" if value >= most - 1e-9 else ""
    beneath = f"<small>{interval_text(value, n)}</small>" if n and not np.isnan(value) else ""
    return f"<td{marked}>{escape(text.removesuffix(' %'))}{beneath}</td>"
