"""Scores checked and brought into one shape; values of runs, whole and without each patient."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from radstart.core.errors import RadstartError, nearest
from radstart.stats.metrics import METRICS, Metric

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
FEW_UNITS = 10


@dataclass(frozen=True)
class Runs:
    """Runs of one arm on one test set.

    Attributes:
        scores: (S, N), or (S, N, C) with C >= 3.
        labels: (N,), 0..n_classes-1; zeros for a metric that needs none.
        n_classes: 2 for one column of scores.
    """

    scores: Floats
    labels: Ints
    n_classes: int


@dataclass(frozen=True)
class Units:
    """The sampling units (patients) of the cases.

    Attributes:
        index: (N,), 0..count-1, in order of first appearance.
        count: P.
        smallest: of all classes, the number of units with a case of the rarest; P where the
            metric does not need every class.
        notes: "few units: ..." where fewer than ten.
        undefined: why no interval exists, or "".
    """

    index: Ints
    count: int
    smallest: int
    notes: tuple[str, ...]
    undefined: str


def metric_of(metric: str) -> Metric:
    """Return the table's entry; RadstartError names the nearest for an unknown id."""
    if metric not in METRICS:
        raise RadstartError("unknown metric", "metric", metric, nearest(metric, METRICS))
    return METRICS[metric]


def as_runs(metric: Metric, scores: ArrayLike, labels: ArrayLike | None) -> Runs:
    """Check the scores of several runs, (S, N) or (S, N, C), and the labels, (N,).

    Two columns become one, the second, which must then be the positive class's probability.

    Raises:
        RadstartError: shapes that do not fit, NaN or infinity, labels that are no class index,
            scores that are no probabilities where the metric needs them.
    """
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim not in (2, 3) or 0 in values.shape:
        raise RadstartError(
            "scores must be (seeds, cases) or (seeds, cases, classes)", "scores", str(values.shape)
        )
    if not np.isfinite(values).all():
        bad = int(np.argwhere(~np.isfinite(values))[0][1])
        raise RadstartError("scores hold NaN or infinity", "scores", f"case {bad}")
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[:, :, 0]
    n_classes = values.shape[2] if values.ndim == 3 else 2
    if values.ndim == 3 and (metric.probabilities or n_classes == 2):
        off = float(np.abs(values.sum(axis=2) - 1.0).max())
        if off > 0.01:
            raise RadstartError(
                *("the columns of scores must be probabilities that sum to one", "scores"),
                f"a sum off by {off:.3g}",
                "give softmax outputs, or for two classes the positive class as one column",
            )
    if metric.probabilities and not (values.min() >= 0.0 and values.max() <= 1.0):
        got = f"{values.min():.4g} to {values.max():.4g}"
        raise RadstartError(f"{metric.name} needs probabilities in [0, 1]", "scores", got)
    if values.ndim == 3 and n_classes == 2:
        values = values[:, :, 1]
    if metric.needs == "nothing" and values.ndim == 3:
        raise RadstartError(f"{metric.name} takes one value per case", "scores", str(values.shape))
    return Runs(values, _labels(metric, labels, values.shape[1], n_classes), n_classes)


def _labels(metric: Metric, labels: ArrayLike | None, n_cases: int, n_classes: int) -> Ints:
    if labels is None:
        if metric.needs != "nothing":
            raise RadstartError(f"{metric.name} needs labels", "labels", "none")
        return np.zeros(n_cases, dtype=np.int64)
    given = np.asarray(labels)
    if given.shape != (n_cases,):
        raise RadstartError(
            "scores and labels differ in their number of cases",
            "labels",
            f"{given.shape} for {n_cases} cases",
            "scores are (seeds, cases) or (seeds, cases, classes)",
        )
    if metric.needs == "nothing":
        return np.zeros(n_cases, dtype=np.int64)
    if given.dtype.kind not in "biuf" or not (given == np.floor(given)).all():
        raise RadstartError("labels must be class indices 0, 1, ...", "labels", str(given.dtype))
    if given.min() < 0 or given.max() >= n_classes:
        got = f"{given.min():g} to {given.max():g}"
        raise RadstartError(f"labels must lie in 0..{n_classes - 1}", "labels", got)
    return given.astype(np.int64)


def as_units(metric: Metric, runs: Runs, patients: ArrayLike) -> Units:
    """Number the patients, (N,) of any hashable, and count those that carry each class.

    Raises:
        RadstartError: a number that differs from the cases', or a patient that is None or NaN.
    """
    listed: list[Any] = patients.tolist() if isinstance(patients, np.ndarray) else list(patients)  # type: ignore[arg-type]
    if len(listed) != len(runs.labels):
        got = f"{len(listed)} for {len(runs.labels)} cases"
        raise RadstartError("patients and scores differ in their cases", "patients", got)
    number: dict[Any, int] = {}
    index = np.array([number.setdefault(one, len(number)) for one in listed], dtype=np.int64)
    if any(one is None or one != one for one in number):
        raise RadstartError(
            "a patient is missing", "patients", "None or NaN", "give every case a unit of its own"
        )
    count = len(number)
    notes, undefined = [], ""
    if count < 2:
        undefined = "no interval: fewer than 2 patients"
    elif count < FEW_UNITS:
        notes.append(f"few units: {count} patients (fewer than {FEW_UNITS})")
    smallest = count
    if metric.needs == "classes":
        held = _units_by_class(runs, index, count)
        smallest = int(held.min())
        if smallest < 2:
            rarest = int(held.argmin())
            undefined = f"no interval: {smallest} patient(s) with class {rarest}, fewer than 2"
        notes += [
            f"few units: {n} patients with class {c} (fewer than {FEW_UNITS})"
            for c, n in enumerate(held.tolist())
            if n < FEW_UNITS
        ]
    return Units(index, count, smallest, tuple(notes), undefined)


def _units_by_class(runs: Runs, index: Ints, count: int) -> Ints:
    pairs = np.unique(runs.labels * count + index)
    return np.bincount(pairs // count, minlength=runs.n_classes)


def jackknife(metric: Metric, runs: Runs, index: Ints, count: int) -> tuple[Floats, Floats]:
    """Return the metric of every run, (S,), and without each unit, (S, P).

    Args:
        metric: an entry of the table.
        runs: S runs of N cases.
        index: (N,), the unit of each case, 0..count-1.
        count: P.
    """
    if metric.kind == "ranking":
        return _ranking(metric, runs, index, count)
    if metric.cases is None or metric.total is None:
        raise TypeError(f"metric {metric.id} of kind sums lacks `cases` or `total`")
    values, left_out = [], []
    for scores in runs.scores:
        cases = metric.cases(scores, runs.labels)
        width = cases.shape[1]
        flat = (index[:, None] * width + np.arange(width)).ravel()
        by_unit = np.bincount(flat, cases.ravel(), minlength=count * width).reshape(count, width)
        total = cases.sum(axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            values.append(float(metric.total(total)))
            left_out.append(metric.total(total - by_unit))
    return np.array(values), np.stack(left_out)


def _ranking(metric: Metric, runs: Runs, index: Ints, count: int) -> tuple[Floats, Floats]:
    if metric.ranks is None:
        raise TypeError(f"metric {metric.id} of kind ranking lacks `ranks`")
    if runs.scores.ndim == 2:
        return metric.ranks(runs.scores, runs.labels == 1, index, count)
    classes = [
        metric.ranks(np.ascontiguousarray(runs.scores[:, :, c]), runs.labels == c, index, count)
        for c in range(runs.n_classes)
    ]
    values = np.mean([one[0] for one in classes], axis=0)
    return values, np.mean([one[1] for one in classes], axis=0)


def value(metric: str, scores: ArrayLike, labels: ArrayLike | None) -> float:
    """Return the metric of one run.

    Args:
        metric: id in `METRICS`.
        scores: (N,), the positive class's score, or (N, C), one column per class.
        labels: (N,), class indices; None where the metric needs none.

    Raises:
        RadstartError: input that does not fit, or a class without a case where the metric needs
            every class.
    """
    entry = metric_of(metric)
    runs = as_runs(entry, np.asarray(scores, dtype=np.float64)[None], labels)
    if entry.needs == "classes":
        present = np.bincount(runs.labels, minlength=runs.n_classes)
        if (present == 0).any():
            absent = int(present.argmin())
            what = f"{entry.name} is undefined without a case of class {absent}"
            raise RadstartError(what, "labels")
    return float(jackknife(entry, runs, np.arange(len(runs.labels)), len(runs.labels))[0][0])
