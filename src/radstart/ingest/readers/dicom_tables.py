"""What a header says of stored values: rescale and tables, units, windows, padding, inversion.

A frame's own functional groups go before shared ones, those before the header itself. What a
header says of real-world values and overlays is not applied, and said so in the steps.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from radstart.ingest.frames import Table, Values, Window
from radstart.ingest.readers.dicom_source import Layout
from radstart.ingest.readers.dicom_values import (
    as_signed,
    items,
    number,
    numbers,
    several,
    table_of,
    text_of,
    whole,
)

_NAMES = {
    "BRAIN": "brain",
    "HEAD": "brain",
    "CEREBRUM": "brain",
    "SUBDURAL": "subdural",
    "BONE": "bone",
    "BONES": "bone",
    "OSTEO": "bone",
    "LUNG": "lung",
    "LUNGS": "lung",
    "MEDIASTINUM": "mediastinum",
    "MEDIAST": "mediastinum",
    "ABDOMEN": "abdomen",
    "SOFT TISSUE": "soft tissue",
    "SOFT_TISSUE": "soft tissue",
    "LIVER": "liver",
    "SPINE": "spine",
    "ANGIO": "angio",
    "STROKE": "stroke",
    "NORMAL": "normal",
    "HARDER": "harder",
    "SOFTER": "softer",
}
"""Explanations of windows that are terms, not text somebody typed: only these are kept."""


@dataclass(frozen=True, eq=False)
class Rescale:
    """From stored to modality values: a table, or slope and intercept; both None = as stored."""

    table: Table | None
    line: tuple[float, float] | None
    unit: str
    steps: tuple[str, ...]


def rescale_of(header: Dataset, index: int, layout: Layout, big: bool) -> Rescale:
    """Return how the stored values of a frame become modality values."""
    steps: list[str] = []
    for item in items(header, "ModalityLUTSequence")[:1]:
        table = table_of(item, layout.signed, big)
        if table is not None:
            unit = "HU" if text_of(item, "ModalityLUTType") == "HU" else ""
            return Rescale(table, None, unit, ("modality table",))
        steps.append("modality table that does not fit left out")
    for group in _groups(header, index, "PixelValueTransformationSequence"):
        slope, intercept = number(group, "RescaleSlope"), number(group, "RescaleIntercept")
        if slope is None and intercept is None:
            continue
        if slope == 0:
            return Rescale(None, None, "", (*steps, "rescale of slope 0 left out"))
        slope, intercept = 1.0 if slope is None else slope, intercept or 0.0
        kind = text_of(group, "RescaleType") or text_of(header, "RescaleType")
        ct = text_of(header, "Modality") == "CT" and not kind
        if (slope, intercept) != (1, 0):
            steps.append(f"rescaled by {slope:g} and {intercept:+g}")
        return Rescale(None, (slope, intercept), "HU" if kind == "HU" or ct else "", tuple(steps))
    return Rescale(None, None, "", tuple(steps))


def _groups(header: Dataset, index: int, name: str) -> Iterator[Dataset]:
    """Yield what may say something of a frame, the nearest to it first."""
    each = items(header, "PerFrameFunctionalGroupsSequence")[index : index + 1]
    for group in (*each, *items(header, "SharedFunctionalGroupsSequence")[:1]):
        yield from items(group, name)[:1]
    yield header


def rescaled(
    stored: Values, rescale: Rescale, layout: Layout
) -> tuple[Values, tuple[float, float]]:
    """Return modality values, and the lowest and highest that the stored bits can hold."""
    if stored.dtype.kind == "f":
        return _rescaled_floats(stored, rescale)
    low, high = _range(stored, layout)
    if rescale.table is not None:
        table = rescale.table
        entry = np.min_scalar_type(2**table.bits - 1)
        at = np.clip(stored.astype(np.int64) - table.first, 0, len(table.values) - 1)
        return table.values.astype(entry)[at], (0.0, float(2**table.bits - 1))
    slope, intercept = rescale.line or (1.0, 0.0)
    ends = sorted((low * slope + intercept, high * slope + intercept))
    limits = (float(ends[0]), float(ends[1]))
    if (slope, intercept) == (1, 0):
        return stored, limits
    if slope.is_integer() and intercept.is_integer() and max(map(abs, limits)) < 2**62:
        kind = np.promote_types(np.min_scalar_type(int(limits[0])), np.int16)
        kind = np.promote_types(kind, np.min_scalar_type(-1 - int(limits[1])))
        if slope == 1:
            return np.add(stored, kind.type(intercept), dtype=kind, casting="unsafe"), limits
        values = stored.astype(kind)
        np.multiply(values, int(slope), out=values)
        np.add(values, int(intercept), out=values)
        return values, limits
    if stored.dtype.itemsize > 2:
        return (stored.astype(np.float64) * slope + intercept).astype(np.float32), limits
    values = stored.astype(np.float32)
    np.multiply(values, np.float32(slope), out=values)
    np.add(values, np.float32(intercept), out=values)
    return values, limits


def _rescaled_floats(stored: Values, rescale: Rescale) -> tuple[Values, tuple[float, float]]:
    """Return float32 values and their own range: floating-point bits have none that means much."""
    slope, intercept = rescale.line or (1.0, 0.0)
    values = stored
    if (slope, intercept) != (1, 0):
        values = stored.astype(np.float64) * slope + intercept
    with np.errstate(over="ignore"):  # beyond float32 is infinite: no number, not shown
        values = values.astype(np.float32, copy=False)
    finite = values[np.isfinite(values)]
    limits = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    return values, limits


def _range(stored: Values, layout: Layout) -> tuple[int, int]:
    """Return what the stored bits can hold; what the allocated ones can, where values exceed it.

    A compressed stream has a depth of its own, and may hold more than its header says.
    """

    def ends(bits: int) -> tuple[int, int]:
        half = 1 << (bits - 1)
        return (-half, half - 1) if layout.signed else (0, 2 * half - 1)

    low, high = ends(layout.stored)
    if layout.stored < layout.allocated and (stored.min() < low or stored.max() > high):
        return ends(layout.allocated)
    return low, high


def windows_of(
    header: Dataset, index: int, floats: bool
) -> tuple[tuple[Window, ...], tuple[str, ...]]:
    """Return the windows of a frame in their order, and what was left out of them.

    `floats`: of floating-point pixels, for which LINEAR, whose formula steps by whole numbers, is
    taken as LINEAR_EXACT.
    """
    for group in _groups(header, index, "FrameVOILUTSequence"):
        centers, widths = numbers(group, "WindowCenter"), numbers(group, "WindowWidth")
        if not centers or not widths:
            continue
        function = text_of(group, "VOILUTFunction")
        function = function if function in ("LINEAR_EXACT", "SIGMOID") else "LINEAR"
        said = several(group, "WindowCenterWidthExplanation")
        windows: list[Window] = []
        left = len(centers) != len(widths)
        for at, (center, width) in enumerate(zip(centers, widths, strict=False)):
            if not (math.isfinite(center) and math.isfinite(width) and width > 0):
                left = True
                continue
            narrow = function == "LINEAR" and (floats or width < 1)  # its formula needs 1
            name = _name(said[at]) if at < len(said) else ""
            windows.append(Window(name, center, width, "LINEAR_EXACT" if narrow else function))
        return tuple(windows), ("windows that show nothing left out",) if left else ()
    return (), ()


def _name(explanation: Any) -> str:
    return _NAMES.get(str(explanation).strip().upper(), "")


def voi_tables(
    header: Dataset, signed: bool, big: bool
) -> tuple[tuple[Table, ...], tuple[str, ...]]:
    """Return the VOI look-up tables in their order, and what was left out of them."""
    found = [table_of(item, signed, big) for item in items(header, "VOILUTSequence")]
    tables = tuple(table for table in found if table is not None)
    fewer = len(tables) < len(found)
    return tables, ("VOI tables that do not fit left out",) if fewer else ()


def padding_of(
    header: Dataset, stored: Values, layout: Layout
) -> tuple[NDArray[np.bool_] | None, tuple[str, ...]]:
    """Return where stored values are padding (None = nowhere), and what was left out.

    The value's VR may be that of the other sign: it is taken as the pixels are.
    """
    if stored.dtype.kind == "f":
        return _float_padding(header, stored)
    value, limit = whole(header, "PixelPaddingValue"), whole(header, "PixelPaddingRangeLimit")
    if value is None:
        return None, ()
    bits = max(layout.allocated, 16)
    value = as_signed(value, layout.signed, bits)
    limit = value if limit is None else as_signed(limit, layout.signed, bits)
    low, high = min(value, limit), max(value, limit)
    least, most = _range(stored, layout)
    if high < least or low > most:
        return None, ("padding value that no pixel can hold left out",)
    mask = stored == value if low == high else (stored >= low) & (stored <= high)
    return (mask, ()) if mask.any() else (None, ())


def _float_padding(
    header: Dataset, stored: Values
) -> tuple[NDArray[np.bool_] | None, tuple[str, ...]]:
    kind = "Double" if stored.dtype == np.float64 else ""
    value = number(header, f"{kind}FloatPixelPaddingValue")
    limit = number(header, f"{kind}FloatPixelPaddingRangeLimit")
    if value is None:
        return None, ()
    limit = value if limit is None else limit
    mask = (stored >= min(value, limit)) & (stored <= max(value, limit))
    return (mask, ()) if mask.any() else (None, ())


def inverted(header: Dataset, layout: Layout) -> bool:
    """Return whether low values are shown bright."""
    inverse = text_of(header, "PresentationLUTShape") == "INVERSE"
    return layout.photometric == "MONOCHROME1" or inverse


def ignored(header: Dataset) -> tuple[str, ...]:
    """Return steps that say what the header holds and nobody applies."""
    steps = []
    if any(tag.group in range(0x6000, 0x6020, 2) for tag in header.keys()):  # noqa: SIM118
        steps.append("overlays left out")
    if "RealWorldValueMappingSequence" in header:
        steps.append("real-world values left out")
    return tuple(steps)
