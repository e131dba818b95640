"""The quick way to a header gives the frames that pydicom's own way gives, or is not taken."""

import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
from dicom_files import ct, element, encoded, item
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_files
from pydicom.datadict import tag_for_keyword
from pydicom.sequence import Sequence
from pydicom.uid import ImplicitVRLittleEndian
from test_dicom_scan import SHARED, edited

from radstart.ingest.frames import Unreadable
from radstart.ingest.readers import dicom_source
from radstart.ingest.readers.dicom import frames
from radstart.ingest.readers.dicom_walk import UNSURE, Unsure

_quick = dicom_source._quick


def told(path):
    """Return all that the first frames say, as text; or the reason why there are none."""

    def plain(value):
        if isinstance(value, np.ndarray):
            return str(value.dtype), value.shape, value.tobytes()
        if isinstance(value, tuple):
            return tuple(map(plain, value))
        return plain(tuple(vars(value).values())) if hasattr(value, "bits") else value

    try:
        found = list(frames(path, [0]))
    except Unreadable as why:
        return why.reason
    return repr([[plain(value) for value in vars(frame).values()] for frame in found])


def both(path, monkeypatch):
    """Return whether the quick way is taken, after a comparison of what the two ways give."""
    dicom_source._header.cache_clear()
    quick = told(path)
    with monkeypatch.context() as patch:
        patch.setattr(dicom_source, "_quick", unsure)
        assert quick == told(path), path.name
    with path.open("rb", buffering=0) as file, dicom_source.quiet():
        try:
            _quick(file)
        except UNSURE:
            return False
    return True


def unsure(_file):
    raise Unsure


def test_every_file_that_pydicom_brings(monkeypatch):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        files = [Path(name) for name in get_testdata_files()]
    files = [path for path in files if path.is_file() and path.stat().st_size < 1 << 20]
    assert sum(both(path, monkeypatch) for path in files) >= 30


@pytest.mark.slow
@pytest.mark.real
def test_every_real_file(monkeypatch):
    if not (SHARED / "dicom_samples_mixed").is_dir():
        pytest.skip("../shared/data/dicom_samples_mixed is not here")
    files = sorted((SHARED / "dicom_samples_mixed/files").rglob("*"))
    files = [path for path in files if path.is_file() and path.stat().st_size < 1 << 20]
    assert sum(both(path, monkeypatch) for path in files) >= 60


MORE = {
    "WindowCenter": ["40", "400"], "WindowWidth": ["80", "1500"], "VOILUTFunction": "LINEAR",
    "WindowCenterWidthExplanation": ["BRAIN", "Knöchern"], "RescaleType": "HU",
    "PresentationLUTShape": "IDENTITY",
}  # fmt: skip
PADDED = {**MORE, "PixelPaddingValue": 7}
TABLE = item(LUTDescriptor=[2, 0, 8], LUTData=b"\1\2")
WIDE = (np.arange(24, dtype="<i4") - 9).tobytes()
BASES = [
    encoded(ct(**MORE)),
    encoded(ct(**PADDED)),
    encoded(ct(**PADDED), ImplicitVRLittleEndian),
    encoded(ct(**MORE, PixelRepresentation=1), ImplicitVRLittleEndian, undefined=True),
    encoded(ct(SpecificCharacterSet="ISO_IR 192", **MORE), undefined=True),
    encoded(
        ct(BitsAllocated=32, PixelRepresentation=1, PixelPaddingValue=-2, PixelData=WIDE),
        ImplicitVRLittleEndian,
    ),
    encoded(ct(VOILUTSequence=Sequence([TABLE]), **PADDED)),
]
ASKED = sorted(map(tag_for_keyword, (dicom_source._ASKED + " " + dicom_source._LONGER).split()))
VALUES = st.binary(max_size=8) | st.sampled_from([
    b"", b"1 ", b"1.5\\2", b"3", b"nan ", b"\\", b"INVERSE ", b"MONOCHROME1 ", b"RGB ", b"HU\0\0",
    b"\1\0", b"\0\x80", b"\4\0\6\0", b"\xff\xff", b"\0", b"SIGMOID ", b"BONE\\LUNG ", b"1e400 ",
    b"ISO_IR 13 ", b"\\ISO 2022 IR 87 ", b"ISO 2022 IR 6\\ISO 2022 IR 100 ", b"ISO_IR 999 ",
    b"\x1b$B;3", b"\xe4\xff", b"\xfe\xff\0\xe0\0\0\0\0",
])  # fmt: skip
VRS = ["US", "SS", "OW", "DS", "IS", "CS", "LO", "UN", "SQ", "OB", "FD", "UI", "ZZ"]
OVERLAYS = [(0x60000010, b"\4\0"), (0x60003000, b"\1\2"), (0x601E0022, b"text"), (0x60200010, b"")]

SEQUENCE = element(0x60000022, "SQ", b"\xfe\xff\xdd\xe0\0\0\0\0", 0xFFFFFFFF)


def bare(tag, value):
    """Return an element without VR."""
    return struct.pack("<HHI", tag >> 16, tag & 0xFFFF, len(value)) + value


ELEMENTS = st.one_of(
    st.builds(element, st.sampled_from(ASKED), st.sampled_from(VRS), VALUES),
    st.builds(bare, st.sampled_from(ASKED), VALUES),
    st.builds(lambda both, vr: element(both[0], vr, both[1]),
              st.sampled_from(OVERLAYS), st.sampled_from(VRS)),
    st.builds(lambda both: bare(*both), st.sampled_from(OVERLAYS)),
    st.just(SEQUENCE),
)  # fmt: skip
WHERE = st.floats(0, 1, exclude_max=True)
EDITS = st.lists(
    st.one_of(
        st.tuples(st.just("element"), WHERE, ELEMENTS),
        st.tuples(st.just("element"), WHERE, ELEMENTS),
        st.tuples(st.just("set"), WHERE, st.binary(min_size=1, max_size=2)),
        st.tuples(st.just("delete"), WHERE, st.binary(min_size=1, max_size=40)),
        st.tuples(st.just("replace"), WHERE, VALUES),
    ),
    min_size=1,
    max_size=4,
)


def changed(data, edits):
    """Return the bytes after edits; "replace" gives an element of what is asked another value."""
    for what, where, piece in edits:
        if what != "replace":
            data = edited(data, [(what, where, piece)])
            continue
        tag = ASKED[int(where * len(ASKED))]
        at = data.find(struct.pack("<HH", tag >> 16, tag & 0xFFFF), 132)
        if at > 0 and data[at + 4 : at + 6].isupper():
            length = struct.unpack_from("<H", data, at + 6)[0]
            rest = data[at + 8 + length :]
            data = data[: at + 6] + struct.pack("<H", len(piece)) + piece + rest
        elif at > 0:
            length = struct.unpack_from("<I", data, at + 4)[0]
            data = data[:at] + bare(tag, piece) + data[at + 8 + length :]
    return data


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("quick") / "image.dcm"


@settings(deadline=None, max_examples=300, suppress_health_check=list(HealthCheck))
@example(BASES[0], [("element", 0.6, SEQUENCE)])
@example(BASES[2], [("replace", 0.0, b"ISO_IR 999 ")])
@given(st.sampled_from(BASES), EDITS)
def test_changed_headers(scratch, monkeypatch, base, edits):
    scratch.write_bytes(changed(base, edits))
    both(scratch, monkeypatch)


def test_the_quick_way_is_taken(scratch, monkeypatch):
    """Or the tests above ask nothing."""
    taken = []
    for base in BASES:
        scratch.write_bytes(base)
        taken.append(both(scratch, monkeypatch))
    assert taken == [True] * 5 + [False] * 2
