"""100 paired AUROC comparisons beside a patient bootstrap; how the variances agree.

    python benchmarks/paired.py [--comparisons 100] [--referees 6]

10 seeds, 20,000 cases, 4,000 patients. Ours: `radstart.stats.paired_difference`, all of it. The
peer: 2,000 times, patients drawn with replacement, their cases gathered by NumPy and scikit-learn's
`roc_auc_score` for either arm and every seed; a few replicates are timed and scaled.

Agreement is judged on the patient component, the part of the variance of the difference that all
seeds share: ours by the exact jackknife; the referee's is the mean covariance of two seeds'
differences over 2,000 bootstrap replicates. One such variance has a Monte Carlo error of 3 %, so
the sums over several comparisons are compared. The referee counts each patient's multiplicity as a
weight on presorted scores; first it is held against `roc_auc_score(sample_weight=...)`. As a faster
peer than the usual one, its time is kept too.
"""

import argparse
import statistics
import time

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from radstart.core.random import stream
from radstart.stats import paired_difference
from side_by_side import Row, figure, keep, timed

SEEDS, CASES, PATIENTS, REPLICATES = 10, 20_000, 4_000, 2_000
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def simulated(number: int) -> tuple[Floats, Floats, Ints, Ints]:
    """Return scores of two arms (seeds, cases), labels and patients, five cases a patient.

    Scores: 1.2 for a positive + noise, a third of it the patient's, a share of either common to
    all runs, to an arm's, and to one run.
    """
    random = stream(number, "benchmark")
    patient = np.repeat(np.arange(PATIENTS), CASES // PATIENTS)
    labels = (random.normal(size=PATIENTS)[patient] + random.normal(size=CASES) > 0.9).astype(int)

    def noise(share: float) -> Floats:
        of_patient = random.normal(size=PATIENTS)[patient]
        both = np.sqrt(1 / 3) * of_patient + np.sqrt(2 / 3) * random.normal(size=CASES)
        return np.sqrt(share) * both

    common = noise(0.6)
    arms = []
    for _ in range(2):
        own = common + noise(0.25)
        arms.append(np.stack([1.2 * labels + own + noise(0.15) for _ in range(SEEDS)]))
    return arms[0], arms[1], labels, patient


def resampled(
    random: np.random.Generator, a: Floats, b: Floats, labels: Ints, patient: Ints
) -> float:
    """Return one replicate as it is usually written: the mean difference over the seeds."""
    rows = np.argsort(patient, kind="stable").reshape(PATIENTS, -1)
    chosen = rows[random.integers(PATIENTS, size=PATIENTS)].ravel()
    truth = labels[chosen]
    return float(
        np.mean(
            [
                roc_auc_score(truth, one[chosen]) - roc_auc_score(truth, other[chosen])
                for one, other in zip(a, b, strict=True)
            ]
        )
    )


class Weighted:
    """AUROC of many runs under weights of the cases; scores are sorted once and have no ties."""

    def __init__(self, scores: Floats, labels: Ints) -> None:
        assert all(len(np.unique(row)) == len(row) for row in scores)
        self.order = np.argsort(scores, axis=1)
        self.hit = labels[self.order].astype(np.float64)

    def aurocs(self, weight: Floats) -> Floats:
        """Return (runs,) for weights (cases,)."""
        found = np.empty(len(self.order))
        for k, (order, hit) in enumerate(zip(self.order, self.hit, strict=True)):
            given = weight[order]
            positive = given * hit
            below = np.cumsum(given - positive)
            found[k] = (positive @ below) / (positive.sum() * below[-1])
        return found


def refereed(number: int) -> tuple[float, float, float]:
    """Return the patient component by bootstrap and by radstart, and the referee's seconds."""
    a, b, labels, patient = simulated(number)
    random = stream(number, "bootstrap")
    arms = Weighted(a, labels), Weighted(b, labels)
    started = time.perf_counter()
    found = np.empty((REPLICATES, SEEDS))
    for k in range(REPLICATES):
        drawn = random.integers(PATIENTS, size=PATIENTS)
        weight = np.bincount(drawn, minlength=PATIENTS)[patient].astype(np.float64)
        values = [arm.aurocs(weight) for arm in arms]
        found[k] = values[0] - values[1]
        if number == 0 and k == 0:
            for arm, scores in zip(values, (a, b), strict=True):
                known = [roc_auc_score(labels, row, sample_weight=weight) for row in scores]
                np.testing.assert_allclose(arm, known, atol=1e-12)
    seconds = time.perf_counter() - started
    covariance = np.cov(found.T)
    shared = (covariance.sum() - np.trace(covariance)) / (SEEDS * (SEEDS - 1))
    return float(shared), paired_difference(a, b, labels, patient).patients, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--comparisons", type=int, default=100)
    parser.add_argument("--referees", type=int, default=6)
    given = parser.parse_args()
    random = stream(0, "resampled")
    ours, peer = [], []
    for number in range(given.comparisons):  # in turns: our comparison, a replicate of the peer
        data = simulated(number)
        ours.append(timed(lambda data=data: paired_difference(*data)))
        if number % 10 == 0:
            peer.append(timed(lambda data=data: resampled(random, *data)))
    whole = sum(ours)
    peer_whole = given.comparisons * REPLICATES * statistics.median(peer)
    found = [refereed(number) for number in range(given.referees)]
    bootstrap, jackknife, seconds = (np.array(column) for column in zip(*found, strict=True))
    agreement = float(jackknife.sum() / bootstrap.sum())
    ratio = peer_whole / whole
    rows = [
        Row(
            f"{given.comparisons} paired AUROC comparisons, 10 seeds, 20,000 cases, s",
            figure(whole),
            f"2,000 patient resamplings with scikit-learn ({len(peer)} replicates timed)",
            figure(peer_whole),
            f"{figure(ratio)}x",
            "at least 100x",
            ratio >= 100,
        ),
        Row(
            "their patient component of the variance, mean SD",
            f"{np.sqrt(jackknife.mean()):.5f}",
            f"2,000-fold patient bootstrap, {given.referees} comparisons",
            f"{np.sqrt(bootstrap.mean()):.5f}",
            f"variances {100 * (agreement - 1):+.1f} %",
            "within 5 %",
            abs(agreement - 1) < 0.05,
        ),
    ]
    details = {
        "seconds_per_comparison": statistics.median(ours),
        "seconds_per_replicate": peer,
        "variance_ratio": agreement,
        "variance_ratios": (jackknife / bootstrap).tolist(),
        "monte_carlo_error_of_the_ratio": float(np.sqrt(2 / REPLICATES / given.referees)),
        "weighted_bootstrap_seconds_per_comparison": float(np.median(seconds)),
        "ratio_to_weighted_bootstrap": float(np.median(seconds)) / statistics.median(ours),
    }
    keep("paired", rows, details)


if __name__ == "__main__":
    main()
