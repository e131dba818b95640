"""Some images of a folder, decoded where they lie: no dataset is made, no labels are needed."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from radstart.core.errors import RadstartError, one_line
from radstart.core.files import os_reason
from radstart.core.random import stream
from radstart.ingest.columns import Columns
from radstart.ingest.listing import Listing, Record, list_csv, list_folders, printable
from radstart.ingest.readers import SUFFIXES, Unreadable, read_raster
from radstart.ingest.readers.raster import Pixels

_NO_IMAGES = ("mask", "masks", "segmentation", "segmentations", "annotations")


@dataclass(frozen=True, eq=False)
class Sample:
    """Images drawn from a folder.

    Attributes:
        pixels: as read, uint8 or uint16, (H, W) or (H, W, 3), each of its own size.
        images: their paths inside the folder.
        labels: "" where not known.
        units: patient, else exam, else the image itself.
        folds: of the table, "" where it has none.
        patients_known: whether units are patients.
        total: how many images the folder holds.
        notes: what was left out.
    """

    pixels: tuple[Pixels, ...]
    images: tuple[str, ...]
    labels: tuple[str, ...]
    units: tuple[str, ...]
    folds: tuple[str, ...]
    patients_known: bool
    total: int
    notes: tuple[str, ...]


def sample_images(
    data: Path,
    *,
    most: int,
    seed: int,
    labels: Path | None = None,
    columns: Columns | None = None,
) -> Sample:
    """Return at most `most` images of a folder, drawn with a seed, of as many patients as can be.

    With a table its images are drawn from; without one, those of class folders with their
    classes; else every image below `data` but those in folders of masks.

    Args:
        data: a folder of PNG, JPEG, BMP, TIFF, GIF or WebP images.
        most: number of images, at least 2.
        seed: of the draw.
        labels: CSV, as it stands or inside `data`.
        columns: names of its columns.

    Raises:
        RadstartError: no folder, a bad table, or fewer than two readable images.
    """
    if not data.is_dir():
        raise RadstartError("is not a folder", str(data), remedy="name the folder of the images")
    try:
        listing, notes = _listed(data, labels, columns or Columns())
    except OSError as error:
        raise RadstartError("cannot be read", str(data), os_reason(error)) from error
    drawn: list[tuple[Record, Pixels]] = []
    unreadable: list[str] = []
    for record in _order(listing.records, seed):
        if len(drawn) >= most:
            break
        try:
            drawn.append((record, read_raster(listing.paths[record.image])))
        except Unreadable as error:
            unreadable.append(one_line(f"{record.image}: {error.reason}"))
    if len(drawn) < 2:
        raise RadstartError(
            "has fewer than two images that can be read", str(data),
            unreadable[0] if unreadable else f"{len(drawn)} images", "name another folder",
        )  # fmt: skip
    if unreadable:
        notes = (*notes, f"{len(unreadable)} images could not be read, first {unreadable[0]}")
    drawn.sort(key=lambda pair: pair[0].image)
    records = [record for record, _ in drawn]
    known = any(record.values.get("patient") for record in records)
    return Sample(
        pixels=tuple(pixels for _, pixels in drawn),
        images=tuple(record.image for record in records),
        labels=tuple(record.values.get("label", "") for record in records),
        units=tuple(_unit(record) for record in records),
        folds=tuple(record.values.get("fold", "") for record in records),
        patients_known=known,
        total=len(listing.records),
        notes=notes,
    )


def _unit(record: Record) -> str:
    for meaning in ("patient", "exam"):
        if value := record.values.get(meaning, ""):
            return f"{meaning} {value}"
    return f"image {record.image}"


def _order(records: Sequence[Record], seed: int) -> list[Record]:
    """Return the records in random order, a first one of every unit before any second one."""
    shuffled = stream(seed, "detective", "images").permutation(len(records))
    turn: dict[str, int] = {}
    keyed = []
    for place, index in enumerate(shuffled.tolist()):
        unit = _unit(records[index])
        turn[unit] = turn.get(unit, 0) + 1
        keyed.append((turn[unit], place, records[index]))
    return [record for _, _, record in sorted(keyed, key=lambda item: item[:2])]


def _listed(data: Path, labels: Path | None, columns: Columns) -> tuple[Listing, tuple[str, ...]]:
    if labels is not None:
        return list_csv(data, labels, columns), ()
    tables = sorted(path.name for path in data.glob("*.csv"))
    if tables:
        note = f"{tables[0]} was not read: name it for patients, and for a probe"
        return _plain(data), (note,)
    try:
        return list_folders(data, columns), ()
    except RadstartError:
        return _plain(data), ()


def _plain(data: Path) -> Listing:
    """List every image below a folder, labels unknown."""
    root = data.resolve()
    paths: dict[str, Path] = {}
    for folder, below, files in os.walk(root):
        below[:] = sorted(
            name for name in below if not name.startswith(".") and name.lower() not in _NO_IMAGES
        )
        for file in sorted(files):
            path = Path(folder, file)
            inside = Path(os.path.realpath(path)).is_relative_to(root)
            if not file.startswith(".") and path.suffix.lower() in SUFFIXES and inside:
                paths[printable(path.relative_to(root).as_posix())] = path
    records = tuple(Record(0, image, {}) for image in sorted(paths))
    empty = Listing("", {}, records, (), str(data), len(records))
    return replace(empty, paths=paths)
