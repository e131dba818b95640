"""Stopped anywhere and called again, an ingest gives the same tables and pixels, byte by byte."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import ANY

import numpy as np
import pytest
from dicom_files import ct, encoded
from PIL import Image
from stopping import made

import radstart
from radstart import RadstartError
from radstart.ingest import pipeline

SLOW_READER = """
from radstart.ingest import work
def frames_of(path, kind, which):
    open(path.parent / f"{__import__('os').getpid()}.pid", "w").close()
    while True:
        pass
work.frames_of = frames_of
"""
HERE = Path(__file__).parent
RNG = np.random.default_rng(11)


def fill(folder):
    """Write a volume out of order, plain images, one with a mask, and what cannot be read."""
    folder.mkdir(parents=True)
    for k in range(10):
        pixels = RNG.integers(900, 1300, (16, 12), dtype=np.uint16)
        (folder / f"slice{k}.dcm").write_bytes(
            encoded(ct(
                SOPInstanceUID=f"1.2.3.{k}", InstanceNumber=str(k), Rows=16, Columns=12,
                ImagePositionPatient=["0", "0", str(7 * k % 10)], PixelData=pixels.tobytes(),
            ))
        )  # fmt: skip
    for k in range(6):
        pixels = RNG.integers(0, 255, (14, 10, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"image{k}.png")
        Image.fromarray(pixels[..., 0] // 128 * 255).save(folder / f"mask{k}.png")
    (folder / "broken.dcm").write_bytes(encoded(ct())[:600])
    (folder / "text.txt").write_text("no image")
    lines = ["file,label,mask"] + [f"image{k}.png,{'ab'[k % 2]},mask{k}.png" for k in range(3)]
    (folder / "labels.csv").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return fill(tmp_path_factory.mktemp("stopped") / "source")


@pytest.fixture
def words(source, tmp_path):
    return [str(source), "--labels", "labels.csv", "--all-files", "--key", str(tmp_path / "key")]


@pytest.fixture
def stopping(tmp_path, words):
    """Return a function that lets stopping.py do what is asked for, and returns what it found."""

    def run(**job):
        file = tmp_path / "job.json"
        file.write_text(json.dumps({"words": words, **job}))
        done = subprocess.run(
            [sys.executable, HERE / "stopping.py", file], capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        found = json.loads(file.with_name("found.json").read_text())
        assert found["code"] == 0, done.stderr
        return found

    return run


def check(found, first):
    assert found["cases"]
    for case in found["cases"]:
        assert (case["first"], case["second"], case["same"]) == (first, 0, True), case


@pytest.mark.slow
def test_what_is_stopped_has_all_kinds_of_writes(stopping):
    found = stopping(hows=[])
    assert {"p", "w"} == set(found["events"])
    assert len(found["events"]) > 30
    assert {"pixels/0000.bin", "masks/0000.bin", "rows.parquet content"} <= set(found["reference"])


@pytest.mark.slow
@pytest.mark.parametrize("share", range(4))
def test_killed_at_every_write_point_the_next_call_gives_the_same_bytes(stopping, share):
    found = stopping(hows=["parent"], share=[share, 4])
    check(found, -9)


@pytest.mark.slow
@pytest.mark.parametrize("share", range(2))
def test_a_worker_killed_at_any_write_point_costs_no_image(stopping, share):
    """It is done again by another one: no file is blamed for one death."""
    check(stopping(hows=["self"], share=[share, 2]), 0)


@pytest.mark.slow
def test_interrupted_at_any_write_point_nothing_half_written_is_left(stopping):
    found = stopping(hows=["interrupt"], share=[2, 5])
    for case in found["cases"]:
        assert case["first"] in (0, 130)  # 0: it was done already
        assert (case["half"], case["second"], case["same"]) == ([], 0, True), case
    assert sum(case["first"] == 130 for case in found["cases"]) > 5


@pytest.mark.slow
def test_a_disk_that_is_full_from_any_moment_on_loses_nothing(stopping):
    found = stopping(hows=["full"], share=[1, 4])
    for case in found["cases"]:
        assert case["first"] in (0, 2), case
        assert (case["half"], case["second"], case["same"]) == ([], 0, True), case
    assert sum(case["first"] == 2 for case in found["cases"]) > 5


@pytest.mark.slow
def test_two_at_once_make_one_dataset_also_where_one_is_killed(stopping):
    found = stopping(hows=["", "parent"], share=[3, 12], together=True)
    for case in found["cases"]:
        assert case["first"] in ((0, -9) if case["how"] else (0,))  # 0: the other was faster
        assert (case["together"], case["second"], case["same"]) == ([0], 0, True), case
    assert any(case["first"] == -9 for case in found["cases"])


def call(source, out, key, *words):
    """Run `radstart ingest` in a process of its own; return its code and what it says."""
    done = subprocess.run(
        [sys.executable, "-m", "radstart.cli", "ingest", source, "--out", out, "--key", key,
         "--workers", "1", *words], capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("back", [False, True])
def test_a_source_that_changes_after_a_stop_is_read_as_it_is_then(source, tmp_path, back):
    """One file replaced, one gone, one new; or all as it was before, after another stop."""
    changing, key = tmp_path / "changing", tmp_path / "key"
    for at in (13, 19, 24):
        shutil.rmtree(changing, ignore_errors=True)
        shutil.copytree(source, changing)
        out = tmp_path / f"out{at}"
        kill = [sys.executable, HERE / "stopping.py", "one", changing, out, key]
        assert subprocess.run([*kill, str(at)], check=False).returncode == 9
        shutil.copytree(changing, tmp_path / f"before{at}")
        (changing / "image1.png").write_bytes((changing / "image5.png").read_bytes())
        (changing / "slice4.dcm").unlink()
        (changing / "new.png").write_bytes((changing / "image0.png").read_bytes())
        if back:
            assert subprocess.run([*kill, "14"], check=False).returncode == 9
            shutil.rmtree(changing)
            shutil.copytree(tmp_path / f"before{at}", changing)  # times of files, too
        assert call(changing, out, key) == (0, ANY)
        fresh = tmp_path / f"fresh{at}"
        assert call(changing, fresh, key)[0] == 0
        assert made(out) == made(fresh)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("phase", "leaves"),
    [
        ("read_part", "an empty folder"),
        ("scan_files", "nothing"),
    ],
)
def test_a_source_that_goes_away_is_gone_on_with(source, tmp_path, monkeypatch, phase, leaves):
    """As a share that is not mounted any more: no file of it is rejected for that."""
    share, away, key = tmp_path / "share", tmp_path / "away", tmp_path / "key"
    shutil.copytree(source, share)
    run = pipeline.run

    def losing(engine, work, todo):
        if work.__name__ == phase:
            share.rename(away)
            if leaves == "an empty folder":
                share.mkdir()
        yield from run(engine, work, todo)

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "run", losing)
        with pytest.raises(RadstartError, match="went away while it was read"):
            radstart.ingest(share, out=tmp_path / "out", key=key, workers=1)
    shutil.rmtree(share, ignore_errors=True)
    away.rename(share)
    for out in ("out", "reference"):
        assert len(radstart.ingest(share, out=tmp_path / out, key=key, workers=1)) == 22
    assert made(tmp_path / "out") == made(tmp_path / "reference")


@pytest.mark.slow
def test_a_worker_in_the_middle_of_a_file_ends_with_its_ingest(source, tmp_path, monkeypatch):
    """Also where the decoder never comes back."""
    hanging, hooked = tmp_path / "hanging", tmp_path / "hooked"
    shutil.copytree(source, hanging)
    hooked.mkdir()
    (hooked / "sitecustomize.py").write_text(SLOW_READER)
    monkeypatch.setenv("PYTHONPATH", f"{hooked}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    words = [sys.executable, "-m", "radstart.cli", "ingest", hanging, "--out", tmp_path / "out"]
    process = subprocess.Popen(
        [*words, "--key", tmp_path / "key"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    began = time.monotonic()
    while not list(hanging.glob("*.pid")) and time.monotonic() - began < 120:
        time.sleep(0.05)
    workers = [int(path.stem) for path in hanging.glob("*.pid")]
    process.kill()
    process.wait()
    assert workers
    began = time.monotonic()
    while any(Path(f"/proc/{pid}/stat").exists() for pid in workers):
        assert time.monotonic() - began < 20
        time.sleep(0.05)


@pytest.mark.slow
def test_a_disk_that_is_full_or_read_only_costs_a_line_and_a_call(source, tmp_path, small_disk):
    key, refused = tmp_path / "key", 0
    assert call(source, tmp_path / "reference", key)[0] == 0
    for pages in range(2, 64, 6):
        out = small_disk(f"size={4 * pages}k") / "out"
        code, err = call(source, out, key)
        if code == 0:
            break
        lines = [line for line in err.splitlines() if line.startswith("radstart: ")]
        assert (code, lines) == (2, err.splitlines()[-1:])
        assert "No space left on device" in lines[0]
        assert not list(out.rglob("*.tmp"))
        refused += 1
        if refused % 2:  # the next one goes on with what is there
            shutil.rmtree(out, ignore_errors=True)
    assert refused > 2
    assert made(out) == made(tmp_path / "reference")
    shutil.rmtree(out)
    small_disk("ro")
    code, err = call(source, out, key)
    assert (code, err.splitlines()[-1].startswith("radstart: ")) == (2, True)
    assert "Read-only file system" in err
    assert "Traceback" not in err
