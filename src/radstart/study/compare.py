"""The thread of a study, read from top to bottom: prepare, plan, choose, run, measure."""

import math
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from radstart.core.files import whole_file
from radstart.core.progress import Progress, Task
from radstart.study.facts import write_facts
from radstart.study.plan import make_plan, probe_runs, trained_groups
from radstart.study.prepare import Prepared, begin, prepare, study_lock
from radstart.study.runs import (
    RunSpec,
    finish_probe_run,
    finish_trained_run,
    likely_steps,
    outcome,
    run_id,
    train_trial,
)
from radstart.study.spec import StudySpec
from radstart.training import grown_grid
from radstart.weights import resolve_arms, start_model


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
    numerics: str = "auto",
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """Answer a question: everything that is not finished is done, nothing finished is redone.

    Args:
        spec: the question, checked.
        folder: of the study; made where absent, extended where it holds the same question with
            fewer arms, policies, budgets or seeds.
        device: `auto`, `cpu`, `cuda`, ...
        workers: threads that make training batches ahead.
        numerics: `auto`, `fp32` or a numerics.toml; a study that has begun keeps its own.
        dry_run: read the data, print the plan, train nothing.
        progress: where progress goes; None = silent.

    Raises:
        RadstartError: anything that a person can mend; nothing half-written stays.
    """
    progress = progress or Progress()
    for start in resolve_arms(spec.arm, spec.backbone, spec.image_size, (0.5, 0.25)):
        start_model(start, 2, spec.seed)  # misspelt names and misfits are found before data is read
    with study_lock(folder):
        prepared = prepare(
            spec, folder, device=device, workers=workers, numerics=numerics, progress=progress
        )
        plan = make_plan(prepared)
        for line in plan.lines(prepared):
            progress.line(line)
        if dry_run:
            return Outcome(folder, planned_only=True)
        begin(prepared)
        with progress.task("training", plan.steps + 1) as task:
            rates = {
                group: _choose_rates(prepared, *group, task) for group in trained_groups(prepared)
            }
            # Every choice has been made on validation; from here on the test part is read.
            runs = list(probe_runs(prepared))
            for run in runs:
                task.note(f"{run.arm}, {run.policy}, budget {run.budget:g}, seed {run.seed}")
                finish_probe_run(prepared, run)
            for (policy, budget), chosen in rates.items():
                for arm, rate in chosen.items():
                    for seed in range(prepared.spec.seeds):
                        run = RunSpec(arm, policy, budget, seed, rate)
                        task.note(f"{arm}, {policy}, budget {budget:g}, seed {seed}, lr {rate:g}")
                        finish_trained_run(prepared, run, task)
                        runs.append(run)
        _write_plan(prepared, runs)
        _drop_trial_models(prepared)
        facts = write_facts(prepared, runs, plan.detectable)
        failed = [
            f"{run.arm}, {run.policy}, budget {run.budget:g}, seed {run.seed}: {done['reason']}"
            for run in runs
            if (done := outcome(prepared.folder / "runs" / run_id(prepared, run)))["state"]
            == "failed"
        ]
        return Outcome(folder, tuple(failed), tuple(facts["answer"]))


def _choose_rates(prepared: Prepared, policy: str, budget: float, task: Task) -> dict[str, float]:
    """Return each arm's learning rate: the smallest validation loss on seed 0's draw.

    All arms try the same grid; it grows for every arm alike while some arm's best is an edge.
    """
    recipe = prepared.recipe
    grid: tuple[float, ...] = recipe.grid
    losses: dict[str, dict[float, float]] = {arm.name: {} for arm in prepared.spec.arm}
    while True:
        best = {}
        for arm in prepared.spec.arm:
            tried = losses[arm.name]
            for rate in sorted(set(grid) - set(tried)):
                task.note(f"{arm.name}, {policy}, budget {budget:g}, trial of lr {rate:g}")
                trial = train_trial(prepared, RunSpec(arm.name, policy, budget, 0, rate), task)
                loss = outcome(trial).get("validation_loss")
                tried[rate] = math.inf if loss is None else loss
            best[arm.name] = min((loss, rate) for rate, loss in tried.items())[1]
        grown = grown_grid(grid, list(best.values()), recipe.grid, recipe.grid_growth)
        if grown == grid:
            return best
        more = len(prepared.spec.arm) * (len(grown) - len(grid))
        task.shorten(-more * likely_steps(prepared, budget))
        grid = grown


def _write_plan(prepared: Prepared, runs: list[RunSpec]) -> None:
    """Write plan.parquet: the runs that the answer rests on, with their ids."""
    table = pd.DataFrame([vars(run) for run in runs])
    table.insert(0, "run", [run_id(prepared, run) for run in runs])
    with whole_file(prepared.folder / "plan.parquet") as temporary:
        table.to_parquet(temporary, index=False)


def _drop_trial_models(prepared: Prepared) -> None:
    """Delete the trials' models: the winners' stand in their runs, the others answered."""
    for model in (prepared.folder / "trials").glob("*/model.safetensors"):
        model.unlink()
