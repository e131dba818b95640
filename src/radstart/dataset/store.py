"""The dataset folder: rows, ragged pixel shards, and what was rejected.

See `docs/design.md`, section "Dataset", for the files. A dataset is only ever read after
`save_dataset` has written its last file, `dataset.toml`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radstart.core.errors import RadstartError
from radstart.core.files import read_toml, write_toml
from radstart.core.hashing import digest
from radstart.dataset.tables import REJECTED_SCHEMA, ROW_SCHEMA, read_table, write_table

SCHEMA = 1
SHARD_BYTES = 1 << 28  # a shard is closed once it holds this much
_DAMAGED = "delete the dataset folder and run again"

Pixels = NDArray[np.uint8] | NDArray[np.uint16]


@dataclass(frozen=True, eq=False)
class Dataset:
    """A dataset folder, opened.

    Attributes:
        path: the folder.
        name: the name of the folder of images that it was made from.
        target: the name of the label column.
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


def open_dataset(path: Path) -> Dataset:
    """Open a dataset folder.

    Raises:
        RadstartError: absent, incomplete, damaged, or made by a newer radstart.
    """
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
    rows = read_table(path / "rows.parquet", ROW_SCHEMA)
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


class PixelWriter:
    """Appends images to the ragged shards of a dataset folder (a context manager)."""

    def __init__(self, folder: Path, shard_bytes: int = SHARD_BYTES) -> None:
        """Write into `folder`/pixels, which is made here."""
        self._folder, self._shard_bytes = folder, shard_bytes
        self._number, self._offset = 0, 0
        self._file: BinaryIO | None = None
        (folder / "pixels").mkdir(parents=True, exist_ok=True)

    def append(self, pixels: Pixels) -> tuple[int, int]:
        """Write an image (little-endian, C order); return its shard and offset."""
        if self._file is not None and self._offset >= self._shard_bytes:
            self._file.close()
            self._file, self._number, self._offset = None, self._number + 1, 0
        if self._file is None:
            self._file = shard_path(self._folder, self._number).open("wb")
        self._offset += -self._offset % 2  # uint16 stays aligned
        place = self._number, self._offset
        self._file.seek(self._offset)
        little = pixels.astype(pixels.dtype.newbyteorder("<"), copy=False)
        self._file.write(np.ascontiguousarray(little).data)
        self._offset += pixels.nbytes
        return place

    def __enter__(self) -> Self:
        """Return the writer."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the open shard."""
        if self._file is not None:
            self._file.close()


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
) -> None:
    """Write tables and `dataset.toml` beside shards that are already in `folder`.

    Args:
        folder: the dataset folder.
        name: what the dataset is called.
        target: the name of the label column.
        classes: names in order; of two, the last is the positive one.
        rows: the columns of rows.parquet.
        rejected: the columns line, image, reason.
        source: fingerprint of what the dataset was made from.
        columns: the columns of the CSV that were used, by meaning.

    Raises:
        RadstartError: the folder cannot be written or the disk is full.
    """
    write_table(folder / "rows.parquet", rows, ROW_SCHEMA)
    write_table(folder / "rejected.parquet", rejected, REJECTED_SCHEMA)
    labels = list(rows["label"])
    facts = {
        "schema": SCHEMA,
        "name": name,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "source": source,
        "target": target,
        "classes": list(classes),
        "positive": classes[-1] if len(classes) == 2 else None,
        "content": digest([[str(v or "") for v in rows[n]] for n in ROW_SCHEMA.names], 32),
        "counts": {
            "rows": len(labels),
            "labelled": sum(bool(label) for label in labels),
            "rejected": len(rejected["line"]),
        },
        "columns": dict(columns),
    }
    write_toml(folder / "dataset.toml", facts)
