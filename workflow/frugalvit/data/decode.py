"""Any image file becomes one square of 8-bit RGB: short side resized, centre cropped."""

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from frugalvit.data.deep_colours import prepare as deep_colours_of
from frugalvit.data.deep_colours import values_of
from frugalvit.data.jpeg_scans import refuse_many_scans
from frugalvit.data.tones import (
    Stretch,
    Toned,
    declared_bits,
    is_deep,
    shade,
    shade_colours,
    stretched,
)
from frugalvit.errors import DataError

# Named, so that no file reaches a decoder that starts a program (EPS: Ghostscript).
FORMATS = (
    "JPEG", "MPO", "PNG", "GIF", "BMP", "DIB", "TIFF", "WEBP", "PPM", "JPEG2000", "AVIF",
)  # fmt: skip
# Draft decoding leaves at least this many times the final size, as Pillow's own thumbnail does.
_DRAFT_GAP = 2
_ORIENTATION = 0x0112
_PREFIX = 16  # bytes by which Pillow knows a format
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Decoded(NamedTuple):
    """A square of the store, the upright image's size before it was resized, and its tones.

    `low` and `high` are its darkest and brightest value before any stretch, as shares of the range
    that its file declares.
    """

    pixels: np.ndarray  # uint8 [crop, crop, 3]
    width: int
    height: int
    low: float
    high: float


def decode_image(
    file: BinaryIO | Path,
    resize: int,
    crop: int,
    max_pixels: int = 100_000_000,
    stretch: Stretch | None = None,
) -> Decoded:
    """Decode an image file: short side to `resize` px (antialiased), centre `crop` px, RGB.

    Transparency is laid on white, deep pixels are scaled to 8 bits from the range that the file
    declares, the orientation of EXIF or TIFF is applied, of an animation the first frame counts.
    `stretch` says which shares of that range become black and white, (0, 1) where None.

    Raises:
        DataError: the reason in a few words (no file name: the caller knows it).
    """
    try:
        with _bomb_limit(max_pixels), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # malformed EXIF, palette transparency
            with Image.open(file, formats=_available_formats()) as image:
                return _decode(image, file, resize, crop, max_pixels, stretch)
    except DataError:
        raise
    except Image.DecompressionBombError as error:
        raise DataError(f"more than {max_pixels} pixels (dataset.max_pixels)") from error
    except UnidentifiedImageError as error:
        raise DataError(_unknown(file)) from error
    except Exception as error:  # decoders raise whatever a damaged byte leads them to
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"damaged image: {reason}") from error


def decode_array(
    pixels: np.ndarray, resize: int, crop: int, stretch: Stretch | None = None
) -> Decoded:
    """The same square from pixels in memory: uint8 `[h, w]` or `[h, w, 3]`."""
    height, width = pixels.shape[:2]
    square = np.asarray(_square(Image.fromarray(pixels).convert("RGB"), resize, crop))
    return Decoded(stretched(square, stretch), width, height, *_ends(square))


def box_in_square(
    box: tuple[float, float, float, float], width: int, height: int, resize: int, crop: int
) -> tuple[float, float, float, float] | None:
    """Move a box from fractions of the image to fractions of the stored square.

    Cut at the square's edges; None when nothing of the box is left.
    """
    left, top, side = square_in_photo(width, height, resize, crop)
    x0, x1 = (min(max((x * width - left) / side, 0.0), 1.0) for x in box[::2])
    y0, y1 = (min(max((y * height - top) / side, 0.0), 1.0) for y in box[1::2])
    return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None


def _decode(
    image: Image.Image,
    file: BinaryIO | Path,
    resize: int,
    crop: int,
    max_pixels: int,
    stretch: Stretch | None,
) -> Decoded:
    width, height = image.size
    if width * height > max_pixels:
        raise DataError(f"{width} x {height} pixels are more than dataset.max_pixels, {max_pixels}")
    if image.format in {"JPEG", "MPO"}:
        refuse_many_scans(image.fp)  # type: ignore[attr-defined]
    bits, deep_colours = declared_bits(image), deep_colours_of(image)
    image.draft(None, (_DRAFT_GAP * resize, _DRAFT_GAP * resize))
    image.load()
    # Asked only now: Pillow itself turns a TIFF while it loads it, and takes the tag away.
    turn = _turn(image)
    toned = shade(image, bits, stretch) if is_deep(image) else None
    if deep_colours:
        toned = _colours(image, file, stretch)
    picture = Image.fromarray(toned.pixels).convert("RGB") if toned else _rgb(image)
    if turn is not None:
        picture = picture.transpose(turn)
        if turn >= Image.Transpose.ROTATE_90 and turn != Image.Transpose.ROTATE_180:
            width, height = height, width
    square = np.asarray(_square(picture, resize, crop))
    if toned:
        return Decoded(square, width, height, toned.low, toned.high)
    return Decoded(stretched(square, stretch), width, height, *_ends(square))


def _colours(image: Image.Image, file: BinaryIO | Path, stretch: Stretch | None) -> Toned:
    """A loaded picture of 16-bit colours in 8 bits, from a second reading of its file."""
    clear = image.info.get("transparency")
    with Image.open(file, formats=[str(image.format)]) as again:
        deep_colours_of(again)
        return shade_colours(values_of(image, again), clear, stretch)


def _turn(image: Image.Image) -> Image.Transpose | None:
    """What makes the image upright; a damaged EXIF block is no reason to refuse the pixels."""
    with contextlib.suppress(Exception):
        return _TURNS.get(image.getexif().get(_ORIENTATION, 0))
    return None


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "La":  # premultiplied: Pillow converts it to nothing else
        image = image.convert("LA")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")


def _ends(pixels: np.ndarray) -> tuple[float, float]:
    return int(pixels.min()) / 255, int(pixels.max()) / 255


def _square(image: Image.Image, resize: int, crop: int) -> Image.Image:
    left, top, side = square_in_photo(*image.size, resize, crop)
    if side == crop:
        return image.crop((left, top, left + crop, top + crop))
    # Crop and resize in one step: a strip 1 px high is never blown up to its full length.
    box = (left, top, left + side, top + side)
    return image.resize((crop, crop), Image.Resampling.BILINEAR, box=box)


def square_in_photo(width: int, height: int, resize: int, crop: int) -> tuple[int, int, float]:
    """Left, top and side, in the image's pixels, of the square that the store keeps."""
    side = min(width, height) * crop / resize
    # Whole pixels: an image that has the size already is cut, not resampled by half a pixel.
    return int((width - side) / 2), int((height - side) / 2), side


@contextlib.contextmanager
def _bomb_limit(max_pixels: int) -> Iterator[None]:
    """Have Pillow refuse what hides a larger picture behind a small header."""
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = max(max_pixels // 2, 1)  # Pillow warns above it, refuses above twice
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _available_formats() -> list[str]:
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def _unknown(file: BinaryIO | Path) -> str:
    """Why Pillow opens a file as no format."""
    if isinstance(file, Path):
        with file.open("rb") as opened:
            start = opened.read(_PREFIX)
    else:
        file.seek(0)
        start = file.read(_PREFIX)
    if not start:
        return "empty file"
    for name in _available_formats():
        accepts = Image.OPEN[name][1]
        if accepts and accepts(start.ljust(_PREFIX, b"\0")):
            return (
                f"a {name} file that is damaged, or of a kind of pixels that cannot be read: convert it "
                "to PNG or JPEG of 8 bits"
            )
    return "not an image in a known format"
