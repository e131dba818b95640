"""A file that kills, hangs or fills memory costs itself only; what the others gave is kept."""

import ctypes
import os
import time

import pytest

from radstart.core.errors import RadstartError
from radstart.ingest.workers import Limits, in_processes


def work(task, bad, begin):
    """Return what became of every file of a task."""
    found = []
    for place, file in enumerate(task):
        if place in bad:
            found.append(bad[place])
            continue
        begin(place)
        if file == "hangs":
            time.sleep(60)
        if file == "crashes":
            ctypes.string_at(0)
        if file == "ends":
            os._exit(3)
        if file == "killed":
            os.kill(os.getpid(), 9)
        if file == "fault":
            raise KeyError("ours")
        try:
            size = int(file) if file.isdigit() else 1
            found.append(len(bytes(size)))
        except MemoryError:
            found.append("too large")
    return found


def results(tasks, **limits):
    return dict(in_processes(work, tasks, count=2, limits=Limits(**limits)))


@pytest.fixture(autouse=True)
def _found_by_workers(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([os.path.dirname(__file__)]
                       + [p for p in [os.environ.get("PYTHONPATH")] if p]))  # fmt: skip


@pytest.mark.slow
def test_every_task_is_worked_on_and_told_apart():
    assert results([["5"] * n for n in range(7)]) == {n: [5] * n for n in range(7)}


@pytest.mark.slow
def test_a_file_that_ends_its_process_is_left_out_and_the_others_are_not():
    found = results([["1", "crashes", "2"], ["3", "ends", "killed", "4"], ["5"]])

    assert found[0] == [1, "crashes the decoder (SIGSEGV)", 2]
    assert found[1] == [
        3, "ends the process that decodes it", "its process was killed: out of memory", 4,
    ]  # fmt: skip
    assert found[2] == [5]


@pytest.mark.slow
def test_a_file_that_hangs_is_left_out():
    assert results([["1", "hangs", "2"]], seconds=3) == {0: [1, "took longer than 3 seconds", 2]}


@pytest.mark.slow
def test_memory_is_limited():
    assert results([[str(3 << 30), "7"]], memory=2 << 30) == {0: ["too large", 7]}


@pytest.mark.slow
def test_a_fault_of_ours_is_raised_with_its_trace():
    with pytest.raises(RuntimeError, match="KeyError in a worker process"):
        results([["1"], ["fault"]])


@pytest.mark.slow
def test_a_task_that_kills_before_its_first_file_is_given_up(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "")
    with pytest.raises((RadstartError, RuntimeError)):
        results([["1"]])
