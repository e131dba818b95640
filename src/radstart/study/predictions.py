"""Bring your own predictions: two tables of scores -> the paired difference."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from radstart.core.errors import RadstartError, nearest
from radstart.stats import METRICS, PairedDifference, interval, paired_difference, verdict
from radstart.stats import Interval as ArmInterval
from radstart.study.answers import PATIENTS_UNKNOWN

USUAL = {"patient": ("patient_id", "patient"), "seed": ("seed",), "case": ("case", "image")}
NEGATIVE = {"0", "0.0", "false", "no", "negative", "neg", "normal", "absent", "healthy", "benign"}


@dataclass(frozen=True)
class PredictionColumns:
    """Names of columns in the tables of predictions.

    None takes the usual name (USUAL) where both tables have it, "" uses none.
    """

    label: str = "label"
    patient: str | None = None
    seed: str | None = None
    case: str | None = None
    score: str = "score"


@dataclass(frozen=True)
class PredictionComparison:
    """What two tables of predictions say: each alone, and their paired difference a - b."""

    a: ArmInterval
    b: ArmInterval
    difference: PairedDifference
    classes: tuple[str, ...]
    patients_known: bool
    notes: tuple[str, ...]


def compare_predictions(
    a: Path, b: Path, columns: PredictionColumns, metric: str = "auroc", level: float = 0.95
) -> PredictionComparison:
    """Compare two CSVs of predictions on the same cases.

    Rows are joined on the case column (else on the row's place), seeds on the seed column; scores
    stand in one column (the positive class) or in `score_CLASS` columns.

    Raises:
        RadstartError: columns that are not there, cases or labels that differ between the tables,
            scores that are not numbers.
    """
    if metric not in METRICS:
        raise RadstartError("unknown metric", "--metric", metric, nearest(metric, METRICS))
    tables = _table(a), _table(b)
    columns = _chosen(columns, tables)
    first, second = _read(a, tables[0], columns), _read(b, tables[1], columns)
    notes = []
    shared = sorted(set(first["seed"]) & set(second["seed"]))
    dropped = len(set(first["seed"]) ^ set(second["seed"]))
    if not shared:
        raise RadstartError("no seed in common", f"{a}, {b}", columns.seed or "")
    if dropped:
        notes.append(f"{dropped} seeds stand in one table only and were left out")
    classes = _classes(first, columns)
    cube_a, frame = _cube(first, shared, columns, classes, a)
    cube_b, other = _cube(second, shared, columns, classes, b)
    if len(frame) != len(other):
        raise RadstartError(
            "the tables differ in their cases", f"{a}, {b}", f"{len(frame)} and {len(other)}"
        )
    for what in ("case", "label", "patient"):
        differ = np.flatnonzero(frame[what].to_numpy() != other[what].to_numpy())
        if len(differ):
            case = frame["case"].iloc[int(differ[0])]
            raise RadstartError(f"the tables differ in their {what}s", f"{a}, {b}", f"case {case}")
    labels: Any = None
    if METRICS[metric].needs != "nothing":
        index = {name: k for k, name in enumerate(classes)}
        labels = frame["label"].map(index).to_numpy(dtype=np.int64)
    known = bool(columns.patient) and not frame["patient"].eq("").any()
    units = frame["patient"].where(frame["patient"] != "", "case " + frame["case"]).to_numpy()
    return PredictionComparison(
        interval(cube_a, labels, units, metric, level),
        interval(cube_b, labels, units, metric, level),
        paired_difference(cube_a, cube_b, labels, units, metric, level),
        classes,
        known,
        tuple(notes),
    )


def _table(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise RadstartError("cannot read this table", str(path), str(error)) from error


def _chosen(
    columns: PredictionColumns, tables: tuple[pd.DataFrame, pd.DataFrame]
) -> PredictionColumns:
    """Return the columns with every None decided."""
    names = {
        meaning: next((name for name in usual if all(name in t.columns for t in tables)), "")
        for meaning, usual in USUAL.items()
        if getattr(columns, meaning) is None
    }
    return replace(columns, **names)


def _read(path: Path, table: pd.DataFrame, columns: PredictionColumns) -> pd.DataFrame:
    """Return case, seed, label, patient as text beside the score columns."""
    for name in (columns.label, columns.patient, columns.seed, columns.case):
        if name and name not in table.columns:
            raise RadstartError("no such column", str(path), name, nearest(name, table.columns))
    if table.empty:
        raise RadstartError("no rows", str(path))
    out = table[[c for c in table.columns if c == columns.score or c.startswith("score_")]].copy()
    if out.empty:
        raise RadstartError(
            "no scores", str(path), columns.score, nearest(columns.score, table.columns)
        )
    for name in out.columns:
        out[name] = pd.to_numeric(out[name], errors="coerce")
        if out[name].isna().any():
            line = int(np.flatnonzero(out[name].isna())[0]) + 2
            raise RadstartError("not a number", f"{path}: line {line}, column {name}")
    out["label"] = table[columns.label].str.strip()
    out["patient"] = table[columns.patient].str.strip() if columns.patient else ""
    out["seed"] = table[columns.seed].str.strip() if columns.seed else "0"
    place = table.groupby(out["seed"]).cumcount().astype(str).str.zfill(9)
    out["case"] = table[columns.case].str.strip() if columns.case else place
    if (out["label"] == "").any():
        line = int(np.flatnonzero(out["label"] == "")[0]) + 2
        raise RadstartError("empty label", f"{path}: line {line}", remedy="leave such rows out")
    return out


def _classes(table: pd.DataFrame, columns: PredictionColumns) -> tuple[str, ...]:
    named = [name.removeprefix("score_") for name in table.columns if name.startswith("score_")]
    found = sorted(set(table["label"]))
    if columns.score not in table.columns:
        unknown = [name for name in found if name not in named]
        if unknown:
            raise RadstartError("a label without its score column", f"score_{unknown[0]}")
        return tuple(named)
    if len(found) != 2:
        raise RadstartError(
            "one score column needs two classes", columns.score, ", ".join(found[:5]),
            "add score_CLASS columns",
        )  # fmt: skip
    return tuple(sorted(found, key=lambda name: (name.lower() not in NEGATIVE, name)))


def _cube(
    table: pd.DataFrame,
    seeds: list[str],
    columns: PredictionColumns,
    classes: tuple[str, ...],
    path: Path,
) -> tuple[Any, pd.DataFrame]:
    """Return scores (S, N) or (S, N, C) and the frame of one seed, sorted by case."""
    blocks = []
    frame = None
    for seed in seeds:
        block = table[table["seed"] == seed].sort_values("case", kind="stable")
        twice = block["case"].duplicated()
        if twice.any():
            raise RadstartError(
                "a case stands twice in one seed", str(path), str(block["case"][twice].iloc[0]),
                "add --seed-column or --case-column",
            )  # fmt: skip
        if frame is not None and list(block["case"]) != list(frame["case"]):
            raise RadstartError("seeds hold different cases", str(path), f"seed {seed}")
        frame = block if frame is None else frame
        names = [f"score_{name}" for name in classes]
        one = columns.score in table.columns
        scores = block[columns.score] if one else block[names]
        blocks.append(scores.to_numpy(dtype=np.float64))
    assert frame is not None
    cube = np.stack(blocks)
    if cube.ndim == 3 and cube.shape[2] == 2:
        cube = cube[:, :, 1]
    return cube, frame.reset_index(drop=True)


def _verdict(found: PredictionComparison, margin: float | None) -> tuple[str, list[str], float]:
    """Return the verdict on a, its qualifiers and the equivalence p (NaN without a margin)."""
    d = found.difference
    equal = d.p_equivalence(margin) if margin else math.nan
    higher = METRICS[d.metric].higher_is_better
    said, qualifiers = verdict(d.difference, d.p, equal, higher, 1 - d.level)
    return said, [*qualifiers, *([] if found.patients_known else ["patients unknown"])], equal


def prediction_rows(found: PredictionComparison, margin: float | None) -> list[dict[str, Any]]:
    """Return a, b and a - b as rows of a table."""
    said, also, equal = _verdict(found, margin)
    d, name = found.difference, METRICS[found.difference.metric].name
    rows: list[dict[str, Any]] = [
        {
            "name": label,
            "metric": name,
            "value": arm.value,
            "ci_low": arm.ci_low,
            "ci_high": arm.ci_high,
            "level": arm.level,
            "df": arm.df,
            "seed_values": arm.seed_values,
            "n_cases": arm.n_cases,
            "n_units": arm.n_units,
            "n_seeds": arm.n_seeds,
        }
        for label, arm in (("a", found.a), ("b", found.b))
    ]
    rows.append(
        {
            **rows[0],
            "name": "a - b",
            "value": d.difference,
            "ci_low": d.ci_low,
            "ci_high": d.ci_high,
            "df": d.df,
            "seed_values": d.seed_differences,
            "n_seeds": d.n_seeds,
            "p": d.p,
            "p_equivalence": equal,
            "margin": margin,
            "share_seeds": d.share_seeds,
            "share_patients": d.share_patients,
            "verdict": said,
            "qualifiers": "; ".join(also),
        }
    )
    return rows


def prediction_lines(found: PredictionComparison, margin: float | None) -> list[str]:
    """Return the comparison as the lines that a person reads."""
    said, also, equal = _verdict(found, margin)
    d = found.difference
    rows = prediction_rows(found, margin)
    percent = f"{100 * d.level:g} %"
    lines = [
        f"{row['name']:5}  {row['metric']} {row['value']:.4f}  {percent} "
        f"[{row['ci_low']:.4f}, {row['ci_high']:.4f}]"
        for row in rows[:2]
    ]
    lines.append(
        f"a - b  {d.difference:+.4f}  {percent} [{d.ci_low:+.4f}, {d.ci_high:+.4f}]  "
        f"p {d.p:.4g}  df {d.df:.1f}"
    )
    verb = "a is " if said in ("better", "worse") else ""
    lines.append(f"verdict: {verb}{said.replace('_', ' ')}")
    if also:
        lines[-1] += f" ({', '.join(also)})"
    if margin:
        lines.append(f"equivalence within {margin:g}: p {equal:.4g}")
    lines.append(f"{d.n_cases} cases, {d.n_units} units, {d.n_seeds} seeds")
    lines += [f"note: {note}" for note in dict.fromkeys((*found.notes, *d.notes))]
    if not found.patients_known:
        lines.append(f"note: {PATIENTS_UNKNOWN}")
    return lines
