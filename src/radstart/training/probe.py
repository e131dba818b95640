"""The probe on frozen features: fitted to convergence, its penalty chosen on validation."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from radstart.training.loop import RunFailed
from radstart.training.tasks import Probe, Task
from radstart.training.tasks.task import Array

PENALTIES = tuple(10.0**k for k in range(-5, 4))


@dataclass(frozen=True)
class ProbeFit:
    """A probe with its penalty chosen.

    Attributes:
        probe: on the features as they come (the standardisation is folded in).
        penalty: the one with the smallest validation loss, of PENALTIES.
        losses: validation loss per penalty.
        converged: the chosen fit met its tolerance.
    """

    probe: Probe
    penalty: float
    losses: tuple[float, ...]
    converged: bool


def fit_probe(
    task: Task,
    features: NDArray[np.float32],
    targets: Array,
    train: NDArray[np.int64],
    validation: NDArray[np.int64],
) -> ProbeFit:
    """Standardise on the training rows, fit every penalty, keep the best on validation.

    Args:
        task: gives the fit and the loss.
        features: (N, D).
        targets: (N, ...), as the task encodes them.
        train: rows to fit on, int64 (n,).
        validation: rows to choose the penalty on, int64 (m,).

    Raises:
        RunFailed: features that are not finite.
    """
    used = features[np.concatenate([train, validation])].astype(np.float64)
    if not np.isfinite(used).all():
        raise RunFailed("the frozen features are not finite: these weights do not work frozen")
    mean = used[: len(train)].mean(axis=0)
    spread = used[: len(train)].std(axis=0)
    scale = np.where(spread > 1e-6 * max(1e-12, float(spread.max())), spread, np.inf)
    standard = (used - mean) / scale
    # Ridge penalties do not see rotations: n training rows span at most n directions.
    _, _, axes = np.linalg.svd(standard[: len(train)], full_matrices=False)
    rotated = standard @ axes.T
    truth = torch.from_numpy(np.asarray(targets[validation]))
    probes, losses = [], []
    for penalty in PENALTIES:
        probe = task.probe(rotated[: len(train)], targets[train], penalty)
        outputs = probe.outputs(rotated[len(train) :])
        probes.append(probe)
        losses.append(float(task.loss(torch.from_numpy(outputs), truth)))
    best = int(np.argmin(losses))
    weight = (axes.T @ probes[best].weight) / scale[:, None]
    probe = replace(probes[best], weight=weight, bias=probes[best].bias - mean @ weight)
    return ProbeFit(probe, PENALTIES[best], tuple(losses), probe.converged)
