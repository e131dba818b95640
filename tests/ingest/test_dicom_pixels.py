"""Stored values of DICOM: every file of a collection of oddities, and files made to trap."""

import csv
import hashlib
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest

from radstart.ingest.frames import Unreadable
from radstart.ingest.readers.dicom_pixels import stored

SAMPLES = Path(__file__).parents[2].parent / "shared" / "data" / "dicom_samples_mixed"
real = [
    pytest.mark.real,
    pytest.mark.skipif(
        not SAMPLES.is_dir(), reason="../shared/data/dicom_samples_mixed is absent: NOT TESTED"
    ),
]
PREFIX = "1.2.840.10008.1.2.4."
LOSSY = (PREFIX + "50", PREFIX + "51")
# what pydicom did with a file -> what our reason must say
AGREES = {
    "no pixel data": ("no pixel data", "pixel data is cut off"),
    "unreadable": ("not a DICOM file that can be read",),
    "AttributeError": ("no transfer syntax is given",),
    "NotImplementedError": ("its transfer syntax is not supported",),
    "TypeError": ("no pixel data: the element is empty",),
    "ValueError": (
        "pixel data is cut off",
        "the header does not describe its pixels",
        "a frame's own size or depth is not the header's",
    ),
    "RuntimeError": (
        "the pixel data cannot be decoded",
        "a frame's own size or depth is not the header's",
        "a JPEG frame's scan is not one of its process",
    ),
}


def samples():
    with (SAMPLES / "manifest.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def decoded(path):
    """Return all frames, stacked as pydicom stacks them."""
    frames = list(stored(path))
    return frames[0] if len(frames) == 1 else np.stack(frames)


def live(path):
    """Return pydicom's own result, or None where it has no plugin."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return pydicom.dcmread(path, force=True).pixel_array
        except Exception:
            return None


@pytest.mark.parametrize("mark", [pytest.param(None, marks=real)])
def test_every_sample_is_decoded_as_pydicom_does_or_refused_for_the_same_reason(mark):
    exact, lossy, refused, wrong = 0, 0, 0, []
    for row in samples():
        path, said = SAMPLES / row["file"], row["pydicom_decode"]
        try:
            values = decoded(path)
        except Unreadable as error:
            refused += 1
            if said == "ok" or not error.reason.startswith(AGREES[said]):
                wrong.append((row["file"], said, error.reason))
            continue
        if said != "ok":
            wrong.append((row["file"], said, "decoded"))
            continue
        kind = np.dtype(row["decoded_dtype"])
        assert values.dtype == kind.newbyteorder("="), row["file"]
        assert "x".join(map(str, values.shape)) == row["decoded_shape"]
        digest = hashlib.sha256(np.ascontiguousarray(values, kind).tobytes()).hexdigest()
        if digest == row["decoded_sha256"]:
            exact += 1
        elif row["transfer_syntax_uid"] in LOSSY:
            lossy += 1
            theirs = live(path)  # pillow's: the recorded result is of a decoder that is GPL
            if theirs is not None and not np.array_equal(values, theirs):
                wrong.append((row["file"], "differs from pydicom's own result here"))
            ends = [
                values.min() - float(row["decoded_min"]),
                values.max() - float(row["decoded_max"]),
            ]
            if max(map(abs, ends)) > 1:
                wrong.append((row["file"], "differs from the recorded range", ends))
        else:
            wrong.append((row["file"], "differs from the recorded values"))
    assert wrong == []
    assert (exact, lossy, refused) == (113, 12, 47)


@pytest.mark.parametrize("mark", [pytest.param(None, marks=real)])
def test_twelve_bit_jpeg_is_the_lossless_image_within_its_loss(mark):
    lossy = decoded(SAMPLES / "files/cswil__CT0012.fragmented_no_bot_jpeg_baseline.51.dcm")
    exact = decoded(SAMPLES / "files/dicomparser__CT0012.fragmented_no_bot_jpeg_lossless.57.dcm")
    apart = lossy.astype(int) - exact - 1023  # stored that much higher
    assert np.abs(apart).max() <= 15
    assert abs(apart.mean()) < 0.1
