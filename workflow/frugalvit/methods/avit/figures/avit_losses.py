"""Training of A-ViT epoch by epoch: the parts of its loss, its accuracy, what it costs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from frugalvit.figures import learning_curves, style, tables
from frugalvit.figures.about import About
from frugalvit.figures.style import BLUE, GREY, INK, VERMILLION, Page

COLUMNS = (
    "epoch",
    "phase",
    "train",
    "train_loss",
    "train_accuracy",
    "valid_loss",
    "valid_accuracy",
    "train_task",
    "valid_task",
    "train_ponder",
    "valid_ponder",
    "train_distribution",
    "valid_distribution",
    "train_macro_f1",
    "valid_macro_f1",
    "valid_gflops",
    "alpha_ponder",
)
NEEDS = {
    "histories": COLUMNS,
    "assignments": tables.ASSIGNMENTS,
    "devices": tables.DEVICES,
}
LEFT, GAP, ABOVE, BELOW, HEIGHT, KEY = 11.0, 1.5, 4.5, 6.0, 27.0, 5.0  # mm
ACROSS = 3  # panels a row
LOOKS = {
    "train": ("training", VERMILLION, (0, (3, 1.2))),
    "valid": ("validation", BLUE, "-"),
    "": ("setting", INK, "-"),
}


@dataclass(frozen=True)
class Panel:
    """One quantity: its words, its columns by split, and what turns it into the unit shown."""

    heading: str
    columns: dict[str, str]  # "train", "valid" or "" -> column
    factor: float = 1.0
    from_zero: bool = False


def both(name: str) -> dict[str, str]:
    """The columns of a quantity known of both splits."""
    return {split: f"{split}_{name}" for split in ("train", "valid")}


PANELS = (
    Panel("total loss", both("loss")),
    Panel("task loss (nats)", both("task")),
    Panel("ponder loss (blocks)", both("ponder")),
    Panel("KL from the target (nats)", both("distribution"), from_zero=True),
    Panel("distillation loss", both("distillation")),
    Panel("accuracy (%)", both("accuracy"), 100),
    Panel("macro-F1 (%)", both("macro_f1"), 100),
    Panel("GFLOPs per image", {"valid": "valid_gflops"}),
    Panel("weight of the ponder loss", {"": "alpha_ponder"}, from_zero=True),
)


def recorded(history: pd.DataFrame) -> list[Panel]:
    """The panels of which anything was recorded."""
    return [
        panel
        for panel in PANELS
        if any(
            column in history and history[column].notna().any() for column in panel.columns.values()
        )
    ]


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
    """Losses as recorded (unweighted), accuracy, macro-F1 and GFLOPs after each epoch.

    `history` has the columns of `history.csv` and `run`, `seed`; `*_distillation` may be absent,
    and the halting's columns are empty while only the head trains.
    """
    history, phases = learning_curves.align(history)
    stopped = learning_curves.stops(history, phases)
    counts = assignments["split"].value_counts()
    sizes = [tables.images_text(counts.get(name, 0), name) for name in ("train", "valid")]
    seeds = tables.seeds_text(history["seed"])
    panels = recorded(history)
    rows = -(-len(panels) // ACROSS)
    page = Page(
        f"Training of {experiment}, part by part",
        tables.subtitle(study, seeds, *sizes, device and f"device: {device}"),
        width_mm,
        KEY + rows * (ABOVE + HEIGHT + BELOW) + 3,
        notes=notes_text(history, phases, stopped),
    )
    splits = {split for panel in panels for split in panel.columns}
    write_key(page, [split for split in LOOKS if split in splits and split])
    width = (page.width - ACROSS * LEFT - (ACROSS - 1) * GAP) / ACROSS
    for number, panel in enumerate(panels):
        left = LEFT + (number % ACROSS) * (width + LEFT + GAP)
        top = KEY + (number // ACROSS) * (ABOVE + HEIGHT + BELOW) + ABOVE
        page.text(left, top - 2.4, style.shorten(panel.heading, style.TICK, width), va="center")
        axes = page.axes(left, top, width, HEIGHT)
        dress(axes, phases, lowest=number + ACROSS >= len(panels))
        draw_curves(axes, panel, history, stopped)
    return page.figure


def notes_text(history: pd.DataFrame, phases: pd.DataFrame, stopped: pd.DataFrame) -> str:
    """How to read the curves, and what the phases trained."""
    text = "Thin: one seed. Thick: their mean. " if history["run"].nunique() > 1 else ""
    text += (
        "Parts of the loss as recorded, before their weights. Ponder: blocks that a token went"
        " through plus its remainder, mean over tokens. GFLOPs: mean over validation images. "
    )
    words = [
        f"{learning_curves.trained_text(phase.train)} (epochs {phase.first} to {phase.last})"
        for phase in phases.itertuples()
    ]
    if len(words) > 1:
        text += f"Shades: the phases, which trained {', then '.join(words)}. "
    ponder = history["valid_ponder"]
    if ponder.isna().any() and ponder.notna().any():
        text += "Where the halting's curves are missing, halting was off. "
    if len(stopped):
        text += "Crosses: a seed that ended the phase early. "
    return text.strip()


def write_key(page: Page, splits: list[str]) -> None:
    """The curves' names in their looks, above the panels."""
    x = LEFT
    for split in splits:
        name, color, linestyle = LOOKS[split]
        page.line((x, x + 6), (1.6, 1.6), color=color, linewidth=1.5, linestyle=linestyle)
        page.text(x + 7.5, 1.6, name, color=color, va="center_baseline")
        x += 7.5 + style.text_width(name, style.TICK) + 6


def dress(axes: Axes, phases: pd.DataFrame, lowest: bool) -> None:
    """The axis of epochs, with the phases as shades."""
    axes.set_xlim(0.5, phases["last"].max() + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    axes.grid(axis="y")
    axes.set_xlabel("epoch" if lowest else "")
    if len(phases) > 1:
        for phase in phases.itertuples():
            span = (phase.first - 0.5, phase.last + 0.5)
            color = learning_curves.shade(phase.train)
            axes.axvspan(*span, color=color, alpha=0.45, zorder=0, lw=0)
    for boundary in phases["last"][:-1]:
        axes.axvline(boundary + 0.5, color=GREY, linewidth=0.6, linestyle=(0, (1, 2)))


def draw_curves(axes: Axes, panel: Panel, history: pd.DataFrame, stopped: pd.DataFrame) -> None:
    """One quantity's curves, each seed thin, their mean thick."""
    places = range(1, int(history["x"].max()) + 1)
    drawn = []
    for split, column in panel.columns.items():
        if column not in history:
            continue
        _, color, linestyle = LOOKS[split]
        runs = learning_curves.by_epoch(history, column) * panel.factor
        look: dict[str, Any] = {"color": color, "linestyle": linestyle}
        if runs.shape[1] > 1:
            axes.plot(runs.index, runs, linewidth=0.6, alpha=0.55, **look)
        mean = runs.mean(axis=1, skipna=False)
        short: dict[str, Any] = {"marker": "o", "markersize": 2.4} if len(places) <= 30 else {}
        axes.plot(mean.index, mean, linewidth=1.6, **look, **short)
        ends = stopped.dropna(subset=column)
        crosses: dict[str, Any] = {"color": color, "markersize": 4, "mew": 1.0}
        axes.plot(ends["x"], ends[column] * panel.factor, "x", **crosses)
        drawn.append(runs.to_numpy())
    set_limits(axes, np.concatenate(drawn, axis=None), panel)


def set_limits(axes: Axes, values: np.ndarray, panel: Panel) -> None:
    """Zoom to the values; a quantity whose zero means something starts there."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    room = 0.07 * (high - low) or 0.07 * abs(high) or 1.0
    low = 0.0 if panel.from_zero and low >= 0 else low - room
    high += room
    axes.set_ylim(low, min(high, 101.5) if panel.factor == 100 else high)
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    if panel.factor == 100:
        axes.set_yticks([tick for tick in axes.get_yticks() if low <= tick <= min(high, 100)])
