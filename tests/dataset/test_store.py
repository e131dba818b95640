"""The dataset folder and its working copies."""

import pickle

import cv2
import numpy as np
import pytest

from radstart.core.errors import RadstartError
from radstart.core.files import read_toml, write_toml
from radstart.dataset import (
    channel_statistics,
    open_dataset,
    save_dataset,
    working_copy,
)


@pytest.fixture
def make(tmp_path):
    def make_dataset(images, shard_bytes=1 << 28):
        folder = tmp_path / "dataset"
        (folder / "pixels").mkdir(parents=True)
        places, shard = [], bytearray()
        for image in images:
            if len(shard) >= shard_bytes:
                shard = bytearray()
                places.append((places[-1][0] + 1, 0))
            else:
                shard += b"\0" * (len(shard) % 2)
                places.append((places[-1][0] if places else 0, len(shard)))
            shard += image.tobytes()
            (folder / "pixels" / f"{places[-1][0]:04d}.bin").write_bytes(shard)
        n = len(images)
        names = ("patient", "exam", "site", "sex", "split", "fold")
        rows = {name: [""] * n for name in names} | {
            "age": [None] * n,
            "row": range(n),
            "image": [f"{k}.png" for k in range(n)],
            "line": range(2, n + 2),
            "label": ["a", "b"] * (n // 2) + [""] * (n % 2),
            "content": [f"{k}" for k in range(n)],
            "shard": [place[0] for place in places],
            "offset": [place[1] for place in places],
            "height": [image.shape[0] for image in images],
            "width": [image.shape[1] for image in images],
            "channels": [3 if image.ndim == 3 else 1 for image in images],
            "dtype": [str(image.dtype) for image in images],
        }
        save_dataset(
            folder,
            name="made",
            target="label",
            classes=["a", "b"],
            rows=rows,
            rejected={"line": [9], "image": ["x"], "reason": ["why"]},
            source="s",
            columns={"label": "label"},
        )
        return open_dataset(folder)

    return make_dataset


def noise(shape, dtype=np.uint8, top=256, seed=0):
    return np.random.default_rng(seed).integers(0, top, shape).astype(dtype)


def test_pixels_come_back_over_several_shards(make):
    images = [noise((5, 3)), noise((4, 7), np.uint16, 5000), noise((3, 3, 3)), noise((1, 9))]
    dataset = make(images, shard_bytes=20)
    assert len(list((dataset.path / "pixels").iterdir())) > 1
    for copy in (dataset, pickle.loads(pickle.dumps(dataset))):
        for row, image in enumerate(images):
            np.testing.assert_array_equal(copy.pixels(row), image)
            assert copy.pixels(row).dtype == image.dtype
    assert not dataset.pixels(0).flags.writeable
    assert dataset.rejected["reason"].tolist() == ["why"]
    assert (dataset.classes, dataset.facts["positive"]) == (("a", "b"), "b")


def test_a_newer_format_is_refused(make):
    dataset = make([noise((4, 4))] * 2)
    write_toml(dataset.path / "dataset.toml", dict(dataset.facts) | {"schema": 3})
    with pytest.raises(RadstartError, match="newer radstart"):
        open_dataset(dataset.path)


def test_damage_is_one_line(make, tmp_path):
    with pytest.raises(RadstartError, match="not a dataset"):
        open_dataset(tmp_path)
    dataset = make([noise((4, 4))] * 2)
    shard = dataset.path / "pixels" / "0000.bin"
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(RadstartError, match="pixels are missing"):
        open_dataset(dataset.path)
    (dataset.path / "rows.parquet").write_bytes(b"no")
    with pytest.raises(RadstartError, match="cannot read the table"):
        open_dataset(dataset.path)


def test_a_working_copy_is_letterboxed(make):
    wide, tall, small = noise((20, 40)), noise((64, 16)), noise((8, 8))
    copy = working_copy(make([wide, tall, small]), 32)
    assert copy.shape == (3, 32, 32)
    assert (copy[0, :8] == 0).all()
    assert (copy[0, 24:] == 0).all()
    shrunk = cv2.resize(wide, (32, 16), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(copy[0, 8:24], shrunk)
    np.testing.assert_array_equal(
        copy[1, :, 12:20], cv2.resize(tall, (8, 32), interpolation=cv2.INTER_AREA)
    )
    np.testing.assert_array_equal(
        copy[2], cv2.resize(small, (32, 32), interpolation=cv2.INTER_LINEAR)
    )
    assert not copy.flags.writeable


def test_grey_beside_colour_becomes_three_channels(make):
    grey, colour = noise((8, 8)), noise((8, 8, 3), seed=1)
    copy = working_copy(make([grey, colour]), 8)
    np.testing.assert_array_equal(copy[0], np.repeat(grey[..., None], 3, axis=2))
    np.testing.assert_array_equal(copy[1], colour)


def test_deep_images_share_one_scale(make):
    low, high = np.full((8, 8), 1000, np.uint16), np.full((8, 8), 4000, np.uint16)
    copy = working_copy(make([low, high, noise((8, 8))]), 8)
    assert copy[0, 0, 0] == round(1000 * 255 / 4095)
    assert copy[1, 0, 0] == round(4000 * 255 / 4095)
    np.testing.assert_array_equal(copy[2], noise((8, 8)))


def test_a_damaged_copy_is_made_again(make):
    dataset = make([noise((30, 30), seed=k) for k in range(4)])
    first = np.array(working_copy(dataset, 16))
    path = next((dataset.path / "cache").glob("*.bin"))
    when = path.stat().st_mtime_ns
    working_copy(dataset, 16)
    assert path.stat().st_mtime_ns == when
    whole = path.read_bytes()
    for broken in (whole[:-7], b"\xff" + whole[1:], b""):
        path.write_bytes(broken)
        np.testing.assert_array_equal(working_copy(dataset, 16), first)
    path.with_suffix(".toml").write_text("no")
    np.testing.assert_array_equal(working_copy(dataset, 16), first)
    assert "checksum" in read_toml(path.with_suffix(".toml"))


def test_channel_statistics(make):
    images = [noise((16, 16, 3), seed=k) for k in range(5)]
    copy = working_copy(make(images), 16)
    rows = np.array([True, False, True, True, False])
    mean, std = channel_statistics(copy, rows)
    values = copy[rows].reshape(-1, 3) / 255
    np.testing.assert_allclose(mean, values.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(std, values.std(axis=0), rtol=1e-10)


def test_size_out_of_range(make):
    with pytest.raises(RadstartError, match="out of range"):
        working_copy(make([noise((4, 4))] * 2), 0)
