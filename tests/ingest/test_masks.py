"""Masks are labels; several of one image become one by a rule."""

import numpy as np
import pytest

from radstart.ingest.frames import Unreadable
from radstart.ingest.masks import labels_of, unite
from radstart.ingest.work import _labels


def test_labels_out_of_what_a_reader_gives():
    black_and_white = np.array([[0, 255], [255, 0]], np.uint8)
    assert labels_of(black_and_white).tolist() == [[0, 1], [1, 0]]
    assert labels_of(np.repeat(black_and_white[..., None], 3, 2)).tolist() == [[0, 1], [1, 0]]
    assert labels_of(np.array([[0, 2]], np.uint8)).tolist() == [[0, 2]]
    assert labels_of(np.array([[0, 128, 255]], np.uint8)).tolist() == [[0, 128, 255]]
    assert labels_of(np.array([[0.0, 2.0]], np.float32)).dtype == np.uint8
    assert labels_of(np.array([[0, 3]], np.int64)).tolist() == [[0, 3]]
    assert labels_of(np.array([[False, True]])).tolist() == [[0, 1]]
    assert labels_of(np.zeros((2, 2), np.int16)).tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.array([[0.5]], np.float32), "broken numbers"),
        (np.array([[np.nan]], np.float32), "outside"),
        (np.array([[-1]], np.int16), "outside"),
        (np.array([[256]], np.int16), "outside"),
        (np.array([[[1, 2, 3]]], np.uint8), "colours"),
    ],
)
def test_what_is_no_mask(values, reason):
    with pytest.raises(Unreadable, match=reason):
        labels_of(values)


def test_several_masks_become_one():
    a, b, c = (np.array([row], np.uint8) for row in ([0, 1, 1, 0], [2, 2, 0, 0], [3, 3, 0, 0]))
    assert unite([a, b, c]).tolist() == [[2, 1, 1, 0]]
    assert a.tolist() == [[0, 1, 1, 0]]
    assert unite([b]).tolist() == b.tolist()
    with pytest.raises(Unreadable, match="sizes"):
        unite([a, b[:, :2]])


def test_a_broken_mask_is_a_reason_and_one_that_went_away_an_error(tmp_path):
    (tmp_path / "m.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    assert isinstance(next(_labels(tmp_path / "m.png", "raster", [0])), str)
    with pytest.raises(Unreadable, match="no such file"):
        next(_labels(tmp_path / "gone.png", "raster", [0]))
