"""Parts, the audit and what is done about leakage."""

import hashlib
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from radstart.core.errors import RadstartError
from radstart.dataset import (
    PARTS,
    assign_parts,
    audit,
    draw_budget,
    find_units,
    resolve,
    text,
)
from radstart.dataset.strata import deal


def table(labels, **columns):
    n = len(labels)
    base = {"image": [f"i{k:03d}.png" for k in range(n)], "line": range(2, n + 2)}
    base |= {"label": labels, "content": [f"c{k}" for k in range(n)]}
    return pd.DataFrame(base | columns)


def shares(part):
    return {name: int((part == name).sum()) for name in PARTS}


def assign(rows, **options):
    return assign_parts(rows, find_units(rows), seed=0, **options)


def settle(rows, policy):
    units, parts = find_units(rows), assign(rows)
    return resolve(rows, units, parts, audit(rows, units, parts), policy, seed=0)


def test_split_column_with_synonyms():
    values = ["Training", "train", "VAL", "dev", "testing", "Test"]
    parts = assign(table(["a", "b"] * 3, split=values))
    assert parts.part.tolist() == [p for p in PARTS for _ in range(2)]
    assert parts.source == "split column"


def test_unknown_and_empty_split_values_are_refused_with_the_line():
    with pytest.raises(RadstartError, match=r"line 3, i001.png.*'tst'.*did you mean test"):
        assign(table(["a", "b", "a"], split=["train", "tst", "test"]))
    with pytest.raises(RadstartError, match="empty cell"):
        assign(table(["a", "b", "a"], split=["train", None, "test"]))


def test_unlabelled_rows_have_no_part():
    parts = assign(table(["a", "b", None] * 20))
    assert (parts.part[2::3] == "").all()
    assert (parts.part[0::3] != "").all()


def test_validation_is_taken_from_training_by_unit():
    rows = table(
        ["a", "b"] * 100,
        split=["train"] * 160 + ["test"] * 40,
        patient=[f"p{k // 4}" for k in range(200)],
    )
    parts = assign(rows)
    found = shares(parts.part)
    assert found["test"] == 40
    assert found["validation"] == pytest.approx(160 * 10 / 85, abs=4)
    assert audit(rows, find_units(rows), parts).units == 0
    assert "taken from training" in parts.notes[0]


def test_folds_numeric_aware_and_named():
    rows = table(["a", "b"] * 30, fold=[str(k // 2 % 10 + 1) for k in range(60)])
    fold = text(rows, "fold")
    parts = assign(rows)
    assert set(fold[parts.part == "test"]) == {"10"}
    assert set(fold[parts.part == "validation"]) == {"9"}
    parts = assign(rows, test_fold="1")
    assert set(fold[parts.part == "test"]) == {"1"}
    assert set(fold[parts.part == "validation"]) == {"10"}
    with pytest.raises(RadstartError, match="no such fold"):
        assign(rows, test_fold="11")


def test_two_folds_leave_validation_to_training():
    parts = assign(table(["a", "b"] * 40, fold=["x"] * 40 + ["y"] * 40))
    assert shares(parts.part)["test"] == 40
    assert shares(parts.part)["validation"] > 0


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (table(["a"]), "fewer units than parts"),
        (table(["a", "b"] * 5, patient=["p", "q"] * 5), "fewer units than parts"),
        (table(["a"] * 20 + ["b"] * 2), "class 'b' is missing from the"),
        (table(["a", "b", "a", "a"], split=["train", "train", "val", "test"]), "missing from"),
        (table(["a", "b", "a"], split=["train"] * 3), "no test part"),
        (table(["a", "b", "a"], fold=["1"] * 3), "one fold"),
    ],
)
def test_refused(rows, words):
    with pytest.raises(RadstartError, match=words):
        assign(rows)


sizes = st.lists(st.tuples(st.integers(1, 6), st.sampled_from("abc")), min_size=3, max_size=60)


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(sizes, st.integers(0, 3))
def test_drawn_parts_keep_units_whole_and_classes_balanced(units_of, seed):
    labels = [label for n, label in units_of for _ in range(n)]
    patients = [f"p{k}" for k, (n, _) in enumerate(units_of) for _ in range(n)]
    rows = table(labels, patient=patients)
    counts = pd.Series([label for _, label in units_of]).value_counts()
    assume((counts >= 3).all())
    units = find_units(rows)
    parts = assign_parts(rows, units, seed=seed)
    assert audit(rows, units, parts).units == 0
    label = text(rows, "label")
    for name in counts.index:
        largest = max(n for n, of in units_of if of == name)
        total = (label == name).sum()
        for part, share in zip(PARTS, (0.75, 0.10, 0.15), strict=True):
            n = ((label == name) & (parts.part == part)).sum()
            assert n > 0
            assert abs(n - share * total) < 2 * largest
    again = assign_parts(rows, units, seed=seed)
    assert (again.part == parts.part).all()


@settings(deadline=None)
@given(st.integers(10, 400), st.integers(0, 5))
def test_equal_units_are_dealt_to_within_one(n, seed):
    wanted = np.array([0.75, 0.10, 0.15])
    part = deal(np.ones((n, 1), np.int64), wanted, np.random.default_rng(seed))
    assert np.all(np.abs(np.bincount(part, minlength=3) - wanted * n) <= 1)


def test_other_seeds_draw_other_parts():
    rows = table(["a", "b"] * 50)
    units = find_units(rows)
    first, second = (assign_parts(rows, units, seed=seed).part for seed in (0, 1))
    assert (first != second).any()


@pytest.fixture
def leaking():
    """Patients p0..p4 stand in train and test; 100 images of 50 patients."""
    patients = [f"p{k // 2}" for k in range(100)]
    patients[80:85] = [f"p{k}" for k in range(5)]
    return table(
        ["a", "b"] * 50,
        patient=patients,
        split=["train"] * 70 + ["val"] * 10 + ["test"] * 20,
    )


def test_stop_says_how_many_and_what_to_do(leaking):
    with pytest.raises(RadstartError) as caught:
        settle(leaking, "stop")
    line = str(caught.value)
    assert line.startswith("leakage: 5 patient numbers stand in more than one part, 15 images")
    assert "line 2 i000.png (p0, train), line 82 i080.png (p0, test)" in line
    assert all(f"--leakage={policy}" in line for policy in ("regroup", "drop", "allow"))
    assert "\n" not in line


def test_regroup_keeps_the_proportions(leaking):
    parts, leakage = settle(leaking, "regroup")
    units = find_units(leaking)
    assert audit(leaking, units, parts).units == 0
    assert parts.source == "regrouped"
    assert leakage.patients == 5
    for name, n in zip(PARTS, (70, 10, 20), strict=True):
        assert shares(parts.part)[name] == pytest.approx(n, abs=3)


def test_drop_leaves_the_test_part(leaking):
    before = assign(leaking).part
    parts, leakage = settle(leaking, "drop")
    assert ((before == "test") == (parts.part == "test")).all()
    assert audit(leaking, find_units(leaking), parts).units == 0
    assert leakage.dropped == 10 == (parts.part == "").sum()


def test_allow_changes_nothing(leaking):
    parts, leakage = settle(leaking, "allow")
    assert (parts.part == assign(leaking).part).all()
    assert (leakage.policy, leakage.units, leakage.dropped) == ("allow", 5, 0)


def test_identical_pictures_without_patients_stop():
    rows = table(["a", "b"] * 6, split=["train", "train", "val", "val", "test", "test"] * 2)
    rows.loc[10, "content"] = rows.loc[0, "content"]
    with pytest.raises(RadstartError, match="1 identical image stands in more than one part"):
        settle(rows, "stop")


def test_unknown_policy_offers_the_nearest(leaking):
    with pytest.raises(RadstartError, match="did you mean regroup"):
        settle(leaking, "regrup")


def test_no_leakage_passes_under_every_policy():
    rows = table(["a", "b"] * 50)
    for policy in ("stop", "regroup", "drop", "allow"):
        parts, leakage = settle(rows, policy)
        assert (parts.source, leakage.units) == ("drawn", 0)


@pytest.mark.slow
@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.tuples(st.integers(0, 12), st.sampled_from("ab"), st.sampled_from(PARTS)),
        min_size=30,
        max_size=60,
    )
)
def test_nothing_crosses_after_regroup_or_drop(cells):
    rows = table(
        [c[1] for c in cells],
        patient=[f"p{c[0]}" if c[0] else None for c in cells],
        split=[c[2] for c in cells],
    )
    units = find_units(rows)
    for policy in ("regroup", "drop"):
        try:
            parts, _ = settle(rows, policy)
        except RadstartError:  # a class is missing from a part
            continue
        assert audit(rows, units, parts).units == 0


def test_another_key_of_hashes_deals_the_same_parts_and_budgets():
    def drawn(key, hashed):
        names = [hashlib.blake2b(f"{k // 2}".encode(), key=key).hexdigest() for k in range(120)]
        rows = table(["a", "b", "b"] * 40, patient=names)
        units = replace(find_units(rows), hashed=hashed)
        parts = assign_parts(rows, units, seed=0)
        used = draw_budget(units, parts, text(rows, "label"), 0.5, 1)
        return [*parts.part, *used]

    assert drawn(b"one", True) == drawn(b"other", True)
    assert drawn(b"one", False) != drawn(b"other", False)
