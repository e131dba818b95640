"""DICOM files made for the tests."""

import struct
from io import BytesIO

import numpy as np
from pydicom import Dataset, FileMetaDataset, dcmwrite
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

CT = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4.1"
UNDEFINED = 0xFFFFFFFF


def ct(**changes):
    """Return a small CT slice; keywords of `changes` replace, None removes."""
    given = {
        "SpecificCharacterSet": "ISO_IR 100",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "SOPClassUID": CT,
        "SOPInstanceUID": "1.2.3.4.5.6",
        "StudyDate": "20200615",
        "AccessionNumber": "ACC77",
        "Modality": "CT",
        "Manufacturer": "Müller & Co",
        "InstitutionName": "Klinik Süd",
        "StudyDescription": "THORAX",
        "SeriesDescription": "Thorax nativ",
        "ReferencedImageSequence": Sequence([item(ReferencedSOPClassUID=CT), item()]),
        "PatientName": "Planted^Name",
        "PatientID": "PID-4711",
        "PatientBirthDate": "19790101",
        "PatientSex": "F",
        "PatientAge": "041Y",
        "BodyPartExamined": "CHEST",
        "SliceThickness": "2.5",
        "KVP": "120",
        "ProtocolName": "1.1 ThorRoutine",
        "PatientPosition": "HFS",
        "StudyInstanceUID": "1.2.3.4",
        "SeriesInstanceUID": "1.2.3.4.5",
        "SeriesNumber": "3",
        "AcquisitionNumber": "2",
        "InstanceNumber": "17",
        "ImagePositionPatient": ["-125.5", "-130", "1.25e2"],
        "ImageOrientationPatient": ["1", "0", "0", "0", "1", "0"],
        "Laterality": "",
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": 4,
        "Columns": 6,
        "PixelSpacing": ["0.7", "0.8"],
        "BitsAllocated": 16,
        "BitsStored": 12,
        "HighBit": 11,
        "PixelRepresentation": 0,
        "BurnedInAnnotation": "NO",
        "RescaleIntercept": "-1024",
        "RescaleSlope": "1",
        "PixelData": np.arange(24, dtype="<u2").tobytes(),
    }
    return item(**{key: value for key, value in {**given, **changes}.items() if value is not None})


def item(**elements):
    """Return a data set."""
    made = Dataset()
    for key, value in elements.items():
        setattr(made, key, value)
    return made


def encoded(dataset, syntax=ExplicitVRLittleEndian, undefined=False):
    """Return the bytes of a file; with `undefined` sequences and items have no length."""
    for element in dataset:
        if element.VR == "SQ":
            element.is_undefined_length = undefined
            for one in element.value:
                one.is_undefined_length_sequence_item = undefined
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    out = BytesIO()
    dcmwrite(out, dataset, enforce_file_format=True)
    return out.getvalue()


def element(tag, vr, value, length=None):
    """Return an explicit little-endian element; `length` may be a lie."""
    size = len(value) if length is None else length
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr.encode())
    if vr in ("OB", "OW", "OF", "SQ", "UN", "UT", "UC", "OD", "OL", "OV", "SV", "UV", "UR"):
        return head + b"\0\0" + struct.pack("<I", size) + value
    return head + struct.pack("<H", size) + value


def enhanced(frames=3, shared=True, step=2.0, **changes):
    """Return an enhanced MR volume with functional groups of every frame."""
    per_frame = [
        item(
            PlanePositionSequence=Sequence([item(ImagePositionPatient=[0, 0, k * step])]),
            FrameContentSequence=Sequence([item(StackID="1", InStackPositionNumber=k + 1)]),
            PixelValueTransformationSequence=Sequence(
                [item(RescaleSlope=1.5 + k, RescaleIntercept=-7, RescaleType="US")]
            ),
        )
        for k in range(frames)
    ]
    common = item(
        PlaneOrientationSequence=Sequence([item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])]),
        PixelMeasuresSequence=Sequence([item(PixelSpacing=[0.5, 0.25], SliceThickness=2)]),
    )
    plain = {
        "SOPClassUID": ENHANCED_MR,
        "Modality": "MR",
        "NumberOfFrames": frames,
        "PerFrameFunctionalGroupsSequence": Sequence(per_frame),
        "SharedFunctionalGroupsSequence": Sequence([common]) if shared else None,
        "PixelSpacing": None,
        "ImagePositionPatient": None,
        "ImageOrientationPatient": None,
        "SliceThickness": None,
        "PixelData": bytes(48 * frames),
    }
    return ct(**{**plain, **changes})


__all__ = ["ImplicitVRLittleEndian", "ct", "element", "encoded", "enhanced", "item"]
