"""What a worker process does: scan files into a table, read a part of the images into a shard.

Both write their result whole, with a key of what it was made from: a call that was stopped goes on
with what lies there, and nothing is done twice.
"""

import hashlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from radstart.core.errors import RadstartError
from radstart.core.files import os_reason, whole_file
from radstart.dataset import perceptual_hashes
from radstart.ingest import anatomy
from radstart.ingest.frames import Frame, Scan, Unreadable
from radstart.ingest.masks import labels_of, unite
from radstart.ingest.meaning import Picture, Pixels, Rendering, render, render_mask
from radstart.ingest.privacy import Names, known_modality
from radstart.ingest.readers import frames_of, kind_of, scan_of
from radstart.ingest.workers import NOTHING

Begin = Callable[[int], None]
Bad = Mapping[int, str]
AGAIN = "fetch it again, or take it out"

SCAN_SCHEMA = pa.schema(
    [("item", pa.int64()), ("index", pa.int64()), ("kind", pa.string()), ("in_volume", pa.bool_())]
    + [(n, pa.string()) for n in ("patient", "exam", "series", "image_id", "modality", "anatomy")]
    + [(n, pa.string()) for n in ("anatomy_from", "view", "laterality", "sex", "manufacturer")]
    + [(n, pa.string()) for n in ("site", "split", "label", "image_type", "burned_in")]
    + [(n, pa.float64()) for n in ("age", "spacing_row", "spacing_col", "thickness")]
    + [(n, pa.list_(pa.float64())) for n in ("orientation", "position", "findings")]
    + [(n, pa.int64()) for n in ("rows", "cols", "instance", "acquisition")]
    + [(n, pa.string()) for n in ("reason", "remedy")]
)
"""One row per image of a file, or one with a reason. Identifiers stand here as hashes."""

PART_SCHEMA = pa.schema(
    [("item", pa.int64()), ("index", pa.int64()), ("window", pa.string()), ("steps", pa.string())]
    + [("content", pa.string()), ("phash", pa.string()), ("offset", pa.int64())]
    + [(n, pa.int64()) for n in ("height", "width", "channels", "native_height", "native_width")]
    + [("dtype", pa.string()), ("scale", pa.float64()), ("shift", pa.float64())]
    + [("low", pa.float64()), ("high", pa.float64()), ("spread", pa.float64())]
    + [
        ("levels", pa.int64()),
        ("mask_offset", pa.int64()),
        ("reason", pa.string()),
        ("remedy", pa.string()),
    ]
)
"""One row per stored picture, in the order of its shard, or one with a reason."""


@dataclass(frozen=True)
class ScanTask:
    """Files to scan.

    Attributes:
        table: what is written.
        key: of all that its content depends on.
        files: (number of the item, path).
        names: how identifiers are written.
    """

    table: Path
    key: str
    files: tuple[tuple[int, str], ...]
    names: Names

    def items(self) -> list[int]:
        """Return the numbers of its files."""
        return [item for item, _ in self.files]


@dataclass(frozen=True)
class FilePart:
    """The images of one file that a part holds.

    Attributes:
        item: number of the file.
        path, kind: where it is and how it is read.
        which: indexes of its images.
        masks: paths of mask files that belong to it; several are united (`masks.unite`).
        hounsfield: whether values whose unit the file does not state are Hounsfield units.
    """

    item: int
    path: str
    kind: str
    which: tuple[int, ...]
    masks: tuple[str, ...] = ()
    hounsfield: bool = False


@dataclass(frozen=True)
class Recipe:
    """How values become pictures.

    Attributes:
        rendering: windows, depth, shape.
        keep_depth: 16-bit pictures of plain image files stay as they are.
        max_side: longest side kept.
        masked_only: images whose mask is empty, or that have none, are left out.
    """

    rendering: Rendering
    keep_depth: bool
    max_side: int
    masked_only: bool = False

    def told(self) -> list[object]:
        """Return all of it as a JSON-like value."""
        return [vars(self.rendering), self.keep_depth, self.max_side, self.masked_only]


@dataclass(frozen=True)
class PartTask:
    """Images to read into one shard.

    Attributes:
        shard, masks, table: what is written; the table last, masks only where there are any.
        key: of all that its content depends on.
        files: what is read.
        recipe: how values become pictures.
    """

    shard: Path
    masks: Path
    table: Path
    key: str
    files: tuple[FilePart, ...]
    recipe: Recipe

    def items(self) -> list[int]:
        """Return the numbers of its files."""
        return [file.item for file in self.files]


def scan_files(task: ScanTask, bad: Bad, begin: Begin) -> int:
    """Scan every file of a task; return how many."""
    rows: list[dict[str, Any]] = []
    for place, (item, path) in enumerate(task.files):
        if place in bad:
            rows.append(_refused(item, 0, bad[place], AGAIN))
            continue
        begin(place)
        try:
            kind = kind_of(Path(path))
            rows += list(_scanned(item, kind, scan_of(Path(path), kind), task.names))
        except Exception as error:
            rows.append(_refused(item, 0, *_why(error)))
    begin(NOTHING)
    _write(task, rows, SCAN_SCHEMA)
    return len(task.files)


def _scanned(item: int, kind: str, scan: Scan, names: Names) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file."""
    for index in range(scan.images):
        tags = {**scan.tags, **{name: values[index] for name, values in scan.each.items()}}
        part, told_by = anatomy.region(tags)
        spacing = tags.get("spacing")
        row = {
            "item": item, "index": index, "kind": kind, "in_volume": scan.volume,
            "anatomy": part or None, "anatomy_from": told_by or None,
            "view": anatomy.view(tags)[0] or None,
            "laterality": anatomy.laterality(tags)[0] or None,
            "spacing_row": spacing[0] if isinstance(spacing, tuple) else None,
            "spacing_col": spacing[1] if isinstance(spacing, tuple) else None,
        }  # fmt: skip
        for name in ("patient", "exam", "series", "image_id", "site"):
            row[name] = names.of(name, _text(tags, name)) or None
        row["modality"] = known_modality(tags.get("modality"))
        row["image_type"] = names.image_type(tags.get("image_type"))
        for name in ("sex", "manufacturer", "split", "label", "burned_in", "thickness",
                     "rows", "cols", "instance", "acquisition"):  # fmt: skip
            row[name] = tags.get(name)
        years = tags.get("age")
        row["age"] = names.age(float(years)) if isinstance(years, int | float) else None
        for name in ("orientation", "position", "findings"):
            value = tags.get(name)
            row[name] = [float(x) for x in value] if isinstance(value, tuple | list) else None
        yield row


def _text(tags: Mapping[str, Any], name: str) -> str:
    value = tags.get(name)
    return "" if value is None else str(value)


def read_part(task: PartTask, bad: Bad, begin: Begin) -> int:
    """Read every image of a part, one after the other; return how many were asked for."""
    rows: list[dict[str, Any]] = []
    place = 0
    _forget(task.table)  # before its shard changes
    with whole_file(task.shard) as pixels, pixels.open("wb", buffering=0) as shard:
        writer = _Shards(shard, masks := io.BytesIO())
        for file in task.files:
            rows += _read_file(task, file, bad, place, begin, writer)
            place += len(file.which)
        begin(NOTHING)
    if masks.tell():
        with whole_file(task.masks) as temporary:
            temporary.write_bytes(masks.getbuffer())
    else:
        _forget(task.masks)
    _write(task, rows, PART_SCHEMA)
    return place


def _forget(path: Path) -> None:
    """Remove what an earlier call made of something else.

    Raises:
        RadstartError: it cannot be removed.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise RadstartError(
            "cannot write", str(path), os_reason(error), "free space or choose another place"
        ) from error


def _read_file(
    task: PartTask, file: FilePart, bad: Bad, first: int, begin: Begin, writer: "_Shards"
) -> Iterator[dict[str, Any]]:
    """Yield a row per picture of a file, or one with a reason per image that gives none."""
    wanted = []
    for place, index in enumerate(file.which, first):
        if place in bad:
            yield _refused(file.item, index, bad[place], AGAIN)
        else:
            wanted.append((place, index))
    found = _pictures(task.recipe, file, [index for _, index in wanted])
    for done, (place, _) in enumerate(wanted):
        begin(place)
        try:
            shown, mask, pictures = next(found)
        except Exception as error:
            for _, index in wanted[done:]:
                yield _refused(file.item, index, *_why(error))
            return
        for picture in pictures:
            yield writer.stored(file.item, shown, picture, mask, task.recipe.max_side)


def _pictures(
    recipe: Recipe, file: FilePart, which: Sequence[int]
) -> Iterator[tuple[int, NDArray[np.uint8] | None, tuple[Picture, ...]]]:
    """Yield index, mask and pictures of every image of a file; none without the mask it needs."""
    beside = [_labels(Path(path), file.kind, which) for path in file.masks]
    for frame in frames_of(Path(file.path), file.kind, which):
        mask = frame.mask
        if beside:
            mask, words = _united([next(one) for one in beside], frame.values.shape[:2])
            frame = replace(frame, steps=(*frame.steps, *words))
        shaped = None if mask is None else render_mask(mask, recipe.rendering)
        left_out = recipe.masked_only and (mask is None or not mask.any())
        if file.hounsfield and not frame.unit and frame.values.dtype != np.uint8:
            words = (*frame.steps, "taken as Hounsfield units")
            frame = replace(frame, unit="HU", steps=words)
        pictures = () if left_out else render(frame, _rendering(recipe, file, frame))
        yield frame.index, shaped, pictures


def _why(error: Exception) -> tuple[str, str]:
    """Return reason and remedy of what a file was refused for; never another's words.

    What others' code says may quote a header; what it raises may be anything.
    """
    if isinstance(error, Unreadable):
        return error.reason, error.remedy
    if isinstance(error, MemoryError):
        return "needs more memory than a file may take", AGAIN
    if isinstance(error, StopIteration):
        return "ends before this image", AGAIN
    if isinstance(error, OSError):
        return f"cannot be read: {os_reason(error)}", "make it readable"
    return f"its reader fails ({type(error).__name__})", AGAIN


def _rendering(recipe: Recipe, file: FilePart, frame: Frame) -> Rendering:
    if recipe.keep_depth and file.kind == "raster" and frame.values.dtype == np.uint16:
        return replace(recipe.rendering, windows=("first",), stack=False, depth=16)
    return recipe.rendering


def _refused(item: int, index: int, reason: str, remedy: str) -> dict[str, Any]:
    return {"item": item, "index": index, "reason": reason, "remedy": remedy}


def _labels(path: Path, of: str, which: Sequence[int]) -> Iterator[NDArray[np.uint8] | str]:
    """Yield the labels of a mask for each image of a file of kind `of`, or why there are none."""
    reason = "has fewer images"
    try:
        kind = kind_of(path)
        own = which if kind != "raster" or of == "raster" else [0] * len(which)
        for frame in frames_of(path, kind, own):
            yield labels_of(frame.values)
    except Exception as error:  # of others' code, too: the image is there all the same
        if not path.is_file():  # it was, when the files were listed
            raise
        reason = _why(error)[0]
    while True:
        yield reason


def _united(
    found: Sequence[NDArray[np.uint8] | str], shape: tuple[int, ...]
) -> tuple[NDArray[np.uint8] | None, tuple[str, ...]]:
    """Return one mask of the size of its image, and what was done to it, in words."""
    masks = [mask for mask in found if not isinstance(mask, str)]
    words = [f"without its mask: {why}" for why in found if isinstance(why, str)]
    if not words and any(mask.shape != shape for mask in masks):
        height, width = shape
        if any(abs(mask.shape[0] * width / mask.shape[1] - height) > 1 for mask in masks):
            words = ["without its mask: of another shape"]
        else:
            size = (width, height)
            masks = [np.asarray(cv2.resize(m, size, interpolation=cv2.INTER_NEAREST_EXACT))
                     for m in masks]  # fmt: skip
            return unite(masks), ("its mask resized",)
    return (None, tuple(words[:1])) if words else (unite(masks), ())


class _Shards:
    """Appends pictures and masks to the two files of a part."""

    def __init__(self, pixels: io.FileIO, masks: BinaryIO) -> None:
        self._pixels, self._masks = pixels, masks
        self._end = 0

    def _append(self, array: NDArray[Any]) -> None:
        """Write an array; unbuffered, which may take a part only."""
        rest = array.data.cast("B")
        self._end += len(rest)
        while rest:
            rest = rest[self._pixels.write(rest) :]

    def stored(
        self, item: int, index: int, picture: Picture, mask: NDArray[np.uint8] | None, most: int
    ) -> dict[str, Any]:
        """Write a picture, shrunk to the longest side; return its row."""
        native = picture.pixels
        pixels = _capped(native, most, cv2.INTER_AREA)
        steps = picture.steps
        if pixels.shape != native.shape:
            steps = (*steps, f"shrunk to a longest side of {most} (area)")
        if self._end % 2:  # uint16 stays aligned
            self._append(np.zeros(1, np.uint8))
        offset = self._end
        self._append(_little(pixels))
        mask_offset = -1
        if mask is not None and mask.shape == native.shape[:2]:
            mask_offset = self._masks.tell()
            self._masks.write(np.ascontiguousarray(_capped(mask, most, cv2.INTER_NEAREST)).data)
        codes, known = perceptual_hashes([native])
        low, high, spread, levels = _spread(pixels)
        return {
            "item": item, "index": index, "window": picture.window or None,
            "steps": "; ".join(steps) or None, "content": content_hash(native),
            "phash": f"{int(codes[0]):016x}" if known[0] else None, "offset": offset,
            "height": pixels.shape[0], "width": pixels.shape[1],
            "channels": 3 if pixels.ndim == 3 else 1,
            "native_height": native.shape[0], "native_width": native.shape[1],
            "dtype": str(pixels.dtype), "scale": picture.scale, "shift": picture.offset,
            "low": low, "high": high, "spread": spread, "levels": levels,
            "mask_offset": mask_offset,
        }  # fmt: skip


def _spread(pixels: Pixels) -> tuple[float, float, float, int]:
    """Return least and largest value, standard deviation, and how many values there are.

    Of colours the first three are of the mean of the channels. Exact: out of counts of values.
    """
    counts = _counts(pixels)
    levels = int(np.count_nonzero(counts))
    share = 1.0
    if pixels.ndim == 3:
        together = pixels[..., 0].astype(np.uint32)
        for channel in (1, 2):
            together += pixels[..., channel]
        counts, share = np.bincount(together.ravel()), 3.0
    values = np.flatnonzero(counts)
    weights = counts[values].astype(np.float64)
    mean = weights @ values / weights.sum()
    spread = np.sqrt(weights @ np.square(values - mean) / weights.sum())
    return values[0] / share, values[-1] / share, float(spread) / share, levels


def _counts(pixels: Pixels) -> NDArray[Any]:
    """Return how often every value occurs, (256,) or (65536,)."""
    if pixels.dtype == np.uint8 and pixels.size < 1 << 24:  # float32 counts up to there
        flat: Any = np.ascontiguousarray(pixels).reshape(len(pixels), -1)
        counts: NDArray[Any] = cv2.calcHist([flat], [0], None, [256], [0, 256]).ravel()
        return counts
    return np.bincount(pixels.ravel())


def content_hash(pixels: Pixels) -> str:
    """Return the BLAKE2b of shape, type and pixels (32 hexadecimal digits)."""
    state = hashlib.blake2b(f"{pixels.shape} {pixels.dtype}".encode(), digest_size=16)
    state.update(_little(pixels).data)
    return state.hexdigest()


def _little(pixels: Pixels) -> Pixels:
    little: Pixels = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<"))  # type: ignore[assignment]
    return little


def _capped(pixels: Any, most: int, how: int) -> Any:
    height, width = pixels.shape[:2]
    if max(height, width) <= most:
        return pixels
    scale = most / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(pixels, size, interpolation=how)


def is_done(task: ScanTask | PartTask) -> bool:
    """Return whether the table of a task lies there, made from the same."""
    try:
        metadata = pq.read_schema(task.table).metadata or {}
    except (OSError, pa.ArrowException):
        return False
    return bool(metadata.get(b"key") == task.key.encode())


def _write(task: ScanTask | PartTask, rows: list[dict[str, Any]], schema: pa.Schema) -> None:
    with whole_file(task.table) as temporary:
        table = pa.Table.from_pylist(rows, schema=schema.with_metadata({"key": task.key}))
        pq.write_table(table, temporary)
