"""Readers: a path becomes a scan and frames, or a reason why not. One line for a new one."""

import importlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from radstart.ingest.frames import Frame, Scan, Unreadable
from radstart.ingest.readers.raster import SUFFIXES, read_raster
from radstart.ingest.readers.sniff import kind_of

__all__ = ["KINDS", "SUFFIXES", "Unreadable", "frames_of", "kind_of", "read_raster", "scan_of"]

_ROOM = "radstart.ingest.readers"
KINDS = {
    "raster": ("raster", "raster"),
    "dicom": ("dicom_scan", "dicom"),
    "nifti": ("nifti", "nifti"),
    "nrrd": ("nrrd", "nrrd"),
    "arrays": ("arrays", "arrays"),
}
"""Kind by the first bytes -> the module that scans it, the module that decodes it."""


def scan_of(path: Path, kind: str) -> Scan:
    """Return what a file of this kind says of itself.

    Raises:
        Unreadable: why it cannot be used.
    """
    scan: Scan = importlib.import_module(f"{_ROOM}.{KINDS[kind][0]}").scan(path)
    return scan


def frames_of(path: Path, kind: str, which: Sequence[int]) -> Iterator[Frame]:
    """Yield images of a file of this kind, decoded one at a time, in the order asked for.

    Raises:
        Unreadable: why one cannot be used; those after it are not tried.
    """
    frames: Iterator[Frame] = importlib.import_module(f"{_ROOM}.{KINDS[kind][1]}").frames(
        path, which
    )
    return frames
