"""A frozen probe out of fold: units stay together, features that tell classes apart win."""

import numpy as np
import pytest

from radstart.training import TASKS, RunFailed, folds_of, paired_loss, probe_losses

TASK = TASKS["classification"]


def cases(units=60, each=2, seed=0):
    rng = np.random.default_rng(seed)
    unit = np.repeat([f"u{k}" for k in range(units)], each)
    label = np.repeat(np.where(np.arange(units) % 3 == 0, "a", "b"), each)
    signal = np.where(label == "a", 1.0, -1.0)[:, None] + rng.normal(size=(len(unit), 4))
    noise = rng.normal(size=(len(unit), 4))
    return unit, label, signal.astype(np.float32), noise.astype(np.float32)


def test_units_stay_in_one_fold_and_folds_hold_every_class():
    """Five folds of about the same size."""
    unit, label, *_ = cases()
    folds = folds_of(label, unit, np.full(len(unit), ""), 0)

    assert all(len(set(folds[unit == one])) == 1 for one in set(unit))
    assert sorted(set(folds)) == [0, 1, 2, 3, 4]
    assert all(set(label[folds == k]) == {"a", "b"} for k in range(5))


def test_given_folds_lead_and_rare_classes_take_no_part():
    """A class of three units is left out; without two classes there is no probe."""
    unit, label, *_ = cases()
    given = np.array([f"{int(one[1:]) % 4}" for one in unit])
    label = label.astype("<U8")
    label[:6] = "rare"
    folds = folds_of(label, unit, given, 0)

    assert (folds[:6] == -1).all()
    assert len(set(folds[6:])) == 4
    assert folds_of(np.full(len(unit), "a"), unit, given, 0) is None
    assert folds_of(np.full(len(unit), ""), unit, given, 0) is None


@pytest.mark.slow
def test_features_with_the_signal_have_the_smaller_loss():
    """And the interval over units says so; a difference of nothing is none."""
    unit, label, signal, noise = cases()
    folds = folds_of(label, unit, np.full(len(unit), ""), 0)
    good, bad = (probe_losses(TASK, f, label, folds) for f in (signal, noise))
    found = paired_loss(bad, good, unit)

    assert np.nanmean(good) < 0.4
    assert 0.55 < np.nanmean(bad) < 0.8
    assert found.low > 0.1
    assert found.units == 60
    assert paired_loss(good, good, unit).difference == 0


def test_a_unit_does_not_help_to_score_itself():
    """Features that are the unit's name are worth nothing out of fold."""
    unit, label, *_ = cases(each=4)
    names = np.eye(60, dtype=np.float32)[np.repeat(np.arange(60), 4)]
    folds = folds_of(label, unit, np.full(len(unit), ""), 0)

    assert np.nanmean(probe_losses(TASK, names, label, folds)) > 0.6


def test_features_that_are_not_finite_fail_in_words():
    """As a frozen run does."""
    unit, label, signal, _ = cases()
    signal[0, 0] = np.inf
    with pytest.raises(RunFailed, match="not finite"):
        probe_losses(TASK, signal, label, folds_of(label, unit, np.full(len(unit), ""), 0))
