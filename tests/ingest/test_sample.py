"""Some images of a folder, without a dataset."""

import csv

import numpy as np
import pytest
from PIL import Image

from radstart.core.errors import RadstartError
from radstart.dataset import square_views
from radstart.ingest import sample_images


def write(path, value=100, size=(20, 30)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(size, value, np.uint8)).save(path)


@pytest.fixture
def patients(tmp_path):
    """Return a folder of 4 patients with 1 to 10 images each, and its table."""
    rows = []
    for patient, count in enumerate((1, 2, 3, 10)):
        for k in range(count):
            name = f"images/p{patient}_{k}.png"
            write(tmp_path / name, 10 * patient + k)
            write(tmp_path / "masks" / f"p{patient}_{k}.png", 255)
            rows.append({"image": name, "label": f"c{patient % 2}", "patient_id": f"p{patient}"})
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return tmp_path


def test_every_patient_comes_before_any_second_image(patients):
    """With a table; labels and units come along."""
    sample = sample_images(patients, most=4, seed=1, labels=patients / "labels.csv")

    assert sorted(sample.units) == [f"patient p{k}" for k in range(4)]
    assert sample.patients_known
    assert set(sample.labels) == {"c0", "c1"}
    assert sample.total == 16


def test_the_draw_has_a_seed(patients):
    """The same one gives the same images, another one others."""
    drawn = [sample_images(patients, most=6, seed=seed).images for seed in (0, 0, 1)]

    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]


def test_without_a_table_masks_are_left_out_and_the_table_is_named(patients):
    """Each image is a unit of its own then."""
    sample = sample_images(patients, most=99, seed=0)

    assert len(sample.images) == 16
    assert all(image.startswith("images/") for image in sample.images)
    assert not any(sample.labels)
    assert not sample.patients_known
    assert "labels.csv" in sample.notes[0]


def test_class_folders_and_a_bare_folder(tmp_path):
    """Classes are labels; images alone have none."""
    for name in ("a/1.png", "a/2.png", "b/3.png"):
        write(tmp_path / "classes" / name)
        write(tmp_path / "bare" / name.replace("/", "_"))

    assert sample_images(tmp_path / "classes", most=9, seed=0).labels == ("a", "a", "b")
    assert sample_images(tmp_path / "bare", most=9, seed=0).labels == ("", "", "")


def test_unreadable_images_are_named_and_replaced(patients):
    """As long as two remain."""
    (patients / "images" / "p3_0.png").write_bytes(b"no image")
    sample = sample_images(patients, most=99, seed=0)

    assert len(sample.images) == 15
    assert "1 images could not be read, first images/p3_0.png" in sample.notes[-1]
    for path in sorted((patients / "images").iterdir())[1:]:
        path.unlink()
    with pytest.raises(RadstartError, match="fewer than two images"):
        sample_images(patients, most=99, seed=0)


def test_no_folder_is_one_line(tmp_path):
    """Not a traceback."""
    with pytest.raises(RadstartError, match="is not a folder"):
        sample_images(tmp_path / "nothing", most=4, seed=0)


def test_views_are_square_and_undistorted():
    """The first is the middle; further ones where images are few, each with its image's number."""
    wide = np.zeros((20, 60), np.uint8)
    wide[:, 20:40] = 200
    views, index = square_views([wide, wide], 16, 6, seed=0)

    assert views.shape == (6, 16, 16)
    assert index.tolist() == [0, 0, 0, 1, 1, 1]
    assert (views[0] == 200).all()
    assert not np.array_equal(views[1], views[2])
    assert np.array_equal(views, square_views([wide, wide], 16, 6, seed=0)[0])
    assert len(square_views([wide] * 7, 16, 6, seed=0)[0]) == 7


def test_views_of_colour_and_of_16_bits():
    """Grey repeats beside colour; 12 bits of 16 become 0..255."""
    grey, colour = np.full((8, 8), 7, np.uint8), np.zeros((8, 8, 3), np.uint8)
    deep = np.full((8, 8), 4095, np.uint16)

    assert square_views([grey, colour], 8, 0, 0)[0].shape == (2, 8, 8, 3)
    assert square_views([grey, colour], 8, 0, 0)[0][0, 0, 0].tolist() == [7, 7, 7]
    assert square_views([deep], 8, 0, 0)[0].max() == 255
