"""The dataset folder: rows, ragged pixel shards, and what was rejected.

See `docs/design.md`, section "Dataset", for the files. A dataset is only ever read after
`save_dataset` has written its last file, `dataset.toml`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from radstart.core.errors import RadstartError
from radstart.core.files import read_toml, without_none, write_toml
from radstart.core.hashing import digest
from radstart.dataset.tables import (
    MORE_SCHEMA,
    REJECTED_SCHEMA,
    ROW_SCHEMA,
    TARGET,
    read_table,
    text,
    write_table,
)

SCHEMA = 2
_DAMAGED = "delete the dataset folder and run again"

Pixels = NDArray[np.uint8] | NDArray[np.uint16]


@dataclass(frozen=True, eq=False)
class Dataset:
    """A dataset folder, opened.

    Attributes:
        path: the folder.
        name: the name of the folder of images that it was made from.
        target: the name of the label column; "" = no labels.
        classes: names in a fixed order; of two, the last is the positive one.
        rows: one row per image, row i at position i (columns: `docs/design.md`).
        content: fingerprint of all rows; equal fingerprints mean equal pixels, labels and groups.
        rejected: line, image, reason of every row that was refused.
        facts: the whole of `dataset.toml`.
    """

    path: Path
    name: str
    target: str
    classes: tuple[str, ...]
    rows: pd.DataFrame
    content: str
    rejected: pd.DataFrame
    facts: Mapping[str, Any] = field(repr=False)
    _open: dict[str, Any] = field(default_factory=dict, repr=False, init=False)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.rows)

    @property
    def hashed(self) -> bool:
        """Return whether patients and images are named by hashes with a key."""
        return bool((self.facts.get("how") or {}).get("key", "kept") != "kept")

    def kept(self) -> "Dataset":
        """Return the dataset without the rows that curation dropped (`keep` is false)."""
        keep = self.rows["keep"].to_numpy(bool)
        if keep.all():
            return self
        rows = self.rows[keep].reset_index(drop=True)
        rows["row"] = np.arange(len(rows))
        return replace(self, rows=rows, content=digest([self.content, "kept"], 32))

    def pixels(self, row: int) -> Pixels:
        """Return the image of a row, (H, W) or (H, W, 3), uint8 or uint16, read-only.

        The array is a view of the memory-mapped shard: nothing is read before it is used.
        """
        shards, offsets, shapes, dtypes = self._index()
        start = int(offsets[row])
        height, width, channels = (int(side) for side in shapes[row])
        dtype = np.dtype(dtypes[row]).newbyteorder("<")
        stop = start + height * width * channels * dtype.itemsize
        flat = self._shard(int(shards[row]))[start:stop].view(dtype)
        image: Pixels = flat.reshape((height, width, 3) if channels == 3 else (height, width))
        return image

    def mask(self, row: int) -> NDArray[np.uint8] | None:
        """Return the mask of a row, (H, W) uint8, of the size of its image; None = it has none."""
        offset = self.rows["mask_offset"].iloc[row]
        if not offset >= 0:  # null where there is none
            return None
        height, width = (int(self.rows[side].iloc[row]) for side in ("height", "width"))
        number, start = int(self.rows["shard"].iloc[row]), int(offset)
        key = f"mask {number}"
        if key not in self._open:
            self._open[key] = np.memmap(mask_path(self.path, number), np.uint8, mode="r")
        flat: NDArray[np.uint8] = self._open[key][start : start + height * width]
        return flat.reshape(height, width)

    def _index(self) -> tuple[Any, Any, Any, Any]:
        if "index" not in self._open:
            rows = self.rows
            shapes = rows[["height", "width", "channels"]].to_numpy(np.int64)
            self._open["index"] = (
                rows["shard"].to_numpy(np.int64),
                rows["offset"].to_numpy(np.int64),
                shapes,
                rows["dtype"].to_numpy(object),
            )
        found: tuple[Any, Any, Any, Any] = self._open["index"]
        return found

    def _shard(self, number: int) -> NDArray[np.uint8]:
        key = f"shard {number}"
        if key not in self._open:
            self._open[key] = np.memmap(shard_path(self.path, number), np.uint8, mode="r")
        shard: NDArray[np.uint8] = self._open[key]
        return shard

    def __getstate__(self) -> dict[str, Any]:
        """Leave the memory maps behind when the dataset goes to another process."""
        return {**self.__dict__, "_open": {}}


def shard_path(folder: Path, number: int) -> Path:
    """Return the path of a pixel shard of the dataset in `folder`."""
    return folder / "pixels" / f"{number:04d}.bin"


def mask_path(folder: Path, number: int) -> Path:
    """Return the path of the masks of a pixel shard."""
    return folder / "masks" / f"{number:04d}.bin"


def open_dataset(path: str | Path) -> Dataset:
    """Open a dataset folder.

    Raises:
        RadstartError: absent, incomplete, damaged, or made by a newer radstart.
    """
    path = Path(path)
    if not (path / "dataset.toml").is_file():
        raise RadstartError(
            "is not a dataset folder", str(path), "no dataset.toml", "choose another --out"
        )
    facts = read_toml(path / "dataset.toml")
    schema = facts.get("schema")
    if type(schema) is not int:
        raise RadstartError("is damaged", f"{path}/dataset.toml", f"schema {schema}", _DAMAGED)
    if schema > SCHEMA:
        raise RadstartError(
            "was made by a newer radstart",
            str(path),
            f"schema {schema}, known up to {SCHEMA}",
            "update radstart or choose another --out",
        )
    rows = read_table(path / "rows.parquet", ROW_SCHEMA, MORE_SCHEMA)
    rows["keep"] = rows["keep"].fillna(True).astype(bool)
    rows["age"] = pd.to_numeric(rows["age"], errors="coerce")  # schema 1: text
    rejected = read_table(path / "rejected.parquet", REJECTED_SCHEMA)
    try:
        dataset = Dataset(
            path=path,
            name=str(facts["name"]),
            target=str(facts["target"]),
            classes=tuple(str(name) for name in facts["classes"]),
            rows=rows,
            content=str(facts["content"]),
            rejected=rejected,
            facts=facts,
        )
    except (KeyError, TypeError) as error:
        raise RadstartError("is damaged", f"{path}/dataset.toml", str(error), _DAMAGED) from error
    _check_shards(dataset)
    return dataset


def _check_shards(dataset: Dataset) -> None:
    rows = dataset.rows
    size = rows["dtype"].map({"uint8": 1, "uint16": 2}).to_numpy(np.float64)
    shapes = rows[["height", "width", "channels"]].to_numpy(np.float64)
    ends = rows["offset"].to_numpy(np.float64) + shapes.prod(axis=1) * size
    shards = rows["shard"].to_numpy(np.int64)
    for number in np.unique(shards):
        path = shard_path(dataset.path, int(number))
        have = path.stat().st_size if path.is_file() else 0
        if not have >= ends[shards == number].max():
            raise RadstartError("pixels are missing", str(path), f"{have} bytes", _DAMAGED)


def save_dataset(
    folder: Path,
    *,
    name: str,
    target: str,
    classes: Sequence[str],
    rows: Mapping[str, Sequence[Any]],
    rejected: Mapping[str, Sequence[Any]],
    source: str,
    columns: Mapping[str, str],
    how: Mapping[str, Any] | None = None,
) -> None:
    """Write tables and `dataset.toml` beside shards that are already in `folder`.

    Args:
        folder: the dataset folder.
        name: what the dataset is called.
        target: the name of the label column, "" = no labels.
        classes: names in order; of two, the last is the positive one.
        rows: the columns of rows.parquet; those of `MORE_SCHEMA` may be absent.
        rejected: the columns line, image, reason.
        source: fingerprint of what the dataset was made from.
        columns: the columns of the CSV that were used, by meaning.
        how: how pixels were made of values, and what else a reader must know.

    Raises:
        RadstartError: the folder cannot be written or the disk is full.
    """
    count = len(rows["row"])
    rows = {"keep": [True] * count, **rows}
    schema = ROW_SCHEMA
    for entry in MORE_SCHEMA:
        schema = schema.append(entry)
        if entry.name not in rows:
            rows[entry.name] = [None] * count
    targets = [column for column in rows if column.startswith(TARGET)]
    for column in targets:
        schema = schema.append(pa.field(column, pa.float64()))
    write_table(folder / "rows.parquet", rows, schema)
    write_table(folder / "rejected.parquet", rejected, REJECTED_SCHEMA)
    frame = pd.DataFrame({name: rows[name] for name in (*_TOLD, *targets)})
    facts = {
        "schema": SCHEMA,
        "name": name,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "source": source,
        "target": target,
        "classes": list(classes),
        "positive": classes[-1] if len(classes) == 2 else None,
        "targets": [column.removeprefix(TARGET) for column in targets],
        "content": content_of(frame),
        "counts": {
            "rows": count,
            "kept": sum(bool(keep) for keep in rows["keep"]),
            "labelled": int((text(frame, "label") != "").sum()),
            "rejected": len(rejected["line"]),
        },
        "columns": dict(columns),
        "how": without_none(how or {}),
    }
    write_toml(folder / "dataset.toml", facts)


_GROUPS = ("patient", "exam", "site")
_TOLD = ("keep", "label", *_GROUPS, "split", "fold", "content")


def content_of(rows: pd.DataFrame) -> str:
    """Return the fingerprint of rows: pixels, labels, groups, in their order.

    Groups count by who belongs together, not by name: the key that hides identifiers does not.
    """
    columns = []
    for name in _TOLD:
        values = text(rows, name)
        if name in _GROUPS:
            first: dict[str, int] = {"": -1}
            values = np.array([first.setdefault(v, len(first)) for v in values], object)
        columns.append([str(value) for value in values])
    targets = [name for name in map(str, rows) if name.startswith(TARGET)]
    return digest([*columns, *([str(v) for v in rows[name]] for name in targets)], 32)
