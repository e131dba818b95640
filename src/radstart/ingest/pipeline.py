"""From a folder of images to a dataset: every image is decoded once, in threads."""

import errno
import hashlib
import os
import shutil
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np

from radstart.core.errors import RadstartError, one_line, short
from radstart.core.files import os_reason, remove_leftovers, sync, temporary_name
from radstart.core.progress import Progress
from radstart.dataset import Dataset, PixelWriter, open_dataset, save_dataset, text
from radstart.ingest.checks import (
    Stored,
    class_order,
    too_many,
    without_contradictions,
    without_repeats,
)
from radstart.ingest.columns import Columns
from radstart.ingest.listing import Listing, Record, Rejected, list_csv, list_folders, printable
from radstart.ingest.readers import Unreadable, read_raster
from radstart.ingest.readers.raster import Pixels

_VERSION = "1"  # part of the source fingerprint: raise it when the same files are read otherwise
_BATCH = 128  # images decoded before they are written


def ingest_folder(
    data: Path,
    out: Path,
    *,
    labels: Path | None = None,
    columns: Columns | None = None,
    positive: str | None = None,
    max_side: int = 512,
    max_rejected: float = 0.05,
    replace: bool = False,
    progress: Progress | None = None,
) -> Dataset:
    """Read a folder of images into a dataset; DATA is never written to.

    The dataset appears whole or not at all. Where `out` already holds the dataset of the same
    source (the CSV, the columns, and every file's name, size and time), it is opened; where only
    names of folders or times differ (copied files), the images are read again and compared.

    Args:
        data: folder of PNG, JPEG, BMP, TIFF, static GIF or WebP images.
        out: folder of the dataset, outside of `data`.
        labels: CSV with at least an image and a label column, as it stands or inside `data`;
            without one the folders are the classes.
        columns: names of its columns.
        positive: the positive one of two classes; else the one whose opposite is called normal,
            negative, no, ..., else the second by name.
        max_side: longest side kept, in pixels; larger images are shrunk (AREA).
        max_rejected: share of rows that may be refused.
        replace: a dataset of another source in `out` gives way instead of being an error.
        progress: shown while images are read.

    Raises:
        RadstartError: bad options or columns, fewer than two labels, too many rejected rows,
            another dataset in `out`, or nothing can be written.
    """
    progress = progress or Progress()
    dataset = _ingest(
        data, out, labels, columns or Columns(), positive, max_side, max_rejected, replace, progress
    )
    for line in _left_out(dataset):
        progress.line(line)
    return dataset


def _left_out(dataset: Dataset) -> list[str]:
    """Return a line each for rows without a label and for rejected rows, where there are any."""
    lines = []
    if count := int((text(dataset.rows, "label") == "").sum()):
        lines.append(f"unlabelled  {count} of {len(dataset)} images: they take no part")
    if count := len(dataset.rejected):
        line, image, reason = dataset.rejected.fillna("").iloc[0]
        place = (f"line {line} " if line else "") + (short(image.strip(), 120) or "(no name)")
        total = len(dataset) + count
        where = dataset.path / "rejected.parquet"
        said = one_line(f"{count} of {total} rows, all in {where}, first {place}: {reason}")
        lines.append(f"rejected    {said}")
    return lines


def _ingest(
    data: Path,
    out: Path,
    labels: Path | None,
    columns: Columns,
    positive: str | None,
    max_side: int,
    max_rejected: float,
    replace: bool,
    progress: Progress,
) -> Dataset:
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
    if max_side < 8:
        raise RadstartError("is out of range", "longest side", str(max_side), "at least 8 pixels")
    try:
        listing = list_csv(data, labels, columns) if labels else list_folders(data, columns)
        source = listing.fingerprint(_VERSION, str(max_side), positive or "")
        held = open_dataset(out) if out.exists() and any(out.iterdir()) else None
    except OSError as error:
        where = os.fsdecode(error.filename or data)
        raise RadstartError(
            "cannot be read", where, os_reason(error), "check the path and its permissions"
        ) from error
    if held is not None and held.facts.get("source") == source:
        return held
    class_order({record.values["label"] for record in listing.records}, listing, positive)
    # named by machine and process, so that a later call can tell what a killed one left behind
    temporary = out.with_name(temporary_name(out.name))
    made = [parent for parent in out.parents if not parent.exists()]
    try:
        remove_leftovers(out.parent, out.name)
        temporary.mkdir(parents=True)
        _build(temporary, data, listing, source, positive, max_side, max_rejected, progress)
        _sync(temporary)
        if held is not None and not replace:
            return _same(held, open_dataset(temporary))
        if held is not None:
            shutil.rmtree(out)
        try:
            temporary.rename(out)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            return _same(open_dataset(out), open_dataset(temporary))  # another process was first
    except OSError as error:
        raise RadstartError(
            "cannot write the dataset", str(out), os_reason(error), "free space or choose --out"
        ) from error
    except RadstartError as error:
        error.where = error.where.replace(str(temporary), str(out))
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        with suppress(OSError):  # leave no empty folders behind; stops at one that is in use
            for parent in made:
                parent.rmdir()
    return open_dataset(out)


def _same(held: Dataset, made: Dataset) -> Dataset:
    """Return the dataset that stands in the folder, if the one just made is no other."""
    if (held.content, held.target, held.classes) != (made.content, made.target, made.classes):
        raise RadstartError(
            "holds a dataset made from other images, labels or columns (or they have changed)",
            str(held.path),
            f"{len(made)} images, target {made.target!r}, classes {', '.join(made.classes)}",
            "choose another --out, or delete this folder",
        )
    return held


def _build(
    folder: Path,
    data: Path,
    listing: Listing,
    source: str,
    positive: str | None,
    max_side: int,
    max_rejected: float,
    progress: Progress,
) -> None:
    records, rejected = without_repeats(listing.records)
    rejected = [*listing.rejected, *rejected]
    images, unreadable = _decode(folder, records, listing, max_side, progress)
    rejected += unreadable
    records = [record for record in records if record.image in images]
    records, contradicting = without_contradictions(records, images)
    rejected += contradicting
    rejected.sort(key=lambda row: (row.line, row.image))
    if len(rejected) > max_rejected * listing.total:
        raise too_many(rejected, listing, records, images, max_rejected)
    classes = class_order({record.values["label"] for record in records}, listing, positive)
    records.sort(key=lambda record: record.image)
    stored = [images[record.image] for record in records]
    rows: dict[str, Sequence[int | str]] = {
        "row": range(len(records)),
        "image": [record.image for record in records],
        "line": [record.line for record in records],
    }
    for name in ("label", "patient", "exam", "site", "sex", "age", "split", "fold"):
        rows[name] = [record.values.get(name, "") for record in records]
    for name in ("content", "shard", "offset", "height", "width", "channels", "dtype"):
        rows[name] = [getattr(image, name) for image in stored]
    save_dataset(
        folder,
        name=printable(data.resolve().name),
        target=listing.target,
        classes=classes,
        rows=rows,
        rejected={
            "line": [row.line for row in rejected],
            "image": [row.image for row in rejected],
            "reason": [f"{row.reason}; {row.remedy}" for row in rejected],
        },
        source=source,
        columns=listing.columns,
    )


def _decode(
    folder: Path, records: list[Record], listing: Listing, max_side: int, progress: Progress
) -> tuple[dict[str, Stored], list[Rejected]]:
    """Decode, shrink and store every image; pictures that are the same are stored once."""
    images: dict[str, Stored] = {}
    rejected: list[Rejected] = []
    seen: dict[str, Stored] = {}
    ordered = sorted(records, key=lambda record: record.image)

    def read(record: Record) -> tuple[str, Pixels] | Unreadable:
        try:
            pixels = read_raster(listing.paths[record.image])
        except Unreadable as error:
            return error
        return _content(pixels), _capped(pixels, max_side)

    with (
        warnings.catch_warnings(),
        PixelWriter(folder) as writer,
        ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool,
        progress.task("reading images", len(ordered)) as task,
    ):
        warnings.simplefilter("ignore")  # Pillow's; what matters is raised as an error
        for start in range(0, len(ordered), _BATCH):
            batch = ordered[start : start + _BATCH]
            for record, result in zip(batch, pool.map(read, batch), strict=True):
                if isinstance(result, Unreadable):
                    why = result.reason, result.remedy
                    rejected.append(Rejected(record.line, record.image, *why))
                    continue
                content, pixels = result
                if content not in seen:
                    height, width = pixels.shape[:2]
                    channels = 3 if pixels.ndim == 3 else 1
                    place = writer.append(pixels)
                    seen[content] = Stored(
                        content, *place, height, width, channels, str(pixels.dtype)
                    )
                images[record.image] = seen[content]
            task.advance(len(batch))
    return images, rejected


def _content(pixels: Pixels) -> str:
    """Return the BLAKE2b of shape, type and pixels (32 hexadecimal digits)."""
    little = pixels.astype(pixels.dtype.newbyteorder("<"), copy=False)
    state = hashlib.blake2b(f"{pixels.shape} {pixels.dtype}".encode(), digest_size=16)
    state.update(np.ascontiguousarray(little).data)
    return state.hexdigest()


def _capped(pixels: Pixels, max_side: int) -> Pixels:
    height, width = pixels.shape[:2]
    if max(height, width) <= max_side:
        return pixels
    scale = max_side / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    shrunk: Pixels = cv2.resize(  # type: ignore[assignment]
        pixels, size, interpolation=cv2.INTER_AREA
    )
    return shrunk


def _sync(folder: Path) -> None:
    """Make every file under a folder durable."""
    for path in [*folder.rglob("*"), folder]:
        sync(path)
