"""The unit of every row."""

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radstart.dataset import count_duplicates, find_units, natural


def table(**columns):
    n = len(next(iter(columns.values())))
    base = {"image": [f"i{k:03d}.png" for k in range(n)], "label": ["a"] * n}
    base["content"] = [f"c{k}" for k in range(n)]
    return pd.DataFrame(base | columns)


def test_patient_then_exam_then_picture():
    rows = table(
        patient=["p1", "p1", None, None, None, None],
        exam=["e1", None, "e1", "e9", "e9", None],
    )
    units = find_units(rows)
    assert units.unit.tolist() == ["p1", "p1", "p1", "exam e9", "exam e9", "image i005.png"]
    assert (units.kind, units.patients_known, units.joined) == ("mixed", False, ())


def test_an_exam_of_two_patients_joins_nobody():
    units = find_units(table(patient=["a", "b", None], exam=["1", "1", "1"]))
    assert units.unit.tolist() == ["a", "b", "exam 1"]


@pytest.mark.parametrize(
    ("columns", "kind", "known"),
    [
        ({"patient": ["a", "b"]}, "patient", True),
        ({"exam": ["a", "b"]}, "exam", False),
        ({}, "duplicate group", False),
        ({"patient": ["a", None], "label": ["x", None]}, "patient", True),
    ],
)
def test_kind(columns, kind, known):
    units = find_units(table(**({"image": ["1.png", "2.png"]} | columns)))
    assert (units.kind, units.patients_known) == (kind, known)


def test_identical_pictures_join_patients_and_name_the_smallest():
    rows = table(patient=["p10", "p9", "p2", None], content=["x", "x", "y", "y"])
    units = find_units(rows)
    assert units.unit.tolist() == ["p9", "p9", "p2", "p2"]
    assert units.joined == (("p9", "p10"),)
    assert count_duplicates(rows) == (2, 4, 1)


def test_a_patient_and_an_exam_of_one_name_stay_apart():
    assert len(set(find_units(table(patient=["7", None], exam=[None, "7"])).unit)) == 2


def test_minus_one_is_no_volume_and_no_group_of_alike_pictures():
    rows = table(volume=[-1, -1, 0, 0, -1], near=[-1, 2, -1, -1, 2])
    assert find_units(rows).unit.tolist() == [
        *("image i000.png", "image i001.png", "series volume 0", "series volume 0"),
        "image i001.png",
    ]
    assert find_units(table(volume=[-1, -1], near=[-1, -1])).kind == "duplicate group"


few = st.sampled_from([None, "1", "2", "3", "10"])


@settings(deadline=None)
@given(st.lists(st.tuples(few, few, few), min_size=1, max_size=25))
def test_units_never_divide_what_belongs_together(cells):
    rows = table(
        patient=[c[0] for c in cells],
        exam=[c[1] for c in cells],
        content=[c[2] or f"own {k}" for k, c in enumerate(cells)],
    )
    unit = find_units(rows).unit
    for column in ("patient", "content"):
        for value in set(rows[column].dropna()):
            assert len(set(unit[(rows[column] == value).to_numpy()])) == 1
    shuffled = rows.sample(frac=1, random_state=1)
    again = find_units(shuffled).unit
    by_image = dict(zip(shuffled["image"], again, strict=True))
    assert [by_image[name] for name in rows["image"]] == unit.tolist()


def test_natural_order():
    assert sorted(["10", "9", "a2", "a10", "", "1b"], key=natural) == [
        "",
        "1b",
        "9",
        "10",
        "a2",
        "a10",
    ]
