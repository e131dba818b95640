"""Tables of a dataset: the one boundary between Parquet files, pandas and NumPy."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from radstart.core.errors import RadstartError
from radstart.core.files import os_reason, whole_file

Strings = NDArray[np.object_]
_AGAIN = "delete the dataset folder and run again"

ROW_SCHEMA = pa.schema(
    [("row", pa.int64()), ("image", pa.string()), ("line", pa.int64())]
    + [(name, pa.string()) for name in ("label", "patient", "exam", "site", "sex")]
    + [("age", pa.float64())]
    + [(name, pa.string()) for name in ("split", "fold", "content")]
    + [(name, pa.int64()) for name in ("shard", "offset", "height", "width", "channels")]
    + [("dtype", pa.string())]
)
"""Columns that every dataset has."""

MORE_SCHEMA = pa.schema(
    [("keep", pa.bool_()), ("drop", pa.string()), ("origin", pa.string())]
    + [(name, pa.string()) for name in ("series", "modality", "anatomy", "anatomy_from", "view")]
    + [(name, pa.string()) for name in ("laterality", "manufacturer", "window", "steps")]
    + [("frame", pa.int64()), ("volume", pa.int64()), ("slice", pa.int64())]
    + [(name, pa.float64()) for name in ("spacing_row", "spacing_col", "thickness")]
    + [(name, pa.int64()) for name in ("native_height", "native_width", "mask_offset")]
    + [(name, pa.float64()) for name in ("scale", "shift", "low", "high", "spread")]
    + [("levels", pa.int64()), ("phash", pa.string()), ("near", pa.int64())]
)
"""Columns since schema 2; null in a dataset of schema 1."""

NUMBERED = ("volume", "slice", "near")
"""Columns of numbers that ingest gives: -1 = none."""

TARGET = "target."
"""How the names of further columns begin: one finding or number each, float64, NaN = unknown."""

REJECTED_SCHEMA = pa.schema([("line", pa.int64()), ("image", pa.string()), ("reason", pa.string())])


def write_table(path: Path, columns: Mapping[str, Sequence[Any]], schema: pa.Schema) -> None:
    """Write columns as Parquet, whole or not at all; empty strings are stored as null.

    Raises:
        RadstartError: the folder cannot be written or the disk is full.
    """
    arrays = [_array(columns[entry.name], entry.type) for entry in schema]
    with whole_file(path) as temporary:
        pq.write_table(pa.Table.from_arrays(arrays, schema=schema), temporary)


def _array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    if isinstance(values, pd.api.extensions.ExtensionArray):
        found = pa.array(values, from_pandas=True).cast(kind)
        return pc.if_else(pc.equal(found, ""), None, found) if pa.types.is_string(kind) else found
    if pa.types.is_string(kind):
        values = [value if isinstance(value, str) and value else None for value in values]
    return pa.array(values, kind, from_pandas=True)


def read_table(path: Path, schema: pa.Schema, more: pa.Schema | None = None) -> pd.DataFrame:
    """Read a Parquet file that has at least the columns of `schema`.

    Args:
        path: the file.
        schema: columns that must be there; others are left out.
        more: columns that are null where they are not there; with them come those of targets.

    Raises:
        RadstartError: absent, damaged, or a column is missing.
    """
    if not path.is_file():
        raise RadstartError("is missing", str(path), "no such file", _AGAIN)
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        reason = os_reason(error) if isinstance(error, OSError) else str(error)
        raise RadstartError("cannot read the table", str(path), reason, _AGAIN) from error
    missing = [name for name in schema.names if name not in table.column_names]
    if missing:
        raise RadstartError("columns are missing", str(path), f"no {', '.join(missing)}", _AGAIN)
    names = list(schema.names)
    for entry in more or ():
        names.append(entry.name)
        if entry.name not in table.column_names:
            table = table.append_column(entry, pa.nulls(len(table), entry.type))
    if more is not None:
        names += [name for name in table.column_names if name.startswith(TARGET)]
    frame: pd.DataFrame = table.select(names).to_pandas()
    return frame


def text(rows: pd.DataFrame, column: str) -> Strings:
    """Return a column as an object array (N,) of str; null or an absent column gives "".

    So does -1 in a column of `NUMBERED`.
    """
    if column not in rows:
        return np.full(len(rows), "", object)
    values = rows[column].to_numpy(dtype=object)
    values = np.where(pd.isna(values), "", values)
    texts = np.array([str(value) for value in values], object)
    return np.where(texts == "-1", "", texts) if column in NUMBERED else texts


def codes(values: Strings, in_rows: bool = False) -> tuple[Strings, NDArray[np.intp]]:
    """Return the distinct values, sorted or as they appear, and each value's index among them."""
    names = list(dict.fromkeys(values)) if in_rows else sorted(set(values))
    index = {name: k for k, name in enumerate(names)}
    return np.array(names, object), np.array([index[value] for value in values], np.intp)


def among(values: Strings, chosen: Iterable[str]) -> NDArray[np.bool_]:
    """Return which values are among the chosen ones, (N,) bool, in time that grows with N alone."""
    known = set(chosen)
    return np.array([value in known for value in values], bool)


def natural(value: str) -> tuple[tuple[int, int, str], ...]:
    """Return a sort key under which "fold 2" comes before "fold 10"."""
    pieces = re.split(r"([0-9]{1,18})", value)
    return tuple((0, int(p), "") if p.isdecimal() else (1, 0, p) for p in pieces if p)
