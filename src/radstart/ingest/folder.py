"""A folder of plain images with a table, or class folders, for a study: strict about its labels."""

import dataclasses
import os
from contextlib import suppress
from functools import partial
from pathlib import Path

import pandas as pd

from radstart.core.errors import RadstartError, one_line, short
from radstart.core.files import os_reason
from radstart.core.progress import Progress
from radstart.dataset import Dataset, text
from radstart.ingest.checks import class_order, contradicting, too_many, without_repeats
from radstart.ingest.columns import Columns
from radstart.ingest.engine import Engine
from radstart.ingest.listing import Listing, Record, Rejected, list_csv, list_folders, printable
from radstart.ingest.pipeline import Reading, build
from radstart.ingest.plan import Source, Wanted
from radstart.ingest.privacy import Names, read_key
from radstart.ingest.readers import Unreadable, kind_of

FEW = 4096  # plain images that are read by threads


def ingest_folder(
    data: Path,
    out: Path,
    *,
    labels: Path | None = None,
    columns: Columns | None = None,
    positive: str | None = None,
    reading: Reading | None = None,
    names: Names | None = None,
    max_rejected: float = 0.05,
    replace: bool = False,
    progress: Progress | None = None,
) -> Dataset:
    """Read a folder of labelled images into a dataset; DATA is never written to.

    Where `out` already holds the dataset of the same source (the table, the columns, every file's
    name, size and time), it is opened.

    Args:
        data: folder of images.
        out: folder of the dataset, outside of `data`.
        labels: CSV with at least an image and a label column, as it stands or inside `data`;
            without one the folders are the classes.
        columns: names of its columns.
        positive: the positive one of two classes; else the one whose opposite is called normal,
            negative, no, ..., else the second by name.
        reading: how files become images.
        names: how identifiers are written; None = those of headers as hashes with the user's own
            key, those of the table and of files as they are.
        max_rejected: share of rows that may be refused.
        replace: a dataset of another source in `out` gives way instead of being an error.
        progress: shown while images are read.

    Raises:
        RadstartError: bad options or columns, fewer than two labels, too many rejected rows,
            another dataset in `out`, or nothing can be written.
    """
    progress, reading = progress or Progress(), reading or Reading()
    listing = _listed(data, out, labels, columns or Columns(), reading, positive)
    records, repeated = without_repeats(listing.records)
    try:
        source = _source(data, listing, records, [*listing.rejected, *repeated])
    except OSError as error:
        where = os.fsdecode(error.filename or data)
        raise RadstartError(
            "cannot be read", where, os_reason(error), "check the path and its permissions"
        ) from error
    check = partial(_check, listing, positive, max_rejected)
    plain = _plain(source)
    if names is None:
        names = Names(b"") if plain else dataclasses.replace(read_key(None), given=False)
    few = plain and len(source.wanted) <= FEW and reading.engine.name == "local"
    if few:  # decoders of plain images keep to limits of their own; processes take time to start
        reading = dataclasses.replace(reading, engine=Engine(workers=0))
    dataset = build(
        out, source, reading, names, check, progress, (positive or "",), replace, tidy=True
    )
    for line in _left_out(dataset):
        progress.line(line)
    return dataset


def _listed(
    data: Path, out: Path, labels: Path | None, columns: Columns, reading: Reading,
    positive: str | None,
) -> Listing:  # fmt: skip
    if not os.path.isdir(data):  # is_dir() raises where a name is too long
        raise RadstartError(
            "is not a folder",
            str(data),
            "a file" if os.path.exists(data) else "no such path",
            "name the folder of the images",
        )
    if Path(os.path.realpath(out)).is_relative_to(os.path.realpath(data)):
        raise RadstartError(
            "lies inside DATA, which is never written to",
            str(out),
            f"DATA = {data}",
            "choose another --out",
        )
    if reading.max_side < 8:
        raise RadstartError(
            "is out of range", "longest side", str(reading.max_side), "at least 8 pixels"
        )
    try:
        listing = list_csv(data, labels, columns) if labels else list_folders(data, columns)
    except OSError as error:
        where = os.fsdecode(error.filename or data)
        raise RadstartError(
            "cannot be read", where, os_reason(error), "check the path and its permissions"
        ) from error
    labelled = {record.values["label"] for record in listing.records}
    class_order(labelled, listing.target, listing.where, len(listing.records), positive)
    return listing


def _source(
    data: Path, listing: Listing, records: list[Record], rejected: list[Rejected]
) -> Source:
    wanted = []
    for record in sorted(records, key=lambda record: record.image):
        path = listing.paths[record.image]
        status = path.stat() if path.is_file() else None
        size, when = (status.st_size, status.st_mtime_ns) if status else (0, 0)
        wanted.append(Wanted(str(path), record.image, 0, size, when, record.line, record.values))
    return Source(
        wanted=tuple(wanted),
        rejected=tuple(rejected),
        name=printable(data.resolve().name),
        target=listing.target,
        columns=listing.columns,
        table=listing.table_digest,
    )


def _plain(source: Source) -> bool:
    """Return whether all files are plain images, whose headers name nobody."""
    for one in source.wanted:
        with suppress(Unreadable):
            if kind_of(Path(one.path)) != "raster":
                return False
    return True


def _check(
    listing: Listing,
    positive: str | None,
    limit: float,
    rows: pd.DataFrame,
    rejected: list[Rejected],
) -> tuple[tuple[str, ...], pd.DataFrame, list[Rejected]]:
    """Return classes, rows and rejected; rows that contradict each other are refused.

    Raises:
        RadstartError: too many are refused, or fewer than two classes are left.
    """
    keep, conflicts = contradicting(rows)
    rejected = sorted([*rejected, *conflicts], key=lambda row: (row.line, row.image))
    if len(rejected) > limit * listing.total:
        raise too_many(rejected, listing, rows, limit)
    rows = rows[keep].reset_index(drop=True)
    rows["row"] = range(len(rows))
    classes = class_order(
        set(rows["label"]), listing.target, listing.where, len(listing.records), positive
    )
    return classes, rows, rejected


def _left_out(dataset: Dataset) -> list[str]:
    """Return a line each for rows without a label, dropped rows and rejected rows."""
    lines = []
    if count := int((text(dataset.rows, "label") == "").sum()):
        lines.append(f"unlabelled  {count} of {len(dataset)} images: they take no part")
    dropped = dataset.rows[~dataset.rows["keep"]]
    if len(dropped):
        kinds = dropped["drop"].value_counts()
        said = ", ".join(f"{n} {reason}" for reason, n in kinds.items())
        lines.append(f"left out    {len(dropped)} of {len(dataset)} images: {said}")
    if count := len(dataset.rejected):
        line, image, reason = dataset.rejected.fillna("").iloc[0]
        place = (f"line {line} " if line else "") + (short(image.strip(), 120) or "(no name)")
        total = len(dataset) + count
        where = dataset.path / "rejected.parquet"
        said = one_line(f"{count} of {total} rows, all in {where}, first {place}: {reason}")
        lines.append(f"rejected    {said}")
    return lines
