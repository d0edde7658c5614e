"""The criteria of early exits side by side: one small panel each, on the same scales."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from frugalvit.figures import style
from frugalvit.figures.panel import tick_percents
from frugalvit.figures.shares import share_of_plain
from frugalvit.figures.style import BLUE, INK, VERMILLION, Page
from frugalvit.methods.early_exit.figures.exit_table import (
    CHOSEN,
    Entry,
    full_entry,
    three_digits,
)

TOP, HEIGHT, FOOT, GAP = 15.0, 26.0, 11.0, 3.0  # mm around and between the panels
BELOW = TOP + HEIGHT + FOOT  # mm that all take
RULE: dict[str, Any] = {"color": INK, "linewidth": 0.6, "linestyle": (0, (4, 2)), "zorder": 1}
CURVE: dict[str, Any] = {"color": BLUE, "marker": "o", "markersize": 2.4, "linewidth": 1.3}
OTHERS: dict[str, Any] = {"color": "#C4C4C4", "linewidth": 0.7}
AT_COST: dict[str, Any] = {"color": VERMILLION, "linewidth": 0.7, "linestyle": (0, (1, 1.5))}
NEAREST: dict[str, Any] = {"color": BLUE, "marker": "o", "markersize": 4.6, "mfc": "white"}


def draw_criteria(
    page: Page,
    corner: tuple[float, float],
    curves: Mapping[str, pd.DataFrame],
    used: str | None,
    entries: list[Entry],
) -> None:
    """One panel a criterion, the others behind it in grey, with one measured point in numbers.

    That point is the chosen one for the criterion in use, and of each other criterion the one
    whose cost is nearest to the chosen one's.

    Args:
        page: to draw on.
        corner: mm of the panels' left edge and of the heading's top.
        curves: criterion -> its mean points, `accuracy, gflops`, of `point_words.curve`.
        used: the criterion in use.
        entries: the full model, targets and rivals.
    """
    left, top = corner
    full = full_entry(entries)
    chosen = next((entry for entry in entries if entry.chosen and not entry.full), None)
    means = pd.DataFrame([] if chosen is None else [chosen.means])
    limits = accuracy_limits([*curves.values(), means])
    lines = {name: on_axes(line, full) for name, line in curves.items()}
    all_costs = pd.concat([line["x"] for line in lines.values()])
    star = None if chosen is None else on_axes(means, full).iloc[0]
    cost = float(all_costs.median() if star is None else star["x"])
    heading = "The criteria one by one: the chosen point, of the others the point nearest its cost"
    if star is None:
        heading = "The criteria one by one, each with its point nearest the median cost"
    page.text(0, top + 2.5, heading, size=style.LABEL, va="center")
    width = (page.width - left - 2 - GAP * (len(lines) - 1)) / len(lines)
    room = 0.06 * (all_costs.max() - all_costs.min()) or 0.1 * all_costs.max()
    for number, (name, line) in enumerate(lines.items()):
        x = left + number * (width + GAP)
        axes = page.axes(x, top + TOP, width, HEIGHT)
        axes.set(xlim=(all_costs.min() - room, all_costs.max() + room), ylim=limits)
        for other in lines.values():
            axes.plot(other["x"], other["y"], **OTHERS)
        axes.plot(line["x"], line["y"], **CURVE)
        axes.axvline(cost, **AT_COST)
        if full:
            axes.axhline(full.mean("accuracy") * 100, **RULE)
        told = star if star is not None and name == used else nearest(line, cost)
        axes.plot(told["x"], told["y"], **(CHOSEN if told is star else NEAREST), zorder=5)
        dress(axes, first=number == 0)
        bold = {"weight": "bold"} if name == used else {}
        fitted = style.shorten(name, style.TICK, width, bool(bold))
        page.text(x, top + TOP - 7, fitted, va="center", color=BLUE, **bold)
        at_cost = f"{told['x']:.0f} %" if full else three_digits(told["x"])
        page.text(x, top + TOP - 3.4, f"{told['y']:.1f} % at {at_cost}", va="center", color=INK)
    centre = left + (page.width - left - 2) / 2
    y = top + TOP + HEIGHT + 7.2
    unit = "GFLOPs per image" + (", % of the full model's" if full else "")
    page.text(centre, y, unit, size=style.LABEL, ha="center", va="center")


def on_axes(points: pd.DataFrame, full: Entry | None) -> pd.DataFrame:
    """`x`, the GFLOPs (in % of the full model's where it is known), and `y`, the accuracy in %."""
    x = points["gflops"]
    x = share_of_plain(x, full.mean("gflops")) * 100 if full else x
    return pd.DataFrame({"x": x, "y": points["accuracy"] * 100})


def nearest(line: pd.DataFrame, cost: float) -> pd.Series:
    """The point of a curve whose cost is nearest."""
    return line.iloc[(line["x"] - cost).abs().argmin()]


def accuracy_limits(parts: list[pd.DataFrame]) -> tuple[float, float]:
    """Limits in % around every accuracy, with room above for words on the full model's rule."""
    values = pd.concat([part["accuracy"] for part in parts if len(part)]) * 100
    low, high = float(values.min()), float(values.max())
    room = max(high - low, 2.0)
    return low - 0.08 * room, high + 0.12 * room


def dress(axes: Axes, first: bool) -> None:
    """Few round ticks, and words at the first panel alone."""
    axes.xaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))
    tick_percents(axes, 4)
    axes.grid()
    axes.tick_params(labelleft=first)
    axes.set_ylabel("accuracy (%)" if first else "")
