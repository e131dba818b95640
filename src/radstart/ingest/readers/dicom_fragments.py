"""Where the frames of encapsulated pixel data lie (DICOM PS3.5 A.4).

One walk over the items, every one of which moves on by eight bytes at least and ends inside of
the file: nothing here is endless or follows an offset back.
"""

import struct
from array import array
from bisect import bisect_left
from itertools import pairwise
from typing import BinaryIO

from pydicom import Dataset

from radstart.ingest.frames import Unreadable
from radstart.ingest.readers.dicom_source import AGAIN, Source

MAX_FRAGMENTS = 1_000_000
_ITEM, _END = 0xFFFEE000, 0xFFFEE0DD
_UNDEFINED = 0xFFFFFFFF
_CUT = "pixel data is cut off: it ends before its end is marked"
Places = list[tuple[tuple[int, int], ...]]


def places(source: Source) -> Places:
    """Return, for every frame, the (start, length) of its fragments in the file.

    Fewer than claimed where the file holds fewer.

    Raises:
        Unreadable: cut off, not made of items, or nothing says where a frame ends.
    """
    starts, lengths = _items(source)
    offsets = _basic(source.file, starts[0], lengths[0])
    starts, lengths = starts[1:], lengths[1:]
    if not starts:
        raise Unreadable("no pixel data: no fragment holds any", AGAIN)
    frames = source.layout.frames
    extended = _extended(source.header)
    if extended is not None and len(extended) == frames:
        end = starts[-1] + lengths[-1]
        listed = [(starts[0] + offset, length) for offset, length in extended]
        if all(start + length <= end for start, length in listed):
            return [(place,) for place in listed]
    each = list(zip(starts, lengths, strict=True))
    if len(offsets) == frames:
        cuts = _cuts(starts, offsets)
        if cuts is not None:
            return [tuple(each[a:b]) for a, b in zip(cuts, [*cuts[1:], len(each)], strict=True)]
    if frames == 1:
        return [tuple(each)]
    if len(each) == frames:
        return [(place,) for place in each]
    if len(each) < frames:
        raise Unreadable("pixel data holds fewer frames than the header claims", AGAIN)
    return _by_marker(source.file, each)


def _items(source: Source) -> "tuple[array[int], array[int]]":
    """Return start and length of every item's value; the first is the basic offset table."""
    file, position = source.file, source.start
    end = source.size if source.length is None else source.start + source.length
    if end > source.size:
        raise Unreadable(_CUT, AGAIN)
    starts, lengths = array("Q"), array("Q")
    while True:
        if position + 8 > end:
            if source.length is not None and starts:
                return starts, lengths
            raise Unreadable(_CUT, AGAIN)
        file.seek(position)
        group, element, length = struct.unpack("<HHL", file.read(8))
        tag = group << 16 | element
        if tag == _END and starts:
            return starts, lengths
        if tag != _ITEM or length == _UNDEFINED:
            raise Unreadable("compressed pixel data is not made of fragments", AGAIN)
        if position + 8 + length > end:
            raise Unreadable(_CUT, AGAIN)
        if len(starts) > MAX_FRAGMENTS:
            raise Unreadable("pixel data in more than a million fragments", AGAIN)
        starts.append(position + 8)
        lengths.append(length)
        position += 8 + length


def _basic(file: BinaryIO, start: int, length: int) -> list[int]:
    if length == 0 or length % 4 or length > 4 * MAX_FRAGMENTS:
        return []
    file.seek(start)
    return list(struct.unpack(f"<{length // 4}L", file.read(length)))


def _extended(header: Dataset) -> list[tuple[int, int]] | None:
    """Return (offset, length) of every frame out of the extended offset table, if it is whole."""
    lists = []
    for name in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths"):
        value = header.get(name)
        if not isinstance(value, bytes) or not value or len(value) % 8:
            return None
        lists.append(struct.unpack(f"<{len(value) // 8}Q", value))
    if len(lists[0]) != len(lists[1]):
        return None
    return list(zip(*lists, strict=True))


def _cuts(starts: "array[int]", offsets: list[int]) -> list[int] | None:
    """Return the index of each frame's first fragment; None = the table does not fit."""
    cuts = []
    for offset in offsets:
        at = bisect_left(starts, starts[0] + offset)
        if at == len(starts) or starts[at] != starts[0] + offset:
            return None
        cuts.append(at)
    if cuts[0] != 0 or any(a >= b for a, b in pairwise(cuts)):
        return None
    return cuts


def _by_marker(file: BinaryIO, each: list[tuple[int, int]]) -> Places:
    """Cut after every fragment with an end-of-image marker among its last ten bytes."""
    frames: Places = []
    held: list[tuple[int, int]] = []
    for start, length in each:
        held.append((start, length))
        tail = min(length, 10)
        file.seek(start + length - tail)
        if b"\xff\xd9" in file.read(tail):
            frames.append(tuple(held))
            held = []
    if held:
        frames.append(tuple(held))
    return frames
