"""Colours of 16 bits, of which Pillow keeps the upper 8 alone: the file is read twice.

How the bytes of a file become pixels stands in each tile of an image that is not loaded yet, as a raw
mode (`RGB;16B`: two bytes a value, the upper one first). Asked for the other order, Pillow takes the
lower byte of each value.
"""

import re
import sys
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFile

_RAW = re.compile(r"(RGB|RGBX|RGBA);16([BLN])")
_PLANES = "RGBA"  # raw modes of a TIFF's single planes, which Pillow takes for 8 bits
_BITS_PER_SAMPLE, _PLANAR = 258, 284
_NATIVE = "L" if sys.byteorder == "little" else "B"
_OTHER = {"L": "B", "B": "L"}


def prepare(image: Image.Image) -> bool:
    """Whether an image, not loaded yet, has colours of 16 bits; it then loads their upper bytes."""
    if image.mode not in ("RGB", "RGBX", "RGBA") or not isinstance(image, ImageFile.ImageFile):
        return False
    raw = [_raw_mode(tile) for tile in image.tile]
    # Pillow lays an animation's first frame on a background, which has 8 bits.
    if not raw or (image.format == "PNG" and getattr(image, "is_animated", False)):
        return False
    if image.format == "TIFF" and all(mode in _PLANES and len(mode) == 1 for mode in raw):
        if set(image.tag_v2.get(_BITS_PER_SAMPLE, ())) != {16}:  # type: ignore[attr-defined]
            return False
        order = "L" if image.tag_v2.prefix == b"II" else "B"  # type: ignore[attr-defined]
        _unpack(image, lambda mode: f"{mode};16{order}")
        return True
    if image.format == "TIFF" and image.tag_v2.get(_PLANAR) == 2:  # type: ignore[attr-defined]
        return False  # compressed planes, which Pillow unpacks by a raw mode of its own
    return all(_RAW.fullmatch(mode) for mode in raw)


def values_of(image: Image.Image, again: ImageFile.ImageFile) -> np.ndarray:
    """All 16 bits, uint16 `[height, width, 3]`, or 4 with how opaque a pixel is.

    Args:
        image: prepared, and loaded since.
        again: the same file, prepared and not loaded yet; it is loaded here.
    """
    _unpack(again, lambda mode: mode[:-1] + _OTHER[mode[-1].replace("N", _NATIVE)])
    again.load()
    values = np.asarray(image).astype(np.uint16)
    values <<= 8
    values |= np.asarray(again)
    return values if image.mode == "RGBA" else values[..., :3]


def _unpack(image: ImageFile.ImageFile, change: Callable[[str], str]) -> None:
    """Change the raw mode of every tile."""
    tiles = []
    for tile in image.tile:
        mode = change(_raw_mode(tile))
        args = (mode, *tile.args[1:]) if isinstance(tile.args, tuple) else mode
        tiles.append(tile._replace(args=args))
    image.tile = tiles


def _raw_mode(tile: ImageFile._Tile) -> str:
    mode = tile.args if isinstance(tile.args, str) else (tile.args or ("",))[0]
    return mode if isinstance(mode, str) else ""
