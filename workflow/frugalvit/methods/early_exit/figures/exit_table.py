"""The table beside the trade-off: full model, targets and rivals, with accuracy and costs."""

import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from frugalvit.figures import point_words, style
from frugalvit.figures.shares import share_of_plain
from frugalvit.figures.style import BLUE, DASH, GREEN, GREY, INK, VERMILLION, Page
from frugalvit.methods.early_exit.figures.exit_words import setting_text, targets_of
from frugalvit.operating_point import FULL, is_chosen, point_of

ROW, HEADER = 4.2, 6.0  # mm
MINUS = "\N{MINUS SIGN}"
APART = 2.6  # mm between columns
LEAST_WORDS = 40.0  # mm; a narrower page does without the last columns
PLAIN = {"marker": "D", "color": INK, "markersize": 5}
CHOSEN = {"marker": "*", "color": VERMILLION, "markersize": 11, "mec": "white", "mew": 0.5}
TARGET = {"marker": "o", "color": BLUE, "markersize": 4.6, "mfc": "white", "mew": 1.2}
RIVAL = {"marker": "^", "color": GREEN, "markersize": 5.5}


@dataclass(frozen=True)
class Entry:
    """A model or target: one row of the table and one mark in each panel."""

    words: str
    rows: pd.DataFrame  # one a seed
    look: dict[str, Any]
    label: str = ""  # beside the mark
    chosen: bool = False  # deployed
    full: bool = False  # no image leaves early

    def mean(self, column: str) -> float:
        """Mean over seeds; NaN where nothing was measured."""
        return float(self.rows[column].mean()) if column in self.rows else float("nan")

    @property
    def means(self) -> dict[str, float]:
        """Mean GFLOPs and accuracy over seeds."""
        return {column: self.mean(column) for column in ("gflops", "accuracy")}


def model_entries(
    points: pd.DataFrame,
    summary: pd.DataFrame,
    rivals: Mapping[str, int],
    targets: Mapping[str, Any],
) -> list[Entry]:
    """The full model, the targets (lettered; the deployed one says so), the rivals by size."""
    entries = []
    full = points[points["setting"] == FULL]
    if len(full):
        words = setting_text(FULL, None, targets)
        if is_chosen(full).any():
            entries.append(Entry(f"chosen: {words}", full, CHOSEN, "chosen", True, True))
        else:
            entries.append(Entry(words, full, PLAIN, full=True))
    letters = iter(string.ascii_lowercase * 9)
    for rows in targets_of(points):
        point = point_of(rows.iloc[0])
        words = setting_text(point.setting, point.value, targets)
        if is_chosen(rows).any():
            entries.append(Entry(f"chosen: {words}", rows, CHOSEN, "chosen", True))
        else:
            entries.append(Entry(words, rows, TARGET, next(letters)))
    for name, blocks in sorted(rivals.items(), key=lambda rival: (rival[1], rival[0])):
        rows = summary[summary["experiment"] == name]
        if len(rows):
            kept = f"first {blocks} block{'' if blocks == 1 else 's'}"
            entries.append(Entry(f"{kept} alone, trained anew ({name})", rows, RIVAL, kept))
    return entries


def full_entry(entries: list[Entry]) -> Entry | None:
    """The full model's entry, if it was evaluated."""
    return next((entry for entry in entries if entry.full), None)


def share_in(entries: list[Entry], entry: Entry, column: str) -> float:
    """An entry's mean cost as a share of the full model's; NaN where either is unknown."""
    full = full_entry(entries)
    return float("nan") if full is None else share_of_plain(entry.mean(column), full.mean(column))


def share_text(share: float) -> str:
    """' (57 %)'; empty where it is unknown."""
    return f" ({share * 100:.0f} %)" if np.isfinite(share) else ""


def three_digits(value: float) -> str:
    """'0.0213', '9.20', '11.0', '1,240'; a dash for NaN."""
    return DASH if np.isnan(value) else f"{value:,.0f}" if value >= 100 else f"{value:#.3g}"


def table_columns(entries: list[Entry]) -> list[tuple[str, float, list[str]]]:
    """Heading, width in mm and texts of the table's columns of numbers; none without a value."""
    full = full_entry(entries)
    baseline = None if full is None else full.rows.groupby("seed")["accuracy"].mean()
    columns = []

    def add(heading: str, text: Callable[[Entry], str]) -> None:
        texts = [text(entry) for entry in entries]
        if any(text != DASH for text in texts):
            widths = [style.text_width(text, style.TICK, bold=True) for text in texts]
            widest = max(style.text_width(heading, style.NOTE), *widths)
            columns.append((heading, widest + APART, texts))

    def lost(entry: Entry) -> str:
        if entry.full or baseline is None:
            return DASH
        # Every seed against the full model of the same seed.
        gone = (baseline - entry.rows.groupby("seed")["accuracy"].mean()).dropna() * 100
        return point_words.spread_text(gone, 1).replace("-", MINUS)

    def flops(entry: Entry) -> str:
        value = entry.mean("gflops")
        return three_digits(value) + share_text(share_in(entries, entry, "gflops"))

    def time(entry: Entry) -> str:
        median, slow = entry.mean("latency_ms"), entry.mean("latency_p95_ms")
        slowest = "" if np.isnan(slow) else f" / {three_digits(slow)}"
        return three_digits(median) + slowest + share_text(share_in(entries, entry, "latency_ms"))

    def rate(entry: Entry) -> str:
        value = entry.mean("images_per_s")
        return DASH if np.isnan(value) else f"{value:,.0f}"

    def depth(entry: Entry) -> str:
        value = entry.mean("mean_depth")
        return DASH if np.isnan(value) else f"{value:.1f}"

    add("accuracy (%)", lambda e: point_words.spread_text(e.rows["accuracy"] * 100, 1))
    add("points lost", lost)
    add("GFLOPs (of full)", flops)
    add("ms: median / 95th (of full)", time)
    add("images/s", rate)
    add("mean block", depth)
    return columns


def lay_table(entries: list[Entry], width: float) -> tuple[Callable[[Page, float], None], float]:
    """What writes the table of all entries at a height of a page, and how many mm it takes."""
    columns = table_columns(entries)
    while columns and width - 10 - sum(column[1] for column in columns) < LEAST_WORDS:
        columns.pop()
    room = width - 10 - sum(column[1] for column in columns)
    lines = [style.wrap(e.words, style.TICK, room, 3, e.chosen) for e in entries]
    heights = [ROW + (len(texts) - 1) * style.line_height(style.TICK) for texts in lines]

    def write(page: Page, top: float) -> None:
        right = page.width - sum(column[1] for column in columns)
        for heading, size, texts in columns:
            right += size
            look = {"ha": "right", "va": "center", "color": GREY}
            page.text(right, top + 2.5, heading, size=style.NOTE, **look)
            for y, text, entry in zip(middles(top), texts, entries):
                bold = {"weight": "bold", "color": VERMILLION} if entry.chosen else {}
                page.text(right, y, text, ha="right", va="center_baseline", **bold)
        page.line((0, page.width), (top + 4.8, top + 4.8), color=GREY, linewidth=0.6)
        for y, texts, entry in zip(middles(top), lines, entries):
            mark = page.axes(0, y - ROW / 2, 4, ROW)
            mark.set_axis_off()
            mark.set(xlim=(-1, 1), ylim=(-1, 1))
            mark.plot(0, 0, **entry.look)
            bold = {"weight": "bold"} if entry.chosen else {}
            if len(entry.label) == 1:
                page.text(5.2, y, entry.label, va="center_baseline", color=entry.look["color"])
            for number, text in enumerate(texts):
                color = VERMILLION if entry.chosen else INK
                line = y + number * style.line_height(style.TICK)
                page.text(8, line, text, va="center_baseline", color=color, **bold)

    def middles(top: float) -> list[float]:
        starts = np.cumsum([0, *heights[:-1]])
        return [top + HEADER + start + ROW / 2 for start in starts]

    return write, HEADER + sum(heights)
