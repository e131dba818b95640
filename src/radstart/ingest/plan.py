"""From a scan of all files to parts: which images are read, together and in which order."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from radstart.core.hashing import digest
from radstart.ingest.folders import said_by
from radstart.ingest.listing import Rejected
from radstart.ingest.privacy import Names
from radstart.ingest.work import FilePart, PartTask, Recipe, ScanTask

SCAN_FILES = 256  # files of one scan table
PART_IMAGES = 256  # images of one shard
_LONG = 4096  # of one file that is unpacked from its beginning
_LONG_PIXELS = 1 << 28  # of these together
VERSION = "5"  # part of every name of a part: raise it when the same files are read otherwise


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file that is to be read.

    Attributes:
        path: where it is.
        name: inside its source, with /: what its image is called.
        source: number of the source.
        size, when: bytes and time of modification (ns), so that a changed file is read again.
        line: of the table that names it; 0 = none.
        values: label, patient, ... of that table, by meaning; targets as "target.NAME".
        masks: files of masks that belong to it.
    """

    path: str
    name: str
    source: int = 0
    size: int = 0
    when: int = 0
    line: int = 0
    values: Mapping[str, str] = field(default_factory=dict)
    masks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """What is to be read, listed.

    Attributes:
        wanted: files, in the order of the dataset.
        rejected: what is not even tried.
        name: of the dataset.
        target: name of the label column, "" = none.
        columns: of the user's table, by meaning.
        table: hash of the user's table, "" = none.
        targets: names of findings and numbers; their values are those of `Wanted`.
        keyed: by which meaning rows of the table are joined to images after the scan (patient,
            exam, series, image_id), "" = by file; and plain value -> line and values.
    """

    wanted: tuple[Wanted, ...]
    rejected: tuple[Rejected, ...]
    name: str
    target: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    table: str = ""
    targets: tuple[str, ...] = ()
    keyed: tuple[str, Mapping[str, tuple[int, Mapping[str, str]]]] = ("", {})


def scan_tasks(folder: Path, wanted: Sequence[Wanted], names: Names) -> list[ScanTask]:
    """Return the tasks that scan all files; each table's key says of which files it is."""
    tasks = []
    for start in range(0, len(wanted), SCAN_FILES):
        block = wanted[start : start + SCAN_FILES]
        made = [[one.path, one.size, one.when] for one in block]
        key = digest([VERSION, names.fingerprint, start, made])
        files = tuple((start + k, one.path) for k, one in enumerate(block))
        table = folder / f"scan-{start // SCAN_FILES:06d}.parquet"
        tasks.append(ScanTask(table, key, files, names))
    return tasks


def part_tasks(
    folder: Path,
    work: Path,
    images: pd.DataFrame,
    wanted: Sequence[Wanted],
    recipe: Recipe,
    modality: str = "",
) -> list[PartTask]:
    """Return the tasks that read all images, `PART_IMAGES` in a shard.

    A file that has to be unpacked from its beginning is cut into few parts.

    Args:
        folder: of the dataset.
        work: where tables of parts lie.
        images: of the scan, those to be read, in order: columns item, index, kind, modality.
        wanted: files, by item.
        recipe: how values become pictures.
        modality: of files that do not say their own, and of which their table says none.
    """
    items = images["item"].to_numpy(np.int64)
    indexes = images["index"].to_numpy(np.int64)
    kinds = images["kind"].to_numpy(object)
    stated = images["modality"].fillna("").to_numpy(object)
    tasks: list[PartTask] = []
    for start, stop in _cuts(images):
        cuts = np.flatnonzero(np.diff(items[start:stop])) + start + 1
        files = []
        for low, high in zip([start, *cuts], [*cuts, stop], strict=True):
            item = int(items[low])
            masks = wanted[item].masks
            which = tuple(indexes[low:high].tolist())
            by_folder = said_by(wanted[item].name.rpartition("/")[0]).get("modality", "")
            said = wanted[item].values.get("modality", "") or by_folder or modality
            ct = said.upper() == "CT" and not stated[low] and kinds[low] != "raster"
            files.append(FilePart(item, wanted[item].path, str(kinds[low]), which, masks, ct))
        number = len(tasks)
        made = [[f.path, wanted[f.item].size, wanted[f.item].when, f.kind, f.which, f.masks,
                 *["HU"] * f.hounsfield] for f in files]  # fmt: skip
        key = digest([VERSION, made, [file.item for file in files], recipe.told()])
        tasks.append(
            PartTask(
                shard=folder / "pixels" / f"{number:04d}.bin",
                masks=folder / "masks" / f"{number:04d}.bin",
                table=work / f"part-{number:06d}.parquet",
                key=key,
                files=tuple(files),
                recipe=recipe,
            )
        )
    return tasks


def _cuts(images: pd.DataFrame) -> Iterator[tuple[int, int]]:
    """Yield first and one after the last row of every part."""
    items = images["item"].to_numpy(np.int64)
    whole = images["kind"].isin(("arrays", "nifti", "nrrd")).to_numpy(bool)
    pixels = images["rows"].fillna(0).to_numpy(float) * images["cols"].fillna(0).to_numpy(float)
    ends = np.append(np.flatnonzero(np.diff(items)) + 1, len(items))  # one after each file
    start = 0
    while start < len(items):
        stop = min(start + PART_IMAGES, len(items))
        if stop < len(items) and items[stop] == items[stop - 1] and whole[stop]:
            first = max(start, int(np.searchsorted(items, items[stop])))
            end = int(ends[np.searchsorted(ends, stop, side="right")])
            room = int(_LONG_PIXELS / max(1.0, pixels[stop]))
            stop = max(stop, min(end, first + min(_LONG, room)))
        yield start, stop
        start = stop
