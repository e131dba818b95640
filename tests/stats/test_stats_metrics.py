"""Every metric against scikit-learn, and the jackknife against leaving each patient out."""

import time

import numpy as np
import pytest
from sklearn import metrics as referee
from sklearn.calibration import calibration_curve

from radstart.core.errors import RadstartError
from radstart.stats import METRICS, Metric, interval, paired_difference, value
from radstart.stats.jackknife import as_runs, as_units, jackknife


def ece_of(outcome, confidence):
    edges = np.linspace(0, 1, 16)[1:-1]
    true, said = calibration_curve(outcome, confidence, n_bins=15, strategy="uniform")
    n = np.bincount(np.searchsorted(edges, confidence), minlength=15)
    return np.sum(n[n > 0] * np.abs(true - said)) / len(outcome)


def by_referee(metric, scores, y):
    many = scores.ndim == 2
    said = scores.argmax(axis=1) if many else (scores > 0.5).astype(int)
    one_hot = np.eye(scores.shape[1])[y] if many else y
    average = "macro" if many else "binary"
    return {
        "auroc": lambda: referee.roc_auc_score(one_hot, scores, average="macro"),
        "average_precision": lambda: referee.average_precision_score(one_hot, scores),
        "accuracy": lambda: referee.accuracy_score(y, said),
        "balanced_accuracy": lambda: referee.balanced_accuracy_score(y, said),
        "weighted_recall": lambda: referee.recall_score(y, said, average="weighted"),
        "f1": lambda: referee.f1_score(y, said, average=average),
        "brier": lambda: referee.brier_score_loss(y, scores),
        "ece": lambda: ece_of(said == y, scores.max(axis=1)) if many else ece_of(y, scores),
        "mean": scores.mean,
    }[metric]()


def cases(n_classes, ties, seed, n=240, seeds=None):
    """Scores of probabilities, labels and patients; `seeds` runs if given."""
    random = np.random.default_rng(seed)
    y = random.integers(0, n_classes, n)
    y[:n_classes] = np.arange(n_classes)
    shape = (seeds or 1, n)
    if n_classes == 2:
        scores = 0.6 * random.random(shape) + 0.4 * y * random.random(shape)
        scores = np.round(scores, 1) if ties else scores
    else:
        raw = random.random((*shape, n_classes)) + np.eye(n_classes)[y]
        raw = np.round(raw * 3) + 1 if ties else raw
        scores = raw / raw.sum(axis=-1, keepdims=True)
    return (scores if seeds else scores[0]), y, random.integers(0, n // 5, n)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(
    ("metric", "n_classes"),
    [(m, c) for m in METRICS for c in (2, 3, 5) if m != "mean" or c == 2],
)
def test_values_agree_with_scikit_learn(metric, n_classes, ties):
    for seed in range(5):
        scores, y, _ = cases(n_classes, ties, seed)
        assert value(metric, scores, y) == pytest.approx(
            by_referee(metric, scores, y), rel=0, abs=1e-12
        )


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("metric", [name for name in METRICS if name != "mean"])
def test_jackknife_is_the_value_without_each_patient(metric, n_classes, ties):
    entry = METRICS[metric]
    scores, y, patient = cases(n_classes, ties, 3, n=120, seeds=2)
    runs = as_runs(entry, scores, y)
    units = as_units(entry, runs, patient)
    values, left_out = jackknife(entry, runs, units.index, units.count)
    for s in range(2):
        assert values[s] == pytest.approx(by_referee(metric, scores[s], y), abs=1e-12)
        for p in range(units.count):
            kept = units.index != p
            expected = by_referee(metric, scores[s][kept], y[kept])
            assert left_out[s, p] == pytest.approx(expected, rel=0, abs=1e-12)


def test_two_columns_are_the_positive_class():
    p, y, patient = cases(2, False, 1, seeds=3)
    both = np.stack([1 - p, p], axis=-1)
    for metric in METRICS:
        assert value(metric, both[0], y) == value(metric, p[0], y)
        assert interval(both, y, patient, metric) == interval(p, y, patient, metric)


def test_brier_of_several_classes_uses_its_range():
    scores, y, patient = cases(3, False, 1, seeds=3)
    wrong = 1 - scores
    wrong /= wrong.sum(axis=-1, keepdims=True)
    result = interval(wrong**4 / (wrong**4).sum(axis=-1, keepdims=True), y, patient, "brier")
    assert 0 < result.ci_low < result.value < result.ci_high < 2


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinity_are_refused(bad):
    scores, y, patient = cases(2, False, 1, seeds=2)
    scores[1, 7] = bad
    with pytest.raises(RadstartError, match=r"NaN or infinity.*case 7"):
        interval(scores, y, patient)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metric": "auc"}, "did you mean auroc"),
        ({"labels": np.zeros(9, int)}, "number of cases"),
        ({"labels": None}, "needs labels"),
        ({"labels": np.full(10, 2)}, r"0\.\.1"),
        ({"labels": np.full(10, 0.5)}, "class indices"),
        ({"patients": list("abc")}, "patients"),
        ({"patients": [None] * 10}, "missing"),
        ({"patients": [float("nan")] * 10}, "missing"),
        ({"level": 1.0}, "level"),
        ({"scores": np.zeros((2, 3, 4, 5))}, "seeds, cases"),
        ({"scores": np.full((2, 10), 3.0), "metric": "brier"}, "probabilities"),
        ({"scores": np.full((2, 10, 2), 3.0)}, "sum to one"),
        ({"scores": np.full((2, 10, 3), 0.3), "metric": "mean"}, "one value"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    given = {
        "scores": np.linspace(0, 1, 20).reshape(2, 10),
        "labels": np.arange(10) % 2,
        "patients": np.arange(10),
    }
    with pytest.raises(RadstartError, match=message):
        interval(**{**given, **change})


def test_a_value_without_a_class_is_refused():
    with pytest.raises(RadstartError, match="undefined without a case of class 1"):
        value("auroc", np.array([0.1, 0.2]), np.array([0, 0]))
    assert value("accuracy", np.array([0.1, 0.2]), np.array([0, 0])) == 1.0


def test_a_metric_is_one_entry_of_the_table(monkeypatch):
    def specificity(scores, labels):
        negative = labels == 0
        return np.stack([negative & (scores <= 0.5), negative], axis=1).astype(float)

    monkeypatch.setitem(
        METRICS,
        "specificity",
        Metric(
            "specificity",
            "specificity",
            True,
            "sums",
            cases=specificity,
            total=lambda total: total[..., 0] / total[..., 1],
        ),
    )
    scores, y, patient = cases(2, False, 1, seeds=3)
    expected = referee.recall_score(y, scores[0] > 0.5, pos_label=0)
    assert value("specificity", scores[0], y) == pytest.approx(expected, abs=1e-12)
    one = interval(scores, y, patient, "specificity")
    assert one.ci_low < one.value < one.ci_high
    assert paired_difference(scores, 1 - scores, y, patient, "specificity").p < 0.05


def test_an_error_on_the_log_scale(monkeypatch):
    mae = Metric(
        "mae",
        "mean absolute error",
        False,
        "sums",
        scale="log",
        needs="nothing",
        cases=METRICS["mean"].cases,
        total=METRICS["mean"].total,
    )
    monkeypatch.setitem(METRICS, "mae", mae)
    random = np.random.default_rng(0)
    errors = random.exponential(1.0, (3, 80))
    one = interval(errors, None, np.arange(80), "mae")
    assert one.value / one.ci_low == pytest.approx(one.ci_high / one.value)
    nothing = interval(np.zeros((3, 80)), None, np.arange(80), "mae")
    assert np.isnan(nothing.ci_low)
    assert any("logarithm" in note for note in nothing.notes)


def test_mean_is_the_plain_interval():
    random = np.random.default_rng(0)
    a, b = random.normal(0.1, 1, (2, 4, 90))
    d = paired_difference(a, b, None, np.arange(90) // 3, "mean")
    pair = d.pair
    assert pair is not None
    low, high = pair.limits(1.0)
    assert low == pytest.approx(d.difference - np.sqrt(d.variance), abs=1e-10)
    assert high == pytest.approx(d.difference + np.sqrt(d.variance), abs=1e-10)


@pytest.mark.parametrize("metric", ["auroc", "average_precision"])
def test_ten_seeds_of_twenty_thousand_cases_take_a_moment(metric):
    random = np.random.default_rng(0)
    y, patient = random.random(20_000) < 0.2, random.integers(0, 4000, 20_000)
    a, b = random.normal(y, 1.0, (2, 10, 20_000))
    start = time.process_time()
    paired_difference(a, b, y, patient, metric)
    assert time.process_time() - start < 1.0  # about 0.15 s on one core
