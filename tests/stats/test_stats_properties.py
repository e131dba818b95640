"""What no reordering, relabelling or rescaling may change."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radstart.stats import METRICS, interval, paired_difference

SEEDS = st.integers(0, 2**32 - 1)
DESIGN = st.sampled_from(["crossed", "nested"])
QUICK = settings(max_examples=25, deadline=None, derandomize=True)


def study(seed, n_classes=2, seeds=3, gain=0.8):
    """Two arms of probabilities, labels and patients of a small test set."""
    random = np.random.default_rng(seed)
    unit = np.repeat(np.arange(30), random.integers(1, 5, 30))
    y = random.integers(0, n_classes, len(unit))
    y[: 2 * n_classes] = np.tile(np.arange(n_classes), 2)
    truth = np.eye(n_classes)[y]
    shape = (2, seeds, len(unit), n_classes)
    logits = gain * random.random() * truth + random.normal(size=shape)
    logits[0] += 0.5 * truth * random.random()
    p = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    a, b = np.round(p, 2 if random.random() < 0.5 else 12) if n_classes == 2 else p
    return (a[..., 1], b[..., 1], y, unit) if n_classes == 2 else (a, b, y, unit)


def numbers(d):
    return np.array([d.difference, d.ci_low, d.ci_high, d.p, d.df])


def same(one, two, tolerance=1e-7):
    np.testing.assert_allclose(numbers(one), numbers(two), rtol=tolerance, atol=tolerance)


@QUICK
@given(SEEDS, DESIGN, st.sampled_from(sorted(METRICS)))
def test_the_order_of_cases_and_the_names_of_patients(seed, design, metric):
    a, b, y, unit = study(seed)
    order = np.random.default_rng(seed).permutation(len(y))
    names = np.array([f"p{(7 * u) % 31}" for u in unit])
    one = paired_difference(a, b, y, unit, metric, design=design)
    two = paired_difference(a[:, order], b[:, order], y[order], names[order], metric, design=design)
    same(one, two)


@QUICK
@given(SEEDS, st.sampled_from(sorted(set(METRICS) - {"mean"})))
def test_the_numbering_of_classes(seed, metric):
    a, b, y, unit = study(seed, n_classes=3)
    new = np.array([2, 0, 1])
    back = np.argsort(new)
    one = paired_difference(a, b, y, unit, metric)
    two = paired_difference(a[..., back], b[..., back], new[y], unit, metric)
    same(one, two)


@QUICK
@given(SEEDS, DESIGN)
def test_monotone_transforms_leave_rankings_alone(seed, design):
    a, b, y, unit = study(seed)
    for metric in ("auroc", "average_precision"):
        one = paired_difference(a, b, y, unit, metric, design=design)
        two = paired_difference(np.exp(3 * a) - 5, 4 * b + 1, y, unit, metric, design=design)
        assert one == two


@QUICK
@given(SEEDS, DESIGN, st.sampled_from(sorted(METRICS)))
def test_the_order_of_seeds(seed, design, metric):
    a, b, y, unit = study(seed, seeds=4)
    order = np.random.default_rng(seed).permutation(4)
    one = paired_difference(a, b, y, unit, metric, design=design)
    two = paired_difference(a[order], b[order], y, unit, metric, design=design)
    same(one, two)


@QUICK
@given(SEEDS, DESIGN, st.sampled_from(sorted(METRICS)))
def test_swapping_the_arms_mirrors_the_interval(seed, design, metric):
    a, b, y, unit = study(seed)
    one = paired_difference(a, b, y, unit, metric, design=design)
    two = paired_difference(b, a, y, unit, metric, design=design)
    mirrored = [-two.difference, -two.ci_high, -two.ci_low, two.p, two.df]
    np.testing.assert_allclose(numbers(one), mirrored, rtol=1e-7, atol=1e-7)


@QUICK
@given(SEEDS, DESIGN, st.sampled_from([0.5, 0.8, 0.9, 0.95, 0.99, 0.999]))
def test_p_is_below_one_less_the_level_where_zero_is_outside(seed, design, level):
    a, b, y, unit = study(seed, gain=2.0)
    d = paired_difference(a, b, y, unit, level=level, design=design)
    assert (d.p < 1 - level) == (not d.ci_low <= 0 <= d.ci_high)
    assert d.ci_low < d.difference < d.ci_high
    low, high = d.at(1 - d.p) if d.p < 1 else (0, 0)
    assert min(abs(low), abs(high)) == pytest.approx(0, abs=1e-7)


@QUICK
@given(SEEDS, DESIGN, st.sampled_from(sorted(METRICS)))
def test_wider_levels_give_wider_intervals_and_shares_add_up(seed, design, metric):
    a, b, y, unit = study(seed)
    d = paired_difference(a, b, y, unit, metric, design=design)
    assert d.share_seeds + d.share_patients == pytest.approx(1)
    bounds = [d.at(level) for level in (0.5, 0.9, 0.95, 0.99)]
    assert all(np.diff([low for low, _ in bounds]) < 0)
    assert all(np.diff([high for _, high in bounds]) > 0)
    one = interval(a, y, unit, metric)
    assert METRICS[metric].upper == math.inf or 0 <= one.ci_low < one.ci_high <= 1
