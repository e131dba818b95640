"""Stored values of DICOM images, one frame at a time, as pydicom decodes them."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID, ExplicitVRLittleEndian

from radstart.ingest.frames import Unreadable, Values
from radstart.ingest.readers.dicom_codecs import COMPRESSED, check, decoder
from radstart.ingest.readers.dicom_fragments import Places, places
from radstart.ingest.readers.dicom_source import (
    AGAIN,
    DEFLATED,
    Layout,
    Source,
    broken,
    opened,
    quiet,
)

_NATIVE = frozenset({"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", DEFLATED})
_BIG = "1.2.840.10008.1.2.2"
_GREY = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
_COLOURS = frozenset(
    {
        "MONOCHROME1",
        "MONOCHROME2",
        "PALETTE COLOR",
        "RGB",
        "YBR_FULL",
        "YBR_FULL_422",
        "YBR_ICT",
        "YBR_RCT",
    }
)


def stored(path: Path, which: Sequence[int] | None = None) -> Iterator[Values]:
    """Decode frames (None: all), in order: before modality, palette and windows.

    Yields:
        (H, W) or (H, W, 3) values in native byte order, equal to pydicom's `pixel_array`: YBR is
        RGB already.

    Raises:
        Unreadable: what cannot be decoded.
    """
    with opened(path) as source:
        decode = reader(source)
        for index in range(source.layout.frames) if which is None else which:
            yield decode(index)


def reader(source: Source) -> Callable[[int], Values]:
    """Return a function that decodes the frame of an index, after checks of the whole file.

    Raises:
        Unreadable: the transfer syntax or colours are not served, or the pixel data is cut off.
    """
    if source.syntax not in _NATIVE and source.syntax not in COMPRESSED:
        raise Unreadable(
            "its transfer syntax is not supported", "export it uncompressed or as JPEG 2000"
        )
    if source.layout.photometric not in _COLOURS:
        raise Unreadable("its colours are of a kind not supported", "export it as RGB or grey")
    with quiet():
        try:
            if source.syntax in _NATIVE:
                _whole(source)
                return partial(_frame, source, None)
            return partial(_frame, source, places(source))
        except Unreadable:
            raise
        except Exception as error:
            raise broken("the pixel data cannot be found", error) from None


def _frame(source: Source, found: Places | None, index: int) -> Values:
    """Decode one frame."""
    if not 0 <= index < (source.layout.frames if found is None else len(found)):
        raise Unreadable("pixel data holds fewer frames than the header claims", AGAIN)
    with quiet():
        try:
            values = (
                _native(source, index)
                if found is None
                else _compressed(source.syntax, source.layout, _joined(source, found[index]))
            )
            return values.astype(values.dtype.newbyteorder("="), copy=False)
        except Unreadable:
            raise
        except Exception as error:  # decoders raise anything on broken files
            raise broken("the pixel data cannot be decoded", error) from None


def _bits(layout: Layout) -> int:
    """Return the bits of one uncompressed frame."""
    bits = layout.rows * layout.cols * layout.samples * layout.allocated
    return bits // 3 * 2 if layout.photometric == "YBR_FULL_422" else bits


def _whole(source: Source) -> None:
    """Check that uncompressed pixel data is as long as the header claims."""
    if source.length is None:
        raise Unreadable("fragments of compressed pixels in an uncompressed syntax", AGAIN)
    there = min(source.length, source.size - source.start)
    needed = (_bits(source.layout) * source.layout.frames + 7) // 8
    if there < needed:
        raise Unreadable("pixel data is cut off: shorter than the header claims", AGAIN)
    if source.layout.photometric == "YBR_FULL_422" and there >= needed // 2 * 3:
        raise Unreadable("pixel data is longer than its colours ask for", AGAIN)


def _native(source: Source, index: int) -> Values:
    """Return one uncompressed frame, wherever among the bits it begins."""
    layout, bits = source.layout, _bits(source.layout)
    first, last = index * bits, (index + 1) * bits
    a, b = first // 8, (last + 7) // 8
    if source.swapped:
        low, high = a - a % 2, b + b % 2
        source.file.seek(source.start + low)
        words = source.file.read(high - low)
        words += b"\0" * (high - low - len(words))
        data = np.frombuffer(words, ">u2").astype("<u2").tobytes()[a - low : b - low]
    else:
        source.file.seek(source.start + a)
        data = source.file.read(b - a)
    if layout.allocated == 1:
        single = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
        single = single[first % 8 :][:bits]
        if layout.samples == 1:
            return single.reshape(layout.rows, layout.cols)
        raise Unreadable("colours of one bit", "export it as RGB")
    plain = layout.samples == 1 and layout.allocated in (8, 16) and source.keyword == "PixelData"
    if plain and source.syntax != _BIG and layout.photometric in _GREY:
        return _grey(data, layout)
    syntax = ExplicitVRLittleEndian if source.syntax == DEFLATED else UID(source.syntax)
    values, _ = get_decoder(syntax).as_array(data, index=0, **_options(layout, source.keyword))
    return values


def _grey(data: bytes, layout: Layout) -> Values:
    """Return what pydicom does, for the usual case: bits above those stored are no part of it."""
    kind = np.dtype(f"<{'i' if layout.signed else 'u'}{layout.allocated // 8}")
    values: Values = np.frombuffer(data, kind).reshape(layout.rows, layout.cols)
    above = layout.allocated - layout.stored
    low, high = (-1 << layout.stored - 1, 1 << layout.stored - 1) if layout.signed else (
        0, 1 << layout.stored
    )  # fmt: skip
    if above and not low <= values.min() <= values.max() < high:
        values = (values << above) >> above
    return values


def _joined(source: Source, fragments: tuple[tuple[int, int], ...]) -> bytes:
    parts = []
    for start, length in fragments:
        source.file.seek(start)
        parts.append(source.file.read(length))
    return b"".join(parts)


def _compressed(syntax: str, layout: Layout, data: bytes) -> Values:
    """Return one compressed frame: it is given to pydicom as pixel data of one frame."""
    check(syntax, data, layout)
    served, plugin = decoder(syntax)
    if len(data) % 2:
        data += b"\0"
    item = b"\xfe\xff\x00\xe0"
    alone = b"".join((item, b"\0\0\0\0", item, len(data).to_bytes(4, "little"), data))
    values, _ = served.as_array(
        alone, index=0, decoding_plugin=plugin, **_options(layout, "PixelData")
    )
    return values


def _options(layout: Layout, keyword: str) -> dict[str, Any]:
    options: dict[str, Any] = {
        "rows": layout.rows,
        "columns": layout.cols,
        "number_of_frames": 1,
        "samples_per_pixel": layout.samples,
        "photometric_interpretation": layout.photometric,
        "bits_allocated": layout.allocated,
        "pixel_keyword": keyword,
    }
    if keyword == "PixelData":
        options |= {
            "bits_stored": layout.stored,
            "pixel_representation": int(layout.signed),
        }
    if layout.samples > 1:
        options["planar_configuration"] = layout.planar
    return options
