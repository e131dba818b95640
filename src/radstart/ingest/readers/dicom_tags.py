"""The tags of a row: what of a DICOM header is wanted, and what becomes of it. Reads no file."""

import math
import re
from collections.abc import Callable, Mapping
from datetime import date
from functools import lru_cache
from typing import Any, cast

from radstart.ingest.frames import Tags, Unreadable
from radstart.ingest.readers.dicom_source import AGAIN, MAX_PIXELS

MAX_AGE = 120.0

WANTED: Mapping[int, tuple[str, str]] = {
    0x00080005: ("CS", "charset"),
    0x00080008: ("CS", "image_type"),
    0x00080016: ("UI", "sop_class"),
    0x00080018: ("UI", "image_id"),
    0x00080020: ("DA", "studied"),
    0x00080060: ("CS", "modality"),
    0x00080070: ("LO", "manufacturer"),
    0x00080080: ("LO", "site"),
    0x00081030: ("LO", "study"),
    0x0008103E: ("LO", "description"),
    0x00100020: ("LO", "patient"),
    0x00100030: ("DA", "born"),
    0x00100040: ("CS", "sex"),
    0x00101010: ("AS", "age"),
    0x00180015: ("CS", "body_part"),
    0x00180050: ("DS", "thickness"),
    0x00181030: ("LO", "protocol"),
    0x00181164: ("DS", "imager_spacing"),
    0x00185101: ("CS", "view"),
    0x0020000D: ("UI", "exam"),
    0x0020000E: ("UI", "series"),
    0x00200012: ("IS", "acquisition"),
    0x00200013: ("IS", "instance"),
    0x00200032: ("DS", "position"),
    0x00200037: ("DS", "orientation"),
    0x00200060: ("CS", "laterality"),
    0x00200062: ("CS", "image_laterality"),
    0x00280008: ("IS", "frames"),
    0x00280010: ("US", "rows"),
    0x00280011: ("US", "cols"),
    0x00280030: ("DS", "spacing"),
    0x00280301: ("CS", "burned_in"),
}
"""Tag -> its VR, and the name of its value here."""
NUMBERS = frozenset(name for vr, name in WANTED.values() if vr == "DS")
INTEGERS = frozenset(name for vr, name in WANTED.values() if vr in ("IS", "US"))

Value = str | int | tuple[float, ...]
Values = dict[str, Value]
"""Name of WANTED -> text as it stands (several values joined by a backslash), integer, numbers."""


def frames_of(values: Values) -> int:
    """Return the number of images."""
    return max(1, cast(int, values.get("frames", 1)))


_SEXES = {"M": "M", "F": "F", "O": "O", "MALE": "M", "FEMALE": "F", "OTHER": "O"}
SIDES = {"L": "L", "R": "R", "B": "B"}
_YES_NO = {"YES": "YES", "NO": "NO"}
_TEXTS = (
    "patient",
    "exam",
    "series",
    "image_id",
    "modality",
    "body_part",
    "description",
    "protocol",
    "study",
    "view",
    "manufacturer",
    "site",
    "image_type",
    "sop_class",
)


def row(values: Values, syntax: str, bound: int) -> Tags:
    """Return the tags of a file with pixels.

    Args:
        values: by the names of WANTED.
        syntax: UID of the transfer syntax, "" = not said.
        bound: more images than this cannot be in it.

    Raises:
        Unreadable: more pixels or images claimed than there can be.
    """
    get = cast(Callable[[str, Any], Any], values.get)
    rows, cols = get("rows", 0), get("cols", 0)
    if rows * cols > MAX_PIXELS:
        limit = f"{MAX_PIXELS // 10**6} million"
        raise Unreadable(f"claims more than {limit} pixels in an image", "save it smaller")
    if get("frames", 1) > bound:
        raise Unreadable("claims more images than the file can hold", AGAIN)
    tags: dict[str, Any] = {name: get(name, "").strip() or None for name in _TEXTS}
    spacing, spacing_from = positive_pair(get("spacing", ())), "PixelSpacing"
    if spacing is None:
        spacing, spacing_from = positive_pair(get("imager_spacing", ())), "ImagerPixelSpacing"
    thickness = get("thickness", ())
    side = get("image_laterality", "").strip() or get("laterality", "").strip()
    tags["laterality"] = SIDES.get(side, "")
    tags["sex"] = _SEXES.get(get("sex", "").strip().upper(), "")
    tags["age"] = age_in_years(get("age", ""), get("born", ""), get("studied", ""))
    tags["spacing"] = spacing
    tags["spacing_from"] = spacing_from if spacing else None
    tags["thickness"] = thickness[0] if _finite(thickness, 1) and thickness[0] > 0 else None
    tags["orientation"] = vector(get("orientation", ()), 6)
    tags["position"] = vector(get("position", ()), 3)
    tags["instance"] = values.get("instance")
    tags["acquisition"] = values.get("acquisition")
    tags["burned_in"] = _YES_NO.get(get("burned_in", "").strip().upper(), "")
    tags["syntax"] = syntax or None
    tags["rows"] = rows if rows > 0 else None
    tags["cols"] = cols if cols > 0 else None
    tags["has_pixels"] = True
    return tags


def _finite(numbers: tuple[float, ...], count: int) -> bool:
    return len(numbers) == count and all(map(math.isfinite, numbers))


def vector(numbers: tuple[float, ...], count: int) -> tuple[float, ...] | None:
    """Return the numbers if they are as many, and finite."""
    return numbers if _finite(numbers, count) else None


def positive_pair(numbers: tuple[float, ...]) -> tuple[float, ...] | None:
    """Return the numbers if they are two, finite and above 0."""
    return numbers if _finite(numbers, 2) and numbers[0] > 0 and numbers[1] > 0 else None


_DAYS = {"Y": 365.25, "M": 365.25 / 12, "W": 7.0, "D": 1.0}


@lru_cache(maxsize=4096)
def age_in_years(age: str, born: str = "", studied: str = "") -> float | None:
    """Return years with two decimals, of an age ("041Y", "018M", "010W", "005D"), else of dates.

    None where neither is there, is readable, or lies within 0 and MAX_AGE.
    """
    found = re.fullmatch(r"\s*([0-9]{1,3})\s*([YMWD])\s*", age.strip("\0").upper())
    if found:
        years = int(found[1]) * _DAYS[found[2]] / 365.25
        if years <= MAX_AGE:
            return round(years, 2)
    begin, end = _date(born), _date(studied)
    if begin and end:
        years = (end - begin).days / 365.25
        if 0 <= years <= MAX_AGE:
            return round(years, 2)
    return None


def _date(text: str) -> date | None:
    """Return a date written 19991231, or 1999.12.31 as before DICOM."""
    digits = text.strip("\0 ")
    if re.fullmatch(r"[0-9]{4}\.[0-9]{2}\.[0-9]{2}", digits):
        digits = digits.replace(".", "")
    if not re.fullmatch(r"[0-9]{8}", digits):
        return None
    try:
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        return None


_STORAGE = "1.2.840.10008.5.1.4.1.1."
_NO_IMAGES: tuple[tuple[str, str], ...] = (  # the longest prefix that fits leads
    ("1.2.840.10008.1.3.10", "a DICOMDIR, a list of files: not followed"),
    (_STORAGE + "88.", "no pixels: a structured report"),
    (_STORAGE + "88.59", "no pixels: a selection of key objects"),
    (_STORAGE + "11.", "no pixels: a presentation state"),
    (_STORAGE + "9.", "no pixels: a waveform"),
    (_STORAGE + "4.2", "no pixels: spectra"),
    (_STORAGE + "66", "no pixels: raw data"),
    (_STORAGE + "66.1", "no pixels: a registration"),
    (_STORAGE + "66.2", "no pixels: fiducials"),
    (_STORAGE + "66.3", "no pixels: a registration"),
    (_STORAGE + "66.4", "a derived mask (segmentation)"),
    (_STORAGE + "66.5", "a derived mask (segmentation of surfaces)"),
    (_STORAGE + "66.6", "no pixels: tracts"),
    (_STORAGE + "66.7", "a derived mask (segmentation)"),
    (_STORAGE + "67", "no pixels: a mapping to real-world values"),
    (_STORAGE + "68.", "no pixels: surfaces"),
    (_STORAGE + "78.", "no pixels: measurements"),
    (_STORAGE + "79.1", "no pixels: a report of acuity"),
    (_STORAGE + "104.", "no pixels: a document or model"),
    (_STORAGE + "481.2", "a dose grid"),
    (_STORAGE + "481.3", "no pixels: contours of radiotherapy (RTSTRUCT)"),
    (_STORAGE + "481.4", "no pixels: a record of radiotherapy"),
    (_STORAGE + "481.5", "no pixels: a plan of radiotherapy"),
    (_STORAGE + "481.6", "no pixels: a record of radiotherapy"),
    (_STORAGE + "481.7", "no pixels: a record of radiotherapy"),
    (_STORAGE + "481.8", "no pixels: a plan of radiotherapy"),
    (_STORAGE + "481.9", "no pixels: a record of radiotherapy"),
    ("1.2.840.10008.5.1.4.38.1", "no pixels: a hanging protocol"),
    ("1.2.840.10008.5.1.4.39.1", "no pixels: a palette of colours"),
)


@lru_cache(maxsize=512)
def no_image(sop_class: str) -> str:
    """Return why objects of this class are no images; "" where they are or may be."""
    fitting = [
        (len(start), reason)
        for start, reason in _NO_IMAGES
        if sop_class == start or (sop_class.startswith(start) and start.endswith("."))
    ]
    return max(fitting)[1] if fitting else ""
