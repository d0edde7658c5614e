"""The comparison as a table: one row an experiment, with what chance does to it, as plain HTML."""

from collections.abc import Mapping
from html import escape

import pandas as pd

from frugalvit.chance import few_images, interval_text
from frugalvit.figures import paired
from frugalvit.figures.about import About
from frugalvit.figures.schedules import compared_runs
from frugalvit.figures.style import DASH
from frugalvit.operating_point import owner_of

COLUMNS = (
    "study", "experiment", "run", "method", "seed", "split", "n", "accuracy", "macro_f1", "loss",
    "ece", "gflops", "latency_ms", "images_per_s", "params_m", "train_seconds", "device", "selected",
)  # fmt: skip
NEEDS = {"summary": COLUMNS, "predictions": paired.COLUMNS}
_SPREAD = (  # column, heading, factor, digits
    ("accuracy", "accuracy, %", 100, 1),
    ("macro_f1", "macro-F1, %", 100, 1),
    ("ece", "calibration error, %", 100, 1),
    ("loss", "loss, nats", 1, 3),
    ("train_seconds", "training, s", 1, 1),
)
_MEAN = (
    ("gflops", "GFLOPs an image", 4),
    ("latency_ms", "latency, ms", 2),
    ("images_per_s", "images a second", 0),
    ("params_m", "parameters, M", 2),
)
_CHANCE = (
    "± is the spread over seeds on the same images. The 95 % interval is what the mean accuracy may be "
    "on other images like these (Wilson's, of independent images): it says what this number of images "
    "can show, and is the wider one where they are few. "
)
_PAIRED = (
    "Won : lost counts the images that the experiment gets right more often, and less often, than the "
    "best one does with the same seeds; p is the sign test's: from 0.05 upwards the two are not told "
    "apart by these images."
)
_STYLE = """
body { font: 14px/1.5 system-ui, "DejaVu Sans", sans-serif; color: #1a1a1a; margin: 24px; }
h1 { font-size: 18px; margin: 0 0 4px; }
p { max-width: 90ch; color: #444; margin: 4px 0 12px; }
p.few { max-width: 90ch; color: #1a1a1a; background: #fdf1e3; padding: 6px 10px; }
table { border-collapse: collapse; }
th, td { padding: 4px 9px; text-align: right; white-space: nowrap; border-bottom: 1px solid #ddd; }
th { white-space: normal; vertical-align: bottom; border-bottom: 2px solid #444; font-weight: 600; }
th:first-child, td:first-child { text-align: left; }
tr.best td { font-weight: 700; background: #eef4fa; }
"""


def plot(given: Mapping[str, pd.DataFrame], about: About) -> str:
    """See `figures.plotting`."""
    shown = about.options["experiments"]
    return draw(given["summary"], shown, predictions=given["predictions"])


def draw(
    summary: pd.DataFrame,
    shown: list[str] | None,
    split: str = "test",
    predictions: pd.DataFrame | None = None,
) -> str:
    """A whole HTML page; the best mean accuracy on each set of test images is marked.

    Args:
        summary: rows of `summary.csv`.
        shown: experiments to show; all where None.
        split: the split that is compared.
        predictions: of the runs, as `paired.correctness` takes them, to compare image by image.
    """
    owner = summary["experiment"].map(owner_of)  # `early_exit:budget 0.5` is early_exit's
    within = None if shown is None else summary["experiment"][owner.isin(shown)].unique().tolist()
    runs = compared_runs(summary, within)
    runs = runs[runs["split"] == split]
    groups = dict(iter(runs.groupby("experiment", sort=False)))
    groups = dict(sorted(groups.items(), key=lambda item: -item[1]["accuracy"].mean()))
    # Experiments with swapped sets are tested on other images: each test set has its own best.
    best = {rows["n"].iloc[0]: name for name, rows in reversed(groups.items())}
    compared = _compare(groups, best, predictions, split)
    headings = ["experiment", "seeds", "images", *(h for _, h, *_ in _SPREAD)]
    headings[4:4] = ["95 % interval, %", *(["won : lost, images"] if compared else [])]
    headings += [h for _, h, _ in _MEAN]
    means = {name: runs["accuracy"].mean() for name, runs in groups.items()}
    rows = [
        _row(
            name,
            runs,
            means[name] > means[best[runs["n"].iloc[0]]] - 1e-9,  # of few images several are best
            [compared[name]] if compared else [],
        )
        for name, runs in groups.items()
    ]
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    study = escape(str(summary["study"].iloc[0]))
    images = " or ".join(str(n) for n in sorted(runs["n"].unique()))
    devices = escape(", ".join(sorted(runs["device"].dropna().unique())))
    return (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{study}</title>"
        f"<style>{_STYLE}</style><h1>{study}: experiments compared on {images} {split} images</h1>"
        "<p>Mean over seeds ± standard deviation. GFLOPs count one multiply-add as 2; latency is for "
        f"one image, throughput for a batch. Trained on: {devices}.</p>"
        f"<p>{_CHANCE}{_PAIRED if compared else ''}</p>{_few(runs, split)}"
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></html>\n"
    )


def _few(runs: pd.DataFrame, split: str) -> str:
    """A paragraph for each number of images that is small."""
    said = [(n, few_images(split, int(n))) for n in sorted(runs["n"].unique())]
    return "".join(
        f"<p class='few'>{n} {split} images: {escape(what)}.</p>" for n, what in said if what
    )


def _compare(
    groups: dict[str, pd.DataFrame],
    best: dict[int, str],
    predictions: pd.DataFrame | None,
    split: str,
) -> dict[str, str]:
    """Experiment -> how it does against the best on the same images; nothing without any pair."""
    if predictions is None:
        return {}
    right = paired.correctness(predictions, split)
    runs = {name: dict(zip(rows["seed"], rows["run"])) for name, rows in groups.items()}
    said = {}
    for name, rows in groups.items():
        rival = best[rows["n"].iloc[0]]
        counts = None if name == rival else paired.won_and_lost(right, runs[name], runs[rival])
        said[name] = DASH if name == rival else paired.against_text(*counts) if counts else ""
    return said if any(text not in ("", DASH) for text in said.values()) else {}


def _row(name: str, runs: pd.DataFrame, best: bool, compared: list[str]) -> str:
    cells = [escape(name), str(len(runs)), str(runs["n"].iloc[0])]
    for column, _, factor, digits in _SPREAD:
        values = runs[column].dropna() * factor
        spread = f" ± {values.std():.{digits}f}" if len(values) > 1 else ""
        cells.append(f"{values.mean():.{digits}f}{spread}" if len(values) else "")
    cells[4:4] = [interval_text(runs["accuracy"].mean(), int(runs["n"].iloc[0])), *compared]
    for column, _, digits in _MEAN:
        values = runs[column].dropna()
        cells.append(f"{values.mean():.{digits}f}" if len(values) else "")
    marked = " class='best'" if best else ""
    return f"<tr{marked}>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
