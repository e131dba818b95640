"""Marks that look like text: rows of small, bright, even strokes. Suspected, never certain.

What is found are bright letters of a size that a person would read, in rows or columns. Nothing
found does not say that there is none: dark, large, small, blurred or handwritten letters are not
looked for.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

LEAST_SIDE = 96  # pixels: of smaller images letters cannot be told
_CONTRAST = 70  # levels that a stroke is brighter than what is around it
_EVEN = 32.0  # levels that the brightness of one letter's core may spread
_LOW, _HIGH = 0.018, 0.10  # height of a letter, share of the shorter side
_LEAST_PIXELS = 6
_LETTERS = 3  # in a row
_SAME = 45.0  # levels by which the letters of a row may differ


@dataclass(frozen=True)
class Marks:
    """What looks like text in one image.

    Attributes:
        letters: how many letters stand in rows.
        area: share of the image that their boxes take.
        boxes: of the rows: left, top, right, bottom, as shares of width and height.
    """

    letters: int
    area: float
    boxes: tuple[tuple[float, float, float, float], ...]


NOTHING = Marks(0, 0.0, ())


def find_marks(image: NDArray[np.uint8]) -> Marks:
    """Return what looks like text in an image, grey uint8 (H, W)."""
    height, width = image.shape
    short = min(height, width)
    if short < LEAST_SIDE:
        return NOTHING
    boxes, levels = _letters(image, short)
    rows = [row for row in (*_rows(boxes), *_columns(boxes)) if _alike(row, boxes, levels)]
    if not rows:
        return NOTHING
    members = sorted({member for row in rows for member in row})
    sides = boxes[members]
    outlines = []
    for row in rows:
        left, top = boxes[row, 0].min(), boxes[row, 1].min()
        right, bottom = (boxes[row, 0] + boxes[row, 2]).max(), (boxes[row, 1] + boxes[row, 3]).max()
        outlines.append((left / width, top / height, right / width, bottom / height))
    area = float((sides[:, 2] * sides[:, 3]).sum() / (height * width))
    return Marks(len(members), area, tuple(tuple(map(float, one)) for one in outlines))  # type: ignore[misc]


def _letters(image: NDArray[np.uint8], short: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return boxes of what may be a letter, left, top, width, height (N, 4); brightness (N,)."""
    side = 2 * max(2, round(0.02 * short)) + 1  # wider than any stroke
    kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (side, side))
    raised = cv2.morphologyEx(image, cv2.MORPH_TOPHAT, kernel)
    strokes = (raised >= _CONTRAST).astype(np.uint8)
    count, numbers, stats, _ = cv2.connectedComponentsWithStats(strokes, connectivity=8)
    found, levels = [], []
    for k in range(1, count):
        left, top, wide, high, pixels = stats[k].tolist()
        tall = max(wide, high)
        if not (max(5, _LOW * short) <= tall <= _HIGH * short) or pixels < _LEAST_PIXELS:
            continue
        if not 0.12 * wide * high <= pixels <= 0.92 * wide * high or min(wide, high) < 2:
            continue
        part = (slice(top, top + high), slice(left, left + wide))
        own = numbers[part] == k
        values = image[part][own]
        bright = np.sort(values)[len(values) // 2 :]
        if bright.std() > _EVEN or bright.mean() < 150:
            continue
        found.append((left, top, wide, high))
        levels.append(float(bright.mean()))
    return np.array(found, np.int64).reshape(-1, 4), np.array(levels)


def _rows(boxes: NDArray[np.int64]) -> list[list[int]]:
    """Return runs of letters of one height, side by side."""
    rows: list[list[int]] = []
    for k in np.argsort(boxes[:, 0], kind="stable").tolist():
        left, top, _, high = boxes[k].tolist()
        for row in rows:
            before = boxes[row[-1]].tolist()
            gap, tall = left - (before[0] + before[2]), max(high, before[3])
            level = abs((top + high / 2) - (before[1] + before[3] / 2)) <= 0.3 * tall
            alike = tall <= 1.5 * min(high, before[3])
            if alike and level and -0.2 * tall <= gap <= 1.1 * tall:
                row.append(k)
                break
        else:
            rows.append([k])
    return rows


def _columns(boxes: NDArray[np.int64]) -> list[list[int]]:
    """Return runs of letters of one height, one below the other, none wider than high."""
    columns: list[list[int]] = []
    for k in np.argsort(boxes[:, 1], kind="stable").tolist():
        left, top, wide, high = boxes[k].tolist()
        if not 0.35 * high <= wide <= 1.1 * high:
            continue
        for column in columns:
            before = boxes[column[-1]].tolist()
            gap, tall = top - (before[1] + before[3]), max(high, before[3])
            level = abs((left + wide / 2) - (before[0] + before[2] / 2)) <= 0.25 * tall
            if tall <= 1.2 * min(high, before[3]) and level and 0 <= gap <= 0.7 * tall:
                column.append(k)
                break
        else:
            columns.append([k])
    return columns


def _alike(row: list[int], boxes: NDArray[np.int64], levels: NDArray[np.float64]) -> bool:
    """Tell whether a run looks printed: enough letters, one brightness, upright, on a line."""
    if len(row) < _LETTERS or np.ptp(levels[row]) > _SAME:
        return False
    own = boxes[row]
    high = np.median(own[:, 3])
    upright = (own[:, 3] >= 0.75 * own[:, 2]).mean() > 0.5
    feet = own[:, 1] + own[:, 3]
    lined = min(np.ptp(feet), np.ptp(own[:, 1]), np.ptp(own[:, 0])) <= max(1.0, 0.25 * high)
    return bool(upright and lined)
