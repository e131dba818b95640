"""Stored values of DICOM: every file of a collection of oddities, and files made to trap."""

import csv
import hashlib
import struct
import warnings
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from dicom_file import PLANTED, header, save, simple
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.encaps import encapsulate, encapsulate_extended

from radstart.ingest.frames import Unreadable
from radstart.ingest.readers import dicom_fragments, dicom_source
from radstart.ingest.readers.dicom import frames
from radstart.ingest.readers.dicom_pixels import stored

SAMPLES = Path(__file__).parents[2].parent / "shared" / "data" / "dicom_samples_mixed"
real = [
    pytest.mark.real,
    pytest.mark.skipif(
        not SAMPLES.is_dir(), reason="../shared/data/dicom_samples_mixed is absent: NOT TESTED"
    ),
]
PREFIX = "1.2.840.10008.1.2.4."
LOSSY = (PREFIX + "50", PREFIX + "51")
# what pydicom did with a file -> what our reason must say
AGREES = {
    "no pixel data": ("no pixel data", "pixel data is cut off"),
    "unreadable": ("not a DICOM file that can be read",),
    "AttributeError": ("no transfer syntax is given",),
    "NotImplementedError": ("its transfer syntax is not supported",),
    "TypeError": ("no pixel data: the element is empty",),
    "ValueError": (
        "pixel data is cut off",
        "the header does not describe its pixels",
        "a frame's own size or depth is not the header's",
    ),
    "RuntimeError": (
        "the pixel data cannot be decoded",
        "a frame's own size or depth is not the header's",
        "a JPEG frame's scan is not one of its process",
    ),
}


def samples():
    with (SAMPLES / "manifest.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def decoded(path):
    """Return all frames, stacked as pydicom stacks them."""
    frames = list(stored(path))
    return frames[0] if len(frames) == 1 else np.stack(frames)


def live(path):
    """Return pydicom's own result, or None where it has no plugin."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return pydicom.dcmread(path, force=True).pixel_array
        except Exception:
            return None


@pytest.mark.slow
@pytest.mark.parametrize("mark", [pytest.param(None, marks=real)])
def test_every_sample_is_decoded_as_pydicom_does_or_refused_for_the_same_reason(mark):
    exact, lossy, refused, wrong = 0, 0, 0, []
    for row in samples():
        path, said = SAMPLES / row["file"], row["pydicom_decode"]
        try:
            values = decoded(path)
        except Unreadable as error:
            refused += 1
            if said == "ok" or not error.reason.startswith(AGREES[said]):
                wrong.append((row["file"], said, error.reason))
            continue
        if said != "ok":
            wrong.append((row["file"], said, "decoded"))
            continue
        kind = np.dtype(row["decoded_dtype"])
        assert values.dtype == kind.newbyteorder("="), row["file"]
        assert "x".join(map(str, values.shape)) == row["decoded_shape"]
        digest = hashlib.sha256(np.ascontiguousarray(values, kind).tobytes()).hexdigest()
        if digest == row["decoded_sha256"]:
            exact += 1
        elif row["transfer_syntax_uid"] in LOSSY:
            lossy += 1
            theirs = live(path)  # pillow's: the recorded result is of a decoder that is GPL
            if theirs is not None and not np.array_equal(values, theirs):
                wrong.append((row["file"], "differs from pydicom's own result here"))
            ends = [
                values.min() - float(row["decoded_min"]),
                values.max() - float(row["decoded_max"]),
            ]
            if max(map(abs, ends)) > 1:
                wrong.append((row["file"], "differs from the recorded range", ends))
        else:
            wrong.append((row["file"], "differs from the recorded values"))
    assert wrong == []
    assert (exact, lossy, refused) == (113, 12, 47)


@pytest.mark.parametrize("mark", [pytest.param(None, marks=real)])
def test_twelve_bit_jpeg_is_the_lossless_image_within_its_loss(mark):
    lossy = decoded(SAMPLES / "files/cswil__CT0012.fragmented_no_bot_jpeg_baseline.51.dcm")
    exact = decoded(SAMPLES / "files/dicomparser__CT0012.fragmented_no_bot_jpeg_lossless.57.dcm")
    apart = lossy.astype(int) - exact - 1023  # stored that much higher
    assert np.abs(apart).max() <= 15
    assert abs(apart.mean()) < 0.1


VALUES = np.random.default_rng(7).integers(0, 4000, (4, 9, 11)).astype(np.uint16)
JPEG, LOSSLESS, JPEG_LS = PREFIX + "50", PREFIX + "70", PREFIX + "80"
J2K, HTJ2K, RLE = PREFIX + "90", PREFIX + "201", "1.2.840.10008.1.2.5"
DEFLATED = "1.2.840.10008.1.2.1.99"


def lossless(values):
    return imagecodecs.jpeg8_encode(values, lossless=True, bitspersample=16, predictor=1)


def rle(values):
    """Return run-length coded bytes: every byte a literal of its own run of 128 at most."""
    planes = [values >> 8, values & 255] if values.dtype == np.uint16 else [values]
    coded = []
    for plane in planes:
        flat = plane.astype(np.uint8).tobytes()
        runs = [flat[i : i + 128] for i in range(0, len(flat), 128)]
        data = b"".join(bytes([len(run) - 1]) + run for run in runs)
        coded.append(data + b"\0" * (len(data) % 2))
    starts = [64 + sum(map(len, coded[:i])) for i in range(len(coded))]
    return struct.pack("<16L", len(coded), *(starts + [0] * 15)[:15]) + b"".join(coded)


CODERS = {
    LOSSLESS: lossless,
    JPEG_LS: imagecodecs.jpegls_encode,
    J2K: lambda v: imagecodecs.jpeg2k_encode(v, codecformat="j2k", reversible=True, level=0),
    HTJ2K: lambda v: imagecodecs.htj2k_encode(v, reversible=True),
    RLE: rle,
}


@pytest.mark.parametrize("syntax", CODERS)
def test_any_frame_of_each_codec_is_had_in_any_order(tmp_path, syntax):
    streams = [CODERS[syntax](frame) for frame in VALUES]
    path = save(tmp_path / "a.dcm", header(VALUES, frames=4), streams, syntax)
    for index, values in zip((3, 0, 3), stored(path, [3, 0, 3]), strict=True):
        assert np.array_equal(values, VALUES[index])
    assert np.array_equal(decoded(path), live(path) if live(path) is not None else VALUES)


@pytest.mark.parametrize("table", [False, True])
@pytest.mark.parametrize("pieces", [1, 3])
def test_frames_in_fragments_are_joined(tmp_path, table, pieces):
    streams = [lossless(frame) for frame in VALUES]
    data = encapsulate(streams, fragments_per_frame=pieces, has_bot=table)
    made = header(VALUES, frames=4)
    made.add_new("PixelData", "OB", data)
    made["PixelData"].is_undefined_length = True
    path = save(tmp_path / "a.dcm", made, None, LOSSLESS)
    assert np.array_equal(decoded(path), VALUES)


def test_a_basic_offset_table_that_is_wrong_is_not_followed(tmp_path):
    streams = [lossless(frame) for frame in VALUES]
    path = save(tmp_path / "a.dcm", header(VALUES, frames=4), streams, LOSSLESS)
    content = path.read_bytes()
    at = content.index(b"\xfe\xff\x00\xe0\x10\0\0\0") + 8
    for wrong in (0, 5, 2**32 - 1):
        path.write_bytes(content[: at + 4] + struct.pack("<3L", *[wrong] * 3) + content[at + 16 :])
        assert np.array_equal(decoded(path), VALUES)


def test_an_extended_offset_table_is_followed_unless_it_leaves_the_pixel_data(tmp_path):
    made = header(VALUES, frames=4)
    data, offsets, lengths = encapsulate_extended([lossless(frame) for frame in VALUES])
    made.ExtendedOffsetTable, made.ExtendedOffsetTableLengths = offsets, lengths
    made.add_new("PixelData", "OB", data)
    made["PixelData"].is_undefined_length = True
    path = save(tmp_path / "a.dcm", made, None, LOSSLESS)
    assert np.array_equal(decoded(path), VALUES)
    made.ExtendedOffsetTableLengths = struct.pack("<4Q", *[2**62] * 4)
    assert np.array_equal(decoded(save(path, made, None, LOSSLESS)), VALUES)


@pytest.mark.parametrize("syntax", ["", ".1", ".2", ".1.99"])
@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint32])
def test_uncompressed_frames_are_pydicoms(tmp_path, syntax, kind):
    values = VALUES.astype(kind)  # 99 pixels: frames of 8 bits begin at odd bytes
    syntax = "1.2.840.10008.1.2" + syntax
    data = values.astype(values.dtype.newbyteorder(">")).tobytes()
    if syntax != "1.2.840.10008.1.2.2":
        data = values.tobytes()
    elif kind == np.uint8:  # words
        data = np.frombuffer(data, ">u2").astype("<u2").tobytes()
    path = save(tmp_path / "a.dcm", header(values, frames=4), data, syntax)
    assert np.array_equal(live(path), values)
    for index, frame in zip((2, 1), stored(path, [2, 1]), strict=True):
        assert np.array_equal(frame, values[index])
        assert frame.dtype == kind


def test_single_bits_are_had_from_the_middle_of_a_byte(tmp_path):
    values = (VALUES % 2).astype(np.uint8)
    made = header(values, frames=4)
    made.BitsAllocated = made.BitsStored = 1
    made.HighBit = 0
    path = save(tmp_path / "a.dcm", made, np.packbits(values, bitorder="little").tobytes())
    assert np.array_equal(decoded(path), values)
    assert np.array_equal(next(stored(path, [3])), live(path)[3])


def test_subsampled_colours_are_pydicoms(tmp_path):
    made = header(np.zeros((4, 6, 3), np.uint8), photometric="YBR_FULL_422", frames=0)
    data = np.random.default_rng(1).integers(0, 256, 4 * 6 * 2).astype(np.uint8).tobytes()
    path = save(tmp_path / "a.dcm", made, data)
    assert np.array_equal(decoded(path), live(path))
    with pytest.raises(Unreadable, match="longer than its colours"):
        decoded(save(path, made, data + data))


def refused(path):
    with pytest.raises(Unreadable) as caught:
        decoded(path)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert "Zyx" not in str(caught.value)
    return caught.value.reason


def test_what_the_header_claims_is_checked_before_memory_is_asked_for(tmp_path):
    made = header(VALUES[0])
    made.Rows = made.Columns = 60000
    reason = refused(save(tmp_path / "a.dcm", made, b"\0" * 200))
    assert reason == "claims more than 100 million samples in one image"
    made.Columns = 1
    made.NumberOfFrames = 2**31 - 1
    assert refused(save(tmp_path / "a.dcm", made, b"\0" * 200)).startswith("pixel data is cut off")
    made.BitsAllocated = 12
    assert refused(save(tmp_path / "a.dcm", made, b"\0")) == (
        "the header describes pixels that cannot be"
    )
    del made.Rows
    assert refused(save(tmp_path / "a.dcm", made, b"\0")).startswith(
        "the header does not describe its pixels"
    )


@pytest.mark.parametrize("syntax", [JPEG, JPEG_LS, J2K, HTJ2K, LOSSLESS])
def test_a_stream_that_claims_another_size_is_not_decoded(tmp_path, syntax, monkeypatch):
    def decoder(_):
        raise AssertionError("asked")

    monkeypatch.setattr("radstart.ingest.readers.dicom_pixels.decoder", decoder)
    if syntax in (JPEG, JPEG_LS, LOSSLESS):
        marker = {JPEG: 0xC0, JPEG_LS: 0xF7, LOSSLESS: 0xC3}[syntax]
        start = struct.pack(">BBHBHHB", 0xFF, marker, 11, 8, 60000, 60000, 1)
        stream = b"\xff\xd8" + start + b"\1\x11\0\xff\xda\0\x08\1\1\0\0\x3f\0\xff\xd9"
    else:
        size = struct.pack(">HHLLLLLLLLHB", 41, 0, 60000, 60000, *[0] * 6, 1, 15)
        stream = b"\xff\x4f\xff\x51" + size
    path = save(tmp_path / "a.dcm", header(VALUES[0]), [stream], syntax)
    assert refused(path) == "a frame's own size or depth is not the header's"


def test_a_jp2_file_whose_boxes_go_nowhere_is_refused(tmp_path):
    stream = imagecodecs.jpeg2k_encode(VALUES[0], codecformat="jp2", reversible=True, level=0)
    path = save(tmp_path / "a.dcm", header(VALUES[0]), [stream], J2K)
    assert np.array_equal(decoded(path), VALUES[0])
    at = stream.index(b"jp2h") - 4
    for length in (0, 7, 2**32 - 1):
        broken = stream[:at] + length.to_bytes(4) + stream[at + 4 :]
        path = save(tmp_path / "a.dcm", header(VALUES[0]), [broken], J2K)
        assert refused(path) == "a frame is not a stream of its transfer syntax"


def test_broken_runs_are_refused(tmp_path):
    stream = rle(VALUES[0])
    starts = struct.unpack("<16L", stream[:64])
    for words in (
        (3, *starts[1:]),
        (2, starts[2], starts[1], *starts[3:]),
        (2, 0, *starts[2:]),
        (2, starts[1], 2**31, *starts[3:]),
    ):
        broken = struct.pack("<16L", *words) + stream[64:]
        path = save(tmp_path / "a.dcm", header(VALUES[0]), [broken], RLE)
        assert refused(path) == "the pixel data cannot be decoded (RuntimeError)"
    at = starts[2]
    longer = stream[:at] + b"\x7f" + stream[at + 1 :]  # a last run claims more than there is
    path = save(tmp_path / "a.dcm", header(VALUES[0]), [longer], RLE)
    assert np.array_equal(decoded(path), VALUES[0])


def test_a_stream_deeper_than_the_header_says_is_not_cut_to_its_low_bits(tmp_path):
    made = header(VALUES[0].astype(np.uint8))
    for syntax in (LOSSLESS, JPEG_LS, J2K):
        path = save(tmp_path / "a.dcm", made, [CODERS[syntax](VALUES[0])], syntax)
        assert refused(path) == "a frame's own size or depth is not the header's"


@pytest.mark.parametrize("syntax", CODERS)
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_frame_that_is_cut_off_is_refused(tmp_path, syntax, share):
    stream = CODERS[syntax](VALUES[0])
    stream = stream[: int(len(stream) * share)]
    refused(save(tmp_path / "a.dcm", header(VALUES[0]), [stream], syntax))


def test_a_baseline_jpeg_that_is_cut_off_is_refused(tmp_path):
    grey = (VALUES[0] >> 4).astype(np.uint8)
    stream = imagecodecs.jpeg8_encode(grey)
    path = save(tmp_path / "a.dcm", header(grey), [stream[: len(stream) - 9]], JPEG)
    assert refused(path) == "a frame is cut off"


def test_pixel_data_that_ends_too_early_is_refused(tmp_path):
    path = simple(tmp_path / "a.dcm", VALUES, frames=4)
    content = path.read_bytes()
    for cut in (1, 300, VALUES.nbytes - 1):
        path.write_bytes(content[:-cut])
        assert refused(path) == "pixel data is cut off: shorter than the header claims"
    path.write_bytes(content[: -VALUES.nbytes])
    assert refused(path) == "no pixel data: the element is empty"
    streams = [lossless(frame) for frame in VALUES]
    path = save(tmp_path / "a.dcm", header(VALUES, frames=4), streams, LOSSLESS)
    content = path.read_bytes()
    for cut in (1, 8, 100):
        path.write_bytes(content[:-cut])
        assert refused(path) == "pixel data is cut off: it ends before its end is marked"
    path = save(tmp_path / "a.dcm", header(VALUES, frames=4), streams[:3], LOSSLESS)
    assert refused(path) == "pixel data holds fewer frames than the header claims"


def test_frames_that_do_not_exist_are_refused(tmp_path):
    path = simple(tmp_path / "a.dcm", VALUES, frames=4)
    for index in (4, -1):
        with pytest.raises(Unreadable, match="fewer frames"):
            next(stored(path, [index]))


def test_endless_and_malformed_fragments_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(dicom_fragments, "MAX_FRAGMENTS", 50)
    path = save(tmp_path / "a.dcm", header(VALUES[0]), [lossless(VALUES[0])], LOSSLESS)
    content = path.read_bytes()
    start = content.index(b"\xfe\xff\x00\xe0")
    empty = b"\xfe\xff\x00\xe0\0\0\0\0"
    for fragments, words in [
        (empty * 1000, "pixel data in more than a million fragments"),
        (empty + b"\xfe\xff\x00\xe0\xff\xff\xff\xff", "not made of fragments"),
        (empty + b"\xfe\xff\x00\xe0\xff\xff\xff\x7f", "it ends before its end is marked"),
        (empty + b"\xfe\xff\xdd\xe0\0\0\0\0", "no fragment holds any"),
        (b"\0" * 64, "not made of fragments"),
        (empty, "it ends before its end is marked"),
    ]:
        path.write_bytes(content[:start] + fragments)
        assert words in refused(path)


def test_deflated_data_is_inflated_to_a_limit_only(tmp_path, monkeypatch):
    path = simple(tmp_path / "a.dcm", VALUES, frames=4, syntax=DEFLATED)
    assert np.array_equal(decoded(path), VALUES)
    content = path.read_bytes()
    path.write_bytes(content[:-40])
    assert refused(path) == "deflated data is cut off"
    monkeypatch.setattr(dicom_source, "MAX_INFLATED", 2**20)
    coder = zlib.compressobj(9, wbits=-15)
    bomb = coder.compress(bytes(2**24)) + coder.flush()
    start = 144 + int.from_bytes(content[140:144], "little")
    path.write_bytes(content[:start] + bomb)
    assert refused(path) == "deflated data that grows to more than 1 MiB"


def test_headers_made_to_harm_are_refused(tmp_path):
    path = simple(tmp_path / "a.dcm", VALUES[0])
    content = path.read_bytes()
    start = 144 + int.from_bytes(content[140:144], "little")
    meta, body = content[:start], content[start:]
    nested = b"\x08\0\x15\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * 3000
    for harm in (
        nested,
        b"\x08\0\x15\x11UN\0\0\xf0\xff\xff\xff",  # longer than the file
        b"\x08\0\x15\x11??\xff\xff" * 3,
        b"\xff" * 40,
    ):
        path.write_bytes(meta + harm + body)
        refused(path)
    for junk in (b"", b"\0" * 200, b"Zyx" * 100, content[:140]):
        path.write_bytes(junk)
        refused(path)
    path.unlink()
    assert refused(path).startswith("cannot be read")


def test_syntaxes_and_colours_that_nobody_serves_have_a_reason(tmp_path):
    path = save(tmp_path / "a.dcm", header(VALUES[0]), [b"stream"], PREFIX + "100")
    content = path.read_bytes()
    for syntax in ("1.2.840.10008.1.2.4.100", "1.2.840.10008.1.2.8.1.1", "1.2.3.4.5.6.7.8.9.10.11"):
        path.write_bytes(content.replace(b"1.2.840.10008.1.2.4.100", syntax.encode()))
        assert refused(path) == "its transfer syntax is not supported"
    made = header(np.zeros((4, 4, 3), np.uint8), photometric="HSV")
    assert refused(save(tmp_path / "a.dcm", made, bytes(48))).startswith("its colours")


SEEDS = {
    **{syntax: (VALUES[0], coder) for syntax, coder in CODERS.items()},
    JPEG: ((VALUES[0] >> 4).astype(np.uint8), imagecodecs.jpeg8_encode),
    "1.2.840.10008.1.2.1": (VALUES[0], None),
    DEFLATED: (VALUES[0], None),
}


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    """Return the bytes of a small file of every kind."""
    folder = tmp_path_factory.mktemp("seeds")
    made = []
    for syntax, (values, coder) in SEEDS.items():
        data = values.tobytes() if coder is None else [coder(values)]
        tags = {"WindowCenter": 5, "WindowWidth": 9, "RescaleSlope": 2, "PixelPaddingValue": 3}
        path = save(folder / "a.dcm", header(values, **tags), data, syntax)
        made.append((path.read_bytes(), path))
    return made


@pytest.mark.slow
@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    kind=st.integers(0, len(SEEDS) - 1),
    changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=6),
    cut=st.none() | st.floats(0, 1),
    pixels=st.booleans(),
)
def test_changed_bytes_give_a_frame_or_a_reason_and_not_a_word(
    seeds, capfd, kind, changes, cut, pixels
):
    content, path = seeds[kind]
    start = content.rindex(b"\xe0\x7f\x10\0") if pixels and b"\xe0\x7f\x10\0" in content else 132
    changed = bytearray(content)
    for share, value in changes:
        changed[start + int(share * (len(content) - 1 - start))] = value
    if cut is not None:
        del changed[start + int(cut * (len(content) - start)) :]
    path.write_bytes(changed)
    try:
        for frame in frames(path, [0]):
            assert frame.values.size
            assert PLANTED not in repr(frame.steps)
    except Unreadable as error:
        said = error
    else:
        return
    assert PLANTED[:3] not in str(said)
    assert said.__suppress_context__ or said.__context__ is None
    assert capfd.readouterr() == ("", "")
