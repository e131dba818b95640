"""Volumes out of single slices: by geometry, whatever the order and the series."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radstart.core.errors import RadstartError
from radstart.ingest.volumes import NEEDED, choose, group, is_scout, stack_of, stacks

AX = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
SAG = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
COR = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)


def slab(places, orientation=AX, start=1, origin=(-100.0, -90.0, 0.0), **columns):
    """Return rows of slices at `places` mm along the normal of `orientation`."""
    normal = np.cross(orientation[:3], orientation[3:])
    rows = [
        {
            "patient": "p",
            "series": "s",
            "orientation": orientation,
            "position": tuple((np.array(origin) + place * normal).tolist()),
            "spacing": (0.5, 0.5),
            "rows": 64,
            "cols": 64,
            "acquisition": 1,
            "instance": start + i,
            "image_type": "ORIGINAL\\PRIMARY\\AXIAL",
            "image_id": f"{start + i:03}",
            **{name: value(i) if callable(value) else value for name, value in columns.items()},
        }
        for i, place in enumerate(places)
    ]
    return pd.DataFrame(rows)


def joined(*slabs):
    rows = pd.concat(slabs, ignore_index=True)
    rows["image_id"] = [f"{i:05}" for i in range(len(rows))]
    return rows


def sets(rows, grouped):
    """Return the volumes as tuples of image_id in order."""
    out = []
    for _, part in grouped[grouped["volume"] >= 0].groupby("volume"):
        part = part.sort_values("place")
        assert part["place"].tolist() == list(range(len(part)))
        assert (np.diff(part["along"]) > 0).all()
        out.append(tuple(rows.loc[part.index, "image_id"]))
    return out


def test_file_order_and_instance_numbers_are_not_slice_order():
    rows = slab(np.arange(10) * 3.0, instance=lambda i: 100 - 7 * i)
    shuffled = rows.sample(frac=1, random_state=1)
    grouped = group(shuffled)
    assert sets(shuffled, grouped) == [tuple(rows["image_id"])]
    assert grouped.index.equals(shuffled.index)
    assert (grouped["alone"] == "").all()


def test_orientations_sizes_spacings_and_patients_come_apart():
    rows = joined(
        slab(range(5)),
        slab(range(4), SAG, 20),
        slab(range(3), COR, 40),
        slab(range(3), start=50, rows=128),
        slab(range(3), start=60, spacing=(0.7, 0.7)),
        slab(range(3), start=70, spacing=None),
        slab(range(6), start=80, patient="q"),
        slab(range(2), start=90, series="t"),
    )
    found = sets(rows, group(rows))
    assert sorted(map(len, found)) == [2, 3, 3, 3, 3, 4, 5, 6]


def test_small_differences_do_not_split():
    def turned(i):
        angle = 0.002 * i
        return (np.cos(angle), np.sin(angle), 0.0, -np.sin(angle), np.cos(angle), 0.0)

    rows = slab(range(6), orientation=AX)
    rows["orientation"] = [turned(i) for i in range(6)]
    rows["spacing"] = [(0.5 + 1e-5 * i, 0.5) for i in range(6)]
    assert len(sets(rows, group(rows))) == 1
    rows["orientation"] = [turned(40 * (i % 2)) for i in range(6)]
    assert len(sets(rows, group(rows))) == 2


@pytest.mark.parametrize("kind", ["ORIGINAL\\PRIMARY\\LOCALIZER", "DERIVED\\PRIMARY\\scout"])
def test_a_scout_is_no_slice(kind):
    rows = joined(slab(range(5)), slab([2.5], start=9, image_type=kind))
    grouped = group(rows)
    assert grouped["alone"].tolist() == [""] * 5 + ["a localiser"]
    assert grouped["volume"].tolist() == [0] * 5 + [-1]
    assert is_scout(kind)
    assert not is_scout("ORIGINAL\\PRIMARY\\AXIAL")
    assert not is_scout(None)


def test_a_scout_that_says_nothing_is_told_by_its_geometry():
    rows = joined(slab(range(5)), slab([0], SAG, 9))
    assert group(rows)["alone"].tolist()[-1] == "the only one of its geometry in the series"


def test_what_has_no_geometry_stands_alone():
    rows = joined(
        slab(range(2)),
        slab([5.0], start=5, orientation=AX, position=None),
        slab([6.0], start=6, series=None),
        slab([7.0], start=7, series=""),
        slab([8.0], start=8, position=(float("nan"), 0.0, 0.0)),
        slab([9.0], start=9, position=("a", "b", "c")),
    )
    rows.loc[0, "orientation"] = None
    why = group(rows)["alone"].tolist()
    nowhere = "no position or orientation"
    assert why[0] == nowhere
    assert why[2:] == [nowhere, "no series", "no series", nowhere, nowhere]


@pytest.mark.parametrize(
    "columns",
    [
        ({"acquisition": 1}, {"acquisition": 2}),
        ({"image_type": "ORIGINAL\\PRIMARY\\M"}, {"image_type": "ORIGINAL\\PRIMARY\\P"}),
        ({"acquisition": None}, {"acquisition": None}),  # by instance: 1..6, then 7..12
    ],
)
def test_echoes_and_phases_at_one_position_come_apart(columns):
    first, second = columns
    rows = joined(slab(range(6), **first), slab(range(6), start=7, **second))
    ids = rows["image_id"].tolist()
    for seed in range(3):
        shuffled = rows.sample(frac=1, random_state=seed)
        assert sets(shuffled, group(shuffled)) == [tuple(ids[:6]), tuple(ids[6:])]


def test_interleaved_echoes_come_apart():
    rows = joined(
        slab(range(6), instance=lambda i: 2 * i + 1), slab(range(6), instance=lambda i: 2 * i + 2)
    )
    ids = rows["image_id"].tolist()
    assert sets(rows, group(rows)) == [tuple(ids[:6]), tuple(ids[6:])]


def test_the_instance_number_leads_not_the_identifier():
    rows = joined(slab(range(4), start=5), slab(range(4), start=1))
    ids = rows["image_id"].tolist()
    assert sets(rows, group(rows)) == [tuple(ids[4:]), tuple(ids[:4])]


def test_two_places_in_one_plane_come_apart():
    rows = joined(
        slab(range(6), instance=lambda i: 2 * i + 1),
        slab(range(6), origin=(100.0, -90.0, 0.0), instance=lambda i: 2 * i),
    )
    ids = rows["image_id"].tolist()
    assert sorted(sets(rows, group(rows))) == [tuple(ids[:6]), tuple(ids[6:])]


def test_acquisition_numbers_that_count_slices_split_nothing():
    rows = slab(np.arange(12) * 5.0, acquisition=lambda i: i + 1)
    assert sets(rows, group(rows)) == [tuple(rows["image_id"])]
    again = joined(rows, slab([15.0], start=30, acquisition=13))  # one slice sent again
    assert sorted(map(len, sets(again, group(again)))) == [1, 12]


def test_the_order_of_rows_does_not_matter():
    rows = joined(
        slab(range(5), acquisition=2),
        slab(range(5), acquisition=1),
        slab(range(4), SAG),
        slab(range(3), patient="o", series="z"),
        slab(range(3), image_type="A\\B\\SCOUT"),
        slab(np.arange(3) + 0.5, rows=None),
    )
    whole = group(rows)
    for seed in range(5):
        shuffled = rows.sample(frac=1, random_state=seed)
        pd.testing.assert_frame_equal(group(shuffled).loc[rows.index], whole)
    assert whole["volume"].max() + 1 == 5
    assert (whole.loc[rows["patient"] == "o", "volume"] == 0).all()


def test_an_empty_table_is_an_empty_answer():
    empty = pd.DataFrame({name: [] for name in NEEDED})
    assert len(group(empty)) == 0
    assert stacks(empty, group(empty)) == {}


# -- what a volume is like -----------------------------------------------------------------------


def test_gaps_and_uneven_steps_are_told():
    even = stack_of(np.arange(8) * 2.5)
    assert (even.slices, even.step, even.missing, even.gaps, even.irregular) == (
        8,
        2.5,
        0,
        (),
        False,
    )
    holes = stack_of(np.array([0, 2, 4, 8, 10, 12, 20.0]))
    assert (holes.step, holes.missing, holes.gaps, holes.irregular) == (2, 4, (2, 5), False)
    uneven = stack_of(np.array([0, 2, 4, 6.5, 8, 10]))
    assert uneven.irregular
    assert not uneven.missing
    assert stack_of(np.array([3.0])).step == 0
    assert stack_of(np.array([])).slices == 0
    assert stack_of(np.arange(4) * 2.5, thickness=5).overlap
    assert stack_of(np.arange(4) * 2.5, thickness=2.5).overlap is False


def test_a_tilted_gantry_is_told():
    rows = slab(np.arange(6) * 3.0, (1.0, 0, 0, 0, np.cos(0.3), np.sin(0.3)))
    rows["position"] = [(-100.0, -90.0, 3.0 * i) for i in range(6)]
    rows["thickness"] = 5.0
    (stack,) = stacks(rows, group(rows)).values()
    assert stack.sheared
    assert stack.overlap
    assert stack.step == pytest.approx(3 * np.cos(0.3))
    (straight,) = stacks(slab(range(6)), group(slab(range(6)))).values()
    assert not straight.sheared


@pytest.mark.slow
@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([AX, SAG, COR, None, (1.0, 2.0), (float("nan"),) * 6, (0.0,) * 6]),
            st.one_of(
                st.none(), st.tuples(*[st.floats()] * 3), st.tuples(*[st.integers(0, 3)] * 3)
            ),
            st.one_of(st.none(), st.integers(0, 2)),
            st.sampled_from([None, "", "a", "b"]),
        ),
        max_size=25,
    ),
    st.randoms(use_true_random=False),
)
def test_every_image_is_in_one_volume_or_told_why_not(cells, random):
    rows = slab(range(len(cells))) if cells else pd.DataFrame({name: [] for name in NEEDED})
    for at, name in enumerate(("orientation", "position", "acquisition", "series")):
        rows[name] = pd.Series([cell[at] for cell in cells], index=rows.index, dtype=object)
    grouped = group(rows)
    assert ((grouped["volume"] >= 0) == (grouped["alone"] == "")).all()
    sets(rows, grouped)
    stacks(rows, grouped)
    order = list(rows.index)
    random.shuffle(order)
    again = group(rows.loc[order]).loc[rows.index]
    assert again["volume"].tolist() == grouped["volume"].tolist()


# -- which slices ----------------------------------------------------------------------------------


def test_slices_by_rule():
    assert choose(5).tolist() == [0, 1, 2, 3, 4]
    assert choose(10, "every 3").tolist() == [0, 3, 6, 9]
    assert choose(11, "every 4").tolist() == [1, 5, 9]
    assert choose(3, "every 10").tolist() == [1]
    assert choose(10, "middle 4").tolist() == [3, 4, 5, 6]
    assert choose(3, "middle 5").tolist() == [0, 1, 2]
    assert choose(4, "masked", [False, True, True, False]).tolist() == [1, 2]
    for rule in ("all", "every 2", "middle 3"):
        assert choose(0, rule).tolist() == []


@pytest.mark.parametrize("rule", ["some", "every", "every 0", "middle -1", "all 3", "masked"])
def test_rules_that_are_none(rule):
    with pytest.raises(RadstartError):
        choose(5, rule)


SERIES = Path(__file__).parents[2].parent / "shared/data/dicom_mr_tcia_brain"


@pytest.mark.real
@pytest.mark.skipif(not SERIES.is_dir(), reason="../shared/data is absent: NOT TESTED on series")
def test_real_series_in_files_of_any_order():
    import pydicom

    rows = []
    for path in sorted(SERIES.rglob("*.dcm")):
        data = pydicom.dcmread(path, stop_before_pixels=True)
        rows.append(
            {
                "patient": str(data.PatientID),
                "series": str(data.SeriesInstanceUID),
                "orientation": tuple(map(float, data.ImageOrientationPatient)),
                "position": tuple(map(float, data.ImagePositionPatient)),
                "spacing": tuple(map(float, data.PixelSpacing)),
                "rows": int(data.Rows),
                "cols": int(data.Columns),
                "acquisition": data.get("AcquisitionNumber"),
                "instance": int(data.InstanceNumber),
                "image_type": "\\".join(data.ImageType),
                "image_id": str(data.SOPInstanceUID),
                "thickness": float(data.SliceThickness),
            }
        )
    table = pd.DataFrame(rows)
    grouped = group(table)
    assert (grouped["alone"] == "").all()
    assert grouped["volume"].nunique() == table["series"].nunique()
    for stack in stacks(table, grouped).values():
        assert stack.slices > 1
        assert not stack.irregular
