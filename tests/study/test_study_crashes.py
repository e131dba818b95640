"""Killed at any moment, joined by any number of processes: the same study, to the byte."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import made_once

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def crashing(tmp_path_factory, images, weights):
    """Return a function (name, job): lets crashing.py do a job, once; returns what it found."""

    def run(name, **job):
        def make(folder):
            folder.mkdir()
            file = folder / "job.json"
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

        return json.loads((made_once(tmp_path_factory, name, make) / "found.json").read_text())

    return run


@pytest.fixture(scope="module")
def found(crashing):
    """Return what came of killing, filling the disk and working together, in one program."""
    return crashing(
        "crashes",
        times=[random.random() for _ in range(4)],
        full=[1, ["pixels", 2], ["splits", 1], ["checkpoint", 4], ["runs", 4], ["facts.json", 1]],
        points=[["checkpoint", 4]],
        processes=[4],
        kill=[["checkpoint", 4]],
    )


def check(found, kind):
    assert found[kind]
    for killed in found[kind]:
        assert killed["second"][0][0] == 0, killed
        assert killed["predictions"] == found["reference"], killed
        assert killed["left"] == [], killed


def continued(found, kind):
    return sum("continued" in killed["events"] for killed in found[kind])


@pytest.mark.slow
def test_from_what_a_kill_leaves_at_any_write_point_the_next_call_gives_the_same_bytes(crashing):
    """Just before each kind of change of a file: runs go on from their checkpoints."""
    found = crashing("states", states=True, grid=[3e-3])

    assert len(found["states"]) > 60
    check(found, "states")
    assert continued(found, "states") >= 4


@pytest.mark.slow
def test_killed_at_random_times_the_next_call_gives_the_same_bytes(found):
    """Anywhere between the first second and the last, others in every run."""
    check(found, "timed")


@pytest.mark.slow
def test_a_disk_that_is_full_from_any_moment_on_loses_nothing(found):
    """One line; with room again, the same command gives the same bytes."""
    assert [full["first"][0][0] for full in found["full"]] == [2] * len(found["full"])
    check(found, "full")
    assert continued(found, "full") >= 1


@pytest.mark.slow
def test_a_study_goes_on_when_its_disk_has_room_again(cli, small_disk, images, weights, quick):
    """A real disk that is full: one line and exit 2, no half-written file, then the answer."""
    words = [
        *("compare", images, "--arms", f"w=file:{weights}", "--image-size", 32, "--seeds", 2),
        *("--numerics", "fp32", "--epochs", 4, "--out", small_disk("size=3m") / "study"),
    ]
    code, out, err = cli(*words)

    assert (code, out) == (2, "")
    assert "No space left" in err.splitlines()[-1]
    assert "Traceback" not in err
    assert not list((small_disk("size=3m") / "study").rglob("*.tmp"))
    small_disk("size=60m")
    code, out, _ = cli(*words)
    assert code == 0
    assert "report" in out


@pytest.mark.slow
def test_a_killed_training_goes_on_from_its_checkpoint(found):
    """Not from the run's start; and a claim of the dead process is taken over at once."""
    assert found["killed"][0]["first"][0][0] == -9
    check(found, "killed")
    assert continued(found, "killed") == 1
    assert "took over" in found["killed"][0]["events"]


def jobs_of(log, event):
    return [line["job"] for line in log if line["event"] == event]


@pytest.mark.slow
def test_processes_started_together_share_one_study(found):
    """Each job is done once, two at a time, and every byte is as one process alone makes it."""
    together = found["together4"]

    assert [code for code, _ in together["ends"]] == [0] * 4
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
def test_the_others_take_over_what_a_killed_process_was_doing(found):
    """One of two dies in the middle of a training: the other goes on with it and ends alone."""
    bereaved = found["bereaved"][0]

    assert [code for code, _ in bereaved["ends"]] == [-9, 0]
    assert bereaved["predictions"] == found["reference"]
    assert len(jobs_of(bereaved["log"], "took over")) == 1
    assert jobs_of(bereaved["log"], "took over") == jobs_of(bereaved["log"], "continued")
