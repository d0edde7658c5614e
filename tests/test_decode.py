"""Every kind of image file becomes the square it shows; a bad one says why it is bad."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from frugalvit.data.decode import box_in_square, decode_array, decode_image
from frugalvit.errors import DataError
from tests.imagefolders import noise

RED, GREY = (200, 30, 30), 90


def saved(image, format="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    buffer.seek(0)
    return buffer


def decoded(image, format="PNG", resize=16, crop=16, **options):
    return decode_image(saved(image, format, **options), resize, crop).pixels


def flat(colour, size=(40, 30)):
    return Image.new("RGB", size, colour)


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "WEBP", "PPM", "GIF", "JPEG2000"])
def test_common_formats_keep_their_colour(format):
    options = {"lossless": True} if format == "WEBP" else {}
    pixels = decoded(flat(RED), format, **options)
    assert pixels.shape == (16, 16, 3)
    assert pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - RED).max() <= 1


def test_grayscale_becomes_three_equal_channels():
    assert (decoded(Image.new("L", (40, 30), GREY)) == GREY).all()
    assert (decoded(Image.new("1", (40, 30), 1)) == 255).all()


def test_cmyk_jpeg():
    pixels = decoded(flat(RED).convert("CMYK"), "JPEG", quality=95)
    assert np.abs(pixels.astype(int) - RED).max() <= 6


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_16_bits_are_scaled_not_cut(format):
    values = np.full((30, 40), GREY * 257, dtype=np.uint16)
    assert (decoded(Image.fromarray(values), format) == GREY).all()


def test_shapes_and_modes_out_of_the_ordinary():
    """Each is decoded to what it shows."""
    assert (decoded(Image.new("LA", (9, 1), (GREY, 255)), "TIFF") == GREY).all()
    # Tag 338, what the other channel is: alpha that is multiplied in already.
    entry = struct.pack("<HHI", 338, 3, 1)
    plain = saved(Image.new("LA", (9, 9), (GREY, 255)), "TIFF").getvalue()
    assert plain.count(entry + b"\2\0") == 1
    premultiplied = plain.replace(entry + b"\2\0", entry + b"\1\0")
    assert (decode_image(io.BytesIO(premultiplied), 16, 16).pixels == GREY).all()
    assert (decoded(Image.new("PA", (9, 9)), "TIFF") == 255).all()
    assert (decoded(Image.new("CMYK", (9, 9), (0, 0, 0, 0)), "TIFF") == 255).all()
    assert np.abs(decoded(flat(RED).convert("YCbCr"), "TIFF").astype(int) - RED).max() <= 2
    big_endian = Image.fromarray(np.full((9, 9), GREY * 257, ">u2"))
    assert big_endian.mode == "I;16B" and (decoded(big_endian, "TIFF") == GREY).all()
    assert decoded(flat(RED, (1, 4000)), "GIF").shape == (16, 16, 3)


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (0, 0)])
def test_a_picture_without_pixels_is_one_line(size):
    def chunk(kind, content):
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", *size, 8, 2, 0, 0, 0)
    files = {
        "PNG": b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")),
        "PPM": b"P6 %d %d 255\n" % size,
        "GIF": b"GIF89a" + struct.pack("<HH", *size) + b"\0\0\0;",
    }
    for content in files.values():
        with pytest.raises(DataError) as caught:
            decode_image(io.BytesIO(content), 16, 16)
        assert "\n" not in str(caught.value)


def test_16_bit_netpbm():
    content = b"P5 20 20 65535\n" + struct.pack(">H", GREY * 257) * 400
    assert (decode_image(io.BytesIO(content), 16, 16).pixels == GREY).all()


def test_float_pixels_in_the_unit_range():
    assert (decoded(Image.new("F", (20, 20), 1.0), "TIFF") == 255).all()
    with pytest.raises(DataError, match="32-bit pixels outside"):
        decoded(Image.new("F", (20, 20), 300.0), "TIFF")
    holed = np.full((20, 20), 0.5, dtype=np.float32)
    for hole in (np.nan, np.inf):
        holed[3, 3] = hole
        with pytest.raises(DataError, match="32-bit pixels not finite"):
            decoded(Image.fromarray(holed), "TIFF")


def test_transparency_is_laid_on_white():
    assert (decoded(Image.new("RGBA", (40, 30), (0, 0, 0, 0))) == 255).all()
    assert (decoded(Image.new("LA", (40, 30), (0, 0))) == 255).all()
    half = decoded(Image.new("RGBA", (40, 30), (0, 0, 0, 128)))
    assert np.abs(half.astype(int) - 127).max() <= 1


def test_palette_with_a_transparent_colour():
    image = Image.new("P", (40, 30), 1)
    image.putpalette([10, 20, 30, 200, 30, 30] + [0] * 762)
    assert (decoded(image) == RED).all()
    assert (decoded(image, transparency=1) == 255).all()


def test_of_an_animation_the_first_frame_counts():
    frames = [flat((0, 0, 250)), flat(RED)]
    for format in ("GIF", "WEBP", "PNG", "TIFF"):
        options = {"lossless": True} if format == "WEBP" else {}
        pixels = decoded(frames[0], format, save_all=True, append_images=frames[1:], **options)
        assert np.abs(pixels.astype(int) - (0, 0, 250)).max() <= 2


ORIENTED = [
    ("JPEG", {"quality": 95}),
    ("MPO", {"quality": 95}),
    ("PNG", {}),
    ("TIFF", {}),
    ("TIFF", {"compression": "tiff_lzw"}),
    ("TIFF", {"compression": "jpeg", "quality": 95}),
    ("WEBP", {"lossless": True}),
    ("AVIF", {"quality": 95}),
]


@pytest.mark.parametrize("from_path", [False, True], ids=["open file", "path"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("format", "options"), ORIENTED, ids=lambda value: value if isinstance(value, str) else ""
)
def test_an_orientation_gives_the_upright_picture(
    tmp_path, format, options, orientation, from_path
):
    """A viewer turns each stored file into the same upright picture: red above, blue below left."""
    if format not in Image.SAVE and format not in Image.SAVE_ALL:
        pytest.skip(f"this Pillow writes no {format}")
    upright = np.zeros((64, 48, 3), dtype=np.uint8)
    upright[:32], upright[32:, :32] = RED, (0, 0, 250)
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = Image.fromarray(np.ascontiguousarray(stored[orientation]))
    file = saved(picture, format, exif=exif, **options)
    if from_path:
        (tmp_path / "image").write_bytes(file.getvalue())
        file = tmp_path / "image"
    result = decode_image(file, 48, 48)
    assert (result.width, result.height) == (48, 64)
    different = np.abs(result.pixels.astype(int) - upright[8:56])
    if options.get("quality"):
        assert different.mean() < 5
    else:
        assert not different.any()


def test_a_damaged_exif_block_does_not_cost_the_image():
    buffer = saved(flat(RED), "JPEG", quality=95, exif=b"Exif\0\0II*\0\xff\xff\xff\xff garbage")
    assert decode_image(buffer, 16, 16).pixels.shape == (16, 16, 3)


def test_the_right_size_is_cut_and_not_resampled():
    pixels = noise(0, 33, 48)
    result = decode_image(saved(Image.fromarray(pixels)), 33, 32).pixels
    assert (result == pixels[0:32, 8:40]).all()


def test_resizing_is_antialiased_and_central():
    stripes = np.zeros((320, 640, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    stripes[:, :160] = RED
    result = decode_image(saved(Image.fromarray(stripes)), 32, 32).pixels
    assert np.abs(result.astype(int)[:, 2:] - 128).max() <= 3


@pytest.mark.parametrize("size", [(3000, 2), (2, 3000), (1, 1)])
def test_a_strip_is_not_blown_up_to_its_length(size):
    result = decode_image(saved(flat(RED, size)), 256, 224)
    assert (result.pixels == RED).all()


def test_draft_decoding_shows_the_same_picture():
    ramp = np.linspace(0, 255, 1600).astype(np.uint8)
    picture = Image.fromarray(np.repeat(np.tile(ramp, (1200, 1))[..., None], 3, axis=2))
    exact = decoded(picture, "PNG", 64, 64).astype(int)
    quick = decoded(picture, "JPEG", 64, 64, quality=95).astype(int)
    assert np.abs(exact - quick).max() <= 3


def damaged():
    whole = saved(Image.fromarray(noise(1, 200, 200)), "JPEG").getvalue()
    png = saved(Image.fromarray(noise(1, 50, 50))).getvalue()
    return {
        "empty": b"",
        "text": b"<html>not found</html>",
        "one byte": b"\1",
        "jpeg cut": whole[: len(whole) // 2],
        "jpeg header only": whole[:100],
        "png cut": png[: len(png) // 2],
        "png without pixels": png[:33],
        "tiff cut": saved(Image.fromarray(noise(1, 50, 50)), "TIFF").getvalue()[:300],
        "gif cut": saved(flat(RED), "GIF").getvalue()[:30],
        "script": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
    }


@pytest.mark.parametrize("kind", damaged())
def test_a_bad_file_gives_one_line(kind):
    with pytest.raises(DataError) as caught:
        decode_image(io.BytesIO(damaged()[kind]), 16, 16)
    assert str(caught.value)
    assert "\n" not in str(caught.value)
    assert (kind == "empty") == (str(caught.value) == "empty file")


def test_a_known_format_of_unknown_pixels_is_named():
    whole = saved(Image.fromarray(noise(1, 20, 20)[..., 0]), "TIFF").getvalue()
    # Tag 258, type short, one value: 8 bits a pixel become 10, which Pillow does not read.
    entry = struct.pack("<HHI", 258, 3, 1)
    assert whole.count(entry + struct.pack("<H", 8)) == 1
    ten = whole.replace(entry + struct.pack("<H", 8), entry + struct.pack("<H", 10))
    with pytest.raises(DataError, match=r"^a TIFF file that is damaged, or of a kind of pixels"):
        decode_image(io.BytesIO(ten), 16, 16)


def test_a_bomb_is_refused_before_it_is_decoded():
    def chunk(kind, content):
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(999)))
    with pytest.raises(DataError, match="max_pixels"):
        decode_image(io.BytesIO(bomb), 16, 16)
    with pytest.raises(DataError, match="max_pixels"):
        decode_image(saved(flat(RED, (200, 100))), 16, 16, max_pixels=19_999)
    assert decode_image(saved(flat(RED, (200, 100))), 16, 16, max_pixels=20_000)


def test_pillow_is_left_as_it_was():
    before = Image.MAX_IMAGE_PIXELS
    decode_image(saved(flat(RED)), 16, 16, max_pixels=5000)
    assert before == Image.MAX_IMAGE_PIXELS


def test_pixels_in_memory():
    pixels = noise(3, 16, 16)
    assert (decode_array(pixels, 16, 16).pixels == pixels).all()
    assert decode_array(pixels[..., 0], 32, 24).pixels.shape == (24, 24, 3)


def test_a_box_moves_with_the_crop():
    assert box_in_square((0.25, 0, 0.75, 1), 200, 100, 64, 64) == (0, 0, 1, 1)
    assert box_in_square((0.5, 0.5, 1, 1), 200, 100, 64, 64) == (0.5, 0.5, 1, 1)
    assert box_in_square((0, 0, 0.2, 1), 200, 100, 64, 64) is None
    assert box_in_square((0.5, 0.5, 0.6, 0.6), 100, 100, 64, 32) == pytest.approx(
        (0.5, 0.5, 0.7, 0.7)
    )
