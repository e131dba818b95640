"""The quick scan of DICOM headers gives pydicom's values or none; nothing in a file breaks it."""

import functools
import struct
import tracemalloc
import warnings
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_files import (
    CT,
    UNDEFINED,
    ImplicitVRLittleEndian,
    ct,
    element,
    encoded,
    enhanced,
    item,
)
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydicom.datadict import dictionary_VR
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32, VR

from radstart.ingest.frames import Scan, Unreadable
from radstart.ingest.readers import dicom_bounds, dicom_header, dicom_walk
from radstart.ingest.readers.dicom_scan import careful, fast, scan
from radstart.ingest.readers.dicom_source import opened
from radstart.ingest.readers.dicom_tags import WANTED, age_in_years, no_image

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
BIG_ENDIAN, DEFLATED = "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"


@pytest.fixture
def file(tmp_path):
    def write(data):
        path = tmp_path / "image.dcm"
        path.write_bytes(data)
        return path

    return write


def reason(read, path):
    with pytest.raises(Unreadable) as raised:
        read(path)
    return raised.value.reason


# -- what the two ways give


SYNTAXES = {
    "explicit": (functools.partial(encoded), True),
    "explicit, undefined lengths": (functools.partial(encoded, undefined=True), True),
    "implicit": (functools.partial(encoded, syntax=ImplicitVRLittleEndian), True),
    "implicit, undefined lengths": (
        functools.partial(encoded, syntax=ImplicitVRLittleEndian, undefined=True),
        True,
    ),
    "big endian": (functools.partial(encoded, syntax=BIG_ENDIAN), False),
    "deflated": (functools.partial(encoded, syntax=DEFLATED), False),
}


@pytest.mark.parametrize("name", SYNTAXES)
def test_a_row_of_a_ct_slice(name, file):
    encode, certain = SYNTAXES[name]
    path = file(encode(ct()))
    assert (fast(path) is not None) is certain
    found = scan(path)
    assert found == careful(path)
    assert (found.reader, found.images, found.each, found.volume) == ("dicom", 1, {}, False)
    syntax = found.tags["syntax"]
    assert pydicom.dcmread(path).file_meta.TransferSyntaxUID == syntax
    assert {k: v for k, v in found.tags.items() if k != "syntax"} == {
        "patient": "PID-4711",
        "exam": "1.2.3.4",
        "series": "1.2.3.4.5",
        "image_id": "1.2.3.4.5.6",
        "modality": "CT",
        "body_part": "CHEST",
        "description": "Thorax nativ",
        "protocol": "1.1 ThorRoutine",
        "study": "THORAX",
        "view": None,
        "manufacturer": "Müller & Co",
        "site": "Klinik Süd",
        "image_type": "ORIGINAL\\PRIMARY\\AXIAL",
        "sop_class": CT,
        "laterality": "",
        "sex": "F",
        "age": 41.0,
        "spacing": (0.7, 0.8),
        "spacing_from": "PixelSpacing",
        "thickness": 2.5,
        "orientation": (1, 0, 0, 0, 1, 0),
        "position": (-125.5, -130, 125),
        "instance": 17,
        "acquisition": 2,
        "burned_in": "NO",
        "rows": 4,
        "cols": 6,
        "has_pixels": True,
    }


CHANGES = [
    ({"SpecificCharacterSet": "ISO_IR 192"}, True, {"site": "Klinik Süd"}),
    ({"SpecificCharacterSet": None, "InstitutionName": "plain"}, True, {"site": "plain"}),
    (
        {"SpecificCharacterSet": "ISO_IR 144", "InstitutionName": "Больница", "Manufacturer": ""},
        True,
        {"site": "Больница", "manufacturer": None},
    ),
    (
        {
            "SpecificCharacterSet": ["", "ISO 2022 IR 87"],
            "InstitutionName": "病院",
            "Manufacturer": "",
        },
        False,
        {"site": "病院", "manufacturer": None},
    ),
    (
        {"SpecificCharacterSet": ["", "ISO 2022 IR 87"], "PatientName": "Yamada^Tarou=山田^太郎"},
        True,
        {"site": "Klinik Süd"},
    ),
    ({"PixelSpacing": None, "ImagerPixelSpacing": ["0.1", "0.2"]}, True, {"spacing": (0.1, 0.2)}),
    ({"PixelSpacing": ["0", "1"]}, True, {"spacing": None, "spacing_from": None}),
    ({"PatientAge": "018M"}, True, {"age": 1.5}),
    ({"PatientAge": None}, True, {"age": 41.45}),
    ({"PatientAge": "", "PatientBirthDate": ""}, True, {"age": None}),
    ({"PatientSex": "O"}, True, {"sex": "O"}),
    ({"PatientSex": ""}, True, {"sex": ""}),
    ({"Laterality": "R"}, True, {"laterality": "R"}),
    ({"Laterality": "R", "ImageLaterality": "L"}, True, {"laterality": "L"}),
    ({"BurnedInAnnotation": "YES"}, True, {"burned_in": "YES"}),
    ({"InstanceNumber": None, "SliceThickness": ""}, True, {"instance": None, "thickness": None}),
    ({"NumberOfFrames": 4, "PixelData": bytes(192)}, True, {"rows": 4}),
    ({"ViewPosition": "PA", "Modality": "DX"}, True, {"view": "PA"}),
]


@pytest.mark.parametrize(("changes", "certain", "expected"), CHANGES)
def test_what_may_stand_in_a_header(changes, certain, expected, file):
    path = file(encoded(ct(**changes)))
    assert (fast(path) is not None) is certain
    found = scan(path)
    assert found == careful(path)
    assert found.images == changes.get("NumberOfFrames", 1)
    assert {key: found.tags[key] for key in expected} == expected


ODD = [
    element(0x00200013, "IS", b"1.0 "),
    element(0x00200013, "IS", b"1\\2 "),
    element(0x00200013, "IS", b"99999999999 "),
    element(0x00200013, "LO", b"12"),
    element(0x00180050, "DS", b"two "),
    element(0x00180050, "DS", b"1,5 "),
    element(0x00180050, "UN", b"1.5 "),
    element(0x00100020, "LO", b"A\\B "),
    element(0x00100020, "ZZ", b"AB"),
    element(0x00280010, "US", b"\4\0\5\0"),
    element(0x00280010, "UL", b"\4\0\0\0"),
    element(0x0020000D, "UI", b"1.2\t\0"),
    element(0x00080005, "CS", b"ISO_IR 100"),  # twice
    element(0x00290010, "OB", b"\xfe\xff\xdd\xe0\0\0\0\0", UNDEFINED),
    element(0x00290010, "UN", b"\xfe\xff\xdd\xe0\0\0\0\0", UNDEFINED),
]


@pytest.mark.parametrize("extra", ODD)
def test_what_is_odd_goes_the_careful_way(extra, file):
    """The element stands in the place of its proper one, or as a second one."""
    keyword = pydicom.datadict.keyword_for_tag(struct.unpack("<HH", extra[:4]))
    keep_first = keyword == "SpecificCharacterSet"
    data = encoded(ct(**({keyword: None} if keyword and not keep_first else {})))
    at = data.index(element(0x00280002, "US", b"\1\0"))
    path = file(data[:at] + extra + data[at:])
    assert fast(path) is None
    assert isinstance(scan(path), Scan)


def test_padding_is_no_value(file):
    data = encoded(ct(PatientID=None, SliceThickness=None, StudyInstanceUID=None))
    extra = element(0x00100020, "LO", b"AB\0 ") + element(0x00180050, "DS", b" 2.50\0")
    extra += element(0x0020000D, "UI", b"1.2\0\0\0")
    at = data.index(element(0x00280002, "US", b"\1\0"))
    path = file(data[:at] + extra + data[at:])
    assert fast(path) == careful(path)
    tags = fast(path).tags
    assert (tags["patient"], tags["thickness"], tags["exam"]) == ("AB", 2.5, "1.2")


def test_private_data_larger_than_the_window_are_stepped_over(file):
    made = ct()
    block = made.private_block(0x0029, "SOMEBODY", create=True)
    for k in range(3):
        block.add_new(k, "OB", bytes(100_000 + k))
    made.add_new(0x00280301, "CS", "YES")
    path = file(encoded(made))
    assert fast(path) == careful(path)
    assert fast(path).tags["burned_in"] == "YES"


@pytest.mark.slow
def test_values_across_the_end_of_the_window(file, monkeypatch):
    monkeypatch.setattr(dicom_walk, "WINDOW", 1024)
    for syntax in ("1.2.840.10008.1.2.1", ImplicitVRLittleEndian):
        for undefined in (False, True):
            data = encoded(ct(), syntax, undefined)
            start = data.index(b"\x08\0\x05\0")
            first = struct.pack("<HH", 9, 0x1010) + (b"OB\0\0" if "2.1" in syntax else b"")
            for size in range(0, 1100, 9):
                blob = first + struct.pack("<I", size) + bytes(size)
                at = data.index(b"\x10\0\x10\0", start)
                path = file(data[:at] + blob + data[at:])
                found = fast(path)
                assert found == careful(path)


def test_only_some_windows_and_some_bytes_are_read(file, monkeypatch):
    made = ct()
    block = made.private_block(0x0029, "SOMEBODY", create=True)
    for k in range(20):
        block.add_new(k, "OB", bytes(5000))
    path = file(encoded(made))
    assert fast(path) is not None
    monkeypatch.setattr(dicom_walk, "WINDOW", 4096)
    assert fast(path) is None
    monkeypatch.undo()
    for module in (dicom_walk, dicom_bounds):
        monkeypatch.setattr(module, "HEADER_BYTES", 50_000)
    assert fast(path) is None
    assert reason(scan, path) == "a header of more than 0 MB"


def test_without_vrs_the_same_is_odd(file):
    data = encoded(ct(), ImplicitVRLittleEndian)
    at = data.index(struct.pack("<HH", 0x0028, 2))
    twice = struct.pack("<HHI", 0x0020, 0x0013, 2) + b"18"
    path = file(data[:at] + twice + data[at:])
    assert fast(path) is None
    assert scan(path).tags["instance"] == 18  # the last leads, as pydicom has it
    path = file(encoded(ct(PixelData=b""), ImplicitVRLittleEndian))
    assert reason(scan, path) == "no pixels: their element is empty"


@pytest.mark.parametrize(
    "inner",
    [
        element(0x00080005, "CS", b"a\0b "),  # Python's look-up of it raises
        element(0x00091010, "UN", b"\xfe\xff\xdd\xe0\0\0\0\0", UNDEFINED),
        element(0x00091010, "OB", b"\xfe\xff\xdd\xe0\0\0\0\0", UNDEFINED),
        element(0x00091010, "ZZ", b"ab"),
        struct.pack("<HHI", 0xFFFE, 0xE0DD, 0),
    ],
)
def test_what_is_odd_inside_of_a_sequence_without_length(inner, file):
    one = struct.pack("<HHI", 0xFFFE, 0xE000, len(inner)) + inner
    sequence = element(0x00081140, "SQ", one, UNDEFINED) + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    data = encoded(ct(ReferencedImageSequence=None))
    at = data.index(b"\x10\0\x10\0PN")
    path = file(data[:at] + sequence + data[at:])
    assert fast(path) is None
    assert isinstance(outcome(scan, path), Scan | str)


def test_the_class_may_stand_in_the_files_own_group(file):
    segmentation = "1.2.840.10008.5.1.4.1.1.66.4"
    data = encoded(ct(SOPClassUID=segmentation))
    whole = element(0x00080016, "UI", segmentation.encode())
    path = file(data.replace(whole, b""))
    assert path.stat().st_size < len(data)
    assert reason(scan, path) == "a derived mask (segmentation)"


def test_tags_hidden_in_values_are_not_found(file):
    """An image's icon has rows of its own; private data may hold anything."""
    inner = element(0x00100020, "LO", b"OTHER ") + element(0x7FE00010, "OW", b"ab")
    icon = item(Rows=64, Columns=64, PixelData=b"ab")
    icon["PixelData"].VR = "OW"
    made = ct(IconImageSequence=[icon])
    made.private_block(0x0009, "X", create=True).add_new(1, "UN", inner)
    for undefined in (False, True):
        found = fast(file(encoded(made, undefined=undefined)))
        assert (found.tags["patient"], found.tags["rows"]) == ("PID-4711", 4)


# -- enhanced multi-frame


def test_functional_groups(file):
    path = file(encoded(enhanced()))
    assert fast(path) is None
    found = scan(path)
    assert (found.images, found.volume) == (3, True)
    assert found.each == {
        "position": [(0, 0, 0), (0, 0, 2), (0, 0, 4)],
        "slope": [1.5, 2.5, 3.5],
    }
    expected = {
        "orientation": (1, 0, 0, 0, 1, 0),
        "spacing": (0.5, 0.25),
        "spacing_from": "PixelSpacing",
        "thickness": 2,
        "intercept": -7,
    }
    assert {key: found.tags[key] for key in expected} == expected


def test_frames_in_one_place_or_without_orientation_are_no_volume(file):
    assert not scan(file(encoded(enhanced(step=0.0)))).volume
    assert not scan(file(encoded(enhanced(shared=False)))).volume
    assert scan(file(encoded(enhanced(step=-1.0)))).volume


def test_groups_that_are_not_as_many_as_the_frames_are_left_out(file):
    found = scan(file(encoded(enhanced(NumberOfFrames=2))))
    assert (found.images, found.each, found.tags["thickness"]) == (2, {}, 2)


# -- files without images, and broken ones


CLASSES = {
    "1.2.840.10008.5.1.4.1.1.88.33": "no pixels: a structured report",
    "1.2.840.10008.5.1.4.1.1.88.59": "no pixels: a selection of key objects",
    "1.2.840.10008.5.1.4.1.1.11.1": "no pixels: a presentation state",
    "1.2.840.10008.5.1.4.1.1.9.1.1": "no pixels: a waveform",
    "1.2.840.10008.5.1.4.1.1.481.5": "no pixels: a plan of radiotherapy",
    "1.2.840.10008.5.1.4.1.1.481.3": "no pixels: contours of radiotherapy (RTSTRUCT)",
    "1.2.840.10008.5.1.4.1.1.481.2": "a dose grid",
    "1.2.840.10008.5.1.4.1.1.66.4": "a derived mask (segmentation)",
    "1.2.840.10008.5.1.4.1.1.67": "no pixels: a mapping to real-world values",
    "1.2.840.10008.5.1.4.1.1.104.1": "no pixels: a document or model",
}


@pytest.mark.parametrize("sop_class", CLASSES)
def test_objects_that_are_no_images(sop_class, file):
    """Whether or not there are pixels in them."""
    for pixels in (bytes(48), None):
        path = file(encoded(ct(SOPClassUID=sop_class, PixelData=pixels)))
        assert fast(path) is None
        assert reason(scan, path) == CLASSES[sop_class]


def test_images_are_not_taken_for_others():
    for last in ("2", "4", "1.1", "7", "6.1", "12.1", "20", "128", "481.1", "13.1.3", "77.1.6"):
        assert no_image("1.2.840.10008.5.1.4.1.1." + last) == ""


def test_a_dicomdir_is_not_followed(file):
    made = item(SOPClassUID=CT, SOPInstanceUID="1.2")
    data = encoded(made).replace(CT.encode() + b"\0", b"1.2.840.10008.1.3.10".ljust(26, b"\0"))
    records = element(0x00041220, "SQ", b"")
    path = file(data[: data.index(b"\x08\0\x16\0")] + records)
    assert reason(scan, path) == "a DICOMDIR, a list of files: not followed"


def cut(data, before):
    return data[: data.index(before)]


PROTOCOL = b"\x18\0\x30\x10LO"
BROKEN = {
    "an empty file (0 bytes)": b"",
    "not a DICOM file": b"\x89PNG\r\n\x1a\n" + bytes(300),
    "no pixels": encoded(ct(PixelData=None)),
    "no pixels: their element is empty": encoded(ct(PixelData=b"")),
    "cut off inside of its header": cut(encoded(ct()), b"Routine"),
    "claims more than 100 million pixels in an image": encoded(ct(Rows=60000, Columns=60000)),
    "claims more images than the file can hold": encoded(ct(NumberOfFrames=2**31 - 1)),
    "cut off inside of its header ": cut(encoded(ct()), PROTOCOL)
    + element(0x00181030, "UT", b"ten bytes.", 2**31 - 2),
    "a broken DICOM header (OSError)": cut(encoded(ct(), undefined=True), b"\xfe\xff\xdd\xe0"),
}


@pytest.mark.parametrize("why", BROKEN)
def test_broken_files_are_refused_for_their_reason(why, file):
    assert reason(scan, file(BROKEN[why])) == why.strip()


def test_paths_that_are_no_files(tmp_path):
    import os

    assert reason(scan, tmp_path) == "not a file"
    assert reason(scan, tmp_path / "none") == "no such file"
    (tmp_path / "link").symlink_to(tmp_path / "none")
    assert reason(scan, tmp_path / "link") == "a link that leads nowhere"
    os.mkfifo(tmp_path / "pipe")
    assert reason(scan, tmp_path / "pipe") == "not a file"


def nested(depth, undefined):
    inner = b""
    for _ in range(depth):
        if undefined:
            inner = struct.pack("<HHI", 0xFFFE, 0xE000, UNDEFINED) + inner
            inner += struct.pack("<HHI", 0xFFFE, 0xE00D, 0)
            inner += struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
            inner = element(0x00081140, "SQ", inner, UNDEFINED)
        else:
            inner = struct.pack("<HHI", 0xFFFE, 0xE000, len(inner)) + inner
            inner = element(0x00081140, "SQ", inner)
    return inner


@pytest.mark.parametrize("undefined", [False, True])
def test_a_thousand_nested_sequences(undefined, file):
    data = encoded(ct(ReferencedImageSequence=None))
    at = data.index(b"\x10\0\x10\0PN")
    path = file(data[:at] + nested(1000, undefined) + data[at:])
    if undefined:
        assert reason(scan, path).startswith("a broken DICOM header")
        few = file(data[:at] + nested(6, undefined) + data[at:])
        assert fast(few) == careful(few)
    else:
        assert scan(path) == careful(path)  # stepped over, never entered


def test_a_declared_length_is_not_allocated(file):
    path = file(cut(encoded(ct()), PROTOCOL) + element(0x00181030, "UT", b"ten bytes.", 2**31 - 2))
    tracemalloc.start()
    try:
        assert reason(careful, path) == "cut off inside of its header"
        with pytest.raises(Unreadable), opened(path):
            pass
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def deflated(body):
    meta = encoded(ct(), DEFLATED)
    start = 144 + struct.unpack_from("<I", meta, 140)[0]
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    return meta[:start] + squeeze.compress(body) + squeeze.flush()


def test_a_deflate_bomb_is_bounded(file, monkeypatch):
    for module in (dicom_header, dicom_bounds):
        monkeypatch.setattr(module, "HEADER_BYTES", 2 * 2**20)
    bomb = element(0x00080005, "CS", b"ISO_IR 100") + element(0x00090010, "OB", bytes(60 * 2**20))
    path = file(deflated(bomb))
    assert path.stat().st_size < 100_000
    tracemalloc.start()
    try:
        assert reason(scan, path) == "a header of more than 2 MB"
        assert tracemalloc.get_traced_memory()[1] < 40 * 2**20
    finally:
        tracemalloc.stop()


def test_deflated_pixels_are_not_inflated(file):
    head = cut(encoded(ct(Rows=4000, Columns=4000)), element(0x7FE00010, "OW", b"")[:8])
    head = head[144 + struct.unpack_from("<I", head, 140)[0] :]
    path = file(deflated(head + element(0x7FE00010, "OW", bytes(32_000_000))))
    tracemalloc.start()
    try:
        assert scan(path).tags["rows"] == 4000
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    finally:
        tracemalloc.stop()


def test_a_header_of_too_many_elements(file, monkeypatch):
    monkeypatch.setattr(dicom_bounds, "HEADER_READS", 5000)
    data = encoded(ct(PixelData=None))
    path = file(data + b"".join(element(0x30010000 + k, "LO", b"") for k in range(6000)))
    assert reason(scan, path) == "a header of too many elements"


def test_files_without_preamble(file):
    data = encoded(ct())
    meta = 144 + struct.unpack_from("<I", data, 140)[0]
    for part in (data[132:], data[meta:]):
        assert fast(file(part)) is None
        assert scan(file(part)).tags["patient"] == "PID-4711"
    assert reason(scan, file(b"\x08\0 nonsense that begins like a group 8")) == "not a DICOM file"


def test_no_word_of_a_header_is_in_a_reason_or_a_log(file, caplog):
    """pydicom's own messages quote what they could not read."""
    planted = b"PLANTED^NAME"
    data = encoded(ct(PatientName=planted.decode(), InstanceNumber=None))
    for broken in (
        data.replace(b"\x10\0\x10\0PN", b"\x10\0\x10\0\xff\xfe"),
        data.replace(element(0x00280010, "US", b"\4\0"), element(0x00280010, "IS", planted)),
        data.replace(b"ISO_IR 100", planted[:10]),
        data.replace(element(0x00020000, "UL", b"")[:8], element(0x00020000, "UL", planted)[:8]),
        cut(data, b"1.1 ThorR"),
    ):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            got = outcome(careful, file(broken))
        assert isinstance(got, Scan) or "PLANTED" not in got
        assert not caught
    assert not caplog.records
    with pytest.raises(Unreadable) as raised:
        careful(file(BROKEN["a broken DICOM header (OSError)"]))
    assert raised.value.__suppress_context__


# -- ages


@pytest.mark.parametrize(
    ("age", "born", "studied", "years"),
    [
        ("041Y", "", "", 41.0),
        ("018M", "", "", 1.5),
        ("010W", "", "", 0.19),
        ("005D", "", "", 0.01),
        ("000D", "", "", 0.0),
        ("41y ", "", "", 41.0),
        ("999Y", "", "", None),
        ("999Y", "19800101", "20200101", 40.0),
        ("041", "", "", None),
        ("", "19791231", "20200101", 40.0),
        ("", "1979.12.31", "2020.01.01", 40.0),
        ("", "20200101", "19791231", None),
        ("", "18000101", "20200101", None),
        ("", "19800231", "20200101", None),
        ("", "19800101", "", None),
        ("-10Y", "", "", None),
        ("٤١Y", "", "", None),
    ],
)
def test_ages(age, born, studied, years):
    assert age_in_years(age, born, studied) == years


# -- the tables agree with pydicom's


def test_the_tables_are_those_of_pydicom():
    assert all(dictionary_VR(tag) == vr for tag, (vr, _) in WANTED.items())
    assert set(dicom_walk._LONG_VRS.split()) == {str(vr) for vr in EXPLICIT_VR_LENGTH_32}
    plain = {str(vr) for vr in VR if len(vr) == 2}
    assert set(dicom_walk._SHORT_VRS.split()) == plain - set(dicom_walk._LONG_VRS.split())


# -- against pydicom on every file at hand


def outcome(read, path):
    try:
        return read(path)
    except Unreadable as why:
        return why.reason


def plain(value):
    """Return pydicom's value as text or numbers."""
    if value is None or isinstance(value, str):
        return str(value or "").strip() or None
    if isinstance(value, int | float):
        return value
    return tuple(value)


SAME = {  # columns that are an element's value as it stands
    "patient": "PatientID",
    "exam": "StudyInstanceUID",
    "series": "SeriesInstanceUID",
    "image_id": "SOPInstanceUID",
    "modality": "Modality",
    "body_part": "BodyPartExamined",
    "description": "SeriesDescription",
    "protocol": "ProtocolName",
    "study": "StudyDescription",
    "view": "ViewPosition",
    "manufacturer": "Manufacturer",
    "site": "InstitutionName",
    "sop_class": "SOPClassUID",
    "instance": "InstanceNumber",
    "acquisition": "AcquisitionNumber",
    "orientation": "ImageOrientationPatient",
    "position": "ImagePositionPatient",
    "rows": "Rows",
    "cols": "Columns",
    "thickness": "SliceThickness",
    "spacing": "PixelSpacing",
}


def real_files(folder):
    if not (SHARED / folder).is_dir():
        pytest.skip(f"../shared/data/{folder} is not here")
    return sorted(
        path
        for path in (SHARED / folder).rglob("*")
        if path.is_file() and path.suffix not in (".csv", ".md")
    )


@pytest.mark.real
@pytest.mark.parametrize(
    ("folder", "least"), [("dicom_samples_mixed/files", 90), ("dicom_mr_tcia_brain", 145)]
)
def test_every_real_file(folder, least):
    """Fast = careful = pydicom's own values; at least so many are read the fast way."""
    certain = 0
    for path in real_files(folder):
        found, slow = fast(path), outcome(careful, path)
        certain += found is not None
        assert found is None or found == slow, path.name
        if isinstance(slow, str):
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = pydicom.dcmread(path, force=True, stop_before_pixels=True)
            for column, keyword in SAME.items():
                value = plain(theirs.get(keyword))
                if column == "thickness" and not value:
                    value = None
                if column in ("spacing", "orientation", "position") and keyword not in theirs:
                    continue  # from the imager's spacing, or a functional group
                if column == "thickness" and "SharedFunctionalGroupsSequence" in theirs:
                    continue
                assert slow.tags[column] == value, (path.name, column)
            frames = int(theirs.get("NumberOfFrames") or 1)
        assert slow.images == frames, path.name
    assert certain >= least


@pytest.mark.real
def test_refusals_agree_with_the_manifest_of_the_oddities():
    """What decodes there is scanned, but for masks and doses; what has no pixels is refused."""
    import pandas as pd

    manifest = pd.read_csv(SHARED / "dicom_samples_mixed" / "manifest.csv")
    for row in manifest.itertuples():
        path = SHARED / "dicom_samples_mixed" / row.file
        got = outcome(scan, path)
        if row.pydicom_decode == "no pixel data" and "2k_lossless_too_short" not in row.file:
            assert isinstance(got, str), row.file
        elif row.modality in ("SEG", "RTDOSE"):
            assert got in ("a derived mask (segmentation)", "a dose grid"), row.file
        elif row.pydicom_decode == "ok" and not row.file.endswith(".dcmdir"):
            assert isinstance(got, Scan), row.file


# -- differential fuzzing


BASES = [
    encoded(ct()),
    encoded(ct(), undefined=True),
    encoded(ct(), ImplicitVRLittleEndian),
    encoded(ct(), ImplicitVRLittleEndian, undefined=True),
    encoded(ct(SpecificCharacterSet="ISO_IR 192")),
    encoded(ct(), BIG_ENDIAN),
    encoded(ct(), DEFLATED),
    encoded(enhanced()),
]
PIECES = st.sampled_from(
    [b"\\", b"\0", b" ", b"\xff\xff\xff\xff", b"UN", b"SQ", b"OB", b"nan", b"1_0", b"\x1b$B", b"-"]
    + [struct.pack("<HHI", 0xFFFE, last, 0) for last in (0xE000, 0xE00D, 0xE0DD)]
    + [element(0x7FE00010, "OW", b"ab"), element(0x52009230, "SQ", b"")]
)
VALUES = st.one_of(
    st.sampled_from([b"", b"1", b"1.0 ", b"1\\2 ", b"1\\0\\0\\0\\1\\0 ", b"\4\0", b"\4\0\6\0"]),
    st.sampled_from([b"ISO_IR 13", b"\\ISO 2022 IR 87", b"041Y", b"1e3 ", b"5\0", b"\xe4", b"1.2"]),
    st.binary(max_size=12),
)
ELEMENTS = st.builds(
    lambda tag, value, vr: element(tag, vr or WANTED[tag][0], value),
    st.sampled_from(sorted(WANTED)),
    VALUES,
    st.sampled_from(["", "", "", "UN", "LO", "DS", "US", "SQ", "OB", "ZZ"]),
)
WHERE = st.floats(0, 1, exclude_max=True)
EDITS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), WHERE, st.binary(min_size=1, max_size=2)),
        st.tuples(st.just("insert"), WHERE, PIECES),
        st.tuples(st.just("element"), WHERE, ELEMENTS),
        st.tuples(st.just("delete"), WHERE, st.binary(min_size=1, max_size=40)),
        st.tuples(st.just("cut"), WHERE, st.just(b"")),
    ),
    min_size=1,
    max_size=5,
)


def edited(data, edits):
    for what, where, piece in edits:
        at = min(128 + int(where * (len(data) - 128)), len(data))
        if what == "set":
            data = data[:at] + piece + data[at + len(piece) :]
        elif what == "delete":
            data = data[:at] + data[at + len(piece) :]
        elif what == "cut":
            data = data[:at]
        else:
            if what == "element":  # where one begins
                starts = [m for m in range(132, len(data) - 8) if data[m + 4 : m + 6].isupper()]
                at = starts[int(where * len(starts))] if starts else at
            data = data[:at] + piece + data[at:]
    return data


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz") / "image.dcm"


@pytest.mark.slow
@settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@example(BASES[0], [("element", 0.3, element(0x00080018, "UI", b"1.2\0A (\0"))])
@given(st.sampled_from(BASES), EDITS)
def test_fast_equals_careful_or_is_not_certain(scratch, base, edits):
    scratch.write_bytes(edited(base, edits))
    found = fast(scratch)
    slow = outcome(careful, scratch)
    assert found is None or repr(found) == repr(slow)
    assert isinstance(slow, Scan | str)


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=400), st.booleans())
def test_any_bytes(scratch, data, preamble):
    scratch.write_bytes((bytes(128) + b"DICM" if preamble else b"\x08\0") + data)
    assert isinstance(outcome(scan, scratch), Scan | str)


@pytest.mark.slow
def test_one_changed_byte(scratch):
    """Through the whole header; a third at least is read the fast way, or this asks nothing."""
    certain = []
    for base in BASES[:4]:
        for at in range(132, len(base) - 60, 5):
            scratch.write_bytes(base[:at] + bytes([base[at] ^ (1 << at % 8)]) + base[at + 1 :])
            found = fast(scratch)
            certain.append(found is not None)
            assert found is None or repr(found) == repr(outcome(careful, scratch))
    assert np.mean(certain) > 0.33
