"""Compressed frames: what a stream claims of itself, and decoders that pydicom calls.

JPEG (baseline, extended with 8 and 12 bits, lossless), JPEG-LS and the runs of RLE are decoded by
imagecodecs; JPEG 2000 and HTJ2K by pydicom's own plugin for pylibjpeg. None of them is asked
before the stream's own size was compared with the header's: a decoder allocates what the stream
claims. (pylibjpeg-rle is not used: a broken segment makes it panic, which is no `Exception`.)
"""

import struct
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import imagecodecs
import numpy as np
from pydicom.pixels.decoders.base import (
    Decoder,
    DecodeRunner,
    HTJ2KDecoder,
    HTJ2KLosslessDecoder,
    HTJ2KLosslessRPCLDecoder,
    JPEG2000Decoder,
    JPEG2000LosslessDecoder,
)
from pydicom.pixels.decoders.rle import _rle_decode_segment
from pydicom.uid import UID

from radstart.ingest.frames import Unreadable, Values
from radstart.ingest.readers.dicom_source import AGAIN, Layout

_JPEG = tuple(f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 57, 70))
_JPEG_LS = tuple(f"1.2.840.10008.1.2.4.{n}" for n in (80, 81))
RLE = "1.2.840.10008.1.2.5"
_OURS = (*_JPEG, *_JPEG_LS, RLE)
_THEIRS = {
    str(decoder.UID): decoder
    for decoder in (
        HTJ2KDecoder,
        HTJ2KLosslessDecoder,
        HTJ2KLosslessRPCLDecoder,
        JPEG2000Decoder,
        JPEG2000LosslessDecoder,
    )
}
COMPRESSED = frozenset({*_OURS, *_THEIRS})
OURS, THEIRS = "radstart", "pylibjpeg"  # names of plugins
DECODER_DEPENDENCIES = {UID(uid): ("imagecodecs",) for uid in _OURS}

_DIFFERS = "a frame's own size or depth is not the header's"
_CUT = "a frame is cut off"
_DAMAGED = "a frame is not a stream of its transfer syntax"


def is_available(uid: str) -> bool:
    """Return whether the decoders below serve a transfer syntax (pydicom asks its plugins so)."""
    return uid in DECODER_DEPENDENCIES


@cache
def decoder(syntax: str) -> tuple[Decoder, str]:
    """Return pydicom's decoder of a compressed syntax, and the plugin to call.

    Decoders that call what stands below are ours alone: pydicom's own stay as they are.
    """
    if syntax in _THEIRS:
        return _THEIRS[syntax], THEIRS
    made = Decoder(UID(syntax))
    name = "decode_rle" if syntax == RLE else "decode_jpeg"
    made.add_plugin(OURS, (__name__, "decode_jpeg_ls" if syntax in _JPEG_LS else name))
    return made, OURS


def decode_jpeg(data: bytes, runner: DecodeRunner) -> bytes:
    """Decode one frame; colours stay as coded: whoever called converts them, once."""
    found = _jpeg(data)
    colours = "YCBCR" if found.samples == 3 else None  # the same on both sides: no conversion
    values = imagecodecs.jpeg8_decode(data, colorspace=colours, outcolorspace=colours)
    if found.adobe == 1 and runner.photometric_interpretation == "RGB":
        runner.set_option("photometric_interpretation", "YBR_FULL")
    return _handed(values, runner)


def decode_jpeg_ls(data: bytes, runner: DecodeRunner) -> bytes:
    """Decode one frame, whatever its interleaving, to colour by pixel."""
    return _handed(imagecodecs.jpegls_decode(data), runner)


def decode_rle(data: bytes, runner: DecodeRunner) -> bytes:
    """Decode one frame (DICOM PS3.5 annex G): a segment of runs per byte of a sample."""
    pixels, depth = runner.rows * runner.columns, runner.bits_allocated // 8
    count, *starts = struct.unpack("<16L", data[:64])
    if count != runner.samples_per_pixel * depth or count not in range(1, 16):
        raise ValueError
    bounds = [*starts[:count], len(data)]
    if bounds[0] < 64 or any(a > b for a, b in pairwise(bounds)):
        raise ValueError
    planes = np.empty((runner.samples_per_pixel, pixels, depth), np.uint8)
    for i, (start, end) in enumerate(pairwise(bounds)):
        run = _runs(data[start:end])
        if len(run) < pixels:
            raise ValueError
        planes[i // depth, :, depth - 1 - i % depth] = run[:pixels]  # the highest byte is first
    runner.set_option("planar_configuration", 1)
    return planes.tobytes()


def _runs(segment: bytes) -> Values:
    try:
        return np.frombuffer(imagecodecs.packbits_decode(segment), np.uint8)
    except RuntimeError:  # some writers claim more in a last run than they wrote
        return np.frombuffer(_rle_decode_segment(segment), np.uint8)


def _handed(values: Values, runner: DecodeRunner) -> bytes:
    runner.set_option("bits_allocated", 8 * values.dtype.itemsize)
    runner.set_option("planar_configuration", 0)
    return values.tobytes()


def check(syntax: str, data: bytes, layout: Layout) -> None:
    """Compare what a frame's stream claims with what the header does, before it is decoded.

    Raises:
        Unreadable: not such a stream, another size, or cut off.
    """
    if syntax == RLE:
        return  # has no size of its own: what it decodes to is bounded by its bytes
    stream = _jpeg(data) if syntax in _JPEG or syntax in _JPEG_LS else _jpeg_2000(data)
    if (stream.rows, stream.cols, stream.samples) != (layout.rows, layout.cols, layout.samples):
        raise Unreadable(_DIFFERS, AGAIN)
    if stream.bits > max(layout.allocated, 8):
        raise Unreadable(_DIFFERS, AGAIN)


@dataclass(frozen=True)
class Stream:
    """What a stream's own header says of its size; `adobe` is Adobe's colour transform."""

    rows: int
    cols: int
    samples: int
    bits: int
    adobe: int | None


def _jpeg(data: bytes) -> Stream:
    """Read the markers of a JPEG or JPEG-LS stream up to its first scan."""
    if data[:2] != b"\xff\xd8":
        raise Unreadable(_DAMAGED, AGAIN)
    position, frame, adobe = 2, b"", None
    kind = 0
    while True:
        while data[position : position + 2] == b"\xff\xff":
            position += 1
        head = data[position : position + 4]
        if len(head) < 4:
            raise Unreadable(_CUT, AGAIN)
        length = int.from_bytes(head[2:4])
        body = data[position + 4 : position + 2 + length]
        if head[0] != 0xFF or length < 2 or len(body) != length - 2:
            raise Unreadable(_DAMAGED, AGAIN)
        marker = head[1]
        if marker == 0xDA:
            break
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            frame, kind = body, marker
        elif marker == 0xEE and body[:5] == b"Adobe" and len(body) >= 12:
            adobe = body[11]
        position += 2 + length
    if len(frame) < 6:
        raise Unreadable(_DAMAGED, AGAIN)
    if kind in (0xC0, 0xC1) and body[-3:] != b"\x00\x3f\x00":
        raise Unreadable("a JPEG frame's scan is not one of its process", AGAIN)
    if data.find(b"\xff\xd9", position) < 0:
        raise Unreadable(_CUT, AGAIN)
    rows, cols = int.from_bytes(frame[1:3]), int.from_bytes(frame[3:5])
    return Stream(rows, cols, frame[5], frame[0], adobe)


def _jpeg_2000(data: bytes) -> Stream:
    """Read the image size (SIZ) of a codestream, inside of a JP2 file or not.

    A JP2 file's boxes are walked here first: pydicom's walk ends never at one of length 0.
    """
    at = 0
    if data[:8] == b"\0\0\0\x0cjP  ":
        while data[at + 4 : at + 8] != b"jp2c":
            length = int.from_bytes(data[at : at + 4])
            if length < 8 or at + length > len(data):
                raise Unreadable(_DAMAGED, AGAIN)
            at += length
        at += 8
    size = data[at + 4 : at + 44]
    if data[at : at + 4] != b"\xff\x4f\xff\x51" or len(size) < 40:
        raise Unreadable(_DAMAGED, AGAIN)
    width, height, left, top = (int.from_bytes(size[i : i + 4]) for i in (4, 8, 12, 16))
    samples = int.from_bytes(size[36:38])
    return Stream(height - top, width - left, samples, (size[38] & 0x7F) + 1, None)
