"""Power and smallest differences, from a pilot and before any run."""

import math
import time

import numpy as np
import pytest
from scipy.stats import nct, t

from radstart.core.errors import RadstartError
from radstart.stats import (
    METRICS,
    needed,
    needed_equal,
    paired_difference,
    planned_difference,
    power,
    smallest_difference,
)


def pilot(seeds=4, patients=80, design="crossed", seed=0):
    random = np.random.default_rng(seed)
    y = np.arange(3 * patients) % 3 == 0
    a, b = random.normal(size=(2, seeds, 3 * patients))
    shift = random.normal(1.0, 0.3, (2, seeds, 1))
    unit = np.repeat(np.arange(patients), 3)
    return paired_difference(a + shift[0] * y, b + shift[1] * y, y, unit, design=design)


def labels(patients, seed=0, share=0.3):
    """Labels with correlation .5 inside a patient, and patients of 4.9 images on average."""
    random = np.random.default_rng(seed)
    unit = np.repeat(np.arange(patients), np.minimum(random.geometric(1 / 4.9, patients), 20))
    shared = random.random(len(unit)) < math.sqrt(0.5)
    place = np.where(shared, random.random(patients)[unit], random.random(len(unit)))
    return (place < share).astype(int), unit


@pytest.mark.parametrize("design", ["crossed", "nested"])
def test_power_is_the_formula(design):
    d = pilot(design=design)
    seeds, units, arms = 6, 300, 1 if design == "crossed" else 2
    a = (d.sig2 + d.omega_D / units) / seeds
    b, kappa = d.omega_B / units, (seeds + 1) / (seeds - 1)
    bottom = (kappa * a) ** 2 / (arms * (seeds - 1)) + b**2 / (d.rho_nu * units)
    df = (kappa * a + b) ** 2 / bottom
    expected = nct.sf(t.ppf(0.975, df), df, 0.05 / math.sqrt(a + b))
    assert power(d, -0.05, seeds, units) == pytest.approx(expected, abs=1e-8)


def test_the_smallest_difference_has_its_power():
    d = pilot()
    for seeds, units in [(None, None), (2, 50), (10, 1000), (1, 100)]:
        for wanted in (0.5, 0.8, 0.9):
            smallest = smallest_difference(d, seeds, units, wanted)
            assert power(d, smallest, seeds, units) == pytest.approx(wanted, abs=1e-6)


def test_the_variance_of_the_pilot_itself_comes_back():
    d = pilot()
    c = t.ppf(0.975, d.df)
    ncp = 0.05 / math.sqrt(d.variance)
    assert power(d, 0.05) == pytest.approx(nct.sf(c, d.df, ncp), abs=1e-6)


def test_what_is_needed_just_suffices():
    d = pilot()
    for difference in (0.08, 0.12, 0.2):
        n = needed(d, difference)
        for count, at in [
            (n.seeds, lambda k, x=difference: power(d, x, seeds=k)),
            (n.units, lambda k, x=difference: power(d, x, units=k)),
        ]:
            if count is not None:
                assert at(count) >= 0.8
                assert count == 2 or at(count - 1) < 0.8


def test_what_is_needed_for_equality_just_suffices_by_the_formula():
    """2 F(margin / sqrt V' - c) - 1 reaches 80 % there and not one seed or patient earlier."""
    d = pilot(seeds=6)

    def chance(margin, seeds, units):
        a = (d.sig2 + d.omega_D / units) / seeds
        b, kappa = d.omega_B / units, (seeds + 1) / (seeds - 1)
        df = (kappa * a + b) ** 2 / ((kappa * a) ** 2 / (seeds - 1) + b**2 / (d.rho_nu * units))
        return 2 * t.cdf(margin / math.sqrt(a + b) - t.ppf(0.95, df), df) - 1

    found = 0
    for margin in (0.1, 0.15, 0.25):
        n = needed_equal(d, margin)
        for count, at in [
            (n.seeds, lambda k, x=margin: chance(x, k, d.n_units)),
            (n.units, lambda k, x=margin: chance(x, 6, k)),
            (needed_equal(d, margin, seeds=30).units, lambda k, x=margin: chance(x, 30, k)),
        ]:
            if count is not None:
                found += 1
                assert at(count) >= 0.8
                assert count == 2 or at(count - 1) < 0.8
    assert found >= 5


@pytest.mark.slow
def test_equality_is_shown_as_often_as_planned():
    """Normal values of equal arms: both one-sided tests reject in about 80 %."""
    random = np.random.default_rng(3)
    margin, units = 0.3, 80
    kept, planned = [], []
    for _ in range(60):
        a, b = random.normal(size=(2, 5, units))
        d = paired_difference(a, b, None, np.arange(units), "mean")
        planned.append(needed_equal(d, margin, seeds=5).units)
    n = int(np.median([p for p in planned if p]))
    for _ in range(150):
        a, b = random.normal(size=(2, 5, n))
        d = paired_difference(a, b, None, np.arange(n), "mean")
        kept.append(d.p_equivalence(margin) < 0.05)
    assert 0.65 < np.mean(kept) < 0.95


def test_some_differences_stay_out_of_reach():
    d = pilot()
    floor = math.sqrt(d.omega_B / d.n_units)  # no number of seeds goes below it
    assert needed(d, floor).seeds is None
    assert needed(d, math.sqrt(d.sig2 / d.n_seeds)).units is None


def test_a_pilot_that_tells_nothing_plans_nothing():
    y, unit = np.arange(60) % 2, np.arange(60)
    scores = np.random.default_rng(0).random((3, 60))
    same = paired_difference(scores, scores, y, unit)
    none = paired_difference(scores, 1 - scores, np.zeros(60, int), unit)
    once = paired_difference(scores[0], 1 - scores[0], y, unit)
    for d, seeds in [(same, 3), (none, 3), (once, 3)]:
        assert math.isnan(power(d, 0.1, seeds))
        assert math.isnan(smallest_difference(d, seeds))
        assert needed(d, 0.1).seeds is None
        assert needed_equal(d, 0.1).seeds is None
    assert smallest_difference(once) > 0
    with pytest.raises(RadstartError, match="a seed"):
        power(once, 0.1, seeds=0)


@pytest.mark.slow
def test_planned_differences_are_those_of_the_method_page():
    table = {120: (0.083, 0.068, 0.062, 0.060), 400: (0.067, 0.046, 0.037, 0.034)}
    for patients, expected in table.items():
        got = [
            np.median(
                [
                    planned_difference(*labels(patients, draw), 2, seeds).difference
                    for draw in range(5)
                ]
            )
            for seeds in (3, 5, 10, 20)
        ]
        np.testing.assert_allclose(got, expected, rtol=0.08)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("metric", list(METRICS))
def test_every_metric_can_be_planned(metric, n_classes):
    y, unit = labels(100)
    if n_classes == 3:
        y = y + (np.arange(len(y)) % 3 == 0)
    start = time.process_time()
    three = planned_difference(y, unit, n_classes, 3, metric)
    assert time.process_time() - start < 2.0
    ten = planned_difference(y, unit, n_classes, 10, metric)
    assert 0 < ten.difference < three.difference
    assert three.difference <= three.difference_unsteady
    assert three == planned_difference(y, unit, n_classes, 3, metric)
    assert f"{100} units" in three.assumptions


def test_planning_needs_patients_with_every_class():
    y, unit = labels(50)
    none = planned_difference(np.where(unit == 3, y, 0), unit, 2, 3)
    assert math.isnan(none.difference)
    assert "fewer than 2" in none.assumptions
    assert planned_difference(None, unit, 2, 3, "mean").difference > 0
    with pytest.raises(RadstartError, match="a seed"):
        planned_difference(y, unit, 2, 0)


def test_planning_two_thousand_cases_takes_a_moment():
    y, unit = labels(410)
    start = time.process_time()
    planned_difference(y, unit, 2, 5)
    assert time.process_time() - start < 1.0  # about 0.05 s on one core
