"""A table of labels over an archive: which of its rows speaks of which file, in many layouts.

A row names a file (by its path, its name, or its name without ending), or a patient, an exam, a
series or an instance, whose images all get its values.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from radstart.core.errors import RadstartError, nearest
from radstart.dataset import TARGET
from radstart.ingest.anatomy import region
from radstart.ingest.csv_file import Table
from radstart.ingest.listing import Rejected
from radstart.ingest.privacy import known_modality
from radstart.ingest.readers.arrays import PLANES
from radstart.ingest.walk import Item

NAMES: Mapping[str, tuple[str, ...]] = {
    "image": ("image", "filename", "file", "path", "filepath", "imagepath", "imagefile",
              "imagename", "imageindex", "imageid", "dicom", "id"),
    "label": ("label", "class", "diagnosis", "target", "cluster", "category"),
    "patient": ("patientid", "patient", "pid", "subjectid", "subject"),
    "exam": ("examid", "exam", "studyid", "study", "studyinstanceuid", "studyuid",
             "accessionnumber", "accession"),
    "series": ("seriesinstanceuid", "seriesuid", "seriesid"),
    "image_id": ("sopinstanceuid", "sopuid", "instanceuid"),
    "split": ("split", "partition", "subset"),
    "fold": ("fold",),
    "sex": ("sex", "gender"),
    "age": ("age", "patientage"),
    "site": ("site", "hospital", "institution", "center", "centre"),
    "modality": ("modality",),
    "anatomy": ("anatomy", "bodypartexamined", "bodypart", "region"),
    "view": ("view", "viewposition"),
    "laterality": ("laterality", "side"),
    "mask": ("mask", "maskfile", "segmentation"),
}  # fmt: skip
"""Meaning -> how its column may be called, without case, blanks and signs; the first leads."""

KEYS = ("image_id", "series", "exam", "patient")
_DEEP = 3  # parts of a path by which files of one name are told apart at once
_LISTS = frozenset({"findinglabels", "findings", "labels", "label"})
_FLAGS = frozenset({"", "0", "1", "-1", "0.0", "1.0", "-1.0", "nan", "NaN"})


@dataclass(frozen=True)
class Told:
    """What a table says.

    Attributes:
        columns: the table's columns that are used, by meaning.
        by: "file", or the meaning by which its rows are joined: patient, exam, series, image_id.
        files: by "file": number of the item -> line of the table.
        keys: else: value -> line.
        values: line -> values by meaning; findings and numbers as "target.NAME".
        masks: line -> items that are masks.
        targets: names of findings and numbers.
        rejected: rows that speak of nothing.
    """

    columns: Mapping[str, str]
    by: str
    values: Mapping[int, Mapping[str, str]]
    files: Mapping[int, int] = field(default_factory=dict)
    keys: Mapping[str, int] = field(default_factory=dict)
    masks: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    targets: tuple[str, ...] = ()
    rejected: tuple[Rejected, ...] = ()


def choose(table: Table, given: Mapping[str, str]) -> dict[str, str]:
    """Return the column for each meaning that the table has.

    Args:
        table: of the user.
        given: meaning -> column that was named; "" = take none.

    Raises:
        RadstartError: a named column is not there, or stands twice in the header.
    """
    known: dict[str, list[str]] = defaultdict(list)
    for column in table.header:
        known[plain(column)].append(column)
    chosen: dict[str, str] = {}
    for meaning, names in NAMES.items():
        wanted = given.get(meaning)
        found = next((known[name][0] for name in names if name in known), "")
        column = found if wanted is None else wanted
        if not column:
            continue
        if column not in table.header:
            raise RadstartError(
                f"has no column {column!r}", str(table.path), f"{len(table.header)} columns",
                nearest(column, [name for name in table.header if name]),
            )  # fmt: skip
        if table.header.count(column) > 1:
            raise RadstartError(
                "a column stands twice in the header", str(table.path), repr(column),
                "rename one of the two",
            )  # fmt: skip
        if column not in chosen.values():
            chosen[meaning] = column
    return chosen


def plain(name: str) -> str:
    """Return the name of a column without case, blanks and signs."""
    return re.sub("[^a-z0-9]", "", name.lower())


def spread(table: Table) -> Table:
    """Return a table with a column of 0 and 1 for each word of one that lists findings: A|B."""
    for name in table.header:
        cells = table.column(name) if plain(name) in _LISTS else []
        if not any("|" in cell for cell in cells):
            continue
        told = [[word.strip() for word in cell.split("|")] for cell in cells]
        words = sorted({word for one in told for word in one} - {"", *table.header})
        more = [tuple(str(int(word in one)) if any(one) else "" for word in words) for one in told]
        records = tuple(row + new for row, new in zip(table.records, more, strict=True))
        table = replace(table, header=(*table.header, *words), records=records)
    return table


def findings(table: Table, taken: Iterable[str]) -> tuple[str, ...]:
    """Return the columns that are findings: 0, 1, -1 or empty, both 0 and 1; none if only one is.

    A single such column is as likely a flag of something else: name it as the label.
    """
    taken = set(taken)
    found = []
    for column in table.header:
        if column in taken or not column or table.header.count(column) > 1:
            continue
        values = set(table.column(column))
        if values <= _FLAGS and {v.partition(".")[0] for v in values} >= {"0", "1"}:
            found.append(column)
    return tuple(found) if len(found) > 1 else ()


def tell(
    table: Table, items: Sequence[Item], given: Mapping[str, str], numbers: Sequence[str] = ()
) -> Told:
    """Match a table with files.

    Args:
        table: of the user.
        items: the files of the sources.
        given: meaning -> column; "" = take none.
        numbers: columns of numbers that are targets.

    Raises:
        RadstartError: a column is absent, or nothing tells which row speaks of which image.
    """
    table = spread(table)
    columns = choose(table, given)
    for number in numbers:
        if number not in table.header:
            raise RadstartError(
                f"has no column {number!r}", str(table.path), f"{len(table.header)} columns",
                nearest(number, [name for name in table.header if name]),
            )  # fmt: skip
    targets = (*findings(table, [*columns.values(), *numbers]), *numbers)
    index = _Index(items)
    matches = _matches(table, columns, index)
    masks = _masks(table, columns, index)
    values = _values(table, columns, targets)
    if any(item is not None for item, _ in matches):
        return _by_file(table, columns, targets, matches, masks, values, items)
    by = next((key for key in KEYS if key in columns), None)
    folders = {item.path.lower().split("/")[-2:][0] for item in items}
    if by is None and "image" in columns and folders & set(PLANES):  # a file for each plane
        by, columns["exam"] = "exam", columns.pop("image")
        values = _values(table, columns, targets)
    if by is None:
        raise RadstartError(
            "no row names a file of the sources, and no column a patient, exam or series",
            str(table.path), ", ".join(table.header)[:80], "name one, e.g. --column image=NAME",
        )  # fmt: skip
    return _by_key(table, columns, targets, by, values)


def _values(
    table: Table, columns: Mapping[str, str], targets: Sequence[str]
) -> dict[int, dict[str, str]]:
    """Return the values of every line by meaning."""
    told = {m: table.column(c) for m, c in columns.items() if m not in ("image", "mask")}
    told |= {f"{TARGET}{name}": table.column(name) for name in targets}
    for meaning, known in (("modality", known_modality), ("anatomy", _known_region)):
        if meaning in told:
            words = {cell: known(cell) or cell for cell in set(told[meaning])}
            told[meaning] = [words[cell] for cell in told[meaning]]
    return {
        line: {name: cells[k] for name, cells in told.items() if cells}
        for k, line in enumerate(table.lines)
    }


def _known_region(text: str) -> str:
    return region({"body_part": text})[0]


def _matches(
    table: Table, columns: Mapping[str, str], index: "_Index"
) -> list[tuple[int | None, str]]:
    """Return the item that each row names, or None and why."""
    if "image" not in columns:
        return [(None, "no image is named")] * len(table.lines)
    cells = zip(table.raw(columns["image"]), table.faults, strict=True)
    return [(None, fault) if fault else index.find(cell) for cell, fault in cells]


def _masks(table: Table, columns: dict[str, str], index: "_Index") -> dict[int, tuple[int, ...]]:
    """Return the items of each row's masks; a label column that names files is one of masks."""
    if "mask" not in columns and "label" in columns:
        cells = [cell for cell in table.column(columns["label"]) if cell]
        if cells and all("." in cell and index.find(cell)[0] is not None for cell in cells):
            columns["mask"] = columns.pop("label")
    if "mask" not in columns:
        return {}
    found = {}
    for line, cell in zip(table.lines, table.column(columns["mask"]), strict=True):
        items = [index.find(name)[0] for name in cell.split(";") if name.strip()]
        if known := tuple(item for item in items if item is not None):
            found[line] = known
    return found


def _by_file(
    table: Table,
    columns: Mapping[str, str],
    targets: tuple[str, ...],
    matches: list[tuple[int | None, str]],
    masks: Mapping[int, tuple[int, ...]],
    values: dict[int, dict[str, str]],
    items: Sequence[Item],
) -> Told:
    files: dict[int, int] = {}
    rejected = []
    contradicted = set()
    names = table.raw(columns["image"])
    for line, name, (item, why) in zip(table.lines, names, matches, strict=True):
        if item is None:
            rejected.append(Rejected(line, name, why, "correct the name"))
            continue
        first = files.setdefault(item, line)
        if first == line:
            continue
        if values[first].get("label", "") != values[line].get("label", ""):
            contradicted.add(item)
            why = f"one image under two labels: line {first} and line {line}"
            rejected.append(Rejected(line, name, why, "correct the wrong one"))
        else:
            why = f"the image stands in line {first} already"
            rejected.append(Rejected(line, name, why, "take one of the two out"))
    for item in contradicted:
        line = files[item]
        values[line] = {**values[line], "label": ""}
    return Told(
        columns, "file", values, files=files, masks=masks, targets=targets,
        rejected=tuple(rejected),
    )  # fmt: skip


def _by_key(
    table: Table,
    columns: Mapping[str, str],
    targets: tuple[str, ...],
    by: str,
    values: Mapping[int, Mapping[str, str]],
) -> Told:
    keys: dict[str, int] = {}
    rejected = []
    for line, key in zip(table.lines, table.column(columns[by]), strict=True):
        if not key:
            rejected.append(Rejected(line, "", f"no {by} is named", "fill the cell in"))
        elif keys.setdefault(key, line) != line and values[keys[key]] != values[line]:
            why = f"another row of the same {by} says otherwise: line {keys[key]}"
            rejected.append(Rejected(line, "", why, "correct the wrong one"))
    return Told(columns, by, values, keys=keys, targets=targets, rejected=tuple(rejected))


class _Index:
    """Finds a file by its path, its name, or its name without ending."""

    def __init__(self, items: Sequence[Item]) -> None:
        self._paths = [item.path for item in items]
        self._whole: dict[str, list[int]] = defaultdict(list)
        self._name: dict[str, list[int]] = defaultdict(list)
        self._stem: dict[str, list[int]] = defaultdict(list)
        self._tail: dict[tuple[str, ...], list[int]] = defaultdict(list)
        self._short: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for number, path in enumerate(self._paths):
            name = path.rpartition("/")[2]
            self._whole[path].append(number)
            self._name[name].append(number)
            self._stem[_stem(name)].append(number)
            parts = _parts(path)
            for deep in range(2, min(len(parts), _DEEP) + 1):
                self._tail[parts[-deep:]].append(number)
            if len(parts) < _DEEP:
                self._short[parts].append(number)

    def find(self, cell: str) -> tuple[int | None, str]:
        """Return the number of the file that a cell names, or None and why."""
        cell = cell.strip().replace("\\", "/").removeprefix("./")
        if not cell:
            return None, "no image is named"
        name = cell.rpartition("/")[2]
        for found in (self._whole.get(cell), self._name.get(name), self._stem.get(_stem(name))):
            if not found:
                continue
            if len(found) > 1:
                inside = [
                    k for k in self._like(_parts(cell))
                    if _agree(self._paths[k], cell)
                    and (found is not self._name.get(name) or self._paths[k].endswith(name))
                ]  # fmt: skip
                if len(inside) != 1:
                    return None, f"{len(found)} files have this name"
                found = inside
            return found[0], ""
        return None, "no such file"

    def _like(self, parts: tuple[str, ...]) -> Iterator[int]:
        """Yield the few files whose path may end like a cell's, or a cell's like theirs."""
        deep = min(len(parts), _DEEP)
        yield from self._tail.get(parts[-deep:], ())
        for fewer in range(1, deep):
            yield from self._short.get(parts[-fewer:], ())


def _stem(name: str) -> str:
    for ending in (".nii.gz", ".seg.nrrd"):
        if name.endswith(ending):
            return name.removesuffix(ending)
    return PurePosixPath(name).stem if "." in name else name


def _parts(path: str) -> tuple[str, ...]:
    """Return folders and name of a path, the name without its ending."""
    folders, slash, name = path.rpartition("/")
    return (*folders.split("/"), _stem(name)) if slash else (_stem(name),)


def _agree(path: str, cell: str) -> bool:
    """Return whether one of two paths, without its ending, ends with the other."""
    ours, theirs = _parts(path), _parts(cell)
    shared = min(len(ours), len(theirs))
    return ours[-shared:] == theirs[-shared:]
