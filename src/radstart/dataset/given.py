"""A split of a dataset as a study of that dataset takes it."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radstart.core.errors import RadstartError, nearest
from radstart.dataset.parts import Given
from radstart.dataset.split import Split, open_split, read_facts
from radstart.dataset.split_rows import kept_rows, open_rows
from radstart.dataset.tables import text

_MARKS = re.compile(r"budget_([0-9.e-]+)")


def given_split(dataset: Path, asked: str) -> Given:
    """Read a split of a dataset for the dataset's kept rows.

    Args:
        dataset: a folder that ingest made.
        asked: the split's name; NAME:2 is the second repeat, NAME alone the first.

    Raises:
        RadstartError: no dataset, no such split or repeat, or a split of what the dataset was
            before its images, labels or groups changed.
    """
    facts = read_facts(dataset)
    name, _, repeat = asked.partition(":")
    split = open_split(dataset, name)
    where = str(split.path)
    made, now = split.audit.get("dataset", {}).get("content"), facts.get("content")
    if made != now:
        raise RadstartError(
            "is a split of other images, labels or groups than the dataset has now", where,
            f"content {str(made)[:8]}, now {str(now)[:8]}", "split again under another --name",
        )  # fmt: skip
    with open_rows(dataset / "rows.parquet") as rows:
        kept = kept_rows(rows)
    table = split.rows
    behind = _repeat(split, name, repeat)
    folds = f"fold{behind}" in table
    if len(table) != len(kept) or not (folds or f"part{behind}" in table):
        raise RadstartError("is damaged", where, f"{len(table)} rows", "delete it and split again")
    table = table[kept]
    column = f"fold{behind}" if folds else f"part{behind}"
    value = text(table.astype({column: "Int64"}) if folds else table, column)
    if lacking := int((value == "").sum()):
        got = f"{lacking} of {len(value)} kept rows"
        raise RadstartError("has no part for some rows", where, got, "split again")
    return Given(f"splits/{asked}", folds, value, _budgets(table, behind))


def _repeat(split: Split, name: str, asked: str) -> str:
    """Return what stands behind the names of a repeat's columns."""
    count = int(split.audit["spec"]["repeats"])
    known = [str(k + 1) for k in range(count)]
    if asked and asked not in known:
        raise RadstartError("no such repeat", f"--split {name}", asked, nearest(asked, known))
    return f"_{asked or 1}" if count > 1 else ""


def _budgets(table: pd.DataFrame, behind: str) -> dict[float, NDArray[np.bool_]]:
    """Return the rows that each budget of a repeat marks."""
    found = {}
    for column in map(str, table):
        mark = _MARKS.fullmatch(column.removesuffix(behind))
        if mark and column.endswith(behind):
            found[float(mark[1])] = table[column].fillna(False).to_numpy(bool)
    return found
