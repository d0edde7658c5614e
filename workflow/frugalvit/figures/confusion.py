"""Confusion matrix that stays readable from 2 to hundreds of classes."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure

from frugalvit.chance import FEW_TEST, interval_text
from frugalvit.figures import style, tables
from frugalvit.figures.about import About
from frugalvit.figures.style import GREY, INK, VERMILLION, Page

COLUMNS = ("id", "split", "label", "predicted")
NEEDS = {
    "predictions": COLUMNS,
    "assignments": tables.ASSIGNMENTS,
    "devices": tables.DEVICES,
}
FEW = 20  # up to here every class is named and every cell has its number
COUNTED = 8  # up to here a cell has room for counts, where shares of few images would mislead
PAIRS = 12
COLORS = LinearSegmentedColormap.from_list("share", ["#FFFFFF", "#A9CCE3", "#0072B2", "#012A45"])


def count_pairs(predictions: pd.DataFrame, classes: int) -> np.ndarray:
    """Counts [true class, predicted class] over all rows."""
    flat = predictions["label"].to_numpy() * classes + predictions["predicted"].to_numpy()
    return np.bincount(flat, minlength=classes * classes).reshape(classes, classes)


def most_confused(counts: np.ndarray, limit: int = PAIRS) -> list[tuple[int, int]]:
    """(true, predicted) of the largest off-diagonal counts, then shares, largest first."""
    wrong = counts * (1 - np.eye(len(counts), dtype=int))
    share = wrong / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    pairs = [(int(true), int(named)) for true, named in np.argwhere(wrong > 0)]
    return sorted(pairs, key=lambda pair: (-wrong[pair], -share[pair], pair))[:limit]


def plot(given: Mapping[str, pd.DataFrame], about: About) -> Figure:
    """See `figures.plotting`."""
    names = tables.class_names(given["assignments"])
    return draw(given["predictions"], names, **about.of_experiment)


@style.themed
def draw(
    predictions: pd.DataFrame,
    names: list[str],
    *,
    study: str,
    experiment: str,
    device: str,
    width_mm: float,
) -> Figure:
    """Row-normalised confusion matrix over an experiment's seeds, and its most confused pairs.

    `predictions` has the columns of `predictions.csv` and `run`, `seed`; `names` are the class
    names by label.
    """
    split, shown = tables.shown_split(predictions)
    title = f"Confusion matrix of {experiment}"
    seeds = tables.seeds_text(predictions["seed"])
    size = tables.images_text(shown["id"].nunique(), split)
    if shown.empty:
        message = "No predictions to count: this study has no test images."
        return style.message_page(title, tables.subtitle(study, seeds, size), message, width_mm)
    tables.check_labels(shown, names)
    hits = (shown["label"] == shown["predicted"]).groupby(shown["run"]).mean()
    accuracy = f"accuracy {tables.percent(hits)}"
    if (n := shown["id"].nunique()) < FEW_TEST:
        accuracy += f" ({interval_text(hits.mean(), n)} % on others like them)"
    parts = (study, seeds, size, accuracy, device and f"device: {device}")
    counts = count_pairs(shown, len(names))
    few, step = len(names) <= FEW, tick_step(len(names))
    list_width = 0.31 * (width_mm - 2 * style.MARGIN)
    room = width_mm - 2 * style.MARGIN - list_width - 6
    label = style.TICK if len(names) <= 12 else style.NOTE
    longest = max(style.text_width(name, label) for name in names[::step])
    margin = min(longest, 0.24 * room) + 2
    left = 4.5 + margin
    side = room - left
    turned = not few or longest > side / len(names) - 1
    below = margin if turned else 4.0
    notes = (
        f"Predictions of all seeds pooled ({len(shown):,}). Each row adds up to 100 % of that true"
        " class's images; the diagonal is right."
    )
    numbers = "predictions, of the row's" if shows_counts(counts) else "%"
    notes += (
        f" Numbers: {numbers}."
        if few
        else f" Every {step}th class is named; rings: the pairs listed."
    )
    page = Page(title, tables.subtitle(*parts), width_mm, body_mm=side + below + 6, notes=notes)
    axes = page.axes(left, 0, side, side)
    draw_matrix(axes, counts, side)
    name_classes(axes, names[::step], step, margin - 2, turned)
    look = {"ha": "center", "va": "center", "size": style.LABEL}
    page.text(1.5, side / 2, "true class", rotation=90, **look)
    page.text(left + side / 2, side + below + 3.5, "predicted class", **look)
    pairs = most_confused(counts)
    list_pairs(page, (list_width, side), counts, names, pairs)
    if not few:
        true, named = zip(*pairs) if pairs else ((), ())
        axes.plot(named, true, "o", mfc="none", mec=VERMILLION, markersize=5.5, mew=0.9)
        draw_scale(page, axes, page.width - list_width, side + 2)
    return page.figure


def shows_counts(counts: np.ndarray) -> bool:
    """Whether cells say '2/3' rather than 67 %: few classes, one of them with few predictions."""
    return len(counts) <= COUNTED and counts.sum(axis=1).min() < 20


def tick_step(classes: int) -> int:
    """Every which class is named on the axes, so that about ten to twenty are."""
    return 1 if classes <= FEW else int(np.ceil(classes / 100) * 5)


def draw_matrix(axes: Axes, counts: np.ndarray, side: float) -> None:
    """The heat-map; with few classes each cell that is not 0 has its percentage."""
    classes = len(counts)
    with np.errstate(invalid="ignore"):
        share = counts / counts.sum(axis=1, keepdims=True) * 100
    axes.set_facecolor("#E3E3E3")  # rows of classes without images
    # The square root keeps single mistakes visible beside a diagonal near 100 %.
    norm = PowerNorm(0.5, vmin=0, vmax=100)
    axes.imshow(share, cmap=COLORS, norm=norm, interpolation="nearest", aspect="equal")
    for spine in axes.spines.values():
        spine.set_visible(True)
    axes.tick_params(length=1.5)
    if classes > FEW:
        return
    size = min(style.TICK, side / classes / style.MM_PER_POINT * 0.42)
    for true, named in np.argwhere(np.nan_to_num(share) > 0):
        value = share[true, named]
        text = f"{value:.0f}" if value >= 0.5 else "<1"
        if shows_counts(counts):
            text = f"{counts[true, named]}/{counts[true].sum()}"
        color = "white" if value > 22 else INK
        weight = "bold" if true == named else "normal"
        look: dict[str, Any] = {
            "ha": "center",
            "va": "center_baseline",
            "size": size,
            "weight": weight,
        }
        axes.text(named, true, text, color=color, **look)


def name_classes(axes: Axes, names: list[str], step: int, room: float, turned: bool) -> None:
    """Names of every `step`th class on both axes, shortened to fit `room` mm."""
    size = style.TICK if step == 1 and len(names) <= 12 else style.NOTE
    places = [number * step for number in range(len(names))]
    shown = [style.shorten(name, size, room) for name in names]
    axes.set_yticks(places, shown, fontsize=size)
    axes.set_xticks(places, shown, fontsize=size, rotation=90 if turned else 0)


def list_pairs(
    page: Page,
    space: tuple[float, float],
    counts: np.ndarray,
    names: list[str],
    pairs: list[tuple[int, int]],
) -> None:
    """The most confused pairs in words, at the page's right; `space` is width and height in mm."""
    width, height = space
    left = page.width - width
    page.text(left, 1.5, "most often confused", weight="bold", va="center")
    page.text(left, 5.2, "true", color=GREY, va="center")
    shift = style.text_width("true ", style.TICK)
    page.text(left + shift, 5.2, "→ predicted", va="center", color=VERMILLION)
    page.text(page.width, 5.2, "images", ha="right", va="center", color=GREY)
    page.line((left, page.width), (7.4, 7.4), color=GREY, linewidth=0.6)
    if not pairs:
        page.text(left, 11, "none: every image was", va="center")
        page.text(left, 14.5, "classified correctly", va="center")
    step = min(7.6, (height - 8) / max(len(pairs), 1))
    room = width - 15
    for number, (true, named) in enumerate(pairs):
        first, second = (8.2 + (number + part) * step for part in (0.28, 0.72))
        count, total = counts[true, named], counts[true].sum()
        look = {"size": style.NOTE, "va": "center_baseline"}
        page.text(left, first, style.shorten(names[true], style.NOTE, room), **look)
        taken = style.shorten(f"→ {names[named]}", style.NOTE, room)
        page.text(left, second, taken, color=VERMILLION, **look)
        look["ha"] = "right"
        page.text(page.width, first, f"{count / total * 100:.0f} %", weight="bold", **look)
        page.text(page.width, second, f"{count:,} of {total:,}", color=GREY, **look)


def draw_scale(page: Page, axes: Axes, left: float, top: float) -> None:
    """The colour scale under the list."""
    scale = page.axes(left, top, page.width - left - 2, 2.6)
    bar = page.figure.colorbar(axes.images[0], cax=scale, orientation="horizontal")
    bar.set_ticks([0, 5, 20, 50, 100], minor=False)
    bar.ax.minorticks_off()
    bar.set_label("share of the true class's images (%)", size=style.NOTE)
    bar.ax.tick_params(labelsize=style.NOTE)
    bar.outline.set_linewidth(0.5)
