"""The rows of a dataset as a split needs them: columns as integer codes, however many rows.

Nothing here makes a Python object per row: names stay in Arrow, identical pictures are found by
64 bits of their fingerprint and then by all of it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from radstart.core.errors import RadstartError, nearest
from radstart.core.files import os_reason
from radstart.dataset.grouping import Codes, Keys
from radstart.dataset.tables import NUMBERED, natural

BINS = 5  # quantiles of a number with many values
MOST_VALUES = 10  # of a number that is taken as it stands
_BATCH = 1 << 18
_AGAIN = "delete the dataset folder and run again"
_REPEATED = ("patient", "exam", "series", "label", "site", "manufacturer", "modality", "anatomy")
_MIX = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, eq=False)
class Coded:
    """A column.

    Attributes:
        code: int64 (N,), -1 where there is nothing.
        names: Arrow array (K,) of the values that codes stand for.
    """

    code: Codes
    names: pa.Array


@contextmanager
def open_rows(path: Path) -> Iterator[pq.ParquetFile]:
    """Open rows.parquet for the block.

    Raises:
        RadstartError: absent, damaged anywhere that is read, or without rows' numbers and images.
    """
    try:
        names = pq.read_schema(path).names
        if missing := sorted({"row", "image"} - set(names)):
            raise RadstartError("columns are missing", str(path), ", ".join(missing), _AGAIN)
        repeated = [name for name in names if name in _REPEATED]
        with pq.ParquetFile(path, read_dictionary=repeated) as rows:
            yield rows
    except (OSError, pa.ArrowException) as error:
        reason = os_reason(error) if isinstance(error, OSError) else str(error)
        raise RadstartError("cannot read the table", str(path), reason, _AGAIN) from error


def coded(rows: pq.ParquetFile, column: str) -> Coded:
    """Return a column; null, NaN and "" are nothing, and so is a column that is not there.

    So is -1 in `NUMBERED`, the numbers that ingest gives.
    """
    n = rows.metadata.num_rows
    if column not in rows.schema_arrow.names:
        return Coded(nothing(n), pa.array([], pa.string()))
    values = rows.read(columns=[column])[column]
    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_nan(values), None, values)
    if not pa.types.is_dictionary(values.type):
        values = values.dictionary_encode()
    values = values.unify_dictionaries().combine_chunks()
    values = values.chunk(0) if isinstance(values, pa.ChunkedArray) else values
    code = values.indices.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False)
    names = values.dictionary
    if column in NUMBERED:
        negative = pc.less(names, 0).to_numpy(zero_copy_only=False)
        code = np.where(np.append(negative, True)[code], -1, code)
    if pa.types.is_large_string(names.type) or pa.types.is_string(names.type):
        empty = pc.index(names, "").as_py()
        code = np.where(code == empty, -1, code) if empty >= 0 else code
    return Coded(code, names)


def read_keys(rows: pq.ParquetFile, column: str) -> tuple[Keys, dict[str, pa.Array]]:
    """Return what says that rows belong together, and the names behind the codes.

    Args:
        rows: of the dataset.
        column: whose values stay on one side; "" = none.
    """
    found = {name: coded(rows, name) for name in ("patient", "exam", "series", "near")}
    series, volume = found["series"], coded(rows, "volume")
    code = series.code
    if len(volume.names):
        code = np.where((code < 0) & (volume.code >= 0), volume.code + len(series.names), code)
    named = pa.concat_arrays([_texts(series.names), pc.binary_join_element_wise(
        "volume", _texts(volume.names), " ")])  # fmt: skip
    asked = coded(rows, column) if column else Coded(nothing(len(code)), pa.array([]))
    keys = Keys(
        patient=found["patient"].code,
        exam=found["exam"].code,
        series=code,
        near=found["near"].code,
        picture=_pictures(rows),
        column=asked.code,
    )
    names = {name: _texts(found[name].names) for name in ("patient", "exam")}
    return keys, {**names, "series": named, "column": _texts(asked.names)}


def classes_of(rows: pq.ParquetFile, column: str) -> tuple[Codes, list[str]]:
    """Return the class of every row by a column, -1 = none, and the classes' names in order.

    A number with many values is cut into quantiles.
    """
    found = coded(rows, column)
    kind = found.names.type
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
        return _in_order(found.code, [str(name) for name in found.names.to_pylist()])
    values = found.names.to_numpy(zero_copy_only=False).astype(np.float64)
    if len(values) <= MOST_VALUES:
        return _in_order(found.code, [f"{value:g}" for value in values])
    known = found.code >= 0
    numbers = values[found.code[known]]
    cuts = np.unique(np.quantile(numbers, np.arange(1, BINS) / BINS, method="lower"))
    code = np.full(len(known), -1, np.int64)
    code[known] = np.searchsorted(cuts, numbers, side="right")
    ends = ["", *(f"{cut:g}" for cut in cuts), ""]
    names = [
        f"from {low}" if not high else f"below {high}" if not low else f"{low} to below {high}"
        for low, high in pairwise(ends)
    ]
    return code, names


def kept_rows(rows: pq.ParquetFile) -> NDArray[np.bool_]:
    """Return which rows curation keeps; all of them where it said nothing."""
    if "keep" not in rows.schema_arrow.names:
        return np.ones(rows.metadata.num_rows, bool)
    kept: NDArray[np.bool_] = rows.read(columns=["keep"])["keep"].fill_null(True).to_numpy()
    return kept


def parts_of(rows: pq.ParquetFile, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yield some columns, integers or text, a quarter of a million rows at a time."""
    batches = rows.iter_batches(_BATCH, columns=list(columns))
    while batch := _next(batches):
        yield pa.RecordBatch.from_arrays(
            [part if pa.types.is_integer(part.type) else part.cast(pa.string()) for part in batch],
            names=batch.schema.names,
        )


def _next(batches: Iterator[pa.RecordBatch]) -> pa.RecordBatch | None:
    try:
        return next(batches, None)
    except (OSError, pa.ArrowException) as error:
        raise RadstartError("cannot read the table", "rows.parquet", str(error), _AGAIN) from error


def check_column(rows: pq.ParquetFile, column: str, option: str) -> None:
    """Refuse the name of a column that is not there, or has no values.

    Raises:
        RadstartError: with the nearest names.
    """
    names = rows.schema_arrow.names
    if column not in names:
        raise RadstartError("no such column", option, repr(column), nearest(column, names))
    if not (coded(rows, column).code >= 0).any():
        raise RadstartError("the column is empty", option, repr(column), "name another")


def _pictures(rows: pq.ParquetFile) -> Codes:
    """Return groups of identical pictures by `content`, -1 for a picture that there is once.

    Fingerprints of one length are compared by 64 bits of all of them: among five million rows the
    chance that two different ones agree is one in a million, and they would only stay together.
    """
    n = rows.metadata.num_rows
    if "content" not in rows.schema_arrow.names:
        return nothing(n)
    words, known, sizes, start = np.zeros(n, np.uint64), np.zeros(n, bool), set(), 0
    for batch in parts_of(rows, ["content"]):
        texts = batch.column(0)
        there = pc.greater(pc.binary_length(texts), 0).fill_null(False)
        known[start : start + len(batch)] = there.to_numpy(zero_copy_only=False)
        texts = texts if known[start : start + len(batch)].all() else texts.filter(there)
        found, size = _short(texts)
        sizes |= size
        words[start : start + len(batch)][known[start : start + len(batch)]] = found
        start += len(batch)
    if len(sizes) > 1:  # no fingerprints of ours
        words = coded(rows, "content").code.astype(np.uint64)
    order = np.flatnonzero(known)
    order = order[np.argsort(words[order])]
    words = words[order]
    same = np.zeros(len(order) + 1, bool)
    np.equal(words[1:], words[:-1], out=same[1:-1])
    number = np.cumsum(same[1:] & ~same[:-1]) - 1
    group = np.full(n, -1, np.int64)
    several = same[1:] | same[:-1]
    group[order[several]] = number[several]
    return group


def _short(texts: pa.Array) -> tuple[NDArray[np.uint64], set[int]]:
    """Return 64 bits of every text, none empty; and the lengths that texts have.

    Where there are several lengths, or one that is no multiple of 8, the bits mean nothing.
    """
    ends = np.frombuffer(texts.buffers()[1], np.int32, len(texts) + 1, 4 * texts.offset)
    sizes = set(np.unique(np.diff(ends)).tolist())
    if len(sizes) != 1 or (size := min(sizes)) % 8:
        return np.zeros(len(texts), np.uint64), sizes | ({0} if sizes else set())
    flat = np.frombuffer(texts.buffers()[2], np.uint8)[ends[0] : ends[-1]]
    bits = np.zeros(len(texts), np.uint64)
    for word in flat.reshape(-1, size).view(np.uint64).T:
        bits ^= word
        bits *= _MIX
        bits ^= bits >> np.uint64(29)
    return bits, sizes


def nothing(n: int) -> Codes:
    """Return -1 for every row; it takes no memory and cannot be written to."""
    return np.broadcast_to(np.int64(-1), (n,))


def _in_order(code: Codes, names: list[str]) -> tuple[Codes, list[str]]:
    """Return codes whose names stand in natural order; names that no row has are left out."""
    used = np.bincount(code[code >= 0], minlength=len(names)) > 0
    order = sorted(np.flatnonzero(used).tolist(), key=lambda k: natural(names[k]))
    place = np.full(len(names) + 1, -1, np.int64)
    place[order] = np.arange(len(order))
    return place[code], [names[k] for k in order]


def _texts(names: pa.Array) -> pa.Array:
    return names.cast(pa.string())
