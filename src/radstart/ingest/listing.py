"""What is to be read: the records of a CSV or the files of class folders, before any decoding."""

import os
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from radstart.core.errors import RadstartError
from radstart.core.hashing import digest
from radstart.ingest.columns import RECOGNISED, Columns, choose_columns
from radstart.ingest.csv_file import Table, read_csv
from radstart.ingest.readers import SUFFIXES

_RELATIVE = "write it relative to DATA, or copy the image there"
_COPY = "copy it into DATA"
_SPLITS = {"train", "training", "val", "valid", "validation", "dev", "test", "testing"}


@dataclass(frozen=True)
class Record:
    """One image to read: its line, its path inside DATA (with /) and its values by meaning."""

    line: int
    image: str
    values: Mapping[str, str]

    @property
    def place(self) -> str:
        """Return how a person finds it."""
        return f"line {self.line}" if self.line else self.image


@dataclass(frozen=True)
class Rejected:
    """One refused row: its line, its image as it was written, why, and what mends it."""

    line: int
    image: str
    reason: str
    remedy: str


@dataclass(frozen=True)
class Listing:
    """All records of a source.

    Attributes:
        target: name of the label column, "folder" for class folders.
        columns: the columns used, by meaning.
        records: in the order of the source.
        rejected: what cannot even be tried.
        where: what an error message names: the CSV or the folder.
        total: number of rows in the source.
        table_digest: of the CSV's bytes; "" for class folders.
    """

    target: str
    columns: Mapping[str, str]
    records: tuple[Record, ...]
    rejected: tuple[Rejected, ...]
    where: str
    total: int
    table_digest: str = ""
    paths: Mapping[str, Path] = field(default_factory=dict)

    def fingerprint(self, *more: str) -> str:
        """Return a hash of the CSV, the columns and every file's name, size and time."""
        files = []
        for image, path in sorted(self.paths.items()):
            status = path.stat() if path.is_file() else None
            size, when = (status.st_size, status.st_mtime_ns) if status else (0, 0)
            files.append([image, size, when])
        return digest([self.table_digest, dict(self.columns), files, list(more)], 32)


def printable(name: str) -> str:
    """Return a name with "?" for bytes of a file name that are not UTF-8."""
    return name.encode(errors="replace").decode()


def list_csv(data: Path, labels: Path, columns: Columns) -> Listing:
    """List the records of a CSV; `labels` is looked for as it stands, then inside `data`.

    Raises:
        RadstartError: the CSV cannot be read or a column is missing (see `choose_columns`).
    """
    inside = not os.path.exists(labels) and os.path.exists(data / labels)
    path = data / labels if inside else labels
    named = {value for value in vars(columns).values() if value}
    table = read_csv(path, frozenset(RECOGNISED.values()) | named)
    chosen = choose_columns(table, columns)
    cells = {meaning: table.column(name) for meaning, name in chosen.items() if meaning != "image"}
    root = data.resolve()
    paths: dict[str, Path] = {}
    records: list[Record] = []
    rejected: list[Rejected] = []
    for index, cell in enumerate(table.raw(chosen["image"])):
        line = table.lines[index]
        image, reason, remedy = _inside(root, cell)
        if table.faults[index]:
            reason, remedy = table.faults[index], "quote what holds the delimiter"
        if reason:
            rejected.append(Rejected(line, cell, reason, remedy))
            continue
        paths[image] = root / image
        values = {meaning: column[index] for meaning, column in cells.items()}
        records.append(Record(line, image, values))
    return Listing(
        target=chosen["label"],
        columns=chosen,
        records=tuple(records),
        rejected=tuple(rejected),
        where=str(path),
        total=len(table.records),
        table_digest=_table_digest(table),
        paths=paths,
    )


def _table_digest(table: Table) -> str:
    return digest([table.content.hex()], 32)


def _inside(root: Path, cell: str) -> tuple[str, str, str]:
    """Return the path inside DATA that a cell names, or why there is none and what mends it."""
    if not cell.strip():
        return "", "no image is named", "fill the cell in"
    try:
        found = ""
        for name in _spellings(cell):
            pure = PurePosixPath(name)
            if pure.is_absolute() or name[1:3] in (":/", ":\\") or name.startswith("\\"):
                return "", "an absolute path: images lie inside DATA", _RELATIVE
            if ".." in pure.parts:
                return "", "a path with '..': images lie inside DATA", _RELATIVE
            found = found or str(pure)
            if (root / pure).exists():
                found = str(pure)
                break
        if not Path(os.path.realpath(root / found)).is_relative_to(root):
            return "", "a link out of DATA", _COPY
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        return "", f"not a path: {reason}", "correct the name"
    return found, "", ""


def _spellings(cell: str) -> list[str]:
    """Return the cell as it stands, stripped, with /, and in both forms of unicode."""
    plain = cell.strip()
    slashed = plain.replace("\\", "/")
    forms = [unicodedata.normalize("NFC", slashed), unicodedata.normalize("NFD", slashed)]
    return list(dict.fromkeys([cell, plain, slashed, *forms]))


def list_folders(data: Path, columns: Columns) -> Listing:
    """List class folders: DATA/CLASS/..., or DATA/SPLIT/CLASS/... where all folders are splits.

    Hidden files and files that are no images by their name are passed over. `columns` may only
    switch the split off.

    Raises:
        RadstartError: there are no class folders with images, or a column is named.
    """
    for meaning, name in vars(columns).items():
        if name:
            raise RadstartError("needs a CSV", f"--{meaning}-column", repr(name), "name --labels")
    root = data.resolve()
    top = sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    splits = bool(top) and all(name.lower() in _SPLITS for name in top)
    paths: dict[str, Path] = {}
    records: list[Record] = []
    rejected: list[Rejected] = []
    for folder, below, files in os.walk(root):
        below[:] = sorted(name for name in below if not name.startswith("."))
        links = [path for path in map(Path(folder).joinpath, below) if path.is_symlink()]
        for path in links:
            name = printable(path.relative_to(root).as_posix())
            rejected.append(Rejected(0, name, "a linked folder is not entered", _COPY))
        for file in sorted(files):
            path = Path(folder, file)
            if file.startswith(".") or path.suffix.lower() not in SUFFIXES:
                continue
            image = path.relative_to(root)
            levels = image.parts[:-1]
            if printable(str(image)) != str(image):
                reason = "a name that is not UTF-8"
                rejected.append(Rejected(0, printable(image.as_posix()), reason, "rename it"))
            elif not Path(os.path.realpath(path)).is_relative_to(root):
                rejected.append(Rejected(0, image.as_posix(), "a link out of DATA", _COPY))
            elif len(levels) < (2 if splits else 1):
                reason = "lies in no class folder"
                rejected.append(Rejected(0, image.as_posix(), reason, "move it into one"))
            else:
                values = {"label": levels[1] if splits else levels[0]}
                values |= {"split": levels[0]} if splits and columns.split is None else {}
                records.append(Record(0, image.as_posix(), values))
                paths[image.as_posix()] = path
    n_classes = len({record.values["label"] for record in records})
    if n_classes < 2:
        tables = sorted(path.name for path in data.glob("*.csv"))
        raise RadstartError(
            "the images lie in one folder only" if n_classes else "no class folders with images",
            str(data),
            f"{len(records) + len(rejected)} images",
            (f"--labels {tables[0]}" if tables else "name a CSV with --labels")
            + ", or make one folder for each class",
        )
    return Listing(
        target="folder",
        columns={},
        records=tuple(sorted(records, key=lambda record: record.image)),
        rejected=tuple(rejected),
        where=str(data),
        total=len(records) + len(rejected),
        paths=paths,
    )
