"""The tags of a row out of a DICOM file, several times faster than a full parse.

One read of the head of the file, one walk over its top-level elements. Only what can be taken in
one way is taken: little endian, known VRs, single values, text without escape sequences.
Everything else goes the careful way (`dicom_header.careful`), so that both give the same values or
one is not used.
"""

import os
import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from struct import Struct
from struct import error as StructError  # noqa: N812

from pydicom.charset import python_encoding
from pydicom.datadict import dictionary_VR

from radstart.ingest.frames import Scan, Unreadable
from radstart.ingest.readers.dicom_bounds import HEADER_BYTES
from radstart.ingest.readers.dicom_header import (
    FUNCTIONAL_GROUPS,
    PIXELS,
    SYNTAX,
    UNDEFINED,
    careful,
)
from radstart.ingest.readers.dicom_tags import WANTED, Values, frames_of, no_image, row

__all__ = ["careful", "fast", "scan"]

WINDOW = 64 * 1024
"""Bytes read at once: the head of the file, and again where a long value was skipped."""
WINDOWS = 8
DEPTH = 8
_FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)


class _Unsure(Exception):  # noqa: N818
    """The careful way must decide."""


def scan(path: Path) -> Scan:
    """Return the tags of a DICOM file.

    Raises:
        Unreadable: no file, no DICOM, no pixels, a derived mask, broken, cut off, or claims more
            than there can be.
    """
    found = fast(path)
    return careful(path) if found is None else found


def fast(path: Path) -> Scan | None:
    """Return what `careful` returns, or None: not certain."""
    try:
        size = os.stat(path).st_size
        file = os.open(path, _FLAGS)
        try:
            syntax, found = _elements(file)
        finally:
            os.close(file)
        values = _decoded(found)
        tags = row(values, syntax, size)
    except (_Unsure, Unreadable, StructError, ValueError, LookupError, OSError):
        return None
    sop_class = tags["sop_class"]
    if not sop_class or no_image(str(sop_class)):
        return None
    return Scan("dicom", frames_of(values), tags)


def _little(tag: int) -> int:
    """Return a tag as its four bytes read as one little-endian number."""
    return (tag & 0xFFFF) << 16 | tag >> 16


def _code(vr: str) -> int:
    return int.from_bytes(vr.encode(), "little")


_SHORT_VRS = "AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US"
_LONG_VRS = "OB OD OF OL OV OW SQ SV UC UN UR UT UV"
_SHORT = frozenset(map(_code, _SHORT_VRS.split()))
_LONG = frozenset(map(_code, _LONG_VRS.split()))
_SQ = _code("SQ")
_PIXEL_VRS = frozenset(map(_code, ["OB", "OW", "OF", "OD"]))
_NAMES = {_little(tag): (vr, name) for tag, (vr, name) in WANTED.items()}
_STOP = 0  # in place of a VR: what ends the walk
_EXPECTED = {
    **{_little(tag): _code(vr) for tag, (vr, _) in WANTED.items()},
    **{_little(tag): _STOP for tag in PIXELS | FUNCTIONAL_GROUPS | {0xFFFEE00D}},
}
_STOPS = frozenset(map(_little, PIXELS))
_SYNTAX, _META_LENGTH = _little(SYNTAX), _little(0x00020000)
_IMPLICIT, _EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
_ENCAPSULATED = re.compile(r"1\.2\.840\.10008\.1\.2\.(4\.[0-9]+|5)")
_UI, _UL = _code("UI"), _code("UL")
_ITEM, _ITEM_END, _SEQUENCE_END = map(_little, (0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD))
_element = Struct("<IHH").unpack_from
_tag_length = Struct("<II").unpack_from
_number = Struct("<I").unpack_from

Raw = dict[int, bytes]


def _elements(file: int) -> tuple[str, Raw]:
    """Return the transfer syntax, and the bytes of every wanted element before the pixels."""
    data = os.read(file, WINDOW)
    if data[128:132] != b"DICM":
        raise _Unsure
    syntax, at = _meta(data)
    explicit = syntax != _IMPLICIT
    if explicit and syntax != _EXPLICIT and not _ENCAPSULATED.fullmatch(syntax):
        raise _Unsure
    group, first, second = data[at] | data[at + 1] << 8, data[at + 4], data[at + 5]
    letters = 0x40 < first < 0x5B and 0x40 < second < 0x5B  # how pydicom tells the two apart
    if group < 8 or letters != explicit:
        raise _Unsure
    walk = _explicit if explicit else _implicit
    found: Raw = {}
    base = 0
    for _ in range(WINDOWS):
        at, done = walk(data, at, found)
        if base + at > HEADER_BYTES // 2:
            raise _Unsure
        if done:
            return syntax, found
        base += at
        os.lseek(file, base, os.SEEK_SET)
        data, at = os.read(file, WINDOW), 0
    raise _Unsure


def _meta(data: bytes) -> tuple[str, int]:
    """Return the transfer syntax, and where group 2 ends."""
    if _element(data, 132) != (_META_LENGTH, _UL, 4):
        raise _Unsure
    at, syntax = 144, ""
    while True:
        tag, vr, length = _element(data, at)
        if tag & 0xFFFF != 2:
            return syntax, at
        start = at + 8
        if vr in _LONG:
            length, start = _number(data, start)[0], start + 4
        elif vr not in _SHORT or tag == _META_LENGTH:
            raise _Unsure
        at = start + length
        if tag == _SYNTAX:
            if syntax or vr != _UI:
                raise _Unsure
            syntax = data[start:at].decode("ascii").rstrip("\0 ")


def _explicit(data: bytes, at: int, found: Raw) -> tuple[int, bool]:
    """Walk over elements with VRs.

    Returns:
        Where the walk has to go on with other bytes, False; or where the pixels begin, True.
    """
    size = len(data)
    element, number, expected, short, long = _element, _number, _EXPECTED.get, _SHORT, _LONG
    begin = at
    try:
        while True:
            tag, vr, length = element(data, at)
            if vr in short:
                start = at + 8
            elif vr in long:
                length, start = number(data, at + 8)[0], at + 12
            else:
                raise _Unsure
            end = start + length
            wanted = expected(tag)
            if wanted is not None:
                if wanted == _STOP and tag in _STOPS and vr in _PIXEL_VRS and length:
                    return at, True
                if wanted != vr or tag in found:
                    raise _Unsure
                if end > size:
                    break
                found[tag] = data[start:end]
            elif length == UNDEFINED and vr in long:
                if vr != _SQ:
                    raise _Unsure
                end = _past_sequence(data, start, _explicit_item, 0)
            at = end
    except StructError:  # the window ends inside of an element
        pass
    if at == begin:
        raise _Unsure
    return at, False


def _implicit(data: bytes, at: int, found: Raw) -> tuple[int, bool]:
    """Walk over elements without VRs; returns as `_explicit` does."""
    size = len(data)
    element, expected = _tag_length, _EXPECTED.get
    begin = at
    try:
        while True:
            tag, length = element(data, at)
            end = at + 8 + length
            wanted = expected(tag)
            if wanted is not None:
                if tag in _STOPS and length:
                    return at, True
                if wanted == _STOP or tag in found:
                    raise _Unsure
                if end > size:
                    break
                found[tag] = data[at + 8 : end]
            elif length == UNDEFINED:
                _must_be_sequence(tag)
                end = _past_sequence(data, at + 8, _implicit_item, 0)
            at = end
    except StructError:
        pass
    if at == begin:
        raise _Unsure
    return at, False


def _must_be_sequence(tag: int) -> None:
    try:
        vr = dictionary_VR((tag & 0xFFFF) << 16 | tag >> 16)
    except KeyError as error:
        raise _Unsure from error
    if vr != "SQ":
        raise _Unsure


Step = Callable[[bytes, int, int], int]


def _past_sequence(data: bytes, at: int, step: Step, depth: int) -> int:
    """Return where a sequence of undefined length ends, every item of which fits exactly."""
    if depth > DEPTH:
        raise _Unsure
    while True:
        tag, length = _tag_length(data, at)
        at += 8
        if tag == _SEQUENCE_END:
            return at
        if tag != _ITEM:
            raise _Unsure
        if length == UNDEFINED:
            while _number(data, at)[0] != _ITEM_END:
                at = step(data, at, depth)
            at += 8
        else:
            end = at + length
            while at < end:
                at = step(data, at, depth)
            if at != end:
                raise _Unsure


def _explicit_item(data: bytes, at: int, depth: int) -> int:
    """Return where an element with a VR, inside of an item, ends."""
    tag, vr, length = _element(data, at)
    start = at + 8
    if vr in _LONG:
        length, start = _number(data, start)[0], start + 4
        if length == UNDEFINED:
            if vr != _SQ:
                raise _Unsure
            return _past_sequence(data, start, _explicit_item, depth + 1)
    elif vr not in _SHORT:
        raise _Unsure
    if tag in _ITEM_TAGS:
        raise _Unsure
    return int(start + length)


def _implicit_item(data: bytes, at: int, depth: int) -> int:
    """Return where an element without VR, inside of an item, ends."""
    tag, length = _tag_length(data, at)
    if tag in _ITEM_TAGS:
        raise _Unsure
    if length == UNDEFINED:
        _must_be_sequence(tag)
        return _past_sequence(data, at + 8, _implicit_item, depth + 1)
    return int(at + 8 + length)


_CHARSET = _little(0x00080005)
_ITEM_TAGS = frozenset({_ITEM, _ITEM_END, _SEQUENCE_END, _CHARSET})


@lru_cache(maxsize=64)
def _encoding(charset: bytes) -> str:
    """Return Python's name of what text without escape sequences is in, as pydicom takes it."""
    terms = charset.decode("latin-1").rstrip("\0 ").split("\\")
    if not python_encoding.keys() >= set(terms):
        raise _Unsure
    return python_encoding[terms[0]]


def _decoded(found: Raw) -> Values:
    """Return the values by name.

    Raises:
        _Unsure: a value that the standard does not allow, or that pydicom may read otherwise.
        ValueError: the same.
    """
    encoding = _encoding(found.get(_CHARSET, b""))
    values: Values = {}
    for tag, data in found.items():
        if not data:
            continue
        vr, name = _NAMES[tag]
        if vr == "LO":
            if b"\\" in data or b"\x1b" in data:
                raise _Unsure
            values[name] = data.decode(encoding).rstrip("\0 ")
        elif vr == "DS":
            values[name] = tuple(map(float, data.rstrip(b"\0 ").split(b"\\")))
        elif vr == "IS":
            number = int(data.rstrip(b"\0 "))
            if not -(2**31) <= number < 2**31:
                raise _Unsure
            values[name] = number
        elif vr == "US":
            if len(data) != 2:
                raise _Unsure
            values[name] = data[0] | data[1] << 8
        else:
            text = data.decode("latin-1").rstrip("\0 ")
            if vr == "UI" and text and not text.replace(".", "").isdecimal():
                raise _Unsure
            values[name] = text
    return values
