"""What DICOM values mean: one file per trap, made here."""

import itertools

import imagecodecs
import numpy as np
import pydicom
import pytest
from dicom_file import header, item, save, simple
from pydicom.pixels import apply_color_lut, apply_modality_lut
from pydicom.pixels.processing import apply_voi_lut
from pydicom.sequence import Sequence

from radstart.ingest.frames import Unreadable
from radstart.ingest.readers.dicom import frames

CT = np.array([[0, 24, 1024], [1064, 2000, 4095]], np.uint16)
STEPS = np.arange(12, dtype=np.uint16).reshape(3, 4)


def first(path):
    return next(frames(path, [0]))


@pytest.fixture
def file(tmp_path):
    """Return a function (values, options of `simple`) -> path of a new file."""
    count = itertools.count()
    return lambda values, **options: simple(tmp_path / f"{next(count)}.dcm", values, **options)


def test_rescale_gives_hounsfield_units_exactly(file):
    frame = first(file(CT, bits=12, Modality="CT", RescaleSlope=1, RescaleIntercept=-1024))
    assert frame.unit == "HU"
    assert frame.values.tolist() == (CT.astype(int) - 1024).tolist()
    assert frame.limits == (-1024, 3071)
    assert frame.steps == ("rescaled by 1 and -1024",)


def test_an_intercept_of_0_is_there_and_a_missing_slope_is_1(file):
    frame = first(file(CT, Modality="CT", RescaleSlope=1, RescaleIntercept=0))
    assert (frame.unit, frame.values.dtype, frame.steps) == ("HU", np.uint16, ())
    assert first(file(CT, Modality="CT", RescaleIntercept=-1000)).values.min() == -1000
    assert first(file(CT, Modality="CT")).unit == ""  # says nothing of its values
    assert first(file(CT, Modality="CT", RescaleSlope=1, RescaleType="US")).unit == ""
    assert first(file(CT, Modality="OT", RescaleSlope=1, RescaleType="HU")).unit == "HU"


def test_a_slope_of_0_or_of_no_number_does_not_make_a_constant(file, tmp_path):
    frame = first(file(STEPS, Modality="MR", RescaleSlope=0, RescaleIntercept=5))
    assert np.array_equal(frame.values, STEPS)
    assert "rescale of slope 0 left out" in frame.steps
    path = file(STEPS, RescaleSlope="1234567", RescaleIntercept="0")
    path.write_bytes(path.read_bytes().replace(b"1234567", b"Zyx Pla"))
    assert np.array_equal(first(path).values, STEPS)


def test_a_fractional_slope_gives_float32_near_to_double_precision(file):
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    frame = first(file(values, RescaleSlope="0.00390625", RescaleIntercept="-7.3"))
    assert frame.values.dtype == np.float32
    assert np.allclose(frame.values, values * 0.00390625 - 7.3, atol=3e-5)
    frame = first(file(values.astype(np.uint32) * 65536, RescaleSlope="0.5"))
    assert np.allclose(frame.values, values * 32768.0, rtol=1e-7)
    frame = first(file(values.astype(np.uint32) * 65536, RescaleSlope="1", RescaleIntercept="-3"))
    assert np.array_equal(frame.values, values.astype(np.int64) * 65536 - 3)
    frame = first(file(values, RescaleSlope=-2))
    assert (frame.limits, frame.values.min()) == ((-131070, 0), -131070)


def test_frames_without_rescale_and_windows_keep_their_values(file):
    values = np.random.default_rng(0).integers(0, 900, (3, 8, 8)).astype(np.uint16)
    path = file(values, frames=3, Modality="MR")
    for index, frame in zip((2, 0), frames(path, [2, 0]), strict=True):
        assert (frame.index, frame.windows, frame.unit) == (index, (), "")
        assert np.array_equal(frame.values, values[index])


def test_a_frame_says_its_own_rescale_and_window_before_the_shared_one(file):
    def group(slope=None, window=None):
        made = item()
        if slope is not None:
            one = item(RescaleSlope=slope, RescaleIntercept=1, RescaleType="HU")
            made.PixelValueTransformationSequence = Sequence([one])
        if window:
            one = item(WindowCenter=window, WindowWidth=9, WindowCenterWidthExplanation="LUNG")
            made.FrameVOILUTSequence = Sequence([one])
        return made

    path = file(
        np.stack([STEPS, STEPS]),
        frames=2,
        SharedFunctionalGroupsSequence=Sequence([group(2, 7)]),
        PerFrameFunctionalGroupsSequence=Sequence([group(3, 5), group()]),
        RescaleSlope=11,
        WindowCenter=99,
        WindowWidth=99,
    )
    own, shared = frames(path, [0, 1])
    assert np.array_equal(own.values, STEPS.astype(int) * 3 + 1)
    assert np.array_equal(shared.values, STEPS.astype(int) * 2 + 1)
    assert (own.windows[0].center, shared.windows[0].center) == (5, 7)
    assert (own.unit, own.windows[0].name) == ("HU", "lung")


def test_every_window_is_kept_with_its_function_and_a_known_name(file):
    frame = first(
        file(
            STEPS,
            WindowCenter=[40, 300, 5, -600],
            WindowWidth=[80, 1500, 0, 1500],
            WindowCenterWidthExplanation=["BRAIN", "Dr. Zyx", "WINDOW3", "Lung"],
            VOILUTFunction="SIGMOID",
        )
    )
    assert [(w.name, w.center, w.width) for w in frame.windows] == [
        ("brain", 40, 80),
        ("", 300, 1500),
        ("lung", -600, 1500),
    ]
    assert {window.function for window in frame.windows} == {"SIGMOID"}
    assert "windows that show nothing left out" in frame.steps
    assert first(file(STEPS, WindowCenter=1, WindowWidth=-4)).windows == ()
    assert first(file(STEPS, WindowCenter=1)).windows == ()
    assert first(file(STEPS, WindowCenter=1, WindowWidth=1)).windows[0].function == "LINEAR"
    narrow = first(file(STEPS, WindowCenter=1, WindowWidth="0.5")).windows[0]
    assert narrow.function == "LINEAR_EXACT"


def lut(first_value, values, bits):
    made = item(LUTDescriptor=[len(values) & 0xFFFF, first_value, bits])
    made.add_new("LUTData", "US", list(values))
    return made


@pytest.mark.parametrize("kind", [np.int16, np.uint16])
def test_a_modality_table_is_applied_as_pydicom_applies_it(file, kind):
    values = np.array([[-3, -2, -1], [0, 5, 900]]).astype(kind)
    start = -2 if kind == np.int16 else 2
    path = file(values, ModalityLUTSequence=Sequence([lut(start, range(100, 400, 3), 16)]))
    read = pydicom.dcmread(path)
    frame = first(path)
    assert np.array_equal(frame.values, apply_modality_lut(read.pixel_array, read))
    assert (frame.limits, frame.steps) == ((0, 65535), ("modality table",))


def test_a_table_of_65536_entries_says_0(file):
    table = np.arange(65536)[::-1]
    one = item(LUTDescriptor=[0, 0, 16], LUTData=table.astype("<u2").tobytes())
    path = file(np.array([[0, 1, 65535]], np.uint16), ModalityLUTSequence=Sequence([one]))
    assert first(path).values.tolist() == [[65535, 65534, 0]]


def test_voi_tables_are_given_not_applied(file):
    table = [0, 100, 900, 4095]
    path = file(STEPS, bits=12, VOILUTSequence=Sequence([lut(2, table, 12)]))
    frame = first(path)
    assert np.array_equal(frame.values, STEPS)
    given = frame.tables[0]
    assert (given.first, given.values.tolist(), given.bits) == (2, table, 12)
    read = pydicom.dcmread(path)
    at = np.clip(frame.values.astype(int) - given.first, 0, 3)
    assert np.array_equal(given.values[at], apply_voi_lut(read.pixel_array, read))
    packed = item(LUTDescriptor=[4, 0, 8], LUTData=bytes([1, 2, 3, 4]))
    given = first(file(STEPS, VOILUTSequence=Sequence([packed]))).tables[0]
    assert given.values.tolist() == [1, 2, 3, 4]
    short = item(LUTDescriptor=[40, 0, 8], LUTData=bytes([1, 2]))
    frame = first(file(STEPS, VOILUTSequence=Sequence([short])))
    assert (frame.tables, frame.steps) == ((), ("VOI tables that do not fit left out",))


def test_a_table_begins_below_0_where_values_do(file):
    values = np.array([[-5, 0, 7]], np.int16)
    path = file(values, VOILUTSequence=Sequence([lut(-5, range(13), 8)]))
    assert first(path).tables[0].first == -5
    path = file(CT, RescaleIntercept=-1024, VOILUTSequence=Sequence([lut(64512, range(13), 8)]))
    assert first(path).tables[0].first == -1024


def test_monochrome1_and_the_shape_invert_once_and_leave_values_alone(file):
    for photometric, shape, expected in [
        ("MONOCHROME1", None, True),
        ("MONOCHROME1", "INVERSE", True),
        ("MONOCHROME2", "INVERSE", True),
        ("MONOCHROME2", "IDENTITY", False),
        ("MONOCHROME1", "IDENTITY", True),
    ]:
        tags = {"PresentationLUTShape": shape} if shape else {}
        frame = first(file(STEPS, photometric=photometric, **tags))
        assert frame.inverted is expected
        assert np.array_equal(frame.values, STEPS)


def test_padding_of_the_other_sign_is_found(file):
    values = np.array([[-2000, -5, 7], [-2000, 0, -1500]], np.int16)
    path = file(values, RescaleIntercept=-24)
    made = pydicom.dcmread(path)
    made.add_new("PixelPaddingValue", "US", 63536)  # -2000
    made.save_as(path)
    frame = first(path)
    assert frame.padding.tolist() == [[True, False, False], [True, False, False]]
    made.add_new("PixelPaddingRangeLimit", "US", 64036)  # -1500
    made.save_as(path)
    assert first(path).padding.sum() == 3
    unsigned = file(np.array([[65535, 1, 2]], np.uint16))
    made = pydicom.dcmread(unsigned)
    made.add_new("PixelPaddingValue", "SS", -1)
    made.save_as(unsigned)
    assert first(unsigned).padding.tolist() == [[True, False, False]]


def test_padding_that_no_pixel_has_or_can_have_is_none(file):
    assert first(file(STEPS, PixelPaddingValue=700)).padding is None
    frame = first(file(STEPS, bits=12, PixelPaddingValue=63536))
    assert frame.padding is None
    assert frame.steps == ("padding value that no pixel can hold left out",)


def test_padding_and_extremes_of_an_open_vr_are_read(file):
    values = np.array([[-2000, -5, 7]], np.int16)
    path = file(
        values,
        syntax="1.2.840.10008.1.2",
        PixelPaddingValue=-2000,
        SmallestImagePixelValue=-2000,
        LargestImagePixelValue=7,
    )
    assert first(path).padding.tolist() == [[True, False, False]]


def test_high_bits_that_are_not_stored_do_not_count(file):
    values = np.array([[0xF001, 0x8FFF, 0x0800]], np.uint16)  # overlays, garbage above 12 bits
    assert first(file(values, bits=12)).values.tolist() == [[1, 4095, 2048]]
    signed = first(file(values.view(np.int16), bits=12))
    assert signed.values.tolist() == [[1, -1, -2048]]
    assert signed.limits == (-2048, 2047)


def test_overlays_and_real_world_values_are_left_out_and_said(file):
    path = file(STEPS, RealWorldValueMappingSequence=Sequence([item()]))
    made = pydicom.dcmread(path)
    made.add_new(0x60020010, "US", 3)
    made.save_as(path)
    assert first(path).steps == ("overlays left out", "real-world values left out")


@pytest.mark.parametrize("name", ["FloatPixelData", "DoubleFloatPixelData"])
def test_floating_point_pixels_are_float32_with_their_own_range(tmp_path, name):
    kind = np.float32 if name == "FloatPixelData" else np.float64
    values = np.array([[0.25, -3, np.nan], [1e30, 7, 7]], kind)
    made = header(values, WindowCenter="0.5", WindowWidth=1)
    for tag in ("BitsStored", "HighBit", "PixelRepresentation"):
        delattr(made, tag)
    vr = "OF" if name == "FloatPixelData" else "OD"
    frame = first(save(tmp_path / "a.dcm", made, values.tobytes(), name=name, vr=vr))
    assert np.array_equal(frame.values, values.astype(np.float32), equal_nan=True)
    assert frame.limits == (-3, np.float32(1e30))
    assert frame.windows[0].function == "LINEAR_EXACT"


def palette(count, first_value, bits, kind, signed=False):
    colours = np.random.default_rng(1).integers(0, np.iinfo(kind).max + 1, (3, count)).astype(kind)
    tags = {}
    for name, column in zip(("Red", "Green", "Blue"), colours, strict=True):
        tags[f"{name}PaletteColorLookupTableDescriptor"] = [count & 0xFFFF, first_value, bits]
        tags[f"{name}PaletteColorLookupTableData"] = column.tobytes()
    return tags


@pytest.mark.parametrize(("bits", "kind"), [(8, np.uint8), (16, np.uint16)])
def test_palettes_become_the_colours_that_pydicom_gives(file, bits, kind):
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    path = file(values, photometric="PALETTE COLOR", **palette(200, 10, bits, kind))
    read = pydicom.dcmread(path)
    theirs = apply_color_lut(read.pixel_array, read)
    frame = first(path)
    assert frame.values.dtype == np.uint8
    assert np.array_equal(frame.values, theirs >> (bits - 8))
    assert frame.steps == ("palette to RGB",)


def test_palettes_in_segments_become_the_colours_that_pydicom_gives(file):
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    words = [0, 2, 10, 65000, 1, 150, 3, 0, 1, 9, 1, 103, 60000]
    tags = {}
    for name in ("Red", "Green", "Blue"):
        tags[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        data = np.asarray(words, "<u2").tobytes()
        tags[f"Segmented{name}PaletteColorLookupTableData"] = data
    path = file(values, photometric="PALETTE COLOR", **tags)
    read = pydicom.dcmread(path)
    theirs = apply_color_lut(read.pixel_array, read) >> 8
    assert np.abs(first(path).values.astype(int) - theirs).max() <= 1
    bomb = np.asarray([0, 1, 5] + [1, 65535, 9] * 20000, "<u2").tobytes()
    for name in ("Red", "Green", "Blue"):
        tags[f"Segmented{name}PaletteColorLookupTableData"] = bomb
    assert first(file(values, photometric="PALETTE COLOR", **tags)).values.shape == (16, 16, 3)


def test_a_palette_that_is_missing_is_a_reason(file):
    with pytest.raises(Unreadable, match="palette"):
        first(file(STEPS, photometric="PALETTE COLOR"))


def test_colours_of_16_bits_become_8_and_planes_become_pixels(tmp_path):
    values = np.random.default_rng(2).integers(0, 4096, (5, 7, 3)).astype(np.uint16)
    made = header(values, bits=12, PlanarConfiguration=1)
    path = save(tmp_path / "a.dcm", made, values.transpose(2, 0, 1).tobytes())
    frame = first(path)
    assert np.array_equal(frame.values, values >> 4)
    assert (frame.steps, frame.windows) == (("colours to 8 bits",), ())


def ycc(rgb):
    """Return full-range YCbCr, in double precision."""
    luma = rgb @ np.array([0.299, 0.587, 0.114])
    blue, red = (rgb[..., 2] - luma) / 1.772, (rgb[..., 0] - luma) / 1.402
    return np.stack([luma, blue + 128, red + 128], -1)


def smooth():
    y, x = np.mgrid[:48, :64]
    return np.stack([x * 4, y * 5, 200 - x * 2 - y], -1).clip(10, 245).astype(np.uint8)


@pytest.mark.parametrize("photometric", ["YBR_FULL", "YBR_FULL_422", "RGB"])
@pytest.mark.parametrize("adobe", [False, True])
def test_colours_inside_of_jpeg_are_converted_once(tmp_path, photometric, adobe):
    rgb = smooth()
    stream = imagecodecs.jpeg8_encode(rgb, level=100)  # YCbCr and a JFIF marker
    assert stream[6:10] == b"JFIF"
    if adobe:
        mark = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x01"
        stream = stream[:2] + mark + stream[2 + 2 + int.from_bytes(stream[4:6]) :]
    made = header(rgb, photometric=photometric)
    frame = first(save(tmp_path / "a.dcm", made, [stream], "1.2.840.10008.1.2.4.50"))
    assert np.abs(frame.values.astype(int) - rgb).max() <= 24
    assert np.abs(frame.values.astype(int) - rgb).mean() < 3


def test_uncompressed_ybr_is_converted_once(file):
    rgb = smooth()
    frame = first(file(ycc(rgb).round().astype(np.uint8), photometric="YBR_FULL"))
    assert np.abs(frame.values.astype(int) - rgb).max() <= 2
    with pytest.raises(Unreadable, match="cannot be decoded"):
        first(file(ycc(rgb).astype(np.uint16), photometric="YBR_FULL"))


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_lossless_jpeg_of_many_depths_and_signs_is_exact(tmp_path, bits):
    values = np.random.default_rng(3).integers(0, 1 << bits, (9, 11)).astype(np.uint16)
    stream = imagecodecs.jpeg8_encode(values, lossless=True, bitspersample=bits, predictor=1)
    for signed in (False, True):
        made = header(values, bits=bits, PixelRepresentation=int(signed))
        frame = first(save(tmp_path / "a.dcm", made, [stream], "1.2.840.10008.1.2.4.70"))
        wanted = values.astype(int)
        if signed:
            wanted = np.where(wanted >= 1 << (bits - 1), wanted - (1 << bits), wanted)
        assert np.array_equal(frame.values, wanted)


def test_text_of_the_header_is_in_no_step_and_no_window(file):
    path = file(
        STEPS,
        RescaleSlope=2,
        RescaleType="Zyx",
        WindowCenter=[1, 2],
        WindowWidth=[1, 0],
        WindowCenterWidthExplanation=["Zyx", "Planted"],
        ImageComments="Zyx Planted",
    )
    assert "zyx" not in repr(first(path)).lower()
