"""One walk over the top-level elements of a DICOM header, where it can be taken in one way only.

Little endian, known VRs, every wanted element at most once. Whatever else there is raises `Unsure`:
pydicom must decide.
"""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from struct import Struct
from struct import error as StructError  # noqa: N812
from typing import NamedTuple

from pydicom.datadict import dictionary_VR

from radstart.ingest.readers.dicom_bounds import HEADER_BYTES

WINDOW = 64 * 1024
"""Bytes read at once: the head of the file, and again where a long value was skipped."""
WINDOWS = 8
DEPTH = 8
SYNTAX, CHARSET = 0x00020010, 0x00080005
PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
UNDEFINED = 2**32 - 1
IMPLICIT = "1.2.840.10008.1.2"


class Unsure(Exception):  # noqa: N818
    """pydicom must decide."""


UNSURE = (Unsure, StructError, LookupError, ValueError, OSError)
"""What a walk may raise, and the decoding of what it found."""


class Walked(NamedTuple):
    """What was found on the way to the pixels.

    Attributes:
        syntax: transfer syntax UID.
        found: tag, as `little` gives it -> bytes of every wanted element; of overlays, none.
        pixels: where their element begins.
    """

    syntax: str
    found: dict[int, bytes]
    pixels: int


def little(tag: int) -> int:
    """Return a tag as its four bytes read as one little-endian number, or the other way round."""
    return (tag & 0xFFFF) << 16 | tag >> 16


def expected(vrs: Mapping[int, str], unsure: Iterable[int]) -> "Expected":
    """Return what `walk` is to look for: tags with their VRs, and tags that make it unsure.

    VRs are those of pydicom's dictionary, "US or SS" among them.
    """
    return {
        **{little(tag): _code(vr) for tag, vr in vrs.items()},
        **{little(tag): _STOP for tag in (*PIXELS, *unsure, 0xFFFEE00D)},
    }


def _code(vr: str) -> int:
    return int.from_bytes(vr.encode(), "little")


_SHORT_VRS = "AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US"
_LONG_VRS = "OB OD OF OL OV OW SQ SV UC UN UR UT UV"
_SHORT = frozenset(map(_code, _SHORT_VRS.split()))
_LONG = frozenset(map(_code, _LONG_VRS.split()))
_SQ = _code("SQ")
_PIXEL_VRS = frozenset(map(_code, ["OB", "OW", "OF", "OD"]))
_STOP = 0  # in place of a VR: what ends the walk
_ITEM, _ITEM_END, _SEQUENCE_END = map(little, (0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD))
_ITEM_TAGS = frozenset({_ITEM, _ITEM_END, _SEQUENCE_END, little(CHARSET)})
_STOPS = frozenset(map(little, PIXELS))
_OVERLAY, _OVERLAYS = 0x6000, 0xFFE1  # groups 6000 to 601E
_SYNTAX, _META_LENGTH = little(SYNTAX), little(0x00020000)
_EXPLICIT = "1.2.840.10008.1.2.1"
_ENCAPSULATED = re.compile(r"1\.2\.840\.10008\.1\.2\.(4\.[0-9]+|5)")
_UI, _UL, _US_OR_SS = map(_code, ("UI", "UL", "US or SS"))
_EITHER = frozenset(map(_code, ("US", "SS")))
_element = Struct("<IHH").unpack_from
_tag_length = Struct("<II").unpack_from
_number = Struct("<I").unpack_from

Expected = Mapping[int, int]


def walk(file: int, known: Expected) -> Walked:
    """Walk over a file, by its descriptor, up to its pixels.

    Raises:
        Unsure: it can be read in more than one way.
        StructError, LookupError, ValueError, OSError: it is cut off, or nothing of the kind.
    """
    data = os.read(file, WINDOW)
    if data[128:132] != b"DICM":
        raise Unsure
    syntax, at = _meta(data)
    explicit = syntax != IMPLICIT
    if explicit and syntax != _EXPLICIT and not _ENCAPSULATED.fullmatch(syntax):
        raise Unsure
    group, first, second = data[at] | data[at + 1] << 8, data[at + 4], data[at + 5]
    letters = 0x40 < first < 0x5B and 0x40 < second < 0x5B  # how pydicom tells the two apart
    if group < 8 or letters != explicit:
        raise Unsure
    steps = _explicit if explicit else _implicit
    found: dict[int, bytes] = {}
    base = 0
    for _ in range(WINDOWS):
        at, done = steps(data, at, known, found)
        if base + at > HEADER_BYTES // 2:
            raise Unsure
        if done:
            return Walked(syntax, found, base + at)
        base += at
        os.lseek(file, base, os.SEEK_SET)
        data, at = os.read(file, WINDOW), 0
    raise Unsure


def _meta(data: bytes) -> tuple[str, int]:
    """Return the transfer syntax, and where group 2 ends."""
    if _element(data, 132) != (_META_LENGTH, _UL, 4):
        raise Unsure
    at, syntax = 144, ""
    while True:
        tag, vr, length = _element(data, at)
        if tag & 0xFFFF != 2:
            return syntax, at
        start = at + 8
        if vr in _LONG:
            length, start = _number(data, start)[0], start + 4
        elif vr not in _SHORT or tag == _META_LENGTH:
            raise Unsure
        at = start + length
        if tag == _SYNTAX:
            if syntax or vr != _UI:
                raise Unsure
            syntax = data[start:at].decode("ascii").rstrip("\0 ")


def _explicit(data: bytes, at: int, known: Expected, found: dict[int, bytes]) -> tuple[int, bool]:
    """Walk over elements with VRs.

    Returns:
        Where the walk has to go on with other bytes, False; or where the pixels begin, True.
    """
    size = len(data)
    element, number, expected, short, long = _element, _number, known.get, _SHORT, _LONG
    begin = at
    try:
        while True:
            tag, vr, length = element(data, at)
            if vr in short:
                start = at + 8
            elif vr in long:
                length, start = number(data, at + 8)[0], at + 12
            else:
                raise Unsure
            end = start + length
            wanted = expected(tag)
            if wanted is not None:
                if wanted == _STOP and tag in _STOPS and vr in _PIXEL_VRS and length:
                    return at, True
                if tag in found or (wanted != vr and (wanted != _US_OR_SS or vr not in _EITHER)):
                    raise Unsure
                if end > size:
                    break
                found[tag] = data[start:end]
            elif length == UNDEFINED and vr in long:
                if vr != _SQ:
                    raise Unsure
                end = _past_sequence(data, start, _explicit_item, 0)
                if tag & _OVERLAYS == _OVERLAY:
                    raise Unsure
            elif tag & _OVERLAYS == _OVERLAY:
                found[tag] = b""
            at = end
    except StructError:  # the window ends inside of an element
        pass
    if at == begin:
        raise Unsure
    return at, False


def _implicit(data: bytes, at: int, known: Expected, found: dict[int, bytes]) -> tuple[int, bool]:
    """Walk over elements without VRs; returns as `_explicit` does."""
    size = len(data)
    element, expected = _tag_length, known.get
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
                    raise Unsure
                if end > size:
                    break
                found[tag] = data[at + 8 : end]
            elif length == UNDEFINED:
                _must_be_sequence(tag)
                end = _past_sequence(data, at + 8, _implicit_item, 0)
                if tag & _OVERLAYS == _OVERLAY:
                    raise Unsure
            elif tag & _OVERLAYS == _OVERLAY:
                found[tag] = b""
            at = end
    except StructError:
        pass
    if at == begin:
        raise Unsure
    return at, False


def _must_be_sequence(tag: int) -> None:
    try:
        vr = dictionary_VR((tag & 0xFFFF) << 16 | tag >> 16)
    except KeyError as error:
        raise Unsure from error
    if vr != "SQ":
        raise Unsure


Step = Callable[[bytes, int, int], int]


def _past_sequence(data: bytes, at: int, step: Step, depth: int) -> int:
    """Return where a sequence of undefined length ends, every item of which fits exactly."""
    if depth > DEPTH:
        raise Unsure
    while True:
        tag, length = _tag_length(data, at)
        at += 8
        if tag == _SEQUENCE_END:
            return at
        if tag != _ITEM:
            raise Unsure
        if length == UNDEFINED:
            while _number(data, at)[0] != _ITEM_END:
                at = step(data, at, depth)
            at += 8
        else:
            end = at + length
            while at < end:
                at = step(data, at, depth)
            if at != end:
                raise Unsure


def _explicit_item(data: bytes, at: int, depth: int) -> int:
    """Return where an element with a VR, inside of an item, ends."""
    tag, vr, length = _element(data, at)
    start = at + 8
    if vr in _LONG:
        length, start = _number(data, start)[0], start + 4
        if length == UNDEFINED:
            if vr != _SQ:
                raise Unsure
            return _past_sequence(data, start, _explicit_item, depth + 1)
    elif vr not in _SHORT:
        raise Unsure
    if tag in _ITEM_TAGS:
        raise Unsure
    return int(start + length)


def _implicit_item(data: bytes, at: int, depth: int) -> int:
    """Return where an element without VR, inside of an item, ends."""
    tag, length = _tag_length(data, at)
    if tag in _ITEM_TAGS:
        raise Unsure
    if length == UNDEFINED:
        _must_be_sequence(tag)
        return _past_sequence(data, at + 8, _implicit_item, depth + 1)
    return int(at + 8 + length)
