"""Budgets: nested, stratified, by unit, in training and validation."""

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from radstart.core.errors import RadstartError
from radstart.dataset import assign_parts, draw_budget, find_units, text


def study(units_of):
    labels = [label for n, label in units_of for _ in range(n)]
    n = len(labels)
    rows = pd.DataFrame(
        {
            "image": [f"{k}.png" for k in range(n)],
            "label": labels,
            "content": [f"c{k}" for k in range(n)],
            "patient": [f"p{k}" for k, (n, _) in enumerate(units_of) for _ in range(n)],
        }
    )
    units = find_units(rows)
    return units, assign_parts(rows, units, seed=0), text(rows, "label")


sizes = st.lists(st.tuples(st.integers(1, 4), st.sampled_from("aaab")), min_size=12, max_size=80)


@settings(deadline=None, max_examples=60)
@given(sizes, st.integers(0, 4), st.lists(st.floats(0.01, 1), min_size=2, max_size=5))
def test_budgets_are_nested_units_whole_and_every_class_present(units_of, seed, budgets):
    names = [label for _, label in units_of]
    assume(names.count("a") >= 3 and names.count("b") >= 3)
    units, parts, labels = study(units_of)
    smaller = np.zeros(len(labels), bool)
    for budget in sorted(budgets):
        try:
            used = draw_budget(units, parts, labels, budget, seed)
        except RadstartError as error:
            assert not smaller.any()
            least = float(re.search(r"works here is ([0-9.]+)", str(error))[1])
            assert budget < least
            draw_budget(units, parts, labels, least, seed)
            continue
        assert not (smaller & ~used).any()
        assert not used[parts.part == "test"].any()
        for part in ("train", "validation"):
            here = parts.part == part
            inside = set(units.unit[used & here])
            assert used[here & np.isin(units.unit, list(inside))].all()
            assert set(labels[used & here]) == set(labels)
            total = len(set(units.unit[here]))
            assert len(inside) == max(1, int(np.floor(budget * total + 0.5)))
        smaller = used


def test_all_of_it_for_every_seed():
    units, parts, labels = study([(2, "a")] * 30 + [(1, "b")] * 30)
    for seed in range(5):
        used = draw_budget(units, parts, labels, 1.0, seed)
        assert (used == np.isin(parts.part, ["train", "validation"])).all()


def test_a_budget_is_stratified_and_differs_between_seeds():
    units, parts, labels = study([(1, "a")] * 300 + [(1, "b")] * 100)
    draws = [draw_budget(units, parts, labels, 0.2, seed) for seed in range(4)]
    for used in draws:
        train = used & (parts.part == "train")
        assert (labels[train] == "b").sum() == pytest.approx(train.sum() / 4, abs=1.5)
    assert (draws[0] != draws[1]).any()


MIXES = st.lists(st.integers(3, 150), min_size=2, max_size=4)


@settings(deadline=None, max_examples=40)
@given(MIXES, st.integers(0, 9), st.floats(0.05, 1))
def test_the_error_of_stratification_has_a_bound_free_of_size(units_per_class, seed, budget):
    """Each class is within a few units of its share, three for each class at most and one more."""
    names = [name for name, n in zip("abcd", units_per_class, strict=False) for _ in range(n)]
    units, parts, labels = study([(1, name) for name in names])
    try:
        used = draw_budget(units, parts, labels, budget, seed)
    except RadstartError:  # too small for a unit of every class
        return
    for part in ("train", "validation"):
        here = parts.part == part
        drawn = used & here
        for name in set(names):
            wanted = drawn.sum() * (labels[here] == name).mean()
            assert abs((labels[drawn] == name).sum() - wanted) <= 1 + 3 * len(units_per_class)


def test_two_of_a_rare_class_stay_in_training():
    units, parts, labels = study([(1, "a")] * 400 + [(1, "b")] * 8)
    for seed in range(5):
        used = draw_budget(units, parts, labels, 0.05, seed)
        assert (labels[used & (parts.part == "train")] == "b").sum() >= 2
        assert (labels[used & (parts.part == "validation")] == "b").sum() >= 1


@pytest.mark.parametrize("budget", [0, -0.1, 1.01, float("nan")])
def test_out_of_range(budget):
    units, parts, labels = study([(1, "a"), (1, "b")] * 10)
    with pytest.raises(RadstartError, match="out of range"):
        draw_budget(units, parts, labels, budget, 0)
