"""Compressed frames: what a stream claims of itself, and decoders that pydicom calls.

JPEG (baseline, extended with 8 and 12 bits, lossless) and JPEG-LS are decoded by imagecodecs;
JPEG 2000, HTJ2K and RLE by pydicom's own plugins for pylibjpeg. None of them is asked before the
stream's own size was compared with the header's: a decoder allocates what the stream claims.
"""

from dataclasses import dataclass
from functools import cache

import imagecodecs
from pydicom.pixels.decoders.base import (
    Decoder,
    DecodeRunner,
    HTJ2KDecoder,
    HTJ2KLosslessDecoder,
    HTJ2KLosslessRPCLDecoder,
    JPEG2000Decoder,
    JPEG2000LosslessDecoder,
    RLELosslessDecoder,
)
from pydicom.uid import UID

from radstart.ingest.frames import Unreadable, Values
from radstart.ingest.readers.dicom_source import AGAIN, Layout

_JPEG = tuple(f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 57, 70))
_JPEG_LS = tuple(f"1.2.840.10008.1.2.4.{n}" for n in (80, 81))
_THEIRS = {
    str(decoder.UID): decoder
    for decoder in (
        HTJ2KDecoder,
        HTJ2KLosslessDecoder,
        HTJ2KLosslessRPCLDecoder,
        JPEG2000Decoder,
        JPEG2000LosslessDecoder,
        RLELosslessDecoder,
    )
}
RLE = str(RLELosslessDecoder.UID)
COMPRESSED = frozenset({*_JPEG, *_JPEG_LS, *_THEIRS})
OURS, THEIRS = "radstart", "pylibjpeg"  # names of plugins
DECODER_DEPENDENCIES = {UID(uid): ("imagecodecs",) for uid in (*_JPEG, *_JPEG_LS)}

_DIFFERS = "a frame's own size or depth is not the header's"
_CUT = "a frame is cut off"
_DAMAGED = "a frame is not a stream of its transfer syntax"


def is_available(uid: str) -> bool:
    """Return whether the decoders below serve a transfer syntax (pydicom asks its plugins so)."""
    return uid in DECODER_DEPENDENCIES


@cache
def decoder(syntax: str) -> tuple[Decoder, str]:
    """Return pydicom's decoder of a compressed syntax, and the plugin to call.

    The decoders of JPEG and JPEG-LS are ours alone: pydicom's own stay as they are.
    """
    if syntax in _THEIRS:
        return _THEIRS[syntax], THEIRS
    made = Decoder(UID(syntax))
    made.add_plugin(OURS, (__name__, "decode_jpeg" if syntax in _JPEG else "decode_jpeg_ls"))
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
    """Read the image size (SIZ) of a codestream, inside of a JP2 file or not."""
    at = data.find(b"\xff\x4f\xff\x51", 0, 4096)
    size = data[at + 4 : at + 44]
    if at < 0 or len(size) < 40:
        raise Unreadable(_DAMAGED, AGAIN)
    width, height, left, top = (int.from_bytes(size[i : i + 4]) for i in (4, 8, 12, 16))
    samples = int.from_bytes(size[36:38])
    return Stream(height - top, width - left, samples, (size[38] & 0x7F) + 1, None)
