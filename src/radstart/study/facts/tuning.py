"""How settings were chosen and how long it took: trials, learning curves, time."""

from dataclasses import asdict
from itertools import product
from typing import Any

import pandas as pd

from radstart.study.cells import read_part
from radstart.study.facts.results import metric_value
from radstart.study.facts.strict import number
from radstart.study.prepare import Prepared
from radstart.study.runs import RunSpec, is_done, outcome, run_id, steps_per_epoch
from radstart.training import LADDER, PENALTIES, POLICIES


def grid(prepared: Prepared, runs: list[RunSpec]) -> list[dict[str, Any]]:
    """Return every setting that was tried on seed 0's draw, and which was chosen."""
    spec, listed = prepared.spec, []
    chosen = {(r.arm, r.policy, r.budget): r for r in runs if r.seed == 0}
    for arm, policy, budget in product(spec.arm, spec.policies, spec.budgets):
        run = chosen.get((arm.name, policy, budget))
        if run is None:
            continue
        entry = {"arm": arm.name, "policy": policy, "budget": budget}
        if POLICIES[policy].probe:
            done = outcome(prepared.folder / "runs" / run_id(prepared, run))
            for penalty in PENALTIES:
                loss = done.get("validation_losses", {}).get(str(penalty))
                listed.append(
                    {
                        **entry,
                        "setting": "penalty",
                        "value": penalty,
                        "validation_loss": number(loss),
                        "validation_metric": None,
                        "converged": True,
                        "chosen": done.get("penalty") == penalty,
                    }
                )
            continue
        for rate in sorted({*LADDER, *prepared.recipe.grid}):
            trial = RunSpec(arm.name, policy, budget, 0, rate)
            folder = prepared.folder / "trials" / run_id(prepared, trial)
            if not is_done(folder):
                continue
            done = outcome(folder)
            metric = None
            if done["state"] == "done":
                columns = read_part(folder, "validation")
                metric = metric_value(
                    spec.metric, *prepared.task.scored(columns, prepared.dataset.classes)
                )
            listed.append(
                {
                    **entry,
                    "setting": "lr",
                    "value": rate,
                    "validation_loss": number(done.get("validation_loss")),
                    "validation_metric": metric,
                    "converged": done["converged"],
                    "chosen": rate == run.lr,
                }
            )
    return listed


def edges(grid: list[dict[str, Any]]) -> list[str]:
    """Return a warning where the best learning rate is the last one that was allowed."""
    cells = []
    for row in grid:
        if row["setting"] == "lr" and row["chosen"]:
            tried = [
                r["value"]
                for r in grid
                if all(r[key] == row[key] for key in ("arm", "policy", "budget"))
            ]
            if len(tried) > 1 and row["value"] in (min(tried), max(tried)):
                cells.append(f"{row['arm']}, {row['policy']}, budget {row['budget']:g}")
    if not cells:
        return []
    return [f"The best learning rate is the grid's last allowed value for: {'; '.join(cells)}."]


def curves(prepared: Prepared, runs: list[RunSpec]) -> list[dict[str, Any]]:
    """Return the learning curve of every run that was trained."""
    listed = []
    for run in runs:
        path = prepared.folder / "runs" / run_id(prepared, run) / "history.parquet"
        if not path.is_file():
            continue
        history = pd.read_parquet(path)
        listed.append(
            {
                "run": run_id(prepared, run),
                **asdict(run),
                "chosen": True,
                **{
                    key: [round(float(x), 6) for x in history[key]]
                    for key in ("step", "train_loss", "validation_loss", "rate")
                },
            }
        )
    return listed


def times(prepared: Prepared, table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return how long each arm took under each policy, all budgets and seeds together.

    `trials` are trainings that lost the choice of a rate or were its trial alone; `runs` are those
    that the answer rests on, their test predictions included. Images a second are the training
    images of all trainings over their whole time, validation included; null for probes, which
    read every image once.
    """
    trials = [
        {"id": folder.name, **outcome(folder)}
        for folder in sorted((prepared.folder / "trials").glob("*"))
        if is_done(folder)
    ]
    runs: list[dict[str, Any]] = [
        {str(key): item for key, item in row.items()} for row in table.to_dict("records")
    ]
    listed = []
    ids = {run["run"] for run in runs}
    for arm, policy in product(prepared.spec.arm, prepared.spec.policies):
        own = [run for run in runs if (run["arm"], run["policy"]) == (arm.name, policy)]
        trained = [one for one in trials if (one["arm"], one["policy"]) == (arm.name, policy)]
        lost = [one for one in trained if one["id"] not in ids]
        seconds = sum(one["seconds"] for one in trained)
        images = sum(_images(prepared, one) for one in trained)
        listed.append(
            {
                "arm": arm.name,
                "policy": policy,
                "trials": len(lost),
                "trial_minutes": sum(one["seconds"] for one in lost) / 60,
                "runs": len(own),
                "run_minutes": sum(run["seconds"] or 0.0 for run in own) / 60,
                "minutes": sum(one["seconds"] or 0.0 for one in [*lost, *own]) / 60,
                "images_per_second": number(images / seconds) if images and seconds else None,
            }
        )
    return listed


def _images(prepared: Prepared, trial: dict[str, Any]) -> float:
    """Return how many training images a finished training read."""
    if trial["seed"] >= prepared.spec.seeds or trial["budget"] not in prepared.spec.budgets:
        return 0.0
    images = len(prepared.drawn(trial["budget"], trial["seed"], "train"))
    epochs = trial["steps"] / steps_per_epoch(images, prepared.recipe.batch_size)
    return float(epochs * images)
