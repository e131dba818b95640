"""NIfTI-1 and NIfTI-2 in one file (.nii, .nii.gz)."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radstart.ingest.frames import Frame, Scan, Unreadable, Window
from radstart.ingest.readers.unpack import (
    AGAIN,
    check_size,
    guarded,
    head_of,
    mapped,
    size_of,
    unpacked,
)
from radstart.ingest.readers.volume import Volume, cut_volume, scan_volume

_MAGIC = {b"n+1\0": 344, b"n+2\0": 4, b"ni1\0": 344, b"ni2\0": 4}
_SIZES = {348: 344, 540: 4}  # bytes of the header -> where its magic stands
_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])  # NIfTI counts to the right and the front


def sniff(head: bytes) -> bool:
    """Return whether a file begins like this: its first 348 bytes, unpacked if it is gzip."""
    return any(head[at : at + 4] == magic for magic, at in _MAGIC.items())


def scan(path: Path) -> Scan:
    """Return the slices of a volume, no voxel read.

    Slices run along the axis with the longest voxels, else from below to the top (`view` says
    which). Of several volumes in one file the first counts.

    Raises:
        Unreadable: no NIfTI, a pair of files, complex numbers, vectors, or claims too much.
    """
    with guarded("NIfTI"):
        volume, _, packed = _header(path)
        return scan_volume("nifti", volume, size_of(path), packed)


def frames(path: Path, which: Sequence[int]) -> Iterator[Frame]:
    """Yield slices in canonical orientation after scl_slope and scl_inter.

    Raises:
        Unreadable: as `scan`, or the file is cut off or broken.
    """
    with guarded("NIfTI"):
        volume, offset, packed = _header(path)
        scan_volume("nifti", volume, size_of(path), packed)  # refuses what claims too much
        count = math.prod(volume.shape) * (3 if volume.colours else 1)
        stored: NDArray[Any] = (
            unpacked(path, 0, offset, volume.dtype, count)
            if packed
            else mapped(path, offset, volume.dtype, count)
        )
        yield from cut_volume(volume, stored, which)


def _header(path: Path) -> tuple[Volume, int, bool]:
    """Return what the header says, where the voxels begin, and whether the file is packed."""
    import nibabel

    size_of(path)
    block = head_of(path, 540)
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    if not sniff(block):
        raise Unreadable("no NIfTI file", "save it as .nii or .nii.gz")
    size = next(size for size, at in _SIZES.items() if block[at : at + 4] in _MAGIC)
    if block[_SIZES[size] : _SIZES[size] + 2] == b"ni":
        raise Unreadable("one half of a pair (.hdr and .img)", "save it as one .nii file")
    if len(block) < size:
        raise Unreadable("cut off in the header", AGAIN)
    kind = nibabel.Nifti1Header if size == 348 else nibabel.Nifti2Header
    header: Any = kind(block[:size], check=False)
    if int(header["sizeof_hdr"]) != size:
        raise Unreadable("a header of no known size", AGAIN)
    rank = int(header["dim"][0])
    dims = [int(side) for side in header["dim"][1:8]]
    if not 1 <= rank <= 7:
        raise Unreadable(f"claims {rank} dimensions", AGAIN)
    dims = dims[:rank] + [1] * (7 - rank)
    if any(side > 1 for side in dims[4:]):
        raise Unreadable("vectors or tensors, no image", "save one volume of it")
    check_size(tuple(dims), 1, (1, 1))
    dtype = np.dtype(header.get_data_dtype())
    colours = dtype.names == ("R", "G", "B")
    slope, intercept = _slope(header)
    offset = float(header["vox_offset"])
    if not size <= offset < 2**31 or not offset.is_integer():
        raise Unreadable("voxels that begin nowhere", AGAIN)
    volume = Volume(
        (dims[0], dims[1], dims[2]),
        np.dtype(np.uint8) if colours else dtype,
        _affine(header),
        tuple(float(side) for side in header["pixdim"][1:4]),  # type: ignore[arg-type]
        colours,
        dims[3],
        slope,
        intercept,
        _window(header),
    )
    return volume, int(offset), packed


def _slope(header: Any) -> tuple[float | None, float]:
    """Return slope and intercept, as the standard has it: a slope of 0 is none."""
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or not np.isfinite(slope):
        return None, 0.0
    if not np.isfinite(intercept):
        raise Unreadable("an intercept that is no number", AGAIN)
    return (None, 0.0) if (slope, intercept) == (1, 0) else (slope, intercept)


def _affine(header: Any) -> NDArray[np.float64] | None:
    """Return the sform, else the qform, in DICOM's directions; None = neither is stated."""
    try:
        if int(header["sform_code"]) > 0:
            affine = header.get_sform()
        elif int(header["qform_code"]) > 0:
            affine = header.get_qform()
        else:
            return None
    except Exception:  # a broken quaternion: the voxels are there all the same
        return None
    return np.asarray(_TO_LPS @ affine, float)


def _window(header: Any) -> tuple[Window, ...]:
    low, high = float(header["cal_min"]), float(header["cal_max"])
    if not (np.isfinite([low, high]).all() and high > low):
        return ()
    return (Window("", (low + high) / 2, high - low, "LINEAR_EXACT"),)
