"""The edge cases of the method, one test each."""

import math

import numpy as np
import pytest
from scipy.stats import t

from radstart.core.errors import RadstartError
from radstart.stats import ONE_MODEL, interval, paired_difference

DESIGNS = ["crossed", "nested"]


def study(seed=0, seeds=3, patients=60, images=3, gain=(1.2, 0.8), prevalence=0.4):
    random = np.random.default_rng(seed)
    unit = np.repeat(np.arange(patients), images)
    y = (random.random(len(unit)) < prevalence).astype(int)
    noise = random.normal(size=(2, seeds, patients))[:, :, unit]
    noise = 0.7 * noise + 0.7 * random.normal(size=(2, seeds, len(unit)))
    a, b = noise + np.array(gain)[:, None, None] * y
    return a, b, y, unit


@pytest.mark.parametrize("design", DESIGNS)
def test_the_same_scores_in_both_arms(design):
    a, _, y, unit = study()
    d = paired_difference(a, a, y, unit, design=design)
    assert (d.difference, d.ci_low, d.ci_high, d.p) == (0, 0, 0, 1)
    assert d.p_equivalence(0.02) == 0
    assert d.at(0.99) == (0, 0)


@pytest.mark.parametrize("design", DESIGNS)
def test_a_perfect_arm_has_limits_below_one(design):
    _, b, y, unit = study()
    perfect = np.tile(y.astype(float), (3, 1))
    one = interval(perfect, y, unit)
    rarer = min(len(set(unit[y == 1])), len(set(unit[y == 0])))
    assert one.ci_low == pytest.approx(0.025 ** (1 / rarer))
    assert one.ci_high == 1
    d = paired_difference(perfect, b, y, unit, design=design)
    of_b = d.pair.b.limits(t.ppf(0.975, d.df), d.df)
    low = d.difference - math.hypot(1 - one.ci_low, of_b[1] - d.value_b)
    high = d.difference + (d.value_b - of_b[0])
    assert (d.ci_low, d.ci_high) == (pytest.approx(low), pytest.approx(high))
    assert (d.p < 0.05) == (d.ci_low > 0)
    mirrored = paired_difference(b, perfect, y, unit, design=design)
    assert (mirrored.ci_low, mirrored.ci_high) == (pytest.approx(-high), pytest.approx(-low))


@pytest.mark.parametrize("design", DESIGNS)
def test_two_perfect_arms(design):
    _, _, y, unit = study()
    a, b = np.tile(y.astype(float), (3, 1)), np.tile(2.0 * y + 0.1 * unit / 60, (3, 1))
    d = paired_difference(a, b, y, unit, design=design)
    assert (d.difference, d.p) == (0, 1)
    assert d.ci_low == -d.ci_high < 0
    assert d.p_equivalence(2 * d.ci_high) < 0.05 < d.p_equivalence(d.ci_high / 2)


def test_a_useless_arm_mirrors_the_perfect_one():
    _, _, y, unit = study()
    up, down = interval(y.astype(float), y, unit), interval(1.0 - y, y, unit)
    assert (down.ci_low, down.ci_high) == (0, pytest.approx(1 - up.ci_low))


def test_a_perfect_accuracy_counts_patients():
    y = np.arange(60) % 2
    one = interval(np.tile(y, (3, 1)), y, np.arange(60), "accuracy")
    assert one.ci_low == pytest.approx(0.025 ** (1 / 60))


@pytest.mark.parametrize("design", DESIGNS)
def test_one_seed_speaks_of_one_model(design):
    a, b, y, unit = study(seeds=1)
    one = interval(a[0], y, unit)
    assert ONE_MODEL in one.notes
    assert one.n_seeds == 1
    assert math.isnan(one.seed_sd)
    d = paired_difference(a, b, y, unit, design=design)
    assert ONE_MODEL in d.notes
    assert (d.share_seeds, d.share_patients) == (0, 1)
    assert d.df == pytest.approx(d.nu)
    assert d.ci_low < d.difference < d.ci_high
    assert math.isnan(d.seed_sd_difference)


def test_no_seed_variance_leaves_the_patients():
    a, b, y, unit = study()
    d = paired_difference(a[[0, 0, 0]], b[[0, 0, 0]], y, unit)
    once = paired_difference(a[0], b[0], y, unit)
    assert d.share_seeds == pytest.approx(0)
    assert d.seed_sd_difference == pytest.approx(0)
    assert (d.ci_low, d.ci_high) == (pytest.approx(once.ci_low), pytest.approx(once.ci_high))


@pytest.mark.parametrize("positive_patients", [0, 1, 2, 9, 10])
def test_few_patients_with_a_class(positive_patients):
    a, b, _, unit = study()
    y = ((unit < positive_patients) & (np.arange(len(unit)) % 3 > 0)).astype(int)
    d = paired_difference(a, b, y, unit)
    one = interval(a, y, unit)
    if positive_patients < 2:
        assert all(math.isnan(x) for x in (d.ci_low, d.ci_high, d.p, d.sig2, d.share_patients))
        assert math.isnan(d.p_equivalence(0.02))
        assert math.isnan(one.ci_low)
        assert any("no interval" in note for note in d.notes)
        assert any("no interval" in note for note in one.notes)
    else:
        assert d.ci_low < d.difference < d.ci_high
    assert any("few units" in note for note in d.notes) == (positive_patients < 10)


def test_one_patient_has_no_interval_whatever_the_metric():
    one = interval(np.full((3, 8), 0.3), None, ["x"] * 8, "mean")
    assert math.isnan(one.ci_low)
    assert one.value == pytest.approx(0.3)


def test_patients_without_one_class_or_with_one_image():
    a, b, y, unit = study(images=1)
    d = paired_difference(a, b, y, unit)
    assert d.n_units == d.n_cases
    assert d.ci_low < d.difference < d.ci_high


def test_nan_is_refused():
    a, b, y, unit = study()
    b[0, 0] = np.nan
    with pytest.raises(RadstartError, match="NaN"):
        paired_difference(a, b, y, unit)


def test_unequal_seeds_are_matched_when_crossed_and_kept_when_nested():
    a, b, y, unit = study(seeds=5)
    crossed = paired_difference(a, b[:3], y, unit)
    assert (crossed.n_seeds, crossed.n_dropped) == (3, 2)
    assert any("2 of 5 seeds dropped" in note for note in crossed.notes)
    three = paired_difference(a[:3], b[:3], y, unit)
    assert (crossed.ci_low, crossed.p) == (three.ci_low, three.p)
    nested = paired_difference(a, b[:3], y, unit, design="nested")
    assert nested.n_dropped == 0
    assert nested.value_a == pytest.approx(interval(a, y, unit).value)


def test_arms_must_agree_and_the_design_be_known():
    a, b, y, unit = study()
    with pytest.raises(RadstartError, match="classes"):
        paired_difference(a, np.stack([b, b, b], axis=-1), y, unit)
    with pytest.raises(RadstartError, match="crossed or nested"):
        paired_difference(a, b, y, unit, design="paired")  # type: ignore[arg-type]
    with pytest.raises(RadstartError, match="margin"):
        paired_difference(a, b, y, unit).p_equivalence(0.0)


@pytest.mark.parametrize("design", DESIGNS)
def test_equivalence_is_the_ninety_percent_interval_inside_the_margin(design):
    for seed in range(6):
        a, b, y, unit = study(seed, patients=90, gain=(1.0, 1.0))
        d = paired_difference(a, b, y, unit, design=design)
        reach = max(-d.at(0.90)[0], d.at(0.90)[1])
        assert d.p_equivalence(1.001 * reach) < 0.05 < d.p_equivalence(0.999 * reach)
        assert d.p_equivalence(abs(d.difference) / 2) > 0.5
        assert d.p_equivalence(0.9) < d.p_equivalence(0.1) < d.p_equivalence(0.01)
