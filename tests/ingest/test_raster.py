"""Files as grey or RGB pixels."""

import struct
import warnings
import zlib
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from radstart.ingest.readers import Unreadable, read_raster

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (6, 9), dtype=np.uint8)
RGB = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)


def saved(folder, image, name="x.png", **options):
    path = folder / name
    image.save(path, **options)
    return path


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "webp"])
def test_lossless_formats(tmp_path, suffix):
    path = saved(tmp_path, Image.fromarray(RGB), f"x.{suffix}", lossless=True)
    np.testing.assert_array_equal(read_raster(path), RGB)


def test_grey_stored_as_rgb_is_grey(tmp_path):
    path = saved(tmp_path, Image.fromarray(np.repeat(GREY[..., None], 3, axis=2)))
    np.testing.assert_array_equal(read_raster(path), GREY)


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("dtype", ["<u2", ">u2"])
def test_16_bit_stays(tmp_path, suffix, dtype):
    deep = (GREY.astype(np.uint16) * 200 + 3).astype(dtype)
    if suffix == "tif" and dtype == ">u2":
        image = Image.frombytes("I;16B", (9, 6), deep.tobytes())
    else:
        image = Image.fromarray(deep.astype("<u2"))
    pixels = read_raster(saved(tmp_path, image, f"x.{suffix}"))
    assert pixels.dtype == np.uint16
    np.testing.assert_array_equal(pixels, deep)


def test_whole_numbers_beyond_16_bits_and_floats_are_refused(tmp_path):
    wide = Image.fromarray(GREY.astype(np.int32) * 1000)
    floats = Image.fromarray(GREY.astype(np.float32))
    for name, image in (("wide.tif", wide), ("float.tif", floats)):
        with pytest.raises(Unreadable, match=r"whole numbers outside|floating-point"):
            read_raster(saved(tmp_path, image, name))


def test_palette_transparency_alpha_and_one_bit(tmp_path):
    image = Image.fromarray(RGB).quantize(16)
    wanted = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(read_raster(saved(tmp_path, image, "p.png")), wanted)
    see_through = saved(tmp_path, image, "t.png", transparency=bytes(range(16)))
    np.testing.assert_array_equal(read_raster(see_through), wanted)
    alpha = Image.fromarray(np.dstack([RGB, GREY]))
    np.testing.assert_array_equal(read_raster(saved(tmp_path, alpha, "a.png")), RGB)
    grey_alpha = Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(255 - GREY)])
    np.testing.assert_array_equal(read_raster(saved(tmp_path, grey_alpha, "la.png")), GREY)
    bits = saved(tmp_path, Image.fromarray(GREY > 127), "b.png")
    np.testing.assert_array_equal(read_raster(bits), np.where(GREY > 127, 255, 0))


def test_cmyk(tmp_path):
    flat = Image.new("RGB", (16, 16), (200, 40, 90))
    path = saved(tmp_path, flat.convert("CMYK"), "c.jpg", quality=100)
    assert np.abs(read_raster(path).astype(int) - np.array([200, 40, 90])).max() < 6


@pytest.mark.parametrize("deep", [False, True])
def test_exif_orientation(tmp_path, deep):
    exif = Image.Exif()
    exif[0x0112] = 6
    values = GREY.astype(np.uint16) * 100 if deep else GREY
    path = saved(tmp_path, Image.fromarray(values), "r.png", exif=exif)
    np.testing.assert_array_equal(read_raster(path), np.rot90(values, -1))


def png_that_claims(side):
    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty file"),
        (b"hello", "not an image"),
        (png_that_claims(60_000), "million pixels"),
        (png_that_claims(11_000), "claims 11000 x 11000 pixels"),
        (png_that_claims(50), "truncated|broken"),
    ],
)
def test_bad_files_have_a_reason(tmp_path, content, words):
    path = tmp_path / "x.png"
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(Unreadable, match=words):
            read_raster(path)


def test_missing_folders_and_animations(tmp_path):
    with pytest.raises(Unreadable, match="no such file"):
        read_raster(tmp_path / "no.png")
    with pytest.raises(Unreadable, match="not a file"):
        read_raster(tmp_path)
    frames = [Image.fromarray(GREY), Image.fromarray(255 - GREY)]
    for name in ("a.gif", "a.png", "a.tif", "a.webp"):
        path = saved(tmp_path, frames[0], name, save_all=True, append_images=frames[1:])
        with pytest.raises(Unreadable, match="animated"):
            read_raster(path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    big = Image.fromarray(RNG.integers(0, 256, (40, 40), dtype=np.uint8))
    return [saved(folder, big, f"x.{suffix}").read_bytes() for suffix in ("png", "jpg", "tif")]


@settings(deadline=None, max_examples=120)
@given(st.integers(0, 2), st.floats(0, 1), st.binary(min_size=1, max_size=6), st.booleans())
def test_broken_bytes_never_escape(tmp_path_factory, whole, which, where, garbage, cut):
    content = whole[which]
    at = int(where * len(content))
    path = tmp_path_factory.getbasetemp() / "broken.bin"
    path.write_bytes(content[:at] if cut else content[:at] + garbage + content[at + 6 :])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with suppress(Unreadable):
            assert read_raster(path).dtype in (np.uint8, np.uint16)
