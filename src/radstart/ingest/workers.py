"""Work on files that are not trusted, in processes that may be killed: each file costs itself only.

A task is a list of files worked on one after the other. The worker says which file it begins; where
one takes too long, or the process dies of it, the process is replaced and the task begins again
without that file, which has the reason instead.
"""

import importlib
import multiprocessing
import signal
import subprocess
import sys
import time
import traceback
from collections import deque
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
class _Worker:
    process: subprocess.Popen[bytes]
    pipe: Connection
    number: int = -1
    file: int = -1
    since: float = 0.0
    bad: dict[int, str] = field(default_factory=dict)


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
    todo: Iterator[tuple[int, Any]] = iter(enumerate(tasks))
    again: deque[tuple[int, Any, dict[int, str]]] = deque()
    running: dict[Connection, tuple[_Worker, Any]] = {}
    idle: list[_Worker] = []
    try:
        while True:
            while len(running) < count:
                given = _next(again, todo)
                if given is None:
                    break
                worker = idle.pop() if idle else _start(work, limits)
                number, task, bad = given
                worker.number, worker.bad = number, bad
                worker.file, worker.since = -1, time.monotonic()
                worker.pipe.send((task, bad))
                running[worker.pipe] = worker, task
            if not running:
                return
            for pipe in wait(list(running), timeout=_patience(running, limits)):
                worker, task = running[pipe]  # type: ignore[index]
                try:
                    kind, value = worker.pipe.recv()
                except (EOFError, OSError):
                    del running[worker.pipe]
                    again.append(_without(worker, task, _reason(worker), limits))
                    continue
                worker.since = time.monotonic()
                if kind == "file":
                    worker.file = value
                    continue
                del running[worker.pipe]
                idle.append(worker)
                if kind == "error":
                    raise value
                yield worker.number, value
            now = time.monotonic()
            for worker, task in list(running.values()):
                if now - worker.since > limits.seconds:
                    del running[worker.pipe]
                    _kill(worker)
                    why = f"took longer than {limits.seconds:.0f} seconds"
                    again.append(_without(worker, task, why, limits))
    finally:
        for worker in [*idle, *(worker for worker, _ in running.values())]:
            _kill(worker)


def _next(
    again: deque[tuple[int, Any, dict[int, str]]], todo: Iterator[tuple[int, Any]]
) -> tuple[int, Any, dict[int, str]] | None:
    if again:
        return again.popleft()
    given = next(todo, None)
    return None if given is None else (*given, {})


def _patience(running: Mapping[Connection, tuple[_Worker, Any]], limits: Limits) -> float:
    first = min(worker.since for worker, _ in running.values())
    return max(0.01, first + limits.seconds - time.monotonic() + 0.01)


def _without(
    worker: _Worker, task: Any, why: str, limits: Limits
) -> tuple[int, Any, dict[int, str]]:
    """Return the task again, the file at which its process ended left out."""
    bad = {**worker.bad, worker.file: why}
    if worker.file < 0 or worker.file in worker.bad or len(bad) > limits.most_bad:
        raise RadstartError(
            "worker processes die", "", why, "free memory, or use fewer with --workers"
        )
    return worker.number, task, bad


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


def _start(work: Work, limits: Limits) -> _Worker:
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
            stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise RadstartError(
            "cannot start a process", sys.executable, os_reason(error), "use fewer with --workers"
        ) from error
    finally:
        there.close()
    return _Worker(process, here)


def serve(handle: int, module: str, name: str, memory: int) -> None:
    """Work on tasks until the pipe is closed: what a worker process runs.

    Its own session keeps the terminal's Ctrl-C away from it; it ends when its pipe does.
    """
    pipe = Connection(handle)
    work = getattr(importlib.import_module(module), name)
    _limit(memory)
    with suppress(EOFError, OSError):  # the parent is gone, or closed the pipe
        while True:
            task, bad = pipe.recv()
            try:
                message = ("done", work(task, bad, lambda place: pipe.send(("file", place))))
            except Exception as error:
                message = ("error", _plain(error))
            pipe.send(message)


def _plain(error: Exception) -> Exception:
    """Return an error that can be sent: with its trace as text where it is no RadstartError."""
    if isinstance(error, RadstartError):
        return error
    return RuntimeError("".join(traceback.format_exception(error)))


def _limit(memory: int) -> None:
    """Limit the address space, where the system can: an allocation beyond it is a MemoryError."""
    if sys.platform == "linux":
        import resource

        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
