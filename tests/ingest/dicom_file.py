"""DICOM files made for tests."""

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, ExplicitVRLittleEndian, SecondaryCaptureImageStorage

PLANTED = "Zyx^Planted"


def item(**tags):
    """Return a data set with these elements."""
    made = Dataset()
    for name, value in tags.items():
        setattr(made, name, value)
    return made


def header(values, *, frames=0, bits=None, photometric=None, **tags):
    """Return a data set that describes values: ([frames,] H, W[, 3]) integers."""
    shape = values.shape[1:] if frames else values.shape
    made = item(
        PatientName=PLANTED,
        SOPClassUID=SecondaryCaptureImageStorage,
        SOPInstanceUID="1.2.3",
        Rows=shape[0],
        Columns=shape[1],
        SamplesPerPixel=shape[2] if len(shape) == 3 else 1,
        PhotometricInterpretation=photometric or ("RGB" if len(shape) == 3 else "MONOCHROME2"),
        BitsAllocated=8 * values.dtype.itemsize,
        BitsStored=bits or 8 * values.dtype.itemsize,
        HighBit=(bits or 8 * values.dtype.itemsize) - 1,
        PixelRepresentation=int(values.dtype.kind == "i"),
    )
    if len(shape) == 3:
        made.PlanarConfiguration = 0
    if frames:
        made.NumberOfFrames = frames
    for name, value in tags.items():
        setattr(made, name, value)
    return made


def save(path, made, data, syntax=ExplicitVRLittleEndian, name="PixelData", vr=None):
    """Write a data set with these bytes (or these frames' streams: a list) as its pixels."""
    syntax = UID(syntax)
    packed = isinstance(data, list)
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = syntax
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    if data is not None:
        data = encapsulate(data) if packed else data + b"\0" * (len(data) % 2)
        made.add_new(name, vr or ("OB" if packed else "OW"), data)
        made[name].is_undefined_length = packed
    made.save_as(path, enforce_file_format=True)
    return path


def simple(path, values, syntax=ExplicitVRLittleEndian, **options):
    """Write values as they are."""
    values = np.asarray(values)
    return save(path, header(values, **options), values.tobytes(), syntax)
