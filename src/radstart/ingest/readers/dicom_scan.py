"""The tags of a row out of a DICOM file, several times faster than a full parse.

One read of the head of the file, one walk over its top-level elements. Only what can be taken in
one way is taken: little endian, known VRs, single values, text without escape sequences.
Everything else goes the careful way (`dicom_header.careful`), so that both give the same values or
one is not used.
"""

import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from pydicom.charset import python_encoding

from radstart.ingest.frames import Scan, Unreadable
from radstart.ingest.readers.dicom_header import FUNCTIONAL_GROUPS, careful
from radstart.ingest.readers.dicom_tags import WANTED, Values, frames_of, no_image, row
from radstart.ingest.readers.dicom_walk import CHARSET, UNSURE, Unsure, expected, little, walk

__all__ = ["careful", "fast", "scan"]

_FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)


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
            syntax, found, _ = walk(file, _EXPECTED)
        finally:
            os.close(file)
        values = _decoded(found)
        tags = row(values, syntax, size)
    except (Unreadable, *UNSURE):
        return None
    sop_class = tags["sop_class"]
    if not sop_class or no_image(str(sop_class)):
        return None
    return Scan("dicom", frames_of(values), tags)


_NAMES = {little(tag): (vr, name) for tag, (vr, name) in WANTED.items()}
_EXPECTED = expected({tag: vr for tag, (vr, _) in WANTED.items()}, FUNCTIONAL_GROUPS)
_CHARSET = little(CHARSET)


@lru_cache(maxsize=64)
def _encoding(charset: bytes) -> str:
    """Return Python's name of what text without escape sequences is in, as pydicom takes it."""
    terms = charset.decode("latin-1").rstrip("\0 ").split("\\")
    if not python_encoding.keys() >= set(terms):
        raise Unsure
    return python_encoding[terms[0]]


def _decoded(found: Mapping[int, bytes]) -> Values:
    """Return the values by name.

    Raises:
        Unsure: a value that the standard does not allow, or that pydicom may read otherwise.
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
                raise Unsure
            values[name] = data.decode(encoding).rstrip("\0 ")
        elif vr == "DS":
            values[name] = tuple(map(float, data.rstrip(b"\0 ").split(b"\\")))
        elif vr == "IS":
            number = int(data.rstrip(b"\0 "))
            if not -(2**31) <= number < 2**31:
                raise Unsure
            values[name] = number
        elif vr == "US":
            if len(data) != 2:
                raise Unsure
            values[name] = data[0] | data[1] << 8
        else:
            text = data.decode("latin-1").rstrip("\0 ")
            if vr == "UI" and text and not text.replace(".", "").isdecimal():
                raise Unsure
            values[name] = text
    return values
