"""Several comparisons and what each says: Holm's adjustment and the verdicts."""

import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from radstart.core.errors import RadstartError

Verdict = Literal["better", "worse", "practically_equal", "cannot_tell"]
WITHIN = "within the margin"


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Return Holm's adjusted p-values of one declared family, (m,).

    Sorted p times m, m-1, ..., running maximum, at most 1 (Holm 1979). An undefined p (NaN) stays
    undefined and does not count in m, as in R's p.adjust: a test that could not be made cannot
    reject anything falsely.

    Raises:
        RadstartError: a p outside 0..1.
    """
    p = np.atleast_1d(np.asarray(p_values, dtype=np.float64))
    defined = np.flatnonzero(~np.isnan(p))
    if ((p[defined] < 0.0) | (p[defined] > 1.0)).any():
        raise RadstartError("p-values must lie in 0..1", "p_values", str(p.tolist()))
    order = defined[np.argsort(p[defined], kind="stable")]
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted = np.full(p.shape, np.nan)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return adjusted


def verdict(
    difference: float,
    p_adjusted: float,
    p_equivalence: float | None = None,
    higher_is_better: bool = True,
    alpha: float = 0.05,
) -> tuple[Verdict, tuple[str, ...]]:
    """Return what a comparison says of the first arm, and its qualifiers.

    It differs where the Holm-adjusted p is below alpha; it is equal where the equivalence p (not
    adjusted) is. Both: better or worse, `within the margin`. Neither, or no p: `cannot_tell`; a
    large p is never equality, and without a margin nothing is practically equal.

    Args:
        difference: first arm minus second.
        p_adjusted: NaN where there is no interval.
        p_equivalence: NaN or None without a margin.
        higher_is_better: the metric's direction.
        alpha: between 0 and 1.
    """
    differs = not math.isnan(difference) and p_adjusted < alpha
    equal = p_equivalence is not None and p_equivalence < alpha
    if not differs:
        return ("practically_equal" if equal else "cannot_tell"), ()
    better = (difference > 0.0) == higher_is_better
    return ("better" if better else "worse"), ((WITHIN,) if equal else ())
