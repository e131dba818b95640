"""Tables of a dataset: the one boundary between Parquet files, pandas and NumPy."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from radstart.core.errors import RadstartError
from radstart.core.files import os_reason, whole_file

Strings = NDArray[np.object_]
_AGAIN = "delete the dataset folder and run again"

ROW_SCHEMA = pa.schema(
    [("row", pa.int64()), ("image", pa.string()), ("line", pa.int64())]
    + [(name, pa.string()) for name in ("label", "patient", "exam", "site", "sex", "age")]
    + [(name, pa.string()) for name in ("split", "fold", "content")]
    + [(name, pa.int64()) for name in ("shard", "offset", "height", "width", "channels")]
    + [("dtype", pa.string())]
)
REJECTED_SCHEMA = pa.schema([("line", pa.int64()), ("image", pa.string()), ("reason", pa.string())])


def write_table(path: Path, columns: Mapping[str, Sequence[Any]], schema: pa.Schema) -> None:
    """Write columns as Parquet, whole or not at all; empty strings are stored as null.

    Raises:
        RadstartError: the folder cannot be written or the disk is full.
    """
    arrays = []
    for entry in schema:
        values = list(columns[entry.name])
        if pa.types.is_string(entry.type):
            values = [value or None for value in values]
        arrays.append(pa.array(values, entry.type))
    with whole_file(path) as temporary:
        pq.write_table(pa.Table.from_arrays(arrays, schema=schema), temporary)


def read_table(path: Path, schema: pa.Schema) -> pd.DataFrame:
    """Read a Parquet file that has at least the columns of `schema`.

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
    frame: pd.DataFrame = table.select(schema.names).to_pandas()
    return frame


def text(rows: pd.DataFrame, column: str) -> Strings:
    """Return a column as an object array (N,) of str; null or an absent column gives ""."""
    if column not in rows:
        return np.full(len(rows), "", object)
    values = rows[column].to_numpy(dtype=object)
    values = np.where(pd.isna(values), "", values)
    return np.array([str(value) for value in values], object)


def codes(values: Strings) -> tuple[Strings, NDArray[np.intp]]:
    """Return the distinct values in order and, for each value, its index among them."""
    names = sorted(set(values))
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
