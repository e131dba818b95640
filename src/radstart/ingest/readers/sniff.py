"""What a file is by its first bytes; its name counts only where bytes leave it open."""

import struct
import zlib
from contextlib import suppress
from pathlib import Path

from radstart.core.files import os_reason
from radstart.ingest.frames import Unreadable

_HEAD = 1024
_GROUPS = (0x0002, 0x0008)  # of the first element of a DICOM file without its preamble
_SAVE = "save it as PNG, JPEG, BMP, TIFF, GIF or WebP"
_RASTER = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"GIF8", b"II*\x00", b"MM\x00*",
           b"II+\x00", b"MM\x00+")  # fmt: skip
_OTHER = (
    (b"%PDF", "a PDF document"),
    (b"{\\rtf", "a text document"),
    (b"7z\xbc\xaf", "an archive"),
    (b"Rar!", "an archive"),
    (b"\xfd7zXZ", "an archive"),
    (b"BZh", "an archive"),
    (b"\x89HDF", "an HDF5 file"),
    (b"MATLAB", "a MATLAB file"),
    (b"\x7fELF", "a program"),
    (b"SQLite", "a data base"),
    (b"\x1aE\xdf\xa3", "a video"),
)


def kind_of(path: Path) -> str:
    """Return the kind of a file: a name of `KINDS`.

    Raises:
        Unreadable: empty, not readable, or no image as far as its first bytes tell.
    """
    check_plain(path)
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError as error:
        raise Unreadable(f"cannot be read: {os_reason(error)}", "make it readable") from error
    name = path.name.lower()
    if head[128:132] == b"DICM":
        return "dicom"
    if head.startswith(_RASTER) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP"):
        return "raster"
    if head.startswith(b"\x93NUMPY"):
        return "arrays"
    if head.startswith(b"NRRD0"):
        return "nrrd"
    if _is_nifti(head):
        return "nifti"
    if head.startswith(b"\x1f\x8b"):
        return _compressed(head, name)
    if head.startswith(b"PK\x03\x04"):
        if name.endswith(".npz"):
            return "arrays"
        raise Unreadable("an archive", "unpack it first")
    if head.lstrip()[:12].split(b"=")[0].strip() in (b"ObjectType", b"NDims", b"Comment"):
        return "nrrd"  # MetaImage
    for start, what in _OTHER:
        if head.startswith(start):
            raise Unreadable(what, "unpack it first" if what == "an archive" else _SAVE)
    if _like_dicom(head):
        return "dicom"
    if _is_text(head):
        raise Unreadable("text, no image", "leave it out, or name it with --labels if a table")
    raise Unreadable("not an image that can be read", _SAVE)


def check_plain(path: Path) -> None:
    """Refuse what is no file with something in it.

    Raises:
        Unreadable: missing, a folder, a device, a link that leads nowhere, empty.
    """
    try:
        if not path.is_file():
            if path.exists():
                raise Unreadable("not a file", "name the image inside it")
            if path.is_symlink():
                raise Unreadable("a link that leads nowhere", "mend the link")
            raise Unreadable("no such file", "correct the name")
        if path.stat().st_size == 0:
            raise Unreadable("an empty file (0 bytes)", "fetch it again")
    except OSError as error:
        raise Unreadable(f"cannot be read: {os_reason(error)}", "make it readable") from error


def _is_nifti(head: bytes) -> bool:
    return head[344:348] in (b"n+1\0", b"ni1\0") or head[4:8] in (b"n+2\0", b"ni2\0")


def _compressed(head: bytes, name: str) -> str:
    start = b""
    with suppress(zlib.error):
        start = zlib.decompressobj(31).decompress(head, 400)
    if _is_nifti(start) or name.endswith((".nii.gz", ".nii")):
        return "nifti"
    raise Unreadable("an archive", "unpack it first")


def _like_dicom(head: bytes) -> bool:
    """Return whether a file without preamble begins with a plausible element."""
    if len(head) < 8:
        return False
    for order in ("<", ">"):
        group, element = struct.unpack(order + "HH", head[:4])
        if group in _GROUPS and element <= 0x0100:
            return True
    return False


def _is_text(head: bytes) -> bool:
    return b"\0" not in head and sum(b < 9 or 13 < b < 32 for b in head) == 0
