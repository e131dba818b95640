"""Working copies: all images at one size, uint8, in one flat file that is memory-mapped."""

import os
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from radstart.core.errors import RadstartError
from radstart.core.files import read_toml, whole_file, write_toml
from radstart.core.hashing import digest
from radstart.core.progress import Progress
from radstart.dataset.store import Dataset, Pixels

_VERSION = 1  # part of the key: raise it when the same pixels would come out otherwise
_BLOCK = 256  # images resized and written at a time


def working_copy(
    dataset: Dataset, size: int, progress: Progress | None = None
) -> NDArray[np.uint8]:
    """Return every image of a dataset at one size, made once and cached.

    The longest side becomes `size`, the aspect is kept (AREA when shrinking, LINEAR when
    enlarging) and the rest is zero, the image in the middle. uint16 images are divided so that the
    largest value of the dataset, rounded up to a whole number of bits (8 to 16), becomes 255: one
    scale for the dataset, so that brightness stays comparable between images.

    Args:
        dataset: opened.
        size: side in pixels, 8 to 4096.
        progress: shown while the copy is made.

    Returns:
        read-only memory map (N, size, size) uint8, or (N, size, size, 3) where any image is colour.

    Raises:
        RadstartError: size out of range, nothing can be written, or the disk is full.
    """
    if not 8 <= size <= 4096:
        raise RadstartError("is out of range", "image size", str(size), "8 to 4096 pixels")
    colour = bool((dataset.rows["channels"] == 3).any())
    shape = (len(dataset), size, size) + ((3,) if colour else ())
    path = dataset.path / "cache" / f"{digest([dataset.content, size, _VERSION], 16)}.bin"
    if not _is_whole(path, shape):
        _make(dataset, path, shape, progress or Progress())
    return np.memmap(path, np.uint8, mode="r", shape=shape)


def _is_whole(path: Path, shape: tuple[int, ...]) -> bool:
    """Tell whether a cached copy has the shape and the checksum that were written beside it."""
    try:
        known = read_toml(path.with_suffix(".toml"))
        if known.get("shape") != list(shape) or path.stat().st_size != np.prod(shape):
            return False
        return _checksum(path) == known.get("checksum")
    except (RadstartError, OSError):
        return False


def _checksum(path: Path) -> int:
    value = 0
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            value = zlib.crc32(block, value)
    return value


def _make(dataset: Dataset, path: Path, shape: tuple[int, ...], progress: Progress) -> None:
    top = _top(dataset)
    checksum = 0
    block = np.empty((min(_BLOCK, shape[0]), *shape[1:]), np.uint8)
    workers = min(8, os.cpu_count() or 1)
    with (
        whole_file(path) as temporary,
        temporary.open("wb") as file,
        ThreadPoolExecutor(workers) as pool,
        progress.task(f"images at {shape[1]} px", shape[0]) as task,
    ):
        for start in range(0, shape[0], _BLOCK):
            stop = min(start + _BLOCK, shape[0])
            images = (dataset.pixels(row) for row in range(start, stop))
            into = block[: stop - start]
            for _ in pool.map(lambda image, out: _letterbox(image, out, top), images, into):
                pass
            file.write(into.data)
            checksum = zlib.crc32(into.data, checksum)
            task.advance(stop - start)
    facts = {"shape": list(shape), "dtype": "uint8", "checksum": checksum, "made_from": "pixels"}
    try:
        write_toml(path.with_suffix(".toml"), facts)
    except RadstartError:
        path.unlink(missing_ok=True)  # without its checksum it is of no use
        raise


def _top(dataset: Dataset) -> int:
    """Return 2^k - 1, k in 8..16, that holds the largest value of the uint16 images."""
    deep = np.flatnonzero((dataset.rows["dtype"] == "uint16").to_numpy())
    largest = max((int(dataset.pixels(row).max()) for row in deep.tolist()), default=0)
    return (1 << max(8, largest.bit_length())) - 1


def _letterbox(image: Pixels, out: NDArray[np.uint8], top: int) -> None:
    """Write an image into `out`, (size, size) or (size, size, 3), filling all of it."""
    size = out.shape[0]
    height, width = image.shape[:2]
    scale = size / max(height, width)
    new = max(1, min(size, round(height * scale))), max(1, min(size, round(width * scale)))
    if new != (height, width):
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        resized = cv2.resize(np.ascontiguousarray(image), (new[1], new[0]), interpolation=how)
    else:
        resized = image
    if resized.dtype == np.uint16:
        resized = np.rint(resized * np.float32(255 / top)).astype(np.uint8)
    if out.ndim == 3 and resized.ndim == 2:
        resized = resized[..., None]
    up, left = (size - new[0]) // 2, (size - new[1]) // 2
    out[...] = 0
    out[up : up + new[0], left : left + new[1]] = resized


def channel_statistics(
    copy: NDArray[np.uint8], rows: NDArray[np.bool_]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of all pixels of the chosen rows, on [0, 1].

    Args:
        copy: a working copy, (N, H, W) or (N, H, W, 3).
        rows: which images count, bool (N,); at least one.

    Returns:
        mean and standard deviation, one value per channel.
    """
    chosen = np.flatnonzero(rows)
    channels = copy.shape[3] if copy.ndim == 4 else 1
    counts = np.zeros((channels, 256), np.int64)
    for start in range(0, len(chosen), _BLOCK):
        block = copy[chosen[start : start + _BLOCK]].reshape(-1, channels)
        for channel in range(channels):
            counts[channel] += np.bincount(block[:, channel], minlength=256)
    values = np.arange(256) / 255
    n = counts.sum(axis=1)
    mean = counts @ values / n
    variance = (counts * (values[None, :] - mean[:, None]) ** 2).sum(axis=1) / n
    return tuple(mean.tolist()), tuple(np.sqrt(variance).tolist())
