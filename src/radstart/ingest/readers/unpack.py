"""Bytes out of a file that is not trusted: as many as its header needs, and never more."""

import os
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from radstart.ingest.frames import Unreadable

MAX_PIXELS = 100_000_000
"""Of one image."""
MAX_BYTES = 4 << 30
"""Of one volume, unpacked."""
RATIO = 1100  # deflate cannot pack better than 1032 to 1
AGAIN = "fetch it again"
_HELD = 256 << 20  # bytes unpacked in memory; more go into a nameless temporary file
_PIECE = 1 << 20


@contextmanager
def guarded(what: str) -> Iterator[None]:
    """Turn whatever goes wrong in a block into a reason, without the words of the error.

    Args:
        what: the kind of file, e.g. "NIfTI".
    """
    try:
        yield
    except (Unreadable, GeneratorExit, MemoryError):
        raise
    except FileNotFoundError as error:
        raise Unreadable("no such file", "correct the name") from error
    except IsADirectoryError as error:
        raise Unreadable("not a file", "name the file inside it") from error
    except OSError as error:
        said = error.strerror if error.errno else type(error).__name__
        raise Unreadable(f"cannot be read: {said}", "make it readable") from error
    except Exception as error:  # of libraries, on broken files
        raise Unreadable(f"broken {what}: {type(error).__name__}", AGAIN) from error


def size_of(path: Path) -> int:
    """Return the bytes of a file.

    Raises:
        Unreadable: it is empty.
    """
    size = path.stat().st_size
    if size == 0:
        raise Unreadable("an empty file (0 bytes)", AGAIN)
    return size


def check_size(shape: tuple[int, ...], itemsize: int, image: tuple[int, ...]) -> int:
    """Return the bytes of an array.

    Args:
        shape: of the whole array.
        itemsize: bytes of an element.
        image: (height, width) of its images.

    Raises:
        Unreadable: without pixels, or more of them than anybody has.
    """
    if any(side < 1 for side in (*shape, *image)):
        raise Unreadable("an image without pixels", "leave it out")
    if any(side > 2**31 for side in shape) or image[0] * image[1] > MAX_PIXELS:
        limit = f"more than {MAX_PIXELS // 10**6} million"
        raise Unreadable(f"claims {image[0]} x {image[1]} pixels, {limit}", "save it smaller")
    total = itemsize
    for side in shape:
        total *= side
    return total


def mapped(path: Path, start: int, dtype: np.dtype[Any], count: int) -> NDArray[Any]:
    """Return `count` elements of a file from byte `start` on, read when they are looked at.

    Raises:
        Unreadable: the file is too short.
    """
    if start < 0 or start + count * dtype.itemsize > path.stat().st_size:
        raise Unreadable("the file is shorter than its header says", AGAIN)
    return np.memmap(path, dtype, "r", start, (count,))


def unpacked(path: Path, start: int, skip: int, dtype: np.dtype[Any], count: int) -> NDArray[Any]:
    """Return elements of a gzip or zlib stream; no more than they need is ever unpacked.

    Args:
        path: file.
        start: first byte of the stream.
        skip: bytes of the unpacked stream before the first element.
        dtype: of an element.
        count: of elements.

    Raises:
        Unreadable: larger than MAX_BYTES, more than so short a stream can hold, or broken.
    """
    need = count * dtype.itemsize
    if need > MAX_BYTES or skip > MAX_BYTES:
        gib = MAX_BYTES >> 30
        raise Unreadable(f"claims more than {gib} GiB when unpacked", "save it uncompressed")
    if need + skip > (path.stat().st_size - start) * RATIO:
        raise Unreadable("claims more pixels than the file can hold", AGAIN)
    out: NDArray[np.uint8]
    if need > _HELD:
        with tempfile.TemporaryFile() as file:  # has no name; goes with the array
            os.posix_fallocate(file.fileno(), 0, need)  # a full disk is an error here, not later
            out = np.memmap(file, np.uint8, "r+", 0, (need,))
    else:
        out = np.empty(need, np.uint8)
    done = -skip
    with path.open("rb") as file:
        file.seek(start)
        for piece in _pieces(file):
            used = np.frombuffer(piece, np.uint8)[max(0, -done) :]
            at = max(0, done)
            out[at : at + len(used)] = used[: need - at]
            done += len(piece)
            if done >= need:
                return out.view(dtype)
    raise Unreadable("the file ends before its pixels do", AGAIN)


def head_of(path: Path, count: int) -> bytes:
    """Return the first bytes of a file, unpacked if it is gzip; fewer where there are no more."""
    with path.open("rb") as file:
        if file.read(2) != b"\x1f\x8b":
            file.seek(0)
            return file.read(count)
        file.seek(0)
        out = b""
        for piece in _pieces(file, min(count, _PIECE)):
            out += piece
            if len(out) >= count:
                break
        return out[:count]


def _pieces(file: BinaryIO, most: int = _PIECE) -> Iterator[bytes]:
    """Yield what gzip members or a zlib stream unpack to, a bounded piece at a time."""
    stream = zlib.decompressobj(47)  # gzip or zlib, told by its header
    packed = b""
    while True:
        packed = packed or file.read(most)
        if not packed:
            return
        piece = stream.decompress(packed, most)
        packed = stream.unconsumed_tail
        if stream.eof:
            packed = stream.unused_data.lstrip(b"\0")
            if packed[:2] != b"\x1f\x8b":  # no further member: padding, or nothing
                packed = b""
                yield piece
                return
            stream = zlib.decompressobj(47)
        if piece:
            yield piece
