"""What a DICOM header says of its images: the tags of a row, read with pydicom, within bounds.

Nothing here is fast: `dicom_scan` is, and comes here whenever it is not certain.
"""

import os
import re
import stat
import zlib
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.filereader import read_dataset, read_partial
from pydicom.tag import BaseTag

from radstart.ingest.frames import Scan, Unreadable
from radstart.ingest.readers.dicom_bounds import HEADER_BYTES, Bounded
from radstart.ingest.readers.dicom_source import AGAIN, DEFLATED, broken, quiet
from radstart.ingest.readers.dicom_tags import (
    INTEGERS,
    NUMBERS,
    SIDES,
    WANTED,
    Value,
    frames_of,
    no_image,
    positive_pair,
    row,
    vector,
)
from radstart.ingest.readers.dicom_walk import PIXELS, SYNTAX, UNDEFINED

FUNCTIONAL_GROUPS = frozenset({0x52009229, 0x52009230})
DIRECTORY, DIRECTORY_RECORDS = "1.2.840.10008.1.3.10", 0x00041220

_BROKEN = "a broken DICOM header"
_PREAMBLE = "save it as DICOM, with its preamble"
_IMAGES = "none: the images of the exam are other files"


class Header(NamedTuple):
    """A header read by pydicom, up to its pixels.

    Attributes:
        dataset: the elements before the pixels.
        meta: those of the file's own group 2, maybe none.
        pixels: declared length of the pixel data in bytes, 2**32 - 1 = undefined, 0 = none there.
        empty: whether the element of the pixels is there, without any.
        whole: whether every value was there with its declared length.
    """

    dataset: Dataset
    meta: Dataset
    pixels: int
    empty: bool
    whole: bool


def careful(path: Path) -> Scan:
    """Return the tags of a file, read with pydicom up to its pixels.

    pydicom's warnings and log records are silenced: they quote headers. Not for threads.

    Raises:
        Unreadable: no file, no DICOM, no pixels, broken, cut off, or beyond the bounds.
    """
    with quiet():
        try:
            size = _size(path)
            header = read_header(path)
            return _scan(header, size)
        except Unreadable:
            raise
        except OSError as error:
            if error.errno:
                raise Unreadable("cannot be read", "make it readable") from None
            raise broken(_BROKEN, error) from None
        except Exception as error:  # pydicom raises anything on broken files
            raise broken(_BROKEN, error) from None  # its words quote the header


def _size(path: Path) -> int:
    """Return the size in bytes of a regular file that is not empty."""
    try:
        status = os.stat(path)
    except FileNotFoundError as error:
        if os.path.islink(path):
            raise Unreadable("a link that leads nowhere", "mend the link") from error
        raise Unreadable("no such file", "correct the name") from error
    except ValueError as error:  # a zero byte in the name
        raise Unreadable("no such file", "correct the name") from error
    if not stat.S_ISREG(status.st_mode):
        raise Unreadable("not a file", "name the image inside it")
    if status.st_size == 0:
        raise Unreadable("an empty file (0 bytes)", AGAIN)
    return status.st_size


def looks_like_dicom(head: bytes) -> bool:
    """Return whether a file that begins so (132 bytes or more) is plausibly DICOM.

    With preamble, or, without one, with an element of group 2 or 8 first, in any encoding.
    """
    if head[128:132] == b"DICM":
        return True
    if len(head) < 16 or head[:2] not in (b"\2\0", b"\x08\0", b"\0\2", b"\0\x08"):
        return False
    order = "little" if head[0] else "big"
    if int.from_bytes(head[2:4], cast(Any, order)) > 0x3000:
        return False
    if re.fullmatch(rb"[A-Z]{2}", head[4:6]):
        return True
    return order == "little" and int.from_bytes(head[4:8], "little") <= 1024


def read_header(path: Path) -> Header:
    """Read a file with pydicom up to its pixels, within HEADER_BYTES and HEADER_READS.

    Raises:
        Unreadable: not DICOM, or beyond the bounds.
        OSError: the file cannot be opened.
        Exception: whatever pydicom raises on broken files.
    """
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        head = file.read(132)
        if not looks_like_dicom(head):
            raise Unreadable("not a DICOM file", _PREAMBLE)
        start = 132 if head[128:132] == b"DICM" else 0
        stream = cast(BinaryIO, Bounded(file, size))
        stream.seek(start)
        meta = read_dataset(stream, False, True, stop_when=lambda tag, *_: tag >> 16 != 2)
        if text_of(meta, SYNTAX) == DEFLATED:
            return _inflated(file, meta)
        stream.seek(0)
        seen: list[int] = []
        dataset = read_partial(stream, _until_pixels(seen), force=True)
        return _header(dataset, dataset.file_meta, seen)


def _until_pixels(seen: list[int]) -> Callable[[BaseTag, str | None, int], bool]:
    """Return pydicom's `stop_when`; the declared length of the pixels is put into `seen`."""

    def stop(tag: BaseTag, vr: str | None, length: int) -> bool:
        if tag in PIXELS:
            seen.append(length)
            return True
        return False

    return stop


def _header(dataset: Dataset, meta: Dataset, seen: list[int]) -> Header:
    whole = bool(seen) or all(
        len(element.value or b"") == element.length
        for element in dataset.values()
        if isinstance(element, RawDataElement) and element.length != UNDEFINED
    )
    pixels = seen[-1] if seen else 0
    return Header(dataset, meta, pixels, bool(seen) and not pixels, whole)


def _inflated(file: BinaryIO, meta: Dataset) -> Header:
    """Read a deflated data set, inflating no more than is needed to reach its pixels."""
    start, allowed = file.tell(), 2**20
    while True:
        file.seek(start)
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        body = inflate.decompress(file.read(allowed), allowed)
        complete = inflate.eof or (len(body) < allowed and not file.read(1))
        seen: list[int] = []
        try:
            stream = cast(BinaryIO, Bounded(BytesIO(body), len(body)))
            dataset = read_dataset(stream, False, True, stop_when=_until_pixels(seen))
            if seen or complete:
                return _header(dataset, meta, seen)
        except Unreadable:
            raise
        except Exception:  # of what was cut here, or of what is broken
            if complete:
                raise
        if allowed >= HEADER_BYTES:
            raise Unreadable(f"a header of more than {HEADER_BYTES >> 20} MB", AGAIN)
        allowed *= 8


def _scan(header: Header, size: int) -> Scan:
    dataset, meta = header.dataset, header.meta
    sop_class = text_of(dataset, 0x00080016) or text_of(meta, 0x00020002)
    if not sop_class and DIRECTORY_RECORDS in dataset:
        sop_class = DIRECTORY
    if why := no_image(sop_class.strip()):
        raise Unreadable(why, _IMAGES)
    if not header.pixels:
        raise _without_pixels(header)
    values = {
        name: value
        for tag, (_, name) in WANTED.items()
        if (value := _value(dataset, tag, name)) is not None
    }
    syntax = text_of(meta, SYNTAX)
    groups = FUNCTIONAL_GROUPS.intersection(dataset.keys())
    bound = size if syntax != DEFLATED else 1032 * size
    tags = row(values, syntax, bound)
    if not groups:
        return Scan("dicom", frames_of(values), tags)
    each = _groups(dataset, frames_of(values))
    shared = {name: found[0] for name, found in each.items() if _same(found)}
    each = {name: found for name, found in each.items() if name not in shared}
    given = {name: value for name, value in shared.items() if value is not None}
    if "spacing" in given:
        given["spacing_from"] = "PixelSpacing"
    return Scan("dicom", frames_of(values), {**tags, **given}, each, _is_volume(each, given))


def _without_pixels(header: Header) -> Unreadable:
    if header.empty:
        return Unreadable("no pixels: their element is empty", AGAIN)
    if not header.whole:
        return Unreadable("cut off inside of its header", AGAIN)
    if not any(tag >> 16 == 8 for tag in header.dataset.keys()):  # noqa: SIM118
        if len(header.meta):
            return Unreadable(_BROKEN, AGAIN)
        return Unreadable("not a DICOM file", _PREAMBLE)
    return Unreadable("no pixels", _IMAGES)


def _value(dataset: Dataset, tag: int, name: str) -> Value | None:
    """Return an element's value as `row` takes it; None = absent, or of no use."""
    if tag not in dataset:
        return None
    if name in NUMBERS:
        return numbers_of(dataset, tag)
    if name in INTEGERS:
        found = numbers_of(dataset, tag)
        if found is None or len(found) != 1 or not found[0].is_integer():
            return None
        return int(found[0])
    return text_of(dataset, tag)


def _element(dataset: Dataset, tag: int) -> Any:
    """Return pydicom's value; None = absent, empty, or not to be decoded."""
    try:
        return dataset[tag].value if tag in dataset else None
    except Exception:  # an unknown VR, a wrong length: one value less, not one file
        return None


def text_of(dataset: Dataset, tag: int) -> str:
    """Return an element as text, several values joined by a backslash; "" = none."""
    value = _element(dataset, tag)
    parts = [value] if isinstance(value, str) else value
    if not isinstance(parts, Sequence) or not all(isinstance(part, str) for part in parts):
        return ""
    return "\\".join(parts).rstrip("\0 ")


def numbers_of(dataset: Dataset, tag: int) -> tuple[float, ...] | None:
    """Return an element's numbers; None = absent, or one of them is none."""
    value = _element(dataset, tag)
    parts = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    if not parts or not all(isinstance(part, int | float) for part in parts):
        return None
    try:
        return tuple(float(part) for part in parts)
    except OverflowError:
        return None


_PER_FRAME: tuple[tuple[str, int, int, int], ...] = (  # name, sequence, tag, how many numbers
    ("position", 0x00209113, 0x00200032, 3),
    ("orientation", 0x00209116, 0x00200037, 6),
    ("spacing", 0x00289110, 0x00280030, 2),
    ("thickness", 0x00289110, 0x00180050, 1),
    ("slope", 0x00289145, 0x00281053, 1),
    ("intercept", 0x00289145, 0x00281052, 1),
    ("image_type", 0x00189226, 0x00089007, 0),
    ("image_type", 0x00189329, 0x00089007, 0),
    ("laterality", 0x00209071, 0x00209072, 0),
)


def _groups(dataset: Dataset, images: int) -> dict[str, list[Any]]:
    """Return name -> value of every image, or the one of all, of the functional groups.

    Groups of frames that are not as many as the images belong to nobody knows which: left out.
    """
    frames = _items(dataset, 0x52009230)
    shared = _items(dataset, 0x52009229)
    each: dict[str, list[Any]] = {}
    for name, sequence, tag, count in _PER_FRAME:
        common = _member(shared[0], sequence, tag, count) if shared else None
        found = [_member(item, sequence, tag, count) for item in frames if len(frames) == images]
        values = [common if value is None else value for value in found or [None]]
        if any(value is not None for value in values):
            each[name] = values
    return each


def _items(dataset: Dataset, tag: int) -> Sequence[Dataset]:
    value = _element(dataset, tag)
    if isinstance(value, Sequence) and all(isinstance(item, Dataset) for item in value):
        return value
    return ()


def _member(item: Dataset, sequence: int, tag: int, count: int) -> Any:
    inner = _items(item, sequence)
    if not inner:
        return None
    if count == 0:
        text = text_of(inner[0], tag).strip()
        return SIDES.get(text) if tag == 0x00209072 else text or None
    numbers = numbers_of(inner[0], tag) or ()
    if count == 1:
        return numbers[0] if vector(numbers, 1) else None
    return positive_pair(numbers) if count == 2 else vector(numbers, count)


def _same(values: list[Any]) -> bool:
    return all(value == values[0] for value in values)


def _is_volume(each: Mapping[str, Sequence[Any]], shared: Mapping[str, Any]) -> bool:
    """Return whether the images lie one behind the other, in order, none twice."""
    positions, axes = each.get("position", ()), shared.get("orientation")
    if axes is None or len(positions) < 2 or None in positions:
        return False
    r, c = axes[:3], axes[3:]
    normal = (r[1] * c[2] - r[2] * c[1], r[2] * c[0] - r[0] * c[2], r[0] * c[1] - r[1] * c[0])
    along = [sum(n * p for n, p in zip(normal, place, strict=True)) for place in positions]
    steps = [after - before for before, after in pairwise(along)]
    return all(step > 1e-4 for step in steps) or all(step < -1e-4 for step in steps)
