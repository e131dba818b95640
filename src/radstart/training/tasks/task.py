"""The interface of a task: values and functions, no more."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[Any]


@dataclass(frozen=True)
class Probe:
    """A linear map on frozen features: outputs = features @ weight + bias.

    Attributes:
        weight: float64 (D, K).
        bias: float64 (K,).
        converged: whether the fit met its tolerance.
    """

    weight: NDArray[np.float64]
    bias: NDArray[np.float64]
    converged: bool

    def outputs(self, features: Array) -> NDArray[np.float64]:
        """Return float64 (N, K) for features (N, D)."""
        return np.asarray(features @ self.weight + self.bias, dtype=np.float64)


@dataclass(frozen=True)
class Task:
    """What is predicted, and how it is trained, probed, written down and scored.

    Attributes:
        name: key of TASKS.
        metrics: ids of `radstart.stats.METRICS`, the default primary metric first.
        outputs: classes -> K, the network's outputs.
        encode: (labels as strings (N,), classes) -> targets, (N,) or (N, K).
        loss: (outputs (B, K), targets (B, ...)) -> mean loss; also what validation is judged by.
        probe: (features (n, D), targets, penalty) -> Probe; the penalty is per case and the
            features are standardised.
        columns: (outputs (N, K), classes) -> columns of the case table.
        scored: (case table's columns by name, classes) -> (scores, labels) for `radstart.stats`;
            labels are None where the scores are per-case values.
    """

    name: str
    metrics: tuple[str, ...]
    outputs: Callable[[tuple[str, ...]], int]
    encode: Callable[[Array, tuple[str, ...]], Array]
    loss: Callable[[Tensor, Tensor], Tensor]
    probe: Callable[[Array, Array, float], Probe]
    columns: Callable[[Array, tuple[str, ...]], dict[str, Array]]
    scored: Callable[[dict[str, Array], tuple[str, ...]], tuple[Array, Array | None]]
