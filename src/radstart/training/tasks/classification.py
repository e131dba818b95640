"""Binary and multi-class classification: cross-entropy, softmax scores for every class."""

import warnings

import numpy as np
from scipy.special import softmax
from torch import Tensor
from torch.nn import functional

from radstart.training.tasks.task import Array, Probe, Task


def _encode(labels: Array, classes: tuple[str, ...]) -> Array:
    """Return the class index, int64 (N,); -1 where the label is none of the classes."""
    index = {name: i for i, name in enumerate(classes)}
    return np.array([index.get(label, -1) for label in labels], dtype=np.int64)


def _loss(outputs: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(outputs, targets)


def _probe(features: Array, targets: Array, penalty: float) -> Probe:
    """Fit a multinomial logistic regression; the loss per case + penalty/2 |weight|^2."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=1 / (penalty * len(features)), max_iter=5000, tol=1e-8)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        model.fit(features, targets)
    weight, bias = model.coef_.T, model.intercept_
    if weight.shape[1] == 1:  # two classes: one logit stands for both
        weight = np.hstack([-weight / 2, weight / 2])
        bias = np.concatenate([-bias / 2, bias / 2])
    return Probe(weight, bias, not any(w.category is ConvergenceWarning for w in caught))


def _columns(outputs: Array, classes: tuple[str, ...]) -> dict[str, Array]:
    scores = softmax(np.asarray(outputs, dtype=np.float64), axis=1)
    return {f"score_{name}": scores[:, k] for k, name in enumerate(classes)}


def _scored(table: dict[str, Array], classes: tuple[str, ...]) -> tuple[Array, Array | None]:
    scores = np.stack([table[f"score_{name}"] for name in classes], axis=1)
    labels = _encode(table["target"], classes)
    return (scores[:, 1] if len(classes) == 2 else scores), labels


CLASSIFICATION = Task(
    name="classification",
    metrics=(
        "auroc",
        "average_precision",
        "accuracy",
        "balanced_accuracy",
        "weighted_recall",
        "f1",
        "brier",
        "ece",
    ),
    outputs=len,
    encode=_encode,
    loss=_loss,
    probe=_probe,
    columns=_columns,
    scored=_scored,
)
