"""Work on files that are not trusted, in processes that may be killed: each file costs itself only.

A task is a list of files worked on one after the other. The worker says which file it begins; where
one takes too long, or the process dies of it twice, the process is replaced and the task begins
again without that file, which has the reason instead. (Once may be an accident: somebody killed the
process, another one filled the memory.)
"""

import ctypes
import importlib
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

from radstart.core.errors import RadstartError
from radstart.core.files import os_reason

Bad = Mapping[int, str]
"""Place of a file in its task -> why it must not be touched."""
Work = Callable[[Any, Bad, Callable[[int], None]], Any]
"""(task, files to leave out, say which file begins) -> a result that can be pickled."""
NOTHING = -1
"""Instead of a file: none is worked on; what they gave is written down."""
DEATHS = 2
"""Of processes at one file, until it is left out."""
LOST = 3
"""Of processes at no file, until the task is given up."""
_BETWEEN = 300.0  # seconds at the least to start, or to write down what files gave
_THREADS = ("OMP", "OPENBLAS", "MKL")
_AROUND = {
    **{f"{name}_NUM_THREADS": "1" for name in _THREADS},
    "OPENCV_FOR_THREADS_NUM": "1",
    "MALLOC_MMAP_THRESHOLD_": str(1 << 26),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 28),
}
"""Around a worker: there are as many as cores, so none starts threads for each of them; and the
memory of one image (bytes) is kept for the next one, or half the time goes into asking for it."""
_DEATH_OF_PARENT = 1  # PR_SET_PDEATHSIG of Linux

_GIB = 1 << 30


@dataclass(frozen=True)
class Limits:
    """What one file may cost.

    Attributes:
        seconds: for a file, or an image of it.
        memory: bytes of address space of a worker process.
        most_bad: files of one task that may kill their process before the task is given up.
    """

    seconds: float = 60.0
    memory: int = 6 * _GIB
    most_bad: int = 1000


@dataclass
class _Given:
    """A task on its way: its number, what it is, files to leave out, deaths by file."""

    number: int
    task: Any
    bad: dict[int, str] = field(default_factory=dict)
    deaths: Counter[int] = field(default_factory=Counter)


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    pipe: Connection
    given: _Given
    file: int = NOTHING
    since: float = 0.0

    def left(self, limits: Limits) -> float:
        """Return the seconds until it takes too long."""
        most = limits.seconds if self.file != NOTHING else max(limits.seconds, _BETWEEN)
        return self.since + most - time.monotonic()


def in_processes(
    work: Work, tasks: Iterable[Any], *, count: int, limits: Limits | None = None
) -> Iterator[tuple[int, Any]]:
    """Work on every task in `count` processes; yield (number of the task, result) as they end.

    Tasks are taken from the iterable as workers become free: memory holds `count` of them.

    Args:
        work: a module's function; it must call its last argument with the place of each file.
        tasks: what can be pickled.
        count: of processes, at least 1.
        limits: of one file.

    Raises:
        RadstartError: processes cannot be started, or files of one task kill them without end.
        Exception: what `work` raised: a fault of ours, not of a file.
    """
    limits = limits or Limits()
    todo = (_Given(number, task) for number, task in enumerate(tasks))
    again: deque[_Given] = deque()
    running: dict[Connection, _Worker] = {}
    idle: list[_Worker] = []
    try:
        while True:
            while len(running) < count:
                given = again.popleft() if again else next(todo, None)
                if given is None:
                    break
                worker = idle.pop() if idle else _start(work, limits, given)
                running[worker.pipe] = worker
                worker.given, worker.file, worker.since = given, NOTHING, time.monotonic()
                with suppress(OSError):  # it died while idle: found below
                    worker.pipe.send((given.task, given.bad))
            if not running:
                return
            for pipe in wait(list(running), timeout=_patience(running.values(), limits)):
                worker = running[pipe]  # type: ignore[index]
                try:
                    kind, value = worker.pipe.recv()
                except (EOFError, OSError):
                    del running[worker.pipe]
                    again.append(_once_more(worker, _reason(worker), DEATHS, limits))
                    continue
                worker.since = time.monotonic()
                if kind == "file":
                    worker.file = value
                    continue
                del running[worker.pipe]
                idle.append(worker)
                if kind == "error":
                    raise value
                yield worker.given.number, value
            for worker in list(running.values()):
                if worker.left(limits) < 0:
                    del running[worker.pipe]
                    _kill(worker)
                    why = f"took longer than {limits.seconds:.0f} seconds"
                    again.append(_once_more(worker, why, 1, limits))
    finally:
        for worker in [*idle, *running.values()]:
            _kill(worker)


def _patience(running: Iterable[_Worker], limits: Limits) -> float:
    return max(0.0, min(worker.left(limits) for worker in running)) + 0.01


def _once_more(worker: _Worker, why: str, most: int, limits: Limits) -> _Given:
    """Return a worker's task again; the file at which its process ended `most` times is left out.

    Raises:
        RadstartError: it ended too often at no file, or at too many files.
    """
    given = worker.given
    given.deaths[worker.file] += 1
    if worker.file == NOTHING:
        most = LOST
    if given.deaths[worker.file] < most:
        return given
    given.bad[worker.file] = why
    if worker.file == NOTHING or len(given.bad) > limits.most_bad:
        raise RadstartError(
            "worker processes die", "", why, "free memory, or use fewer with --workers"
        )
    return given


def _reason(worker: _Worker) -> str:
    with suppress(subprocess.TimeoutExpired):
        worker.process.wait(5)
    code = worker.process.returncode
    _kill(worker)
    if code is not None and code < 0:
        with suppress(ValueError):
            if signal.Signals(-code) == signal.SIGKILL:
                return "its process was killed: out of memory"
            return f"crashes the decoder ({signal.Signals(-code).name})"
    return "ends the process that decodes it"


def _kill(worker: _Worker) -> None:
    with suppress(OSError):
        worker.pipe.close()
    worker.process.kill()
    with suppress(subprocess.TimeoutExpired):
        worker.process.wait(5)


def _start(work: Work, limits: Limits, given: _Given) -> _Worker:
    """Start a fresh interpreter: it shares no memory, and runs nothing of the caller's script."""
    here, there = multiprocessing.Pipe()
    call = (
        f"from radstart.ingest.workers import serve; serve({there.fileno()}, "
        f"{work.__module__!r}, {work.__qualname__!r}, {limits.memory})"
    )
    try:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", call],
            pass_fds=[there.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True, env={**os.environ, **_AROUND},
        )  # fmt: skip
    except OSError as error:
        raise RadstartError(
            "cannot start a process", sys.executable, os_reason(error), "use fewer with --workers"
        ) from error
    finally:
        there.close()
    return _Worker(process, here, given)


def serve(handle: int, module: str, name: str, memory: int) -> None:
    """Work on tasks until the pipe is closed: what a worker process runs.

    Its own session keeps the terminal's Ctrl-C away from it; it ends when its pipe does, on Linux
    also in the middle of a file when its parent does.
    """
    _end_with_parent()
    pipe = Connection(handle)
    work = getattr(importlib.import_module(module), name)
    _limit(memory)
    logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)  # its lines quote headers
    with suppress(EOFError, OSError):  # the parent is gone, or closed the pipe
        while True:
            task, bad = pipe.recv()
            try:
                message = ("done", work(task, bad, lambda place: pipe.send(("file", place))))
            except Exception as error:
                message = ("error", _plain(error))
            pipe.send(message)


def _end_with_parent() -> None:
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_DEATH_OF_PARENT, signal.SIGKILL)


def _plain(error: Exception) -> Exception:
    """Return an error that can be sent: its trace where it is no RadstartError.

    Its words are left out: they may quote a header.
    """
    if isinstance(error, RadstartError):
        return error
    trace = "".join(traceback.format_tb(error.__traceback__))
    return RuntimeError(f"{type(error).__name__} in a worker process\n{trace}")


def _limit(memory: int) -> None:
    """Limit the address space, where the system can: an allocation beyond it is a MemoryError."""
    if sys.platform == "linux":
        import resource

        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
