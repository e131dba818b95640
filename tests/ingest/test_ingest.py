"""A folder with a CSV, or class folders, becomes a dataset: whole or not at all."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from radstart.core.errors import RadstartError
from radstart.dataset import assign_parts, audit, find_units, open_dataset, resolve, text
from radstart.ingest import Columns, Reading, ingest_folder

RNG = np.random.default_rng(1)


def picture(folder, name, pixels=None, **options):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if pixels is None:
        pixels = RNG.integers(0, 256, (12, 10), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **options)
    return name


@pytest.fixture
def data(tmp_path):
    """Return 60 images, a and b in turn, and their CSV lines."""
    folder = tmp_path / "data"
    names = [picture(folder, f"i{k:02d}.png") for k in range(60)]
    lines = ["image,label"] + [f"{name},{'ab'[k % 2]}" for k, name in enumerate(names)]
    return folder, lines


def run(data, tmp_path, lines, out="study/dataset", **options):
    labels = tmp_path / "labels.csv"
    labels.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return ingest_folder(data, tmp_path / out, labels=labels, **options)


def test_rows_pixels_and_facts(data, tmp_path):
    folder, lines = data
    lines = [line + (",patient_id" if k == 0 else f",p{k // 2}") for k, line in enumerate(lines)]
    dataset = run(folder, tmp_path, lines)
    assert len(dataset) == 60
    assert dataset.rows["row"].tolist() == list(range(60))
    assert dataset.rows["line"].tolist() == list(range(2, 62))
    assert (dataset.name, dataset.target, dataset.classes) == ("data", "label", ("a", "b"))
    assert text(dataset.rows, "patient")[3] == "p2"
    assert dataset.rows["exam"].isna().all()
    assert dataset.facts["columns"]["patient"] == "patient_id"
    for row, name in enumerate(dataset.rows["image"]):
        np.testing.assert_array_equal(dataset.pixels(row), np.asarray(Image.open(folder / name)))
    assert sorted(path.name for path in (tmp_path / "study").iterdir()) == ["dataset"]


def test_sorted_by_image_and_free_of_the_order_of_lines(data, tmp_path):
    folder, lines = data
    first = run(folder, tmp_path, lines, "one")
    second = run(folder, tmp_path, [lines[0], *reversed(lines[1:])], "two")
    assert first.rows["image"].tolist() == second.rows["image"].tolist()
    assert first.rows["content"].tolist() == second.rows["content"].tolist()


def test_a_second_call_opens_and_a_change_is_refused(data, tmp_path):
    folder, lines = data
    made = run(folder, tmp_path, lines)
    before = {p: p.stat().st_mtime_ns for p in made.path.rglob("*")}
    assert run(folder, tmp_path, lines).content == made.content
    assert {p: p.stat().st_mtime_ns for p in made.path.rglob("*")} == before
    os.utime(folder / "i00.png", (1, 1))
    assert run(folder, tmp_path, [*lines, ""]).facts["made"] == made.facts["made"]
    assert {p: p.stat().st_mtime_ns for p in made.path.rglob("*")} == before
    with pytest.raises(RadstartError, match="made from other images"):
        run(folder, tmp_path, lines[:-1])
    picture(folder, "i00.png")
    with pytest.raises(RadstartError, match="made from other images"):
        run(folder, tmp_path, lines)
    assert sorted(path.name for path in (tmp_path / "study").iterdir()) == ["dataset"]


def test_more_than_5_percent_is_refused_and_leaves_nothing(data, tmp_path):
    folder, lines = data
    run(folder, tmp_path, [*lines, *(f"x{k}.png,a" for k in range(3))], "fine")
    with pytest.raises(
        RadstartError, match=r"4 of 64, 5% is the most .*4 x no such file, first line 62"
    ):
        run(folder, tmp_path, [*lines, *(f"x{k}.png,a" for k in range(4))], "deep/er/out")
    assert not (tmp_path / "deep").exists()


@pytest.mark.parametrize(
    ("names", "positive", "order"),
    [
        (("pneumonia", "Normal"), None, ("Normal", "pneumonia")),
        (("zz", "no"), None, ("no", "zz")),
        (("abnormal", "normal"), None, ("normal", "abnormal")),
        (("0", "1"), None, ("0", "1")),
        (("b", "a"), None, ("a", "b")),
        (("b", "a"), "a", ("b", "a")),
    ],
)
def test_the_positive_class_is_the_last(data, tmp_path, names, positive, order):
    folder, lines = data
    lines = [lines[0]] + [f"i{k:02d}.png,{names[k % 2]}" for k in range(60)]
    dataset = run(folder, tmp_path, lines, positive=positive)
    assert dataset.classes == order
    assert dataset.facts["positive"] == order[-1]


def test_deep_images_are_shrunk_and_stay_deep(tmp_path):
    folder = tmp_path / "data"
    picture(folder, "a/wide.png", RNG.integers(0, 256, (30, 1200), dtype=np.uint8))
    picture(folder, "b/deep.png", RNG.integers(0, 4096, (800, 700)).astype(np.uint16))
    dataset = ingest_folder(folder, tmp_path / "out")
    assert dataset.pixels(1).shape == (512, 448)
    assert dataset.pixels(1).dtype == np.uint16


def test_folders_called_train_and_test_are_parts_unless_switched_off(tmp_path):
    nested = tmp_path / "nested"
    for k in range(4):
        for part in ("Train", "val", "test"):
            picture(nested, f"{part}/{'ab'[k % 2]}/{k}.png")
    dataset = ingest_folder(nested, tmp_path / "out", columns=Columns(split=""))
    assert dataset.rows["split"].isna().all()
    assert dataset.classes == ("a", "b")


def test_a_longest_side_below_8_pixels_is_refused(data, tmp_path):
    folder, lines = data
    with pytest.raises(RadstartError, match=r"longest side: is out of range .*at least 8 pixels"):
        run(folder, tmp_path, lines, reading=Reading(max_side=7))
    assert not (tmp_path / "study").exists()


def test_labels_are_found_inside_the_folder(data, tmp_path):
    folder, lines = data
    (folder / "deep.csv").write_text("\n".join(lines))
    assert len(ingest_folder(folder, tmp_path / "out", labels=Path("deep.csv"))) == 60


NAMES = st.sampled_from(
    ["i00.png", "i01.png", "i02.png", "", "..", "../x.png", "/", "i00.png/y", "\x00", "\ud7ff", "~"]
)
CELLS = st.one_of(
    st.sampled_from(["a", "b", "", "NaN", "1", '"', "train", "test", "\t"]), st.text(max_size=4)
)


@settings(
    deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.sets(st.sampled_from(["image", "label", "patient_id", "exam_id", "split", "fold", "?"])),
    st.lists(st.tuples(NAMES, CELLS, CELLS, CELLS), max_size=6),
    st.sampled_from(["utf-8", "utf-16", "latin-1"]),
    st.binary(max_size=3),
)
def test_malformed_sources_end_in_a_dataset_or_one_line(
    data, tmp_path_factory, header, rows, encoding, tail
):
    folder, _ = data
    work = tmp_path_factory.mktemp("fuzz")
    lines = [",".join(["image", *sorted(header - {"image"})]), *(",".join(row) for row in rows)]
    (work / "labels.csv").write_bytes("\n".join(lines).encode(encoding, "replace") + tail)
    try:
        dataset = ingest_folder(
            folder, work / "study" / "out", labels=work / "labels.csv", max_rejected=1.0
        )
        units = find_units(dataset.rows)
        parts = assign_parts(dataset.rows, units, seed=0)
        resolve(dataset.rows, units, parts, audit(dataset.rows, units, parts), "regroup", 0)
    except RadstartError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017
    left = {path.name for path in work.rglob("*") if path.name.endswith(".tmp")}
    assert not left


@pytest.mark.slow
def test_a_killed_ingest_leaves_no_dataset_and_is_gone_on_with(data, tmp_path):
    folder, lines = data
    labels = tmp_path / "labels.csv"
    labels.write_text("\n".join(lines))
    code = (
        "import os, signal\nfrom pathlib import Path\nimport radstart.ingest.pipeline as p\n"
        "from radstart.ingest import ingest_folder\n"
        "p.save_dataset = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"ingest_folder(Path({str(folder)!r}), Path({str(tmp_path / 'out')!r}), "
        f"labels=Path({str(labels)!r}))\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    with pytest.raises(RadstartError, match="not a dataset"):
        open_dataset(tmp_path / "out")
    shards = {p: p.stat().st_mtime_ns for p in (tmp_path / "out" / "pixels").iterdir()}
    assert len(ingest_folder(folder, tmp_path / "out", labels=labels)) == 60
    assert {p: p.stat().st_mtime_ns for p in shards} == shards  # read once
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "dataset.toml", "rows.parquet", "rejected.parquet", "pixels",
    }  # fmt: skip
    assert len(open_dataset(tmp_path / "out")) == 60
