"""The comparison as a table: one row an experiment, with what chance does to it, as plain HTML."""

from collections.abc import Mapping
from html import escape

import pandas as pd

from frugalvit.busy import load_text
from frugalvit.chance import few_images, interval_text
from frugalvit.figures import paired
from frugalvit.figures.about import About
from frugalvit.figures.ranking import difference_text, with_fewer_seeds
from frugalvit.figures.schedules import compared_runs
from frugalvit.figures.style import DASH
from frugalvit.operating_point import points_of

COLUMNS = (
    "study", "experiment", "run", "method", "seed", "split", "n", "accuracy", "macro_f1", "loss",
    "ece", "gflops", "latency_ms", "images_per_s", "params_m", "train_seconds", "device", "selected",
)  # fmt: skip
POINT_COLUMNS = (
    "experiment",
    "run",
    "method",
    "setting",
    "value",
    "criterion",
    "threshold",
    "chosen",
)
NEEDS = {
    "summary": COLUMNS,
    "all_points": (*POINT_COLUMNS, "params_m"),
    "predictions": paired.COLUMNS,
    "costs": ("model",),
}
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
_LEAD, _WON = "against the best, points", "won : lost, images"
_FEWER = (
    "<p class='few'>Rows in grey have fewer seeds than the others on the same images. They are not "
    "ranked, for means over other seeds do not compare: the column “against the best” has the "
    "difference on the seeds that both have.</p>"
)
FALLS_SHORT = "<!-- falls short -->"  # around what the report's first page repeats
_OF_POINTS = (
    "seed", "split", "n", "accuracy", "macro_f1", "gflops", "latency_ms", "images_per_s", "params_m",
)  # fmt: skip
_STYLE = """
body { font: 14px/1.5 system-ui, "DejaVu Sans", sans-serif; color: #1a1a1a; margin: 24px; }
h1 { font-size: 18px; margin: 0 0 4px; }
p { max-width: 90ch; color: #444; margin: 4px 0 12px; }
p.few { max-width: 90ch; color: #1a1a1a; background: #fdf1e3; padding: 6px 10px; }
p.short { color: #1a1a1a; background: #fbe6e2; border-left: 5px solid #b3261e; padding: 6px 10px; }
tr.short td:first-child { color: #b3261e; }
table { border-collapse: collapse; }
th, td { padding: 4px 9px; text-align: right; white-space: nowrap; border-bottom: 1px solid #ddd; }
th { white-space: normal; vertical-align: bottom; border-bottom: 2px solid #444; font-weight: 600; }
th:first-child, td:first-child { text-align: left; }
tr.best td { font-weight: 700; background: #eef4fa; }
tr.fewer td { color: #666; }
"""


def plot(given: Mapping[str, pd.DataFrame], about: About) -> str:
    """See `figures.plotting`."""
    shown = about.options["experiments"]
    points, costs = given["all_points"], given["costs"]
    return draw(given["summary"], shown, points, given.get("predictions"), costs)


def draw(
    summary: pd.DataFrame,
    shown: list[str] | None,
    points: pd.DataFrame | None = None,
    predictions: pd.DataFrame | None = None,
    costs: pd.DataFrame | None = None,
    split: str = "test",
) -> str:
    """A whole HTML page; the best mean accuracy of a model in use on each set of test images is marked.

    Rows of fewer seeds than others on the same images stand below these, and are not ranked.

    Args:
        summary: rows of `summary.csv`.
        shown: experiments to show; all where None.
        points: of all adaptive runs: those not in use get rows of their own.
        predictions: of the runs, as `paired.correctness` takes them, to compare image by image.
        costs: of all runs, with `busy_cores` where it was known: whether times can be believed.
        split: the split that is compared.
    """
    runs = compared_runs(summary, shown)
    runs = runs[runs["split"] == split]
    runs = runs.assign(warning=runs.get("warning"))  # a summary made earlier has none
    others = None if points is None else _others(runs, points[points["split"] == split])
    aside = set() if others is None else set(others["experiment"])
    runs = pd.concat([runs, others]) if aside else runs
    groups = dict(iter(runs.groupby("experiment", sort=False)))
    fewer = _unranked(groups)
    order = sorted(groups, key=lambda name: (name in fewer, -groups[name]["accuracy"].mean()))
    # Experiments with swapped sets are tested on other images: each test set has its own best.
    # Of points that are not in use no predictions are kept to compare with, image by image.
    in_use = [name for name in order if name not in aside]
    best = {groups[name]["n"].iloc[0]: name for name in reversed(in_use)}
    against = _compare(groups, best, predictions, split)
    headings = [heading for _, heading, *_ in _SPREAD]
    headings[1:1] = ["95 % interval, %", *against]
    headings = ["experiment", "seeds", "images", *headings, *(heading for _, heading, _ in _MEAN)]
    rows = []
    for name in order:
        own, rival = groups[name], groups[best[groups[name]["n"].iloc[0]]]
        # Of few images several are best.
        equal = own["accuracy"].mean() > rival["accuracy"].mean() - 1e-9
        look = "fewer" if name in fewer else "best" if equal and name not in aside else ""
        look += " short" if own["warning"].notna().any() else ""
        rows.append(_row(name, own, look, [texts[name] for texts in against.values()]))
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    study = escape(str(summary["study"].iloc[0]))
    images = " or ".join(str(n) for n in sorted(runs["n"].unique()))
    devices = escape(", ".join(sorted(runs["device"].dropna().unique())))
    return (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{study}</title>"
        f"<style>{_STYLE}</style><h1>{study}: experiments compared on {images} {split} images</h1>"
        "<p>Mean over seeds ± standard deviation. GFLOPs count one multiply-add as 2; latency is for "
        f"one image, throughput for a batch. Trained on: {devices}.</p>"
        f"<p>{_CHANCE}{_PAIRED if _WON in against else ''}</p>"
        f"{_short(runs)}{_busy(costs)}{_FEWER if fewer else ''}{_few(runs, split)}"
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></html>\n"
    )


def _others(runs: pd.DataFrame, points: pd.DataFrame) -> pd.DataFrame:
    """A row for each point that is neither in use nor one of a curve, called `early: budget 0.5`."""
    rows = []
    of_run = runs.set_index("run")
    for point, row in zip(points_of(points), points.to_dict("records")):
        if row["run"] in of_run.index and not (point.chosen or point.of_curve):
            trained = of_run.loc[row["run"], ["study", "train_seconds", "device"]].to_dict()
            named = {"experiment": f"{row['experiment']}: {point.name}", "method": row["method"]}
            # No predictions are kept of it: it cannot be compared image by image.
            kept = {key: row[key] for key in _OF_POINTS}
            rows.append({**kept, **trained, **named, "run": f"{row['run']}: {point.name}"})
    return pd.DataFrame(rows, columns=list(runs.columns))


def _unranked(groups: dict[str, pd.DataFrame]) -> set[str]:
    """Rows of fewer seeds than others that were tested on as many images."""
    found: set[str] = set()
    for n in {rows["n"].iloc[0] for rows in groups.values()}:
        own = {name: rows for name, rows in groups.items() if rows["n"].iloc[0] == n}
        found |= with_fewer_seeds({name: set(rows["seed"]) for name, rows in own.items()})
    return found


def _few(runs: pd.DataFrame, split: str) -> str:
    """A paragraph for each number of images that is small."""
    said = [(n, few_images(split, int(n))) for n in sorted(runs["n"].unique())]
    return "".join(
        f"<p class='few'>{n} {split} images: {escape(what)}.</p>" for n, what in said if what
    )


def _busy(costs: pd.DataFrame | None) -> str:
    """A paragraph where times were measured beside too much else."""
    said = "" if costs is None else load_text(costs.get("busy_cores", []))
    return f"<p class='few'>{escape(said)}</p>" if said else ""


def _short(runs: pd.DataFrame) -> str:
    """A paragraph with a line for each run that falls short of its source or its target."""
    told = runs.dropna(subset=["warning"])
    if told.empty:
        return ""
    lines = [
        f"&bull; {escape(run)}: {escape(what)}" for run, what in zip(told["run"], told["warning"])
    ]
    return (
        f"<p class='short'><b>&#9888; Falls short</b>{FALLS_SHORT}<br>{'<br>'.join(lines)}"
        f"{FALLS_SHORT}</p>"
    )


def _compare(
    groups: dict[str, pd.DataFrame],
    best: dict[int, str],
    predictions: pd.DataFrame | None,
    split: str,
) -> dict[str, dict[str, str]]:
    """Heading -> row -> how it does against the best on the same images, on the seeds of both.

    A column that says nothing of any row is left out.
    """
    right = None if predictions is None else paired.correctness(predictions, split)
    found: dict[str, dict[str, str]] = {_LEAD: {}, _WON: {}}
    by_seed = {name: rows.set_index("seed") for name, rows in groups.items()}
    for name, rows in groups.items():
        rival = best[rows["n"].iloc[0]]
        if name == rival:
            found[_LEAD][name] = found[_WON][name] = DASH
            continue
        own, other = by_seed[name], by_seed[rival]
        found[_LEAD][name] = difference_text(own["accuracy"], other["accuracy"])
        runs = own["run"].to_dict(), other["run"].to_dict()
        counts = None if right is None else paired.won_and_lost(right, *runs)
        found[_WON][name] = paired.against_text(*counts) if counts else ""
    return {
        heading: texts
        for heading, texts in found.items()
        if any(text not in ("", DASH) for text in texts.values())
    }


def _row(name: str, runs: pd.DataFrame, look: str, compared: list[str]) -> str:
    sign = " &#9888;" if "short" in look else ""
    cells = [f"{escape(name)}{sign}", str(len(runs)), str(runs["n"].iloc[0])]
    for column, _, factor, digits in _SPREAD:
        values = runs[column].dropna() * factor
        spread = f" ± {values.std():.{digits}f}" if len(values) > 1 else ""
        cells.append(f"{values.mean():.{digits}f}{spread}" if len(values) else "")
    cells[4:4] = [interval_text(runs["accuracy"].mean(), int(runs["n"].iloc[0])), *compared]
    for column, _, digits in _MEAN:
        values = runs[column].dropna()
        cells.append(f"{values.mean():.{digits}f}" if len(values) else "")
    marked = f" class='{look.strip()}'" if look else ""
    return f"<tr{marked}>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
