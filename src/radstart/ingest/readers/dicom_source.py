"""A DICOM file, opened: its header, where its pixels lie, and what it claims they are.

Files are not trusted: what is claimed is checked before anything is decoded or inflated, and
whatever goes wrong inside pydicom is a reason in fixed words. Exceptions of others may quote a
header: they are dropped, not chained.
"""

import io
import logging
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, cast

from pydicom import Dataset, FileMetaDataset
from pydicom.charset import convert_encodings
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.filereader import _read_file_meta_info, read_dataset, read_partial, read_preamble
from pydicom.tag import BaseTag
from pydicom.uid import UID

from radstart.ingest.frames import Unreadable
from radstart.ingest.readers.dicom_bounds import Bounded
from radstart.ingest.readers.dicom_walk import (
    CHARSET,
    IMPLICIT,
    UNSURE,
    Unsure,
    expected,
    little,
    walk,
)


def _tag(keyword: str) -> int:
    tag = tag_for_keyword(keyword)
    assert tag is not None, keyword
    return tag


MAX_PIXELS = 100_000_000  # samples of one frame
MAX_INFLATED = 2**29  # bytes of a deflated data set
_UNDEFINED = 0xFFFFFFFF
_NARROW = frozenset((little(_tag("BitsAllocated")), bits) for bits in (b"\x08\0", b"\x10\0"))
_KEYWORDS = {
    0x7FE00008: "FloatPixelData",
    0x7FE00009: "DoubleFloatPixelData",
    0x7FE00010: "PixelData",
}
DEFLATED = "1.2.840.10008.1.2.1.99"
AGAIN = "export it again"
_ASKED = (
    "SpecificCharacterSet Modality SamplesPerPixel PhotometricInterpretation PlanarConfiguration "
    "NumberOfFrames Rows Columns BitsAllocated BitsStored PixelRepresentation PixelPaddingValue "
    "PixelPaddingRangeLimit WindowCenter WindowWidth WindowCenterWidthExplanation VOILUTFunction "
    "RescaleIntercept RescaleSlope RescaleType PresentationLUTShape"
)
_VRS = {tag: dictionary_VR(tag) for tag in map(_tag, _ASKED.split())}
_LONGER = (
    "ModalityLUTSequence VOILUTSequence SharedFunctionalGroupsSequence "
    "PerFrameFunctionalGroupsSequence RealWorldValueMappingSequence FloatPixelPaddingValue "
    "FloatPixelPaddingRangeLimit DoubleFloatPixelPaddingValue DoubleFloatPixelPaddingRangeLimit "
    "RedPaletteColorLookupTableDescriptor ExtendedOffsetTable ExtendedOffsetTableLengths"
)
_KNOWN = expected(_VRS, map(_tag, _LONGER.split()))
"""What is asked of a header, and what only pydicom reads."""


@dataclass(frozen=True)
class Layout:
    """What a header claims of its pixels; sizes are already checked against the limit.

    Attributes:
        rows, cols, samples, frames: all at least 1.
        allocated, stored: bits of a sample.
        signed: whether samples are two's complement.
        planar: planar configuration, 0 or 1; None = not said.
        photometric: interpretation, e.g. "MONOCHROME2".
    """

    rows: int
    cols: int
    samples: int
    frames: int
    allocated: int
    stored: int
    signed: bool
    planar: int | None
    photometric: str


@dataclass(frozen=True, eq=False)
class Source:
    """An open file.

    Attributes:
        header: everything before the pixels.
        file: to read the pixels from.
        syntax: transfer syntax UID.
        keyword: "PixelData", "FloatPixelData" or "DoubleFloatPixelData".
        swapped: 8-bit samples in big-endian words: the bytes of each pair are exchanged.
        start, length: of the pixel data in `file`; length None = encapsulated, not said.
        size: of `file`.
        layout: what the header claims.
    """

    header: Dataset
    file: BinaryIO
    syntax: str
    keyword: str
    swapped: bool
    start: int
    length: int | None
    size: int
    layout: Layout


@contextmanager
def quiet() -> Iterator[None]:
    """Keep pydicom's warnings and log lines, which quote headers, from being seen by anybody."""
    logger = logging.getLogger("pydicom")
    level = logger.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if level <= logging.CRITICAL:  # setting it takes time: all loggers forget what they know
            logger.setLevel(logging.CRITICAL + 1)
        try:
            yield
        finally:
            if level <= logging.CRITICAL:
                logger.setLevel(level)


def broken(words: str, error: Exception) -> Unreadable:
    """Return the reason for what went wrong in others' code: our words and the kind, no text."""
    return Unreadable(f"{words} ({type(error).__name__})", AGAIN)


@contextmanager
def opened(path: Path) -> Iterator[Source]:
    """Open a file up to its pixels.

    Raises:
        Unreadable: no DICOM, no pixel data, or a header that does not describe them.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        reason = f"cannot be read: {error.strerror or 'the disk failed'}"
        raise Unreadable(reason, "make it readable") from None
    with file:
        yield _source(file)


def _source(file: BinaryIO) -> Source:
    with quiet():
        try:
            header, inside, found = _read(file)
        except Unreadable:
            raise
        except Exception as error:  # malformed headers raise anything
            raise broken("not a DICOM file that can be read", error) from None
        if found is None:
            raise Unreadable("no pixel data", "nothing to do: it holds no image")
        tag, vr, length, start = found
        size = inside.seek(0, io.SEEK_END)
        if length == 0 or start >= size:
            raise Unreadable("no pixel data: the element is empty", AGAIN)
        syntax = _syntax(header)
        try:
            keyword = _KEYWORDS[tag]
            layout = _layout(header, keyword)
            big = header.original_encoding[1] is False
        except Unreadable:
            raise
        except Exception as error:  # values of a wrong kind raise anything
            raise broken("the header does not describe its pixels", error) from None
    return Source(
        header,
        inside,
        syntax,
        keyword,
        big and vr == "OW" and layout.allocated == 8,
        start,
        None if length == _UNDEFINED else length,
        size,
        layout,
    )


Found = tuple[int, str | None, int, int]


def _read(file: BinaryIO) -> tuple[Dataset, BinaryIO, Found | None]:
    """Return the header, the file that holds the pixels, and (tag, VR, length, start) of them."""
    found: list[Found] = []
    inside = file

    def stop(tag: BaseTag, vr: str | None, length: int) -> bool:
        if tag in _KEYWORDS:
            found.append((int(tag), vr, length, inside.tell()))
            return True
        return False

    if DEFLATED.encode() in file.read(4096):
        file.seek(0)
        read_preamble(file, force=True)
        meta = _read_file_meta_info(file)
        if meta.get("TransferSyntaxUID") == DEFLATED:
            inside = io.BytesIO(_inflated(file.read()))
            header = read_dataset(inside, False, True, stop_when=stop)
            header.file_meta = meta
            return header, inside, found[0] if found else None
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    with suppress(*UNSURE):
        return _quick(file)
    file.seek(0)
    header = read_partial(cast(BinaryIO, Bounded(file, size)), stop, force=True)
    return header, inside, found[0] if found else None


def _quick(file: BinaryIO) -> tuple[Dataset, BinaryIO, Found]:
    """Return what `_read` does, with no other elements than are asked of a header here.

    Raises:
        Unsure, StructError, LookupError, ValueError, OSError: pydicom must read it.
    """
    syntax, found, at = walk(file.fileno(), _KNOWN)
    header = _header(syntax, tuple(found.items()))
    implicit = syntax == IMPLICIT
    file.seek(at)
    element = file.read(12)
    first = int.from_bytes(element[:2], "little") << 16 | int.from_bytes(element[2:4], "little")
    if implicit:
        return header, file, (first, None, int.from_bytes(element[4:8], "little"), at + 8)
    length = int.from_bytes(element[8:12], "little")
    return header, file, (first, element[4:6].decode(), length, at + 12)


@lru_cache(maxsize=32)
def _header(syntax: str, found: tuple[tuple[int, bytes], ...]) -> Dataset:
    """Return the header of elements as a walk gives them: one for all slices that say the same."""
    raw: dict[BaseTag, DataElement | RawDataElement] = {}
    implicit = syntax == IMPLICIT
    encodings = convert_encodings("")
    for swapped, data in found:
        tag = BaseTag(little(swapped))
        vr = _VRS.get(tag)
        if vr == "US or SS":
            vr = "OW"  # of two bytes: whoever asks knows the sign, if pixels have no more of them
            if len(data) != 2 or _NARROW.isdisjoint(found):
                raise Unsure
        if tag == CHARSET:
            terms = data.decode("latin-1").rstrip("\0 ").split("\\")
            encodings = convert_encodings(terms)
        raw[tag] = RawDataElement(tag, vr or "UN", len(data), data, 0, implicit, True)
    header = Dataset(raw)
    header.set_original_encoding(implicit, True, encodings)
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = UID(syntax)
    return header


def _syntax(header: Dataset) -> str:
    try:
        syntax = str(header.file_meta.get("TransferSyntaxUID") or "")
    except Exception as error:
        raise broken("its file meta information cannot be read", error) from None
    if not syntax:
        raise Unreadable("no transfer syntax is given", "export it with its file meta information")
    return syntax


def _inflated(data: bytes) -> bytes:
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    result = stream.decompress(data, MAX_INFLATED)
    if stream.eof:
        return result
    if len(result) >= MAX_INFLATED:
        limit = f"more than {MAX_INFLATED // 2**20} MiB"
        raise Unreadable(f"deflated data that grows to {limit}", "export it uncompressed")
    raise Unreadable("deflated data is cut off", AGAIN)


def _layout(header: Dataset, keyword: str) -> Layout:
    def number(name: str) -> int:
        value = header[name].value
        if value is None or isinstance(value, bytes | str | list):
            raise ValueError(name)
        return int(value)

    counted = header.get("NumberOfFrames")
    rows, cols, samples = number("Rows"), number("Columns"), number("SamplesPerPixel")
    allocated = number("BitsAllocated")
    floats = keyword != "PixelData"
    stored = allocated if floats else number("BitsStored")
    signed = floats or number("PixelRepresentation") == 1
    planar = number("PlanarConfiguration") if samples > 1 else None
    frames = 1 if counted is None else int(counted) or 1
    usual = (
        min(rows, cols, frames) >= 1
        and samples in (1, 3)
        and (allocated == 1 or allocated in range(8, 65, 8))
        and 1 <= stored <= allocated
        and planar in (None, 0, 1)
    )
    if not usual:
        raise Unreadable("the header describes pixels that cannot be", AGAIN)
    if rows * cols * samples > MAX_PIXELS:
        limit = f"more than {MAX_PIXELS // 10**6} million"
        raise Unreadable(f"claims {limit} samples in one image", "export it smaller")
    photometric = str(header["PhotometricInterpretation"].value).strip()
    return Layout(rows, cols, samples, frames, allocated, stored, signed, planar, photometric)
