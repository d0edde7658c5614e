"""The look of every figure: a page laid out in mm, the palette, and deterministic saving."""

import functools
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from matplotlib.textpath import text_to_path

from frugalvit.errors import ConfigError
from frugalvit.files import atomic_path

# Okabe and Ito's colours: told apart by colour-blind readers and, by lightness, mostly in print.
BLUE, VERMILLION, GREEN, ORANGE, SKY = "#0072B2", "#D55E00", "#009E73", "#E69F00", "#56B4E9"
INK, GREY, PALE, FAINT = "#1A1A1A", "#5C5C5C", "#959595", "#EBEBEB"

DASH = "\N{EN DASH}"  # stands for a value that has no meaning

TITLE, SUBTITLE, LABEL, TICK, NOTE = 10.0, 7.5, 7.5, 7.0, 7.0  # font sizes, points
MM_PER_INCH = 25.4
MM_PER_POINT = MM_PER_INCH / 72
LINE_SPACING = 1.35
MARGIN = 3.0  # mm, around every page

RC = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same letters on every machine
    "font.size": TICK,
    "text.color": INK,
    "text.parse_math": False,  # a class may be called "$1 note"
    "axes.labelsize": LABEL,
    "axes.titlesize": LABEL,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": "#DADADA",
    "grid.linewidth": 0.5,
    "xtick.labelsize": TICK,
    "ytick.labelsize": TICK,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.solid_capstyle": "round",
    "figure.facecolor": "white",
    "text.hinting": "no_hinting",  # pixels as wide as the measured, unhinted text
    "svg.fonttype": "path",  # a browser without the font would otherwise break the measured layout
    "svg.hashsalt": "frugalvit",
    "image.composite_image": False,
}
METADATA: dict[str, dict[str, str | None]] = {
    "svg": {"Date": None, "Creator": "Frugal ViT"},
    "png": {"Software": "Frugal ViT"},
    "pdf": {"CreationDate": None, "Creator": "Frugal ViT"},
}


def themed(draw: Callable[..., Any]) -> Callable[..., Any]:
    """Run `draw` under the house style, whatever matplotlibrc the machine has."""

    @functools.wraps(draw)
    def drawn(*args: Any, **kwargs: Any) -> Any:
        with matplotlib.style.context(["default", RC]):
            return draw(*args, **kwargs)

    return drawn


@functools.lru_cache(maxsize=20_000)
def text_width(text: str, size: float, bold: bool = False) -> float:
    """Width of one line of text in mm at a font size in points."""
    font = FontProperties(family="DejaVu Sans", size=size, weight="bold" if bold else "normal")
    return text_to_path.get_text_width_height_descent(text, font, False)[0] * MM_PER_POINT


def line_height(size: float) -> float:
    """Distance between two lines of text in mm at a font size in points."""
    return size * LINE_SPACING * MM_PER_POINT


def shorten(text: str, size: float, width: float, bold: bool = False) -> str:
    """Leave out letters before the end so that `text` fits `width` mm on one line.

    The end stays, because names often differ there only: 'experiment_with…_12'.
    """
    shown = text
    length = len(text)
    while length > 1 and text_width(shown, size, bold) > width:
        length -= 1
        tail = length // 3
        shown = f"{text[: length - tail].rstrip()}…{text[len(text) - tail :].lstrip()}"
    return shown


def wrap(text: str, size: float, width: float, lines: int = 9, bold: bool = False) -> list[str]:
    """Break `text` at spaces into at most `lines` lines of `width` mm; the last is cut to fit."""
    wrapped: list[str] = []
    kept = "\N{NO-BREAK SPACE}%"  # a number keeps its percent sign
    words = re.findall(r"[^ \n]+", text.replace(" %", kept))
    while words and len(wrapped) < lines - 1:
        count = 1
        while count < len(words) and text_width(" ".join(words[: count + 1]), size, bold) <= width:
            count += 1
        wrapped.append(shorten(" ".join(words[:count]), size, width, bold))
        words = words[count:]
    if words:
        wrapped.append(shorten(" ".join(words), size, width, bold))
    return [line.replace(kept, " %") for line in wrapped]


def spread(wanted: list[float], distance: float, low: float, high: float) -> list[float]:
    """Move positions apart to at least `distance`, inside [low, high], keeping their order."""
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    placed: dict[int, float] = {}
    floor = low
    for index in order:
        placed[index] = floor = max(wanted[index], floor)
        floor += distance
    ceiling = high
    for index in reversed(order):
        placed[index] = ceiling = min(placed[index], ceiling)
        ceiling -= distance
    return [placed[index] for index in range(len(wanted))]


class Page:
    """A figure with a title, a subtitle and notes around a body that is laid out in mm.

    Coordinates of `axes`, `text` and `line` are mm from the body's top left corner, y downwards;
    the body is `width` mm wide and `height` mm high.
    """

    def __init__(
        self, title: str, subtitle: str, width_mm: float, body_mm: float, notes: str = ""
    ) -> None:
        self.width, self.height = width_mm - 2 * MARGIN, body_mm
        titles = wrap(title, TITLE, self.width, lines=2, bold=True)
        subtitles = wrap(subtitle, SUBTITLE, self.width)
        noted = wrap(notes, NOTE, self.width)
        self.top = MARGIN + len(titles) * line_height(TITLE)
        self.top += len(subtitles) * line_height(SUBTITLE) + 2.5
        total = self.top + body_mm + len(noted) * line_height(NOTE) + MARGIN + (2 if noted else 0)
        self.figure = Figure(figsize=(width_mm / MM_PER_INCH, total / MM_PER_INCH))
        FigureCanvasAgg(self.figure)
        self.figure.set_label(title)
        self._size = (width_mm, total)
        y = MARGIN - self.top
        for line in titles:
            self.text(0, y, line, size=TITLE, weight="bold", va="top")
            y += line_height(TITLE)
        for line in subtitles:
            self.text(0, y, line, size=SUBTITLE, color=GREY, va="top")
            y += line_height(SUBTITLE)
        y = body_mm + 2
        for line in noted:
            self.text(0, y, line, size=NOTE, color=GREY, va="top")
            y += line_height(NOTE)

    def _place(self, x: float, y: float) -> tuple[float, float]:
        return (MARGIN + x) / self._size[0], 1 - (self.top + y) / self._size[1]

    def axes(self, x: float, y: float, width: float, height: float, **kwargs: Any) -> Axes:
        """Axes whose frame has its top left corner at (x, y)."""
        left, bottom = self._place(x, y + height)
        box = (left, bottom, width / self._size[0], height / self._size[1])
        return self.figure.add_axes(box, **kwargs)

    def text(self, x: float, y: float, text: str, **kwargs: Any) -> Text:
        """Text at (x, y); keywords are those of matplotlib's `Text`."""
        return self.figure.text(*self._place(x, y), text, **{"size": TICK, **kwargs})

    def line(self, x: tuple[float, float], y: tuple[float, float], **kwargs: Any) -> None:
        """A straight line from (x[0], y[0]) to (x[1], y[1])."""
        start, end = self._place(x[0], y[0]), self._place(x[1], y[1])
        self.figure.add_artist(Line2D((start[0], end[0]), (start[1], end[1]), **kwargs))

    def rectangle(self, x: float, y: float, width: float, height: float, **kwargs: Any) -> None:
        """A filled rectangle with its top left corner at (x, y), behind everything else."""
        box = (width / self._size[0], height / self._size[1])
        style = {"linewidth": 0, "zorder": -1, **kwargs}
        self.figure.add_artist(Rectangle(self._place(x, y + height), *box, **style))


def message_page(title: str, subtitle: str, message: str, width_mm: float) -> Figure:
    """A small figure that says why there is nothing to draw."""
    page = Page(title, subtitle, width_mm, body_mm=16)
    page.rectangle(0, 0, page.width, 16, facecolor=FAINT)
    lines = wrap(message, LABEL, page.width - 8, lines=2)
    for number, line in enumerate(lines):
        offset = (number - (len(lines) - 1) / 2) * line_height(LABEL)
        page.text(page.width / 2, 8 + offset, line, size=LABEL, ha="center", va="center")
    return page.figure


@themed
def save(figure: Figure, paths: Iterable[str | Path], dpi: int) -> None:
    """Write a figure to every path, in the format of its suffix, with the same bytes every time.

    Raises:
        ConfigError: a suffix is not svg, png or pdf.
    """
    for path in map(Path, paths):
        kind = path.suffix.lstrip(".")
        if kind not in METADATA:
            raise ConfigError(f"figures.formats: '{kind}' is unknown; use {', '.join(METADATA)}")
        metadata = METADATA[kind] | ({} if kind == "png" else {"Title": str(figure.get_label())})
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format=kind, dpi=dpi, metadata=metadata)
