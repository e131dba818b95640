"""Facts on cases and plans from made-up cells: several classes, tasks without classes, no plan."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax
from sklearn.metrics import accuracy_score, confusion_matrix

from radstart.stats import needed, needed_equal, paired_difference, power
from radstart.study.cells import Cell
from radstart.study.facts.errors import calibration, confusion
from radstart.study.facts.settling import settling


def cell(scores, labels, units=None):
    units = np.arange(len(scores[0])) // 2 if units is None else units
    cases = np.array([f"c{k}" for k in range(len(units))])
    return Cell(("a", "full", 1.0), dict(enumerate(scores)), labels, units, cases, True)


def three_classes(n=240, seeds=3):
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, n)
    noise = random.normal(size=(seeds, n, 3))
    return softmax(noise + 1.5 * np.eye(3)[labels], axis=2), labels


def test_confusion_of_three_classes_is_scikit_learns():
    """Rows are the truth, columns the largest score; a class that never comes has no shares."""
    scores, labels = three_classes()
    (row,) = confusion({("a", "full", 1.0): cell(scores, labels)}, 3)
    said = scores.argmax(axis=2)
    assert row["counts"] == sum(confusion_matrix(labels, one) for one in said).tolist()
    np.testing.assert_allclose(np.sum(row["shares"], axis=1), 1)
    assert np.sum(row["per_seed"]) == pytest.approx(len(labels))

    some = labels < 2
    (row,) = confusion({("a", "full", 1.0): cell(scores[:, some], labels[some])}, 3)
    assert row["shares"][2] == [None] * 3
    assert row["counts"][2] == [0] * 3


def test_calibration_of_three_classes_is_of_the_class_that_was_predicted():
    """Bins of the largest score; their weighted means are the mean confidence and the accuracy."""
    scores, labels = three_classes()
    (row,) = calibration({("a", "full", 1.0): cell(scores, labels)}, 3, 0.95)
    bins = pd.DataFrame(row["bins"])
    right = accuracy_score(np.tile(labels, 3), scores.argmax(axis=2).ravel())

    assert row["of"] == "predicted class"
    assert (len(bins), bins["n"].sum()) == (10, scores[:, :, 0].size)
    assert bins["n"].max() - bins["n"].min() <= 1
    assert np.average(bins["observed"], weights=bins["n"]) == pytest.approx(right)
    confidence = scores.max(axis=2).mean()
    assert np.average(bins["predicted"], weights=bins["n"]) == pytest.approx(confidence)
    assert ((bins["ci_low"] < bins["observed"]) & (bins["observed"] <= bins["ci_high"])).all()


@pytest.mark.parametrize(("n", "bins"), [(10, 1), (39, 1), (41, 2), (190, 9), (5000, 10)])
def test_small_test_parts_have_fewer_bins(n, bins):
    """Twenty cases a bin and run, ten bins at most."""
    scores = np.random.default_rng(n).random((2, n))
    (row,) = calibration({("a", "full", 1.0): cell(scores, np.arange(n) % 2)}, 2, 0.95)
    assert len(row["bins"]) == bins


def test_equal_scores_share_a_bin():
    """A model that says one number everywhere has one bin, and one that says two has two."""
    labels = np.arange(200) % 2
    for scores, bins in [(np.full(200, 0.3), 1), (np.where(labels, 0.8, 0.2), 2)]:
        (row,) = calibration({("a", "full", 1.0): cell([scores], labels)}, 2, 0.95)
        assert [b["n"] for b in row["bins"]] == [200 // bins] * bins


@pytest.mark.parametrize(
    ("scores", "labels"),
    [
        (np.ones((2, 8)), None),
        (np.ones((2, 8)), np.linspace(0, 1, 8)),
        (np.full((2, 8, 3), 0.3), np.ones((8, 3), int)),
        (np.full((2, 8), 40.0), np.arange(8) % 2),
    ],
    ids=["errors", "numbers", "findings", "no probabilities"],
)
def test_cases_without_one_class_each_have_no_such_facts(scores, labels):
    """Regression, several findings, scores that are no probabilities."""
    cells = {("a", "full", 1.0): cell(scores, labels)}
    assert confusion(cells, 2) == confusion(cells, 3) == []
    assert calibration(cells, 2, 0.95) == calibration(cells, 3, 0.95) == []


def difference(seeds, units, spread, noise=1.0, shared=0.0):
    """Return a paired difference of means: `spread` over seeds, `noise` over cases."""
    random = np.random.default_rng(7)
    a = noise * random.normal(size=(seeds, units)) + spread * random.normal(size=(seeds, 1))
    a += shared * random.normal(size=units)
    return paired_difference(a, np.zeros((seeds, units)), None, np.arange(units), "mean")


def settled(d, margin=0.1, barred=(), family=4):
    return settling(d, list(barred), family, margin, "patient")


def test_what_settles_suffices_for_both_truths():
    """Each number alone: the larger of what a difference of the margin and what equality ask."""
    d = difference(3, 100, 0.0)
    found = settled(d)
    level = 1 - 0.05 / 4
    one, other = needed(d, 0.1, 0.8, level), needed_equal(d, 0.1)
    assert found["seeds"] == max(one.seeds, other.seeds)
    assert found["units"] == max(one.units, other.units)
    assert power(d, 0.1, found["seeds"], level=level) >= 0.8
    assert found["short"] == "20 seeds or 2,590 patients would settle it"


def test_no_number_of_patients_beats_seeds_that_differ():
    """The seeds' variance stays: said, with the difference that stays hidden."""
    found = settled(difference(3, 200, 0.3, 0.3))
    assert found["units"] is None
    assert found["seeds"] > 3
    assert "patients alone never" in found["short"]
    assert f"differences below {found['least_by_units']:.2g} stay hidden" in found["words"]


def test_no_number_of_seeds_beats_patients_that_differ():
    """The patients' variance stays."""
    found = settled(difference(5, 60, 0.0, 0.1, 1.0))
    assert found["seeds"] is None
    assert found["units"] > 60
    assert "seeds alone never" in found["short"]


def test_where_neither_alone_suffices_a_pair_is_named_and_suffices():
    """Of the seeds that are tried, the pair with the smallest product."""
    d = difference(3, 60, 0.3, 0.1, 1.0)
    found = settled(d)
    assert found["seeds"] is found["units"] is None
    both = found["both"]
    assert power(d, 0.1, both["seeds"], both["units"], 1 - 0.05 / 4) >= 0.8
    assert found["short"] == f"needs both: {both['seeds']:,} seeds and {both['units']:,} patients"


def test_a_study_that_was_large_enough_says_so():
    """Then the truth may lie between nothing and the margin."""
    found = settled(difference(5, 400, 0.0, 0.2))
    assert found["seeds"] <= 5
    assert "large enough" in found["short"]


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (settled(None), "no finished runs"),
        (settled(difference(3, 50, 0.1), barred=["confounded"]), "backbones differ"),
        (settled(difference(3, 50, 0.1), barred=["not converged"]), "step limit"),
        (settled(difference(3, 50, 0.1), margin=0.0), "no margin"),
        (settled(difference(1, 50, 0.1)), "more than one seed"),
        (settled(difference(3, 1, 0.1)), "no interval"),
    ],
)
def test_where_there_is_no_plan_the_words_say_why(found, said):
    """No number is made up."""
    assert said in f"{found['short']} {found['words']}"
    assert found["words"]
    assert {v for k, v in found.items() if k not in ("short", "words")} == {None}
