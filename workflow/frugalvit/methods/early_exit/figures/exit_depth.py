"""How deep the images go: how many leave at each exit, and which classes leave late."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from frugalvit.errors import DataError
from frugalvit.figures import style, tables
from frugalvit.figures.about import About
from frugalvit.figures.style import BLUE, GREY, INK, VERMILLION, Page
from frugalvit.methods.early_exit.figures.exit_words import COLUMNS as POINT_COLUMNS
from frugalvit.methods.early_exit.figures.exit_words import deployed_text

COLUMNS = ("id", "split", "label", "predicted", "exit")
EXIT_COLUMNS = ("exit",)
NEEDS = {
    "predictions": COLUMNS,
    "exits": EXIT_COLUMNS,
    "points": POINT_COLUMNS,
    "assignments": tables.ASSIGNMENTS,
    "devices": tables.DEVICES,
}
MOST_CLASSES, SHOWN_AT_ENDS = 30, 15
TOP, FOOT = 5.5, 9.0  # mm: the panels' headings, ticks and axis label
LEAST_ROW, MOST_ROW, MOST_BAR = 4.0, 8.0, 7.0  # mm
ROWS_HEIGHT = 48.0  # mm that few rows share


def shares_by_exit(predictions: pd.DataFrame, blocks: list[int]) -> pd.DataFrame:
    """Share of the images that left at each exit: a row an exit, a column a run."""
    counts = pd.crosstab(predictions["exit"], predictions["run"], normalize="columns")
    return counts.reindex(blocks, fill_value=0.0)


def depth_by_class(predictions: pd.DataFrame) -> pd.DataFrame:
    """Mean exit block of each true class, the earliest first: a row a class, a column a run."""
    means = predictions.pivot_table(index="label", columns="run", values="exit")
    order = means.mean(axis=1).rename("mean").reset_index().sort_values(["mean", "label"])
    return means.loc[order["label"]]


def row_step(rows: int) -> float:
    """Height in mm of one of `rows` rows."""
    return min(max(ROWS_HEIGHT / rows, LEAST_ROW), MOST_ROW)


def plot(given: Mapping[str, pd.DataFrame], about: About) -> Figure:
    """See `figures.plotting`."""
    return draw(
        given["predictions"],
        given["exits"],
        given["points"],
        tables.class_names(given["assignments"]),
        targets=about.options["targets"],
        **about.of_experiment,
    )


@style.themed
def draw(
    predictions: pd.DataFrame,
    exits: pd.DataFrame,
    points: pd.DataFrame,
    names: list[str],
    *,
    targets: Mapping[str, Any],
    study: str,
    experiment: str,
    device: str,
    width_mm: float,
) -> Figure:
    """Share of the images leaving at each exit at the deployed point, and mean exit of each class.

    `predictions`, `exits` and `points` have the columns of their CSVs and `run`, `seed`; `names`
    are the class names by label; `targets` are the config's.

    Raises:
        DataError: an image left at a block without an exit, or a class has no name.
    """
    split, shown = tables.shown_split(predictions)
    title = f"Where images leave {experiment}"
    deployed = deployed_text(points, targets)
    subtitle = tables.subtitle(
        study,
        tables.seeds_text(predictions["seed"]),
        tables.images_text(shown["id"].nunique(), split),
        deployed and f"deployed: {deployed}",
        device and f"device: {device}",
    )
    if shown.empty:
        message = "No predictions to look at: this study has no test images."
        return style.message_page(title, subtitle, message, width_mm)
    tables.check_labels(shown, names)
    blocks = sorted(int(block) for block in exits["exit"].unique())
    check_exits(shown, blocks)
    depths = depth_by_class(shown)
    classes = len(depths)
    cut = classes - 2 * SHOWN_AT_ENDS if classes > MOST_CLASSES else 0
    rows = 2 * SHOWN_AT_ENDS + 1 if cut else classes
    height = max(len(blocks) * row_step(len(blocks)), rows * row_step(rows))
    several = shown["run"].nunique() > 1
    notes = "Rings: seeds; bars and filled dots: their mean; lines: the seeds' range. "
    notes = notes if several else ""
    notes += "Mean exit: mean number of the block after which a class's images left, earliest first"
    notes += f"; the {SHOWN_AT_ENDS} earliest and {SHOWN_AT_ENDS} latest classes." if cut else "."
    page = Page(title, subtitle, width_mm, TOP + height + FOOT, notes=notes)
    half = page.width * 0.42
    step = min(height / len(blocks), MOST_BAR)
    draw_shares(page, half, step, shares_by_exit(shown, blocks))
    average = float(shown.groupby("run")["exit"].mean().mean())
    draw_classes(page, half + 6, depths, names, cut, (blocks, average))
    return page.figure


def check_exits(predictions: pd.DataFrame, blocks: list[int]) -> None:
    """Check that every image left where there is an exit.

    Raises:
        DataError: it did not, so that the tables are of different models.
    """
    odd = predictions[~predictions["exit"].isin(blocks)]
    if len(odd):
        row = odd.iloc[0]
        raise DataError(
            f"runs/{row['run']}/predictions.csv: image {row['id']} left after block {row['exit']},"
            " where exits.csv has no exit; delete the run and rerun"
        )


def draw_shares(page: Page, width: float, step: float, shares: pd.DataFrame) -> None:
    """Bars `step` mm apart from the first exit at the top to the full model, with their numbers."""
    texts = [f"block {block}" for block in shares.index]
    texts[-1] += ", full"
    left = max(style.text_width(text, style.TICK, bold=True) for text in texts) + 1.5
    page.text(0, TOP - 3, "images leaving after", color=GREY, va="center")
    axes = page.axes(left, TOP, width - left - 9, len(shares) * step)
    mean, several = shares.mean(axis=1) * 100, shares.shape[1] > 1
    axes.barh(range(len(mean)), mean, height=0.66, color="#A9D4EE" if several else BLUE)
    limit = max(float(shares.to_numpy().max()) * 100, 1) * 1.04
    for place, (block, row) in enumerate(shares.iterrows()):
        y = TOP + (place + 0.5) * step
        last = place == len(shares) - 1
        look = {"va": "center_baseline", "weight": "bold" if last else "normal"}
        page.text(left - 1.2, y, texts[place], ha="right", **look)
        furthest = mean[block]
        if several:
            rings: dict[str, Any] = {
                "markersize": 3.2,
                "mfc": "white",
                "mew": 0.8,
                "color": BLUE,
                "zorder": 3,
            }
            axes.plot(row * 100, [place] * len(row), "o", clip_on=False, **rings)
            furthest = max(furthest, float(row.max()) * 100)
        end = left + furthest / limit * (width - left - 9)
        page.text(end + 1.6, y, f"{mean[block]:.1f} %", va="center_baseline", color=INK)
    axes.set(xlim=(0, limit), xlabel="share of the images (%)", yticks=[])
    axes.set_ylim(len(mean) - 0.5, -0.5)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.grid(axis="x")


def draw_classes(
    page: Page,
    left: float,
    depths: pd.DataFrame,
    names: list[str],
    cut: int,
    reference: tuple[list[int], float],
) -> None:
    """A dot a class on an axis of blocks; `cut` classes in the middle are left out.

    `reference` holds the blocks with an exit and the mean exit of all images.
    """
    blocks, average = reference
    ends = [*range(SHOWN_AT_ENDS), *range(len(depths) - SHOWN_AT_ENDS, len(depths))]
    shown = depths.iloc[ends] if cut else depths
    places = [place + (place >= SHOWN_AT_ENDS) if cut else place for place in range(len(shown))]
    rows = places[-1] + 1
    step = row_step(rows)
    room = page.width - left
    longest = max(style.text_width(names[label], style.TICK) for label in shown.index)
    between = f"… {cut} classes between …"
    longest = max(longest, style.text_width(between, style.TICK) if cut else 0)
    widest = min(longest, 0.45 * room) + 1.5
    values = 9.0
    axes = page.axes(left + widest, TOP, room - widest - values, rows * step)
    page.text(left, TOP - 3, "class", color=GREY, va="center")
    page.text(page.width, TOP - 3, "mean exit", color=GREY, va="center", ha="right")
    axes.axvline(average, color=VERMILLION, linewidth=0.9, linestyle=(0, (4, 2)), zorder=1)
    several = depths.shape[1] > 1
    for place, (label, row) in zip(places, shown.iterrows()):
        y = TOP + (place + 0.5) * step
        name = style.shorten(names[label], style.TICK, widest - 1.5)
        page.text(left + widest - 1.2, y, name, ha="right", va="center_baseline")
        page.text(page.width, y, f"{row.mean():.1f}", ha="right", va="center_baseline")
        axes.axhline(place, color="#EFEFEF", linewidth=0.6, zorder=0)
        if several:
            axes.plot([row.min(), row.max()], [place, place], color=BLUE, linewidth=1.1, zorder=2)
        axes.plot(row.mean(), place, "o", color=BLUE, markersize=4, zorder=3, clip_on=False)
    if cut:
        y = TOP + (SHOWN_AT_ENDS + 0.5) * step
        look = {"color": GREY, "ha": "right", "va": "center_baseline"}
        page.text(left + widest - 1.2, y, between, **look)
    axes.set_ylim(rows - 0.5, -0.5)
    low, high = float(depths.min().min()), float(depths.max().max())
    low, high = max(low - 0.4, blocks[0] - 0.2), min(high + 0.4, blocks[-1] + 0.2)
    axes.set_xlim(min(low, average - 0.5), max(high, average + 0.5))
    axes.set(yticks=[], xlabel="mean exit (block)")
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.grid(axis="x")
    start, stop = axes.get_xlim()
    x = left + widest + (average - start) / (stop - start) * (room - widest - values)
    words = f"all images {average:.1f}"
    half = style.text_width(words, style.TICK) / 2
    # Between the two headings, however near the edge the mean lies.
    lowest = left + style.text_width("class", style.TICK) + 2 + half
    highest = page.width - style.text_width("mean exit", style.TICK) - 2 - half
    look = {"ha": "center", "va": "center", "color": VERMILLION}
    page.text(min(max(x, lowest), highest), TOP - 3, words, **look)
