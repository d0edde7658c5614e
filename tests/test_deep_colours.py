"""Colours of 16 bits keep all of them until they are stretched."""

import io
import struct
import zlib
from collections import defaultdict
from itertools import product

import numpy as np
import pytest

from frugalvit.data.checks import check
from frugalvit.data.decode import decode_image
from frugalvit.data.prepare import prepare
from frugalvit.data.splits import assign
from frugalvit.data.store import Store
from tests.imagefolders import settings, write_folder
from tests.test_tones import SPLITS

SIDE = 64
TWELVE = 4095 / 65535  # of the range, where a camera of 12 bits leaves its values as they are
DEFLATE = 8


def ramps(channels: int, largest: int = 4095) -> np.ndarray:
    """Colours that rise by one, turned in each channel, uint16 `[64, 64, channels]`."""
    ramp = np.linspace(0, largest, SIDE * SIDE).round().astype(np.uint16)
    turned = [np.roll(ramp, 1000 * channel) for channel in range(min(channels, 3))]
    opaque = [np.full(SIDE * SIDE, 65535, np.uint16)] * (channels - 3)
    return np.stack([*turned, *opaque], axis=-1).reshape(SIDE, SIDE, channels)


def expected(values: np.ndarray, white: int = 4095) -> np.ndarray:
    return (values[..., :3] / white * 255).round().astype(np.uint8)


def png(values: np.ndarray, clear: tuple | None = None) -> bytes:
    def chunk(kind, content):
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    height, width, channels = values.shape
    header = struct.pack(">IIBBBBB", width, height, 16, {3: 2, 4: 6}[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    parts = [chunk(b"IHDR", header)]
    parts += [chunk(b"tRNS", struct.pack(">3H", *clear))] if clear else []
    parts += [chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def tiff(values: np.ndarray, order: str, compression: int, planes: bool, turned: int = 1) -> bytes:
    """A TIFF of one strip, or of one a plane."""
    height, width, channels = values.shape
    parts = values.transpose(2, 0, 1) if planes else values[None]
    strips = [part.astype(f"{order}u2").tobytes() for part in parts]
    strips = [zlib.compress(strip) for strip in strips] if compression == DEFLATE else strips
    starts = np.cumsum([8, *map(len, strips)]).tolist()
    tags = {
        256: [width], 257: [height], 258: [16] * channels, 259: [compression], 262: [2],
        273: starts[:-1], 274: [turned], 277: [channels], 278: [height], 279: list(map(len, strips)),
        284: [2 if planes else 1], **({338: [2]} if channels == 4 else {}),
    }  # fmt: skip
    short, entries, beyond = {258, 259, 262, 274, 277, 284, 338}, b"", b""
    for tag, numbers in sorted(tags.items()):
        kind = "H" if tag in short else "I"
        content = struct.pack(f"{order}{len(numbers)}{kind}", *numbers)
        if len(content) > 4:
            beyond += content
            content = struct.pack(f"{order}I", starts[-1] + len(beyond) - len(content))
        entries += struct.pack(f"{order}HHI", tag, 3 if kind == "H" else 4, len(numbers))
        entries += content.ljust(4, b"\0")
    head = struct.pack(
        f"{order}2sHI", b"II" if order == "<" else b"MM", 42, starts[-1] + len(beyond)
    )
    directory = struct.pack(f"{order}H", len(tags)) + entries + bytes(4)
    return head + b"".join(strips) + beyond + directory


FILES = {
    "png": png,
    **{
        f"tiff {order} {compression} {'planes' if planes else 'pixels'}": (
            lambda values, how=(order, compression, planes): tiff(values, *how)
        )
        for order, compression, planes in product("<>", (1, DEFLATE), (False, True))
        if not (compression == DEFLATE and planes)
    },
}


def decoded(content: bytes, **options):
    return decode_image(io.BytesIO(content), SIDE, SIDE, **options)


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("name", FILES)
def test_12_bits_in_colours_of_16_keep_every_step_that_8_bits_have(name, channels):
    content = FILES[name](ramps(channels))
    found = decoded(content, stretch=(0, TWELVE))
    assert (found.pixels == expected(ramps(channels))).all()
    assert (found.low, found.high) == (0, TWELVE)
    assert len(np.unique(decoded(content).pixels)) == 17, "without a stretch, as dark as they are"
    assert (decoded(FILES[name](ramps(channels, 65535))).pixels
            == expected(ramps(channels, 65535), 65535)).all()  # fmt: skip


def test_of_compressed_planes_the_upper_8_bits_are_kept():
    values = ramps(3, 65535)
    found = decoded(tiff(values, "<", DEFLATE, True))
    assert (found.pixels == values >> 8).all()


def test_transparent_colours_of_16_bits_are_laid_on_white():
    values = ramps(4)
    values[:32, :, 3] = 0
    values[32:, :32, 3] = 32896
    found = decoded(png(values), stretch=(0, TWELVE)).pixels.astype(int)
    own = expected(values).astype(int)
    assert (found[:32] == 255).all()
    assert np.abs(found[32:, :32] - (own + 255)[32:, :32] / 2).max() <= 1.5
    assert (found[32:, 32:] == own[32:, 32:]).all()
    plain = ramps(3)
    found = decoded(png(plain, clear=tuple(plain[5, 5].tolist())), stretch=(0, TWELVE)).pixels
    where = (plain == plain[5, 5]).all(axis=-1)
    assert (found[where] == 255).all()
    assert (found[~where] == expected(plain)[~where]).all()


def test_deep_colours_are_turned_once():
    values = ramps(3)
    upright = decoded(tiff(np.rot90(values).copy(), "<", 1, False, turned=6), stretch=(0, TWELVE))
    assert (upright.pixels == expected(values)).all()


def test_a_file_is_read_by_its_path_too(tmp_path):
    path = tmp_path / "photo.tif"
    path.write_bytes(tiff(ramps(3), "<", DEFLATE, False))
    found = decode_image(path, SIDE, SIDE, stretch=(0, TWELVE))
    assert (found.pixels == expected(ramps(3))).all()


def test_a_dataset_of_dark_deep_colours_is_told_how_to_stretch_it_and_keeps_its_steps(tmp_path):
    photos = write_folder(tmp_path / "photos", {"a": 6, "b": 6})
    for number, path in enumerate(sorted(photos.rglob("*.png"))):
        path.write_bytes(png(np.roll(ramps(3), number, axis=0)))
    steps = {}
    for name, changes in (("dark", {}), ("bright", {"stretch": [0, 0.06249]})):
        folder = tmp_path / name
        report = prepare(settings(path=str(photos), resize=64, crop=64, **changes), folder, folder)
        index = Store(folder).index
        splits = SPLITS | {"checks": defaultdict(lambda: "off", small_range="warn")}
        told = check(index, assign(index, splits), splits, report)["checks"]["small_range"]
        assert told["passed"] == (name == "bright")
        steps[name] = len(np.unique(Store(folder).images("train")))
    assert steps == {"dark": 17, "bright": 256}
