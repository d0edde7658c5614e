"""Networks from scratch as a table: parameters, accuracy, loss, throughput, beside published numbers."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import pandas as pd

from frugalvit.chance import interval_text
from frugalvit.figures import html_page, tables
from frugalvit.figures.about import About
from frugalvit.figures.style import DASH
from frugalvit.words import SPLIT_NAMES

NEEDS = {
    "summary": (
        "experiment", "run", "seed", "split", "n", "accuracy", "loss", "gflops", "images_per_s",
        "params_m", "train_seconds", "device",
    ),
    "metrics": ("run", "split", "n", "accuracy"),
}  # fmt: skip
HEADINGS = (
    "experiment", "seeds", "parameters", "GFLOPs an image", "accuracy, %", "cross-entropy, nats",
    "squared error", "images a second", "training, min",
)  # fmt: skip


def plot(given: Mapping[str, pd.DataFrame], about: About) -> str:
    """See `figures.plotting`."""
    return draw(
        given["summary"],
        given["metrics"],
        study=about.study,
        experiments=about.options["listed"]["network_table"],
        published=about.options["published"],
        batch=about.options["throughput_batch"],
    )


def draw(
    summary: pd.DataFrame,
    metrics: pd.DataFrame,
    *,
    study: str,
    experiments: Sequence[str],
    published: Sequence[Mapping[str, Any]],
    batch: int,
) -> str:
    """A table a split, the most accurate first; among the rows, in italics, what others published.

    Args:
        summary: rows of `summary.csv`.
        metrics: rows of `metrics.csv`, of which `mse` is read, where there is one.
        study: its name.
        experiments: to show.
        published: `name`, `split`, `measures` (`accuracy`, `mse`) each.
        batch: at which throughput was measured.
    """
    errors = metrics.reindex(columns=["run", "split", "mse"])
    told = summary[summary["experiment"].isin(experiments)].merge(errors, on=["run", "split"])
    parts = []
    for split in ("valid", "test"):
        rows = [
            (own["accuracy"].mean(), _row(str(name), own))
            for name, own in told[told["split"] == split].groupby("experiment")
        ]
        rows += [
            (other["measures"].get("accuracy", 0.0), _published(other))
            for other in published
            if other["split"] == split and {"accuracy", "mse"} & other["measures"].keys()
        ]
        ranked = [row for _, row in sorted(rows, key=lambda pair: -pair[0])]
        title = f"{SPLIT_NAMES[split].capitalize()} images"
        parts.append(html_page.table(title, HEADINGS, ranked))
    devices = escape(", ".join(sorted(told["device"].dropna().unique())))
    return (
        f"{html_page.html_head(f'{study}: networks from scratch')}"
        "<p>The most accurate first; mean over seeds ± standard deviation, the 95 % interval of one "
        "model's accuracy beneath (Wilson's). Squared errors, of outputs against one-hot targets, are "
        "those of networks that minimise them. Cross-entropy is of the outputs as logits, which a "
        f"network that minimises squared errors was not taught. Images a second: in batches of {batch}. "
        f"In italics: as others published it. Trained on: {devices}.</p>{''.join(parts)}</html>\n"
    )


def _row(name: str, own: pd.DataFrame) -> str:
    accuracy = tables.percent(own["accuracy"], 2).removesuffix(" %")
    interval = interval_text(own["accuracy"].mean(), int(own["n"].iloc[0]))
    cells = (
        str(len(own)),
        f"{round(own['params_m'].iloc[0] * 1e6):,}",
        f"{own['gflops'].mean():.4f}",
        None,
        f"{own['loss'].mean():.3f}",
        f"{own['mse'].mean():.5f}" if own["mse"].notna().all() else DASH,
        f"{own['images_per_s'].mean():,.0f}",
        f"{own['train_seconds'].mean() / 60:.1f}",
    )
    shown = "".join(
        f"<td>{escape(accuracy)}<small>{interval}</small></td>" if cell is None
        else f"<td>{cell}</td>"
        for cell in cells
    )  # fmt: skip
    return f"<tr><td>{escape(name)}</td>{shown}</tr>"


def _published(other: Mapping[str, Any]) -> str:
    accuracy, error = (other["measures"].get(name) for name in ("accuracy", "mse"))
    cells = [other["name"], *[DASH] * (len(HEADINGS) - 1)]
    if accuracy is not None:
        cells[4] = f"{accuracy * 100:.2f}"
    if error is not None:
        cells[6] = f"{error:.5f}"
    return html_page.row(cells, published=True)
