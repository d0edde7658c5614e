"""Any image file becomes one square of 8-bit RGB: short side resized, centre cropped."""

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from frugalvit.errors import DataError

# Named, so that no file reaches a decoder that starts a program (EPS: Ghostscript).
FORMATS = (
    "JPEG", "MPO", "PNG", "GIF", "BMP", "DIB", "TIFF", "WEBP", "PPM", "JPEG2000", "AVIF",
)  # fmt: skip
# Draft decoding leaves at least this many times the final size, as Pillow's own thumbnail does.
_DRAFT_GAP = 2
_ORIENTATION = 0x0112
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
    """A square of the store and the upright image's size before it was resized."""

    pixels: np.ndarray  # uint8 [crop, crop, 3]
    width: int
    height: int


def decode_image(
    file: BinaryIO | Path, resize: int, crop: int, max_pixels: int = 100_000_000
) -> Decoded:
    """Decode an image file: short side to `resize` px (antialiased), centre `crop` px, RGB.

    Transparency is laid on white, 16-bit pixels are scaled to 8, EXIF rotation is applied, of an
    animation the first frame counts.

    Raises:
        DataError: the reason in a few words (no file name: the caller knows it).
    """
    try:
        with _bomb_limit(max_pixels), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # malformed EXIF, palette transparency
            with Image.open(file, formats=_available_formats()) as image:
                return _decode(image, resize, crop, max_pixels)
    except DataError:
        raise
    except Image.DecompressionBombError as error:
        raise DataError(f"more than {max_pixels} pixels (dataset.max_pixels)") from error
    except UnidentifiedImageError as error:
        empty = _is_empty(file)
        raise DataError("empty file" if empty else "not an image in a known format") from error
    except Exception as error:  # decoders raise whatever a damaged byte leads them to
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"damaged image: {reason}") from error


def decode_array(pixels: np.ndarray, resize: int, crop: int) -> Decoded:
    """The same square from pixels in memory: uint8 `[h, w]` or `[h, w, 3]`."""
    height, width = pixels.shape[:2]
    square = _square(Image.fromarray(pixels).convert("RGB"), resize, crop)
    return Decoded(np.asarray(square), width, height)


def box_in_square(
    box: tuple[float, float, float, float], width: int, height: int, resize: int, crop: int
) -> tuple[float, float, float, float] | None:
    """Move a box from fractions of the image to fractions of the stored square.

    Cut at the square's edges; None when nothing of the box is left.
    """
    left, top, side = _window(width, height, resize, crop)
    x0, x1 = (min(max((x * width - left) / side, 0.0), 1.0) for x in box[::2])
    y0, y1 = (min(max((y * height - top) / side, 0.0), 1.0) for y in box[1::2])
    return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None


def _decode(image: Image.Image, resize: int, crop: int, max_pixels: int) -> Decoded:
    width, height = image.size
    if width * height > max_pixels:
        raise DataError(f"{width} x {height} pixels are more than dataset.max_pixels, {max_pixels}")
    turn = _turn(image)
    image.draft(None, (_DRAFT_GAP * resize, _DRAFT_GAP * resize))
    image.load()
    picture = _rgb(image)
    if turn is not None:
        picture = picture.transpose(turn)
        if turn >= Image.Transpose.ROTATE_90 and turn != Image.Transpose.ROTATE_180:
            width, height = height, width
    return Decoded(np.asarray(_square(picture, resize, crop)), width, height)


def _turn(image: Image.Image) -> Image.Transpose | None:
    """What makes the image upright; a damaged EXIF block is no reason to refuse the pixels."""
    with contextlib.suppress(Exception):
        return _TURNS.get(image.getexif().get(_ORIENTATION, 0))
    return None


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        return _grey(np.asarray(image), 65535)
    if image.mode in {"I", "F"}:
        return _deep_grey(np.asarray(image))
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")


def _deep_grey(values: np.ndarray) -> Image.Image:
    """32-bit pixels: integers in the 16-bit range (Pillow's own use of them), floats in 0..1."""
    integers = np.issubdtype(values.dtype, np.integer)
    largest = 65535 if integers else 1.0
    if not (values.min() >= 0 and values.max() <= largest):
        known = "0..65535" if integers else "0..1"
        raise DataError(f"32-bit pixels outside {known}: convert the image to 8 or 16 bits")
    return _grey(values, largest)


def _grey(values: np.ndarray, largest: float) -> Image.Image:
    scaled = (values.astype(np.float32) * (255 / largest)).round().astype(np.uint8)
    return Image.fromarray(scaled).convert("RGB")


def _square(image: Image.Image, resize: int, crop: int) -> Image.Image:
    left, top, side = _window(*image.size, resize, crop)
    if side == crop:
        return image.crop((left, top, left + crop, top + crop))
    # Crop and resize in one step: a strip 1 px high is never blown up to its full length.
    box = (left, top, left + side, top + side)
    return image.resize((crop, crop), Image.Resampling.BILINEAR, box=box)


def _window(width: int, height: int, resize: int, crop: int) -> tuple[int, int, float]:
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


def _is_empty(file: BinaryIO | Path) -> bool:
    if isinstance(file, Path):
        return file.stat().st_size == 0
    return file.seek(0, 2) == 0
