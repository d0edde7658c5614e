"""Whatever an image file holds: one square of the store, or one line; never a traceback."""

import io
import re
import struct
import tempfile
import zlib
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from frugalvit.data.decode import decode_image
from frugalvit.data.jpeg_scans import MAX_SCANS
from frugalvit.data.prepare import prepare
from frugalvit.errors import DataError
from tests.imagefolders import noise, settings, write_folder
from tests.memory import at_most
from tests.properties import examples

MAX_PIXELS = 200_000
SIDE = 16
MOST_MEMORY = 300_000  # kB that no file here may add, whatever sizes it claims
# Format, mode and how it is written.
KINDS = [
    ("JPEG", "RGB", {}), ("JPEG", "L", {"progressive": True}), ("JPEG", "CMYK", {}),
    ("PNG", "RGB", {}), ("PNG", "P", {"transparency": 3}), ("PNG", "LA", {}), ("PNG", "I;16", {}),
    ("GIF", "P", {}), ("GIF", "RGB", {"save_all": True}),
    ("WEBP", "RGB", {}), ("WEBP", "RGBA", {"lossless": True}),
    ("TIFF", "RGB", {"compression": "tiff_lzw"}), ("TIFF", "I;16", {}), ("TIFF", "F", {}),
    ("TIFF", "L", {"compression": "jpeg"}), ("TIFF", "1", {"compression": "group4"}),
    ("BMP", "RGB", {}), ("BMP", "P", {}), ("BMP", "1", {}),
]  # fmt: skip
# Numbers that make sizes, counts and offsets absurd.
ODD = [
    b"\xff" * 4,
    b"\0" * 4,
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\0\0\xff\xff",
    b"\1\0\0\0",
]


@cache
def whole(kind: int) -> bytes:
    """An intact image file with an EXIF block where its format has one."""
    format, mode, options = KINDS[kind]
    pixels = Image.fromarray(noise(kind, 30, 40))
    picture = pixels.convert("L").convert(mode) if mode in {"I;16", "F"} else pixels.convert(mode)
    if mode == "F":
        picture = Image.fromarray(np.asarray(picture) / np.float32(255))
    if "save_all" in options:
        options = options | {"append_images": [Image.fromarray(noise(1, 30, 40))]}
    if format in {"JPEG", "PNG", "WEBP", "TIFF"}:
        exif = Image.Exif()
        exif[0x0112] = 6
        options = options | {"exif": exif}
    buffer = io.BytesIO()
    picture.save(buffer, format, **options)
    return buffer.getvalue()


def mutated(content: bytes, changes, kept: float) -> bytes:
    """A file with bytes replaced, taken out or put in, and perhaps cut."""
    file = bytearray(content)
    for kind, place, value in changes:
        at = int(place * (len(file) - 1))
        if kind == "replace":
            file[at : at + len(value)] = value
        elif kind == "remove":
            del file[at : at + len(value)]
        else:
            file[at:at] = value
    return bytes(file[: int(kept * len(file))] if kept < 0.5 else file)


# Most of what a header says stands in the first hundred bytes of these files, or in the last.
PLACES = st.one_of(st.floats(0, 1), st.floats(0, 0.08), st.floats(0.9, 1))
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["replace", "replace", "replace", "remove", "insert"]),
        PLACES,
        st.one_of(st.binary(min_size=1, max_size=4), st.sampled_from(ODD)),
    ),
    min_size=1,
    max_size=6,
)
FILES = st.builds(mutated, st.integers(0, len(KINDS) - 1).map(whole), CHANGES, st.floats(0, 8))


def test_the_files_are_good_before_they_are_changed():
    for kind in range(len(KINDS)):
        assert not tried(whole(kind))


def tried(content: bytes, max_pixels: int = MAX_PIXELS) -> str:
    """The error of one image, empty where it is decoded to what the store holds."""
    try:
        with at_most(MOST_MEMORY):
            result = decode_image(io.BytesIO(content), SIDE, SIDE, max_pixels)
    except DataError as error:
        assert str(error)
        assert "\n" not in str(error)
        return str(error)
    assert (result.pixels.shape, result.pixels.dtype) == ((SIDE, SIDE, 3), np.uint8)
    assert 0 < result.width * result.height <= max_pixels
    assert 0 <= result.low <= result.high <= 1
    return ""


@examples(900)
@given(FILES)
def test_a_changed_image_is_decoded_or_one_line(content):
    tried(content)


@examples(40)
@given(st.lists(FILES, min_size=1, max_size=5))
def test_a_folder_of_changed_images_lists_each_that_is_bad(contents):
    with tempfile.TemporaryDirectory() as folder:
        photos = write_folder(Path(folder, "photos"), {"a": 2, "b": 2})
        for number, content in enumerate(contents):
            (photos / "a" / f"changed_{number}.jpg").write_bytes(content)
        dataset = settings(path=str(photos), max_pixels=MAX_PIXELS, skip_bad_images=True)
        report = prepare(dataset, folder, Path(folder, "store"))
        assert report["images"]["train"] + len(report["skipped"]) == 4 + len(contents)
        assert all(bad["error"] and "\n" not in bad["error"] for bad in report["skipped"])
        assert {bad["file"] for bad in report["skipped"]} == {
            f"a/changed_{number}.jpg" for number, content in enumerate(contents) if tried(content)
        }


def chunk(kind: bytes, content: bytes) -> bytes:
    body = kind + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


def png(width: int, height: int, *extra: bytes, pixels: bytes = bytes(2000)) -> bytes:
    """An RGBA file with further chunks before its pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0))
    end = chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + end


def gif(width: int, height: int, *frame: int) -> bytes:
    """One frame of a size of its own, almost without content."""
    screen = struct.pack("<HH", width, height) + b"\x80\0\0" + bytes(6)
    return b"GIF89a" + screen + b"," + struct.pack("<HHHHB", 0, 0, *frame, 0) + b"\2\2\x4c\1\0;"


def bmp(side: int, bits: int, compression: int) -> bytes:
    shape = struct.pack("<IiiHHIIIIII", 40, side, side, 1, bits, compression, 0, 0, 0, 256, 0)
    palette = bytes(1024 if bits == 8 else 0)
    start = struct.pack("<2sIHHI", b"BM", 200, 0, 0, 54 + len(palette))
    return start + shape + palette + bytes(60)


def tiff(side: int, compression: int, strip_bytes: int, count: int = 1) -> bytes:
    tags = [(256, 1, side), (257, 1, side), (258, 1, 8), (259, 1, compression), (262, 1, 1)]
    tags += [(273, count, 8), (278, 1, side), (279, count, strip_bytes)]
    entries = b"".join(struct.pack("<HHII", tag, 4, n, value) for tag, n, value in tags)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(400)


@cache
def jpeg_of_scans(number: int) -> bytes:
    """A progressive picture of 0.2 megapixels whose last scan comes `number` times more."""
    buffer = io.BytesIO()
    Image.new("L", (400, 400), 90).save(buffer, "JPEG", progressive=True)
    content = buffer.getvalue()
    last = content[content.rindex(b"\xff\xda") : -2]
    return content[:-2] + number * last + content[-2:]


def jpeg_of_size(width: int, height: int) -> bytes:
    content = whole(0)
    return re.sub(
        rb"(\xff\xc0...)....",
        lambda found: found[1] + struct.pack(">HH", height, width),
        content,
        count=1,
        flags=re.DOTALL,
    )[: len(content) // 2]


BLOWN_UP = zlib.compress(bytes(30_000_000))
TEXT = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(1_000_000)))
FAR_TOO_LARGE = 20_000  # px, the side of 400 megapixels
JUST_ALLOWED = 9_990
BOMBS = {
    "png of 400 megapixels": png(FAR_TOO_LARGE, FAR_TOO_LARGE),
    "png with few of 100 megapixels": png(JUST_ALLOWED, JUST_ALLOWED),
    "png text": png(20, 20, chunk(b"zTXt", b"a\0\0" + BLOWN_UP)),
    "png international text": png(20, 20, chunk(b"iTXt", b"a\0\1\0\0\0" + BLOWN_UP)),
    "png colour profile": png(20, 20, chunk(b"iCCP", b"a\0\0" + BLOWN_UP)),
    "png many texts": png(20, 20, *[TEXT] * 100),
    "gif with few of 100 megapixels": gif(65_000, 1_500, 65_000, 1_500),
    "gif frame beyond its screen": gif(20, 20, 60_000, 60_000),
    "bmp with few of 100 megapixels": bmp(JUST_ALLOWED, 24, 0),
    "bmp, run lengths": bmp(JUST_ALLOWED, 8, 1),
    "tiff with few of 100 megapixels": tiff(JUST_ALLOWED, 1, JUST_ALLOWED**2),
    "tiff, packed": tiff(JUST_ALLOWED, 5, 1 << 31),
    "tiff of billions of strips": tiff(20, 1, 8, 1 << 31),
    "webp of 180 megapixels": b"RIFF" + struct.pack("<I", 100) + b"WEBPVP8X"
    + struct.pack("<I", 10) + bytes(4) + b"\xff\x3f\0" + b"\xff\x2a\0" + bytes(80),
    "jpeg with few of 100 megapixels": jpeg_of_size(JUST_ALLOWED, JUST_ALLOWED),
    "jpeg of 400 megapixels": jpeg_of_size(FAR_TOO_LARGE, FAR_TOO_LARGE),
    "jpeg of many scans": jpeg_of_scans(MAX_SCANS),
    "netpbm with few of 100 megapixels": b"P6 9990 9990 255\n" + bytes(30),
}  # fmt: skip


@pytest.mark.parametrize("kind", BOMBS)
def test_a_file_that_claims_more_than_it_holds_is_one_line_in_little_memory(kind):
    assert len(BOMBS[kind]) < 200_000
    assert tried(BOMBS[kind], max_pixels=100_000_000)


def test_the_scans_of_a_jpeg_are_counted_and_not_what_looks_like_one():
    many = f"{MAX_SCANS + 6} scans, more than {MAX_SCANS}"
    assert tried(jpeg_of_scans(MAX_SCANS)).startswith(many)
    assert not tried(jpeg_of_scans(20))
    marker = b"\xff\xda" * (MAX_SCANS + 1)
    plain = whole(0)
    remark = b"\xff\xfe" + struct.pack(">H", 2 + len(marker)) + marker
    assert not tried(plain[:2] + remark + plain[2:] + marker), "in a remark, and behind the picture"
