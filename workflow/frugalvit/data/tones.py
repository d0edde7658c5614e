"""From black to white: how pixels of any depth become 8 bits, and how much of their range they use."""

import math
import struct
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image

from frugalvit.errors import DataError

Stretch = tuple[float, float]  # shares of the declared range that become black and white
LEAST = 1 / 4  # of the range; below it, 8 bits keep few steps of what tells images apart
_STEP = 1e-5  # of the range, to which shares are told: less than one of 16 bits
_BITS_PER_SAMPLE, _PHOTOMETRIC = 258, 262  # TIFF's tags
_WHITE_IS_ZERO = 0
_BLOCK = 1 << 20  # pixels looked up at once


class Toned(NamedTuple):
    """A picture in 8 bits, and its darkest and brightest value before any stretch."""

    pixels: np.ndarray  # uint8 [h, w], or colours [h, w, 3]
    low: float  # share of the range that the file declares
    high: float


def is_deep(image: Image.Image) -> bool:
    """Whether a pixel is one number of more than 8 bits."""
    return image.mode.startswith("I") or image.mode == "F"


def declared_bits(image: Image.Image) -> int:
    """Bits of a deep pixel by the file's own word: TIFF's BitsPerSample, PNG's sBIT; at most 16.

    To be asked before the image is loaded. JPEG 2000 and Netpbm declare theirs too, but Pillow has
    scaled those pixels to 16 bits.
    """
    bits = 16
    if image.format == "TIFF":
        bits = image.tag_v2.get(_BITS_PER_SAMPLE, (16,))[0]  # type: ignore[attr-defined]
    elif image.format == "PNG" and is_deep(image):
        bits = _significant_bits(image.fp) or 16  # type: ignore[attr-defined]
    return bits if 0 < bits <= 16 else 16


def shade(image: Image.Image, bits: int, stretch: Stretch | None = None) -> Toned:
    """A deep, loaded image in 8 bits; a PNG's transparent grey becomes white.

    Args:
        image: of integers from 0 to 65535, or of floats from 0 to 1.
        bits: what `declared_bits` said.
        stretch: what becomes black and white; 0 and 1 where None.

    Raises:
        DataError: other pixels.
    """
    values = np.asarray(image)
    integers = np.issubdtype(values.dtype, np.integer)
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= (65535 if integers else 1)):
        kind = "outside 0..65535" if integers else "outside 0..1"
        kind = kind if np.isfinite(values).all() else "not finite"
        raise DataError(f"32-bit pixels {kind}: convert the image to 8 or 16 bits")
    # Pillow itself turns a picture that counts from white to black round, but up to 8 bits alone.
    inverted = getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == _WHITE_IS_ZERO
    white = _white(image, values, bits) if integers else 1
    if integers:
        table = np.arange(65536) / white
        pixels = _looked_up(to_eight_bits(1 - table if inverted else table, stretch), values)
        if isinstance(clear := image.info.get("transparency"), int):
            pixels[values == clear] = 255
    else:
        pixels = to_eight_bits(1 - values if inverted else values, stretch)
    ends = (low / white, high / white)
    return Toned(pixels, *((1 - ends[1], 1 - ends[0]) if inverted else ends))


def shade_colours(
    values: np.ndarray, clear: tuple[int, ...] | None, stretch: Stretch | None = None
) -> Toned:
    """Colours of 16 bits in 8, what is transparent on white.

    Args:
        values: uint16 `[h, w, 3]`, or 4 with how opaque a pixel is.
        clear: the colour that is transparent, if one is.
        stretch: what becomes black and white; 0 and 1 where None.
    """
    colours, table = values[..., :3], np.arange(65536) / 65535
    pixels = _looked_up(to_eight_bits(table, stretch), colours)
    if values.shape[-1] > 3:
        opaque = _looked_up(to_eight_bits(table, None), values[..., 3:])
        layer = Image.fromarray(np.concatenate([pixels, opaque], axis=-1))
        white = Image.new("RGBA", layer.size, "white")
        pixels = np.asarray(Image.alpha_composite(white, layer).convert("RGB"))
    elif clear is not None:
        pixels[(colours == clear).all(axis=-1)] = 255
    return Toned(pixels, int(colours.min()) / 65535, int(colours.max()) / 65535)


def to_eight_bits(shares: np.ndarray, stretch: Stretch | None) -> np.ndarray:
    """Shares of a range as uint8, the stretch's ends as 0 and 255."""
    if stretch:
        shares = (shares - stretch[0]) / (stretch[1] - stretch[0])
    return (shares.clip(0, 1) * 255).round().astype(np.uint8)


def stretched(pixels: np.ndarray, stretch: Stretch | None) -> np.ndarray:
    """8-bit pixels of any shape with the stretch's ends as 0 and 255."""
    return to_eight_bits(np.arange(256) / 255, stretch)[pixels] if stretch else pixels


def small_range(low: float, high: float, stretch: Stretch | None, key: str) -> str:
    """One line with the key and the remedy where a dataset uses little of its range; else empty.

    Args:
        low, high: its darkest and brightest value, as shares of the range before any stretch.
        stretch: the one it is prepared with.
        key: the dataset's in the study.
    """
    black, white = stretch or (0, 1)
    share = (min(high, white) - max(low, black)) / (white - black)
    if low >= high or share >= LEAST:
        return ""
    low, high = math.floor(low / _STEP) * _STEP, min(math.ceil(high / _STEP) * _STEP, 1)
    return (
        f"{key}.stretch: the images use {low:.5g} to {high:.5g} of the range of values that their files "
        f"declare, {max(round(share * 255), 0) + 1} of 256 greys; write [{low:.5g}, {high:.5g}] to have "
        "that range go from black to white"
    )


def _white(image: Image.Image, values: np.ndarray, bits: int) -> int:
    """The integer that is white.

    PNG's standard has an encoder scale pixels of fewer bits to all 16 and note their number in sBIT;
    some leave them as they are. They are taken so if none is above the largest number of these
    bits, and some are no number that scaling gives.
    """
    largest = (1 << bits) - 1
    if values.max() > largest:
        return 65535
    if image.format == "PNG":
        used, step = np.unique(values).astype(np.float64), 65535 / largest
        if (np.abs(used - (used / step).round() * step) <= 1).all():
            return 65535
    return largest


def _looked_up(table: np.ndarray, values: np.ndarray) -> np.ndarray:
    """`table[values]`, in blocks: numpy makes eight bytes of every index."""
    flat = values.reshape(-1)
    pixels = np.empty(flat.shape, table.dtype)
    for start in range(0, flat.size, _BLOCK):
        pixels[start : start + _BLOCK] = table[flat[start : start + _BLOCK]]
    return pixels.reshape(values.shape)


def _significant_bits(file: BinaryIO) -> int | None:
    """What a grey PNG's chunk sBIT says; None without one."""
    position = file.tell()
    file.seek(8)
    try:
        while True:
            length, kind = struct.unpack(">I4s", file.read(8))
            if kind == b"sBIT":
                return file.read(1)[0]
            if kind == b"IDAT":
                return None
            file.seek(length + 4, 1)
    except (struct.error, IndexError):
        return None
    finally:
        file.seek(position)
