"""The metrics, one table in sight: `METRICS`.

A metric is one entry of the table. Two kinds exist, told apart by how the value without one
patient is obtained:

* `sums`: every case contributes K numbers and the value is a function of their totals, so the
  value without a patient is the function of the totals less that patient's. An entry needs
  `cases(scores, labels) -> (N, K)` and `total((..., K)) -> (...)`.
* `ranking`: the value depends on the order of the scores of one class against the rest. An entry
  needs `ranks(scores, positive, unit, n_units) -> values (S,), left_out (S, P)`; several classes
  are averaged one against the rest.

A function receives the scores of one class as (N,), or of C >= 3 classes as (N, C).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from radstart.stats.ranking import auroc, average_precision

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
ECE_BINS = 15


@dataclass(frozen=True)
class Metric:
    """What a metric is called, where it lives and how it is computed.

    Attributes:
        id: the name in options and files.
        name: the name people read.
        higher_is_better: its direction.
        kind: `sums` or `ranking`, see above.
        scale: the scale of the interval: `logit` for a metric between 0 and `upper`, `log` for a
            positive one, `identity` where nothing is known of its range.
        needs: `classes` if every class must be present, `labels` if labels are used at all,
            `nothing` if scores alone suffice (labels may then be None).
        probabilities: scores must be probabilities of the classes.
        upper: the largest value with one or two classes; `upper_multiclass` with three or more.
        cases, total: the functions of a `sums` metric.
        ranks: the function of a `ranking` metric.
    """

    id: str
    name: str
    higher_is_better: bool
    kind: Literal["sums", "ranking"]
    scale: Literal["logit", "log", "identity"] = "logit"
    needs: Literal["classes", "labels", "nothing"] = "classes"
    probabilities: bool = False
    upper: float = 1.0
    upper_multiclass: float = 1.0
    cases: Callable[[Floats, Ints], Floats] | None = None
    total: Callable[[Floats], Floats] | None = None
    ranks: Callable[[Floats, NDArray[np.bool_], Ints, int], tuple[Floats, Floats]] | None = None

    def bound(self, n_classes: int) -> float:
        """Return the largest possible value with this number of classes."""
        return self.upper if n_classes < 3 else self.upper_multiclass


def decided(scores: Floats) -> Ints:
    """Return the class decided for each case, (N,): score > 0.5, or the first largest column."""
    if scores.ndim == 1:
        return (scores > 0.5).astype(np.int64)
    return np.asarray(scores.argmax(axis=1))


def one_hot(index: NDArray[Any], n_classes: int) -> Floats:
    """Return (N, n_classes) with a 1 in the column of each case's class."""
    return np.asarray(index[:, None] == np.arange(n_classes), dtype=np.float64)


def _classes(scores: Floats) -> int:
    return 2 if scores.ndim == 1 else scores.shape[1]


def _right_cases(scores: Floats, labels: Ints) -> Floats:
    right = (decided(scores) == labels).astype(np.float64)
    return np.stack([right, np.ones_like(right)], axis=1)


def _mean_total(total: Floats) -> Floats:
    """Return the first sum over the second, the mean of what was summed."""
    return np.asarray(total[..., 0] / total[..., 1])


def _recall_cases(scores: Floats, labels: Ints) -> Floats:
    truth = one_hot(labels, _classes(scores))
    right = decided(scores) == labels
    return np.concatenate([truth * right[:, None], truth], axis=1)


def _mean_ratio_total(total: Floats) -> Floats:
    """Return the mean over classes of (first half) / (second half)."""
    half = total.shape[-1] // 2
    return np.asarray((total[..., :half] / total[..., half:]).mean(axis=-1))


def _weighted_recall_total(total: Floats) -> Floats:
    """Return recall weighted by prevalence: the hits over the cases, which is the accuracy."""
    half = total.shape[-1] // 2
    return np.asarray(total[..., :half].sum(axis=-1) / total[..., half:].sum(axis=-1))


def _f1_cases(scores: Floats, labels: Ints) -> Floats:
    """Return 2 TP and 2 TP + FP + FN per class; with two classes, of the positive one only."""
    n_classes = _classes(scores)
    truth, said = one_hot(labels, n_classes), one_hot(decided(scores), n_classes)
    if n_classes == 2:
        truth, said = truth[:, 1:], said[:, 1:]
    return np.concatenate([2 * truth * said, truth + said], axis=1)


def _brier_cases(scores: Floats, labels: Ints) -> Floats:
    if scores.ndim == 1:
        error = (scores - labels) ** 2
    else:
        error = ((scores - one_hot(labels, scores.shape[1])) ** 2).sum(axis=1)
    return np.stack([error, np.ones_like(error)], axis=1)


def _ece_cases(scores: Floats, labels: Ints) -> Floats:
    """Return, per bin of confidence, confidence less outcome; the last column counts.

    Bins (lower, upper] of equal width, as scikit-learn's calibration_curve. Two classes: the
    positive class; more: the class with the largest probability (Guo et al. 2017, section 2).
    """
    if scores.ndim == 1:
        confidence, outcome = scores, labels.astype(np.float64)
    else:
        confidence = scores.max(axis=1)
        outcome = (decided(scores) == labels).astype(np.float64)
    edges = np.linspace(0.0, 1.0, ECE_BINS + 1)[1:-1]
    gap = one_hot(np.searchsorted(edges, confidence), ECE_BINS) * (confidence - outcome)[:, None]
    return np.concatenate([gap, np.ones((len(gap), 1))], axis=1)


def _ece_total(total: Floats) -> Floats:
    return np.asarray(np.abs(total[..., :-1]).sum(axis=-1) / total[..., -1])


def _mean_cases(scores: Floats, labels: Ints) -> Floats:
    return np.stack([scores, np.ones_like(scores)], axis=1)


METRICS: dict[str, Metric] = {
    metric.id: metric
    for metric in (
        Metric("auroc", "AUROC", True, "ranking", ranks=auroc),
        Metric("average_precision", "average precision", True, "ranking", ranks=average_precision),
        Metric(
            "accuracy",
            "accuracy",
            True,
            "sums",
            needs="labels",
            probabilities=True,
            cases=_right_cases,
            total=_mean_total,
        ),
        Metric(
            "balanced_accuracy",
            "balanced accuracy",
            True,
            "sums",
            probabilities=True,
            cases=_recall_cases,
            total=_mean_ratio_total,
        ),
        Metric(
            "weighted_recall",
            "prevalence-weighted recall",
            True,
            "sums",
            needs="labels",
            probabilities=True,
            cases=_recall_cases,
            total=_weighted_recall_total,
        ),
        Metric(
            "f1",
            "F1",
            True,
            "sums",
            probabilities=True,
            cases=_f1_cases,
            total=_mean_ratio_total,
        ),
        Metric(
            "brier",
            "Brier score",
            False,
            "sums",
            needs="labels",
            probabilities=True,
            upper_multiclass=2.0,
            cases=_brier_cases,
            total=_mean_total,
        ),
        Metric(
            "ece",
            "expected calibration error",
            False,
            "sums",
            needs="labels",
            probabilities=True,
            cases=_ece_cases,
            total=_ece_total,
        ),
        # The mean of any per-case value. Nothing is known of its range, so the interval stays on
        # the identity scale, where the method is the plain d -/+ c sqrt(V) and cannot fail.
        Metric(
            "mean",
            "mean",
            True,
            "sums",
            scale="identity",
            needs="nothing",
            upper=np.inf,
            upper_multiclass=np.inf,
            cases=_mean_cases,
            total=_mean_total,
        ),
    )
}
