"""Slices of a volume file: canonical orientation, one axis, values after slope and intercept."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radstart.ingest.frames import Frame, Scan, Unreadable, Window
from radstart.ingest.readers.unpack import AGAIN, RATIO, check_size

_THICK = 1.1  # a voxel this much longer than its other sides tells how the slices were taken
_SAMPLE = 199_999  # values that tell how a whole volume is shown
_PLANES = ("sagittal", "coronal", "axial")


@dataclass(frozen=True, eq=False)
class Volume:
    """What the header of a volume says.

    Attributes:
        shape: of the stored array, fastest axis first: 3, and 3 more values a voxel for colours.
        dtype: of an element, with its byte order.
        affine: (4, 4) from indices to millimetres, to the left, the back and the top (as DICOM
            has it); None = the header says nothing of it.
        spacing: mm of a voxel, used where there is no affine.
        colours: whether each voxel has three values.
        volumes: how many volumes the file holds; the first is read.
        slope, intercept: of the values; a slope of None = as they are stored.
        windows: what the header wants shown.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    affine: NDArray[np.float64] | None
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
    colours: bool = False
    volumes: int = 1
    slope: float | None = None
    intercept: float = 0.0
    windows: tuple[Window, ...] = ()


@dataclass(frozen=True)
class _Cut:
    """How a stored array is cut: which stored axis is x, y, z, which run backwards, and along."""

    axes: tuple[int, int, int]
    flipped: tuple[bool, bool, bool]
    along: int  # 0, 1, 2: sagittal, coronal, axial
    affine: NDArray[np.float64]  # of the turned array
    known: bool


def scan_volume(reader: str, volume: Volume, size: int, packed: bool) -> Scan:
    """Return the scan of a volume: one image per slice, of a file of `size` bytes.

    Its tags: view (the plane), spacing, thickness, orientation, rows, cols; each: position.

    Raises:
        Unreadable: without voxels, too many, more slices than the file has bytes (of gzip: than
            it can be unpacked to), or values that are no numbers.
    """
    if volume.dtype.kind not in "iuf" or volume.dtype.itemsize > 8:
        raise Unreadable("voxels that are no plain numbers", "save whole numbers or floats")
    cut = _cut(volume)
    shape = [volume.shape[axis] for axis in cut.axes]
    count = shape[cut.along]
    height, width = _sides(shape, cut.along)
    check_size(volume.shape, volume.dtype.itemsize, (height, width))
    if count > size * (RATIO if packed else 1):
        raise Unreadable("claims more images than the file can hold", AGAIN)
    row, column, first, step = _directions(cut, shape)
    lengths = [float(np.linalg.norm(direction)) for direction in (column, row, step)]
    unit = [v / (length or 1.0) for v, length in ((row, lengths[1]), (column, lengths[0]))]
    known = cut.known
    positions = [tuple((first + i * step).tolist()) for i in range(count)] if known else None
    return Scan(
        reader,
        count,
        {
            "rows": height,
            "cols": width,
            "view": _PLANES[cut.along] if known else None,
            "spacing": (lengths[0], lengths[1]),
            "thickness": lengths[2],
            "orientation": tuple(np.concatenate(unit).tolist()) if known else None,
        },
        {"position": positions} if positions else {},
        volume=count > 1,
    )


def cut_volume(
    volume: Volume, stored: NDArray[Any], which: Sequence[int], steps: Sequence[str] = ()
) -> Iterator[Frame]:
    """Yield slices as a radiologist sees them: the front or the top above, the right on the left.

    Args:
        volume: its header.
        stored: (N,) elements in the order of the file, those of the first volume.
        which: slices, from 0.
        steps: what was done already.
    """
    cut = _cut(volume)
    if volume.colours:
        array = stored.reshape(*volume.shape[::-1], 3).transpose(2, 1, 0, 3)
    else:
        array = stored.reshape(volume.shape[::-1]).transpose(2, 1, 0)
    turned = np.moveaxis(array, cut.axes, (0, 1, 2))
    turned = turned[tuple(slice(None, None, -1 if f else None) for f in cut.flipped)]
    limits = None if volume.colours else _limits(stored, volume)
    sample = None if volume.colours else _scaled(sample_of(stored), volume)
    words = [*steps, f"{_PLANES[cut.along]} slices" if cut.known else "slices as stored"]
    if volume.volumes > 1:
        words.append(f"the first of {volume.volumes} volumes")
    if volume.slope is not None and not volume.colours:
        words.append("slope and intercept")
    for index in which:
        if not 0 <= index < turned.shape[cut.along]:
            raise Unreadable("has fewer slices", "fetch it again")
        plane = np.moveaxis(turned, cut.along, 0)[index]
        picture = plane.swapaxes(0, 1)
        if cut.along != 2 and cut.known:
            picture = picture[::-1]
        values = np.ascontiguousarray(picture).astype(picture.dtype.newbyteorder("="), copy=False)
        if volume.colours:
            yield Frame(values.astype(np.uint8, copy=False), index, steps=tuple(words))
            continue
        assert limits is not None
        yield Frame(
            _scaled(values, volume),
            index,
            limits=limits,
            windows=volume.windows,
            steps=tuple(words),
            sample=sample,
        )


def sample_of(stored: NDArray[Any]) -> NDArray[Any]:
    """Return values spread evenly over an array, some 200,000 at most, in the machine's order."""
    flat = stored.reshape(-1)
    step = flat.size // _SAMPLE + 1
    while math.gcd(step, flat.size) > 1:  # else it would stay on some columns or slices
        step += 1
    some = flat[::step]
    return some.astype(some.dtype.newbyteorder("="))


def _cut(volume: Volume) -> _Cut:
    """Return how to turn a volume so that its axes run to the left, the back and the top.

    Slices run along the axis whose voxels are clearly the longest, else from below to the top.
    """
    affine = volume.affine
    if affine is not None and np.isfinite(affine).all() and np.abs(affine).max() < 1e9:
        lengths = np.linalg.norm(affine[:3, :3], axis=0)
        if lengths.min() > 0 and abs(np.linalg.det(affine[:3, :3] / lengths)) > 1e-3:
            return _turned(volume, affine, lengths)
    spacing = np.array(volume.spacing, float)
    good = np.isfinite(spacing) & (spacing > 0)
    plain = np.diag([*np.where(good, spacing, 1.0), 1.0])
    return _Cut((0, 1, 2), (False, False, False), 2, plain, False)


def _turned(volume: Volume, affine: NDArray[np.float64], lengths: NDArray[np.float64]) -> _Cut:
    cosines = affine[:3, :3] / lengths
    best, axes = -1.0, (0, 1, 2)
    for order in ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)):
        score = sum(abs(cosines[world, axis]) for world, axis in enumerate(order))
        if score > best + 1e-9:
            best, axes = score, order
    flipped = tuple(bool(cosines[world, axis] < 0) for world, axis in enumerate(axes))
    turned = np.eye(4)
    turned[:3, 3] = affine[:3, 3]
    for world, axis in enumerate(axes):
        sign = -1 if flipped[world] else 1
        turned[:3, world] = affine[:3, axis] * sign
        if flipped[world]:
            turned[:3, 3] += affine[:3, axis] * (volume.shape[axis] - 1)
    sizes = lengths[list(axes)]
    longest = int(sizes.argmax())
    thick = sizes[longest] > _THICK * np.delete(sizes, longest).max()
    along = longest if thick else 2
    if volume.shape[axes[along]] > 1 and 1 in volume.shape:  # one slice of something
        along = [volume.shape[axis] for axis in axes].index(1)
    return _Cut(axes, (flipped[0], flipped[1], flipped[2]), along, turned, True)


def _sides(shape: Sequence[int], along: int) -> tuple[int, int]:
    width, height = (side for world, side in enumerate(shape) if world != along)
    return height, width


def _directions(
    cut: _Cut, shape: Sequence[int]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return mm vectors: to the next column, to the next row, first pixel, to the next slice."""
    right, down = (world for world in (0, 1, 2) if world != cut.along)
    row, column = cut.affine[:3, right], cut.affine[:3, down]
    first, step = cut.affine[:3, 3], cut.affine[:3, cut.along]
    if cut.along != 2 and cut.known:  # pictures have the top above
        first = first + column * (shape[down] - 1)
        column = -column
    return row, column, first, step


def _limits(stored: NDArray[Any], volume: Volume) -> tuple[float, float]:
    """Return the range of the whole volume, one for all of its slices."""
    if stored.dtype.kind == "f":
        low, high = np.inf, -np.inf
        for start in range(0, stored.size, 1 << 22):
            part = stored[start : start + (1 << 22)]
            part = part[np.isfinite(part)]
            low, high = min(low, part.min(initial=np.inf)), max(high, part.max(initial=-np.inf))
        if low > high:
            raise Unreadable("no voxel holds a number", "leave it out")
    else:
        low, high = stored.min(), stored.max()
    ends = [float(end) * (volume.slope or 1.0) + volume.intercept for end in (low, high)]
    return min(ends), max(ends)


def _scaled(values: NDArray[Any], volume: Volume) -> NDArray[Any]:
    """Return integers where slope and intercept are whole numbers, else float32."""
    slope, intercept = volume.slope, volume.intercept
    if slope is None and values.dtype.kind in "iu":
        return values
    slope = 1.0 if slope is None else slope
    whole = float(slope).is_integer() and float(intercept).is_integer()
    small = values.dtype.itemsize <= 2 and abs(slope) < 2**14 and abs(intercept) < 2**30
    if values.dtype.kind in "iu" and whole and small:
        return values.astype(np.int32) * np.int32(slope) + np.int32(intercept)
    with np.errstate(over="ignore", invalid="ignore"):
        return (values.astype(np.float64) * slope + intercept).astype(np.float32)
