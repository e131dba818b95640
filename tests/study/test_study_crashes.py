"""Killed at any moment, joined by any number of processes: the same study, to the byte."""

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture
def crashing(tmp_path, images, weights):
    """Return a function that lets crashing.py do what is asked for, and returns what it found."""

    def run(**job):
        file = tmp_path / "job.json"
        file.write_text(json.dumps({"images": str(images), "weights": str(weights), **job}))
        search = os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")])
        done = subprocess.run(
            [sys.executable, HERE / "crashing.py", file],
            env={**os.environ, "PYTHONPATH": search},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(file.with_name("found.json").read_text())

    return run


def check(found, kind):
    assert found[kind]
    for killed in found[kind]:
        assert killed["second"][0][0] == 0
        assert killed["predictions"] == found["reference"]
        assert killed["left"] == []


def continued(found, kind):
    return sum("continued" in killed["events"] for killed in found[kind])


@pytest.mark.slow
@pytest.mark.parametrize("share", range(4))
def test_killed_at_every_write_point_the_next_call_gives_the_same_bytes(crashing, share):
    """kill -9 just before every single change of a file: runs go on from their checkpoints."""
    found = crashing(share=[share, 4], grid=[3e-3])

    assert all(killed["first"][0][0] == -9 for killed in found["killed"])
    assert len(found["killed"]) > 24
    check(found, "killed")
    assert continued(found, "killed") >= 2


@pytest.mark.slow
def test_killed_at_random_times_the_next_call_gives_the_same_bytes(crashing):
    """Ten times, anywhere between the first second and the last."""
    found = crashing(times=[random.random() for _ in range(10)])

    check(found, "timed")


@pytest.mark.slow
def test_a_disk_that_is_full_from_any_moment_on_loses_nothing(crashing):
    """One line; with room again, the same command gives the same bytes."""
    found = crashing(full=[*range(1, 120, 13), ["checkpoint", 4]])

    assert [full["first"][0][0] for full in found["full"]] == [2] * len(found["full"])
    check(found, "full")
    assert continued(found, "full") >= 1


@pytest.fixture
def small_disk(tmp_path):
    """Return a function megabytes -> a file system of that size; remounted when called again."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = []

    def mount(megabytes):
        how = ["-o", f"remount,size={megabytes}m"] if mounted else ["-t", "tmpfs", "-o"]
        how += [] if mounted else [f"size={megabytes}m", "tmpfs"]
        able = shutil.which("mount") is not None
        if (
            not able
            or subprocess.run(["mount", *how, folder], check=False, capture_output=True).returncode
        ):
            pytest.skip("SKIPPED: no file system can be mounted here, so none can be filled")
        mounted.append(folder)
        return folder

    yield mount
    if mounted:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.slow
def test_a_study_goes_on_when_its_disk_has_room_again(cli, small_disk, images, weights, quick):
    """A real disk that is full: one line and exit 2, no half-written file, then the answer."""
    words = [
        *("compare", images, "--arms", f"w=file:{weights}", "--image-size", 32, "--seeds", 2),
        *("--numerics", "fp32", "--epochs", 4, "--out", small_disk(3) / "study"),
    ]
    code, out, err = cli(*words)

    assert (code, out) == (2, "")
    assert "No space left" in err.splitlines()[-1]
    assert "Traceback" not in err
    assert not list((small_disk(3) / "study").rglob("*.tmp"))
    small_disk(60)
    code, out, _ = cli(*words)
    assert code == 0
    assert "report" in out


@pytest.mark.slow
def test_a_killed_training_goes_on_from_its_checkpoint(crashing):
    """Not from the run's start; and a claim of the dead process is taken over at once."""
    found = crashing(points=[["checkpoint", 4]])

    check(found, "killed")
    assert continued(found, "killed") == 1
    assert "took over" in found["killed"][0]["events"]


def jobs_of(log, event):
    return [line["job"] for line in log if line["event"] == event]


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 4])
def test_processes_started_together_share_one_study(crashing, processes):
    """Each job is done once, two at a time, and every byte is as one process alone makes it."""
    found = crashing(processes=[processes])
    together = found[f"together{processes}"]

    assert [code for code, _ in together["ends"]] == [0] * processes
    assert together["predictions"] == found["reference"]
    done = jobs_of(together["log"], "finished")
    assert len(set(done)) == len(done) == 5
    busy, most = set(), 0
    for line in together["log"]:
        if line["event"] == "began":
            busy.add((line["pid"], line["job"]))
            most = max(most, len(busy))
        elif line["event"] == "finished":
            busy.discard((line["pid"], line["job"]))
    assert most >= 2


@pytest.mark.slow
def test_the_others_take_over_what_a_killed_process_was_doing(crashing):
    """One of two dies in the middle of a training: the other goes on with it and ends alone."""
    found = crashing(processes=[2], kill=["checkpoint", 4])
    together = found["together2"]

    assert [code for code, _ in together["ends"]] == [-9, 0]
    assert together["predictions"] == found["reference"]
    assert len(jobs_of(together["log"], "took over")) == 1
    assert jobs_of(together["log"], "took over") == jobs_of(together["log"], "continued")
