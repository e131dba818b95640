"""The thread of a study, read from top to bottom: prepare, plan, work, measure."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from radstart.backbones import read_numerics, usable_device
from radstart.core.claims import Claims
from radstart.core.errors import RadstartError
from radstart.core.files import os_reason, remove_leftovers, whole_file
from radstart.core.hashing import digest
from radstart.core.progress import Progress, Task
from radstart.study.facts import write_facts
from radstart.study.jobs import Board, Job, do, is_open_now, read_board
from radstart.study.journal import Journal
from radstart.study.open import read_facts
from radstart.study.plan import Plan, make_plan
from radstart.study.prepare import Prepared, begin, find_here, is_begun, prepare
from radstart.study.runs import RunSpec, outcome, run_folder, run_id, trial_folder
from radstart.study.spec import StudySpec, read_spec, to_toml
from radstart.study.starts import available, note_skipped
from radstart.weights import resolve_arms, start_model

POLL = 0.5  # seconds between two looks at what other processes have finished
MOST_BROKEN = 3  # jobs that break off in one process before it gives up
AFRESH = 5.0  # seconds after which the next job comes from a fresh look


@dataclass(frozen=True)
class Outcome:
    """What a call of `run_study` did: the folder, reasons of failed runs, the answer."""

    folder: Path
    failed: tuple[str, ...] = ()
    answer: tuple[str, ...] = ()
    planned_only: bool = False


def run_study(
    spec: StudySpec,
    folder: Path,
    *,
    device: str = "auto",
    workers: int = 1,
    processes: int = 1,
    numerics: str = "auto",
    dry_run: bool = False,
    offline: bool = False,
    skip_unavailable: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """Answer a question; what is finished in `folder` already is used, not redone.

    Any number of processes, also on several machines that share the folder, may call this with the
    same question at the same time: each run is done once.

    Args:
        spec: the question, checked.
        folder: of the study; made where absent, extended where it holds the same question with
            fewer arms, policies, budgets or seeds.
        device: `auto`, `cpu`, `cuda`, ...
        workers: threads that make training batches ahead.
        processes: how many to start on this machine, this one included.
        numerics: `auto`, `fp32` or a numerics.toml; a study that has begun keeps its own.
        dry_run: read the data, print the plan, train nothing.
        offline: fetch no weights; what is not on this machine cannot be had.
        skip_unavailable: go on without the arms that cannot be had; the report names them.
        progress: where progress goes; None = silent.

    Raises:
        RadstartError: anything that a person can mend; nothing half-written stays.
    """
    progress = progress or Progress()
    for option, given, least in (("--workers", workers, 0), ("--processes", processes, 1)):
        if given < least:
            raise RadstartError("out of range", option, str(given), f"use {least} or more")
    if folder.exists() and not folder.is_dir():
        raise RadstartError("is a file, not a folder", "--out", str(folder), "choose another --out")
    usable_device(device)
    if numerics not in ("auto", "fp32"):
        read_numerics(Path(numerics))
    had = partial(available, folder=folder, offline=offline, progress=progress)
    spec, skipped = had(spec, skip=skip_unavailable)
    for name, reason in skipped.items():
        progress.line(f"left out: {name}: {reason}")
    for start in resolve_arms(spec.arm, spec.backbone, spec.image_size, (0.5, 0.25), find_here):
        start_model(start, 2, spec.seed)  # misspelt names and misfits are found before data is read
    claims = Claims(folder / "claims")
    try:
        while True:
            prepared, plan = _prepared(
                spec, folder, claims, device, workers, processes, numerics, dry_run, progress
            )
            if dry_run:
                return Outcome(folder, planned_only=True)
            note_skipped(prepared.spec, folder, skipped)
            before = _mark(folder / "facts.json")
            with (
                _helpers(prepared, processes, device, progress) as look_after,
                progress.task("training", plan.work) as task,
            ):
                board = work(prepared, claims, task, look_after)
            facts = _conclude(prepared, claims, board, plan, before)
            if facts is not None:
                failed = tuple(_failures(prepared, board.runs or ()))
                return Outcome(folder, failed, tuple(facts["answer"]))
            progress.line("this study was extended meanwhile: going on with what was added")
            spec, _ = had(read_spec(folder / "study.toml"))
    finally:
        claims.close()
        with suppress(OSError):
            folder.rmdir()  # where nothing was written


def _prepared(
    spec: StudySpec, folder: Path, claims: Claims, device: str, workers: int, processes: int,
    numerics: str, dry_run: bool, progress: Progress,
) -> tuple[Prepared, Plan]:  # fmt: skip
    """Prepare the study, one process after the other until the folder holds this question."""
    waited = False
    while not (begun := is_begun(spec, folder)) and claims.take("preparation") is None:
        if not waited:
            progress.line(f"waiting: {_who(claims, 'preparation')} prepares this study")
        waited = True
        time.sleep(POLL)
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads // processes))  # what the measurement starts from
    try:
        if not begun:
            remove_leftovers(folder)
        prepared = prepare(
            spec, folder, device=device, workers=workers, numerics=numerics, progress=progress
        )
        plan = make_plan(prepared, processes)
        for line in plan.lines(prepared):
            progress.line(line)
        if not (begun or dry_run):
            begin(prepared)
    finally:
        torch.set_num_threads(threads)
        if not begun:
            claims.release("preparation")
    return prepared, plan


def work(
    prepared: Prepared,
    claims: Claims,
    task: Task,
    look_after: Callable[[], None] = lambda: None,
) -> Board:
    """Do open jobs, each under a claim, until none is left; return the finished board.

    A job that breaks off with an error of the program's is left to other processes and does not
    keep the rest from being done; the error is raised at the end.
    """
    journal = Journal(prepared.folder)
    broken: dict[str, Exception] = {}
    while True:
        board, read = read_board(prepared), time.monotonic()
        task.at(board.done, board.total)
        look_after()
        if board.runs is not None and not board.jobs:
            return board
        moved = False
        for job in board.jobs:
            if job.name in broken:
                continue
            try:
                moved = _done_here(prepared, job, claims, journal, task) or moved
            except RadstartError:
                raise
            except Exception as error:
                broken[job.name] = error
                if len(broken) >= MOST_BROKEN:
                    raise
            if moved and time.monotonic() - read > AFRESH:
                break
        if moved or not board.jobs:  # none = the last one was finished while the board was read
            continue
        left = [job for job in board.jobs if job.name not in broken]
        if not left:
            raise next(iter(broken.values()))
        task.note(f"waiting for {_who(claims, left[0].name)}: {left[0].text()}")
        time.sleep(max(POLL, 5 * (time.monotonic() - read)))


def _done_here(prepared: Prepared, job: Job, claims: Claims, journal: Journal, task: Task) -> bool:
    """Do a job if no other process is at it; return whether its state may have changed."""
    former = claims.take(job.name)
    if former is None:
        return False
    try:
        if not is_open_now(prepared, job):  # somebody finished it since the board was read
            return True
        if former:
            of = {key: former[key] for key in ("host", "pid")}
            journal.write("took over", job=job.name, **vars(job.run), of=of)
        task.note(job.text())
        do(prepared, job, task, journal)
    finally:
        claims.release(job.name)
    return True


def _who(claims: Claims, name: str) -> str:
    owner = claims.owner(name)
    return f"process {owner['pid']} on {owner['host']}" if owner else "another process"


@contextmanager
def _helpers(
    prepared: Prepared, processes: int, device: str, progress: Progress
) -> Iterator[Callable[[], None]]:
    """Let further processes work on the study while the block runs.

    Yields what says, when it is called, which of them ended early and why.
    """
    own = os.getpid()
    command = [sys.executable, "-m", "radstart.study.worker", str(prepared.folder.resolve())]
    command += [device, str(prepared.workers), str(own)]
    working: dict[Path, subprocess.Popen[bytes]] = {}

    def look_after() -> None:
        for said, process in list(working.items()):
            if process.poll() is None:
                continue
            del working[said]
            if process.returncode:
                last = said.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
                why = " ".join(last) or "killed; out of memory?"
                progress.line(f"one of the {processes} processes ended early: {why}; see {said}")
            else:
                said.unlink(missing_ok=True)

    quiet = {**os.environ, "GOMP_SPINCOUNT": os.environ.get("GOMP_SPINCOUNT", "1000")}
    try:
        for number in range(2, processes + 1):
            said = prepared.folder / "log" / f"{socket.gethostname()}-{own}-process{number}.txt"
            try:
                said.parent.mkdir(exist_ok=True)
                with said.open("wb") as file:
                    working[said] = subprocess.Popen(
                        command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=quiet
                    )
            except OSError as error:
                raise RadstartError(
                    "cannot start a process", "--processes", os_reason(error), "use --processes 1"
                ) from error
        yield look_after
        look_after()
    finally:
        for process in working.values():
            process.terminate()
        for said, process in working.items():
            process.wait()
            said.unlink(missing_ok=True)


def _conclude(
    prepared: Prepared,
    claims: Claims,
    board: Board,
    plan: Plan,
    before: tuple[int, int] | None,
) -> dict[str, Any] | None:
    """Write plan.parquet, results.parquet and facts.json, unless another process just did.

    Returns: the facts; None where the study was extended and there is more to do.
    """
    folder = prepared.folder
    facts = folder / "facts.json"
    asked = to_toml(prepared.spec)
    with claims.waiting("facts"):
        if to_toml(read_spec(folder / "study.toml")) != asked:
            return None
        if _mark(facts) not in (None, before):
            found = read_facts(folder)
            if found["study"] == digest(asked):
                return found
        runs = list(board.runs or ())
        _write_plan(prepared, runs)
        found = write_facts(prepared, runs, plan.detectable)
        _tidy(prepared, board)
        claims.sweep()
        return found


def _write_plan(prepared: Prepared, runs: list[RunSpec]) -> None:
    """Write plan.parquet: the runs that the answer rests on, with their ids."""
    table = pd.DataFrame([vars(run) for run in runs])
    table.insert(0, "run", [run_id(prepared, run) for run in runs])
    with whole_file(prepared.folder / "plan.parquet") as temporary:
        table.to_parquet(temporary, index=False)


def _tidy(prepared: Prepared, board: Board) -> None:
    """Delete what nobody needs any more, and what killed processes left half-written."""
    for run in board.trainings:  # the winners' models stand in their runs
        for name in ("model.safetensors", "checkpoint.safetensors"):
            (trial_folder(prepared, run) / name).unlink(missing_ok=True)
    dataset = prepared.dataset.path
    for folder in (prepared.folder, dataset / "cache", dataset / "splits"):
        remove_leftovers(folder)


def _failures(prepared: Prepared, runs: tuple[RunSpec, ...]) -> Iterator[str]:
    for run in runs:
        done = outcome(run_folder(prepared, run))
        if done["state"] == "failed":
            yield f"{run.text()}: {done['reason']}"


def _mark(file: Path) -> tuple[int, int] | None:
    """Return what changes when a file is written anew; None where it is absent."""
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_ino
