"""Files as grey or RGB pixels."""

import warnings
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
