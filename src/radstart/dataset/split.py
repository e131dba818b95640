"""Splits of a dataset: parts or folds by unit, stratified, with an audit beside them.

`DATASET/splits/NAME.parquet` has a line per row of the dataset, in its order: `row`, `image`,
`unit` and, for every repeat, `part` (or `fold`, from 1) and a column per budget; rows that curation
does not keep have no part. `NAME.toml` is the audit (see `split_audit`).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from radstart.core.errors import RadstartError, nearest
from radstart.core.files import read_toml, whole_file, write_toml
from radstart.core.random import stream
from radstart.dataset.budgets import budget_units, first_units
from radstart.dataset.dealing import Places, Tally, deal_units, tally
from radstart.dataset.grouping import KINDS, Grouping, group_rows
from radstart.dataset.split_audit import Assigned, Classes, described, in_words
from radstart.dataset.split_rows import (
    check_column,
    classes_of,
    kept_rows,
    open_rows,
    parts_of,
    read_keys,
)
from radstart.dataset.split_spec import PARTS_OF, UNITS, SplitSpec, check_spec, command
from radstart.dataset.store import SCHEMA
from radstart.dataset.tables import natural

SPLIT_SCHEMA = 1


@dataclass(frozen=True, eq=False)
class Split:
    """A split of a dataset, on disk.

    Attributes:
        path: the Parquet file; the audit stands beside it.
        audit: the whole of `NAME.toml`.
    """

    path: Path
    audit: Mapping[str, Any] = field(repr=False)

    @property
    def rows(self) -> pd.DataFrame:
        """Return the table, read anew: row, image, unit, part or fold, budgets."""
        frame: pd.DataFrame = pq.read_table(self.path).to_pandas()
        return frame

    @property
    def lines(self) -> list[str]:
        """Return what a person should know of it, in lines."""
        return in_words(self.audit)


def split_dataset(dataset: Path, spec: SplitSpec) -> Split:
    """Split a dataset by unit and write the split with its audit.

    The same spec and rows give the same file. Millions of rows are read as columns of codes: pixels
    are never opened.

    Raises:
        RadstartError: not a dataset, a spec out of range, a group key that would be unused, fewer
            units than parts, or another split of that name.
    """
    facts = read_facts(dataset)
    path = dataset / "splits" / f"{spec.name}.parquet"
    check_spec(spec)
    _check_name(path.with_suffix(".toml"), spec, facts)
    with open_rows(dataset / "rows.parquet") as rows:
        assigned, names = _assigned(rows, spec)
        audit = {
            "schema": SPLIT_SCHEMA,
            "dataset": {key: facts.get(key) for key in ("name", "content")},
            "spec": _told(spec),
            **described(assigned, spec.group_column),
            "command": command(spec),
        }
        _write(path, rows, names, assigned, spec.group_column)
    write_toml(path.with_suffix(".toml"), audit)
    return open_split(dataset, spec.name)


def open_split(dataset: Path, name: str) -> Split:
    """Open a split.

    Raises:
        RadstartError: none of that name, or made by a newer radstart.
    """
    path = dataset / "splits" / f"{name}.parquet"
    if not path.is_file() or not path.with_suffix(".toml").is_file():
        there = sorted(p.stem for p in path.parent.glob("*.toml")) if path.parent.is_dir() else []
        remedy = nearest(name, there) if there else "radstart split makes one"
        raise RadstartError("no such split", str(path), repr(name), remedy)
    audit = read_toml(path.with_suffix(".toml"))
    if type(audit.get("schema")) is not int or audit["schema"] > SPLIT_SCHEMA:
        got = f"schema {audit.get('schema')}, known up to {SPLIT_SCHEMA}"
        raise RadstartError("was made by a newer radstart", str(path), got, "update radstart")
    return Split(path, audit)


def _assigned(rows: pq.ParquetFile, spec: SplitSpec) -> tuple[Assigned, Mapping[str, pa.Array]]:
    """Return the split of some rows, and the names behind the keys of their units."""
    for column in spec.stratify or ():
        check_column(rows, column, "--stratify")
    if spec.group_column:
        check_column(rows, spec.group_column, "--group-column")
    keys, names = read_keys(rows, spec.group_column)
    kept = kept_rows(rows)
    found = group_rows(keys)
    _check_unit(spec, found)
    classes = [Classes(column, *classes_of(rows, column)) for column in _strata(rows, spec)]
    used = np.flatnonzero(kept)
    held = tally(found.unit[used], len(found.kind), [one.code[used] for one in classes])
    there = np.diff(held.start) > 0
    _check_number(spec, int(there.sum()))
    draws = [_draw(held, there, spec, turn) for turn in range(spec.repeats)]
    labels = [str(k + 1) for k in range(spec.folds)] or list(PARTS_OF[len(spec.shares)])
    assigned = Assigned(
        keys, found, kept, classes, held, labels, bool(spec.folds),
        [part for part, _ in draws], [budgets for _, budgets in draws],
    )  # fmt: skip
    return assigned, names


def _told(spec: SplitSpec) -> dict[str, Any]:
    """Return a spec as TOML has it: lists, and no key where there is no value."""
    values = {key: value for key, value in asdict(spec).items() if value is not None}
    return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}


def read_facts(dataset: Path) -> dict[str, Any]:
    """Return `dataset.toml`.

    Raises:
        RadstartError: not a dataset, or made by a newer radstart.
    """
    if not (dataset / "dataset.toml").is_file():
        raise RadstartError(
            "is not a dataset folder", str(dataset), "no dataset.toml", "radstart ingest makes one"
        )
    facts = read_toml(dataset / "dataset.toml")
    if type(facts.get("schema")) is not int or facts["schema"] > SCHEMA:
        got = f"schema {facts.get('schema')}, known up to {SCHEMA}"
        raise RadstartError("was made by a newer radstart", str(dataset), got, "update radstart")
    return facts


def _check_name(path: Path, spec: SplitSpec, facts: Mapping[str, Any]) -> None:
    """Refuse a name under which another split stands: others may rest on it."""
    if not path.is_file():
        return
    there = read_toml(path)
    same = there.get("dataset", {}).get("content") == facts.get("content")
    if same and there.get("spec") == _told(spec):
        return
    raise RadstartError(
        "another split of that name is there", str(path), str(there.get("command", "")),
        "choose another --name, or delete it",
    )  # fmt: skip


def _check_unit(spec: SplitSpec, found: Grouping) -> None:
    """Refuse a unit that leaves a group key unused, or that rows lack.

    Raises:
        RadstartError: names the key, and how many rows have it or lack it.
    """
    if spec.unit == "auto":
        return
    wanted = UNITS.index(spec.unit) - 1
    stronger = found.row_kind < wanted
    near = found.keys.near if spec.unit == "image" else np.full(1, -1)
    if stronger.any() or (near >= 0).any():
        kind = KINDS[int(found.row_kind.min())] if stronger.any() else "near-duplicate group"
        n = int(stronger.sum()) if stronger.any() else int((near >= 0).sum())
        raise RadstartError(
            f"{n} rows have a known {kind}: to split by {spec.unit} would leave it unused, and put "
            f"images of one {kind} on both sides",
            "--unit", spec.unit, "leave the option out",
        )  # fmt: skip
    lacking = int((found.row_kind > wanted).sum())
    if lacking:
        raise RadstartError(
            f"{lacking} of {len(found.unit)} rows have no known {spec.unit}",
            "--unit", spec.unit, "leave the option out, or give them one in the CSV at ingest",
        )  # fmt: skip


def _check_number(spec: SplitSpec, n_units: int) -> None:
    needed = spec.folds or len(spec.shares)
    if n_units < needed:
        joined = f" that keep each {spec.group_column!r} on one side" if spec.group_column else ""
        raise RadstartError(
            f"fewer units{joined} than parts: a unit stands in one part",
            "split", f"{n_units} units, {needed} parts",
            "ask for fewer parts" + (", or leave out --group-column" if joined else ""),
        )  # fmt: skip


def _strata(rows: pq.ParquetFile, spec: SplitSpec) -> list[str]:
    if spec.stratify is not None:
        return list(spec.stratify)
    names = [name for name in rows.schema_arrow.names if name.startswith("target.")]
    return ["label", *names] if "label" in rows.schema_arrow.names else names


def _draw(
    held: Tally, used: NDArray[np.bool_], spec: SplitSpec, turn: int
) -> tuple[Places, dict[str, NDArray[np.bool_]]]:
    """Return the part of every unit, and the units of each budget, of one repeat."""
    shares = np.ones(spec.folds) if spec.folds else np.asarray(spec.shares)
    part = deal_units(held, shares, stream(spec.seed, "split", turn))
    budgets = {f"{budget:g}": np.zeros(len(held), bool) for budget in spec.budgets}
    trained = 1 if spec.folds else len(shares) - 1  # parts with a budget; test is always used
    for where in range(trained if spec.budgets else 0):
        members = np.flatnonzero(used if spec.folds else used & (part == where))
        rng = stream(spec.seed, "split", "budget", turn, where)
        order = members[first_units(held.present(members), 1 if where else 2, rng)]
        for budget, chosen in zip(spec.budgets, budgets.values(), strict=True):
            chosen[order[: budget_units(budget, len(order))]] = True
    for chosen in budgets.values():
        chosen |= used & (part >= trained) & (not spec.folds)
    return part, budgets


def _write(
    path: Path,
    rows: pq.ParquetFile,
    names: Mapping[str, pa.Array],
    assigned: Assigned,
    column: str,
) -> None:
    """Write the table, a quarter of a million rows at a time."""
    found = assigned.found
    places, units = _unit_names(rows, found, names, column)
    schema = pa.schema(
        [("row", pa.int64()), ("image", pa.string()), ("unit", pa.string())]
        + [entry for entry, _ in _columns(assigned)]
    )
    start = 0
    with whole_file(path) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        for batch in parts_of(rows, ("row", "image")):
            place = slice(start, start + len(batch))
            of_rows, kept = found.unit[place], assigned.kept[place]
            columns = [batch.column(0), batch.column(1), units.take(pa.array(places[of_rows]))]
            for entry, values in _columns(assigned):
                dealt = pa.array(np.asarray(values)[of_rows], mask=~kept)
                if pa.types.is_string(entry.type):
                    dealt = pa.array(assigned.labels).take(dealt)
                columns.append(dealt.cast(entry.type))
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))
            start = place.stop


def _columns(assigned: Assigned) -> list[tuple[pa.Field, NDArray[Any]]]:
    """Return the columns of each repeat: its field and a value per unit."""
    columns: list[tuple[pa.Field, NDArray[Any]]] = []
    many = len(assigned.parts) > 1
    for turn, (part, budgets) in enumerate(zip(assigned.parts, assigned.budgets, strict=True), 1):
        behind = f"_{turn}" if many else ""
        if assigned.folds:
            columns.append((pa.field(f"fold{behind}", pa.int64()), part + 1))
        else:
            columns.append((pa.field(f"part{behind}", pa.string()), part))
        columns += [
            (pa.field(f"budget_{budget}{behind}", pa.bool_()), chosen)
            for budget, chosen in budgets.items()
        ]
    return columns


def _unit_names(
    rows: pq.ParquetFile, found: Grouping, names: Mapping[str, pa.Array], column: str
) -> tuple[NDArray[np.int64], pa.Array]:
    """Return where each unit's name stands among names, and the names.

    A unit is called by the value of the column that holds it together, else by its patient, exam,
    series, or first image; of several, by the first in natural order.
    """
    n_units = len(found.kind)
    place, before, texts = np.full(n_units, -1), 0, []
    keys = found.keys
    for key, code in (
        ("column", keys.column),
        *zip(KINDS[:3], (keys.patient, keys.exam, keys.series), strict=True),
    ):
        mine = code >= 0
        if key != "column":
            mine &= (found.row_kind == KINDS.index(key)) & (
                found.kind[found.unit] == found.row_kind
            )
        mine &= place[found.unit] < 0
        chosen = _first(found.unit[mine], code[mine], n_units, names[key])
        place = np.where((place < 0) & (chosen >= 0), before + chosen, place)
        title = {"column": f"{column} ", "patient": ""}.get(key, f"{key} ")
        texts.append(pc.binary_join_element_wise(title, names[key], ""))
        before += len(names[key])
    first = np.full(n_units, len(found.unit))
    np.minimum.at(first, found.unit, np.arange(len(found.unit)))
    nameless = np.flatnonzero(place < 0)
    place[nameless[np.argsort(first[nameless])]] = before + np.arange(len(nameless))
    wanted = np.zeros(len(found.unit), bool)
    wanted[first[nameless]] = True
    images, start = [], 0
    for batch in parts_of(rows, ["image"]) if len(nameless) else ():
        images.append(batch.column(0).filter(pa.array(wanted[start : start + len(batch)])))
        start += len(batch)
    shown = pa.chunked_array(images, pa.string()).combine_chunks()
    texts.append(pc.binary_join_element_wise("image ", shown, ""))
    return place, pa.concat_arrays(texts)


def _first(
    unit: NDArray[np.int64], code: NDArray[np.int64], n_units: int, names: pa.Array
) -> NDArray[np.int64]:
    """Return for each unit the code whose name is first in natural order, -1 without any."""
    low, high = np.full(n_units, len(names)), np.full(n_units, -1)
    np.minimum.at(low, unit, code)
    np.maximum.at(high, unit, code)
    chosen = np.where(high < 0, -1, low)
    several = np.flatnonzero(low < high)
    if len(several):
        of_several = np.isin(unit, several)
        pairs = np.unique(np.stack([unit[of_several], code[of_several]]), axis=1)
        shown = names.take(pa.array(pairs[1])).to_pylist()
        order = sorted(range(len(shown)), key=lambda k: (natural(shown[k]), shown[k]))
        for k in reversed(order):
            chosen[pairs[0][k]] = pairs[1][k]
    return chosen
