"""How settings were chosen and how long it took: trials, learning curves, time."""

from dataclasses import asdict
from itertools import product
from typing import Any

import pandas as pd

from radstart.study.cells import read_part
from radstart.study.facts.results import metric_value
from radstart.study.facts.strict import number
from radstart.study.prepare import Prepared
from radstart.study.runs import RunSpec, is_done, outcome, run_id
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
        for rate in LADDER:
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
            if row["value"] in (min(tried), max(tried)):
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


def total_seconds(prepared: Prepared, table: pd.DataFrame) -> float:
    """Return the time of all trainings, trials that lost included, and of all probes."""
    trained = sum(
        outcome(folder)["seconds"]
        for folder in (prepared.folder / "trials").glob("*")
        if is_done(folder)
    )
    probed = table["policy"].map(lambda policy: POLICIES[policy].probe)
    return float(trained + table.loc[probed, "seconds"].sum())
