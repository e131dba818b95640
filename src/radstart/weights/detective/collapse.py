"""Features that hardly differ between images: the sign of an input in the wrong range.

A network without batch norms remembers nothing of its input. What remains to be seen without
labels is whether its features still tell images apart.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEAST_SHARE = 0.1  # of the variation that random weights show: less is a collapse
ALL_ALIKE = 0.9999  # mean cosine of two images' features


@dataclass(frozen=True)
class Diversity:
    """How much features differ between images.

    Attributes:
        variation: variance between images / mean square, summed over features.
        rank: effective rank of the centred features: (sum of variances)^2 / sum of their squares
            along the principal axes.
        cosine: mean cosine between the features of two images.
    """

    variation: float
    rank: float
    cosine: float


def diversity(features: NDArray[np.float32]) -> Diversity:
    """Return how much features (N, F), N at least 2, differ between images."""
    values = features.astype(np.float64)
    if not np.isfinite(values).all():
        return Diversity(0.0, 0.0, 1.0)
    centred = values - values.mean(axis=0)
    square = float((values**2).sum(axis=1).mean())
    variances = np.linalg.svd(centred, compute_uv=False) ** 2 / len(values)
    total = float(variances.sum())
    norms = np.linalg.norm(values, axis=1, keepdims=True)
    unit = values / np.maximum(norms, 1e-30)
    n = len(values)
    cosine = float(((unit.sum(axis=0) ** 2).sum() - n) / (n * (n - 1)))
    rank = total**2 / float((variances**2).sum()) if total > 1e-12 * max(square, 1e-30) else 0.0
    return Diversity(total / max(square, 1e-30), rank, cosine)


def collapsed(own: Diversity, random: Diversity) -> str:
    """Return why a candidate's features have collapsed; "" = they tell images apart.

    Args:
        own: of the network with its weights.
        random: of the same network with random weights, fed in the same way.
    """
    if own.rank == 0.0:
        return "the features are the same for all images"
    if own.variation < LEAST_SHARE * random.variation or own.cosine > ALL_ALIKE:
        return (
            f"the features hardly differ between images: by {own.variation:.2g} of their size, "
            f"with random weights by {random.variation:.2g}"
        )
    return ""
