"""Calibration of every exit, before and after its temperature (Guo et al. 2017)."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from frugalvit.figures import style, tables
from frugalvit.figures.about import About
from frugalvit.figures.panel import (
    LEFT,
    RIGHT,
    ROW,
    ROWS_BELOW,
    BlockAxis,
    by_exit,
    label_ends,
    numbers,
)
from frugalvit.figures.style import BLUE, GREY, INK, VERMILLION, Page

COLUMNS = ("exit", "split", "n", "ece", "ece_calibrated", "temperature")
NEEDS = {"exits": COLUMNS, "devices": tables.DEVICES}
ERROR_HEIGHT, TEMPERATURE_HEIGHT, GAP = 48.0, 28.0, 5.0  # mm
SHIFT = 0.16  # blocks between an exit and its marks before and after
BEFORE: dict[str, Any] = {"color": VERMILLION, "marker": "s", "column": "ece", "shift": -SHIFT}
AFTER: dict[str, Any] = {"color": BLUE, "marker": "o", "column": "ece_calibrated", "shift": SHIFT}
NICE = [0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 1, 1.2, 1.5, 2, 3, 5, 7, 10, 20]  # ticks of temperature


def nice_ticks(axes: Axes) -> list[float]:
    """Round temperatures within the limits, 1 always, as many as stay apart."""
    low, high = np.log(axes.get_ylim())
    unit = TEMPERATURE_HEIGHT / (high - low)
    ticks = [1.0]
    for tick in sorted(NICE, key=lambda tick: abs(np.log(tick))):
        near = min(abs(np.log(tick / other)) for other in ticks) * unit
        if low <= np.log(tick) <= high and near >= style.line_height(style.TICK):
            ticks.append(tick)
    return sorted(ticks)


def plot(given: Mapping[str, pd.DataFrame], about: About) -> Figure:
    """See `figures.plotting`."""
    return draw(given["exits"], **about.of_experiment)


@style.themed
def draw(
    exits: pd.DataFrame, *, study: str, experiment: str, device: str, width_mm: float
) -> Figure:
    """Expected calibration error of every exit before and after its temperature, and that.

    `exits` has the columns of `exits.csv` and `run`, `seed`; errors are fractions.
    """
    split, shown = tables.shown_split(exits)
    title = f"Calibration of each exit of {experiment}"
    seeds = tables.seeds_text(exits["seed"])
    size = tables.images_text(int(shown["n"].iloc[0]) if len(shown) else 0, split)
    subtitle = tables.subtitle(study, seeds, size, device and f"device: {device}")
    if shown.empty:
        message = "No exit was evaluated: this study has no test images."
        return style.message_page(title, subtitle, message, width_mm)
    several = shown["run"].nunique() > 1
    notes = (
        "Expected calibration error: mean gap between how sure an exit is and how often it is"
        " right, over all the images. Its temperature, fitted on calibration images alone, divides"
        " its logits: above 1 makes it less sure, below 1 surer; the class that it names stays."
    )
    notes += " Marks: mean over seeds; thin lines: their range." if several else ""
    panels = ERROR_HEIGHT + GAP + TEMPERATURE_HEIGHT
    page = Page(title, subtitle, width_mm, panels + ROWS_BELOW + 3 * ROW, notes=notes)
    blocks = sorted(int(block) for block in shown["exit"].unique())
    width = page.width - LEFT - RIGHT
    axis = BlockAxis(LEFT, width, blocks, first=blocks[0], last=blocks[-1])
    errors = page.axes(LEFT, 0, width, ERROR_HEIGHT)
    draw_errors(errors, axis, shown)
    temperatures = by_exit(shown, "temperature")
    axes = page.axes(LEFT, ERROR_HEIGHT + GAP, width, TEMPERATURE_HEIGHT)
    draw_temperatures(axes, axis, temperatures)
    rows = (
        ("error before (%)", by_exit(shown, "ece") * 100, VERMILLION),
        ("error after (%)", by_exit(shown, "ece_calibrated") * 100, BLUE),
        ("temperature", temperatures, INK),
    )
    for number, (name, runs, color) in enumerate(rows):
        y = panels + ROWS_BELOW + (number + 0.5) * ROW
        digits = 2 if number == 2 else 1
        axis.write_row(page, y, name, numbers(runs.mean(axis=1), digits), color)
    return page.figure


def draw_errors(axes: Axes, axis: BlockAxis, shown: pd.DataFrame) -> None:
    """Two marks an exit, and an arrow from the error before to the error after."""
    means, ends = {}, []
    for look, words in ((BEFORE, "before temperature"), (AFTER, "after temperature")):
        runs = by_exit(shown, look["column"]) * 100
        mean = means[look["column"]] = runs.mean(axis=1)
        places = mean.index + look["shift"]
        ranges: dict[str, Any] = {"color": look["color"], "linewidth": 0.8, "zorder": 2}
        if runs.shape[1] > 1:
            axes.vlines(places, runs.min(axis=1), runs.max(axis=1), **ranges)
        mark: dict[str, Any] = {"color": look["color"], "markersize": 4.4, "zorder": 4}
        axes.plot(places, mean, look["marker"], **mark)
        if mean.notna().any():
            ends.append((float(mean.dropna().iloc[-1]), [words], look["color"]))
    for block, before in means["ece"].items():
        after = means["ece_calibrated"][block]
        arrow: dict[str, Any] = {
            "arrowstyle": "-|>",
            "color": GREY,
            "linewidth": 0.7,
            "mutation_scale": 5,
        }
        if np.isfinite(before - after):
            start, end = (block - SHIFT, before), (block + SHIFT, after)
            axes.annotate("", end, start, arrowprops={**arrow, "shrinkA": 2, "shrinkB": 2})
    axis.dress(axes, named=False)
    highest = shown[["ece", "ece_calibrated"]].max().max() * 100
    axes.set_ylim(0, max(highest * 1.06, 1) if np.isfinite(highest) else 1)
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.set_ylabel("expected calibration error (%)")
    if ends:
        label_ends(axes, ERROR_HEIGHT, ends)


def draw_temperatures(axes: Axes, axis: BlockAxis, runs: pd.DataFrame) -> None:
    """Temperature of each exit on a logarithmic axis, around the rule at 1."""
    mean = runs.mean(axis=1)
    axes.axhline(1, color=GREY, linewidth=0.8, linestyle=(0, (4, 2)), zorder=1)
    if runs.shape[1] > 1:
        axes.vlines(mean.index, runs.min(axis=1), runs.max(axis=1), color=INK, linewidth=0.8)
    axes.plot(mean.index, mean, "D", color=INK, markersize=3.8, zorder=3)
    values = runs.stack().dropna()
    low, high = (values.min(), values.max()) if len(values) else (1.0, 1.0)
    axes.set_yscale("log")
    axes.set_ylim(min(low, 0.8) / 1.1, max(high, 1.25) * 1.1)
    axes.yaxis.set_major_locator(FixedLocator(nice_ticks(axes)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.dress(axes)
    axes.set_ylabel("temperature")
    bottom, top = np.log(axes.get_ylim())
    at_one = -bottom / (top - bottom)
    sides = ((1, "up: made less sure"), (0, "1: left as it was"), (-1, "down: made surer"))
    for side, words in sides:
        place = (1, at_one + side * style.line_height(style.TICK) * 1.15 / TEMPERATURE_HEIGHT)
        offset: dict[str, Any] = {
            "xytext": (2 / style.MM_PER_POINT, 0),
            "textcoords": "offset points",
        }
        look: dict[str, Any] = {
            "color": GREY,
            "va": "center",
            "size": style.TICK,
            "annotation_clip": False,
        }
        axes.annotate(words, place, xycoords="axes fraction", **offset, **look)
