"""All ways to save in one figure: accuracy against GFLOPs, latency and throughput."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from frugalvit.busy import load_text
from frugalvit.chance import chance_text
from frugalvit.figures import comparison, style, tables
from frugalvit.figures.about import About
from frugalvit.figures.comparison import MASKED
from frugalvit.figures.looks import Looks, read_looks
from frugalvit.figures.panel import LabelledPanel, tick_percents
from frugalvit.figures.ranking import non_dominated
from frugalvit.figures.series import Series, series_of
from frugalvit.figures.style import DASH, GREY, INK, Page

LEFT, GAP, TOP, HEIGHT, FOOT = 11.0, 4.0, 1.0, 66.0, 16.0  # mm around the panels
ROW, HEADER = 4.2, 5.5  # mm of the table
LONGEST_LABEL, LONGEST_NAME = 24.0, 42.0  # mm of an experiment's name in a panel, in the table
TIMES = "\N{MULTIPLICATION SIGN}"
NEEDS = {
    "summary": comparison.SUMMARY_COLUMNS,
    "all_points": comparison.POINT_COLUMNS,
    "costs": comparison.COST_COLUMNS,
}
LINES = ("-", (0, (4, 1.5)), (0, (1, 1)))  # of the first, second, … experiment of a kind
STEP: dict[str, Any] = {"color": "#C9C9C9", "linewidth": 2.6, "zorder": 1}
COSTS = {  # column -> words, whether less is better
    "gflops": ("GFLOPs per image", True),
    "latency_ms": ("latency of one image", True),
    "images_per_s": ("images per second", False),
}


def plot(given: Mapping[str, pd.DataFrame], about: About) -> Figure:
    """See `figures.plotting`."""
    return draw(
        given["all_points"],
        given["summary"],
        given["costs"],
        looks=read_looks(about.options["methods"]),
        experiments=about.options["compared"],
        throughput_batch=about.options["throughput_batch"],
        **about.of_study,
    )


@style.themed
def draw(
    points: pd.DataFrame,
    summary: pd.DataFrame,
    costs: pd.DataFrame,
    *,
    study: str,
    looks: Looks,
    experiments: Mapping[str, str],
    throughput_batch: int,
    width_mm: float,
) -> Figure:
    """Test accuracy against three costs, each as a share of the full model's, and as a table.

    `points` has the columns `comparison.POINT_COLUMNS` of all adaptive runs (it may be empty),
    `summary` those of `comparison.SUMMARY_COLUMNS`, `costs` those of
    `comparison.COST_COLUMNS` and `run`, of all runs. `experiments` maps those to show to the
    number of blocks that they keep, None for all; `looks` are their methods';
    `throughput_batch` is that of `images_per_s`.
    """
    title = "Accuracy against cost, every way to save compared"
    listed = list(experiments)
    of_study = summary[summary["experiment"].isin(listed)]
    split, own = tables.shown_split(of_study)
    rows = comparison.compared(points, summary, costs, experiments, looks, split, throughput_batch)
    if rows.empty or own.empty:
        message = "No experiment to compare: summary.csv holds none of those to show."
        return style.message_page(title, study, message, width_mm)
    devices = ", ".join(sorted(of_study["device"].dropna().unique()))
    sizes = rows["n"].dropna().unique()
    images = tables.images_text(int(sizes[0]), split) if len(sizes) == 1 else f"{split} images"
    seeds = tables.seeds_text(rows["seed"])
    subtitle = tables.subtitle(study, seeds, images, devices and f"device: {devices}")
    table = comparison.over_seeds(rows)
    accuracy = comparison.by_seed(rows, table, "accuracy")
    for column, (_, less) in COSTS.items():
        cost = comparison.by_seed(rows, table, column)
        table[f"{column}_best"] = non_dominated(cost, accuracy, less)
    series = series_of(table, experiments, looks)
    limits = accuracy_limits(table, int(rows["n"].min()))
    panels = [column for column in COSTS if table[column].notna().any()]
    body = TOP + HEIGHT + FOOT if panels else 0.0
    height = body + HEADER + len(series) * ROW
    notes = notes_text(rows, table, limits, sizes, len(panels) < len(COSTS))
    notes = " ".join(filter(None, [load_text(costs.get("busy_cores", [])), notes]))
    page = Page(title, subtitle, width_mm, height, notes=notes)
    width = (page.width - LEFT - 2 - GAP * (len(panels) - 1)) / max(len(panels), 1)
    for number, column in enumerate(panels):
        axes = page.axes(LEFT + number * (width + GAP), TOP, width, HEIGHT)
        axes.set_ylim(limits)
        axes.set_ylabel("accuracy (%)" if number == 0 else "")
        draw_panel(LabelledPanel(axes, width, HEIGHT), column, series, table)
        axes.tick_params(labelleft=number == 0)
        describe_axis(
            page, axes, LEFT + number * (width + GAP) + width / 2, column, throughput_batch
        )
    write_table(page, body, series)
    return page.figure


def notes_text(
    rows: pd.DataFrame,
    table: pd.DataFrame,
    limits: tuple[float, float],
    sizes: np.ndarray,
    lacking: bool,
) -> str:
    """How to read the marks, and what the comparison cannot tell."""
    text = "Grey line: the best accuracy within each cost. Filled: no other point is cheaper and as"
    text += " accurate. "
    if rows.groupby("experiment")["seed"].nunique().nunique() > 1:
        text += "Points of fewer seeds are compared on the seeds that both have. "
    text += "Large marks: the points in use, in numbers below. "
    if rows["seed"].nunique() > 1:
        text += "Means over seeds; bars and ±: standard deviation. "
    if table["role"].eq(MASKED).any():
        text += "Dotted: what removing halted tokens gains over masking them. "
    text += "Times are shares of the full model's, measured beside each model. "
    text += chance_text(table["accuracy"].max(), int(rows["n"].min())) + " "
    below = table[table["accuracy"] * 100 < limits[0]]
    if len(below):
        names = ", ".join(below["experiment"].unique())
        text += f"Below the panels: {len(below)} point{'s' * (len(below) > 1)} of {names}. "
    text += "Experiments were tested on different numbers of images. " if len(sizes) > 1 else ""
    return text + ("Costs without a panel were not measured. " if lacking else "")


def accuracy_limits(table: pd.DataFrame, n: int) -> tuple[float, float]:
    """Limits in % around the points, but for those far below most of the others.

    Of few images `n` they hold one image more: finer ticks than that would say nothing.
    """
    image = 100 / n
    values = table["accuracy"] * 100
    best, middle = float(values.max()), float(values.median())
    floor = best - max(4.0 * (best - middle), 4.0, 3.0 * image)
    low = float(values[values >= floor].min())
    room = max(best - low, 1.0)
    spare = max(image - room, 0.0)
    return low - 0.1 * room - spare, best + 0.22 * (room + spare)


def draw_panel(
    panel: LabelledPanel, column: str, series: list[Series], table: pd.DataFrame
) -> None:
    """One cost: the staircase of the points that no other dominates, then every series."""
    axes, low = panel.axes, panel.axes.get_ylim()[0]
    seen = table[table["accuracy"] * 100 >= low]
    costs = pd.concat([seen[column].dropna(), pd.Series([1.0])])
    room = 0.07 * (costs.max() - costs.min()) or 0.1
    axes.set_xlim(costs.min() - room, costs.max() + room)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    tick_percents(axes, 7)
    axes.grid()
    axes.axvline(1, color=INK, linewidth=0.7, linestyle=(0, (4, 2)), zorder=1)
    draw_staircase(panel, seen[seen[f"{column}_best"]], column)
    shown = [entry for entry in series if entry.rows[column].notna().any()]
    for entry in shown:
        draw_series(panel, entry, column)
    join_masked(panel, shown, column)
    for entry in shown:
        main = entry.main
        if pd.isna(main[column]):
            main = entry.rows.dropna(subset=[column]).iloc[0]
        if main["accuracy"] * 100 >= low:
            name = style.shorten(entry.label, style.TICK, LONGEST_LABEL)
            panel.label(main[column], main["accuracy"] * 100, name, entry.look[1])


def join_masked(panel: LabelledPanel, series: list[Series], column: str) -> None:
    """A dotted line from each masked model to the packed one: what packing gains."""
    packed = {entry.experiment: entry.main for entry in series if entry.role != MASKED}
    for entry in series:
        if entry.role == MASKED and entry.experiment in packed:
            ends = pd.DataFrame([entry.main, packed[entry.experiment]])
            look: dict[str, Any] = {
                "color": entry.look[1],
                "linewidth": 0.8,
                "linestyle": (0, (1, 1.5)),
                "zorder": 2,
            }
            panel.axes.plot(ends[column], ends["accuracy"] * 100, **look)


def draw_staircase(panel: LabelledPanel, best: pd.DataFrame, column: str) -> None:
    """The best accuracy within each cost, from the cheapest point that is not dominated."""
    less = COSTS[column][1]
    ordered = best.sort_values(column, ascending=less)
    # A point that only its own seeds keep may lie below a cheaper one's mean.
    x, y = ordered[column].tolist(), (ordered["accuracy"].cummax() * 100).tolist()
    if not x:
        return
    end = panel.axes.get_xlim()[1 if less else 0]
    panel.axes.step([*x, end], [*y, y[-1]], where="post", **STEP)


def draw_series(panel: LabelledPanel, entry: Series, column: str) -> None:
    """A series: its curve thin with small marks, its targets and the point in use large."""
    axes, (marker, color) = panel.axes, entry.look
    rows = entry.rows.dropna(subset=[column])
    curve = rows[rows["joined"]]
    if len(curve) > 1:
        line: dict[str, Any] = {"color": color, "linestyle": LINES[entry.place % len(LINES)]}
        axes.plot(curve[column], curve["accuracy"] * 100, **line, linewidth=0.9, zorder=3)
        panel.keep_clear(curve[column], curve["accuracy"] * 100, 0.6)
    for row in rows.itertuples():
        x, y, large = getattr(row, column), row.accuracy * 100, row.chosen or not row.joined
        spread = getattr(row, f"{column}_sd"), row.accuracy_sd * 100
        if large and np.isfinite(spread[1]) and y >= axes.get_ylim()[0]:
            axes.errorbar(
                x, y, spread[1], spread[0], fmt="none", ecolor=color, elinewidth=0.6, zorder=3
            )
        look: dict[str, Any] = {
            "marker": marker,
            "color": color,
            "mfc": color if getattr(row, f"{column}_best") else "white",
            "markersize": 6.5 if row.chosen else 4.6 if large else 3.2,
            "mew": 1.0 if large else 0.7,
            "zorder": 7 if row.chosen else 6 if large else 5,
        }
        axes.plot(x, y, **look)
        if y >= axes.get_ylim()[0]:
            panel.keep_clear([x], [y], 1.5 if large else 0.9)


def describe_axis(page: Page, axes: Any, middle: float, column: str, batch: int) -> None:
    """What the axis counts and which way is better, in two lines beneath it."""
    words, less = COSTS[column]
    if column == "images_per_s":
        words += f", batch {batch}"
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{TIMES}{value:.3g}"))
        unit = f"{TIMES} the full model's"
    else:
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value * 100:.3g}"))
        unit = "% of the full model's"
    page.text(middle, TOP + HEIGHT + 7.0, words, size=style.LABEL, ha="center", va="center")
    better = "← better" if less else "better →"
    text = f"{better}   {unit}" if less else f"{unit}   {better}"
    look = {"size": style.NOTE, "color": GREY, "ha": "center", "va": "center"}
    page.text(middle, TOP + HEIGHT + 10.8, text, **look)


def number_text(series: Series, column: str) -> str:
    """The point in use in numbers: percents, or the factor of images/s; a dash where unknown."""
    value, spread = series.main[column], series.main[f"{column}_sd"]
    if pd.isna(value):
        return DASH
    before, factor, digits = (TIMES, 1, 2) if column == "images_per_s" else ("", 100, 1)
    text = f"{before}{value * factor:.{digits}f}"
    # Runs of one architecture have exactly the same GFLOPs.
    known = np.isfinite(spread) and (spread > 1e-6 or column == "accuracy")
    return text + (f" ± {spread * factor:.{digits}f}" if known else "")


def write_table(page: Page, top: float, series: list[Series]) -> None:
    """One row a series: mark, words, and the numbers of the point in use."""
    headings = {
        "accuracy": "accuracy (%)",
        "gflops": "GFLOPs (% of full)",
        "latency_ms": "latency (% of full)",
        "images_per_s": f"images/s ({TIMES} full)",
    }
    columns = [[number_text(entry, column) for entry in series] for column in headings]
    kept = [n for n, texts in enumerate(columns) if any(text != DASH for text in texts)]
    right = page.width
    for number in reversed(kept):
        column, texts = list(headings)[number], columns[number]
        page.text(
            right, top + 2, headings[column], size=style.NOTE, color=GREY, ha="right", va="center"
        )
        for place, text in enumerate(texts):
            y = top + HEADER + (place + 0.5) * ROW
            page.text(right, y, text, ha="right", va="center_baseline")
        widths = [style.text_width(text, style.TICK) for text in texts]
        right -= max(style.text_width(headings[column], style.NOTE), *widths) + 3
    page.line((0, page.width), (top + 4.2, top + 4.2), color=GREY, linewidth=0.6)
    names = [style.shorten(entry.label, style.TICK, LONGEST_NAME) for entry in series]
    left = 5.5 + max(style.text_width(name, style.TICK) for name in names) + 3
    for place, (entry, name) in enumerate(zip(series, names)):
        y = top + HEADER + (place + 0.5) * ROW
        mark = page.axes(0, y - ROW / 2, 4, ROW)
        mark.set_axis_off()
        mark.set(xlim=(-1, 1), ylim=(-1, 1))
        mark.plot(0, 0, marker=entry.look[0], color=entry.look[1], markersize=5)
        page.text(5.5, y, name, va="center_baseline", color=entry.look[1])
        words = style.shorten(entry.words, style.TICK, right - left)
        page.text(left, y, words, va="center_baseline")
