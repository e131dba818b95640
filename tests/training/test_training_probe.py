"""The probe: scikit-learn's logistic regression on standardised features, chosen on validation."""

import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from radstart.training import PENALTIES, TASKS, RunFailed, fit_probe

TASK = TASKS["classification"]


def problem(n=120, d=10, classes=2, seed=0):
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, classes, n)
    targets[:classes] = targets[80 : 80 + classes] = range(classes)
    centres = rng.normal(size=(classes, d))
    features = (centres[targets] + 1.5 * rng.normal(size=(n, d))) * rng.uniform(0.1, 10, d) + 3
    return features.astype(np.float32), targets, np.arange(80), np.arange(80, n)


def referee(features, targets, train, penalty):
    """Return scikit-learn's probabilities for every row at the same penalty per case."""
    scaler = StandardScaler().fit(features[train].astype(np.float64))
    model = LogisticRegression(C=1 / (penalty * len(train)), max_iter=20000, tol=1e-9)
    model.fit(scaler.transform(features[train].astype(np.float64)), targets[train])
    return model.predict_proba(scaler.transform(features.astype(np.float64)))


def scores(probe, features):
    return softmax(probe.outputs(features.astype(np.float64)), axis=1)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize(
    "penalty",
    [1e-5, 1e-3, 1e-1, 10.0],
)
def test_it_agrees_with_scikit_learn_on_standardised_features(monkeypatch, classes, penalty):
    """Probabilities of new cases to 2e-4, whatever the scale of the features as they come."""
    features, targets, train, validation = problem(classes=classes)
    monkeypatch.setattr("radstart.training.probe.PENALTIES", (penalty,))

    fitted = fit_probe(TASK, features, targets, train, validation)
    expected = referee(features, targets, train, penalty)
    np.testing.assert_allclose(scores(fitted.probe, features), expected, atol=2e-4)
    assert fitted.converged


def test_the_penalty_is_the_one_with_the_smallest_validation_loss():
    """The losses are those of the fits, and the smallest wins."""
    features, targets, train, validation = problem(seed=2)
    fitted = fit_probe(TASK, features, targets, train, validation)

    expected = []
    for penalty in PENALTIES:
        p = referee(features, targets, train, penalty)[validation]
        expected.append(-np.log(p[np.arange(len(validation)), targets[validation]]).mean())
    np.testing.assert_allclose(fitted.losses, expected, atol=1e-3)
    assert fitted.penalty == PENALTIES[int(np.argmin(expected))]
    assert 0 < PENALTIES.index(fitted.penalty) < len(PENALTIES) - 1


def test_rows_outside_training_and_validation_change_nothing():
    """The test part's features and labels are not looked at, not even if they are not numbers."""
    features, targets, train, validation = problem()
    one = fit_probe(TASK, features, targets, train, validation[:20])
    features, targets = features.copy(), targets.copy()
    features[validation[20:]] = np.nan
    targets[validation[20:]] = 1 - targets[validation[20:]]

    two = fit_probe(TASK, features, targets, train, validation[:20])
    assert (one.penalty, one.losses) == (two.penalty, two.losses)
    assert np.array_equal(one.probe.weight, two.probe.weight)


def test_validation_labels_change_the_penalty_alone():
    """At any penalty the fit is of the training rows."""
    features, targets, train, validation = problem()
    turned = targets.copy()
    turned[validation] = 1 - turned[validation]

    one = fit_probe(TASK, features, targets, train, validation)
    two = fit_probe(TASK, features, turned, train, validation)
    assert one.penalty < two.penalty == max(PENALTIES)


def test_constant_features_are_left_out_and_harm_nothing():
    """Columns without spread in training, dead ones as ReLU leaves them, get no weight."""
    features, targets, train, validation = problem()
    dead = features.copy()
    dead = np.hstack([dead, np.full((len(dead), 2), 7, np.float32)])
    dead[validation, -1] = 9.0  # a feature that first stirs outside the training rows

    one = fit_probe(TASK, features, targets, train, validation)
    two = fit_probe(TASK, dead, targets, train, validation)
    assert one.penalty == two.penalty
    assert (two.probe.weight[-2:] == 0).all()
    np.testing.assert_allclose(scores(one.probe, features), scores(two.probe, dead), atol=1e-6)


def test_features_that_are_all_constant_give_the_prevalence():
    """Nothing to learn from: the scores are the classes' shares in training."""
    _, targets, train, validation = problem()
    features = np.ones((len(targets), 3), np.float32)

    fitted = fit_probe(TASK, features, targets, train, validation)
    share = targets[train].mean()
    np.testing.assert_allclose(scores(fitted.probe, features)[:, 1], share, atol=1e-3)


def test_more_features_than_rows_agree_with_scikit_learn(monkeypatch):
    """Rotating into the span of the training rows changes no ridge fit."""
    features, targets, train, validation = problem(d=300)
    monkeypatch.setattr("radstart.training.probe.PENALTIES", (0.1,))

    fitted = fit_probe(TASK, features, targets, train[:30], validation)
    expected = referee(features, targets, train[:30], 0.1)
    assert fitted.probe.weight.shape == (300, 2)
    np.testing.assert_allclose(scores(fitted.probe, features), expected, atol=1e-4)


def test_features_that_are_no_numbers_fail_the_run():
    """The reason is the weights', and other runs go on."""
    features, targets, train, validation = problem()
    features[train[3], 2] = np.inf

    with pytest.raises(RunFailed, match="features are not finite"):
        fit_probe(TASK, features, targets, train, validation)


def test_the_loss_that_chooses_is_the_tasks_own():
    """Cross-entropy of the outputs, as in training."""
    features, targets, train, validation = problem()
    fitted = fit_probe(TASK, features, targets, train, validation)

    outputs = torch.from_numpy(fitted.probe.outputs(features[validation].astype(np.float64)))
    loss = torch.nn.functional.cross_entropy(outputs, torch.from_numpy(targets[validation]))
    assert min(fitted.losses) == pytest.approx(loss.item(), rel=1e-6)
