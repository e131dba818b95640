"""Reading DICOM headers, the tags of a row, on one core: radstart's scan beside pydicom.dcmread.

    python benchmarks/headers.py [--files 1000] [--turns 5]

Three sets of files, all in the page cache: generated CT slices (120 elements, 24 KB of private
data, 512 x 512), MR slices (the public collection Brain-Tumor-Progression and a sample of dcm4che),
and a mix of 172 oddities from the tests of DICOM libraries, of which many go the careful way and
some are refused. The peer reads with `dcmread`, whole or stopped before the pixels, taking no tag
or the same tags as ours; the target is against its fastest way. Before anything is timed, every
value is compared. Seconds are those of the processor, so that a busy machine changes little.
"""

import argparse
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pydicom
from pydicom import Dataset, FileMetaDataset, dcmwrite
from pydicom.uid import ExplicitVRLittleEndian

from radstart.ingest.frames import Unreadable
from radstart.ingest.readers.dicom_scan import careful, fast, scan
from radstart.ingest.readers.dicom_tags import WANTED
from side_by_side import Row, figure, keep, paired_ratio

SHARED = Path(__file__).resolve().parents[1].parent / "shared" / "data"
FILLERS = """
    InstanceCreationDate StudyTime SeriesDate ContentDate AcquisitionTime ContentTime
    AccessionNumber StationName StudyDescription PerformingPhysicianName OperatorsName
    ManufacturerModelName PatientName PatientWeight KVP DataCollectionDiameter
    DeviceSerialNumber SoftwareVersions ReconstructionDiameter DistanceSourceToDetector
    DistanceSourceToPatient GantryDetectorTilt TableHeight ExposureTime XRayTubeCurrent
    Exposure FilterType GeneratorPower FocalSpots ConvolutionKernel PatientPosition StudyID
    SeriesNumber FrameOfReferenceUID PositionReferenceIndicator SliceLocation
    SamplesPerPixel BitsAllocated BitsStored HighBit PixelRepresentation WindowCenter
    WindowWidth RescaleIntercept RescaleSlope RescaleType
"""


def write_slices(folder: Path, count: int) -> list[Path]:
    """Write CT slices with 120 elements, 24 KB of them private, and 512 x 512 pixels."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 4096, (512, 512), np.uint16).tobytes()
    paths = []
    for k in range(count):
        ds = Dataset()
        for word in FILLERS.split():
            vr = pydicom.datadict.dictionary_VR(word)
            setattr(ds, word, _value(vr, k))
        for tag, (vr, _) in WANTED.items():
            ds.add_new(tag, vr, _value(vr, k))
        ds.SpecificCharacterSet, ds.SOPClassUID = "ISO_IR 100", "1.2.840.10008.5.1.4.1.1.2"
        ds.ImageType, ds.NumberOfFrames = ["ORIGINAL", "PRIMARY", "AXIAL"], None
        ds.ImagePositionPatient, ds.PixelSpacing = [-125.5, -130.25, 2.5 * k], [0.7, 0.7]
        ds.ImageOrientationPatient, ds.Rows, ds.Columns = [1, 0, 0, 0, 1, 0], 512, 512
        ds.PhotometricInterpretation, ds.PatientAge = "MONOCHROME2", "041Y"
        for sequence in ("ReferencedStudySequence", "ProcedureCodeSequence"):
            inner = Dataset()
            inner.ReferencedSOPClassUID = "1.2.840.10008.3.1.2.3.1"
            setattr(ds, sequence, [inner])
        block = ds.private_block(0x0029, "RADSTART TEST", create=True)
        block.add_new(0x10, "OB", rng.bytes(24 * 1024))
        for element in range(0x11, 0x11 + 118 - len(ds)):
            block.add_new(element, "LO", f"value {element}")
        ds.add_new(0x7FE00010, "OW", pixels)
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        paths.append(folder / f"{k:05d}.dcm")
        dcmwrite(paths[-1], ds, enforce_file_format=True)
    return paths


def _value(vr: str, k: int) -> object:
    if vr == "UI":
        return f"1.2.826.0.1.3680043.8.498.{k}"
    if vr in ("DA", "TM"):
        return "20200615" if vr == "DA" else "112233"
    if vr in ("IS", "DS"):
        return str(k)
    return 16 if vr == "US" else f"TEXT {k}"


def bare(path: Path) -> object:
    """Return pydicom's data set."""
    return pydicom.dcmread(path, force=True)


def bare_before_pixels(path: Path) -> object:
    """Return pydicom's data set, its reading stopped before the pixels."""
    return pydicom.dcmread(path, force=True, stop_before_pixels=True)


def with_tags(path: Path) -> object:
    """Return pydicom's values of the same tags."""
    ds = pydicom.dcmread(path, force=True)
    return [ds[tag].value if tag in ds else None for tag in WANTED]


def before_pixels(path: Path) -> object:
    """Return pydicom's values of the same tags, its reading stopped before the pixels."""
    ds = pydicom.dcmread(path, force=True, stop_before_pixels=True)
    return [ds[tag].value if tag in ds else None for tag in WANTED]


def surviving(read: Callable[[Path], object]) -> Callable[[Path], object]:
    """Return a reader that gives None for what it cannot read."""

    def tried(path: Path) -> object:
        try:
            return read(path)
        except Exception:
            return None

    return tried


def outcome(read: Callable[[Path], object], path: Path) -> object:
    """Return what it gives, or its reason."""
    try:
        return read(path)
    except Unreadable as why:
        return why.reason


def measure(paths: list[Path], turns: int) -> dict[str, object]:
    """Return files per second, ratios, and how the scan decided, after comparing every value."""
    certain = [found is not None for found in map(fast, paths)]
    differing = sum(
        repr(fast(path)) != repr(outcome(careful, path))
        for path, sure in zip(paths, certain, strict=True)
        if sure
    )
    seconds = cpu_in_turns({"radstart": scan, **PEERS, "careful": careful}, paths, turns)
    return {
        "files": len(paths),
        "certain": sum(certain),
        "differing": differing,
        "files_per_second": {
            name: round(len(paths) / statistics.median(taken)) for name, taken in seconds.items()
        },
        "times_faster": {
            name: round(paired_ratio(taken, seconds["radstart"]), 2)
            for name, taken in seconds.items()
        },
        "seconds": seconds,
    }


def cpu_in_turns(
    readers: Mapping[str, Callable[[Path], object]], paths: list[Path], turns: int
) -> dict[str, list[float]]:
    """Return the seconds of one core that every reader takes in every turn, after one untimed."""
    seconds: dict[str, list[float]] = {name: [] for name in readers}
    for turn in range(turns + 1):
        for name, read in readers.items():
            tried = surviving(read)
            started = time.process_time()
            for path in paths:
                tried(path)
            if turn:
                seconds[name].append(time.process_time() - started)
    return seconds


PEERS = {
    "dcmread": bare,
    "dcmread before pixels": bare_before_pixels,
    "dcmread, tags": with_tags,
    "dcmread before pixels, tags": before_pixels,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--turns", type=int, default=5)
    given = parser.parse_args()
    warnings.simplefilter("ignore")  # pydicom's, of oddities
    with tempfile.TemporaryDirectory() as name:
        sets = {"generated CT": write_slices(Path(name), given.files)}
        for title, folder in (
            ("MR slices", "dicom_mr_tcia_brain"),
            ("oddities", "dicom_samples_mixed/files"),
        ):
            found = sorted(p for p in (SHARED / folder).rglob("*") if p.is_file())
            real = [p for p in found if p.suffix not in (".csv", ".md")]
            if real:
                sets[title] = real
        details = {title: measure(paths, given.turns) for title, paths in sets.items()}
    rows = []
    for title, facts in details.items():
        per_second, faster = facts["files_per_second"], facts["times_faster"]
        best = min(PEERS, key=faster.__getitem__)
        wanted = title != "oddities"
        rows.append(
            Row(
                f"DICOM headers, {title}, files/s on one core",
                figure(per_second["radstart"]),
                f"pydicom.{best} (its fastest way)",
                figure(per_second[best]),
                f"{faster[best]:.1f}x; with the same tags {faster['dcmread, tags']:.1f}x",
                "at least 5x, no value differs" if wanted else "",
                faster[best] >= 5 and not facts["differing"] if wanted else None,
            )
        )
    keep("headers", rows, details)


if __name__ == "__main__":
    main()
