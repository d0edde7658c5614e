"""Accuracy of every exit, beside a linear probe of the same depth of the untouched base."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

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
    tick_percents,
)
from frugalvit.figures.style import BLUE, GREY, PALE, Page

COLUMNS = ("exit", "split", "n", "accuracy", "gflops")
PROBE_COLUMNS = ("block", "split", "accuracy")
NEEDS = {"exits": COLUMNS, "probes": PROBE_COLUMNS, "devices": tables.DEVICES}
PANEL_HEIGHT = 62.0  # mm
DASHED = (0, (3.5, 1.8))


def probe_note(mean: pd.Series, probe: pd.Series) -> str:
    """By how much the exits lead the probe where they lead it least."""
    lead = ((mean - probe) * 100).dropna()
    if lead.empty:
        return ""
    block, least = lead.idxmin(), lead.min()
    which = "Smallest lead over" if least >= 0 else "Largest lag behind"
    return f" {which} the probe: {abs(least):.1f} points, after block {block}."


def plot(given: Mapping[str, pd.DataFrame], about: About) -> Figure:
    """See `figures.plotting`."""
    return draw(given["exits"], given["probes"], **about.of_experiment)


@style.themed
def draw(
    exits: pd.DataFrame,
    probes: pd.DataFrame,
    *,
    study: str,
    experiment: str,
    device: str,
    width_mm: float,
) -> Figure:
    """Test accuracy of every exit by itself: each seed a ring, their mean a line.

    `exits` has the columns of `exits.csv` and `run`, `seed`; `probes` those of `probes.csv`, and
    may be empty.
    """
    split, shown = tables.shown_split(exits)
    title = f"Accuracy of each exit of {experiment}"
    seeds = tables.seeds_text(exits["seed"])
    size = tables.images_text(int(shown["n"].iloc[0]) if len(shown) else 0, split)
    subtitle = tables.subtitle(study, seeds, size, device and f"device: {device}")
    if shown.empty:
        message = "No exit was evaluated: this study has no test images."
        return style.message_page(title, subtitle, message, width_mm)
    runs = by_exit(shown, "accuracy") * 100
    mean = runs.mean(axis=1)
    probe = probes[probes["split"] == split].groupby("block")["accuracy"].mean()
    blocks = [int(block) for block in runs.index]
    axis = BlockAxis(
        LEFT,
        width_mm - 2 * style.MARGIN - LEFT - RIGHT,
        blocks,
        first=min([*blocks, *probe.index]),
        last=max([*blocks, *probe.index]),
    )
    several = runs.shape[1] > 1
    notes = "Each exit answers for every image, whether or not the image would have left before. "
    notes += "Rings: seeds; line: their mean. " if several else ""
    notes += "GFLOPs of an image that leaves there, the exits up to it included."
    if len(probe):
        notes += (
            " Probe: scikit-learn's logistic regression on what the base, untouched, gives after"
            " the block." + probe_note(mean / 100, probe)
        )
    rows = 3 if len(probe) else 2
    height = PANEL_HEIGHT + ROWS_BELOW + rows * ROW
    page = Page(title, subtitle, width_mm, height, notes=notes)
    axes = page.axes(LEFT, 0, axis.width, PANEL_HEIGHT)
    draw_curves(axes, axis, runs, probe * 100)
    y = PANEL_HEIGHT + ROWS_BELOW + ROW / 2
    axis.write_row(page, y, "exit: accuracy (%)", numbers(mean, 1), BLUE)
    if len(probe):
        y += ROW
        at_exits = (probe * 100).reindex(blocks)
        axis.write_row(page, y, "probe: accuracy (%)", numbers(at_exits, 1), GREY)
    flops = by_exit(shown, "gflops").mean(axis=1)
    share = flops / flops.iloc[-1] * 100
    name = f"% of {flops.iloc[-1]:.3g} GFLOPs"
    axis.write_row(page, y + ROW, name, numbers(share, 0), style.INK)
    return page.figure


def draw_curves(axes: Axes, axis: BlockAxis, runs: pd.DataFrame, probe: pd.Series) -> None:
    """Exits and probe in %, named at their right ends; the last exit is the full model."""
    mean = runs.mean(axis=1)
    ends = [(float(mean.iloc[-1]), ["exits", "◆ last: full model"], BLUE)]
    if len(probe):
        look: dict[str, Any] = {"linestyle": DASHED, "marker": "s", "markersize": 2.6, "zorder": 2}
        axes.plot(probe.index, probe, color=PALE, mec=GREY, mfc=GREY, linewidth=1.1, **look)
        ends.append((float(probe.iloc[-1]), ["linear probe of the", "base, untouched"], GREY))
    several = runs.shape[1] > 1
    axes.plot(mean.index, mean, color=BLUE, linewidth=1.6, zorder=3)
    if several:
        rings: dict[str, Any] = {
            "markersize": 3.6,
            "mfc": "white",
            "mew": 0.8,
            "color": BLUE,
            "zorder": 4,
        }
        axes.plot(runs.index, runs, "o", **rings)
    else:
        axes.plot(mean.index, mean, "o", color=BLUE, markersize=4, zorder=4)
    full: dict[str, Any] = {
        "mfc": "none" if several else BLUE,
        "markersize": 9 if several else 7,
        "mew": 1.3,
    }
    axes.plot(mean.index[-1], mean.iloc[-1], "D", color=BLUE, zorder=5, **full)
    axis.dress(axes)
    values = pd.concat([runs.stack(), probe])
    low, high = float(values.min()), float(values.max())
    room = max((high - low) * 0.06, (4 - (high - low)) / 2)
    top = min(high + room, 100 + (high - low + 2 * room) * 0.03)
    axes.set_ylim(max(low - room, -2), top)
    tick_percents(axes, 7)
    axes.set_ylabel("accuracy (%)")
    label_ends(axes, PANEL_HEIGHT, ends)
