"""NRRD (.nrrd, .nhdr) and MetaImage (.mha, .mhd): a text header, then voxels or another file."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radstart.ingest.frames import Frame, Scan, Unreadable
from radstart.ingest.readers.unpack import AGAIN, guarded, mapped, size_of, unpacked
from radstart.ingest.readers.volume import Volume, cut_volume, scan_volume

_MOST = 1 << 20  # bytes of a text header
_LINES = 10_000
_NRRD = re.compile(rb"NRRD000[1-5]\r?\n")
_META = re.compile(rb"(?:\w+ *=[^\n]*\n)*?(?:ObjectType|NDims) *=", re.IGNORECASE)
_NRRD_TYPES: Mapping[str, str] = {
    **dict.fromkeys(("signed char", "int8", "int8_t"), "i1"),
    **dict.fromkeys(("uchar", "unsigned char", "uint8", "uint8_t"), "u1"),
    **dict.fromkeys(
        ("short", "short int", "signed short", "signed short int", "int16", "int16_t"), "i2"
    ),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), "u2"),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t"), "i4"),
    **dict.fromkeys(("uint", "unsigned int", "uint32", "uint32_t"), "u4"),
    **dict.fromkeys(
        ("longlong", "long long", "long long int", "signed long long", "int64", "int64_t"), "i8"
    ),
    **dict.fromkeys(
        ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"), "u8"
    ),
    "float": "f4",
    "double": "f8",
}
_META_TYPES: Mapping[str, str] = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
# NRRD's spaces -> what turns their axes into left, back, top
_SPACES: Mapping[str, tuple[int, int, int]] = {
    **dict.fromkeys(("right-anterior-superior", "ras"), (-1, -1, 1)),
    **dict.fromkeys(("left-anterior-superior", "las"), (1, -1, 1)),
    **dict.fromkeys(("left-posterior-superior", "lps"), (1, 1, 1)),
}
_COLOURS = frozenset({"rgb-color", "3-color", "vector", "3-vector", "list", "none", "???"})


@dataclass(frozen=True)
class _Where:
    """Where voxels are: file, first byte (negative = counted from the end), whether packed."""

    path: Path
    start: int
    packed: bool


def sniff(head: bytes) -> bool:
    """Return whether a file begins like this: its first 348 bytes."""
    return bool(_NRRD.match(head) or _META.match(head))


def scan(path: Path) -> Scan:
    """Return the slices of a volume, no voxel read; slices run as in NIfTI files.

    Raises:
        Unreadable: neither format, a way of packing that is not known, a data file outside of the
            header's folder, or claims too much.
    """
    with guarded("header"):
        volume, where = _header(path)
        return scan_volume("nrrd", volume, size_of(where.path), where.packed)


def frames(path: Path, which: Sequence[int]) -> Iterator[Frame]:
    """Yield slices in canonical orientation.

    Raises:
        Unreadable: as `scan`, or the file is cut off or broken.
    """
    with guarded("volume"):
        volume, where = _header(path)
        scan_volume(
            "nrrd", volume, size_of(where.path), where.packed
        )  # refuses what claims too much
        count = math.prod(volume.shape) * (3 if volume.colours else 1)
        stored: NDArray[Any]
        if where.packed:
            stored = unpacked(where.path, where.start, 0, volume.dtype, count)
        else:
            start = where.start
            if start < 0:  # the voxels are the last bytes of the file
                total = count * volume.volumes * volume.dtype.itemsize
                start = where.path.stat().st_size - total
            stored = mapped(where.path, start, volume.dtype, count)
        yield from cut_volume(volume, stored, which)


def _header(path: Path) -> tuple[Volume, _Where]:
    size_of(path)
    with path.open("rb") as file:
        head = file.read(_MOST)
    if _NRRD.match(head):
        return _nrrd(path, head)
    if _META.match(head):
        return _meta(path, head)
    raise Unreadable("neither NRRD nor MetaImage", "save it as NIfTI")


def _beside(path: Path, name: str) -> Path:
    """Return the data file that a header names: in its own folder, and no link out of it.

    Raises:
        Unreadable: anywhere else, or not there.
    """
    plain = name.removeprefix("./")
    if not plain or plain in (".", "..") or re.search(r"[/\\\0]", plain):
        raise Unreadable("its data file lies in another folder", "put both into one folder")
    other = path.parent / plain
    if other.resolve().parent != path.parent.resolve():
        raise Unreadable("its data file is a link to elsewhere", "put both into one folder")
    if not other.is_file():
        raise Unreadable("its data file is missing", "put both into one folder")
    return other


def _numbers(text: str, count: int) -> list[float]:
    """Return numbers parted by blanks, commas or brackets.

    Raises:
        Unreadable: not so many.
    """
    found = re.sub(r"[(),]", " ", text).split()
    if len(found) != count:
        raise Unreadable("a header field with too few or too many numbers", AGAIN)
    return [float(word) for word in found]


def _whole(text: str, count: int) -> list[int]:
    return [int(word) for word in _exactly(text.split(), count)]


def _exactly(words: list[str], count: int) -> list[str]:
    if len(words) != count:
        raise Unreadable("a header field with too few or too many numbers", AGAIN)
    return words


def _plain(
    dims: list[int],
    code: str,
    order: str,
    first: bool,
    affine: NDArray[np.float64] | None,
    spacing: Sequence[float],
) -> Volume:
    """Return the volume of a header.

    Args:
        dims: of the stored array, fastest first: of space, and perhaps of time; a colour axis,
            where there is one, in front.
        code: of the type, as NumPy has it.
        order: "<" or ">".
        first: whether the first axis is colour.
        affine: (4, 4); None = not stated.
        spacing: of the axes of space.
    """
    colours = first and dims[0] == 3
    if first:
        if dims[0] not in (1, 3):
            raise Unreadable("vectors or tensors, no image", "save one volume of it")
        dims = dims[1:]
    if colours and code != "u1":
        raise Unreadable("colours that are not 8 bits", "save them with 8 bits")
    if not 2 <= len(dims) <= 4:
        raise Unreadable(f"claims {len(dims)} dimensions", "save one volume of it")
    shape = [*dims, 1, 1]
    step = [*spacing, 1.0, 1.0, 1.0]
    return Volume(
        (shape[0], shape[1], shape[2]),
        np.dtype(order + code),
        affine,
        (step[0], step[1], step[2]),
        colours,
        shape[3] if len(dims) == 4 else 1,
    )


# -- NRRD --------------------------------------------------------------------------------------


def _nrrd(path: Path, head: bytes) -> tuple[Volume, _Where]:
    fields, end = _nrrd_fields(head)
    rank = int(fields["dimension"])
    if not 1 <= rank <= 5:
        raise Unreadable(f"claims {rank} dimensions", "save one volume of it")
    dims = _whole(fields["sizes"], rank)
    code = _NRRD_TYPES.get(fields["type"].lower())
    if code is None:
        raise Unreadable("voxels that are no plain numbers", "save whole numbers or floats")
    endian = {"little": "<", "big": ">"}.get(fields.get("endian", "little").lower())
    if endian is None or (code[1] != "1" and "endian" not in fields):
        raise Unreadable("a byte order that is not stated", AGAIN)
    encoding = fields["encoding"].lower()
    if encoding not in ("raw", "gzip", "gz"):
        raise Unreadable("packed in a way that is not read", "save it raw or as gzip")
    kinds = fields.get("kinds", "").lower().split()
    first = rank >= 3 and (kinds[0] in _COLOURS if kinds else dims[0] == 3 and rank == 4)
    affine, spacing = _nrrd_geometry(fields, rank, first)
    volume = _plain(dims, code, endian, first, affine, spacing)
    named = fields.get("data file") or fields.get("datafile")
    packed = encoding != "raw"
    skip = int(fields.get("byte skip") or fields.get("byteskip") or 0)
    lines = int(fields.get("line skip") or fields.get("lineskip") or 0)
    if lines or (skip and packed) or skip < -1:
        raise Unreadable("voxels that begin after a skip", "save it in one file")
    if named is None:
        return volume, _Where(path, -1 if skip == -1 else end + skip, packed)
    if re.match(r"LIST\b", named) or re.search(r"%\d*d", named):
        raise Unreadable("voxels in several files", "save it in one file")
    return volume, _Where(_beside(path, named), skip, packed)


def _nrrd_fields(head: bytes) -> tuple[dict[str, str], int]:
    """Return the fields by their names in small letters, and where the header ends."""
    found = re.search(rb"\r?\n\r?\n", head)
    end = found.end() if found else len(head)
    text = head[: found.start() if found else len(head)].decode("utf-8", "replace")
    fields: dict[str, str] = {}
    for line in text.splitlines()[1:_LINES]:
        name, colon, value = line.partition(": ")
        if colon and not line.startswith("#") and ":=" not in name:
            fields[name.strip().lower()] = value.strip()
    if any(name not in fields for name in ("dimension", "sizes", "type", "encoding")):
        raise Unreadable("a header without sizes, type or encoding", AGAIN)
    return fields, end


def _nrrd_geometry(
    fields: Mapping[str, str], rank: int, first: bool
) -> tuple[NDArray[np.float64] | None, list[float]]:
    """Return the affine, where directions and a known space are stated, and the spacing."""
    spacing = [1.0] * rank
    if "spacings" in fields:
        spacing = _numbers(fields["spacings"], rank)
    turn = _SPACES.get(fields.get("space", "").lower())
    affine = None
    if "space directions" in fields and turn:
        vectors = re.findall(r"none|\([^()]*\)", fields["space directions"].lower())
        given = [_numbers(vector, 3) for vector in _exactly(vectors, rank) if vector != "none"]
        if len(given) == 3:
            origin = fields.get("space origin")
            affine = np.eye(4)
            affine[:3, :3] = np.array(given).T
            affine[:3, 3] = _numbers(origin, 3) if origin else (0, 0, 0)
            affine = np.diag([*turn, 1]) @ affine
    return affine, spacing[1:] if first else spacing


# -- MetaImage ---------------------------------------------------------------------------------


def _meta(path: Path, head: bytes) -> tuple[Volume, _Where]:
    fields: dict[str, str] = {}
    end = 0
    for line in head.splitlines(keepends=True)[:_LINES]:
        end += len(line)
        name, equals, value = line.decode("utf-8", "replace").partition("=")
        if not equals:
            continue
        fields[name.strip().lower()] = value.strip()
        if name.strip().lower() == "elementdatafile":
            break
    else:
        raise Unreadable("a header without ElementDataFile", AGAIN)
    rank = int(fields["ndims"])
    if not 2 <= rank <= 4:
        raise Unreadable(f"claims {rank} dimensions", "save one volume of it")
    dims = _whole(fields["dimsize"], rank)
    code = _META_TYPES.get(fields["elementtype"].upper().removesuffix("_ARRAY"))
    if code is None:
        raise Unreadable("voxels that are no plain numbers", "save whole numbers or floats")
    if fields.get("binarydata", "true").lower() != "true":
        raise Unreadable("voxels as text", "save them binary")
    big = fields.get("binarydatabyteordermsb", fields.get("elementbyteordermsb", "false"))
    channels = int(fields.get("elementnumberofchannels", "1"))
    affine, spacing = _meta_geometry(fields, rank)
    if channels != 1:
        dims = [channels, *dims]
    order = ">" if big.lower() == "true" else "<"
    volume = _plain(dims, code, order, channels != 1, affine, spacing)
    packed = fields.get("compresseddata", "false").lower() == "true"
    named = fields["elementdatafile"]
    if named.upper() == "LOCAL":
        return volume, _Where(path, end, packed)
    if named.upper().startswith("LIST") or "%" in named:
        raise Unreadable("voxels in several files", "save it in one file")
    skip = int(fields.get("headersize", "0"))
    if skip < -1 or (skip and packed):
        raise Unreadable("voxels that begin after a skip", "save it in one file")
    return volume, _Where(_beside(path, named), skip, packed)


def _meta_geometry(
    fields: Mapping[str, str], rank: int
) -> tuple[NDArray[np.float64] | None, list[float]]:
    """Return the affine, where directions are stated, and the spacing.

    MetaImage counts to the left, the back and the top; its matrix holds the direction of one axis
    after the other.
    """
    size = fields.get("elementspacing", fields.get("elementsize"))
    spacing = _numbers(size, rank) if size else [1.0] * rank
    named = ("transformmatrix", "rotation", "orientation")
    matrix = next((fields[name] for name in named if name in fields), "")
    if not matrix or rank < 3:
        return None, spacing
    directions = np.array(_numbers(matrix, rank * rank)).reshape(rank, rank)[:3, :3]
    named = ("offset", "position", "origin")
    origin = next((fields[name] for name in named if name in fields), "")
    affine = np.eye(4)
    affine[:3, :3] = directions.T * np.array(spacing[:3])
    affine[:3, 3] = _numbers(origin, rank)[:3] if origin else (0, 0, 0)
    return affine, spacing
