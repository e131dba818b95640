"""An archive in which everything that could tell a person is planted, wherever a file can hold it.

Every planted text begins with MARK, every planted date, time and number is one of NUMBERS:
whatever of it is found in what was written or printed got there out of a header or a name.
"""

import os
import struct
import zipfile
from io import BytesIO
from pathlib import Path

import nibabel
import numpy as np
import pyarrow.parquet as pq
from dicom_files import ct, element, encoded, enhanced, item
from PIL import Image, PngImagePlugin
from pydicom.datadict import DicomDictionary
from pydicom.sequence import Sequence

MARK = "zqmark"
NUMBERS = ("19530417", "20190823", "053041", "1953-04-17", "7741826", "999.4242")
UID = "1.2.826.0.1.999.4242"
RNG = np.random.default_rng(5)


def word(text):
    """Return a text that is known again."""
    return f"ZQMARK{text}"


def patient(k, **changes):
    """Return a CT slice with all that a person can be known by; k tells patients apart."""
    inner = item(
        PatientName=word("Inner"), ScheduledProcedureStepDescription=word("Scheduled"),
        RequestedProcedureDescription=word("Requested"), AccessionNumber="7741826",
        StudyDate="20190823",
    )  # fmt: skip
    deep = item(RequestAttributesSequence=Sequence([inner]), PatientID=word("DEEP"))
    given = {
        "PatientName": f"{word('Meier')}^{word('Hans')}={word('汉')}",
        "SpecificCharacterSet": "ISO_IR 192",
        "PatientID": word(f"PID{k}"),
        "OtherPatientIDs": word("OTHER"),
        "IssuerOfPatientID": word("ISSUER"),
        "PatientBirthDate": "19530417",
        "PatientBirthTime": "053041",
        "PatientAddress": word("Street"),
        "PatientComments": word("comment"),
        "PatientMotherBirthName": word("Mother"),
        "EthnicGroup": word("ETH"),
        "AccessionNumber": "7741826",
        "StudyDate": "20190823",
        "SeriesDate": "20190823",
        "ContentDate": "20190823",
        "AcquisitionDateTime": "20190823053041",
        "StudyTime": "053041",
        "StudyID": word("STUDY"),
        "InstitutionName": word("Clinic"),
        "InstitutionAddress": word("Town"),
        "InstitutionalDepartmentName": word("Department"),
        "StationName": word("STATION"),
        "DeviceSerialNumber": word("SERIAL"),
        "ReferringPhysicianName": word("Doctor"),
        "OperatorsName": word("Operator"),
        "StudyDescription": word("Thorax of Hans"),
        "SeriesDescription": word("Chest of Hans"),
        "ProtocolName": word("Protocol of Hans"),
        "ImageComments": word("image comment"),
        "RequestAttributesSequence": Sequence([deep]),
        "SOPInstanceUID": f"{UID}.1.{k}.{RNG.integers(1 << 30)}",
        "SeriesInstanceUID": f"{UID}.2.{k}",
        "StudyInstanceUID": f"{UID}.3.{k}",
        "FrameOfReferenceUID": f"{UID}.4",
        "ReferencedImageSequence": Sequence([item(ReferencedSOPInstanceUID=f"{UID}.5")]),
        "WindowCenter": ["40", "400"],
        "WindowWidth": ["80", "1500"],
        "WindowCenterWidthExplanation": [word("window"), word("other")],
        "RescaleType": word("RT"),
        "ImageType": ["ORIGINAL", "PRIMARY", word("KIND")],
        "ViewPosition": word("VIEW"),
        "BodyPartExamined": word("BODY"),
        "PatientAge": "041Y",
        "Rows": 24,
        "Columns": 20,
        "PixelData": RNG.integers(900, 1200, (24, 20), dtype=np.uint16).tobytes(),
    }
    made = ct(**{**given, **changes})
    block = made.private_block(0x0029, word("PRIVATE"), create=True)
    block.add_new(0x10, "LO", word("private text"))
    block.add_new(0x11, "OB", word("private bytes").encode() * 2)
    block.add_new(0x12, "SQ", Sequence([item(PatientName=word("PrivateInner"))]))
    made.add_new(0x60000010, "US", 4)
    made.add_new(0x60000011, "US", 4)
    made.add_new(0x60000022, "LO", word("overlay"))
    made.add_new(0x60000040, "CS", "G")
    made.add_new(0x60000050, "SS", [1, 1])
    made.add_new(0x60000100, "US", 1)
    made.add_new(0x60000102, "US", 0)
    made.add_new(0x60001500, "LO", word("overlay label"))
    made.add_new(0x60003000, "OW", b"\1\2")
    return made


def _dicom(folder):
    for k in range(4):
        write(folder / word(f"PID{k // 2}") / f"{word('Meier')}_{k}.dcm", encoded(patient(k // 2)))
    write(folder / "enhanced.dcm", encoded(enhanced(
        PatientName=word("Enhanced"), PatientID=word("PIDE"), AccessionNumber="7741826",
        StudyDate="20190823", InstitutionName=word("Clinic"), SeriesDescription=word("series"),
        SOPInstanceUID=f"{UID}.7", StudyInstanceUID=f"{UID}.8", SeriesInstanceUID=f"{UID}.9",
        Rows=4, Columns=6,
    )))  # fmt: skip
    strange = {
        "Modality": word("MOD"), "PatientSex": word("SEX"), "Laterality": word("LAT"),
        "BurnedInAnnotation": word("BURN"), "SOPClassUID": f"{UID}.6",
    }  # fmt: skip
    write(folder / "strange.dcm", encoded(patient(1, **strange)))


def _every(folder):
    """Write files with every element that DICOM's dictionary has, but those of pixels."""
    number = {"DA": "19530417", "TM": "053041", "DT": "20190823053041", "DS": "999.4242",
              "IS": "7741826", "UL": 7741826, "SL": 7741826, "FD": 999.4242}  # fmt: skip
    code = word("bytes!").encode()
    for k, syntax in enumerate(("1.2.840.10008.1.2.1", "1.2.840.10008.1.2")):
        made = patient(k)
        for tag, (vr, _, _, _, _) in DicomDictionary.items():
            outside = tag >> 16 in (0x0000, 0x0002, 0x0004, 0x0028, 0x5200, 0x7FE0, 0xFFFE)
            if outside or tag in made:
                continue
            if vr == "SQ":
                inner = item(PatientName=word("nest"), StudyDate="19530417", StudyInstanceUID=UID)
                made.add_new(tag, vr, Sequence([inner]))
            elif vr == "UI":
                made.add_new(tag, vr, f"{UID}.{tag}")
            elif vr in number:
                made.add_new(tag, vr, number[vr])
            elif vr in ("OB", "OW", "UN"):
                made.add_new(tag, vr, code)
            elif vr in ("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"):
                made.add_new(tag, vr, word(f"{tag:X}"))
        made.ICCProfile, made.ColorSpace = code, word("SPACE")
        made.SliceThickness, made.Laterality = "2.5", ""
        folder.mkdir(exist_ok=True)
        (folder / f"every{k}.dcm").write_bytes(encoded(made, syntax))


def _broken_dicom(folder):
    whole = encoded(patient(0))
    write(folder / f"{word('cut')}.dcm", whole[:-200])
    write(folder / "head only.dcm", whole[:900])
    for tag, vr in ((0x00280010, "DS"), (0x00281050, "DS"), (0x00281053, "DS"), (0x00280030, "DS"),
                    (0x00280008, "IS"), (0x00101010, "AS"), (0x00080020, "DA"), (0x00200032, "DS"),
                    (0x00280004, "CS"), (0x00280002, "US"), (0x00180050, "DS"), (0x00200013, "IS"),
                    (0x00283006, "US"), (0x00020010, "UI"), (0x00080060, "ZZ")):  # fmt: skip
        names = {0x00280010: "Rows", 0x00281050: "WindowCenter", 0x00281053: "RescaleSlope",
                 0x00280030: "PixelSpacing", 0x00101010: "PatientAge", 0x00080020: "StudyDate",
                 0x00200032: "ImagePositionPatient", 0x00280004: "PhotometricInterpretation",
                 0x00280002: "SamplesPerPixel", 0x00180050: "SliceThickness",
                 0x00200013: "InstanceNumber", 0x00080060: "Modality"}  # fmt: skip
        left = {names[tag]: None} if tag in names else {}
        content = encoded(patient(1, **left))
        at = content.find(struct.pack("<HH", 0x7FE0, 0x0010), 1000)
        value = word(f"value {tag:08x}").encode().ljust(20)
        write(folder / f"bad-{tag:08x}.dcm", content[:at] + element(tag, vr, value) + content[at:])
    report = patient(2, PixelData=None, SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11", Modality="SR")
    write(folder / f"{word('report')}.dcm", encoded(report))


def _others(folder):
    text = PngImagePlugin.PngInfo()
    text.add_text("Patient", word("png"))
    pixels = RNG.integers(0, 255, (20, 30), dtype=np.uint8)
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(folder / f"{word('picture')}.png", pnginfo=text)
    exif = Image.Exif()
    exif[0x010E] = word("exif")
    exif[0x0132] = "1953-04-17"
    Image.fromarray(pixels.T).save(folder / "a.jpg", exif=exif, comment=word("jpeg").encode())
    Image.fromarray(pixels[::-1]).save(folder / "a.tif", tiffinfo={270: word("tiff")})
    header = nibabel.Nifti1Header()
    header["descrip"] = word("descrip").encode()
    header["db_name"] = word("db").encode()
    header["aux_file"] = word("aux").encode()
    header["intent_name"] = word("intent").encode()
    volume = nibabel.Nifti1Image(RNG.integers(0, 99, (6, 7, 3)).astype("i2"), np.eye(4), header)
    nibabel.save(volume, folder / f"{word('volume')}.nii.gz")
    write(folder / f"{word('nrrd')}.nrrd", (
        f"NRRD0004\n# {word('comment')}\ntype: uint8\ndimension: 2\nsizes: 5 4\nencoding: raw\n"
        f"content: {word('content')}\nPatient:={word('key')}\n\n"
    ).encode() + bytes(range(20)))  # fmt: skip
    write(folder / f"{word('meta')}.mha", (
        f"ObjectType = Image\nNDims = 2\nComment = {word('comment')}\nDimSize = 5 4\n"
        f"ElementType = MET_UCHAR\nPatientName = {word('meta')}\nElementDataFile = LOCAL\n"
    ).encode() + bytes(range(20)))  # fmt: skip
    np.savez(folder / f"{word('arrays')}.npz", **{word("only array"): pixels})
    np.savez(folder / "two.npz", **{word("one"): pixels, word("other"): pixels})
    np.savez(folder / "medmnist.npz", train_images=pixels[None], train_labels=np.array([3]))
    np.save(folder / f"{word('array')}.npy", pixels)
    made = BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.comment = word("zip").encode()
        archive.writestr(f"{word('entry')}.npy", b"\x93NUMPY" + word("head").encode())
    write(folder / "broken.npz", made.getvalue())
    for name in ("mednii.nii", "half.png", "half.nrrd", "half.npy"):
        kind = {"mednii.nii": b"\0" * 344 + b"n+1\0", "half.png": b"\x89PNG\r\n\x1a\n",
                "half.nrrd": b"NRRD0004\ntype: ", "half.npy": b"\x93NUMPY\1\0\x20\0"}  # fmt: skip
        write(folder / name, kind[name] + word("tail").encode() * 30)
    write(folder / f"{word('letter')}.txt", word("Dear Hans").encode())
    os.mkfifo(folder / f"{word('fifo')}.dcm")
    (folder / word("link")).symlink_to(folder / word("nowhere"))
    (folder / word("loop")).symlink_to(folder, target_is_directory=True)
    write(folder / os.fsdecode(b"ZQMARK\xff\xfe.dcm"), encoded(patient(3)))


def write(path, content):
    """Write a file, its folder with it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def plant(folder: Path) -> Path:
    """Write the archive; return the folder."""
    _dicom(folder / word("export"))
    _every(folder / "every")
    _broken_dicom(folder / "broken")
    _others(folder / word("others"))
    return folder


def told_in(text: str) -> list[str]:
    """Return what is planted in a text, each with its surroundings."""
    low = text.lower()
    found = []
    for planted in (MARK, *NUMBERS):
        at = low.find(planted)
        if at >= 0:
            found.append(text[max(0, at - 60) : at + 60])
    return found


def told_below(folder: Path, keys: tuple[Path, ...] = ()) -> list[str]:
    """Return what is planted in any name, any byte, and any column of any table below a folder."""
    found = []
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder)).encode(errors="surrogateescape").decode("latin-1")
        texts = [name]
        if path.is_file() and path not in keys:
            content = path.read_bytes()
            texts += [content.decode("latin-1")]
            if path.suffix == ".parquet":
                texts += _table(path)
        found += [f"{path.name}: {said}" for text in texts for said in told_in(text)]
    return found


def _table(path):
    table = pq.read_table(path)
    texts = [str(table.schema.metadata), str(table.schema.names)]
    for column in table.columns:
        texts += (
            [str(value) for value in column.unique().to_pylist()]
            if not str(column.type).startswith("list")
            else [str(column.to_pylist())]
        )
    return texts
