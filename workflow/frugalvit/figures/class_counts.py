"""How many images each class has in each split."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from frugalvit.figures import style, tables
from frugalvit.figures.about import About
from frugalvit.figures.style import BLUE, GREY, INK, SKY, VERMILLION, Page

NEEDS = {"assignments": tables.ASSIGNMENTS}
LOOKS: dict[str, dict[str, Any]] = {  # dark to light, so that print keeps the order
    "train": {"color": BLUE},
    "valid": {"color": SKY},
    "calibration": {"color": "#A9D4EE", "hatch": "....", "edgecolor": BLUE},
    "test": {"color": "#D9E6EF", "hatch": "////", "edgecolor": "#7FA3BC"},
}
MOST_CLASSES = 306


def plot(given: Mapping[str, pd.DataFrame], about: About) -> Figure:
    """See `figures.plotting`."""
    return draw(given["assignments"], **about.of_study)


def count_classes(assignments: pd.DataFrame) -> pd.DataFrame:
    """Images per class: columns name, train, valid, calibration, test, total; one row a label."""
    used = assignments[assignments["split"].isin(LOOKS)]
    names = tables.class_names(assignments)
    counts = pd.crosstab(used["label"], used["split"])
    counts = counts.reindex(index=range(len(names)), columns=list(LOOKS), fill_value=0)
    return counts.assign(total=counts.sum(axis=1), name=names)


@style.themed
def draw(assignments: pd.DataFrame, *, study: str, width_mm: float) -> Figure:
    """Images of every class in each split: stacked bars with their numbers, every class named."""
    counts = count_classes(assignments)
    splits = [split for split in LOOKS if counts[split].any()] or ["train"]
    classes = len(counts)
    many = classes > 20
    if many:
        counts = counts.sort_values(["train", "total"], ascending=False, kind="stable")
    left_out = max(classes - MOST_CLASSES, 0)
    counts = counts.tail(MOST_CLASSES)
    blocks = 1 if classes <= 20 else 2 if classes <= 60 else 3
    rows = math.ceil(len(counts) / blocks)
    step = 5.2 if not many else 4.0 if rows <= 40 else 3.0
    size = style.TICK if not many else style.NOTE if step > 3.5 else 5.2
    sums = [f"{counts[split].sum():,} {tables.SPLIT_NAMES[split]}" for split in splits]
    unused = int((~assignments["split"].isin(LOOKS)).sum())
    notes = "Most training images first, then most images. " if many else ""
    notes += f"{left_out} larger classes are left out. " if left_out else ""
    absent = {split: int((counts[split] == 0).sum()) for split in splits}
    if any(absent.values()):
        listed = ", ".join(f"{n} in {tables.SPLIT_NAMES[s]}" for s, n in absent.items() if n)
        notes += f"Classes without images, in orange-red: {listed}."
    page = Page(
        "Images of each class in each split",
        tables.subtitle(
            study,
            f"{classes} classes",
            f"images: {', '.join(sums)}",
            f"{unused:,} unused" if unused else "",
        ),
        width_mm,
        body_mm=7 + rows * step + 9,
        notes=notes.strip(),
    )
    draw_key(page, splits)
    gap = 5.0
    width = (page.width - (blocks - 1) * gap) / blocks
    columns = Columns.fitting(counts, splits, width, size)
    for block in range(blocks):
        part = counts.iloc[block * rows : (block + 1) * rows]
        draw_block(page, part, block * (width + gap), columns, step)
    return page.figure


@dataclass(frozen=True)
class Columns:
    """The parts of a block of classes: names, bars and numbers, as wide in mm in every block."""

    splits: list[str]
    names: float
    bars: float
    numbers: float
    size: float  # font size, points
    most: int  # images at the bars' full width

    @classmethod
    def fitting(cls, counts: pd.DataFrame, splits: list[str], width: float, size: float) -> Self:
        """Names and numbers as wide as they need, bars in the rest of `width` mm."""
        texts = [numbers_text(line) for line in counts[splits].to_numpy()]
        numbers = max(style.text_width(text, size) for text in texts) + 1.5
        longest = max(style.text_width(name, size) for name in counts["name"])
        names = min(longest, 0.42 * width) + 1.5
        most = int(counts["total"].max())
        return cls(splits, names, width - names - numbers, numbers, size, most)


def numbers_text(counts: Iterable[int]) -> str:
    """'10 / 10 / 237'."""
    return " / ".join(str(count) for count in counts)


def draw_key(page: Page, splits: list[str]) -> None:
    """Name the bars' looks above them, and how the numbers beside them read."""
    x = 0.0
    for split in splits:
        look = {"edgecolor": LOOKS[split]["color"], **LOOKS[split]}
        look["facecolor"] = look.pop("color")
        page.rectangle(x, 1, 4, 2.6, zorder=1, **look)
        page.text(x + 5, 2.3, tables.SPLIT_NAMES[split], va="center")
        x += 5 + style.text_width(tables.SPLIT_NAMES[split], style.TICK) + 5
    order = " / ".join(tables.SPLIT_NAMES[split] for split in splits)
    page.text(x, 2.3, f"numbers: {order}", va="center", color=GREY)


def draw_block(
    page: Page, counts: pd.DataFrame, left: float, columns: Columns, step: float
) -> None:
    """One column of classes from `left`; a class takes `step` mm."""
    axes = page.axes(left + columns.names, 6, columns.bars, len(counts) * step)
    start = pd.Series(0, index=counts.index)
    for split in columns.splits:
        look: dict[str, Any] = {"height": 0.68, "linewidth": 0.3, **LOOKS[split]}
        axes.barh(range(len(counts)), counts[split], left=start, **look)
        start = start + counts[split]
    axes.set_ylim(len(counts) - 0.5, -0.5)
    axes.set_xlim(0, max(columns.most, 1) * 1.03)
    axes.set_yticks([])
    ticks = max(min(int(columns.bars / 9), 5), 1)
    axes.xaxis.set_major_locator(MaxNLocator(ticks, integer=True, steps=[1, 2, 5, 10]))
    axes.grid(axis="x")
    axes.set_xlabel("images")
    right = left + columns.names + columns.bars + columns.numbers
    for place, (name, line) in enumerate(zip(counts["name"], counts[columns.splits].to_numpy())):
        y = 6 + (place + 0.5) * step
        color = VERMILLION if (line == 0).any() else INK
        look = {"size": columns.size, "va": "center_baseline", "ha": "right", "color": color}
        shown = style.shorten(name, columns.size, columns.names - 1.5)
        page.text(left + columns.names - 1.2, y, shown, **look)
        page.text(right, y, numbers_text(line), **look)
