"""results.parquet and facts.json: every number of the report, from the runs' case tables.

`write_facts` is the thread; each neighbouring module makes one kind of facts.
"""

import datetime
from importlib.metadata import version
from typing import Any

from radstart.core.files import write_json
from radstart.core.hashing import digest
from radstart.stats import PlannedDifference
from radstart.study.answers import answer, warnings
from radstart.study.cells import read_cells
from radstart.study.facts.comparisons import arm_pairs, compared, policy_pairs
from radstart.study.facts.described import (
    arm_record,
    data_counts,
    environment,
    leakage,
    planned_record,
    processor,
    question,
)
from radstart.study.facts.disagreements import disagreements, write_pictures
from radstart.study.facts.errors import calibration, confusion
from radstart.study.facts.results import measured, run_table, seed_values, write_results
from radstart.study.facts.strict import SCHEMA, number
from radstart.study.facts.tuning import curves, edges, grid, times
from radstart.study.methods import methods
from radstart.study.prepare import Prepared
from radstart.study.runs import RunSpec
from radstart.study.spec import to_toml
from radstart.study.starts import skipped

__all__ = ["SCHEMA", "processor", "write_facts"]


def write_facts(
    prepared: Prepared, runs: list[RunSpec], planned: PlannedDifference
) -> dict[str, Any]:
    """Measure every finished run and write results.parquet and facts.json; return the facts.

    Args:
        prepared: the study.
        runs: those that the answer rests on.
        planned: what could be shown, as computed before training.
    """
    spec, folder = prepared.spec, prepared.folder
    table = run_table(prepared, runs)
    cells = read_cells(table, folder / "runs", prepared.task, prepared.dataset.classes)
    results = measured(prepared, cells)
    seeds_of = {key: seed_values(prepared, cell) for key, cell in cells.items()}
    comparisons = compared(prepared, cells, arm_pairs(prepared))
    between = compared(prepared, cells, policy_pairs(prepared))
    spent = times(prepared, table)
    facts: dict[str, Any] = {
        "schema": SCHEMA,
        "radstart": version("radstart"),
        "study": digest(to_toml(spec)),
        "made": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "question": question(prepared),
        "data": data_counts(prepared),
        "leakage": leakage(prepared),
        "skipped": skipped(folder),
        "arms": [arm_record(prepared, name) for name in [arm.name for arm in prepared.arms]],
        "planned": planned_record(planned, spec.seeds),
        "grid": grid(prepared, runs),
        "curves": curves(prepared, runs),
        "runs": [
            {
                **{k: number(v) if isinstance(v, float) else v for k, v in row.items()},
                "values": seeds_of.get((row["arm"], row["policy"], row["budget"]), {}).get(
                    row["seed"], {}
                ),
            }
            for row in table.to_dict("records")
        ],
        "results": results,
        "comparisons": [
            {"arm": a[0], "reference": b[0], "policy": a[1], "budget": a[2], **row}
            for a, b, row in comparisons
        ],
        "policy_comparisons": [
            {"arm": a[0], "policy": a[1], "reference_policy": b[1], "budget": a[2], **row}
            for a, b, row in between
        ],
        "confusion": confusion(cells, len(prepared.dataset.classes)),
        "calibration": calibration(cells, len(prepared.dataset.classes), spec.level),
        "disagreements": disagreements(prepared, cells),
        "times": spent,
        "environment": environment(prepared, round(sum(row["minutes"] for row in spent), 1)),
    }
    facts["methods"] = methods(facts)
    facts["warnings"] = warnings(facts, edges(facts["grid"]))
    facts["answer"] = answer(facts)
    write_results(prepared, facts)
    write_pictures(prepared, facts["disagreements"])
    write_json(folder / "facts.json", facts)
    return facts
