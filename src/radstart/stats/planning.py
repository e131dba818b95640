"""What a number of seeds and patients can show: power, smallest difference, what is needed.

From a finished comparison (a pilot), or before any run from the test set's labels and patients
alone under stated assumptions.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import expit, nctdtr, ndtri, softmax, stdtr

from radstart.core.errors import RadstartError
from radstart.core.random import stream
from radstart.stats.intervals import PairedDifference, paired_difference
from radstart.stats.jackknife import as_runs, as_units, jackknife, metric_of
from radstart.stats.limits import quantile
from radstart.stats.metrics import Metric

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
MOST_SEEDS, MOST_UNITS = 1_000, 10_000_000
AUROCS = (0.90, 0.85)  # of the two assumed arms
SEED_SDS = (0.015, 0.03)
ICC = 0.5
SHARES = (0.60, 0.25, 0.15)  # of the noise: common to all runs, one arm's, one run's
PILOT_SEEDS, PILOTS = 4, 8


@dataclass(frozen=True)
class Spread:
    """What planning needs of a comparison (section 3 of the method).

    Attributes:
        sig2: variance of the difference over seeds that no more patients remove.
        omega_D, omega_B: seed-by-patient noise and shared patient variance, of one patient.
        rho_nu: the patients' degrees of freedom, of one patient.
        arms: over how many sets the seeds' degrees of freedom add up: 1 crossed, 2 nested.
    """

    sig2: float
    omega_D: float  # noqa: N815 - the published symbol
    omega_B: float  # noqa: N815
    rho_nu: float
    arms: int = 1

    def variance_and_df(self, seeds: int, units: int) -> tuple[float, float]:
        """Return V' and df' for these numbers of seeds and patients."""
        if seeds < 1 or units < 1:
            raise RadstartError("planning needs a seed and a patient", "seeds", f"{seeds}, {units}")
        b, nu = self.omega_B / units, max(1.0, self.rho_nu * units)
        if seeds == 1:  # given these trained models: no A, all noise is the patients'
            return b + self.omega_D / units, nu
        a = (self.sig2 + self.omega_D / units) / seeds
        weighted = (seeds + 1) / (seeds - 1) * a
        bottom = weighted**2 / (self.arms * (seeds - 1)) + b**2 / nu
        return a + b, (weighted + b) ** 2 / bottom if bottom > 0 else nu


@dataclass(frozen=True)
class Needed:
    """Seeds needed with the pilot's patients, patients needed with its seeds; None: no number."""

    seeds: int | None
    units: int | None


@dataclass(frozen=True)
class PlannedDifference:
    """The smallest difference a test set can show with 80 % power, before any run.

    Attributes:
        difference: where runs differ little over seeds (SD of AUROC 0.015), NaN if none.
        difference_unsteady: where they differ more (SD 0.03).
        assumptions: one sentence; reasons where no difference exists.
    """

    difference: float
    difference_unsteady: float
    assumptions: str


def spread_of(pilot: PairedDifference) -> Spread:
    """Return what planning needs of a finished comparison, NaN where it tells nothing."""
    if pilot.identical:
        return Spread(math.nan, math.nan, math.nan, math.nan)
    arms = 1 if pilot.design == "crossed" else 2
    return Spread(pilot.sig2, pilot.omega_D, pilot.omega_B, pilot.rho_nu, arms)


def power(
    pilot: PairedDifference,
    difference: float,
    seeds: int | None = None,
    units: int | None = None,
    level: float = 0.95,
) -> float:
    """Return the chance that the interval will exclude 0 if this is the true difference.

    P(noncentral t(df', |d| / sqrt(V')) > t quantile). One seed means: given these trained models.
    NaN if the pilot has no interval, its arms cannot be told apart, or it has one seed of several
    planned.

    Args:
        pilot: a finished comparison.
        difference: the true difference, in the metric's units.
        seeds: S', the pilot's where None.
        units: P', the pilot's where None.
        level: of the interval.
    """
    seeds = pilot.n_seeds if seeds is None else seeds
    units = pilot.n_units if units is None else units
    return _power(spread_of(pilot), difference, seeds, units, level)


def smallest_difference(
    pilot: PairedDifference,
    seeds: int | None = None,
    units: int | None = None,
    power: float = 0.8,
    level: float = 0.95,
) -> float:
    """Return the smallest true difference that has this power; arguments as in `power`."""
    seeds = pilot.n_seeds if seeds is None else seeds
    units = pilot.n_units if units is None else units
    return _smallest(spread_of(pilot), seeds, units, power, level)


def needed(
    pilot: PairedDifference,
    difference: float,
    power: float = 0.8,
    level: float = 0.95,
    seeds: int | None = None,
) -> Needed:
    """Return how many seeds, and how many patients, would give this power, each alone.

    More seeds never remove the patients' variance, and more patients never that of the seeds:
    None where the target stays out of reach (or beyond 1,000 seeds, 10 million patients).

    Args:
        pilot: a finished comparison.
        difference: the true difference, in the metric's units.
        power: the chance wanted.
        level: of the interval.
        seeds: with how many the patients are counted, the pilot's where None.
    """
    return _needed(pilot, seeds, power, lambda s, n, p: _power(s, difference, n, p, level))


def needed_equal(
    pilot: PairedDifference,
    margin: float,
    power: float = 0.8,
    level: float = 0.90,
    seeds: int | None = None,
) -> Needed:
    """Return how many seeds, and patients, would show equality within the margin, each alone.

    The chance is that of two one-sided tests where the arms do not differ at all, that is, that
    an interval of this level lies inside (-margin, margin): 2 F(margin / sqrt(V') - c) - 1, with F
    and its quantile c those of t with df' (as Chow, Shao & Wang, Sample Size Calculations in
    Clinical Research, section 3.2, give it for a known variance). Arguments as in `needed`.
    """
    return _needed(pilot, seeds, power, lambda s, n, p: _power_equal(s, margin, n, p, level))


def planned_difference(
    labels: ArrayLike | None,
    patients: ArrayLike,
    n_classes: int,
    seeds: int,
    metric: str = "auroc",
    power: float = 0.8,
    level: float = 0.95,
) -> PlannedDifference:
    """Return the smallest difference this test set and number of seeds can show, before any run.

    Pilots are simulated on the actual labels and patients with the score model of the method page
    (section 2) and their parts of variance averaged; the variance over seeds follows from the
    stated SD of AUROC and the metric's slope in the model's separation. Deterministic.

    Args:
        labels: (N,), class indices; None where the metric needs none.
        patients: (N,), any hashable.
        n_classes: 2 or more.
        seeds: planned of each arm; 1 means: given these trained models.
        metric: id in `METRICS`.
        power: the chance wanted.
        level: of the interval.

    Raises:
        RadstartError: labels or patients that do not fit.
    """
    entry = metric_of(metric)
    if seeds < 1 or n_classes < 2:
        raise RadstartError("planning needs a seed and two classes", "seeds", f"{seeds}")
    listed = list(np.asarray(patients, dtype=object))
    blank = np.full((1, len(listed), n_classes), 1.0 / n_classes)
    runs = as_runs(entry, blank[:, :, 0] if entry.needs == "nothing" else blank, labels)
    truth, units = runs.labels, as_units(entry, runs, listed)
    if units.undefined:
        return PlannedDifference(math.nan, math.nan, units.undefined)
    pilots = [_pilot(entry, truth, units.index, n_classes, number) for number in range(PILOTS)]
    noise, shared, nu, *slopes = np.mean(pilots, axis=0).tolist()
    smallest = []
    for sd in SEED_SDS:
        sig2 = sum(
            (slope * _separation_sd(entry, x, sd)) ** 2
            for slope, x in zip(slopes, AUROCS, strict=True)
        )
        spread = Spread(sig2, noise, shared, nu)
        smallest.append(_smallest(spread, seeds, units.count, power, level))
    return PlannedDifference(smallest[0], smallest[1], _assumptions(entry, units.count, seeds))


def _assumptions(entry: Metric, units: int, seeds: int) -> str:
    """Return the sentence that must stand beside a planned difference."""
    steady, unsteady = SEED_SDS
    if entry.needs == "nothing":
        model = "values per case with SD 1"
        spread = f"an SD over seeds of {steady} (or {unsteady}) of that SD"
    else:
        model = f"two arms with AUROC near {AUROCS[0]:.2f} and {AUROCS[1]:.2f}"
        spread = f"an SD of AUROC over seeds of {steady} (or {unsteady}), not shared by the arms"
    noise = ", ".join(
        f"{share:.0%} {whose}"
        for share, whose in zip(
            SHARES, ("common to all runs", "an arm's", "one run's"), strict=True
        )
    )
    return (
        f"assumes, for this test set's labels and {units} units and {seeds} seed(s), {model}, "
        f"{spread}, and noise half of which a unit's cases share ({noise})"
    )


def _needed(
    pilot: PairedDifference,
    seeds: int | None,
    power: float,
    chance: Callable[[Spread, int, int], float],
) -> Needed:
    """Return the least seeds with the pilot's patients, and the least patients with the seeds."""
    spread, units = spread_of(pilot), pilot.n_units
    fixed = pilot.n_seeds if seeds is None else seeds
    return Needed(
        seeds=_least(lambda n: chance(spread, n, units), MOST_SEEDS, power),
        units=_least(lambda n: chance(spread, fixed, n), MOST_UNITS, power),
    )


def _least(reached: Callable[[int], float], most: int, power: float) -> int | None:
    """Return the least number from 2 to `most` with this power, by doubling and bisection."""
    low, high = 1, 2
    while not reached(high) >= power:
        if high >= most:
            return None
        low, high = high, min(2 * high, most)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) >= power else (middle, high)
    return high


def _power(spread: Spread, difference: float, seeds: int, units: int, level: float) -> float:
    variance, df = spread.variance_and_df(seeds, units)
    if math.isnan(variance):
        return math.nan
    if variance == 0.0:
        return float(difference != 0.0)
    return _chance(abs(difference) / math.sqrt(variance), df, quantile(level, df))


def _power_equal(spread: Spread, margin: float, seeds: int, units: int, level: float) -> float:
    variance, df = spread.variance_and_df(seeds, units)
    if math.isnan(variance):
        return math.nan
    if variance == 0.0:
        return 1.0
    room = margin / math.sqrt(variance) - quantile(level, df)
    return max(0.0, 2.0 * float(stdtr(df, room)) - 1.0)


def _smallest(spread: Spread, seeds: int, units: int, power: float, level: float) -> float:
    variance, df = spread.variance_and_df(seeds, units)
    if math.isnan(variance):
        return math.nan
    c = quantile(level, df)
    distance = brentq(lambda x: _chance(x, df, c) - power, 0.0, 10.0 * c + 10.0)
    return float(distance) * math.sqrt(variance)


def _chance(distance: float, df: float, c: float) -> float:
    """Return P(noncentral t(df, distance) > c); SciPy gives up (NaN) only where it is 1."""
    below = float(nctdtr(df, distance, c))
    return 1.0 if math.isnan(below) else 1.0 - below


def _separation_sd(entry: Metric, auroc: float, sd: float) -> float:
    """Return the SD of the separation that gives an AUROC, Phi(x / sqrt 2), this SD."""
    if entry.needs == "nothing":
        return sd
    half = float(ndtri(auroc))
    slope = math.exp(-half * half / 2.0) / math.sqrt(2.0 * math.pi) / math.sqrt(2.0)
    return sd / slope


def _pilot(entry: Metric, labels: Ints, unit: Ints, n_classes: int, number: int) -> list[float]:
    """Return omega_D, omega_B, rho_nu and both arms' slopes of one simulated comparison."""
    random = stream(0, "planned difference", number)
    columns = n_classes if n_classes > 2 and entry.needs != "nothing" else 1
    count = int(unit.max()) + 1

    def noise(*runs: int) -> Floats:
        ofunit = random.standard_normal((*runs, count, columns))[..., unit, :]
        own = random.standard_normal((*runs, len(unit), columns))
        return np.asarray(math.sqrt(ICC) * ofunit + math.sqrt(1.0 - ICC) * own)

    parts = noise(1, 1), noise(2, 1), noise(2, PILOT_SEEDS)
    common, by_arm, by_run = (math.sqrt(x) * part for x, part in zip(SHARES, parts, strict=True))
    arms, slopes = [], []
    for auroc, scatter in zip(AUROCS, common + by_arm + by_run, strict=True):
        x, step = math.sqrt(2.0) * float(ndtri(auroc)), 0.1
        arms.append(_scores(entry, scatter, labels, x))
        ends = np.concatenate([_scores(entry, scatter[:1], labels, x + e) for e in (-step, step)])
        runs = as_runs(entry, ends, labels)
        below, above = jackknife(entry, runs, unit, count)[0].tolist()
        slopes.append((above - below) / (2.0 * step))
    pilot = paired_difference(arms[0], arms[1], labels, unit, entry.id)
    return [pilot.omega_D, pilot.omega_B, pilot.rho_nu, *slopes]


def _scores(entry: Metric, scatter: Floats, labels: Ints, separation: float) -> Floats:
    """Return the scores of runs, (S, N) or (S, N, C), given their noise (S, N, columns).

    Probabilities are the model's own posterior for the classes' prevalence in the labels.
    """
    columns = scatter.shape[-1]
    if columns == 1:
        flat = scatter[..., 0]
        if entry.needs == "nothing":
            return flat + separation
        z = flat + separation * labels
        share = min(max(float(labels.mean()), 1e-6), 1.0 - 1e-6)
        x = separation * z - separation**2 / 2.0 + math.log(share / (1.0 - share))
        return np.asarray(expit(x)) if entry.probabilities else z
    z = scatter + separation * (labels[:, None] == np.arange(columns))
    shares = np.maximum(np.bincount(labels, minlength=columns) / len(labels), 1e-6)
    return (
        np.asarray(softmax(separation * z + np.log(shares), axis=-1)) if entry.probabilities else z
    )
