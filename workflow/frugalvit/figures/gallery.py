"""Images in rows, each with lines of text beneath, for samples and mistakes."""

import base64
import binascii
import io
import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from matplotlib.axes import Axes
from PIL import Image

from frugalvit.errors import DataError
from frugalvit.figures import style

GAP = 2.5  # mm between cells

Line = tuple[str, dict[str, Any]]  # a line of text and its keywords for `Page.text`


class Canvas(Protocol):
    """What a gallery is drawn on: a `style.Page`, or a part of one."""

    @property
    def width(self) -> float:
        """Width in mm."""
        ...

    def axes(self, x: float, y: float, width: float, height: float) -> Axes:
        """As `Page.axes`."""
        ...

    def text(self, x: float, y: float, text: str, **kwargs: Any) -> object:
        """As `Page.text`."""
        ...


def decode_image(text: str, source: str) -> np.ndarray:
    """Decode a base64 PNG into uint8 [height, width, 3].

    Raises:
        DataError: the text is no image; the message starts with `source`, the file and row.
    """
    try:
        with Image.open(io.BytesIO(base64.b64decode(text, validate=True))) as image:
            return np.asarray(image.convert("RGB"))
    except (binascii.Error, OSError, ValueError, AttributeError, TypeError):
        raise DataError(f"{source}: not a base64 PNG image; delete the file and rerun") from None


def cell_width(page_width: float, columns: int) -> float:
    """Width in mm of a cell, and of the square its image fits in."""
    return (page_width - (columns - 1) * GAP) / columns


def gallery_height(page_width: float, count: int, columns: int, lines: int) -> float:
    """Height in mm of `count` cells with `lines` lines of text each."""
    cell = cell_width(page_width, columns) + 1 + lines * style.line_height(style.NOTE)
    rows = math.ceil(count / columns)
    return rows * cell + (rows - 1) * GAP


def draw_gallery(
    page: Canvas, images: Sequence[np.ndarray], captions: Sequence[Sequence[Line]], columns: int
) -> None:
    """Fill a page's body with square images, left to right, and the lines beneath each."""
    lines = max(map(len, captions))
    size = cell_width(page.width, columns)
    row_height = size + 1 + lines * style.line_height(style.NOTE) + GAP
    for number, (image, caption) in enumerate(zip(images, captions)):
        x, y = (number % columns) * (size + GAP), (number // columns) * row_height
        axes = page.axes(x, y, size, size)
        # Small images keep their pixels: what the model saw, not a blur of it.
        small = max(image.shape[:2]) < 64
        axes.imshow(image, interpolation="nearest" if small else "lanczos")
        axes.set_axis_off()
        for row, (text, look) in enumerate(caption):
            top = y + size + 1 + row * style.line_height(style.NOTE)
            bold = look.get("weight") == "bold"
            shown = style.shorten(text, style.NOTE, size, bold)
            page.text(x, top, shown, **{"size": style.NOTE, "va": "top", **look})
