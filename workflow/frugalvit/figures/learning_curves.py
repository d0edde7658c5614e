"""Loss and accuracy against epoch, with what trained when."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from frugalvit.figures import style, tables
from frugalvit.figures.about import About
from frugalvit.figures.style import BLUE, GREY, VERMILLION, Page

COLUMNS = (
    "epoch",
    "phase",
    "train",
    "train_loss",
    "train_accuracy",
    "valid_loss",
    "valid_accuracy",
)
NEEDS = {
    "histories": COLUMNS,
    "assignments": tables.ASSIGNMENTS,
    "devices": tables.DEVICES,
}
CURVES: dict[str, dict[str, Any]] = {
    "train": {"label": "training", "color": VERMILLION, "linestyle": (0, (3, 1.2)), "marker": "^"},
    "valid": {"label": "validation", "color": BLUE, "linestyle": "-", "marker": "o"},
}
LOSS = "cross-entropy loss (nats)"
PANEL_HEIGHT, STRIP_HEIGHT = 52.0, 7.0  # mm
LABEL_SPACE, AXIS_SPACE = 17.0, 11.0  # mm: direct labels at the right, ticks and label at the left


def trained_text(train: str) -> str:
    """What a history's `train` means in words: 'blocks: 6' is 'last 6 blocks'."""
    if train.startswith("blocks"):
        count = train.rpartition(":")[2].strip()
        return "last block" if count == "1" else f"last {count} blocks"
    return {"head": "head only", "all": "whole model"}.get(train, train)


def align(history: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Give every epoch a place `x` on one axis on which each phase starts together in all runs.

    A run that stopped a phase early leaves a gap before the next phase. Returns the history with
    the column `x` (from 1), and a table of the phases: phase, train, first, last (in x).
    """
    history = history.sort_values(["run", "epoch"]).copy()
    within = history.groupby(["run", "phase"]).cumcount() + 1
    lengths = within.groupby(history["phase"]).max().sort_index()
    starts = lengths.cumsum() - lengths
    history["x"] = within + history["phase"].map(starts)
    trains = history.groupby("phase")["train"].first()
    phases = pd.DataFrame({"train": trains, "first": starts + 1, "last": starts + lengths})
    return history, phases.reset_index()


def stops(history: pd.DataFrame, phases: pd.DataFrame) -> pd.DataFrame:
    """The last epoch of every run in every phase that another run went on with."""
    ends = history.loc[history.groupby(["run", "phase"])["x"].idxmax()]
    lasts = phases.set_index("phase")["last"]
    return ends[ends["x"] < ends["phase"].map(lasts)]


def plot(given: Mapping[str, pd.DataFrame], about: About) -> Figure:
    """See `figures.plotting`."""
    loss = about.options.get("loss", LOSS)
    return draw(given["histories"], given["assignments"], **about.of_experiment, loss=loss)


@style.themed
def draw(
    history: pd.DataFrame,
    assignments: pd.DataFrame,
    *,
    study: str,
    experiment: str,
    device: str,
    width_mm: float,
    loss: str = LOSS,
) -> Figure:
    """Learning curves of all seeds of an experiment: each seed thin, their mean thick.

    `history` has the columns of `history.csv` and `run`, `seed`; accuracies are fractions. `loss` is
    what its losses are.
    """
    history, phases = align(history)
    stopped = stops(history, phases)
    counts = assignments["split"].value_counts()
    sizes = [tables.images_text(counts.get(name, 0), name) for name in ("train", "valid")]
    seeds = tables.seeds_text(history["seed"])
    notes = "Thin: one seed. Thick: their mean. " if history["run"].nunique() > 1 else ""
    notes += "The band above says which part of the model was trained; the rest was frozen."
    if len(stopped):
        notes += (
            " Crosses: a seed that ended the phase early; its next phase starts with the others',"
            " and the mean is drawn where all seeds still train."
        )
    unfit = strip_texts(phases, panel_width(width_mm))[1]
    if unfit:
        notes += f" Trained: {unfit}."
    page = Page(
        f"Learning curves of {experiment}",
        tables.subtitle(study, seeds, *sizes, device and f"device: {device}"),
        width_mm,
        body_mm=STRIP_HEIGHT + PANEL_HEIGHT + 9,
        notes=notes,
    )
    width = panel_width(width_mm)
    panels = (("loss", loss, 1), ("accuracy", "accuracy (%)", 100))
    for number, (quantity, label, factor) in enumerate(panels):
        left = AXIS_SPACE + number * (width + LABEL_SPACE + AXIS_SPACE + 1)
        draw_strip(page, phases, left, width)
        axes = page.axes(left, STRIP_HEIGHT, width, PANEL_HEIGHT)
        axes.set(xlabel="epoch", ylabel=label)
        axes.set_xlim(0.5, phases["last"].max() + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(7, integer=True, min_n_ticks=1))
        axes.grid(axis="y")
        draw_panel(axes, history, stopped, quantity, factor)
        for boundary in phases["last"][:-1]:
            axes.axvline(boundary + 0.5, color=GREY, linewidth=0.6, linestyle=(0, (1, 2)))
        for phase in phases.itertuples():
            axes.axvspan(
                phase.first - 0.5,
                phase.last + 0.5,
                color=shade(phase.train),
                alpha=0.45,
                zorder=0,
                lw=0,
            )
    return page.figure


def panel_width(width_mm: float) -> float:
    """Width in mm of one of the two panels."""
    return (width_mm - 2 * style.MARGIN - 1) / 2 - AXIS_SPACE - LABEL_SPACE


def shade(train: str) -> str:
    """The more of the model trains, the darker."""
    return {"head": "#F3F3F3", "all": "#CFCFCF"}.get(train, "#E2E2E2")


def strip_texts(phases: pd.DataFrame, width: float) -> tuple[list[list[str]], str]:
    """Lines of text for each phase's band, and the words of those that only fit as a number."""
    total = phases["last"].max()
    texts, unfit = [], []
    for number, phase in enumerate(phases.itertuples(), start=1):
        room = (phase.last - phase.first + 1) / total * width - 1
        words = trained_text(phase.train)
        lines = style.wrap(words, style.NOTE, room, lines=3)
        if len(lines) > 2 or any("…" in line for line in lines):
            lines = [str(number)]
            unfit.append(f"{number} {words}")
        texts.append(lines)
    return texts, ", ".join(unfit)


def draw_strip(page: Page, phases: pd.DataFrame, left: float, width: float) -> None:
    """The band above a panel that says what trained in each phase."""
    total = phases["last"].max()
    for lines, phase in zip(strip_texts(phases, width)[0], phases.itertuples()):
        start = left + (phase.first - 1) / total * width
        size = (phase.last - phase.first + 1) / total * width
        page.rectangle(
            start,
            0,
            size,
            STRIP_HEIGHT,
            facecolor=shade(phase.train),
            edgecolor="white",
            linewidth=0.8,
        )
        for number, line in enumerate(lines):
            y = STRIP_HEIGHT / 2 + (number - (len(lines) - 1) / 2) * style.line_height(style.NOTE)
            page.text(start + size / 2, y, line, size=style.NOTE, ha="center", va="center_baseline")


def by_epoch(history: pd.DataFrame, column: str) -> pd.DataFrame:
    """A quantity of each run: a row a place `x` of `align`, a column a run.

    Places at which no run has it, as epochs that nobody validated, are left out, so that lines go on
    over them; places between two phases that no run reached stay empty, so that lines break there.
    """
    places = range(1, int(history["x"].max()) + 1)
    runs = history.pivot(index="x", columns="run", values=column).reindex(places).astype(float)
    known = history.groupby("x")[column].count()
    return runs.drop(index=known.index[known == 0])


def draw_panel(
    axes: Axes, history: pd.DataFrame, stopped: pd.DataFrame, quantity: str, factor: float
) -> None:
    """One quantity's training and validation curves, named at their right end."""
    places = range(1, int(history["x"].max()) + 1)
    ends: list[tuple[float, dict]] = []
    for split, look in CURVES.items():
        column = f"{split}_{quantity}"
        if history[column].isna().all():
            continue
        runs = by_epoch(history, column) * factor
        mean = runs.mean(axis=1, skipna=False)
        marker: dict[str, Any] = (
            {"marker": look["marker"], "markersize": 2.6} if len(places) <= 40 else {}
        )
        line = {key: look[key] for key in ("color", "linestyle")}
        if runs.shape[1] > 1:
            thin: dict[str, Any] = {**line, "linewidth": 0.6, "alpha": 0.6}
            dots: dict[str, Any] = {"marker": ".", "markersize": 2} if marker else {}
            axes.plot(runs.index, runs, **thin, **dots)
        axes.plot(mean.index, mean, linewidth=1.7, **line, **marker)
        crosses = stopped.dropna(subset=column)
        axes.plot(
            crosses["x"],
            crosses[column] * factor,
            "x",
            color=look["color"],
            markersize=4.5,
            mew=1.1,
        )
        last = mean.dropna() if mean.notna().any() else runs.mean(axis=1).dropna()
        ends.append((float(last.iloc[-1]), look))
    set_limits(axes, history, quantity)
    label_ends(axes, ends)


def set_limits(axes: Axes, history: pd.DataFrame, quantity: str) -> None:
    """Loss from 0; accuracy in % between round tens."""
    values = history[[f"train_{quantity}", f"valid_{quantity}"]].to_numpy(dtype=float)
    if quantity == "loss":
        axes.set_ylim(0, max(float(np.nanmax(values)) * 1.06, 0.01))
    else:
        low, high = np.nanmin(values) * 10, np.nanmax(values) * 10
        low, high = np.floor(low - 0.15) * 10, np.ceil(high + 0.05) * 10
        # A little air above 100 keeps the line of a perfect score off the frame.
        axes.set_ylim(max(low, 0), 101.5 if high >= 100 else high)


def label_ends(axes: Axes, ends: list[tuple[float, dict]]) -> None:
    """Write each curve's name beside its end, moved apart where they would touch."""
    low, high = axes.get_ylim()
    distance = (high - low) * style.line_height(style.TICK) / PANEL_HEIGHT
    heights = style.spread(
        [end for end, _ in ends], distance, low + distance / 2, high - distance / 2
    )
    for height, (_, look) in zip(heights, ends):
        axes.annotate(
            look["label"],
            (1, height),
            xycoords=("axes fraction", "data"),
            xytext=(4, 0),
            textcoords="offset points",
            color=look["color"],
            va="center",
            size=style.TICK,
            annotation_clip=False,
        )
