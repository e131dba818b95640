"""AUROC and average precision of several runs, whole and without each patient.

Both are exact and take O(N log N) per run; nothing of size patients x cases is ever held.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


def _placements(group: Ints, score: Floats, positive: Bools) -> Floats:
    """Return the placement of every case inside its group, (N,); ties count one half.

    For a positive the negatives of its group below it, for a negative the positives above it.
    Cases come sorted by (group, score).
    """
    starts_group = np.concatenate([[True], group[1:] != group[:-1]])
    starts_tie = starts_group | np.concatenate([[True], score[1:] != score[:-1]])
    tie_start = np.flatnonzero(starts_tie)
    tie_end = np.concatenate([tie_start[1:], [len(group)]])
    tie = np.cumsum(starts_tie) - 1
    group_start = np.flatnonzero(starts_group)
    group_end = np.concatenate([group_start[1:], [len(group)]])
    group_of_tie = np.cumsum(starts_group)[tie_start] - 1

    positives = np.concatenate([[0], np.cumsum(positive)])
    negatives = np.arange(len(group) + 1) - positives
    tied_negatives = negatives[tie_end] - negatives[tie_start]
    below = negatives[tie_start] - negatives[group_start][group_of_tie] + 0.5 * tied_negatives
    tied_positives = positives[tie_end] - positives[tie_start]
    above = positives[group_end][group_of_tie] - positives[tie_end] + 0.5 * tied_positives
    placement: Floats = np.where(positive, below[tie], above[tie])
    return placement


def _sum_by_unit(values: Floats, run: Ints, unit: Ints, shape: tuple[int, int]) -> Floats:
    """Return values summed by (run, unit) as an array of that shape."""
    flat = np.bincount(run * shape[1] + unit, values, minlength=shape[0] * shape[1])
    return flat.reshape(shape).astype(np.float64)


def auroc(scores: Floats, positive: Bools, unit: Ints, n_units: int) -> tuple[Floats, Floats]:
    """Return the AUROC of each run and without each unit, by placements.

    With T the sum of the positives' placements, q_p those of unit p and k_p the pairs won inside
    it, AUROC = T / (M N) and without p it is (T - q_p + k_p) / ((M - M_p) (N - N_p)).

    Args:
        scores: (S, N), one run per row, finite.
        positive: (N,).
        unit: (N,), 0..n_units-1.
        n_units: P.

    Returns:
        values (S,) and left_out (S, P); NaN where a class is empty.
    """
    n_runs, n_cases = scores.shape
    shape = (n_runs, n_units)
    order = np.argsort(scores, axis=1)
    run = np.repeat(np.arange(n_runs), n_cases)
    score = np.take_along_axis(scores, order, axis=1).ravel()
    hit, who = positive[order].ravel(), unit[order].ravel()
    placement = _placements(run, score, hit)
    of_unit = _sum_by_unit(placement, run, who, shape)
    total = np.bincount(run[hit], placement[hit], minlength=n_runs)

    m_unit = np.bincount(unit[positive], minlength=n_units)
    n_unit = np.bincount(unit[~positive], minlength=n_units)
    inside = np.zeros(shape)
    mixed = ((m_unit > 0) & (n_unit > 0))[who]  # only there a pair can lie inside a unit
    if mixed.any():
        run, score, hit, who = run[mixed], score[mixed], hit[mixed], who[mixed]
        group = run * n_units + who
        small = n_runs * n_units <= np.iinfo(np.uint16).max  # NumPy sorts 16 bits by radix
        again = np.argsort(group.astype(np.uint16) if small else group, kind="stable")
        group, hit = group[again], hit[again]
        won = np.where(hit, _placements(group, score[again], hit), 0.0)
        inside = _sum_by_unit(won, run[again], who[again], shape)
    m, n = m_unit.sum(), n_unit.sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        values = total / np.float64(m * n)
        left_out = (total[:, None] - of_unit + inside) / ((m - m_unit) * (n - n_unit))
    return values, left_out


def average_precision(
    scores: Floats, positive: Bools, unit: Ints, n_units: int
) -> tuple[Floats, Floats]:
    """Return the average precision of each run and without each unit.

    AP = mean over positives of the precision at their score, as scikit-learn's
    average_precision_score. Arguments and results as in `auroc`.
    """
    runs = [_average_precision(row, positive, unit, n_units) for row in scores]
    return np.array([run[0] for run in runs]), np.stack([run[1] for run in runs])


def _average_precision(
    scores: Floats, positive: Bools, unit: Ints, n_units: int
) -> tuple[float, Floats]:
    """Return the average precision of one run and without each unit, (P,).

    Going down the scores, tie group g has seen n_g cases, TP_g of them positive. Without a unit
    of which b cases, a of them positive, have been passed, precision there is
    (TP_g - a) / (n_g - b). Between two cases of the unit a and b stay, so prefix sums of
    weight * TP / (n - b) and weight / (n - b), one pair for each b, give every such stretch for
    all units at once: O(N x images of the largest unit).
    """
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    seen = (ends + 1).astype(np.float64)
    true = np.cumsum(positive[order])[ends].astype(np.float64)
    weight = np.diff(true, prepend=0.0)
    tie = np.searchsorted(ends, np.arange(len(order)))

    mine = np.argsort(unit[order], kind="stable")  # by unit, then down the scores
    who, hit, tie = unit[order][mine], positive[order][mine], tie[mine]
    count = np.bincount(unit, minlength=n_units)
    first = np.concatenate([[0], np.cumsum(count)])
    passed = np.concatenate([[0], np.cumsum(hit)])
    left_out = np.zeros(n_units)
    for b in range(int(count.max()) + 1):
        some = np.flatnonzero(count >= b)
        spot = first[some] + b  # the next case of the unit, if it has one
        start = np.zeros_like(some) if b == 0 else tie[spot - 1]
        stop = np.where(count[some] > b, tie[np.minimum(spot, len(tie) - 1)], len(ends))
        share = weight / np.maximum(seen - b, 1.0)
        above = np.concatenate([[0.0], np.cumsum(share * true)])
        flat = np.concatenate([[0.0], np.cumsum(share)])
        a = passed[spot] - passed[first[some]]
        left_out[some] += above[stop] - above[start] - a * (flat[stop] - flat[start])

    # The unit's own positives were counted among the weights; take their precision away again.
    group = who * len(ends) + tie
    last = np.append(np.flatnonzero(np.diff(group)), len(group) - 1)
    last = last[np.searchsorted(last, np.arange(len(group)))]
    b_own = last + 1 - first[who]
    a_own = passed[last + 1] - passed[first[who]]
    own = (true[tie] - a_own) / np.maximum(seen[tie] - b_own, 1.0)
    left_out -= np.bincount(who[hit], own[hit], minlength=n_units)
    m_unit = np.bincount(unit[positive], minlength=n_units)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.sum(weight * true / seen) / np.float64(m_unit.sum())
        return float(value), left_out / (m_unit.sum() - m_unit)
