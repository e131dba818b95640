"""Values become pictures as DICOM says; pydicom's own processing is the referee."""

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radstart.core.errors import RadstartError
from radstart.ingest.frames import Frame, Table, Unreadable, Window
from radstart.ingest.meaning import (
    PRESETS,
    Rendering,
    render,
    render_mask,
    windowed,
)

RNG = np.random.default_rng(0)
CT = RNG.integers(-1024, 3072, (40, 60)).astype(np.int16)
HU = {"unit": "HU", "limits": (-1024.0, 3071.0)}
AS_IT_IS = Window("", 127.5, 255, "LINEAR_EXACT")


def one(frame, *windows, **options):
    (picture,) = render(frame, Rendering(windows or ("first",), **options))
    return picture


def header(window=None, table=None, signed=1, bits=16):
    data = pydicom.Dataset()
    data.PhotometricInterpretation = "MONOCHROME2"
    data.PixelRepresentation, data.BitsStored = signed, bits
    if window:
        data.WindowCenter, data.WindowWidth = window.center, window.width
        data.VOILUTFunction = window.function
    if table:
        item = pydicom.Dataset()
        item.add_new(0x00283002, "SS" if signed else "US", [len(table.values), table.first])
        item.LUTDescriptor = [len(table.values), table.first, table.bits]
        item.LUTData = [int(value) for value in table.values]
        item["LUTData"].VR = "US"
        data.VOILUTSequence = [item]
    return data


# -- windows -----------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(
    st.floats(-2000, 4000),
    st.floats(0.001, 6000),
    st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID"]),
)
def test_windows_are_those_of_pydicom(center, width, function):
    from pydicom.pixels import apply_voi_lut, apply_windowing

    window = Window("", center, max(width, 1) if function == "LINEAR" else width, function)
    values = np.arange(-1500, 3500, 7, dtype=np.int16)
    with np.errstate(over="ignore"):
        theirs = (apply_windowing(values, header(window)) + 32768) / 65535
        again = apply_voi_lut(values, header(window))
        np.testing.assert_allclose(again, theirs * 65535 - 32768, rtol=0, atol=1e-6)
    assert np.abs(windowed(values, window) - theirs).max() < 1e-9


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize("kind", [np.int16, np.int32, np.float32])
def test_a_picture_is_the_window_rounded(function, kind):
    from pydicom.pixels import apply_windowing

    window = Window("", 40.5, 401, function)
    values = CT.astype(kind)
    picture = one(Frame(values, 0, windows=(window,), **HU))
    theirs = (apply_windowing(CT.astype(np.float64), header(window)) + 32768) / 65535 * 255
    assert picture.pixels.dtype == np.uint8
    assert np.abs(picture.pixels - theirs).max() <= 0.5 + 1e-6
    assert picture.window == "40.5/401"
    assert picture.steps == (f"window 40.5/401 {function}",)


def test_the_edges_of_the_standard_by_hand():
    # PS3.3 C.11.2.1.2.1 gives these: c=2048, w=4096 is 0 ... 4095; c=0, w=1 is x < 0 / x >= 0
    full = windowed(np.array([0, 1, 4094, 4095]), Window("", 2048, 4096))
    assert full == pytest.approx([0, 1 / 4095, 4094 / 4095, 1], abs=1e-12)
    assert windowed(np.array([-1, 0, 1]), Window("", 0, 1)).tolist() == [0, 1, 1]
    exact = windowed(np.array([-50, 0, 50]), Window("", 0, 100, "LINEAR_EXACT"))
    assert exact.tolist() == [0, 0.5, 1]
    sigmoid = windowed(np.array([10]), Window("", 0, 40, "SIGMOID"))
    assert sigmoid == pytest.approx([1 / (1 + np.exp(-1))])


@pytest.mark.parametrize("size", [(2, 3), (50, 60)])  # by pixel, by look-up
def test_both_ways_of_computing_agree(size):
    values = RNG.integers(-1000, 1000, size).astype(np.int16)
    for function in ("LINEAR", "SIGMOID"):
        window = Window("", 17, 333, function)
        pixels = one(Frame(values, 0, windows=(window,))).pixels
        assert np.array_equal(pixels, np.rint(windowed(values, window) * 255))


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("first", [-600, 0, 700])
def test_tables_are_those_of_pydicom(bits, first):
    from pydicom.pixels import apply_voi

    table = Table(first, np.sort(RNG.integers(0, 2**bits, 1000)), bits)
    frame = Frame(CT, 0, tables=(table,), windows=(Window("", 0, 100),))
    if bits == 8:  # pydicom counts the entries of such a table in 8 bits, too
        theirs = table.values[np.clip(CT.astype(int) - first, 0, 999)]
    else:
        theirs = apply_voi(CT, header(table=table)) * (255 / (2**bits - 1))
    picture = one(frame)
    assert np.abs(picture.pixels - theirs).max() <= 0.5 + 1e-9
    assert (picture.window, picture.steps) == ("table 1", ("VOI table 1",))
    assert np.array_equal(
        one(Frame(CT.astype(np.float32), 0, tables=(table,))).pixels, picture.pixels
    )


def test_first_all_and_presets():
    table = Table(0, np.arange(256), 8)
    windows = (Window("", 40, 80), Window("bone", 300, 1500), Window("", 40, 80))
    frame = Frame(CT, 0, tables=(table,), windows=windows, **HU)
    every = render(frame, Rendering(("all",)))
    assert [p.window for p in every] == ["table 1", "40/80", "bone"]
    assert [p.window for p in render(frame, Rendering(("first",)))] == ["table 1"]
    named = render(frame, Rendering(("lung", "first", "brain")))
    assert [p.window for p in named] == ["lung", "table 1", "brain"]
    for picture in (named[0], named[2]):
        expected = np.rint(windowed(CT, PRESETS[picture.window]) * 255)
        assert np.array_equal(picture.pixels, expected)
    assert [p.window for p in render(frame, Rendering(("lung", "lung")))] == ["lung"]


def test_windows_that_say_nothing_are_passed_over():
    bad = (
        Window("", 0, 0),
        Window("", np.nan, 5),
        Window("", 0, -3, "SIGMOID"),
        Window("", 0, 0.5),
        Window("", 1, 9, "CUBIC"),
        Window("", 3, np.inf),
    )
    frame = Frame(CT, 0, windows=(*bad, Window("", 40, 400)), tables=(Table(0, np.array([]), 8),))
    assert one(frame).window == "40/400"
    assert one(Frame(CT, 0, windows=bad)).window == "percentiles 0.5-99.5"


def test_presets_need_hounsfield_units():
    with pytest.raises(Unreadable) as caught:
        render(Frame(CT, 0), Rendering(("brain",)))
    assert "Hounsfield" in caught.value.reason
    assert "first" in caught.value.remedy


# -- stacking ----------------------------------------------------------------------------------


def test_windows_stack_as_channels():
    frame = Frame(CT, 0, **HU)
    names = ("brain", "subdural", "bone")
    picture = one(frame, *names, stack=True)
    alone = render(frame, Rendering(names))
    assert picture.pixels.shape == (40, 60, 3)
    assert picture.pixels.flags.c_contiguous
    for channel, single in enumerate(alone):
        assert np.array_equal(picture.pixels[..., channel], single.pixels)
    assert picture.window == "brain + subdural + bone"
    assert picture.steps[-1] == "stacked"
    two = one(frame, "brain", "bone", stack=True)
    assert np.array_equal(two.pixels[..., 1], two.pixels[..., 2])
    assert two.window == "brain + bone"
    four = one(frame, *names, "lung", stack=True)
    assert four.steps[-1] == "windows left out: 1"
    assert one(frame, "brain", stack=True).pixels.shape == (40, 60)


# -- inversion, padding, no numbers ------------------------------------------------------------


def test_inversion_comes_after_the_window_and_padding_stays_black():
    padding = np.zeros(CT.shape, bool)
    padding[:, :5] = True
    plain = Frame(CT, 0, windows=(Window("", 40, 400),))
    turned = Frame(
        CT, 0, windows=(Window("", 40, 400),), inverted=True, padding=padding, steps=("rescale",)
    )
    straight, picture = one(plain), one(turned)
    assert np.array_equal(picture.pixels[:, 5:], 255 - straight.pixels[:, 5:])
    assert not picture.pixels[:, :5].any()
    assert picture.steps == ("rescale", "padding black", "window 40/400 LINEAR", "inverted")


def test_what_is_no_number_is_black_and_counts_for_nothing():
    values = np.linspace(100, 200, 400, dtype=np.float32).reshape(20, 20)
    values[0, 0], values[0, 1] = np.nan, np.inf
    for depth in (8, 16):
        picture = one(Frame(values, 0, limits=(100, 200), inverted=True), depth=depth)
        assert picture.pixels[0, :2].tolist() == [0, 0]
        assert picture.pixels[0, 2] > picture.pixels[-1, -1]
        assert "what is no number black" in picture.steps
    for depth in (8, 16):
        assert not one(Frame(np.full((3, 3), np.nan, np.float32), 0), depth=depth).pixels.any()
    with pytest.raises(Unreadable, match="without pixels"):
        one(Frame(np.zeros((0, 3), np.uint8), 0))


# -- no window ---------------------------------------------------------------------------------


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 3000), st.integers(1, 900), st.floats(0, 50), st.floats(50.1, 100))
def test_percentiles_of_the_image_alone(spread, count, low, high):
    values = np.random.default_rng(count).integers(-spread, spread + 1, (1, count))
    padding = values == values[0, 0]
    ask = Rendering(percentiles=(low, high))
    if padding.all():
        padding = None
    inside = values if padding is None else values[~padding]
    for kind in (np.int32, np.float32):
        (picture,) = render(Frame(values.astype(kind), 0, limits=(-9e3, 9e3), padding=padding), ask)
        ends = np.percentile(inside, (low, high))
        if ends[0] == ends[1]:
            ends = inside.min(), inside.max()
        elif ends[1] - ends[0] < 1e-6:  # of neighbouring values, told apart by rounding
            continue
        expected = np.clip((values - ends[0]) / max(ends[1] - ends[0], 1e-9), 0, 1) * 255
        shown = picture.pixels != 0
        if ends[0] != ends[1]:
            assert np.abs(picture.pixels - expected)[inside.size and shown].max(initial=0) < 0.51
            assert picture.window.startswith("percentiles")


def test_eight_bits_without_a_window_are_taken_as_they_are():
    values = RNG.integers(50, 90, (9, 9), dtype=np.uint8)
    picture = one(Frame(values, 0))
    assert np.array_equal(picture.pixels, values)
    assert picture.steps == ("8 bits as they are",)
    assert np.array_equal(one(Frame(values, 0, inverted=True)).pixels, 255 - values)
    assert np.array_equal(one(Frame(values, 0, windows=(AS_IT_IS,))).pixels, values)
    assert one(Frame(values, 0, limits=(0, 100))).window == "percentiles 0.5-99.5"


def test_one_value_only_is_black():
    picture = one(Frame(np.full((4, 4), 7, np.int16), 0, limits=(0, 99)))
    assert not picture.pixels.any()
    assert picture.steps[-1].endswith("one value only")


def test_mostly_background_is_shown_all_the_same():
    values = np.zeros((100, 100), np.int16)
    values[3, 3] = 500
    assert one(Frame(values, 0)).pixels[3, 3] == 255


def test_slices_of_a_volume_are_shown_alike():
    sample = np.concatenate([np.arange(109), [np.nan]]).astype(np.float32)
    slices = [
        Frame(
            np.add(np.full((9, 9), level, np.int16), np.arange(9)), 0, "", (0, 999), sample=sample
        )
        for level in (0, 100)
    ]
    low, high = (one(s, percentiles=(0, 100)) for s in slices)
    assert low.pixels.max() < high.pixels.min()
    assert low.steps == ("percentiles 0-100 of the volume: 0 to 108",)
    windowed_alone = Frame(CT, 0, windows=(Window("", 40, 400),), sample=sample)
    assert one(windowed_alone).window == "40/400"
    nothing = Frame(CT, 0, sample=np.full(3, np.nan, np.float32), limits=(-1024, 3071))
    assert "volume" not in one(nothing).steps[0]


# -- 16 bits -----------------------------------------------------------------------------------


@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize(
    ("values", "limits"),
    [
        (CT, (-1024, 3071)),
        (CT.astype(np.uint16), (0, 65535)),
        (CT.astype(np.int32) * 1000, (-(2**31), 2**31 - 1)),
        (CT * np.float32(0.37) - 5, (-500, 2000)),
        (CT * np.float32(0.37) - 5, (0, 1)),  # limits that are not true
        (np.full((3, 3), 5, np.int32), (-(2**31), 2**31 - 1)),
        (RNG.integers(0, 256, (5, 5)).astype(np.uint8), (0, 255)),
    ],
)
def test_16_bits_hold_the_values(values, limits, inverted):
    frame = Frame(values, 0, limits=limits, inverted=inverted)
    picture = one(frame, depth=16)
    back = picture.pixels * picture.scale + picture.offset
    assert picture.pixels.dtype == (np.uint8 if limits == (0, 255) else np.uint16)
    assert np.abs(back - values).max() <= abs(picture.scale) / 2 + 1e-6
    assert (picture.scale < 0) == inverted
    if "exact" in picture.steps[0]:
        assert np.array_equal(back, values)
        assert abs(picture.scale) == 1
    bright = np.corrcoef(picture.pixels.ravel(), values.ravel())[0, 1] if np.ptp(values) else 0
    assert bright == 0 or (bright < 0) == inverted


def test_a_window_chosen_later_gives_the_picture_of_8_bits():
    frame = Frame(CT, 0, **HU)
    kept, now = one(frame, depth=16), one(frame, "lung")
    later = windowed(kept.pixels * kept.scale + kept.offset, PRESETS["lung"]) * 255
    assert np.array_equal(np.rint(later), now.pixels)


def test_16_bits_of_a_narrow_type_stay_apart():
    values = (np.arange(4096) * 0.5).astype(np.float32).reshape(64, 64)  # 12 bits, slope 0.5
    pixels = one(Frame(values, 0, limits=(0, 2047.5)), depth=16).pixels
    assert len(np.unique(pixels)) == 4096


# -- shape -------------------------------------------------------------------------------------


def test_pad_squash_equalise_are_named_steps():
    frame = Frame(CT, 0, windows=(Window("", 1000, 4000),))
    plain = one(frame)
    padded = one(frame, shape=("pad",))
    assert padded.pixels.shape == (60, 60)
    assert np.array_equal(padded.pixels[10:50], plain.pixels)
    assert not padded.pixels[:10].any()
    assert not padded.pixels[50:].any()
    assert padded.steps == (*plain.steps, "pad")
    assert one(frame, shape=("squash",)).pixels.shape == (60, 60)
    assert one(frame, shape=("none",)).steps == plain.steps
    narrow = Frame(CT, 0, windows=(Window("", 1000, 40000),))
    even = one(narrow, shape=("equalise", "squash"))
    assert even.steps[-2:] == ("equalise", "squash")
    assert np.ptp(one(narrow).pixels) < 40
    assert np.ptp(one(narrow, shape=("equalise",)).pixels) == 255


def test_equalise_is_opencv_without_padding():
    import cv2

    values = RNG.normal(90, 9, (50, 50)).clip(0, 255).astype(np.uint8)
    picture = one(Frame(values, 0), shape=("equalise",))
    assert np.abs(picture.pixels.astype(int) - cv2.equalizeHist(values)).max() <= 1
    padding = np.zeros((50, 90), bool)
    padding[:, 50:] = True
    wide = np.pad(values, ((0, 0), (0, 40)))
    edged = one(Frame(wide, 0, padding=padding), shape=("equalise",)).pixels
    assert np.array_equal(edged[:, :50], picture.pixels)
    assert not edged[:, 50:].any()


def test_masks_follow_their_picture():
    mask = (CT > 1000).astype(np.uint8) * 2
    ask = Rendering(shape=("equalise", "pad"))
    padded = render_mask(mask, ask)
    assert np.array_equal(padded[10:50], mask)
    assert padded.sum() == mask.sum()
    squashed = render_mask(mask, Rendering(shape=("squash",)))
    assert squashed.shape == (60, 60)
    assert set(np.unique(squashed)) == {0, 2}
    assert np.array_equal(render_mask(mask, Rendering()), mask)


def test_colours_pass_through():
    colours = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)
    for depth in (8, 16):
        picture = one(Frame(colours, 0, inverted=True), depth=depth)
        assert np.array_equal(picture.pixels, colours)
        assert picture.steps == ("colours kept",)
    assert one(Frame(colours, 0), "brain", shape=("pad", "equalise")).pixels.shape == (9, 9, 3)


# -- wishes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wish",
    [
        {"windows": ("brian",)},
        {"windows": ()},
        {"depth": 12},
        {"percentiles": (99, 1)},
        {"percentiles": (-1, 99)},
        {"percentiles": (float("nan"), 99)},
        {"shape": ("pad", "squash")},
        {"shape": ("crop",)},
        {"depth": 16, "windows": ("brain",)},
        {"depth": 16, "stack": True},
        {"depth": 16, "shape": ("equalise",)},
    ],
)
def test_wishes_that_cannot_be(wish):
    with pytest.raises(RadstartError):
        Rendering(**wish)


def test_a_name_nearly_known_is_offered():
    with pytest.raises(RadstartError, match="did you mean brain"):
        Rendering(("brian",))
