"""Pixels of any depth go from black to white over the range that their file declares."""

import io
import struct
import zlib
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from frugalvit.data.checks import check
from frugalvit.data.decode import decode_array, decode_image
from frugalvit.data.prepare import prepare
from frugalvit.data.splits import assign
from frugalvit.data.store import Store
from tests.imagefolders import noise, settings, write_folder

SIDE = 64


def ramp(bits: int) -> np.ndarray:
    """Every grey of so many bits, or 4096 of them, uint16 `[64, 64]`."""
    return (
        np.linspace(0, (1 << bits) - 1, SIDE * SIDE).round().astype(np.uint16).reshape(SIDE, SIDE)
    )


def expected(bits: int) -> np.ndarray:
    return (ramp(bits) / ((1 << bits) - 1) * 255).round().astype(np.uint8)


def grey(content: bytes, **options) -> np.ndarray:
    decoded = decode_image(io.BytesIO(content), SIDE, SIDE, **options)
    assert (decoded.pixels == decoded.pixels[..., :1]).all()
    return decoded.pixels[..., 0]


def packed_tiff(values: np.ndarray) -> bytes:
    """A little-endian TIFF of 12 bits a pixel, two pixels in three bytes."""
    first, second = values.reshape(-1, 2).astype(np.uint32).T
    strip = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], 1).astype(
        np.uint8
    )
    height, width = values.shape
    tags = {256: width, 257: height, 258: 12, 259: 1, 262: 1, 273: 8, 277: 1, 278: height}
    tags[279] = strip.size
    directory = struct.pack("<H", len(tags))
    directory += b"".join(struct.pack("<HHII", tag, 4, 1, n) for tag, n in sorted(tags.items()))
    start = struct.pack("<2sHI", b"II", 42, 8 + strip.size)
    return start + strip.tobytes() + directory + bytes(4)


def png(values: np.ndarray, bits: int | None = None, clear: int | None = None) -> bytes:
    def chunk(kind, content):
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", *values.shape[::-1], 16, 0, 0, 0, 0)
    parts = [chunk(b"IHDR", header)]
    parts += [chunk(b"sBIT", bytes([bits]))] if bits is not None else []
    parts += [chunk(b"tRNS", struct.pack(">H", clear))] if clear is not None else []
    parts += [chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def tiff(values: np.ndarray, **tags) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "TIFF", tiffinfo=tags.get("tags", {}))
    return buffer.getvalue()


def test_a_tiff_of_12_bits_keeps_every_grey():
    shown = grey(packed_tiff(ramp(12)))
    assert (shown == expected(12)).all()
    assert len(np.unique(shown)) == 256


@pytest.mark.parametrize("kind", ["16 bits", "float"])
def test_a_tiff_that_counts_from_white_to_black(kind):
    turned = {
        "16 bits": lambda: tiff(65535 - ramp(16), tags={262: 0}),
        "float": lambda: tiff(1 - ramp(16).astype(np.float32) / 65535, tags={262: 0}),
    }
    assert np.abs(grey(turned[kind]()).astype(int) - expected(16)).max() <= 1


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
def test_a_png_that_declares_fewer_bits(bits):
    """The standard's way, scaled to 16 bits, and as many cameras write them."""
    scaled = (ramp(bits) * (65535 / ((1 << bits) - 1))).round().astype(np.uint16)
    shifted = ramp(bits) << (16 - bits)
    assert (grey(png(ramp(bits), bits)) == expected(bits)).all()
    assert (grey(png(scaled, bits)) == expected(bits)).all()
    assert np.abs(grey(png(shifted, bits)).astype(int) - expected(bits)).max() <= 1
    dark = scaled // 16 // (1 << (16 - bits)) * (1 << (16 - bits))
    assert grey(png(dark, bits)).max() <= 16, "scaled, and truly dark"


@pytest.mark.parametrize("bits", [None, 0, 16, 200])
def test_a_png_that_declares_nothing_less(bits):
    assert (grey(png(ramp(16), bits)) == expected(16)).all()
    assert grey(png(ramp(12), bits)).max() == 16


def test_jpeg_2000_of_12_bits():
    """Pillow writes 16 bits alone: the precision is lowered in the file, and the level with it."""
    buffer = io.BytesIO()
    Image.fromarray(ramp(12) + np.uint16(32768 - 2048)).save(buffer, "JPEG2000", no_jp2=True)
    content = buffer.getvalue()
    size = content.index(b"\xff\x51")
    assert content[size + 40] == 15, "bits of the first component, less one"
    content = content[: size + 40] + bytes([11]) + content[size + 41 :]
    assert np.abs(grey(content).astype(int) - expected(12)).max() <= 1


def test_a_transparent_grey_of_16_bits_is_white():
    values = np.full((SIDE, SIDE), 1000, np.uint16)
    values[:, :32] = 30000
    shown = grey(png(values, clear=1000))
    assert (shown[:, 32:] == 255).all()
    assert (shown[:, :32] == round(30000 / 257)).all()


def test_a_stretch_lays_its_ends_on_black_and_white():
    stretch = (0.0, 4095 / 65535)
    assert (grey(png(ramp(12)), stretch=stretch) == expected(12)).all()
    assert (grey(tiff(ramp(16).astype(np.float32) / 65535), stretch=(0, 0.5)) == 255).sum() > 2000
    dark = noise(1, 16, 16) // 4 + 64
    shown = decode_array(dark, 16, 16, stretch=(64 / 255, 127 / 255))
    assert (shown.pixels == ((dark.astype(int) - 64) * 255 / 63).round()).all()
    assert (shown.low, shown.high) == (64 / 255, 127 / 255)


SPLITS = {
    "mode": "fraction", "fraction": 0.5, "test_fraction": 0.4, "stratify": False, "seed": 0,
    "swap_train_test": False, "calibration": None, "imbalance_ratio": 10,
}  # fmt: skip


def range_check(folder: Path, photos: Path, **changes) -> dict:
    """What the split report says of the range that a folder's images use."""
    prepared = prepare(settings(path=str(photos), resize=24, crop=24, **changes), folder, folder)
    index = Store(folder).index
    splits = SPLITS | {"checks": defaultdict(lambda: "off", small_range="warn")}
    return check(index, assign(index, splits), splits, prepared)["checks"]["small_range"]


def test_a_dataset_that_uses_little_of_its_range_is_told_how_to_stretch_it(tmp_path):
    photos = write_folder(tmp_path / "photos", {"a": 6, "b": 6})
    assert range_check(tmp_path / "full", photos)["passed"]
    for number, path in enumerate(sorted(photos.rglob("*.png"))):
        path.write_bytes(png(np.roll(ramp(12), number)))
    dark = range_check(tmp_path / "dark", photos)
    assert dark["found"] == [{"used_range": [0.0, 4095 / 65535]}]
    assert dark["what"] == (
        "dataset.stretch: the images use 0 to 0.06249 of the range of values that their files "
        "declare, 17 of 256 greys; write [0, 0.06249] to have that range go from black to white"
    )
    assert len(np.unique(Store(tmp_path / "dark").images("train"))) == 17
    bright = range_check(tmp_path / "bright", photos, stretch=[0, 0.06249])
    assert bright["passed"]
    assert len(np.unique(Store(tmp_path / "bright").images("train"))) > 100
