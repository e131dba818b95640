"""NumPy's files: NPY (one image or a stack of them) and NPZ (MedMNIST's layout, or one array).

Nothing is unpickled; headers are matched, not evaluated; images of an NPZ are unpacked one by one.
"""

import math
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from radstart.ingest.frames import Frame, Scan, Unreadable
from radstart.ingest.readers.unpack import (
    AGAIN,
    MAX_BYTES,
    RATIO,
    check_size,
    guarded,
    mapped,
    size_of,
)
from radstart.ingest.readers.volume import sample_of

PLANES = ("axial", "coronal", "sagittal")
SPLITS: Mapping[str, str] = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "test": "test",
}
_MAGIC = b"\x93NUMPY"
_HEAD = 16_384  # bytes within which a header of plain numbers ends
_FIELDS = (
    re.compile(r"'descr'\s*:\s*'([<>|=]?[A-Za-z]\d{0,2})'"),
    re.compile(r"'fortran_order'\s*:\s*(True|False)"),
    re.compile(r"'shape'\s*:\s*\(([\d\s,]*)\)"),
)
_ENTRIES = 1000
_LABELS = 1 << 26  # bytes of labels
_CHANNELS = (3, 4)


@dataclass(frozen=True)
class _Array:
    """An array as its header has it, and as images.

    Attributes:
        name: of the entry in an NPZ, without ".npy"; "" in an NPY.
        start: byte at which the elements begin.
        dtype, shape, fortran: of the array.
        volumes, slices: images are `volumes * slices`, in that order.
        side: (height, width).
        channels: 1, 3, or 4 (with alpha).
    """

    name: str
    start: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran: bool
    volumes: int
    slices: int
    side: tuple[int, int]
    channels: int

    @property
    def images(self) -> int:
        """Return how many there are."""
        return self.volumes * self.slices

    @property
    def each(self) -> int:
        """Return the elements of one image."""
        return self.side[0] * self.side[1] * self.channels


def sniff(head: bytes) -> bool:
    """Return whether a file begins like this: NPY, or a ZIP archive, as NPZ is one."""
    return head.startswith((_MAGIC, b"PK\x03\x04"))


def scan(path: Path) -> Scan:
    """Return the images of an array file, no pixel read.

    NPY: (H, W) or (H, W, 3) is an image, (S, H, W) a volume, (N, H, W, 3) images, (N, S, H, W)
    volumes one after the other. Below a folder named after a plane (MRNet's layout) the file's
    name is the exam, the folder the view, the folder above it the split where it is one.

    NPZ: train_images, val_images, test_images with their _labels (MedMNIST's layout): each image
    has a `split`, and a `label` (or `findings`, a tuple, where it has several); `images` and
    `labels`; or a single array.

    Raises:
        Unreadable: other arrays, objects, claims that are too large or that the file cannot hold.
    """
    with guarded("array file"):
        size_of(path)
        if _is_zip(path):
            with _archive(path) as archive:
                return _scan_archive(archive)
        array = _npy(path)
        found = _scan_arrays([array], volume=array.volumes == 1 and array.slices > 1)
        return Scan(
            "arrays", found.images, {**found.tags, **_mrnet(path)}, found.each, found.volume
        )


def frames(path: Path, which: Sequence[int]) -> Iterator[Frame]:
    """Yield images as they are stored; bits become 0 and 255, an alpha channel is dropped.

    An NPZ is unpacked from its beginning: ask for all that is wanted at once, in rising order.

    Raises:
        Unreadable: as `scan`, or the file is cut off or broken.
    """
    with guarded("array file"):
        size_of(path)
        if _is_zip(path):
            with _archive(path) as archive:
                yield from _unpacked(archive, which)
            return
        array = _npy(path)
        count = math.prod(array.shape)
        stored = mapped(path, array.start, array.dtype, count)
        images = _as_images(array, stored)
        limits, sample = None, None
        if array.volumes == 1 and array.slices > 1 and array.dtype.kind in "iuf":
            limits, sample = _limits(stored), sample_of(stored)
        for index in which:
            if not 0 <= index < array.images:
                raise Unreadable("has fewer images", AGAIN)
            frame = _frame(images[index], index, limits)
            yield replace(frame, sample=sample)


# -- headers -----------------------------------------------------------------------------------


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(6)
    if not sniff(head):
        raise Unreadable("no array of NumPy", "save it as .npy or .npz")
    return head[:2] == b"PK"


def _npy(path: Path) -> _Array:
    with path.open("rb") as file:
        array = _header("", file.read(_HEAD), many=False)
    need = array.start + math.prod(array.shape) * array.dtype.itemsize
    if need > path.stat().st_size:
        raise Unreadable("the file is shorter than its header says", AGAIN)
    return array


def _plain(head: bytes) -> tuple[int, np.dtype[Any], tuple[int, ...], bool]:
    """Return start, type, shape and order of an NPY header."""
    if not head.startswith(_MAGIC) or len(head) < 12:
        raise Unreadable("no array of NumPy", "save it as .npy or .npz")
    short = head[6] == 1
    start = (10 if short else 12) + int.from_bytes(head[8 : 10 if short else 12], "little")
    if start > len(head):
        raise Unreadable("a header that is cut off or much too long", AGAIN)
    text = head[10 if short else 12 : start].decode("latin-1")
    found = [field.search(text) for field in _FIELDS]
    if not all(found):
        raise Unreadable("an array of no plain numbers", "save whole numbers or floats")
    kind, order, shape = (match[1] for match in found if match)
    dtype = np.dtype(kind) if kind[-1:].isdigit() else np.dtype(object)
    if dtype.kind not in "buif" or dtype.itemsize > 8:
        raise Unreadable("an array of no plain numbers", "save whole numbers or floats")
    sides = tuple(int(side) for side in shape.replace(",", " ").split())
    return start, dtype, sides, order == "True"


def _header(name: str, head: bytes, many: bool) -> _Array:
    """Return an array of images.

    Args:
        name: of the entry.
        head: first bytes.
        many: whether the first axis counts images whatever the shape.
    """
    start, dtype, shape, fortran = _plain(head)
    plain = shape
    if len(plain) in (4, 5) and plain[-1] == 1:
        plain = plain[:-1]
    channels = 1
    colours = dtype == np.uint8 and len(plain) in ((4,) if many else (3, 4))
    if colours and plain[-1] in _CHANNELS:
        plain, channels = plain[:-1], plain[-1]
        volumes, slices = (plain[0], 1) if len(plain) == 3 else (1, 1)
    elif len(plain) == 2 and not many:
        volumes, slices = 1, 1
    elif len(plain) == 3:
        volumes, slices = (plain[0], 1) if many else (1, plain[0])
    elif len(plain) == 4:
        volumes, slices = plain[:2]
    else:
        raise Unreadable(f"an array of {len(shape)} dimensions, no images", "save images")
    side = (plain[-2], plain[-1])
    check_size(shape, dtype.itemsize, side)
    return _Array(name, start, dtype, shape, fortran, volumes, slices, side, channels)


def _scan_arrays(arrays: Sequence[_Array], volume: bool = False) -> Scan:
    """Return a scan of arrays one after the other, without what only one layout has."""
    tags: dict[str, int] = {}
    each: dict[str, list[Any]] = {}
    for name, at in (("rows", 0), ("cols", 1)):
        values = [array.side[at] for array in arrays]
        if len(set(values)) == 1:
            tags[name] = values[0]
        else:
            repeats = [array.images for array in arrays]
            each[name] = np.repeat(values, repeats).tolist()
    if any(array.volumes > 1 and array.slices > 1 for array in arrays):
        firsts = np.cumsum([0, *(array.volumes for array in arrays)])
        each["series"] = [
            str(first + i // array.slices)
            for first, array in zip(firsts.tolist(), arrays, strict=False)
            for i in range(array.images)
        ]
        each["instance"] = [i % array.slices for array in arrays for i in range(array.images)]
    return Scan("arrays", sum(array.images for array in arrays), tags, each, volume)


def _mrnet(path: Path) -> dict[str, str]:
    """Return exam, view and split of {split}/{plane}/{exam}.npy."""
    parent = path.absolute().parent
    if parent.name.lower() not in PLANES:
        return {}
    tags = {"exam": path.stem, "view": parent.name.lower(), "series": parent.name.lower()}
    split = SPLITS.get(parent.parent.name.lower())
    return {**tags, "split": split} if split else tags


# -- archives ----------------------------------------------------------------------------------


def _archive(path: Path) -> zipfile.ZipFile:
    """Return an archive whose claims are believable.

    Raises:
        Unreadable: none, too many entries, encrypted, or packed in another way or too well.
    """
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise Unreadable("a broken or cut off archive", AGAIN) from error
    entries = archive.infolist()
    size = path.stat().st_size
    if len(entries) > _ENTRIES or len({entry.filename for entry in entries}) < len(entries):
        raise Unreadable("an archive that holds no arrays", "save it with numpy.savez")
    for entry in entries:
        if entry.flag_bits & 1 or entry.compress_type not in (0, zipfile.ZIP_DEFLATED):
            raise Unreadable("an archive packed in a way that is not read", "save it anew")
        if entry.compress_size > size or entry.file_size > (entry.compress_size + 1) * RATIO:
            raise Unreadable("claims more pixels than the file can hold", AGAIN)
    return archive


def _images_of(archive: zipfile.ZipFile) -> list[_Array]:
    """Return the arrays of images, in the order train, validation, test.

    Raises:
        Unreadable: the names say nothing, or an entry is not as long as its header says.
    """
    names = {name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")}
    parts = [f"{part}_images" for part in SPLITS if f"{part}_images" in names]
    parts = parts or [name for name in ("images",) if name in names]
    many = bool(parts)
    if not parts and len(names) == 1:
        parts = list(names)
    if not parts:
        raise Unreadable(
            "arrays whose names say nothing here", "name them train_images, train_labels, ..."
        )
    return [_entry(archive, name, many) for name in parts]


def _entry(archive: zipfile.ZipFile, name: str, many: bool) -> _Array:
    with archive.open(f"{name}.npy") as file:
        array = _header(name, file.read(_HEAD), many)
    _whole(archive, name, array.start + math.prod(array.shape) * array.dtype.itemsize)
    return array


def _whole(archive: zipfile.ZipFile, name: str, need: int) -> None:
    if archive.getinfo(f"{name}.npy").file_size != need:
        raise Unreadable("an entry is not as long as its header says", AGAIN)


def _scan_archive(archive: zipfile.ZipFile) -> Scan:
    arrays = _images_of(archive)
    found = _scan_arrays(arrays)
    each: dict[str, Sequence[Any]] = dict(found.each)
    splits = [SPLITS.get(array.name.removesuffix("_images"), "") for array in arrays]
    if all(splits):
        each["split"] = [s for s, a in zip(splits, arrays, strict=True) for _ in range(a.images)]
    each.update(_labels(archive, arrays))
    return Scan("arrays", found.images, found.tags, each, found.volume)


def _labels(archive: zipfile.ZipFile, arrays: Sequence[_Array]) -> dict[str, list[Any]]:
    """Return label, or findings, of every image; {} where an array has none."""
    parts = []
    for array in arrays:
        name = array.name.removesuffix("images") + "labels"
        if f"{name}.npy" not in archive.namelist():
            return {}
        with archive.open(f"{name}.npy") as file:
            content = file.read(_LABELS)
        start, dtype, shape, fortran = _plain(content)
        count = math.prod(shape)
        if start + count * dtype.itemsize != len(content) or not 1 <= len(shape) <= 2:
            raise Unreadable("labels that do not fit their header", AGAIN)
        values = np.frombuffer(content, dtype, count, start)
        values = values.reshape(shape, order="F" if fortran else "C").reshape(shape[0], -1)
        if len(values) != array.volumes:
            raise Unreadable("as many labels as images are needed", "save one label per image")
        parts.append(np.repeat(values, array.slices, axis=0))
    if len({part.shape[1] for part in parts}) > 1:
        raise Unreadable("labels of different widths", "save the same labels for every part")
    whole = np.concatenate(parts)
    if whole.shape[1] == 1:
        return {"label": [str(value) for value in whole[:, 0].tolist()]}
    return {"findings": [tuple(map(float, row)) for row in whole.tolist()]}


def _unpacked(archive: zipfile.ZipFile, which: Sequence[int]) -> Iterator[Frame]:
    """Yield images of the arrays of an archive, in order; one image is in memory at a time."""
    arrays = _images_of(archive)
    firsts = np.cumsum([0, *(array.images for array in arrays)]).tolist()
    wanted = list(which)
    at = 0
    while at < len(wanted):
        if not 0 <= wanted[at] < firsts[-1]:
            raise Unreadable("has fewer images", AGAIN)
        part = int(np.searchsorted(firsts, wanted[at], side="right")) - 1
        end = at + 1
        while end < len(wanted) and wanted[end - 1] < wanted[end] < firsts[part + 1]:
            end += 1
        inside = [index - firsts[part] for index in wanted[at:end]]
        for index, pixels in zip(wanted[at:end], _read(archive, arrays[part], inside), strict=True):
            yield _frame(pixels, index, None)
        at = end


def _read(archive: zipfile.ZipFile, array: _Array, rising: Sequence[int]) -> Iterator[NDArray[Any]]:
    with archive.open(f"{array.name}.npy") as file:
        _skip(file, array.start)
        if array.fortran:
            need = math.prod(array.shape) * array.dtype.itemsize
            if need > MAX_BYTES:
                raise Unreadable("a large array in Fortran's order", "save it in C order")
            images = _as_images(array, np.frombuffer(_exactly(file, need), array.dtype))
            yield from (images[index] for index in rising)
            return
        done = 0
        size = array.each * array.dtype.itemsize
        for index in rising:
            _skip(file, (index - done) * size)
            pixels = np.frombuffer(_exactly(file, size), array.dtype)
            yield _sided(array, pixels)
            done = index + 1


def _skip(file: IO[bytes], count: int) -> None:
    while count > 0:
        count -= len(_exactly(file, min(count, 1 << 20)))


def _exactly(file: IO[bytes], count: int) -> bytes:
    content = file.read(count)
    if len(content) != count:
        raise Unreadable("the file ends before its pixels do", AGAIN)
    return content


# -- pixels ------------------------------------------------------------------------------------


def _as_images(array: _Array, stored: NDArray[Any]) -> NDArray[Any]:
    """Return (images, H, W) or (images, H, W, C) of all elements; a view where that can be."""
    shaped = stored.reshape(array.shape, order="F" if array.fortran else "C")
    return shaped.reshape(array.images, *_shape(array))


def _sided(array: _Array, pixels: NDArray[Any]) -> NDArray[Any]:
    return pixels.reshape(_shape(array))


def _shape(array: _Array) -> tuple[int, ...]:
    return array.side if array.channels == 1 else (*array.side, array.channels)


def _frame(pixels: NDArray[Any], index: int, limits: tuple[float, float] | None) -> Frame:
    steps: tuple[str, ...] = ()
    if pixels.ndim == 3:
        if pixels.shape[-1] == _CHANNELS[1]:
            pixels, steps = pixels[..., :3], ("alpha dropped",)
        return Frame(np.ascontiguousarray(pixels), index, steps=steps)
    if pixels.dtype == bool:
        return Frame(pixels.view(np.uint8) * np.uint8(255), index)
    values = np.ascontiguousarray(pixels)
    if values.dtype.kind == "f":
        with np.errstate(over="ignore"):
            values = values.astype(np.float32)
    else:
        values = values.astype(values.dtype.newbyteorder("="))
    return Frame(values, index, limits=limits or _limits(values))


def _limits(values: NDArray[Any]) -> tuple[float, float]:
    """Return what the type can hold, or of floats what these are."""
    if values.dtype == bool:
        return 0.0, 255.0
    if values.dtype.kind in "iu":
        kind = np.iinfo(values.dtype)
        return float(kind.min), float(kind.max)
    low, high = np.inf, -np.inf
    flat = values.reshape(-1)
    for start in range(0, flat.size, 1 << 22):
        part = flat[start : start + (1 << 22)]
        part = part[np.isfinite(part)]
        low, high = min(low, part.min(initial=np.inf)), max(high, part.max(initial=-np.inf))
    return (float(low), float(high)) if low <= high else (0.0, 0.0)
