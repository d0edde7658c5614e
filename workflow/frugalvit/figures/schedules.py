"""Experiments compared: accuracy of every seed, and what the training cost."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from frugalvit.chance import chance_text
from frugalvit.figures import style, tables
from frugalvit.figures.about import About
from frugalvit.figures.ranking import with_fewer_seeds
from frugalvit.figures.style import BLUE, GREY, PALE, Page

COLUMNS = (
    "experiment",
    "run",
    "method",
    "seed",
    "split",
    "n",
    "accuracy",
    "train_seconds",
    "device",
    "selected",
)
NEEDS = {"summary": COLUMNS}
SEARCH_RUN = r"-g\d+-s\d+$"
TEST = {"color": BLUE, "ink": BLUE, "marker": "D", "factor": 100, "offset": 0.0}
VALID = {"color": PALE, "ink": GREY, "marker": "s", "factor": 100, "offset": 0.0}
COST = {"color": "#B87A00", "ink": "#8A5C00", "marker": "o", "factor": 1, "offset": 0.0}
TOP = 5.5  # mm above the panels, for the key


@dataclass(frozen=True)
class Rows:
    """One row an experiment, from the top; `step` is a row's height in mm."""

    names: list[str]
    step: float

    @property
    def height(self) -> float:
        """Height of all rows in mm."""
        return len(self.names) * self.step

    @property
    def middles(self) -> list[float]:
        """The rows' middles in mm from the top of the page's body."""
        return [TOP + (place + 0.5) * self.step for place in range(len(self.names))]


def compared_runs(summary: pd.DataFrame, shown: list[str] | None) -> pd.DataFrame:
    """Rows to compare: the shown experiments' runs that a grid search did not reject.

    A grid's winner may stand for its experiment both as a search run and as a final run of the
    same seed: the final one counts.
    """
    kept = summary[summary["selected"].astype(str).str.lower() != "false"]
    if shown is not None:
        kept = kept[kept["experiment"].isin(shown)]
    searched = kept["run"].str.contains(SEARCH_RUN)
    ordered = kept.assign(searched=searched).sort_values("searched", kind="stable")
    return ordered.drop_duplicates(["experiment", "seed", "split"]).drop(columns="searched")


def order_experiments(runs: pd.DataFrame) -> list[str]:
    """Experiments by mean test accuracy, best first; those of fewer seeds, unranked, below.

    Those without a test accuracy go by validation, last.
    """
    fewer = unranked(runs)
    means = runs.pivot_table(index="experiment", columns="split", values="accuracy", dropna=False)
    means = means.reindex(columns=["test", "valid"]).reindex(sorted(runs["experiment"].unique()))
    ordered = means.sort_values(["test", "valid"], ascending=False, kind="stable").index
    return sorted(ordered, key=lambda name: name in fewer)


def unranked(runs: pd.DataFrame) -> set[str]:
    """Experiments of fewer seeds than others: their mean does not compare."""
    return with_fewer_seeds({name: set(own) for name, own in runs.groupby("experiment")["seed"]})


def duration_text(seconds: float) -> str:
    """'45 s', '3.5 min', '2.1 h'."""
    if seconds < 100:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def plot(given: Mapping[str, pd.DataFrame], about: About) -> Figure:
    """See `figures.plotting`."""
    shown = about.options["experiments"]
    return draw(given["summary"], shown=shown, **about.of_study)


@style.themed
def draw(summary: pd.DataFrame, *, study: str, shown: list[str] | None, width_mm: float) -> Figure:
    """Test accuracy (and validation, lighter) and training time of the experiments of a study.

    `summary` has the columns of `summary.csv`; `shown` limits the experiments, None shows all.
    """
    runs = compared_runs(summary, shown)
    title = "Which experiment is worth its training?"
    if runs.empty:
        message = "No finished experiment to compare: summary.csv holds none of those to show."
        return style.message_page(title, study, message, width_mm)
    names = order_experiments(runs)
    test = runs[runs["split"] == "test"]
    devices = ", ".join(sorted(runs["device"].dropna().unique()))
    sizes = test["n"].dropna().unique()
    size = tables.images_text(int(sizes[0]), "test") if len(sizes) == 1 else ""
    seeds = tables.seeds_text(runs["seed"])
    parts = (study, seeds, size, devices and f"device: {devices}")
    rows = Rows(names, 8.0 if len(names) <= 12 else 6.4)
    height = TOP + rows.height + 9
    page = Page(title, tables.subtitle(*parts), width_mm, height, notes=notes_text(runs, test))
    right = write_names(page, rows, test if len(sizes) > 1 else test.iloc[:0])
    ranked = len(names) - len(unranked(runs))
    if ranked < len(names):
        y = TOP + ranked * rows.step
        page.line((0, page.width), (y, y), color=GREY, linewidth=0.6)
    cost = runs.drop_duplicates(["experiment", "seed"])
    has_cost = cost["train_seconds"].notna().any()
    room = page.width - right
    right = draw_accuracy(page, (right, room * 0.6 if has_cost else room), rows, runs)
    if has_cost:
        draw_cost(page, (right + 5, page.width - right - 5), rows, cost)
    return page.figure


def notes_text(runs: pd.DataFrame, test: pd.DataFrame) -> str:
    """How to read the marks, and how far chance alone moves one run's accuracy."""
    notes = "Best test accuracy first. "
    if unranked(runs):
        notes += "Below the line: fewer seeds, unranked, for their means do not compare. "
    if runs["seed"].nunique() > 1:
        notes += "Circles: seeds. Bars: their mean; numbers: mean ± standard deviation. "
    if len(test):
        best = test.groupby("experiment")["accuracy"].mean().max()
        notes += chance_text(best, int(test["n"].min())) + " "
    if runs["run"].str.contains(SEARCH_RUN).any():
        notes += "Of a grid search only the selected point is shown. "
    return notes.strip()


def write_names(page: Page, rows: Rows, sized: pd.DataFrame) -> float:
    """Experiments' names, with n beneath where `sized` has their test runs; returns the mm used."""
    n = sized.groupby("experiment")["n"].first()
    longest = max(style.text_width(name, style.LABEL) for name in rows.names)
    width = min(longest, 0.27 * page.width)
    for name, y in zip(rows.names, rows.middles):
        shift = 1.4 if name in n else 0
        shown = style.shorten(name, style.LABEL, width)
        page.text(0, y - shift, shown, size=style.LABEL, va="center_baseline")
        if name in n:
            look = {"size": style.NOTE, "color": GREY, "va": "center_baseline"}
            page.text(0, y + shift, f"n = {n[name]:,.0f}", **look)
    return width + 2


def draw_accuracy(page: Page, span: tuple[float, float], rows: Rows, runs: pd.DataFrame) -> float:
    """The panel of accuracies with the test means at its right; returns its right end in mm."""
    left, room = span
    values = 21.0
    test, valid = runs[runs["split"] == "test"], runs[runs["split"] == "valid"]
    axes = page.axes(left, TOP, room - values, rows.height)
    offset = 0.0 if valid.empty or test.empty else 0.19
    draw_marks(axes, rows.names, valid, "accuracy", {**VALID, "offset": offset})
    draw_marks(axes, rows.names, test, "accuracy", {**TEST, "offset": -offset})
    style_rows(axes, rows, "accuracy (%)")
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    limit_accuracy(axes, runs["accuracy"] * 100)
    named = [("test", TEST, test), ("validation", VALID, valid)]
    looks = [(name, look) for name, look, part in named if len(part)]
    write_key(page, left, looks, several=runs["seed"].nunique() > 1)
    right = left + room
    if test.empty:
        numbers, heading, color = valid, "validation", GREY
    else:
        numbers, heading, color = test, "test", BLUE
    page.text(right, TOP - 2.6, heading, ha="right", va="center", color=color)
    for name, y in zip(rows.names, rows.middles):
        accuracy = numbers.loc[numbers["experiment"] == name, "accuracy"].dropna()
        text = tables.percent(accuracy) if len(accuracy) else "no test"
        look = {"weight": "bold", "color": color} if len(accuracy) else {"color": GREY}
        page.text(right, y, text, ha="right", va="center_baseline", **look)
    return right


def draw_cost(page: Page, span: tuple[float, float], rows: Rows, cost: pd.DataFrame) -> None:
    """The panel of training times, with the means at its right."""
    left, room = span
    axes = page.axes(left, TOP, room - 15, rows.height)
    seconds = cost["train_seconds"].dropna()
    longest = seconds.max()
    unit, scale = ("s", 1) if longest < 600 else ("min", 60) if longest < 7200 else ("h", 3600)
    draw_marks(axes, rows.names, cost, "train_seconds", {**COST, "factor": 1 / scale})
    style_rows(axes, rows, f"training time ({unit})")
    low, high = seconds.min() / scale, longest / scale
    if low > 0 and high / low > 20:
        axes.set_xscale("log")
        axes.set_xlim(low / 1.5, high * 1.5)
        subs = (1, 2, 5) if high / low < 60 else (1,)
        axes.xaxis.set_major_locator(LogLocator(subs=subs, numticks=9))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_xlim(0, high * 1.06 or 1)
        axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(FuncFormatter(plain_number))
    page.text(left, TOP - 2.6, "training, each seed", va="center", color=COST["ink"])
    for name, y in zip(rows.names, rows.middles):
        own = cost.loc[cost["experiment"] == name, "train_seconds"].dropna()
        text = duration_text(own.mean()) if len(own) else style.DASH
        page.text(page.width, y, text, ha="right", va="center_baseline")


def plain_number(value: float, _: int) -> str:
    """A tick's number without an exponent: '0.5', '20'."""
    return f"{value:g}"


def draw_marks(
    axes: Axes, names: list[str], runs: pd.DataFrame, column: str, look: dict[str, Any]
) -> None:
    """Every seed's value as an open circle, their mean as a bar; a single seed is a filled mark."""
    for place, name in enumerate(names):
        values = runs.loc[runs["experiment"] == name, column].dropna() * look["factor"]
        if values.empty:
            continue
        y, color = place + look["offset"], look["color"]
        if len(values) == 1:
            axes.plot(values, y, look["marker"], color=color, markersize=5)
            continue
        axes.plot([values.min(), values.max()], [y, y], color=color, linewidth=0.9, zorder=2)
        rings = {"markersize": 3.6, "mfc": "white", "mew": 0.9, "color": color, "zorder": 3}
        axes.plot(values, [y] * len(values), "o", **rings)
        axes.plot(values.mean(), y, "|", color=color, markersize=9, mew=2.2, zorder=4)


def style_rows(axes: Axes, rows: Rows, label: str) -> None:
    """Rows from the top, light rules between them, no frame at the left."""
    axes.set_ylim(len(rows.names) - 0.5, -0.5)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(label)
    axes.grid(axis="x")
    for place in range(len(rows.names)):
        axes.axhline(place, color="#EFEFEF", linewidth=0.6, zorder=0)


def limit_accuracy(axes: Axes, values: pd.Series) -> None:
    """Zoom to the values, at least 4 points wide; dots need no zero."""
    low, high = float(values.min()), float(values.max())
    room = max((high - low) * 0.08, (4 - (high - low)) / 2, 0.5)
    # Beyond 100 only as far as half a marker reaches.
    axes.set_xlim(low - room, min(high + room, 100 + room * 0.35) if high > 99 else high + room)


def write_key(
    page: Page, left: float, looks: list[tuple[str, dict[str, Any]]], several: bool
) -> None:
    """Name the marks of one or several seeds above the panel, in their colours."""
    axes = page.axes(left, TOP - 4.6, 60, 4)
    axes.set_axis_off()
    axes.set(xlim=(0, 60), ylim=(0, 4))
    x = 1.5
    for name, look in looks:
        if several:
            axes.plot(x, 2, "o", color=look["color"], markersize=3.6, mfc="white", mew=0.9)
            axes.plot(x, 2, "|", color=look["color"], markersize=8, mew=2.2)
        else:
            axes.plot(x, 2, look["marker"], color=look["color"], markersize=4.5)
        axes.text(x + 2, 2, name, color=look["ink"], va="center")
        x += 2 + style.text_width(name, style.TICK) + 5
