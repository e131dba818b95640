"""What a file is, by its first bytes and never by its name; and whether its end is there."""

import json
import re
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, Literal

from radstart.core.errors import RadstartError
from radstart.core.files import os_reason

Kind = Literal[
    "empty",
    "gzip",
    "hdf5",
    "html",
    "lfs pointer",
    "numpy npz",
    "onnx",
    "pickle",
    "safetensors",
    "tar",
    "tflite",
    "torch legacy",
    "torch zip",
    "torchscript",
    "unknown",
    "zip",
]

HEAD = 4096  # bytes that decide
_MOST_HEADER = 100_000_000  # bytes: the limit of the safetensors format
_HDF5 = b"\x89HDF\r\n\x1a\n"
_TORCH_MAGIC = (
    b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"  # torch.serialization.MAGIC_NUMBER
)
_LFS = b"version https://git-lfs.github.com/spec/"


def kind_of(path: Path) -> Kind:
    """Return what a file is.

    "torch zip" is what torch.save writes since 1.6, "torchscript" holds code beside its tensors,
    "torch legacy" is torch.save before 1.6, "pickle" any other Python pickle; "zip" is an archive
    that is none of these; "html" is a page where a file was meant.

    Raises:
        RadstartError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            kind = kind_of_bytes(file.read(HEAD))
            if kind == "unknown" and _userblock(file):
                return "hdf5"
        return _kind_of_zip(path) if kind == "zip" else kind
    except OSError as error:
        raise RadstartError("cannot read", str(path), os_reason(error), "check the path") from error


def kind_of_bytes(head: bytes) -> Kind:
    """Return what begins with `head`, the first HEAD bytes; every zip is "zip" here."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    length = int.from_bytes(head[:8], "little")
    looks: tuple[tuple[Kind, object], ...] = (
        ("empty", not head),
        ("zip", head.startswith((b"PK\x03\x04", b"PK\x05\x06"))),
        ("hdf5", head.startswith(_HDF5)),
        ("gzip", head.startswith(b"\x1f\x8b")),
        ("tar", head[257:262] == b"ustar"),
        ("tflite", head[4:8] == b"TFL3"),
        ("lfs pointer", head.startswith(_LFS)),
        ("html", text.startswith(b"<") and re.search(rb"<(!doctype html|html|head|body)\b", text)),
        ("safetensors", head[8:9] == b"{" and 2 <= length <= _MOST_HEADER),
        ("torch legacy", head[:1] == b"\x80" and _TORCH_MAGIC in head[:32]),
        ("pickle", head[:1] == b"\x80" and 2 <= head[1] <= 5),
        # protobuf: field 1 (ir_version, 3 and above), then a field of ModelProto
        ("onnx", head[:1] == b"\x08" and 3 <= head[1] <= 32 and head[2:3] in b"\x12\x1a\x22\x28:B"),
    )
    return next((kind for kind, fits in looks if fits), "unknown")


def damage_of(path: Path) -> str:
    """Return why a file cannot be whole, in words; "" where nothing speaks against it.

    Formats that state their own length (safetensors, zip and with it torch's, HDF5) are held
    against it; of the others nothing is known.

    Raises:
        RadstartError: the file cannot be read.
    """
    kind, size = kind_of(path), path.stat().st_size
    if kind == "empty":
        return "an empty file"
    if kind == "safetensors":
        stated = _safetensors_length(path)
    elif kind == "hdf5":
        stated = _hdf5_length(path)
    elif kind in ("torch zip", "torchscript", "numpy npz", "zip"):
        return (
            "" if _names(path) else "the zip's list of contents, at its end, is missing or damaged"
        )
    else:
        return ""
    if stated is None:
        return f"the {kind} header is damaged"
    if size < stated or (size > stated and kind == "safetensors"):
        return f"{size} bytes where its {kind} header states {stated}"
    return ""


def _userblock(file: BinaryIO) -> bool:
    """Return whether an HDF5 file begins behind a block of the user's own."""
    for start in (512, 1024, 2048):
        file.seek(start)
        if file.read(len(_HDF5)) == _HDF5:
            return True
    return False


def _kind_of_zip(path: Path) -> Kind:
    names = _names(path)
    if _inside(names, "data.pkl"):
        return "torchscript" if _inside(names, "constants.pkl") else "torch zip"
    return "numpy npz" if names and all(name.endswith(".npy") for name in names) else "zip"


def _inside(names: Iterable[str], name: str) -> bool:
    """Return whether torch's record `name` is there: one folder deep."""
    return any(entry.count("/") == 1 and entry.endswith(f"/{name}") for entry in names)


def _names(path: Path) -> list[str]:
    """Return the names in a zip; none where its list of contents cannot be read."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except OSError:
        raise
    except Exception:  # damaged in any way
        return []


def _safetensors_length(path: Path) -> int | None:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        text = file.read(length)
    try:
        header = json.loads(text)
        ends = [v["data_offsets"][1] for k, v in header.items() if k != "__metadata__"]
        return 8 + length + max(map(int, ends), default=0)
    except OSError:
        raise
    except Exception:  # an end of 1e999, brackets without end, ...
        return 8 + length if len(text) < length else None


def _hdf5_length(path: Path) -> int | None:
    """Return the end-of-file address of the superblock ("Disk Format: Level 0A")."""
    with path.open("rb") as file:
        head = file.read(HEAD)
    if not head.startswith(_HDF5):
        return 0  # behind a user's block addresses count from elsewhere
    version, before = head[8:9], 0
    width = head[13:14]
    if version in (b"\x00", b"\x01"):
        before = 24 if version == b"\x00" else 28
    elif version in (b"\x02", b"\x03"):
        before, width = 12, head[9:10]
    size = int.from_bytes(width, "little")
    address = before + 2 * size  # behind base address and free-space or extension address
    field = head[address : address + size]
    if not before or size not in (2, 4, 8) or len(field) < size:
        return None
    return int.from_bytes(field, "little")
