"""Reading one header element with care: what is no number, no table, no sequence is absent."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from radstart.ingest.frames import Table

_ALL = 65536  # entries of a table that says 0


def value_of(header: Dataset, name: str) -> Any:
    """Return an element's value; None where it is absent or cannot be converted."""
    try:
        return header.get(name)
    except Exception:  # a malformed value raises anything, with the value in its words
        return None


def text_of(header: Dataset, name: str) -> str:
    """Return a code string in capitals, to be compared; "" = absent."""
    found = value_of(header, name)
    return found.strip().upper() if isinstance(found, str) else ""


def several(header: Dataset, name: str) -> list[Any]:
    """Return the values of an element that may have many."""
    found = value_of(header, name)
    if found is None or found == "":
        return []
    if isinstance(found, str | bytes) or not isinstance(found, Sequence):
        return [found]
    return list(found)


def numbers(header: Dataset, name: str) -> list[float]:
    """Return an element's numbers, NaN where one is none."""

    def number(found: Any) -> float:
        try:
            return float(found)
        except (TypeError, ValueError, OverflowError):
            return math.nan

    return [number(found) for found in several(header, name)]


def number(header: Dataset, name: str) -> float | None:
    """Return an element's first number, None where it is absent or not finite."""
    found = numbers(header, name)[:1]
    return found[0] if found and math.isfinite(found[0]) else None


def whole(header: Dataset, name: str) -> int | None:
    """Return an element's first integer; of bytes whose VR was left open, the little-endian one."""
    found = several(header, name)[:1]
    if found and isinstance(found[0], bytes) and len(found[0]) in (2, 4):
        return int.from_bytes(found[0], "little")
    return int(found[0]) if found and isinstance(found[0], int) else None


def items(header: Dataset, name: str) -> list[Dataset]:
    """Return the items of a sequence, [] where it is absent."""
    return [item for item in several(header, name) if isinstance(item, Dataset)]


def as_signed(number: int, signed: bool, bits: int = 16) -> int:
    """Return a number of `bits` bits as two's complement or not, however it was read."""
    number &= (1 << bits) - 1
    return number - (1 << bits) if signed and number >> (bits - 1) else number


def descriptor(header: Dataset, name: str, signed: bool) -> tuple[int, int, int] | None:
    """Return a table's number of entries, first value mapped, and bits of an entry."""
    found = several(header, name)
    if len(found) == 1 and isinstance(found[0], bytes) and len(found[0]) == 6:
        found = np.frombuffer(found[0], "<u2").tolist()
    if len(found) != 3 or not all(isinstance(part, int) for part in found):
        return None
    return (found[0] & 0xFFFF) or _ALL, as_signed(found[1], signed), found[2] & 0xFFFF


def entries(data: Any, count: int, big: bool) -> NDArray[np.int64] | None:
    """Return `count` entries of a table: 16-bit words, or bytes packed two to a word."""
    words = ">u2" if big else "<u2"
    if isinstance(data, int):
        data = [data]
    if not isinstance(data, bytes):
        if not isinstance(data, Sequence) or not all(isinstance(entry, int) for entry in data):
            return None
        listed = np.asarray(data, np.int64) & 0xFFFF
        if len(listed) >= count:
            return listed[:count]
        data = listed.astype("<u2").tobytes()  # the first entry in the low byte
        return None if len(data) < count else np.frombuffer(data, np.uint8)[:count].astype(np.int64)
    if len(data) >= 2 * count:
        return np.frombuffer(data[: 2 * count], words).astype(np.int64)
    if len(data) >= count:
        if big and len(data) % 2 == 0:  # bytes of a word are exchanged
            data = np.frombuffer(data, words).astype("<u2").tobytes()
        return np.frombuffer(data[:count], np.uint8).astype(np.int64)
    return None


def table_of(item: Dataset, signed: bool, big: bool) -> Table | None:
    """Return the look-up table of an item of a modality or VOI sequence; None = it does not fit."""
    said = descriptor(item, "LUTDescriptor", signed)
    if said is None:
        return None
    count, first, bits = said
    values = entries(value_of(item, "LUTData"), count, big)
    if values is None:
        return None
    needed = max(1, int(values.max()).bit_length())
    return Table(first, values, bits if needed <= bits <= 16 else max(8, needed))
