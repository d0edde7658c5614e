"""Accuracy against what it costs: every criterion, the targets, the full model and its rivals."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from frugalvit.figures import point_words, schedules, style, tables
from frugalvit.figures.about import About
from frugalvit.figures.panel import LabelledPanel, tick_percents
from frugalvit.figures.shares import share_of_plain
from frugalvit.figures.style import BLUE, GREY, INK, PALE, Page
from frugalvit.methods.early_exit.figures.exit_chance import EXIT_COLUMNS, by_chance
from frugalvit.methods.early_exit.figures.exit_criteria import (
    BELOW,
    accuracy_limits,
    draw_criteria,
)
from frugalvit.methods.early_exit.figures.exit_table import (
    RIVAL,
    Entry,
    full_entry,
    lay_table,
    model_entries,
)
from frugalvit.methods.early_exit.figures.exit_words import COLUMNS, TARGETS, criteria_of

SUMMARY_COLUMNS = (
    "experiment",
    "run",
    "seed",
    "split",
    "accuracy",
    "gflops",
    "latency_ms",
    "device",
    "selected",
)
NEEDS = {
    "points": COLUMNS,
    "exits": EXIT_COLUMNS,
    "summary": SUMMARY_COLUMNS,
    "devices": tables.DEVICES,
}
CHANCE = "exits at random"
LEFT, TOP, PANEL_HEIGHT, FOOT, GAP = 11.0, 9.0, 58.0, 11.0, 7.0  # mm around the large panels
PANELS = {"gflops": "GFLOPs per image", "latency_ms": "measured latency of one image (ms)"}


def plot(given: Mapping[str, pd.DataFrame], about: About) -> Figure:
    """See `figures.plotting`."""
    of = {name: about.options[name] for name in ("rivals", "targets")}
    return draw(given["points"], given["exits"], given["summary"], **of, **about.of_experiment)


@style.themed
def draw(
    points: pd.DataFrame,
    exits: pd.DataFrame,
    summary: pd.DataFrame,
    *,
    rivals: Mapping[str, int],
    targets: Mapping[str, Any],
    study: str,
    experiment: str,
    device: str,
    width_mm: float,
) -> Figure:
    """Test accuracy of the operating points against GFLOPs and measured latency, and as a table.

    `points` has the columns of `operating_points.csv`, `exits` those of `exits.csv`, `summary` those
    of `summary.csv`; `rivals` maps experiments to the number of blocks that they keep; `targets` are
    the config's.
    """
    split, shown = tables.shown_split(points)
    size = tables.images_text(int(shown["n"].iloc[0]) if len(shown) else 0, split)
    parts = (study, tables.seeds_text(points["seed"]), size, device and f"device: {device}")
    title, subtitle = f"What early exits of {experiment} save and cost", tables.subtitle(*parts)
    if shown.empty:
        message = "No operating point was evaluated: this study has no test images."
        return style.message_page(title, subtitle, message, width_mm)
    compared = schedules.compared_runs(summary, list(rivals))
    summary = compared[compared["split"] == split]
    entries = model_entries(shown, summary, rivals, targets)
    curves = {name: point_words.curve(shown, name) for name in criteria_of(shown)}
    used = point_words.criterion_in_use(shown, TARGETS)
    chance = by_chance(shown, exits, used, split) if used in curves else None
    panels = [column for column in PANELS if measured(column, curves, entries)]
    limits = accuracy_limits([*curves.values(), *(e.rows for e in entries if e.look is not RIVAL)])
    rivals_at = [e.mean("accuracy") * 100 for e in entries if e.look is RIVAL]
    limits = reach_rivals(limits, rivals_at)
    notes = notes_text(entries, used if used in curves else None, "latency_ms" in panels)
    if any(accuracy < limits[0] for accuracy in rivals_at):
        notes += " One that points down lies below the panel."
    absent = [name for name in rivals if name not in set(summary["experiment"])]
    notes += f" Without results: {', '.join(absent)}." if absent else ""
    write_table, table_height = lay_table(entries, width_mm - 2 * style.MARGIN)
    above = TOP + PANEL_HEIGHT + FOOT if panels else 0.0
    below = BELOW if len(curves) > 1 else 0.0
    page = Page(title, subtitle, width_mm, above + below + table_height, notes=notes)
    width = (page.width - LEFT - 2 - GAP * (len(panels) - 1)) / max(len(panels), 1)
    for number, column in enumerate(panels):
        axes = page.axes(LEFT + number * (width + GAP), TOP, width, PANEL_HEIGHT)
        axes.set(ylim=limits, xlabel=PANELS[column])
        axes.tick_params(labelleft=number == 0)
        axes.set_ylabel("accuracy (%)" if number == 0 else "")
        seeds = shown[shown["setting"] == used]
        panel = LabelledPanel(axes, width, PANEL_HEIGHT)
        draw_panel(panel, column, curves, (used, seeds), entries, chance)
    if below:
        draw_criteria(page, (LEFT, above), curves, used, entries)
    write_table(page, above + below)
    return page.figure


def notes_text(entries: list[Entry], used: str | None, timed: bool) -> str:
    """How to read the marks, and what the operating points' own notes say."""
    notes = "Temperatures and thresholds were made on calibration images alone. "
    if used:
        notes += f"Blue: {used}, the criterion in use, at several thresholds; grey: the others. "
        notes += "Dotted: as many images at each exit, but drawn at random (expected). "
    if any(len(entry.rows) > 1 for entry in entries):
        notes += "Marks and lines: mean over seeds; small dots: seeds; ±: standard deviation. "
    timing = "Latency: median over images, in the table also the 95th percentile. "
    notes += timing if timed else "Latency was not measured. "
    notes += "".join(own_notes(entry) for entry in entries if "note" in entry.rows)
    if any(entry.look is RIVAL for entry in entries):
        notes += "Triangles: models cut after their first blocks and trained anew. "
    return notes.strip()


def own_notes(entry: Entry) -> str:
    """An operating point's notes, each once, with the seeds that it is of unless it is of all."""
    name = entry.label.capitalize() or "Full model"
    name, notes = f"Point {entry.label}" if len(name) == 1 else name, ""
    by_note = entry.rows.dropna(subset=["note"]).sort_values("seed").groupby("note", sort=False)
    for text, rows in by_note:
        seeds = ", ".join(str(seed) for seed in sorted(rows["seed"]))
        of = "" if len(rows) == len(entry.rows) else f" (seed{'s' * (len(rows) > 1)} {seeds})"
        notes += f"{name}{of}: {str(text).strip().rstrip('.')}. "
    return notes


def measured(column: str, curves: Mapping[str, pd.DataFrame], entries: list[Entry]) -> bool:
    """Whether a cost is known of any operating point."""
    own = [entry.rows[column] for entry in entries if entry.look is not RIVAL]
    return any(
        values.notna().any() for values in [*own, *(line[column] for line in curves.values())]
    )


def reach_rivals(limits: tuple[float, float], rivals: list[float]) -> tuple[float, float]:
    """Limits that hold the rivals too, unless they lie far below everything else."""
    low, high = limits
    range_ = high - low
    near = [value for value in rivals if value > low - 0.5 * range_]
    low = min([low, *(value - 0.06 * range_ for value in near)])
    high = max([high, *(value + 0.06 * range_ for value in rivals)])
    # Room for the marks of those further below.
    return (low - 0.1 * range_ if len(near) < len(rivals) else low), high


def draw_panel(
    panel: LabelledPanel,
    column: str,
    curves: Mapping[str, pd.DataFrame],
    in_use: tuple[str | None, pd.DataFrame],
    entries: list[Entry],
    chance: pd.DataFrame | None = None,
) -> None:
    """Accuracy against one cost; `in_use` names the criterion drawn strongly, with its seeds' rows.

    `chance` is its curve with images drawn at random (`exit_chance`).
    """
    axes, (used, seeds) = panel.axes, in_use
    known = [*(line[column] for line in curves.values()), *(e.rows[column] for e in entries)]
    costs = pd.concat([values.dropna() for values in [*known, seeds[column]]])
    room = 0.05 * (costs.max() - costs.min()) or 0.1 * costs.max() or 1.0
    axes.set_xlim(max(costs.min() - room, 0), costs.max() + room)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    tick_percents(axes, 7)
    axes.grid()
    for name, line in curves.items():
        if name != used:
            draw_line(panel, line, column, {"color": PALE, "linewidth": 0.8, "zorder": 2})
    if used is not None and used in curves:
        strong = {"color": BLUE, "linewidth": 1.7, "marker": "o", "markersize": 2.6, "zorder": 4}
        draw_line(panel, curves[used], column, strong)
        if seeds["run"].nunique() > 1:
            dots: dict[str, Any] = {
                "color": BLUE,
                "markersize": 2.4,
                "alpha": 0.45,
                "mew": 0,
                "zorder": 3,
            }
            axes.plot(seeds[column], seeds["accuracy"] * 100, "o", **dots)
    draw_full(panel, column, entries)
    if chance is not None:
        draw_chance(panel, chance, column)
    placed = [(e, e.mean(column), e.mean("accuracy") * 100) for e in entries]
    placed = [(entry, x, y) for entry, x, y in placed if np.isfinite(x)]
    labels: list[tuple[bool, tuple[Any, ...]]] = []  # whether it may wait, what `label` takes
    for entry, x, height in placed:
        label, look, below = entry.label, entry.look, height < axes.get_ylim()[0]
        y = height
        if below:
            label, look = f"{label}: {height:.1f} %", {**look, "marker": "v"}
            y = axes.get_ylim()[0] + 1.6 / panel.height * np.ptp(axes.get_ylim())
        panel.keep_clear([x], [y], 1.3)
        axes.plot(x, y, **look, linestyle="none", zorder=7 if entry.chosen else 6)
        weight = "bold" if entry.chosen else "normal"
        labels.append((not entry.chosen, (x, y, label, look["color"], weight)))
    for name, whole in curves.items():
        line = whole.dropna(subset=[column])
        # Where the criterion in use has no curve, every line needs its name.
        if len(line) and (name == used or used not in curves):
            start = (line[column].iloc[0], line["accuracy"].iloc[0] * 100)
            labels.append((True, (*start, name, BLUE if name == used else GREY)))
    for _, words in sorted(labels, key=lambda each: each[0]):
        if words[2]:
            panel.label(*words)


def draw_line(panel: LabelledPanel, line: pd.DataFrame, column: str, look: dict[str, Any]) -> None:
    """A criterion's mean curve, where its cost is known; a single point as a dot."""
    line = line.dropna(subset=[column])
    single = {"marker": "o", "markersize": 3} if len(line) == 1 else {}
    panel.axes.plot(line[column], line["accuracy"] * 100, **{**look, **single})
    panel.keep_clear(line[column], line["accuracy"] * 100, 0.7)


def draw_chance(panel: LabelledPanel, line: pd.DataFrame, column: str) -> None:
    """What chance would give for as many images at each exit, named where the panel shows it."""
    line = line.dropna(subset=[column])
    accuracy, (low, high) = line["accuracy"] * 100, panel.axes.get_ylim()
    panel.axes.plot(line[column], accuracy, color=GREY, linewidth=0.9, linestyle=(0, (1, 1.5)))
    panel.keep_clear(line[column], accuracy, 0.5)
    inside = line[(accuracy > low) & (accuracy < high)]
    if len(inside):
        middle = inside.iloc[len(inside) // 2]
        panel.label(middle[column], middle["accuracy"] * 100, CHANCE, GREY)


def draw_full(panel: LabelledPanel, column: str, entries: list[Entry]) -> None:
    """The rule at the full model's accuracy, its words, and an axis of shares of its cost."""
    full = full_entry(entries)
    if full is None:
        return
    axes, accuracy = panel.axes, full.mean("accuracy") * 100
    axes.axhline(accuracy, color=INK, linewidth=0.7, linestyle=(0, (4, 2)), zorder=1)
    panel.keep_clear(axes.get_xlim(), [accuracy, accuracy], 0.3)
    words = f"full model {accuracy:.1f} %"
    bottom = panel.place(0, accuracy)[1] + 0.6
    height = style.line_height(style.TICK)
    panel.taken.append((0, bottom, style.text_width(words, style.TICK) + 2, bottom + height))
    share = (0.8 / panel.width, (bottom + height / 2) / panel.height)
    axes.text(*share, words, transform=axes.transAxes, va="center_baseline", color=INK)
    cost = full.mean(column)
    if np.isfinite(cost) and cost > 0:
        scales = (
            lambda value: share_of_plain(value, cost) * 100,
            lambda percent: percent * cost / 100,
        )
        above = axes.secondary_xaxis("top", functions=scales)
        above.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        above.set_xlabel("% of the full model's", color=GREY, size=style.NOTE, labelpad=2)
        above.tick_params(labelsize=style.NOTE, labelcolor=GREY, pad=1.5)
        above.spines["top"].set_visible(False)
