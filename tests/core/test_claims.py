"""Claims: one holder at a time; the dead lose theirs, at once here, after the lease elsewhere."""

import errno
import json
import os
import subprocess
import sys
import threading

import pytest

from radstart.core import claims as claims_room
from radstart.core.claims import Claims
from radstart.core.errors import RadstartError
from radstart.core.processes import machine


@pytest.fixture
def other(tmp_path, monkeypatch):
    """Return claims as a process of another machine made them, with a short lease here."""
    monkeypatch.setattr(claims_room, "LEASE", 0.2)
    monkeypatch.setattr(claims_room, "BEAT", 0.05)
    there = Claims(tmp_path)
    monkeypatch.setattr(
        there, "_identity", lambda: {"machine": "m", "host": "h", "pid": 1, "start": "0"}
    )
    return there


def test_a_name_has_one_holder_until_it_is_given_back(tmp_path):
    """The second gets nothing, and can ask whose it is."""
    first, second = Claims(tmp_path / "claims"), Claims(tmp_path / "claims")

    assert first.take("run") == {}
    assert second.take("run") is None
    assert second.owner("run")["pid"] == os.getpid()
    assert second.take("another run") == {}
    first.release("run")
    assert second.take("run") == {}
    first.close()
    second.close()
    assert not (tmp_path / "claims").exists()


def test_of_many_that_want_it_one_gets_it(tmp_path):
    """Also when a dead claim is there to be taken over."""
    dead = json.dumps({"machine": machine(), "host": "here", "pid": 2**22 + 1, "start": "1"})
    for turn in range(20):
        tmp_path.mkdir(exist_ok=True)  # the last one to leave removes it
        if turn % 2:
            (tmp_path / f"run{turn}.3").write_text(dead)
        everyone = [Claims(tmp_path) for _ in range(8)]
        ready, got = threading.Barrier(8), []

        def want(claims, name=f"run{turn}", ready=ready, got=got):
            ready.wait()
            got.append(claims.take(name))

        threads = [threading.Thread(target=want, args=(claims,)) for claims in everyone]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(former is not None for former in got) == 1
        for claims in everyone:
            claims.close()


def test_a_dead_process_of_this_machine_loses_its_claim_at_once(tmp_path):
    """Whoever takes it over learns whose it was; leftovers go."""
    code = (
        "import sys, os; from pathlib import Path; from radstart.core.claims import Claims;"
        "Claims(Path(sys.argv[1])).take('run'); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    mine = Claims(tmp_path)

    former = mine.take("run")
    assert former is not None
    assert former["pid"] != os.getpid()
    mine.release("run")
    assert list(tmp_path.iterdir()) == []


def test_a_number_given_anew_is_another_process(tmp_path):
    """The same pid with another start is not the one that claimed."""
    said = Claims(tmp_path)._identity() | {"start": "1"}
    (tmp_path / "run.1").write_text(json.dumps(said))

    assert Claims(tmp_path).take("run") == said


def test_a_claim_of_another_machine_holds_while_it_gives_signs_of_life(tmp_path, other):
    """After the lease without one it is taken over, whatever the clocks say."""
    assert other.take("run") == {}
    mine = Claims(tmp_path)
    waited = threading.Event()
    for _ in range(8):
        assert mine.take("run") is None
        waited.wait(0.05)

    other._stop.set()
    os.utime(tmp_path / "run.1", (0, 0))  # a clock that is years off
    assert mine.take("run") is None
    waited.wait(0.25)
    assert mine.take("run")["host"] == "h"
    other.release("run")  # it lives after all: the new holder's claim stays
    assert mine.owner("run")["pid"] == os.getpid()
    mine.close()


def test_a_damaged_claim_is_waited_for_and_then_taken_over(tmp_path, other):
    """An empty file (a full disk, a reboot) does not block a study for ever."""
    (tmp_path / "run.1").touch()
    mine = Claims(tmp_path)

    assert mine.take("run") is None
    threading.Event().wait(0.25)
    assert mine.take("run") == {}
    mine.close()


def test_where_nothing_can_be_written_one_line_says_so(tmp_path):
    """A file in the folder's place stands for a read-only disk."""
    (tmp_path / "claims").touch()

    with pytest.raises(RadstartError, match=r"cannot write.*--out"):
        Claims(tmp_path / "claims").take("run")


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP])
def test_file_systems_without_hard_links_serve_too(tmp_path, monkeypatch, number):
    """The claim is then made by exclusive creation."""

    def no_link(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", no_link)
    first, second = Claims(tmp_path), Claims(tmp_path)

    assert first.take("run") == {}
    assert second.take("run") is None
    first.close()
