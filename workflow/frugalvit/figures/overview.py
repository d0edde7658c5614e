"""A study in one picture: what training buys, and what computation can be saved."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from frugalvit.figures import style
from frugalvit.figures.comparison import PLAIN
from frugalvit.figures.panel import LabelledPanel, tick_percents
from frugalvit.figures.schedules import plain_number
from frugalvit.figures.series import Series
from frugalvit.figures.style import GREY, Page

WIDTH, HEIGHT, TOP, FOOT = 200.0, 60.0, 7.0, 12.0  # mm: page, panels, their titles, their axes
LEFT, PANEL, GAP = 9.0, 53.0, (13.0, 10.0)  # mm: ticks, a panel, after the first and the second
TIMES = "\N{MULTIPLICATION SIGN}"
BARS: dict[str, Any] = {"fmt": "none", "elinewidth": 0.7}
NOTES = (
    "Marks: means over seeds; bars: standard deviation. Large marks: the setting in the table; small "
    "ones: the same model at other settings."
)


@style.themed
def draw(
    series: Sequence[Series],
    training: Mapping[str, pd.Series],
    *,
    study: str,
    subtitle: str,
    throughput_batch: int,
) -> Figure:
    """Accuracy against training time of whole models, and against cost of those that save some.

    Args:
        series: of each experiment, see `figures.series`.
        training: seconds of each run, by experiment.
        study: its name.
        subtitle: number of images, seeds, device.
        throughput_batch: images a batch of the points' `images_per_s`.
    """
    title = f"Study {study}: what more training buys, and what less computation costs"
    page = Page(title, subtitle, WIDTH, TOP + HEIGHT + FOOT, notes=NOTES + fewer_text(series))
    whole = [one for one in series if one.role == PLAIN]
    best = max(whole, key=lambda one: one.main["accuracy"], default=None)
    saving = [one for one in series if one.role != PLAIN or one is best]
    lefts = np.cumsum([LEFT, PANEL + GAP[0], PANEL + GAP[1]])
    first, second, third = (page.axes(left, TOP, PANEL, HEIGHT) for left in lefts)
    for left, words in zip(lefts, ("How much to train", "Operations counted", "Speed measured")):
        page.text(left, 2.2, words, size=style.LABEL, weight="bold", va="center")
    seconds = {one.experiment: training[one.experiment].mean() for one in whole}
    draw_training(first, whole, seconds)
    low, high = accuracy_limits(saving)
    for axes, column in ((second, "gflops"), (third, "images_per_s")):
        axes.set_ylim(low, high)
        draw_saving(axes, saving, column)
    second.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value * 100:.3g}"))
    third.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{TIMES}{value:.3g}"))
    below = (
        ("training time, s", "← better"),
        ("GFLOPs an image, % of the full model's", "← better"),
        (f"images/s (batch {throughput_batch}), {TIMES} the full model's", "better →"),
    )
    for left, (what, better) in zip(lefts, below):
        middle = left + PANEL / 2
        page.text(middle, TOP + HEIGHT + 6.6, what, size=style.LABEL, ha="center", va="center")
        look = {"size": style.NOTE, "color": GREY, "ha": "center", "va": "center"}
        page.text(middle, TOP + HEIGHT + 10.2, better, **look)
    first.set_ylabel("test accuracy, %")
    return page.figure


def fewer_text(series: Sequence[Series]) -> str:
    """Which experiments have fewer seeds than others; an empty text where none has."""
    runs = {one.experiment: one.main["runs"] for one in series}
    fewer = [name for name, count in runs.items() if count < max(runs.values())]
    return f" Fewer seeds, not to be ranked with the others: {', '.join(fewer)}." if fewer else ""


def accuracy_limits(series: Sequence[Series]) -> tuple[float, float]:
    """Limits in % around the points in use, with room for a spread and for points nearby."""
    values = np.array([one.main["accuracy"] * 100 for one in series])
    room = max(float(np.ptp(values)), 2.0)
    return float(values.min()) - 0.12 * room, float(values.max()) + 0.2 * room


def draw_training(axes: Axes, series: Sequence[Series], seconds: Mapping[str, float]) -> None:
    """One mark an experiment, named, on a logarithmic axis of seconds."""
    accuracy = [one.main["accuracy"] * 100 for one in series]
    times = list(seconds.values())
    axes.set_xscale("log")
    axes.set_xlim(min(times) / 2, max(times) * 2)
    room = max(max(accuracy) - min(accuracy), 2.0)
    axes.set_ylim(min(accuracy) - 0.08 * room, max(accuracy) + 0.12 * room)
    axes.xaxis.set_major_locator(LogLocator(numticks=6))
    axes.xaxis.set_major_formatter(FuncFormatter(plain_number))
    axes.xaxis.set_minor_formatter(NullFormatter())
    tick_percents(axes, 6)
    axes.grid()
    # The panel measures linearly, so that its places are those of the logarithms.
    panel = LogPanel(axes, PANEL, HEIGHT)
    for one, x, y in zip(series, times, accuracy):
        marker, color = one.look
        spread = known_spread(one.main["accuracy_sd"] * 100)
        axes.errorbar(x, y, spread, ecolor=color, **BARS)
        axes.plot(x, y, marker, color=color, markersize=5)
        panel.keep_clear([x], [y], 1.4)
    for one, x, y in zip(series, times, accuracy):
        panel.label(x, y, one.experiment, one.look[1])


def draw_saving(axes: Axes, series: Sequence[Series], column: str) -> None:
    """Each experiment's curve with its points, the one in use large and named."""
    known = [one for one in series if pd.notna(one.main[column])]
    values = [value for one in known for value in visible(axes, one)[column].dropna()] or [1.0]
    room = max(max(values) - min(values), 0.1)
    axes.set_xlim(min(values) - 0.12 * room, max(values) + 0.12 * room)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    tick_percents(axes, 6)
    axes.grid()
    panel = LabelledPanel(axes, PANEL, HEIGHT)
    for one in known:
        marker, color = one.look
        curve = one.rows[one.rows["joined"]].dropna(subset=[column])
        axes.plot(curve[column], curve["accuracy"] * 100, color=color, linewidth=0.9)
        axes.plot(curve[column], curve["accuracy"] * 100, marker, color=color, markersize=2.8)
        panel.keep_clear(curve[column], curve["accuracy"] * 100, 0.6)
        x, y = one.main[column], one.main["accuracy"] * 100
        across, up = one.main[f"{column}_sd"], one.main["accuracy_sd"] * 100
        axes.errorbar(x, y, known_spread(up), known_spread(across), ecolor=color, **BARS)
        axes.plot(x, y, marker, color=color, markersize=6, zorder=6)
        panel.keep_clear([x], [y], 1.6)
    for one in known:
        panel.label(one.main[column], one.main["accuracy"] * 100, one.experiment, one.look[1])


def known_spread(value: float) -> float | None:
    """A length for an error bar; None of a single seed, which has no spread."""
    return value if np.isfinite(value) else None


def visible(axes: Axes, series: Series) -> pd.DataFrame:
    """The points of a series within the limits of accuracy."""
    low, high = axes.get_ylim()
    return series.rows[series.rows["accuracy"].mul(100).between(low, high)]


class LogPanel(LabelledPanel):
    """A panel whose horizontal axis is logarithmic."""

    def place(self, x: float, y: float) -> tuple[float, float]:
        """A value's place in mm from the lower left corner."""
        left, right = np.log(self.axes.get_xlim())
        low, high = self.axes.get_ylim()
        across = (np.log(x) - left) / (right - left)
        return float(across) * self.width, (y - low) / (high - low) * self.height
