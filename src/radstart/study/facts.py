"""results.parquet and facts.json: every number of the report, from the runs' case tables."""

import datetime
import math
import os
import platform
from dataclasses import asdict
from importlib.metadata import version
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from radstart.core.errors import RadstartError
from radstart.core.files import whole_file, write_json
from radstart.core.hashing import digest
from radstart.dataset import count_duplicates
from radstart.stats import (
    METRICS,
    PairedDifference,
    PlannedDifference,
    holm,
    interval,
    paired_difference,
    smallest_difference,
    value,
    verdict,
)
from radstart.study.answers import answer, methods, warnings
from radstart.study.cells import Cell, Key, read_cells, read_part
from radstart.study.prepare import Prepared
from radstart.study.runs import RunSpec, is_done, outcome, run_id
from radstart.study.spec import to_toml
from radstart.training import LADDER, PENALTIES, POLICIES

SCHEMA = 1
ALPHA = 0.05


def number(x: float | None) -> float | None:
    """Return a float for JSON: None where it is undefined."""
    return None if x is None or not math.isfinite(x) else float(x)


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
    table = _run_table(prepared, runs)
    cells = read_cells(table, folder / "runs", prepared.task, prepared.dataset.classes)
    results = _results(prepared, cells)
    seeds_of = {key: _seed_values(prepared, cell) for key, cell in cells.items()}
    comparisons = _comparisons(prepared, cells, _arm_pairs(prepared))
    policy_pairs = _policy_pairs(prepared)
    facts: dict[str, Any] = {
        "schema": SCHEMA,
        "radstart": version("radstart"),
        "study": digest(to_toml(spec)),
        "made": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "question": _question(prepared),
        "data": _data(prepared),
        "leakage": _leakage(prepared),
        "arms": [_arm(prepared, name) for name in [arm.name for arm in prepared.arms]],
        "planned": planned_record(planned, spec.seeds),
        "grid": _grid(prepared, runs),
        "curves": _curves(prepared, runs),
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
            for a, b, row in _comparisons(prepared, cells, policy_pairs)
        ],
        "environment": _environment(prepared, table),
    }
    facts["methods"] = methods(facts)
    facts["warnings"] = warnings(facts, _edges(prepared, facts["grid"]))
    facts["answer"] = answer(facts)
    _write_results(prepared, facts)
    write_json(folder / "facts.json", facts)
    return facts


def _run_table(prepared: Prepared, runs: list[RunSpec]) -> pd.DataFrame:
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


def _seed_values(prepared: Prepared, cell: Cell) -> dict[int, dict[str, float | None]]:
    """Return every metric of every run of a cell, by seed."""
    return {
        seed: {name: _value(name, scores, cell.labels) for name in prepared.task.metrics}
        for seed, scores in cell.scores.items()
    }


def _value(metric: str, scores: Any, labels: Any) -> float | None:
    try:
        return number(value(metric, scores, labels))
    except RadstartError:
        return None


def _results(prepared: Prepared, cells: dict[Key, Cell]) -> list[dict[str, Any]]:
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


def _arm_pairs(prepared: Prepared) -> list[tuple[Key, Key]]:
    spec = prepared.spec
    return [
        ((arm.name, policy, budget), (spec.reference, policy, budget))
        for arm, policy, budget in product(spec.arm, spec.policies, spec.budgets)
        if arm.name != spec.reference
    ]


def _policy_pairs(prepared: Prepared) -> list[tuple[Key, Key]]:
    spec = prepared.spec
    return [
        ((arm.name, policy, budget), (arm.name, spec.policies[0], budget))
        for arm, policy, budget in product(spec.arm, spec.policies[1:], spec.budgets)
    ]


def _comparisons(
    prepared: Prepared, cells: dict[Key, Cell], pairs: list[tuple[Key, Key]]
) -> list[tuple[Key, Key, dict[str, Any]]]:
    """Return one declared family of paired differences on the primary metric, with verdicts."""
    spec = prepared.spec
    found: list[tuple[Key, Key, PairedDifference | None]] = []
    for a, b in pairs:
        shared = sorted(set(cells[a].scores) & set(cells[b].scores)) if (
            a in cells and b in cells
        ) else []  # fmt: skip
        found.append(
            (
                a,
                b,
                paired_difference(
                    cells[a].stacked(shared),
                    cells[b].stacked(shared),
                    cells[a].labels,
                    cells[a].units,
                    spec.metric,
                    spec.level,
                )
                if shared
                else None,
            )
        )
    adjusted = holm([d.p if d else math.nan for *_, d in found])
    return [
        (a, b, _comparison(prepared, cells, a, b, d, float(p), len(pairs)))
        for (a, b, d), p in zip(found, adjusted, strict=True)
    ]


def _comparison(
    prepared: Prepared,
    cells: dict[Key, Cell],
    a: Key,
    b: Key,
    found: PairedDifference | None,
    p_adjusted: float,
    family: int,
) -> dict[str, Any]:
    spec = prepared.spec
    qualifiers = [] if prepared.units.patients_known else ["patients unknown"]
    if prepared.leakage.policy == "allow" and prepared.leakage.units:
        qualifiers.append("leakage allowed")
    if found is None:
        return {**dict.fromkeys(_COMPARISON), "metric": spec.metric, "family": family,
                "verdict": "cannot_tell", "qualifiers": ["no finished runs", *qualifiers],
                "seed_differences": [], "seeds": 0}  # fmt: skip
    equal = found.p_equivalence(spec.margin) if spec.margin else math.nan
    direction = METRICS[spec.metric].higher_is_better
    said, also = verdict(found.difference, p_adjusted, equal, direction, ALPHA)
    backbone = {arm.name: arm.backbone for arm in prepared.arms}
    barred = []
    if backbone[a[0]] != backbone[b[0]]:
        barred.append("confounded")
    if not (cells[a].converged and cells[b].converged):
        barred.append("not converged")
    if barred and said in ("better", "worse"):
        said, also = "cannot_tell", ()
    qualifiers = [*also, *barred, *qualifiers]
    if found.n_seeds == 1:
        qualifiers.append("one trained model")
    if any("fewer than 10" in note for note in found.notes):
        qualifiers.append("few units")
    dropped = len(set(cells[a].scores) ^ set(cells[b].scores))
    return {
        "metric": spec.metric,
        "difference": number(found.difference),
        "ci_low": number(found.ci_low),
        "ci_high": number(found.ci_high),
        "df": number(found.df),
        "p": number(found.p),
        "p_adjusted": number(p_adjusted),
        "p_equivalence": number(equal),
        "family": family,
        "verdict": said,
        "qualifiers": qualifiers,
        "share_seeds": number(found.share_seeds),
        "share_patients": number(found.share_patients),
        "seed_differences": [number(x) for x in found.seed_differences],
        "seed_sd": number(found.seed_sd_difference),
        "seed_sd_net": number(found.seed_sd_difference_net),
        "seeds": found.n_seeds,
        "seeds_dropped": dropped,
        "n_units": found.n_units,
        "detectable": _detectable(found),
        "note": "; ".join(found.notes) or None,
    }


_COMPARISON = (
    "metric", "difference", "ci_low", "ci_high", "df", "p", "p_adjusted", "p_equivalence",
    "family", "verdict", "qualifiers", "share_seeds", "share_patients", "seed_differences",
    "seed_sd", "seed_sd_net", "seeds", "seeds_dropped", "n_units", "detectable", "note",
)  # fmt: skip


def _detectable(found: PairedDifference) -> float | None:
    """Return the smallest difference that this very design shows with 80 % power, if defined."""
    if found.n_seeds < 2 or not math.isfinite(found.p) or found.identical:
        return None
    smallest = smallest_difference(found, found.n_seeds, found.n_units)
    return number(smallest) if smallest < found.upper else None  # else: none at all


def planned_record(planned: PlannedDifference, seeds: int) -> dict[str, Any]:
    """Return what the plan said could be shown, as the facts hold it."""
    shown = zip(("small", "larger"), (planned.difference, planned.difference_unsteady), strict=True)
    return {
        "detectable": [
            {"spread_over_seeds": spread, "seeds": seeds, "difference": number(difference)}
            for spread, difference in shown
        ],
        "assumptions": planned.assumptions,
    }


def _question(prepared: Prepared) -> dict[str, Any]:
    spec, classes = prepared.spec, prepared.dataset.classes
    metric = METRICS[spec.metric]
    recipe = {
        key: list(item) if isinstance(item, tuple) else item
        for key, item in asdict(prepared.recipe).items()
    }
    return {
        "title": f"Which starting weights for {prepared.dataset.name}?",
        "dataset": prepared.dataset.name,
        "target": prepared.dataset.target,
        "task": spec.task,
        "classes": list(classes),
        "positive": classes[-1] if len(classes) == 2 else None,
        "metric": {
            "id": metric.id,
            "name": metric.name,
            "higher_is_better": metric.higher_is_better,
        },
        "margin": spec.margin or None,
        "level": spec.level,
        "reference": spec.reference,
        "reference_policy": spec.policies[0],
        "arms": [arm.name for arm in spec.arm],
        "policies": list(spec.policies),
        "budgets": list(spec.budgets),
        "seeds": spec.seeds,
        "seed": spec.seed,
        "image_size": spec.image_size,
        "epochs": spec.epochs,
        "augmentation": prepared.augmentation.described(),
        "recipe": recipe,
    }


def _data(prepared: Prepared) -> dict[str, Any]:
    dataset, units, parts = prepared.dataset, prepared.units, prepared.parts
    rows = dataset.rows
    labels = rows["label"].to_numpy(dtype=object)
    labelled = rows["label"].notna().to_numpy()
    groups, copies, across = count_duplicates(rows[labelled])
    listed = []
    for part in ("train", "validation", "test"):
        inside = parts.part == part
        names = dataset.classes or sorted({str(x) for x in labels[inside]})
        listed.append(
            {
                "part": part,
                "images": int(inside.sum()),
                "units": len(set(units.unit[inside])),
                "classes": [
                    {
                        "name": name,
                        "images": int((inside & (labels == name)).sum()),
                        "units": len(set(units.unit[inside & (labels == name)])),
                    }
                    for name in names
                ],
            }
        )
    drawn = []
    for budget, seed in product(prepared.spec.budgets, range(prepared.spec.seeds)):
        entry: dict[str, Any] = {"budget": budget, "seed": seed}
        for part in ("train", "validation"):
            chosen = prepared.drawn(budget, seed, part)
            entry[f"{part}_images"] = len(chosen)
            entry[f"{part}_units"] = len(set(units.unit[chosen]))
        drawn.append(entry)
    return {
        "n_images": len(rows),
        "n_labelled": int(labelled.sum()),
        "n_rejected": len(dataset.rejected),
        "unlabelled": int((~labelled).sum()),
        "unit": units.kind,
        "patients_known": units.patients_known,
        "n_units": len(set(units.unit[parts.part != ""])),
        "parts_from": parts.source,
        "parts": listed,
        "budgets": drawn,
        "duplicates": {
            "groups": groups,
            "images": copies,
            "across_patients": across,
        },
        "rejected": [
            {key: row[key] for key in ("line", "image", "reason")}
            for row in dataset.rejected.head(20).to_dict("records")
        ],
        "notes": list(parts.notes),
    }


def _leakage(prepared: Prepared) -> dict[str, Any]:
    record = asdict(prepared.leakage)
    record["examples"] = [dict(example) for example in record["examples"]]
    return record


def _arm(prepared: Prepared, name: str) -> dict[str, Any]:
    arm = next(arm for arm in prepared.arms if arm.name == name)
    receipt = prepared.receipts[name]
    record = receipt.record() if receipt else None
    if record and receipt:
        record |= {"defaulted": len(receipt.defaulted), "dropped": len(receipt.dropped)}
        record["dropped_names"] = list(receipt.dropped)
    return {
        "name": name,
        "start": arm.spec.kind if arm.spec.kind in ("random", "file", "run") else arm.spec.start,
        "backbone": arm.backbone.text(),
        "parameters": prepared.parameters[name],
        "convention": arm.convention.record(),
        "receipt": record,
        "notes": list(arm.notes),
    }


def _grid(prepared: Prepared, runs: list[RunSpec]) -> list[dict[str, Any]]:
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
                metric = _value(
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


def _edges(prepared: Prepared, grid: list[dict[str, Any]]) -> list[str]:
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


def _curves(prepared: Prepared, runs: list[RunSpec]) -> list[dict[str, Any]]:
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


def _environment(prepared: Prepared, table: pd.DataFrame) -> dict[str, Any]:
    return {
        "machine": processor(),
        "system": platform.platform(terse=True),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "timm", "numpy", "scipy", "scikit-learn")},
        "numerics": prepared.numerics.record(),
        "minutes": round(_seconds(prepared, table) / 60, 1),
    }


def _seconds(prepared: Prepared, table: pd.DataFrame) -> float:
    """Return the time of all trainings, trials that lost included, and of all probes."""
    trained = sum(
        outcome(folder)["seconds"]
        for folder in (prepared.folder / "trials").glob("*")
        if is_done(folder)
    )
    probed = table["policy"].map(lambda policy: POLICIES[policy].probe)
    return float(trained + table.loc[probed, "seconds"].sum())


def processor() -> str:
    """Return the processor's name."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.split(":")[1].strip() for line in file if line.startswith("model name")]
        return names[0]
    except (OSError, IndexError):
        return platform.processor() or platform.machine()


def _write_results(prepared: Prepared, facts: dict[str, Any]) -> None:
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
