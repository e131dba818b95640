"""Files as grey or RGB pixels."""

import warnings
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from radstart.ingest.readers import Unreadable, raster, read_raster

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (6, 9), dtype=np.uint8)
RGB = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)


def saved(folder, image, name="x.png", **options):
    path = folder / name
    image.save(path, **options)
    return path


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


def test_pages_of_a_tiff_are_images(tmp_path):
    pages = [Image.fromarray(GREY[: 3 + i]) for i in range(3)]
    path = saved(tmp_path, pages[0], "x.tif", save_all=True, append_images=pages[1:])
    assert raster.scan(path).images == 3
    frames = list(raster.frames(path, [2, 0]))
    assert [frame.index for frame in frames] == [2, 0]
    assert np.array_equal(frames[0].values, GREY[:5])
    assert frames[0].limits == (0, 255)
    with pytest.raises(Unreadable, match="fewer pages"):
        list(raster.frames(path, [3]))


def test_a_ring_of_pages_ends(tmp_path):
    path = saved(tmp_path, Image.fromarray(GREY), "x.tif")
    content = bytearray(path.read_bytes())
    at = int.from_bytes(content[4:8], "little")
    after = at + 2 + 12 * int.from_bytes(content[at : at + 2], "little")
    content[after : after + 4] = content[4:8]
    path.write_bytes(content)
    assert raster.scan(path).images == 1


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_white_is_zero(tmp_path, kind):
    import tifffile

    values = RNG.integers(0, np.iinfo(kind).max, (6, 9)).astype(kind)
    for photometric, expected in (("minisblack", values), ("miniswhite", ~values)):
        path = tmp_path / f"{photometric}.tif"
        tifffile.imwrite(path, values, photometric=photometric)
        assert np.array_equal(read_raster(path), expected)


@pytest.mark.parametrize("kind", [OSError, ValueError, SyntaxError])
def test_what_the_decoder_says_is_not_told(tmp_path, monkeypatch, kind):
    def fail(image):
        raise kind("chunk of Hans Meier")

    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "a.png")
    monkeypatch.setattr(raster, "_pixels", fail)
    with pytest.raises(Unreadable, match="broken") as caught:
        read_raster(tmp_path / "a.png")
    assert "Meier" not in f"{caught.value.reason} {caught.value.remedy}"
