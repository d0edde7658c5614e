"""Localization by epoch: the two losses, the accuracy and how many boxes are found how well."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from frugalvit.figures import learning_curves, style, tables
from frugalvit.figures.about import About
from frugalvit.figures.style import BLUE, GREEN, GREY, INK, ORANGE, VERMILLION, Page
from frugalvit.methods.localize.marks import SHARES

LOSSES = {"class_loss": "class", "box_loss": "box"}
COLUMNS = (
    "epoch", "phase", "train", "valid_accuracy", *(f"valid_{name}" for name in LOSSES),
    "valid_mean_iou", *(f"valid_{name}" for name in SHARES),
)  # fmt: skip
NEEDS = {"histories": COLUMNS, "assignments": tables.ASSIGNMENTS, "devices": tables.DEVICES}
_QUANTITIES: dict[str, dict[str, Any]] = {
    "valid_accuracy": {"label": "class right", "color": VERMILLION, "linestyle": (0, (3, 1.2))},
    "valid_iou_50": {"label": "IoU ≥ .50", "color": INK},
    "valid_iou_75": {"label": "IoU ≥ .75", "color": BLUE},
    "valid_iou_90": {"label": "IoU ≥ .90", "color": GREEN},
    "valid_mean_iou": {"label": "mean IoU", "color": ORANGE, "linestyle": (0, (1, 1))},
}
HEIGHT, STRIP, LEFT, GAP = 62.0, 7.0, 12.0, 17.0  # mm


def plot(given: Mapping[str, pd.DataFrame], about: About) -> Figure:
    """See `figures.plotting`."""
    return draw(given["histories"], given["assignments"], **about.of_experiment)


@style.themed
def draw(
    history: pd.DataFrame,
    assignments: pd.DataFrame,
    *,
    study: str,
    experiment: str,
    device: str,
    width_mm: float,
) -> Figure:
    """On validation images: both losses at the left, on axes of their own; shares at the right.

    `history` has the columns of `history.csv` and `run`, `seed`.
    """
    history, phases = learning_curves.align(history)
    counts = assignments["split"].value_counts()
    sizes = [tables.images_text(counts.get(name, 0), name) for name in ("train", "valid")]
    seeds = tables.seeds_text(history["seed"])
    several = history["run"].nunique() > 1
    title = f"Classes and boxes of {experiment}, epoch by epoch"
    subtitle = tables.subtitle(study, seeds, *sizes, device and f"device: {device}")
    if history["valid_mean_iou"].isna().all():
        message = "No boxes to look at: no validation image has one."
        return style.message_page(title, subtitle, message, width_mm)
    page = Page(
        title,
        subtitle,
        width_mm,
        body_mm=STRIP + HEIGHT + 9,
        notes="Everything is of validation images. "
        + ("Thin: one seed. Thick: their mean. " if several else "")
        + "Class loss: cross-entropy (nats). Box loss: the sum that localize.box_loss weighs. Neither is"
        " divided by C.",
    )
    small = (page.width - LEFT - GAP) * 0.34
    tall = (HEIGHT - 8) / 2
    for number, (name, words) in enumerate(LOSSES.items()):
        axes = page.axes(LEFT, STRIP + number * (tall + 8), small, tall)
        _curve(axes, history, f"valid_{name}", {"color": BLUE}, 1)
        top = float(np.nanmax(history[f"valid_{name}"].to_numpy(float)))
        axes.set(ylabel=f"{words} loss", ylim=(0, max(top * 1.06, 1e-6)))
        _frame(axes, phases, number == len(LOSSES) - 1)
    left = LEFT + small + GAP
    room = style.text_width("class right", style.TICK) + 2
    wide = page.width - left - room
    learning_curves.draw_strip(page, phases, left, wide)
    axes = page.axes(left, STRIP, wide, HEIGHT)
    ends = []
    for column, look in _QUANTITIES.items():
        own = {key: value for key, value in look.items() if key != "label"}
        ends.append((_curve(axes, history, column, own, 100), look))
    axes.set(ylim=(0, 101.5), ylabel="validation images (%); mean IoU x 100")
    _frame(axes, phases, True)
    learning_curves.label_ends(axes, ends)
    return page.figure


def _curve(
    axes: Axes, history: pd.DataFrame, column: str, look: dict[str, Any], factor: float
) -> float:
    """Every seed thin, their mean thick; returns where the mean ends."""
    runs = learning_curves.by_epoch(history, column) * factor
    if runs.shape[1] > 1:
        axes.plot(runs.index, runs, linewidth=0.5, alpha=0.55, **look)
    mean = runs.mean(axis=1)
    axes.plot(mean.index, mean, linewidth=1.5, marker=".", markersize=3, **look)
    return float(mean.dropna().iloc[-1])


def _frame(axes: Axes, phases: pd.DataFrame, named: bool) -> None:
    """Epochs below, phases behind."""
    axes.set_xlim(0.5, phases["last"].max() + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(7, integer=True, min_n_ticks=1))
    axes.grid(axis="y")
    if named:
        axes.set_xlabel("epoch")
    else:
        axes.tick_params(labelbottom=False)
    for boundary in phases["last"][:-1]:
        axes.axvline(boundary + 0.5, color=GREY, linewidth=0.6, linestyle=(0, (1, 2)))
