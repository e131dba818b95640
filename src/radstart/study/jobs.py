"""What a study still has to do, read from its folder alone, so that any process can go on.

A job is a training, the features of a frozen arm, or a run's scores. Jobs follow from what is
finished: the trials of the grid, more where an edge of it won, then the other seeds' trainings. The
runs' scores come last, when every choice of the study is made: only they read the test part.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from radstart.core.files import ask_anew
from radstart.core.progress import Task
from radstart.study.journal import Journal
from radstart.study.prepare import Prepared
from radstart.study.runs import (
    RunSpec,
    compute_features,
    features_path,
    finish_probe_run,
    finish_trained_run,
    is_done,
    is_trained,
    likely_steps,
    outcome,
    run_folder,
    run_id,
    steps_per_epoch,
    train_trial,
    trial_folder,
)
from radstart.training import POLICIES, grown_grid

FORWARD = 1 / 3  # of a training step's time
GROWN = 1  # values that the grid of learning rates grows by, on average


@dataclass(frozen=True)
class Job:
    """A piece of work that one process does.

    Attributes:
        kind: `training`, `features` of a frozen arm, or `scores` of a run.
        run: whose.
        name: of its claim; the same in every process.
        steps: its expected length in training steps.
        model_needed: a training whose model was dropped counts as not done.
    """

    kind: Literal["training", "features", "scores"]
    run: RunSpec
    name: str
    steps: float
    model_needed: bool = False

    def text(self) -> str:
        """Return what a person reads while it is done."""
        if self.kind == "features":
            return f"{self.run.arm}: features"
        return self.run.text() + ("" if self.run.lr is None else f", lr {self.run.lr:g}")


@dataclass(frozen=True)
class Board:
    """The state of a study.

    Attributes:
        jobs: those that can be done now, in their order.
        trainings: all that the choices and runs have asked for so far.
        runs: what the answer rests on; None while some choice is open.
        done, total: work in training steps, as far as known.
    """

    jobs: tuple[Job, ...]
    trainings: tuple[RunSpec, ...]
    runs: tuple[RunSpec, ...] | None
    done: float
    total: float


def read_board(prepared: Prepared) -> Board:
    """Return what is finished and what can be done now."""
    jobs: list[Job] = []
    asked: list[RunSpec] = []
    runs = list(probe_runs(prepared))
    done = total = 0.0
    chosen = True
    for policy, budget in trained_groups(prepared):
        trials, rates = rates_so_far(prepared, policy, budget)
        group = list(_runs_of(prepared, policy, budget, rates))
        trainings = dict.fromkeys([*trials, *group], False)
        trainings |= {run: True for run in group if not is_done(run_folder(prepared, run))}
        steps = likely_steps(prepared, budget)
        left = [
            Job("training", run, f"training-{run_id(prepared, run)}", steps, needed)
            for run, needed in trainings.items()
        ]
        left = [job for job in left if is_open(prepared, job)]
        known = len(trainings) if rates else max(len(trainings), expected_trainings(prepared))
        total += known * steps
        done += (len(trainings) - len(left)) * steps
        jobs += left
        asked += trainings
        runs += group
        chosen = chosen and bool(rates)
    features = list(_features(prepared))
    needed = [job for job in features if is_open(prepared, job)]
    jobs += needed
    total += sum(job.steps for job in features) + len(runs)
    done += sum(job.steps for job in features) - sum(job.steps for job in needed)
    scores = [
        Job("scores", run, f"scores-{run_id(prepared, run)}", 1.0)
        for run in runs
        if not is_done(run_folder(prepared, run))
    ]
    if chosen:  # from here on the test part may be read
        busy = {job.run for job in jobs if job.kind == "training"}
        made = {features_path(prepared, job.run) for job in jobs if job.kind == "features"}
        jobs += [
            job
            for job in scores
            if job.run not in busy
            and (job.run.lr is not None or features_path(prepared, job.run) not in made)
        ]
    done += len(runs) - len(scores)
    return Board(tuple(jobs), tuple(asked), tuple(runs) if chosen else None, done, total)


def probe_runs(prepared: Prepared) -> Iterator[RunSpec]:
    """Yield the frozen runs of the study, arm by arm, so that features are read once."""
    for arm in prepared.spec.arm:
        for seed in range(prepared.spec.seeds):
            for policy in prepared.spec.policies:
                if POLICIES[policy].probe:
                    for budget in prepared.spec.budgets:
                        yield RunSpec(arm.name, policy, budget, seed, None)


def trained_groups(prepared: Prepared) -> Iterator[tuple[str, float]]:
    """Yield the (policy, budget) pairs whose learning rate is to be chosen for every arm."""
    for budget in prepared.spec.budgets:
        for policy in prepared.spec.policies:
            if not POLICIES[policy].probe:
                yield policy, budget


def expected_trainings(prepared: Prepared) -> int:
    """Return how many trainings a policy takes under one budget, before its trials are known."""
    grown = GROWN if prepared.recipe.grid_growth else 0
    per_arm = len(prepared.recipe.grid) + grown + prepared.spec.seeds - 1
    return per_arm * len(prepared.arms)


def rates_so_far(
    prepared: Prepared, policy: str, budget: float
) -> tuple[list[RunSpec], dict[str, float]]:
    """Return the trials that the choice of learning rates asks for, and each arm's rate.

    All arms try the same grid on seed 0's draw; the smallest validation loss chooses; the grid
    grows for every arm alike while some arm's best is an edge. {} while trials are open.
    """
    recipe = prepared.recipe
    grid: tuple[float, ...] = recipe.grid
    while True:
        losses = {}
        trials = [
            RunSpec(arm.name, policy, budget, 0, rate) for arm in prepared.arms for rate in grid
        ]
        for trial in trials:
            folder = trial_folder(prepared, trial)
            if not is_done(folder):
                return trials, {}
            loss = outcome(folder).get("validation_loss")
            losses[trial] = math.inf if loss is None else loss
        best = {
            arm.name: min((loss, run.lr) for run, loss in losses.items() if run.arm == arm.name)[1]
            for arm in prepared.arms
        }
        rates = {arm: rate for arm, rate in best.items() if rate is not None}
        grown = grown_grid(grid, list(rates.values()), recipe.grid, recipe.grid_growth)
        if grown == grid:
            return trials, rates
        grid = grown


def _runs_of(
    prepared: Prepared, policy: str, budget: float, rates: dict[str, float]
) -> Iterator[RunSpec]:
    for arm, rate in rates.items():
        for seed in range(prepared.spec.seeds):
            yield RunSpec(arm, policy, budget, seed, rate)


def _features(prepared: Prepared) -> Iterator[Job]:
    """Yield one job per set of features that unfinished probes need."""
    seen = set()
    batches = steps_per_epoch(len(prepared.dataset.rows), prepared.recipe.batch_size)
    for run in probe_runs(prepared):
        path = features_path(prepared, run)
        if path not in seen and not is_done(run_folder(prepared, run)):
            seen.add(path)
            yield Job("features", run, f"features-{path.stem}", batches * FORWARD)


def is_open_now(prepared: Prepared, job: Job) -> bool:
    """Return whether a job is still to be done, also where a network disk answers from memory."""
    trial, run = trial_folder(prepared, job.run), run_folder(prepared, job.run)
    for folder in (trial.parent, trial, run.parent, run, prepared.dataset.path / "cache"):
        ask_anew(folder)
    return is_open(prepared, job)


def is_open(prepared: Prepared, job: Job) -> bool:
    """Return whether a job is still to be done."""
    if job.kind == "training":
        return not is_trained(trial_folder(prepared, job.run), job.model_needed)
    if job.kind == "features":
        return not features_path(prepared, job.run).is_file()
    return not is_done(run_folder(prepared, job.run))


def do(prepared: Prepared, job: Job, task: Task, journal: Journal) -> None:
    """Do a job: everything that it makes is whole on disk afterwards."""
    about = {"job": job.name, **vars(job.run)}

    def went_on(step: int) -> None:
        journal.write("continued", **about, step=step)
        task.start = (task.start or 0.0) + step  # those steps took no time here

    journal.write("began", **about)
    try:
        if job.kind == "training":
            folder = train_trial(prepared, job.run, task.advance, went_on)
        elif job.kind == "features":
            compute_features(prepared, job.run)
        elif job.run.lr is None:
            folder = finish_probe_run(prepared, job.run)
        else:
            folder = finish_trained_run(prepared, job.run)
    except BaseException as error:
        journal.write("stopped", **about, reason=type(error).__name__)
        raise
    reason = None if job.kind == "features" else outcome(folder).get("reason")
    if reason:
        journal.write("failed", **about, reason=reason)
    else:
        journal.write("finished", **about)
