"""Where tokens halt, beside the distribution that training asked for."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from frugalvit.figures import style, tables
from frugalvit.figures.about import About
from frugalvit.figures.style import BLUE, GREY, VERMILLION, Page

COLUMNS = ("block", "split", "halting", "tokens", "target", "n")
NEEDS = {"halting": COLUMNS, "devices": tables.DEVICES}
TOP, PANEL_HEIGHT, FOOT = 14.0, 50.0, 10.0  # mm: words above the panels, panels, ticks and label
LEFT, BETWEEN = 11.0, 9.0  # mm
TARGET: dict[str, Any] = {
    "color": "#A06A00",
    "marker": "D",
    "markersize": 3.4,
    "linewidth": 1.2,
    "zorder": 5,
}


def by_block(shown: pd.DataFrame, column: str) -> pd.DataFrame:
    """One column's values, a row a block and a column a run."""
    return shown.pivot_table(index="block", columns="run", values=column, dropna=False)


def computed(tokens: pd.DataFrame) -> pd.DataFrame:
    """Share of the tokens that each block computes, from the share whose depth is each block.

    Rows are blocks, columns runs; the first block computes every token.
    """
    return tokens[::-1].cumsum()[::-1]


def mean_block(shares: pd.DataFrame) -> pd.Series:
    """Mean block of each run's distribution over blocks."""
    return shares.mul(shares.index, axis=0).sum() / shares.sum()


def plot(given: Mapping[str, pd.DataFrame], about: About) -> Figure:
    """See `figures.plotting`."""
    return draw(given["halting"], **about.of_experiment)


@style.themed
def draw(
    halting: pd.DataFrame, *, study: str, experiment: str, device: str, width_mm: float
) -> Figure:
    """Left the probability to halt after each block, right the tokens that each block computes.

    `halting` has the columns of `halting.csv` and `run`, `seed`.
    """
    split, shown = tables.shown_split(halting)
    title = f"Where tokens of {experiment} halt"
    subtitle = tables.subtitle(
        study,
        tables.seeds_text(halting["seed"]) if len(halting) else "",
        tables.images_text(int(shown["n"].iloc[0]) if len(shown) else 0, split),
        device and f"device: {device}",
    )
    if shown.empty:
        message = "No halting was measured: this study has no test images."
        return style.message_page(title, subtitle, message, width_mm)
    several = shown["run"].nunique() > 1
    notes = "Rings: seeds; bars: their mean. " if several else ""
    notes += (
        "Probability to halt: mean over tokens and images, class tokens included. Tokens computed:"
        " those that have not halted, of images that are not answered; their mean over the blocks"
        " is the share of the tokens' work that is done. Vertical rules: the mean blocks."
        " Grey: tokens left out."
    )
    page = Page(title, subtitle, width_mm, TOP + PANEL_HEIGHT + FOOT, notes=notes)
    width = (page.width - 2 * LEFT - BETWEEN) / 2
    probability, target = by_block(shown, "halting"), by_block(shown, "target").mean(axis=1)
    axes = page.axes(LEFT, TOP, width, PANEL_HEIGHT)
    draw_bars(axes, probability * 100, BLUE, "#A9D4EE")
    draw_target(page, axes, (LEFT, width), probability, target)
    axes.set_ylabel("probability to halt (%)")
    right = 2 * LEFT + width + BETWEEN
    axes = page.axes(right, TOP, width, PANEL_HEIGHT)
    draw_computed(page, axes, (right, width), by_block(shown, "tokens"))
    return page.figure


def draw_bars(axes: Axes, runs: pd.DataFrame, color: str, pale: str) -> None:
    """Bars of the mean over runs in %; several runs have a ring each."""
    several = runs.shape[1] > 1
    axes.bar(runs.index, runs.mean(axis=1), width=0.72, color=pale if several else color)
    if several:
        rings: dict[str, Any] = {
            "markersize": 3.0,
            "mfc": "white",
            "mew": 0.8,
            "color": color,
            "zorder": 4,
        }
        axes.plot(runs.index, runs, "o", **rings)
    last = int(runs.index.max())
    axes.set_xlim(0.4, last + 0.6)
    step = 1 if last <= 12 else 2
    axes.set_xticks(range(1 if step == 1 else 2, last + 1, step))
    axes.set_xlabel("block")
    axes.grid(axis="y")


def draw_target(
    page: Page,
    axes: Axes,
    span: tuple[float, float],
    probability: pd.DataFrame,
    target: pd.Series,
) -> None:
    """The target's line, both means as rules through the panel, and their words above it."""
    left, _ = span
    means = mean_block(probability)
    aimed = float(mean_block(target.to_frame()).iloc[0])
    highest = max(float(probability.max().max()), float(target.fillna(0).max())) * 100
    axes.set_ylim(0, highest * 1.08)
    several = probability.shape[1] > 1
    spread = f" ± {means.std():.2f}" if several else ""
    axes.axvline(means.mean(), color=BLUE, linewidth=1.0, linestyle=(0, (4, 2)), zorder=3)
    words = [(f"halting: mean block {means.mean():.2f}{spread}", BLUE, "s")]
    if target.notna().any():
        axes.plot(target.index, target * 100, **TARGET)
        axes.axvline(aimed, color=TARGET["color"], linewidth=1.0, linestyle=(0, (1, 1.5)), zorder=3)
        words.append((f"target in training: mean block {aimed:.2f}", TARGET["color"], "D"))
    page.text(left, 1.5, "After which block tokens halt", size=style.LABEL, va="center")
    write_key(page, left, words)


def write_key(page: Page, left: float, words: list[tuple[str, str, str]]) -> None:
    """Lines of text, colour and marker above a panel, the markers before the texts."""
    for number, (text, color, marker) in enumerate(words):
        y = 5.6 + number * 3.8
        mark = page.axes(left, y - 1.5, 3, 3)
        mark.set_axis_off()
        mark.set(xlim=(-1, 1), ylim=(-1, 1))
        mark.plot(0, 0, marker=marker, color=color, markersize=4)
        page.text(left + 3.8, y, text, color=color, va="center_baseline")


def draw_computed(page: Page, axes: Axes, span: tuple[float, float], tokens: pd.DataFrame) -> None:
    """Bars of the tokens computed in each block in front of all tokens, and their mean in words."""
    left, _ = span
    runs = computed(tokens) * 100
    axes.bar(runs.index, 100, width=0.72, color=style.FAINT, zorder=0)
    draw_bars(axes, runs, VERMILLION, "#F3C4A8")
    axes.set_ylim(0, 103)
    axes.set_yticks(range(0, 101, 25))
    axes.set_ylabel("tokens computed (%)")
    share = runs.mean()
    several = runs.shape[1] > 1
    depth = share / 100 * len(runs)
    spread = (f" ± {share.std():.1f}", f" ± {depth.std():.2f}") if several else ("", "")
    page.text(left, 1.5, "Tokens that each block still computes", size=style.LABEL, va="center")
    words = f"computed: {share.mean():.1f}{spread[0]} % of all tokens"
    means = f"mean depth {depth.mean():.2f}{spread[1]} of {len(runs)} blocks"
    write_key(page, left, [(words, VERMILLION, "s"), (means, GREY, "")])
