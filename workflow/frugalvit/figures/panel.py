"""What the figures of exits share: an axis of blocks with numbers beneath, labels that find room."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from frugalvit.figures import style
from frugalvit.figures.style import Page

LEFT, RIGHT = 12.0, 32.0  # mm beside a panel: ticks, direct labels
ROW = 4.2  # mm, a row of numbers beneath a panel
ROWS_BELOW = 11.0  # mm from a panel's foot to the first row of numbers: ticks, axis label

HALO: dict[str, Any] = {
    "facecolor": "white",
    "edgecolor": "none",
    "alpha": 0.75,
    "pad": 0.3,
}  # behind a label

INSET = 0.8  # mm that a label keeps from the panel's edges

Box = tuple[float, float, float, float]  # left, bottom, right, top in mm


@dataclass(frozen=True)
class BlockAxis:
    """An axis of block numbers, `left` mm from the body's edge and `width` mm wide."""

    left: float
    width: float
    exits: list[int]  # blocks with an exit, ascending
    first: int  # lowest block drawn
    last: int

    def place(self, block: int) -> float:
        """Where a block is, in mm from the body's left edge."""
        return self.left + (block - self.first + 0.6) / (self.last - self.first + 1.2) * self.width

    def apart(self, distance: float) -> list[int]:
        """The exits, or as many of them as stay `distance` mm apart, the last one always."""
        kept: list[int] = []
        for block in reversed(self.exits):
            if not kept or self.place(kept[-1]) - self.place(block) >= distance:
                kept.append(block)
        return kept[::-1]

    def dress(self, axes: Axes, named: bool = True) -> None:
        """Limits, a tick at every exit and its block's number where there is room."""
        axes.set_xlim(self.first - 0.6, self.last + 0.6)
        shown = self.apart(4.5)
        axes.set_xticks(shown, [str(block) for block in shown] if named else [])
        axes.set_xticks(self.exits, minor=True)
        axes.tick_params(axis="x", which="minor", size=2.5, width=0.6)
        axes.grid(axis="y")
        if named:
            axes.set_xlabel("exit after block")

    def write_row(
        self, page: Page, y: float, name: str, texts: Mapping[int, str], color: str
    ) -> None:
        """One number an exit at height `y`, the row's name at its right."""
        widest = max(style.text_width(text, style.NOTE) for text in texts.values())
        look = {"size": style.NOTE, "color": color, "va": "center_baseline"}
        for block in self.apart(widest + 1.2):
            page.text(self.place(block), y, texts[block], ha="center", **look)
        page.text(self.left + self.width + 2, y, name, **look)


def by_exit(shown: pd.DataFrame, column: str) -> pd.DataFrame:
    """One column's values, a row an exit and a column a run."""
    return shown.pivot_table(index="exit", columns="run", values=column, dropna=False)


def label_ends(axes: Axes, height: float, ends: Sequence[tuple[float, list[str], str]]) -> None:
    """Write lines of text at the right of a panel `height` mm high, moved apart where they touch.

    `ends` holds value, lines and colour of each label.
    """
    low, high = axes.get_ylim()
    unit = height / (high - low)
    line = style.line_height(style.TICK)
    tallest = max(len(lines) for _, lines, _ in ends) * line
    wanted = [(value - low) * unit for value, _, _ in ends]
    places = style.spread(wanted, tallest + 0.6, tallest / 2, height - tallest / 2)
    for place, (_, lines, color) in zip(places, ends):
        for number, text in enumerate(lines):
            y = place + ((len(lines) - 1) / 2 - number) * line
            axes.annotate(
                text,
                (1, y / height),
                xycoords="axes fraction",
                xytext=(2 / style.MM_PER_POINT, 0),
                textcoords="offset points",
                color=color,
                va="center",
                size=style.TICK,
                annotation_clip=False,
            )


def numbers(values: pd.Series, digits: int) -> dict[int, str]:
    """A number's text for each exit; a dash where there is none."""
    return {
        int(block): style.DASH if pd.isna(value) else f"{value:.{digits}f}"
        for block, value in values.items()
    }


def tick_percents(axes: Axes, most: int) -> None:
    """Round ticks at accuracies within the limits, none beyond 100 %."""
    low, high = axes.get_ylim()
    ticks = MaxNLocator(most, steps=[1, 2, 5, 10]).tick_values(low, high)
    axes.set_yticks([tick for tick in ticks if low <= tick <= min(high, 100)])
    axes.set_ylim(low, high)


def place_label(
    size: tuple[float, float],
    anchor: tuple[float, float],
    taken: Sequence[Box],
    panel: tuple[float, float],
) -> Box:
    """The place near `anchor` where a label covers least of what is drawn, inside the panel.

    `size` of the label and of the panel are width and height in mm; nearer places and those at
    the right are tried first.
    """
    (width, height), (x, y) = size, anchor
    best: Box | None = None
    least = float("inf")
    for distance in (1.8, 3.0, 5.0, 8.0, 12.0):
        slant = 0.7 * distance
        centres = (
            (x + distance + width / 2, y),
            (x + slant + width / 2, y - slant - height / 2),
            (x, y - distance - height / 2),
            (x - slant - width / 2, y - slant - height / 2),
            (x + slant + width / 2, y + slant + height / 2),
            (x, y + distance + height / 2),
            (x - slant - width / 2, y + slant + height / 2),
            (x - distance - width / 2, y),
        )
        for middle, centre in centres:
            left = min(max(middle - width / 2, INSET), panel[0] - width)
            bottom = min(max(centre - height / 2, INSET), panel[1] - height)
            box = (left, bottom, left + width, bottom + height)
            covered = sum(overlap(box, other) for other in taken)
            if covered < least:
                best, least = box, covered
        if least == 0:
            break
    assert best is not None, "the first place covers less than infinity"
    return best


def overlap(one: Box, other: Box) -> float:
    """Area in mm² that two boxes share."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(width, 0.0) * max(height, 0.0)


@dataclass
class LabelledPanel:
    """Axes of `width` by `height` mm in which labels look for room among what is `taken`."""

    axes: Axes
    width: float
    height: float
    taken: list[Box] = field(default_factory=list)

    def place(self, x: float, y: float) -> tuple[float, float]:
        """A value's place in mm from the lower left corner."""
        (left, right), (low, high) = self.axes.get_xlim(), self.axes.get_ylim()
        return (x - left) / (right - left) * self.width, (y - low) / (high - low) * self.height

    def keep_clear(self, xs: Iterable[float], ys: Iterable[float], reach: float) -> None:
        """Let no label come within `reach` mm of the line through the values."""
        places = np.array([self.place(x, y) for x, y in zip(xs, ys)])
        for start, end in zip(places, places[1:] if len(places) > 1 else places):
            steps = max(int(np.hypot(*(end - start))), 1)
            for x, y in np.linspace(start, end, steps + 1):
                self.taken.append((x - reach, y - reach, x + reach, y + reach))

    def label(self, x: float, y: float, text: str, color: str, weight: str = "normal") -> None:
        """Write `text` near a value where there is room, with a thin line to it from afar."""
        width = style.text_width(text, style.TICK, weight == "bold") + 0.6
        size = (width, style.line_height(style.TICK) * 0.9)
        anchor = self.place(x, y)
        box = place_label(size, anchor, self.taken, (self.width, self.height))
        self.taken.append(box)
        inside: dict[str, Any] = {"transform": self.axes.transAxes, "zorder": 9}
        near = (min(max(anchor[0], box[0]), box[2]), min(max(anchor[1], box[1]), box[3]))
        if np.hypot(near[0] - anchor[0], near[1] - anchor[1]) > 3.5:
            ends = np.array([near, anchor]) / (self.width, self.height)
            self.axes.plot(*ends.T, color=color, linewidth=0.5, **{**inside, "zorder": 2})
        x, y = (box[0] + box[2]) / 2 / self.width, (box[1] + box[3]) / 2 / self.height
        look: dict[str, Any] = {
            "ha": "center",
            "va": "center_baseline",
            "bbox": HALO,
            "size": style.TICK,
        }
        self.axes.text(x, y, text, color=color, weight=weight, **look, **inside)
