"""A folder with a CSV, or class folders, becomes a dataset: whole or not at all."""

import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from radstart.core.errors import RadstartError
from radstart.dataset import assign_parts, audit, find_units, open_dataset, resolve, text
from radstart.ingest import Columns, ingest_folder

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


def reasons(dataset):
    rejected = dataset.rejected
    return dict(zip(rejected["line"].tolist(), rejected["reason"], strict=True))


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


def test_names_of_every_kind(tmp_path):
    folder = tmp_path / "data"
    names = [
        "a b.png",
        'q"uote.png',
        "ä–日本.png",
        "semi;colon,comma.png",
        "sub/dir/x.PNG",
        "new\nline.png",
    ]
    for name in names:
        picture(folder, name)
    picture(folder, unicodedata.normalize("NFD", "é.png"))
    cells = [*names, unicodedata.normalize("NFC", "é.png"), "sub\\dir\\x.PNG"]
    quoted = ['"' + cell.replace('"', '""') + '"' for cell in cells]
    lines = ["image,label"] + [f"{cell},{'ab'[k % 2]}" for k, cell in enumerate(quoted)]
    dataset = run(folder, tmp_path, lines[:-1])
    assert len(dataset) == 7
    assert text(dataset.rows, "image").tolist() == sorted(
        [*names, unicodedata.normalize("NFD", "é.png")]
    )
    windows = run(folder, tmp_path, [*lines[:5], *lines[6:]], "two")
    assert "sub/dir/x.PNG" in set(windows.rows["image"])


def test_rejected_rows_have_reasons(data, tmp_path):
    folder, lines = data
    outside = tmp_path / "secret.png"
    picture(tmp_path, "secret.png")
    (folder / "link.png").symlink_to(outside)
    (folder / "empty.png").write_bytes(b"")
    bad = ["no.png", "../secret.png", str(outside), "link.png", "empty.png", "C:\\x.png", " "]
    bad += ["i00.png/x", "a\x01" * 300]
    lines += [f"{name},a" for name in bad]
    dataset = run(folder, tmp_path, lines, max_rejected=0.2)
    found = reasons(dataset)
    words = ["no such file", "'..'", "absolute", "link out", "empty file", "absolute", "no image"]
    for k, word in enumerate(words):
        assert word in found[62 + k]
    assert len(found) == len(bad)
    assert len(dataset) == 60


def test_repeats_and_contradictions(data, tmp_path):
    folder, lines = data
    copy = np.asarray(Image.open(folder / "i04.png"))
    picture(folder, "copy.png", np.repeat(copy[..., None], 3, axis=2))
    twin = np.asarray(Image.open(folder / "i06.png"))
    picture(folder, "twin.png", twin)
    lines += ["i00.png,a", "i01.png,a", "copy.png,b", "twin.png,a"]
    dataset = run(folder, tmp_path, lines, max_rejected=0.1)
    found = reasons(dataset)
    assert found[62] == "the image stands in line 2 already"
    assert found[3] == found[63] == "one image under two labels: line 3 (b) and line 63 (a)"
    both = "the same picture under two labels: line 6 (a) and line 64 (b)"
    assert found[6] == found[64] == both
    assert len(found) == 5
    contents = dict(zip(dataset.rows["image"], dataset.rows["content"], strict=True))
    assert contents["twin.png"] == contents["i06.png"]


def test_more_than_5_percent_is_refused_and_leaves_nothing(data, tmp_path):
    folder, lines = data
    run(folder, tmp_path, [*lines, *(f"x{k}.png,a" for k in range(3))], "fine")
    with pytest.raises(
        RadstartError, match=r"4 of 64, 5% is the most .*4 x no such file, first line 62"
    ):
        run(folder, tmp_path, [*lines, *(f"x{k}.png,a" for k in range(4))], "deep/er/out")
    assert not (tmp_path / "deep").exists()


def test_empty_labels_are_unlabelled(data, tmp_path):
    folder, lines = data
    lines[1] = "i00.png,NaN"
    lines[2] = "i01.png"
    dataset = run(folder, tmp_path, lines)
    assert dataset.rows["label"].isna().sum() == 2
    assert dataset.facts["counts"]["labelled"] == 58


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


def test_large_images_are_shrunk_and_hashed_at_their_own_size(tmp_path):
    folder = tmp_path / "data"
    picture(folder, "a/wide.png", RNG.integers(0, 256, (30, 1200), dtype=np.uint8))
    picture(folder, "b/deep.png", RNG.integers(0, 4096, (800, 700)).astype(np.uint16))
    dataset = ingest_folder(folder, tmp_path / "out")
    assert [dataset.pixels(row).shape for row in range(2)] == [(13, 512), (512, 448)]
    assert dataset.pixels(1).dtype == np.uint16


def test_class_folders_and_split_folders(tmp_path):
    plain, nested = tmp_path / "plain", tmp_path / "nested"
    for k in range(4):
        picture(plain, f"{'normal' if k % 2 else 'ill'}/deep/{k}.png")
        for part in ("Train", "val", "test"):
            picture(nested, f"{part}/{'ab'[k % 2]}/{k}.png")
    (plain / "normal" / ".hidden.png").write_bytes(b"x")
    (plain / "normal" / "notes.txt").write_text("x")
    dataset = ingest_folder(plain, tmp_path / "one")
    assert (len(dataset), dataset.target, dataset.classes) == (4, "folder", ("normal", "ill"))
    assert set(dataset.rows["line"]) == {0}
    dataset = ingest_folder(nested, tmp_path / "two")
    assert dataset.rows["split"].value_counts().to_dict() == {"Train": 4, "val": 4, "test": 4}
    dataset = ingest_folder(nested, tmp_path / "three", columns=Columns(split=""))
    assert dataset.rows["split"].isna().all()
    assert dataset.classes == ("a", "b")


def test_labels_are_found_inside_the_folder(data, tmp_path):
    folder, lines = data
    (folder / "deep.csv").write_text("\n".join(lines))
    assert len(ingest_folder(folder, tmp_path / "out", labels=Path("deep.csv"))) == 60


def test_linked_folders_and_odd_names_are_listed(tmp_path):
    folder = tmp_path / "data"
    for k in range(6):
        picture(folder, f"{'ab'[k % 2]}/{k}.png")
    picture(tmp_path, "elsewhere/x.png")
    (folder / "c").symlink_to(tmp_path / "elsewhere")
    (folder / "root.png").write_bytes((folder / "a/0.png").read_bytes())
    os.link(folder / "a/0.png", os.fsencode(folder / "a") + b"/\xff.png")
    dataset = ingest_folder(folder, tmp_path / "out", max_rejected=0.5)
    assert dict(zip(dataset.rejected["image"], dataset.rejected["reason"], strict=True)) == {
        "c": "a linked folder is not entered",
        "root.png": "lies in no class folder",
        "a/?.png": "a name that is not UTF-8",
    }


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


def test_sources_that_cannot_be_used(data, tmp_path):
    folder, lines = data
    same = [lines[0]] + [line[:-1] + "a" for line in lines[1:]]
    (tmp_path / "file").write_text("x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x")
    cases = [
        ("has one value", lambda: run(folder, tmp_path, same)),
        ("lies inside DATA", lambda: ingest_folder(folder, folder / "out")),
        ("is not a folder", lambda: ingest_folder(tmp_path / "no", tmp_path / "out")),
        ("no class folders", lambda: ingest_folder(folder, tmp_path / "out")),
        ("needs a CSV", lambda: ingest_folder(folder, tmp_path / "o", columns=Columns(label="x"))),
        ("none of two classes", lambda: run(folder, tmp_path, lines, positive="c")),
        ("out of range", lambda: run(folder, tmp_path, lines, max_side=0)),
        ("cannot be read", lambda: run(folder, tmp_path, lines, "file")),
        ("not a dataset folder", lambda: run(folder, tmp_path, lines, "full")),
    ]
    for words, call in cases:
        with pytest.raises(RadstartError, match=words) as caught:
            call()
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "study").exists()


def test_a_full_disk_is_one_line_and_leaves_nothing(data, tmp_path, monkeypatch):
    folder, lines = data

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("radstart.ingest.pipeline.PixelWriter.append", full)
    with pytest.raises(RadstartError, match=r"No space left on device.*free space"):
        run(folder, tmp_path, lines)
    assert not (tmp_path / "study").exists()


def test_a_folder_that_cannot_be_made_is_one_line(data, tmp_path, monkeypatch):
    folder, lines = data
    (tmp_path / "file").write_text("x")
    with pytest.raises(RadstartError, match="cannot write the dataset"):
        run(folder, tmp_path, lines, "file/out")

    def read_only(*_, **__):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", read_only)
    with pytest.raises(RadstartError, match="Read-only file system"):
        run(folder, tmp_path, lines, "locked/out")


def test_a_killed_ingest_leaves_no_dataset_and_is_swept_up(data, tmp_path):
    folder, lines = data
    labels = tmp_path / "labels.csv"
    labels.write_text("\n".join(lines))
    code = (
        "import os, signal\nfrom pathlib import Path\nimport radstart.ingest.pipeline as p\n"
        "p.save_dataset = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"p.ingest_folder(Path({str(folder)!r}), Path({str(tmp_path / 'out')!r}), "
        f"labels=Path({str(labels)!r}))\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert not (tmp_path / "out").exists()
    assert list(tmp_path.glob(".out.*.tmp"))
    assert len(ingest_folder(folder, tmp_path / "out", labels=labels)) == 60
    assert not list(tmp_path.glob(".out.*.tmp"))
    assert len(open_dataset(tmp_path / "out")) == 60


def test_data_is_never_written_to(data, tmp_path):
    folder, lines = data
    before = {path: path.stat().st_mtime_ns for path in [folder, *folder.rglob("*")]}
    run(folder, tmp_path, lines)
    assert {path: path.stat().st_mtime_ns for path in [folder, *folder.rglob("*")]} == before
