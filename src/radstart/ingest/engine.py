"""Where tasks run: in threads of this process, in worker processes, or on a cluster.

All give the same: every task writes its own files, named by what they were made from.
"""

import logging
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from radstart.core.errors import RadstartError
from radstart.ingest.workers import Limits, Work, in_processes

ENGINES = ("local", "ray")


@dataclass(frozen=True)
class Engine:
    """Where and how wide.

    Attributes:
        name: "local", or "ray" (an extra).
        workers: processes; 0 = threads of this process, for small plain images.
        limits: what one file may cost, in processes.
    """

    name: str = "local"
    workers: int = 1
    limits: Limits = field(default_factory=Limits)


def run(engine: Engine, work: Work, tasks: Iterable[Any]) -> Iterator[tuple[int, Any]]:
    """Work on all tasks; yield (number, result) as they end.

    Raises:
        RadstartError: a file could not be written, processes cannot be started, no ray.
    """
    if engine.name == "ray":
        return _in_ray(engine, work, tasks)
    if engine.workers == 0:
        return _in_threads(work, tasks)
    return in_processes(work, tasks, count=engine.workers, limits=engine.limits)


def _in_threads(work: Work, tasks: Iterable[Any]) -> Iterator[tuple[int, Any]]:
    with warnings.catch_warnings(), ThreadPoolExecutor(4) as pool:
        warnings.simplefilter("ignore")  # decoders'; what matters is raised as an error
        yield from _as_they_end(
            tasks, 8, lambda task: pool.submit(work, task, {}, lambda place: None)
        )


def _as_they_end(
    tasks: Iterable[Any], most: int, submit: Callable[[Any], "Future[Any]"]
) -> Iterator[tuple[int, Any]]:
    todo, running = iter(enumerate(tasks)), dict[Any, int]()
    while True:
        for number, task in islice(todo, most - len(running)):
            running[submit(task)] = number
        if not running:
            return
        done, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            yield running.pop(future), future.result()


def _in_ray(engine: Engine, work: Work, tasks: Iterable[Any]) -> Iterator[tuple[int, Any]]:
    """Run tasks on the cluster that ray finds, else on this machine; nodes share the folders.

    A task runs in a worker process of its node, under the same limits; a node that is lost has its
    tasks done again elsewhere.
    """
    try:
        import ray
    except ImportError as error:
        raise RadstartError(
            "is not installed", "--engine ray", "no module ray", "pip install 'radstart[ray]'"
        ) from error
    started = not ray.is_initialized()
    if started:
        ray.init(log_to_driver=False, include_dashboard=False, logging_level=logging.ERROR)
    remote = ray.remote(num_cpus=1, max_retries=5)(_one)
    todo, running = iter(enumerate(tasks)), dict[Any, int]()
    most = 2 * max(1, int(ray.cluster_resources().get("CPU", 1)))
    try:
        while True:
            for number, task in islice(todo, most - len(running)):
                running[remote.remote(work, task, engine.limits)] = number
            if not running:
                return
            for done in ray.wait(list(running), num_returns=1)[0]:
                number = running.pop(done)
                try:
                    kind, value = ray.get(done)
                except (
                    ray.exceptions.RaySystemError,
                    ray.exceptions.WorkerCrashedError,
                    ray.exceptions.NodeDiedError,
                ) as error:
                    raise _lost(error) from error
                if kind == "refused":
                    raise RadstartError(**value)
                yield number, value
    finally:
        for left in running:  # nothing writes any more when this ends
            ray.cancel(left, force=True)
        if started:
            ray.shutdown()


def _lost(error: Exception) -> RadstartError:
    return RadstartError(
        "the cluster loses its processes again and again", "--engine ray", type(error).__name__,
        "look at its nodes; the same command continues",
    )  # fmt: skip


def _one(work: Work, task: Any, limits: Limits) -> tuple[str, Any]:
    """Work on one task in a process of its own; what a cluster's worker runs."""
    try:
        return "done", next(iter(in_processes(work, [task], count=1, limits=limits)))[1]
    except RadstartError as error:
        said = {"what": error.what, "where": error.where, "got": error.got}
        return "refused", {**said, "remedy": error.remedy}
