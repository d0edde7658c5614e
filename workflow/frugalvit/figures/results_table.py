"""The comparison as a table: one row an experiment, mean and spread over seeds, as plain HTML."""

from html import escape

import pandas as pd

from frugalvit.figures.schedules import compared_runs

COLUMNS = (
    "study", "experiment", "run", "method", "seed", "split", "n", "accuracy", "macro_f1", "loss",
    "ece", "gflops", "latency_ms", "images_per_s", "params_m", "train_seconds", "device", "selected",
)  # fmt: skip
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
_STYLE = """
body { font: 14px/1.5 system-ui, "DejaVu Sans", sans-serif; color: #1a1a1a; margin: 24px; }
h1 { font-size: 18px; margin: 0 0 4px; }
p { max-width: 72ch; color: #444; margin: 4px 0 12px; }
table { border-collapse: collapse; }
th, td { padding: 4px 9px; text-align: right; white-space: nowrap; border-bottom: 1px solid #ddd; }
th { white-space: normal; vertical-align: bottom; border-bottom: 2px solid #444; font-weight: 600; }
th:first-child, td:first-child { text-align: left; }
tr.best td { font-weight: 700; background: #eef4fa; }
"""


def draw(summary: pd.DataFrame, shown: list[str] | None, split: str = "test") -> str:
    """A whole HTML page; the best mean accuracy on each set of test images is marked.

    Args:
        summary: rows of `summary.csv`.
        shown: experiments to show; all where None.
        split: the split that is compared.
    """
    owner = summary["experiment"].str.split(":").str[0]  # `early_exit:budget 0.5` is early_exit's
    within = None if shown is None else summary["experiment"][owner.isin(shown)].unique().tolist()
    runs = compared_runs(summary, within)
    runs = runs[runs["split"] == split]
    groups = dict(iter(runs.groupby("experiment", sort=False)))
    groups = dict(sorted(groups.items(), key=lambda item: -item[1]["accuracy"].mean()))
    headings = [
        "experiment",
        "seeds",
        "images",
        *(h for _, h, *_ in _SPREAD),
        *(h for _, h, _ in _MEAN),
    ]
    # Experiments with swapped sets are tested on other images: each test set has its own best.
    best = {rows["n"].iloc[0]: name for name, rows in reversed(groups.items())}
    rows = [_row(name, runs, name in best.values()) for name, runs in groups.items()]
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    study = escape(str(summary["study"].iloc[0]))
    images = " or ".join(str(n) for n in sorted(runs["n"].unique()))
    devices = escape(", ".join(sorted(runs["device"].dropna().unique())))
    return (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{study}</title>"
        f"<style>{_STYLE}</style><h1>{study}: experiments compared on {images} {split} images</h1>"
        "<p>Mean over seeds ± standard deviation. GFLOPs count one multiply-add as 2; latency is for "
        f"one image, throughput for a batch. Trained on: {devices}.</p>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></html>\n"
    )


def _row(name: str, runs: pd.DataFrame, best: bool) -> str:
    cells = [escape(name), str(len(runs)), str(runs["n"].iloc[0])]
    for column, _, factor, digits in _SPREAD:
        values = runs[column].dropna() * factor
        spread = f" ± {values.std():.{digits}f}" if len(values) > 1 else ""
        cells.append(f"{values.mean():.{digits}f}{spread}" if len(values) else "")
    for column, _, digits in _MEAN:
        values = runs[column].dropna()
        cells.append(f"{values.mean():.{digits}f}" if len(values) else "")
    marked = " class='best'" if best else ""
    return f"<tr{marked}>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
