"""Several processes in one study: what one of them meets must not stop the others."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import radstart
from conftest import QUICK, prepared_again
from radstart.core.claims import Claims
from radstart.core.progress import Progress
from radstart.study import compare as thread
from radstart.study import jobs
from radstart.study.journal import read_journal


@pytest.fixture
def ask(images, weights, tmp_path, quick):
    """Return a function that asks a small question into tmp_path / s, with changes."""
    question = {
        "arms": [f"w=file:{weights}", "random"],
        "policies": ["full"],
        "seeds": 1,
        "image_size": 32,
        "epochs": 1,
        "numerics": "fp32",
    }
    return lambda **changes: radstart.compare(images, out=tmp_path / "s", **(question | changes))


@pytest.mark.slow
def test_a_job_that_breaks_off_does_not_keep_the_rest_from_being_done(ask, tmp_path, monkeypatch):
    """An error of the program's own is raised at the end; the next call does only that job."""
    train = jobs.train_trial

    def broken(prepared, run, *rest):
        if run.arm == "random" and run.lr == QUICK["grid"][0]:
            raise RuntimeError("out of memory")
        return train(prepared, run, *rest)

    monkeypatch.setattr(jobs, "train_trial", broken)
    with pytest.raises(RuntimeError, match="out of memory"):
        ask()
    events = [(line["event"], line["arm"]) for line in read_journal(tmp_path / "s")]
    assert events.count(("finished", "w")) == 2
    assert events.count(("finished", "random")) == 1
    monkeypatch.setattr(jobs, "train_trial", train)
    study = ask()
    assert set(study.runs["state"]) == {"done"}
    finished = [x["job"] for x in read_journal(tmp_path / "s") if x["event"] == "finished"]
    assert len(finished) == len(set(finished)) == 6


@pytest.mark.slow
def test_a_board_whose_last_trial_ends_while_it_is_read_is_read_again(ask, tmp_path, monkeypatch):
    """No job and no answer is not an end: the state has just moved on."""
    study = ask()
    prepared, looks = prepared_again(study.path), []
    read = jobs.read_board

    def between(prepared):
        board = read(prepared)
        looks.append(board)
        return jobs.Board((), (), None, 0.0, 1.0) if len(looks) == 1 else board

    monkeypatch.setattr(thread, "read_board", between)
    claims = Claims(tmp_path / "claims")
    with Progress().task("training", 1) as task:
        assert thread.work(prepared, claims, task).runs == looks[-1].runs
    assert len(looks) == 2


@pytest.mark.slow
def test_features_are_computed_once_also_while_others_wait_for_them(ask, tmp_path):
    """A probe is no job while another process makes its features."""
    study = ask(policies=["frozen"], seeds=2)
    prepared = prepared_again(study.path)
    for path in [
        *(study.path / "runs").glob("*/done.json"),
        *study.path.glob("dataset/cache/*.npy"),
    ]:
        path.unlink()

    board = jobs.read_board(prepared)
    assert {job.kind for job in board.jobs} == {"features"}
    first, *rest = board.jobs
    jobs.compute_features(prepared, first.run)
    kinds = [job.kind for job in jobs.read_board(prepared).jobs]
    assert kinds.count("features") == len(rest)
    assert "scores" in kinds


@pytest.mark.slow
def test_a_process_at_work_goes_on_with_what_another_call_adds(ask, tmp_path, monkeypatch):
    """The smaller question's process does not end in an error: it answers the larger one."""
    work = thread.work
    added = threading.Event()

    def slow(prepared, *rest):
        board = work(prepared, *rest)
        if not added.is_set():
            added.set()
            thread.begin(prepared_with_seeds(prepared, 2))
        return board

    monkeypatch.setattr(thread, "work", slow)
    study = ask()
    assert study.facts["question"]["seeds"] == 2
    assert len(study.runs) == 4


def prepared_with_seeds(prepared, seeds):
    from dataclasses import replace

    return replace(prepared, spec=replace(prepared.spec, seeds=seeds))


@pytest.mark.slow
def test_two_calls_with_helpers_of_their_own_share_a_study(ask, tmp_path, images, weights):
    """As on two machines: both end well, each job was done once, nothing is left at work."""
    words = [
        *(sys.executable, "-m", "radstart.cli", "compare", images, "--out", tmp_path / "s"),
        *("--arms", f"w=file:{weights},random", "--policies", "full,frozen", "--seeds", "1"),
        *("--image-size", "32", "--epochs", "2", "--numerics", "fp32", "--processes", "2"),
    ]
    calls = [
        subprocess.Popen(list(map(str, words)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for _ in range(2)
    ]
    said = [call.communicate()[0].decode() for call in calls]

    assert [call.returncode for call in calls] == [0, 0], said
    log = read_journal(tmp_path / "s")
    finished = [line["job"] for line in log if line["event"] == "finished"]
    assert len(finished) == len(set(finished))
    assert not (tmp_path / "s" / "claims").exists()
    assert not list((tmp_path / "s" / "log").glob("*.txt"))


@pytest.mark.slow
def test_a_helper_that_is_killed_is_told_of_and_a_killed_call_takes_its_helper_along(
    tmp_path, images, weights
):
    """The work goes on without it; nobody works on behind a dead call's back."""
    words = [
        *(sys.executable, "-m", "radstart.cli", "compare", images, "--out", tmp_path / "s"),
        *("--arms", f"w=file:{weights},random", "--policies", "full", "--seeds", "9"),
        *("--image-size", "64", "--epochs", "40", "--numerics", "fp32", "--processes", "2"),
    ]
    log = tmp_path / "log"
    with log.open("wb") as file:
        call = subprocess.Popen(list(map(str, words)), stdout=file, stderr=file)

    def helpers():
        """Return the processes that work for a call in this folder (Linux)."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                words = path.read_bytes().decode().split("\0")
                if "radstart.study.worker" in words and str(tmp_path) in " ".join(words):
                    found.append(int(path.parent.name))
        return found

    def wait_for(what):
        until = time.monotonic() + 60
        while not what() and time.monotonic() < until:
            time.sleep(0.1)
        assert what(), log.read_text()

    wait_for(helpers)
    os.kill(helpers()[0], signal.SIGKILL)
    wait_for(lambda: "ended early: killed" in log.read_text())
    call.kill()
    call.wait()

    with log.open("wb") as file:
        call = subprocess.Popen(list(map(str, words)), stdout=file, stderr=file)
    wait_for(helpers)
    call.kill()  # while its helper still starts
    call.wait()
    wait_for(lambda: not helpers())
