"""Every division of a dataset into parts, and what stands on both sides of one."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from radstart.core.errors import RadstartError
from radstart.dataset import Dataset, Units, natural, text

Strings = NDArray[np.object_]
SHOWN = 12  # images named of one unit


@dataclass(frozen=True, eq=False)
class Division:
    """Which part every row is in.

    Attributes:
        name: "split column", "fold column", "splits/NAME", "splits/NAME part_2", ...
        part: object array (N,), "" for rows of no part.
    """

    name: str
    part: Strings

    @property
    def names(self) -> list[str]:
        """Return the names of the parts, in order."""
        known = {"train": 0, "training": 0, "val": 1, "valid": 1, "validation": 1, "dev": 1}
        found = set(self.part) - {""}
        return sorted(found, key=lambda name: (known.get(name.lower(), 2), natural(name)))


def divisions(dataset: Dataset) -> list[Division]:
    """Return the divisions of two or more parts: own columns, then DATASET/splits/*.parquet.

    Raises:
        RadstartError: a split file cannot be read, or is of another dataset.
    """
    found = [Division(f"{name} column", text(dataset.rows, name)) for name in ("split", "fold")]
    for path in sorted((dataset.path / "splits").glob("*.parquet")):
        found += _of_file(path, len(dataset))
    return [division for division in found if len(division.names) > 1]


def _of_file(path: Path, count: int) -> Iterator[Division]:
    try:
        table = pq.read_table(path).to_pandas()
    except (OSError, pa.ArrowException) as error:
        raise RadstartError(
            "cannot read the split", str(path), type(error).__name__, "delete it, or split again"
        ) from error
    places = table["row"].to_numpy(np.int64) if "row" in table else np.arange(len(table))
    if len(places) and not (places.min() >= 0 and places.max() < count):
        raise RadstartError(
            "is a split of another dataset", str(path), f"row {places.max()} of {count}",
            "delete it, or split again",
        )  # fmt: skip
    for column in map(str, table):
        if column.split("_")[0] in ("part", "fold"):
            part = np.full(count, "", object)
            part[places] = text(table, column)
            extra = f" {column}" if column not in ("part", "fold") else ""
            yield Division(f"splits/{path.stem}{extra}", part)


def crossing_keys(keys: Strings, part: Strings) -> set[str]:
    """Return the keys that stand in two or more parts; "" is none."""
    used = (keys != "") & (part != "")
    times = Counter(key for key, _ in set(zip(keys[used], part[used], strict=True)))
    return {key for key, n in times.items() if n > 1}


def split_units(rows: pd.DataFrame, units: Units, division: Division) -> list[dict[str, Any]]:
    """Return every unit that stands in several parts: its images by part."""
    crossing = crossing_keys(units.unit, division.part)
    image, patient = text(rows, "image"), text(rows, "patient")
    members: dict[str, list[int]] = {}
    for row in np.flatnonzero(division.part != "").tolist():
        if units.unit[row] in crossing:
            members.setdefault(units.unit[row], []).append(row)
    found = []
    for unit, own in members.items():
        parts = Counter(division.part[row] for row in own)
        first: dict[str, list[int]] = {}
        for row in own:
            first.setdefault(division.part[row], []).append(row)
        named = [row for part in division.names for row in first.get(part, [])[:SHOWN]]
        kind = "exam" if unit.startswith("exam ") else "picture"
        found.append({
            "division": division.name,
            "unit": unit,
            "kind": "patient" if (patient[own] != "").any() else kind,
            "parts": {name: parts[name] for name in division.names if parts[name]},
            "images": [image[row] for row in named],
            "n_images": len(own),
        })  # fmt: skip
    return sorted(found, key=lambda one: natural(one["unit"]))


def crossing(rows: pd.DataFrame, units: Units, division: Division) -> dict[str, Any]:
    """Return how much stands in several parts: units, images, patients, pictures, by pair."""
    part = division.part
    own = crossing_keys(units.unit, part)
    involved = np.array([unit in own for unit in units.unit], bool) & (part != "")
    by_part = {name: set(units.unit[part == name]) & own for name in division.names}
    return {
        "division": division.name,
        "parts": _sizes(units, division),
        "units": len(own),
        "images": int(involved.sum()),
        "patients": len(crossing_keys(text(rows, "patient"), part)),
        "contents": len(crossing_keys(text(rows, "content"), part)),
        "pairs": [
            {"parts": [a, b], "units": len(by_part[a] & by_part[b])}
            for a, b in combinations(division.names, 2)
        ][:45],
    }


def _sizes(units: Units, division: Division) -> list[Mapping[str, Any]]:
    return [
        {
            "part": name,
            "images": int((division.part == name).sum()),
            "units": len(set(units.unit[division.part == name])),
        }
        for name in division.names
    ]
