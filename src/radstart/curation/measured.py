"""One pass over the pixels of a dataset: what duplicates, shortcuts and outliers are told by."""

import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from radstart.core.progress import Progress
from radstart.curation.marks import Marks, find_marks
from radstart.dataset import Dataset

Floats = NDArray[np.float32]
Halves = NDArray[np.float16]
Levels = NDArray[np.uint8]

SIDE = 32  # of the thumbnail
ANGLES, RADII = 64, 16  # of the disc
BINS = 32  # of the histogram
CORNERS = ("top left", "top right", "bottom left", "bottom right")
SIDES = ("top", "bottom", "left", "right")
NUMBERS = ("mean", "spread", "p01", "median", "p99", "black", "white", "sharpness")
_GREY = np.array([0.299, 0.587, 0.114], np.float32)
_LEAST = 1.0  # level of 255: the spread of a thumbnail that says something
_BLOCK = 512


@dataclass(frozen=True, eq=False)
class Measured:
    """What was measured of N images; levels are those of 0..255.

    Attributes:
        thumbs: float16 (N, 1024): thumbnails of zero mean and unit length, so that a product is a
            correlation; zeros where there is nothing to see.
        discs: float16 (N, 64, 16): the inscribed disc by angle and radius, of zero mean and unit
            length.
        corners: uint8 (N, 4), the pixel in each of `CORNERS`.
        border: float32 (N, 12): of the strip at each of `SIDES` mean, spread, share of black.
        histogram: float32 (N, 32), shares.
        numbers: float32 (N, 8), columns `NUMBERS`; black and white are shares of pixels.
        marks: what looks like text.
    """

    thumbs: Halves
    discs: Halves
    corners: Levels
    border: Floats
    histogram: Floats
    numbers: Floats
    marks: tuple[Marks, ...]

    @property
    def seen(self) -> NDArray[np.bool_]:
        """Return which images have something to see at the size of a thumbnail, (N,)."""
        return np.asarray(self.thumbs.any(axis=1), bool)


def top_level(dataset: Dataset) -> float:
    """Return what becomes 255 of uint16 images: the largest value, in whole bits."""
    rows = dataset.rows
    deep = (rows["dtype"] == "uint16").to_numpy(bool)
    if not deep.any():
        return 255.0
    largest = rows["high"].to_numpy(float)[deep]
    if not np.isfinite(largest).all():
        largest = np.array([dataset.pixels(int(row)).max() for row in np.flatnonzero(deep)])
    return float((1 << max(8, int(largest.max()).bit_length())) - 1)


def grey(dataset: Dataset, row: int, top: float) -> Levels:
    """Return an image of a dataset as grey levels 0..255, uint8 (H, W)."""
    pixels: NDArray[Any] = np.ascontiguousarray(dataset.pixels(row))
    if pixels.dtype != np.uint8:
        pixels = np.rint(pixels * np.float32(255 / top)).astype(np.uint8)
    if pixels.ndim == 3:
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.uint8)
    return np.asarray(pixels, np.uint8)


def measure(dataset: Dataset, progress: Progress | None = None) -> Measured:
    """Look at every image once, a few at a time; memory grows by 5 kB an image."""
    count, top = len(dataset), top_level(dataset)
    thumbs = np.zeros((count, SIDE * SIDE), np.float16)
    discs = np.zeros((count, ANGLES, RADII), np.float16)
    corners = np.zeros((count, len(CORNERS)), np.uint8)
    border = np.zeros((count, 3 * len(SIDES)), np.float32)
    histogram = np.zeros((count, BINS), np.float32)
    numbers = np.zeros((count, len(NUMBERS)), np.float32)

    def look(row: int) -> Marks:
        image = grey(dataset, row, top)
        thumbs[row] = thumbnail(image)
        discs[row] = _disc(image)
        corners[row] = image[[0, 0, -1, -1], [0, -1, 0, -1]]
        border[row] = _border(image)
        counts = np.bincount(image.ravel(), minlength=256)
        histogram[row] = counts.reshape(BINS, -1).sum(axis=1) / image.size
        numbers[row] = _numbers(image, counts)
        return find_marks(image)

    marks: list[Marks] = []
    workers = min(8, os.cpu_count() or 1)
    with (
        ThreadPoolExecutor(workers) as pool,
        (progress or Progress()).task("looking at images", count) as task,
    ):
        for start in range(0, count, _BLOCK):
            marks += pool.map(look, range(start, min(start + _BLOCK, count)))
            task.advance(len(marks) - start)
    return Measured(thumbs, discs, corners, border, histogram, numbers, tuple(marks))


def thumbnail(image: Levels) -> Floats:
    """Return a thumbnail of zero mean and unit length, float32 (1024,); zeros of a blank image."""
    small = cv2.resize(image.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return _unit(np.asarray(small, np.float32).ravel())


def _unit(values: Floats) -> Floats:
    values = values - values.mean()
    length = np.linalg.norm(values)
    if length < _LEAST * np.sqrt(values.size):
        return np.zeros_like(values)
    return np.asarray(values / length, np.float32)


def _disc(image: Levels) -> Floats:
    """Return the inscribed disc by angle and radius: a turned image is shifted by angle."""
    height, width = image.shape
    side = min(height, width)
    up, left = (height - side) // 2, (width - side) // 2
    square = np.ascontiguousarray(image[up : up + side, left : left + side])
    square = np.asarray(cv2.resize(square, (64, 64), interpolation=cv2.INTER_AREA))
    polar = cv2.warpPolar(
        square, (RADII, ANGLES), (31.5, 31.5), 31.0, cv2.INTER_LINEAR | cv2.WARP_POLAR_LINEAR
    )
    return _unit(np.asarray(polar, np.float32).ravel()).reshape(ANGLES, RADII)


def _border(image: Levels) -> Floats:
    wide = max(1, round(0.02 * min(image.shape)))
    strips = image[:wide], image[-wide:], image[:, :wide], image[:, -wide:]
    found = [(strip.mean(), strip.std(), (strip <= 2).mean()) for strip in strips]
    return np.array(found, np.float32).ravel()


def _numbers(image: Levels, counts: NDArray[np.int64]) -> Floats:
    levels = np.arange(256)
    shares = counts / image.size
    mean = float(shares @ levels)
    spread = math.sqrt(max(0.0, float(shares @ (levels - mean) ** 2)))
    below = np.cumsum(counts)
    low, median, high = (int(np.searchsorted(below, q * image.size)) for q in (0.01, 0.5, 0.99))
    edges = np.asarray(cv2.Laplacian(image, cv2.CV_32F), np.float64)
    sharpness = math.log1p(float(np.std(edges)) ** 2)
    black, white = shares[:3].sum(), shares[253:].sum()
    return np.array([mean, spread, low, median, high, black, white, sharpness], np.float32)
