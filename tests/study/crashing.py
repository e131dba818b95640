"""Runs a tiny study in forks of this process, some of which are killed on the way.

An audit hook counts what a fork does to the files of the study (open for writing, rename, link,
remove, make or remove a folder) and sends SIGKILL just before one of these, or lets the disk be
full from there on, or a timer sends SIGKILL after some seconds. Where every kind of write point is
asked for, one fork is stopped with all its threads just before each of them, and what lies on the
disk then, as a kill would leave it, is copied and gone on from. It is a program of its own
(`crashing.py JOB.json`), since a process that is to be forked should have few threads: the tests
write what to do and read what came of it.
"""

import contextlib
import errno
import functools
import hashlib
import json
import os
import re
import shutil
import signal
import sys
import threading
import time
import traceback
from pathlib import Path

import radstart
import radstart.study.prepare
from conftest import QUICK
from radstart.study.journal import read_journal
from radstart.training import Checkpoints, Recipe

Checkpoints.due = lambda self, looked: looked  # also where looks come faster than the disk writes
EVENTS = {"os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir"}
MATTERS = {"os.remove": True, "os.mkdir": False}  # whether the file is to be there


def question(images, weights):
    """Return the arguments of a study that passes through everything in about a second."""
    return {
        "data": images, "arms": [f"w=file:{weights}"], "policies": ["full", "frozen"], "seeds": 1,
        "image_size": 32, "epochs": 3, "numerics": "fp32", "workers": 0,
    }  # fmt: skip


def attempt(asked, out, at=None, seconds=None, processes=1, full=False):
    """Run the study in forks of this process; return how each ended and its number of events.

    Only the first is killed: before event number `at`, before event number `at[1]` on a file whose
    path holds `at[0]`, or after some seconds. `full` = its disk is full from `at` on, instead. A
    code of 2 stands for RadstartError, 1 for any other.
    """
    started = [_start(asked, out, at, seconds, full)]
    started += [_start(asked, out) for _ in range(processes - 1)]
    ends = []
    for pid, pipe in started:
        told = os.read(pipe, 64)
        os.close(pipe)
        _, status = os.waitpid(pid, 0)
        ends.append([os.waitstatus_to_exitcode(status), int(told or -1)])
    return ends


def _start(asked, out, at=None, seconds=None, full=False, stops=False):
    """Fork; return the process and a pipe: its number of events, or a line for each `stops`."""
    text, number = at if isinstance(at, (list, tuple)) else (str(out), at)
    read, write = os.pipe()
    pid = os.fork()
    if pid:
        os.close(write)
        return pid, read
    os.close(read)
    code, count = 1, 0

    def watch(event, arguments):
        nonlocal count
        writes = event in EVENTS
        if event == "open":
            _, mode, flags = arguments
            writes = bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)) if flags else mode != "r"
        exists = os.path.lexists(arguments[0]) if event in MATTERS else None
        if exists is not None and exists != MATTERS[event]:
            return  # nothing will change
        if writes and str(out) in str(arguments[0]) and text in str(arguments[0]):
            count += 1
            if stops:
                where = str(arguments[0]).partition(str(out))[2]
                os.write(write, f"{event} {where}\n".encode())
                signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
            if not full and count == number:
                os.kill(os.getpid(), signal.SIGKILL)
            if full and count >= number and event not in ("os.remove", "os.rmdir"):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    try:
        sys.addaudithook(watch)
        if seconds is not None:
            signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
            signal.setitimer(signal.ITIMER_REAL, seconds)
        radstart.compare(out=out, **asked)
        os.write(write, b"" if stops else str(count).encode())
        code = 0
    except radstart.RadstartError as error:
        code = 2
        print(error, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def kind(point):
    """Return a write point without ids and numbers; None for one that another one covers.

    Just before a temporary file is opened all is as it was after the point before, and just before
    it gets its name as well, but for the file itself: the second alone is a kind. So are the few
    tables of the report together, and each look's checkpoint for itself.
    """
    event, _, where = point.partition(" ")
    if event == "open" and where.endswith(".tmp"):
        return None
    where = re.sub(r"/tables/.*", "/tables/*", where)
    return event, re.sub(r"[0-9a-f]{8,}|\d+", "*", where)


def states(asked, out, base):
    """Run a study to its end; return a copy of its folder as of just before each kind of write."""
    pid, pipe = _start(asked, out, stops=True)
    os.set_blocking(pipe, False)
    found, seen = [], set()
    while os.WIFSTOPPED(status := os.waitpid(pid, os.WUNTRACED)[1]):
        with contextlib.suppress(BlockingIOError):  # of two threads' stops the first has read both
            for point in os.read(pipe, 4096).decode().splitlines():
                which = kind(point)
                if which and (which not in seen or "checkpoint" in point):
                    seen.add(which)
                    found.append((point, base / f"state{len(found)}"))
                    if out.exists():
                        shutil.copytree(out, found[-1][1])
        os.kill(pid, signal.SIGCONT)
    os.close(pipe)
    assert os.waitstatus_to_exitcode(status) == 0
    shutil.rmtree(out)
    return found


def predictions(out):
    """Return a hash of every run's cases and model."""
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for name in ("cases.parquet", "model.safetensors")
        for path in sorted(Path(out).glob(f"runs/*/{name}"))
    }


def killed_and_continued(asked, out, at=None, seconds=None, full=False):
    """Kill one attempt, let the next one finish; return how both ended and what came of it."""
    first = attempt(asked, out, at, seconds, full=full)
    return {"first": first, **continued(asked, out)}


def continued(asked, out):
    """Let an attempt go on with what lies in `out`; return how it ended and what came of it."""
    second = attempt(asked, out)
    found = {
        "second": second,
        "predictions": predictions(out),
        "events": [line["event"] for line in read_journal(out)],
        "left": sorted(
            str(path.relative_to(out))
            for path in out.rglob("*")
            if path.suffix == ".tmp" or path.name.startswith("checkpoint") or "claims" in path.parts
        ),
    }
    shutil.rmtree(out)
    return found


def gone_on(asked, out, state):
    """Put a state back to where its study stood, and go on."""
    if state.exists():
        state.rename(out)
    return continued(asked, out)


def together(asked, out, processes, at=None):
    """Let several processes work on one study, of which one may be killed."""
    ends = attempt(asked, out, at, processes=processes)
    return {"ends": ends, "predictions": predictions(out), "log": read_journal(out)}


def main(file):
    """Do what the file asks for, and write what came of it beside it."""
    job = json.loads(file.read_text())
    base, asked = file.parent, question(job["images"], job["weights"])
    recipe = QUICK | {"grid": tuple(job.get("grid", QUICK["grid"]))}
    radstart.study.prepare.Recipe = functools.partial(Recipe, **recipe)
    radstart.compare(out=base / "reference", **asked)  # here, so that forks have all modules
    found = {"reference": predictions(base / "reference")}
    if "states" in job:
        stopped = states(asked, base / "alone", base)
        found["states"] = [
            {"point": point, **gone_on(asked, base / "alone", state)} for point, state in stopped
        ]
    took = time.monotonic()
    if "times" in job:
        attempt(asked, base / "measured")
    took = time.monotonic() - took
    found["killed"] = [
        killed_and_continued(asked, base / f"killed{i}", at=at)
        for i, at in enumerate(job.get("points", []))
    ]
    found["full"] = [
        killed_and_continued(asked, base / f"full{i}", at=at, full=True)
        for i, at in enumerate(job.get("full", []))
    ]
    found["timed"] = [
        killed_and_continued(asked, base / f"timed{i}", seconds=share * took)
        for i, share in enumerate(job.get("times", []))
    ]
    for processes in job.get("processes", []):
        out = base / f"together{processes}"
        found[f"together{processes}"] = together(asked, out, processes)
    found["bereaved"] = [
        together(asked, base / f"bereaved{i}", 2, at) for i, at in enumerate(job.get("kill", []))
    ]
    file.with_name("found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
