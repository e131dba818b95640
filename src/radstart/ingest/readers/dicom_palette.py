"""Palettes: stored indices become RGB (DICOM PS3.3 C.7.6.3.1.5, C.7.9.2)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from radstart.ingest.frames import Unreadable, Values
from radstart.ingest.readers.dicom_values import descriptor, entries, value_of

_COLOURS = ("Red", "Green", "Blue")
_DISCRETE, _LINEAR, _INDIRECT = 0, 1, 2


def coloured(stored: Values, header: Dataset, signed: bool, big: bool) -> NDArray[np.uint8]:
    """Return (H, W, 3) colours of (H, W) indices.

    Raises:
        Unreadable: there is no palette, or it does not fit its own description.
    """
    firsts, columns = [], []
    for colour in _COLOURS:
        said = descriptor(header, f"{colour}PaletteColorLookupTableDescriptor", signed)
        column = None if said is None else _column(header, colour, said[0], said[2], big)
        if said is None or column is None:
            raise Unreadable("its palette is missing or does not fit", "export it as RGB")
        firsts.append(said[1])
        columns.append(column)
    if max(int(column.max()) for column in columns) > 255:
        columns = [column >> 8 for column in columns]  # entries of 16 bits: the high byte
    table = [column.astype(np.uint8) for column in columns]
    at = stored.astype(np.int64)
    return np.stack(
        [
            column[np.clip(at - first, 0, len(column) - 1)]
            for column, first in zip(table, firsts, strict=True)
        ],
        axis=-1,
    )


def _column(
    header: Dataset, colour: str, count: int, bits: int, big: bool
) -> NDArray[np.int64] | None:
    name = f"{colour}PaletteColorLookupTableData"
    data = value_of(header, name)
    if data is not None:
        return entries(data, count, big)
    data = value_of(header, f"Segmented{name}")
    if not isinstance(data, bytes):
        return None
    wide = bits > 8
    kind = (">u2" if big else "<u2") if wide else "u1"
    words = np.frombuffer(data[: len(data) // 2 * 2], kind).tolist()
    values = expanded(words, count, wide)
    return np.asarray(values, np.int64) if len(values) == count else None


def expanded(words: list[int], count: int, wide: bool) -> list[int]:
    """Return at most `count` entries of a segmented table; fewer where it does not hold them.

    Args:
        words: segments: 0, length, entries...; 1, length, end of a line; 2, number of segments,
            offset of the first (low word, high word, or four bytes).
        count: entries wanted: whatever the segments claim, no more are made.
        wide: whether words have 16 bits.
    """
    values: list[int] = []
    at = 0
    while len(values) < count and at + 2 < len(words):
        kind, length = words[at : at + 2]
        if kind == _INDIRECT:
            size = 2 if wide else 4
            parts = words[at + 2 : at + 2 + size]
            offset = sum(part << (i * (16 if wide else 8)) for i, part in enumerate(parts))
            source = offset // 2 if wide else offset
            for _ in range(length):
                moved = _segment(words, source, values, count)
                if moved is None:
                    return values
                source = moved
            at += 2 + size
            continue
        moved = _segment(words, at, values, count)
        if moved is None:
            return values
        at = moved
    return values[:count]


def _segment(words: list[int], at: int, values: list[int], count: int) -> int | None:
    """Append one plain segment to `values`; return where the next begins, None = it is none."""
    if len(values) >= count or at + 2 >= len(words):
        return None
    kind, length = words[at : at + 2]
    if kind == _DISCRETE and length:
        values.extend(words[at + 2 : at + 2 + length])
        return at + 2 + length
    if kind == _LINEAR and length and values:
        start, end = values[-1], words[at + 2]
        line: Any = np.around(start + (end - start) * np.arange(1, length + 1) / length)
        values.extend(int(value) for value in line)
        return at + 3
    return None
