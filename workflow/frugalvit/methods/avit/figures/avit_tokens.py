"""Tokens kept per image: how many images took how many, and whether their answers were right."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from frugalvit.figures import style, tables
from frugalvit.figures.about import About
from frugalvit.figures.panel import tick_percents
from frugalvit.figures.style import BLUE, INK, VERMILLION, Page

COLUMNS = ("id", "split", "label", "predicted", "tokens")
NEEDS = {"predictions": COLUMNS, "devices": tables.DEVICES}
LEFT, TOP, BETWEEN, FOOT = 12.0, 6.0, 9.0, 10.0  # mm
HALF, WITHIN = 25.0, 8.0  # mm: a histogram's height, and the room for words between the two
BINS, GROUPS = 25, 6
LEAST_RANGE = 10.0  # points of the axis of tokens
Z = 1.96  # of a 95 % interval
LOOKS = {True: ("right answers", BLUE), False: ("wrong answers", VERMILLION)}


def grouped(shown: pd.DataFrame, groups: int = GROUPS) -> pd.DataFrame:
    """Accuracy of images grouped by the tokens kept, in groups of nearly the same size.

    Returns one row a group, the fewest tokens first: `low, high, tokens` (mean), `accuracy`, `n`
    (answers), `images` (answers a run) and the bounds `least, most` of Wilson's 95 % interval,
    which counts an image once, in however many runs.
    """
    runs = shown["run"].nunique()
    if shown["tokens"].nunique() > 1:
        cut = pd.qcut(shown["tokens"], groups, duplicates="drop")
    else:
        cut = pd.Series(0, index=shown.index)
    right = shown["label"] == shown["predicted"]
    parts = shown.assign(right=right).groupby(cut, observed=True)
    table = parts.agg(
        low=("tokens", "min"),
        high=("tokens", "max"),
        tokens=("tokens", "mean"),
        accuracy=("right", "mean"),
        n=("right", "size"),
    ).reset_index(drop=True)
    table["images"] = table["n"] / runs
    p, n = table["accuracy"], table["images"]
    middle = (p + Z**2 / (2 * n)) / (1 + Z**2 / n)
    reach = Z / (1 + Z**2 / n) * np.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2))
    return table.assign(least=middle - reach, most=middle + reach)


def plot(given: Mapping[str, pd.DataFrame], about: About) -> Figure:
    """See `figures.plotting`."""
    return draw(given["predictions"], **about.of_experiment)


@style.themed
def draw(
    predictions: pd.DataFrame, *, study: str, experiment: str, device: str, width_mm: float
) -> Figure:
    """Left histograms of the tokens kept by right and by wrong answers, right accuracy against them.

    `predictions` has the columns of `predictions.csv` and `run`, `seed`; `tokens` is a share.
    """
    split, shown = tables.shown_split(predictions)
    title = f"How many tokens an image takes in {experiment}"
    subtitle = tables.subtitle(
        study,
        tables.seeds_text(predictions["seed"]) if len(predictions) else "",
        tables.images_text(shown["id"].nunique(), split),
        device and f"device: {device}",
    )
    if shown.empty:
        message = "No predictions to look at: this study has no test images."
        return style.message_page(title, subtitle, message, width_mm)
    several = shown["run"].nunique() > 1
    notes = (
        "Tokens kept: share of an image's tokens that were computed, mean over the blocks; 100 %"
        " is the plain model. Dashed, left: means. Right: images grouped by their tokens, each group"
        " at its mean; horizontal lines: from its fewest to its most tokens; vertical lines: 95 %"
        " interval (Wilson) for its images."
    )
    notes += (
        " Answers of all seeds are pooled; the intervals count each image once." if several else ""
    )
    height = 2 * HALF + WITHIN
    page = Page(title, subtitle, width_mm, TOP + height + FOOT, notes=notes)
    width = (page.width - 2 * LEFT - BETWEEN) / 2
    limits = limits_of(shown["tokens"] * 100)
    draw_histograms(page, width, shown, limits)
    draw_accuracy(page, (2 * LEFT + width + BETWEEN, width), shown, limits)
    return page.figure


def limits_of(tokens: pd.Series) -> tuple[float, float]:
    """Limits in % around the values, at least `LEAST_RANGE` apart and never beyond 0 or 100."""
    low, high = float(tokens.min()), float(tokens.max())
    room = max((high - low) * 0.06, (LEAST_RANGE - (high - low)) / 2)
    low, high = low - room, high + room
    return max(min(low, 100 - LEAST_RANGE), 0.0), min(max(high, LEAST_RANGE), 100.6)


def heading(kind: bool, part: pd.DataFrame, shown: pd.DataFrame) -> str:
    """'wrong answers (7.1 %) keep 61.2 % on average'."""
    words = f"{LOOKS[kind][0]} ({len(part) / len(shown) * 100:.1f} %)"
    if part.empty:
        return words
    return f"{words} keep {part['tokens'].mean() * 100:.1f} % on average"


def draw_histograms(
    page: Page, width: float, shown: pd.DataFrame, limits: tuple[float, float]
) -> None:
    """Right answers above wrong ones on one scale of tokens, each in % of its own number."""
    right = shown["label"] == shown["predicted"]
    edges = np.linspace(*limits, BINS + 1).tolist()
    for number, (kind, (_, color)) in enumerate(LOOKS.items()):
        part, top = shown[right == kind], TOP + number * (HALF + WITHIN)
        page.text(LEFT, top - 2.6, heading(kind, part, shown), va="center", color=color)
        axes = page.axes(LEFT, top, width, HALF)
        axes.set(xlim=limits, ylabel="share (%)")
        axes.tick_params(labelbottom=number == 1)
        axes.grid(axis="y")
        tick_tokens(axes)
        if part.empty:
            axes.set_yticks([])
            continue
        weights = np.full(len(part), 100 / len(part))
        axes.hist(part["tokens"] * 100, edges, weights=weights, color=color, rwidth=0.92)
        mean = part["tokens"].mean() * 100
        axes.axvline(mean, color=INK, linewidth=1.0, linestyle=(0, (4, 2)))
        axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    axes.set_xlabel("tokens kept (%)")


def groups_text(images: pd.Series) -> str:
    """'6 groups of 238 to 259 images', 'all 40 images'."""
    least, most = round(images.min()), round(images.max())
    if len(images) == 1:
        return f"all {most:,} images"
    sizes = f"{most:,}" if least == most else f"{least:,} to {most:,}"
    return f"{len(images)} groups of {sizes} images"


def tick_tokens(axes: Axes) -> None:
    """Round ticks of a share of tokens."""
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))


def draw_accuracy(
    page: Page, span: tuple[float, float], shown: pd.DataFrame, limits: tuple[float, float]
) -> None:
    """Accuracy of the groups with their intervals, and the accuracy of all as a rule."""
    left, width = span
    table, average = grouped(shown), (shown["label"] == shown["predicted"]).mean() * 100
    words = f"{groups_text(table['images'])} (dashed: all, {average:.1f} %)"
    page.text(left, TOP - 2.6, words, va="center", color=BLUE)
    axes = page.axes(left, TOP, width, 2 * HALF + WITHIN)
    x, y = table["tokens"] * 100, table["accuracy"] * 100
    axes.axhline(average, color=INK, linewidth=0.8, linestyle=(0, (4, 2)), zorder=1)
    axes.hlines(y, table["low"] * 100, table["high"] * 100, color="#A9D4EE", linewidth=2.4)
    axes.vlines(x, table["least"] * 100, table["most"] * 100, color=BLUE, linewidth=1.0)
    axes.plot(x, y, "o", color=BLUE, markersize=4.5)
    low, high = float(table["least"].min()) * 100, float(table["most"].max()) * 100
    room = max(high - low, 4.0)
    low, high = low - 0.05 * room, max(high, average) + 0.05 * room
    axes.set(xlim=limits, ylim=(low, high), xlabel="tokens kept (%)", ylabel="accuracy (%)")
    tick_percents(axes, 7)
    axes.set_yticks([tick for tick in axes.get_yticks() if tick >= 0])
    tick_tokens(axes)
    axes.grid()
