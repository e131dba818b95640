"""A frozen probe's loss on every case, scored by a probe that saw neither it nor its unit.

For comparing ways to feed one network on few labelled images; studies have fixed parts instead.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import t as student

from radstart.core.random import stream
from radstart.training.loop import RunFailed
from radstart.training.probe import fit_probe
from radstart.training.tasks import Task

FOLDS = 5
FEWEST = 10  # units of a class: fewer cannot be spread over the folds


@dataclass(frozen=True)
class PairedLoss:
    """The mean difference of two losses on the same cases, by unit, with an interval.

    Attributes:
        difference: mean over units of (loss - reference).
        low, high: its interval, Student's over units.
        units: how many.
    """

    difference: float
    low: float
    high: float
    units: int


def folds_of(
    labels: NDArray[np.str_], units: NDArray[np.str_], given: NDArray[np.str_], seed: int
) -> NDArray[np.int64] | None:
    """Return a fold for every case, -1 = takes no part; None = too little for a probe.

    Units stay together. Cases without a label, and of classes with fewer than FEWEST units, take
    no part; two classes must remain.

    Args:
        labels: (N,), "" = none.
        units: (N,).
        given: folds of a table, (N,), "" = draw them.
        seed: of the draw.
    """
    kept = labels != ""
    for label in np.unique(labels[kept]):
        if len(np.unique(units[labels == label])) < FEWEST:
            kept &= labels != label
    if len(np.unique(labels[kept])) < 2:
        return None
    folds = np.full(len(labels), -1, np.int64)
    if len(np.unique(given[kept])) >= 3 and (given[kept] != "").all():
        folds[kept] = np.unique(given[kept], return_inverse=True)[1]
        if _complete(labels, folds):
            return folds
    rng = stream(seed, "detective", "folds")
    place = 0
    seen: dict[str, int] = {}
    for label in np.unique(labels[kept]):  # class by class, so that every fold has its share
        own = np.unique(units[kept & (labels == label)])
        for unit in rng.permutation(own).tolist():
            if unit not in seen:
                seen[unit] = place % FOLDS
                place += 1
    folds[kept] = [seen[unit] for unit in units[kept].tolist()]
    return folds if _complete(labels, folds) else None


def _complete(labels: NDArray[np.str_], folds: NDArray[np.int64]) -> bool:
    """Return whether every class remains where any two neighbouring folds are left out."""
    numbers = np.unique(folds[folds >= 0])
    classes = set(labels[folds >= 0].tolist())
    pairs = zip(numbers, np.roll(numbers, -1), strict=True)
    return len(numbers) >= 3 and all(
        set(labels[(folds >= 0) & (folds != a) & (folds != b)].tolist()) == classes
        for a, b in pairs
    )


def probe_losses(
    task: Task,
    features: NDArray[np.float32],
    labels: NDArray[np.str_],
    folds: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Return every case's loss (N,) under a probe fitted on the other folds; NaN = takes no part.

    The penalty is chosen on the fold after the one that is left out.

    Args:
        task: gives the fit and the loss.
        features: (N, D).
        labels: (N,).
        folds: (N,), of `folds_of`.

    Raises:
        RunFailed: features that are not finite.
    """
    if not np.isfinite(features).all():
        raise RunFailed("the frozen features are not finite: these weights do not work frozen")
    classes = tuple(np.unique(labels[folds >= 0]).tolist())
    losses = np.full(len(labels), np.nan)
    used = np.flatnonzero(folds >= 0)
    targets = np.zeros(len(labels), np.int64)
    targets[used] = task.encode(labels[used].astype(object), classes)
    numbers = np.unique(folds[used])
    for k, fold in enumerate(numbers):
        following = numbers[(k + 1) % len(numbers)]
        train = np.flatnonzero((folds >= 0) & (folds != fold) & (folds != following))
        fitted = fit_probe(task, features, targets, train, np.flatnonzero(folds == following))
        for row in np.flatnonzero(folds == fold).tolist():
            outputs = torch.from_numpy(fitted.probe.outputs(features[row : row + 1]))
            losses[row] = float(task.loss(outputs, torch.from_numpy(targets[row : row + 1])))
    return losses


def paired_loss(
    losses: NDArray[np.float64],
    reference: NDArray[np.float64],
    units: NDArray[np.str_],
    level: float = 0.95,
) -> PairedLoss:
    """Return how much higher one loss is than another on the same cases, by unit."""
    both = np.isfinite(losses) & np.isfinite(reference)
    names, index = np.unique(units[both], return_inverse=True)
    counts = np.bincount(index)
    means = np.bincount(index, (losses - reference)[both]) / counts
    n = len(names)
    reach = float(student.ppf((1 + level) / 2, n - 1)) * float(means.std(ddof=1)) / np.sqrt(n)
    middle = float(means.mean())
    return PairedLoss(middle, middle - float(reach), middle + float(reach), n)
