"""Values of runs and of cells with their intervals; results.parquet."""

from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from radstart.core.errors import RadstartError
from radstart.core.files import whole_file
from radstart.stats import interval, value
from radstart.study.cells import Cell, Key
from radstart.study.facts.strict import SCHEMA, number
from radstart.study.prepare import Prepared
from radstart.study.runs import RunSpec, outcome, run_id


def run_table(prepared: Prepared, runs: list[RunSpec]) -> pd.DataFrame:
    """Return one row per run with its outcome, in the order of the question."""
    records = []
    for run in runs:
        name = run_id(prepared, run)
        done = outcome(prepared.folder / "runs" / name)
        kept = ("penalty", "converged", "steps", "seconds", "state", "reason")
        records.append({"run": name, **asdict(run), **{key: done.get(key) for key in kept}})
    table = pd.DataFrame(records, dtype=object)
    order = {arm.name: i for i, arm in enumerate(prepared.arms)}
    policies = {policy: i for i, policy in enumerate(prepared.spec.policies)}
    keys = [table["arm"].map(order), table["policy"].map(policies), table["budget"], table["seed"]]
    return table.iloc[np.lexsort([key.astype(float) for key in reversed(keys)])]


def seed_values(prepared: Prepared, cell: Cell) -> dict[int, dict[str, float | None]]:
    """Return every metric of every run of a cell, by seed."""
    return {
        seed: {name: metric_value(name, scores, cell.labels) for name in prepared.task.metrics}
        for seed, scores in cell.scores.items()
    }


def metric_value(metric: str, scores: Any, labels: Any) -> float | None:
    """Return a metric of one run, None where it is undefined."""
    try:
        return number(value(metric, scores, labels))
    except RadstartError:
        return None


def measured(prepared: Prepared, cells: dict[Key, Cell]) -> list[dict[str, Any]]:
    """Return every metric of every cell with its interval."""
    listed = []
    for (arm, policy, budget), cell in cells.items():
        for metric in _metrics(prepared):
            found = interval(cell.stacked(), cell.labels, cell.units, metric, prepared.spec.level)
            listed.append(
                {
                    "arm": arm,
                    "policy": policy,
                    "budget": budget,
                    "metric": metric,
                    "value": number(found.value),
                    "ci_low": number(found.ci_low),
                    "ci_high": number(found.ci_high),
                    "df": number(found.df),
                    "seed_values": [number(v) for v in found.seed_values],
                    "seed_sd": number(found.seed_sd),
                    "seed_sd_net": number(found.seed_sd_net),
                    "n_seeds": found.n_seeds,
                    "n_cases": found.n_cases,
                    "n_units": found.n_units,
                    "note": "; ".join(found.notes) or None,
                }
            )
    return listed


def _metrics(prepared: Prepared) -> list[str]:
    """Return the primary metric first, then the task's others."""
    primary = prepared.spec.metric
    return [primary, *(name for name in prepared.task.metrics if name != primary)]


def write_results(prepared: Prepared, facts: dict[str, Any]) -> None:
    """Write results.parquet: every run's values, then every cell's (seed and run null)."""
    spec = prepared.spec
    common = {
        "schema": SCHEMA,
        "study": facts["study"],
        "dataset": prepared.dataset.name,
        "task": spec.task,
        "target": prepared.dataset.target,
        "part": "test",
        "group": "all",
    }
    backbone = {arm.name: arm.backbone.text() for arm in prepared.arms}
    records = []
    test = len(prepared.test_rows())
    units = len(set(prepared.units.unit[prepared.test_rows()]))
    for run in facts["runs"]:
        for metric, found in run["values"].items():
            kept = {key: run[key] for key in ("arm", "policy", "budget", "seed", "run", "lr")}
            records.append(
                {**common, **kept, "converged": run["converged"], "metric": metric, "value": found,
                 "n_cases": test, "n_units": units}
            )  # fmt: skip
    kept_keys = (
        "arm",
        "policy",
        "budget",
        "metric",
        "value",
        "ci_low",
        "ci_high",
        "n_cases",
        "n_units",
    )
    records += [{**common, **{key: row[key] for key in kept_keys}} for row in facts["results"]]
    columns = [
        *common, "arm", "backbone", "policy", "budget", "seed", "run", "lr", "converged", "metric",
        "value", "ci_low", "ci_high", "n_cases", "n_units",
    ]  # fmt: skip
    table = pd.DataFrame(records)
    table["backbone"] = table["arm"].map(backbone) if len(table) else None
    table = table.reindex(columns=columns)
    table = table.astype({"seed": "Int64", "converged": "boolean"})
    with whole_file(prepared.folder / "results.parquet") as temporary:
        table.to_parquet(temporary, index=False)
