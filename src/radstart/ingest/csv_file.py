"""Reading CSV as people write it: any usual delimiter, encoding and line end; cells are text."""

import codecs
import csv
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from radstart.core.errors import RadstartError

EMPTY = frozenset({"", "nan", "na", "n/a", "<na>", "null", "#n/a"})  # lower case
_DELIMITERS = ",;\t"


@dataclass(frozen=True)
class Table:
    """A CSV file.

    Attributes:
        path: where it was read.
        header: names of the columns, stripped.
        lines: the line, as an editor counts, at which each record starts.
        records: cells as they stand, as many as the header has.
        faults: for records that do not fit the header, what is wrong; else "".
        content: the file's bytes.
    """

    path: Path
    header: tuple[str, ...]
    lines: tuple[int, ...]
    records: tuple[tuple[str, ...], ...]
    faults: tuple[str, ...]
    content: bytes

    def column(self, name: str) -> list[str]:
        """Return the cells of a column, stripped; "" for what means "no value" (NaN, NA, ...)."""
        index = self.header.index(name)
        cells = [record[index].strip() for record in self.records]
        return ["" if cell.lower() in EMPTY else cell for cell in cells]

    def raw(self, name: str) -> list[str]:
        """Return the cells of a column as they stand."""
        index = self.header.index(name)
        return [record[index] for record in self.records]


def read_csv(path: Path, expected: frozenset[str] = frozenset()) -> Table:
    """Read a CSV: comma, semicolon or tab; UTF-8 (with or without BOM), UTF-16 with BOM, Latin-1.

    Args:
        path: the file.
        expected: names that the header may have; they help to tell the delimiter.

    Raises:
        RadstartError: absent, empty, not text, a quote that is not closed, or no records.
    """
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a zero character in the path
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise RadstartError(
            "cannot read the labels", str(path), reason, "check --labels"
        ) from error
    if not content.strip():
        raise RadstartError("is empty", str(path), f"{len(content)} bytes", "check --labels")
    text = _decode(content, path)
    delimiter = _delimiter(text, {name.lower() for name in expected})
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    lines: list[int] = []
    rows: list[list[str]] = []
    start = 1
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                rows.append(row)
                lines.append(start)
            start = reader.line_num + 1
    except csv.Error as error:
        raise RadstartError(
            "cannot be read as CSV", f"{path}, line {start}", str(error), "mend the quotes there"
        ) from error
    if len(rows) < 2:
        raise RadstartError(
            "has no rows under a header", str(path), f"{len(rows)} lines", "check --labels"
        )
    header = tuple(cell.strip() for cell in rows[0])
    faults = tuple(_fault(row, len(header)) for row in rows[1:])
    width = len(header)
    records = tuple(tuple((row + [""] * width)[:width]) for row in rows[1:])
    return Table(path, header, tuple(lines[1:]), records, faults, content)


def headed(table: Table, known: Callable[[str], bool]) -> Table:
    """Return a table of two columns whose first row is no header as one of image and label.

    It is none where it begins with a number, or with the name of a file that has a number in it.

    Args:
        table: as read.
        known: whether something is a usual name of a column.
    """
    first, second = (*table.header, "", "")[:2]
    named = known(first) or known(second) or not second
    if named or len(table.header) != 2 or not re.fullmatch(r"\d+|.*\d.*\.\w{2,4}", first):
        return table
    lines = (1, *table.lines)
    records = (table.header, *table.records)
    return replace(
        table, header=("image", "label"), lines=lines, records=records, faults=("", *table.faults)
    )


def joined(tables: Sequence[Table], splits: Sequence[str] = ()) -> Table:
    """Return tables of the same columns as one; its lines count on from one to the next.

    Args:
        tables: at least one.
        splits: the split of each, "" = not known; a column `split` where all are known and the
            tables have none.

    Raises:
        RadstartError: their columns differ.
    """
    first = tables[0]
    if len(tables) == 1:
        return first
    for table in tables[1:]:
        if table.header != first.header:
            raise RadstartError(
                f"has other columns than {first.path.name}", str(table.path),
                ", ".join(table.header)[:80], "join tables of other columns yourself",
            )  # fmt: skip
    told = all(splits) and "split" not in map(str.lower, first.header)
    header = (*first.header, "split") if told else first.header
    lines: list[int] = []
    records: list[tuple[str, ...]] = []
    for table, split in zip(tables, splits, strict=True):
        start = lines[-1] if lines else 0
        lines += [start + line for line in table.lines]
        records += [(*record, split) if told else record for record in table.records]
    faults = tuple(fault for table in tables for fault in table.faults)
    content = b"\0".join(table.content for table in tables)
    return Table(first.path, header, tuple(lines), tuple(records), faults, content)


def _decode(content: bytes, path: Path) -> str:
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encodings = ["utf-16"]
    else:
        encodings = ["utf-8-sig", "latin-1"]
        if b"\0" in content:
            raise RadstartError("is not text", str(path), "zero bytes", "export it as CSV")
    for encoding in encodings:
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise RadstartError("is not text", str(path), "broken UTF-16", "export it as CSV in UTF-8")


def _delimiter(text: str, expected: set[str]) -> str:
    """Return the delimiter whose header has the most expected names, then the most cells."""
    first = next((line for line in text.splitlines() if line.strip()), "")

    def score(delimiter: str) -> tuple[int, int]:
        cells = [cell.strip(' "').lower() for cell in first.split(delimiter)]
        return len(expected.intersection(cells)), len(cells)

    return max(_DELIMITERS, key=score)


def _fault(row: list[str], width: int) -> str:
    if len(row) > width and any(cell.strip() for cell in row[width:]):
        return f"{len(row)} cells where the header has {width}"
    return ""
