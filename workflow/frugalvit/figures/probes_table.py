"""Classifiers on frozen embeddings as a table, beside the runs' own answers, as HTML."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import pandas as pd

from frugalvit.chance import interval_text
from frugalvit.figures import html_page, tables
from frugalvit.figures.about import About
from frugalvit.figures.style import DASH
from frugalvit.words import SPLIT_NAMES

NAMES = {
    "svc": "support vectors, %",
    "logistic": "logistic regression, %",
    "knn": "5 nearest neighbours, %",
    "svc_same_images": "support vectors scored on the images they were fitted on, %",
}
OWN = "its own answers, %"
NEEDS = {
    "run_probes": ("probe", "fitted_n", "split", "n", "accuracy"),
    "summary": ("experiment", "run", "seed", "split", "n", "accuracy"),
}


def plot(given: Mapping[str, pd.DataFrame], about: About) -> str:
    """See `figures.plotting`."""
    return draw(
        given["run_probes"],
        given["summary"],
        study=about.study,
        experiments=about.options["experiments"],
        published=about.options["published"],
    )


def draw(
    probes: pd.DataFrame,
    summary: pd.DataFrame,
    *,
    study: str,
    experiments: Sequence[str],
    published: Sequence[Mapping[str, Any]],
) -> str:
    """A table a split: an experiment a row, a probe a column; then what others published.

    Args:
        probes: rows of runs' `probes.csv`, with `run`.
        summary: rows of `summary.csv`.
        study: its name.
        experiments: in the order of their rows.
        published: `name`, `split`, `measures` (`accuracy`, or a probe's name) each.
    """
    names = [name for name in NAMES if (probes["probe"] == name).any()]
    own = summary.set_index("run")["experiment"].groupby(level=0).first()
    probes = probes.assign(experiment=probes["run"].map(own))
    parts = []
    for split in ("valid", "test"):
        rows = [
            _row(name, probes[probes["split"] == split], summary[summary["split"] == split], names)
            for name in experiments
        ]
        rows = [row for row in rows if row]
        for other in published:
            told = [other["measures"].get(name) for name in ("accuracy", *names)]
            if other["split"] == split and any(value is not None for value in told):
                shares = [DASH if value is None else f"{value * 100:.2f}" for value in told]
                rows.append(html_page.row([other["name"], DASH, *shares], published=True))
        headings = ("experiment", "seeds", OWN, *(NAMES[name] for name in names))
        parts.append(html_page.table(f"{SPLIT_NAMES[split].capitalize()} images", headings, rows))
    most = int(probes["fitted_n"].max())
    return (
        f"{html_page.html_head(f'{study}: what embeddings know')}"
        "<p>Classifiers of scikit-learn on what each trained network's own classifier reads, fitted on "
        f"at most {most:,} images; mean over seeds ± standard deviation, the 95 % interval of one "
        "model's share beneath (Wilson's). What is scored on the images that it was fitted on says how "
        "well they are remembered, not how well others are told apart. In italics: as others "
        "published it.</p>"
        f"{''.join(parts)}</html>\n"
    )


def _row(name: str, probes: pd.DataFrame, summary: pd.DataFrame, names: Sequence[str]) -> str:
    mine = summary[summary["experiment"] == name]
    found = probes[probes["experiment"] == name]
    mine = mine[mine["run"].isin(found["run"])]
    if mine.empty:
        return ""
    columns = [mine, *(found[found["probe"] == probe] for probe in names)]
    cells = "".join(
        f"<td>{escape(tables.percent(one['accuracy']).removesuffix(' %'))}"
        f"<small>{interval_text(one['accuracy'].mean(), int(one['n'].iloc[0]))}</small></td>"
        for one in columns
    )
    return f"<tr><td>{escape(name)}</td><td>{len(mine)}</td>{cells}</tr>"
