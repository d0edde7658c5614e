"""Reliability diagram: does 80 % sure mean right 80 times in 100? (Guo et al. 2017)."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from frugalvit.figures import style, tables
from frugalvit.figures.about import About
from frugalvit.figures.style import BLUE, GREY, INK, VERMILLION, Page

COLUMNS = ("id", "split", "label", "predicted", "probability")
NEEDS = {"predictions": COLUMNS, "devices": tables.DEVICES}
BINS = 15
TICKS = [0, 20, 40, 60, 80, 100]


def bin_of(probability: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Number of the bin that holds each confidence, from 0."""
    return np.clip(np.ceil(np.asarray(probability) * bins).astype(int) - 1, 0, bins - 1)


def bin_predictions(probability: np.ndarray, correct: np.ndarray, bins: int = BINS) -> pd.DataFrame:
    """Count, mean confidence and accuracy of equal-width bins (k / bins, (k + 1) / bins].

    `probability` is that of the predicted class, [n] in [0, 1]; `correct` is [n] of bool. Rows of
    empty bins hold NaN.
    """
    index = bin_of(probability, bins)
    count = np.bincount(index, minlength=bins)
    with np.errstate(invalid="ignore"):
        confidence = np.bincount(index, weights=probability, minlength=bins) / count
        accuracy = np.bincount(index, weights=correct, minlength=bins) / count
    return pd.DataFrame({"count": count, "confidence": confidence, "accuracy": accuracy})


def calibration_error(probability: np.ndarray, correct: np.ndarray, bins: int = BINS) -> float:
    """Expected calibration error: the bins' |accuracy - confidence|, weighted by their counts."""
    wrong_by = np.asarray(correct, dtype=float) - probability
    gaps = np.bincount(bin_of(probability, bins), weights=wrong_by, minlength=bins)
    return float(np.abs(gaps).sum() / max(len(wrong_by), 1))


def chance_error(probability: np.ndarray, bins: int = BINS, draws: int = 200) -> float:
    """Mean calibration error that these confidences show where each is exactly right.

    Bins of few images miss their confidence by chance, always to the error's disadvantage.
    """
    drawn = np.random.default_rng(0).random((draws, len(probability))) < probability
    return float(np.mean([calibration_error(probability, correct, bins) for correct in drawn]))


def by_seed(predictions: pd.DataFrame) -> pd.DataFrame:
    """Accuracy, mean confidence, ECE and what of it is chance, of each run, ordered by seed."""
    rows = []
    for (seed, _), run in predictions.groupby(["seed", "run"]):
        probability = run["probability"].to_numpy()
        correct = (run["label"] == run["predicted"]).to_numpy()
        error = calibration_error(probability, correct)
        rows.append((seed, correct.mean(), probability.mean(), error, chance_error(probability)))
    return pd.DataFrame(rows, columns=["seed", "accuracy", "confidence", "ece", "chance"])


def plot(given: Mapping[str, pd.DataFrame], about: About) -> Figure:
    """See `figures.plotting`."""
    return draw(given["predictions"], **about.of_experiment)


@style.themed
def draw(
    predictions: pd.DataFrame, *, study: str, experiment: str, device: str, width_mm: float
) -> Figure:
    """Reliability of an experiment's predictions, pooled over seeds, with each seed's numbers.

    `predictions` has the columns of `predictions.csv` and `run`, `seed`.
    """
    split, shown = tables.shown_split(predictions)
    seeds = tables.seeds_text(predictions["seed"])
    size = tables.images_text(shown["id"].nunique(), split)
    title = f"Reliability of {experiment}"
    subtitle = tables.subtitle(study, seeds, size, device and f"device: {device}")
    if shown.empty:
        message = "No predictions to look at: this study has no test images."
        return style.message_page(title, subtitle, message, width_mm)
    correct = (shown["label"] == shown["predicted"]).to_numpy()
    bins = bin_predictions(shown["probability"].to_numpy(), correct)
    side = min(80.0, width_mm - 2 * style.MARGIN - 82)  # the rest is the table's
    page = Page(
        title,
        subtitle,
        width_mm,
        body_mm=side + 33,
        notes=f"{len(shown):,} predictions of all seeds in {BINS} equal-width bins of confidence."
        " Bars: from the bin's mean confidence (the diagonal) to its accuracy. Hollow: fewer than"
        " 20 predictions. ECE: mean gap between confidence and accuracy, weighted by the bins'"
        " counts; each seed by itself.",
    )
    axes = page.axes(13, 0, side, side)
    draw_diagram(axes, bins)
    draw_histogram(page.axes(13, side + 4, side, 19), bins)
    write_seeds(page, 13 + side + 9, by_seed(shown))
    return page.figure


def draw_diagram(axes: Axes, bins: pd.DataFrame) -> None:
    """Accuracy against confidence; the gap to the diagonal is the calibration error."""
    filled = bins[bins["count"] > 0]
    confidence, accuracy = filled["confidence"] * 100, filled["accuracy"] * 100
    axes.plot([0, 100], [0, 100], color=GREY, linewidth=0.8, linestyle=(0, (4, 2)), zorder=1)
    axes.vlines(confidence, confidence, accuracy, color=VERMILLION, linewidth=4, alpha=0.35, lw=4)
    axes.plot(confidence, accuracy, color=BLUE, linewidth=1, zorder=3)
    few = filled["count"] < 20
    for mask, face in ((few, "white"), (~few, BLUE)):
        look: dict[str, Any] = {
            "color": BLUE,
            "markerfacecolor": face,
            "markersize": 4.5,
            "zorder": 4,
            "clip_on": False,
        }
        axes.plot(confidence[mask], accuracy[mask], "o", **look)
    axes.text(
        30,
        92,
        "under-confident:\nright more often than it says",
        color=GREY,
        ha="center",
        va="top",
    )
    axes.text(
        72,
        10,
        "over-confident:\nright less often than it says",
        color=GREY,
        ha="center",
        va="bottom",
    )
    axes.set(xlim=(0, 100), ylim=(0, 100), xticks=TICKS, yticks=TICKS, aspect="equal")
    axes.set_ylabel("accuracy (%)")
    axes.tick_params(labelbottom=False)
    axes.grid()


def draw_histogram(axes: Axes, bins: pd.DataFrame) -> None:
    """Share of the predictions in each bin of confidence."""
    share = bins["count"] / bins["count"].sum() * 100
    edges = np.arange(len(bins)) * 100 / len(bins)
    axes.bar(edges, share, width=100 / len(bins) * 0.92, align="edge", color=BLUE)
    axes.set(xlim=(0, 100), xticks=TICKS, ylim=(0, max(share.max() * 1.1, 1)))
    axes.set_xlabel("confidence: probability of the predicted class (%)")
    axes.set_ylabel("predictions (%)")
    axes.grid(axis="y")


def write_seeds(page: Page, left: float, seeds: pd.DataFrame) -> None:
    """The mean calibration error in words, and a table of every seed's numbers."""
    gap = (seeds["confidence"] - seeds["accuracy"]).mean() * 100
    verdict = (
        "about as sure as it should be"
        if abs(gap) < 1
        else ("surer than it should be" if gap > 0 else "less sure than it could be")
    )
    if abs(gap) >= 1 and seeds["ece"].mean() <= seeds["chance"].mean():
        verdict = "not shown to be wrong about itself"
    side = "above" if gap > 0 else "below"
    page.text(left, 4, "expected calibration error", color=GREY, va="center")
    page.text(
        left,
        11,
        tables.percent(seeds["ece"]),
        size=15,
        weight="bold",
        color=VERMILLION,
        va="center",
    )
    page.text(left, 18, f"The model is {verdict}:", va="center")
    page.text(left, 22, f"confidence is {abs(gap):.1f} points {side} accuracy", va="center")
    page.text(left, 27, "With confidences exactly right, so many images", color=GREY, va="center")
    expected = f"would show {seeds['chance'].mean() * 100:.1f} % by chance alone"
    page.text(left, 31, expected, color=GREY, va="center")
    columns = (("seed", 10.0), ("accuracy", 27.0), ("confidence", 46.0), ("ECE", 59.0))
    for name, right in columns:
        page.text(left + right, 39, name, color=GREY, ha="right", va="center")
    page.line((left, left + 59), (41.5, 41.5), color=GREY, linewidth=0.6)
    for number, row in enumerate(seeds.head(14).itertuples()):
        y = 44.5 + number * 4.6
        values = (row.accuracy, row.confidence, row.ece)
        texts = (str(row.seed), *(f"{value:.1%}".replace("%", " %") for value in values))
        for text, (_, right) in zip(texts, columns):
            page.text(left + right, y, text, ha="right", va="center", color=INK)
