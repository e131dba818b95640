"""Intervals for one arm and for the paired difference of two arms, over patients and seeds.

A patient jackknife gives the variance from the test set, the sample variance over seeds that from
training; they are added as in multi-reader multi-case analysis with readers = seeds (Obuchowski &
Rockette 1995; Hillis 2007), with a t quantile of modified Satterthwaite degrees of freedom and
limits on the metric's own scale. docs/statistics.md gives the formulas and their coverage.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from radstart.core.errors import RadstartError
from radstart.stats.jackknife import Runs, Units, as_runs, as_units, jackknife, metric_of
from radstart.stats.limits import Arm, Pair, p_different, p_inside, quantile
from radstart.stats.metrics import Metric

Floats = NDArray[np.float64]
Design = Literal["crossed", "nested"]
ONE_MODEL = "given this one trained model"
FEW_DF = 4.0


@dataclass(frozen=True)
class Parts:
    """Parts of variance of a set of S runs, or of S differences of runs.

    Attributes:
        n_seeds: S.
        between: s2, the sample variance over seeds (NaN for one seed).
        noise: D, the seed-by-patient noise of one run, which s2 contains.
        seeds: A, the variance of the mean from seeds.
        patients: B, the variance of the mean from patients.
    """

    n_seeds: int
    between: float
    noise: float
    seeds: float
    patients: float

    @property
    def total(self) -> float:
        """Return V = A + B."""
        return self.seeds + self.patients

    @property
    def net(self) -> float:
        """Return the variance over seeds less the test noise, max(0, s2 - D)."""
        return math.nan if math.isnan(self.between) else max(0.0, self.between - self.noise)


NO_PARTS = Parts(2, math.nan, math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class Interval:
    """A metric of one arm, mean over seeds, with its interval.

    Attributes:
        value, ci_low, ci_high: the mean over seeds and its limits (NaN: see notes).
        df: degrees of freedom.
        seed_values: the metric of every run.
        seed_sd: its standard deviation over seeds (NaN for one seed).
        seed_sd_net: the same without the noise of this test set.
        n_seeds, n_cases, n_units: S, N, P.
        notes: what a reader must know.
    """

    metric: str
    level: float
    value: float
    ci_low: float
    ci_high: float
    df: float
    seed_values: tuple[float, ...]
    seed_sd: float
    seed_sd_net: float
    n_seeds: int
    n_cases: int
    n_units: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class PairedDifference:
    """The difference a - b of two arms on one test set, means over seeds.

    Attributes:
        difference, ci_low, ci_high, p: the estimate, its limits and the two-sided p of no
            difference; p < 1 - level exactly where 0 lies outside. NaN: see notes.
        df, nu: degrees of freedom, of the whole and of the patients' part.
        value_a, value_b: the arms' means.
        seed_differences: per matched seed; empty for the nested form.
        n_seeds: seeds used of each arm (nested: the fewer); `n_dropped`: left without a partner.
        n_cases, n_units: N, P.
        notes: what a reader must know.
        parts: parts of variance, of the differences (crossed) or of either arm (nested).
        patients: B, the variance from patients.
        pair: the arms on the scale of the limits, None without an interval; `upper` is the
            metric's bound that they were divided by.
        identical: the arms cannot be told apart: difference 0 without any variance.
    """

    metric: str
    level: float
    design: Design
    difference: float
    ci_low: float
    ci_high: float
    p: float
    df: float
    nu: float
    value_a: float
    value_b: float
    seed_differences: tuple[float, ...]
    n_seeds: int
    n_dropped: int
    n_cases: int
    n_units: int
    notes: tuple[str, ...]
    parts: tuple[Parts, ...]
    patients: float
    pair: Pair | None
    upper: float
    identical: bool

    @property
    def variance(self) -> float:
        """Return V = A + B."""
        return sum(one.seeds for one in self.parts) + self.patients

    @property
    def share_seeds(self) -> float:
        """Return A / V, NaN where V is 0."""
        return 1.0 - self.share_patients

    @property
    def share_patients(self) -> float:
        """Return B / V, NaN where V is 0."""
        return self.patients / self.variance if self.variance > 0 else math.nan

    @property
    def seed_sd_difference(self) -> float:
        """Return the difference's standard deviation over seeds; nested: of unrelated runs."""
        return math.sqrt(sum(one.between for one in self.parts))

    @property
    def seed_sd_difference_net(self) -> float:
        """Return the same without the noise of this test set."""
        return math.sqrt(self.sig2)

    @property
    def sig2(self) -> float:
        """Return max(0, s2 - D), the variance over seeds that no more patients remove."""
        return sum(one.net for one in self.parts)

    @property
    def omega_D(self) -> float:  # noqa: N802 - the published symbol
        """Return P D, the seed-by-patient noise of one patient."""
        return self.n_units * sum(one.noise for one in self.parts)

    @property
    def omega_B(self) -> float:  # noqa: N802
        """Return P B, the variance of one patient that seeds share."""
        return self.n_units * self.patients

    @property
    def rho_nu(self) -> float:
        """Return nu / P, the degrees of freedom of one patient."""
        return self.nu / self.n_units

    def at(self, level: float) -> tuple[float, float]:
        """Return the limits at another level, such as 1 - 0.05 / m beside a family of m."""
        if self.identical or self.pair is None:
            return self.ci_low, self.ci_high
        low, high = self.pair.limits(quantile(_checked(level), self.df))
        return self.upper * low, self.upper * high

    def p_equivalence(self, margin: float) -> float:
        """Return the p of two one-sided tests that the difference lies inside the margin.

        Below 0.05 exactly where the 90 % interval lies inside (-margin, margin); NaN without an
        interval.

        Raises:
            RadstartError: a margin that is not positive.
        """
        if not margin > 0:
            raise RadstartError("the margin must be positive", "margin", f"{margin}")
        if self.pair is None:
            return math.nan
        return 0.0 if self.identical else p_inside(self.pair, margin / self.upper)


def interval(
    scores: ArrayLike,
    labels: ArrayLike | None,
    patients: ArrayLike,
    metric: str = "auroc",
    level: float = 0.95,
) -> Interval:
    """Return the mean over seeds of a metric and its interval over patients and seeds.

    Args:
        scores: (seeds, cases) or (seeds, cases, classes); (cases,) is one seed.
        labels: (cases,), class indices; None where the metric needs none.
        patients: (cases,), any hashable.
        metric: id in `METRICS`.
        level: between 0 and 1.

    Raises:
        RadstartError: input that does not fit; see `as_runs` and `as_units`.
    """
    entry, _ = metric_of(metric), _checked(level)
    runs = as_runs(entry, _with_seeds(scores), labels)
    units = as_units(entry, runs, patients)
    values, left_out = jackknife(entry, runs, units.index, units.count)
    mean, notes = float(values.mean()), list(units.notes)
    if len(values) == 1:
        notes.append(ONE_MODEL)
    low = high = df = math.nan
    part = NO_PARTS
    reason = units.undefined or _off_scale(entry, mean)
    if reason:
        notes.append(reason)
    else:
        h = _influence(left_out)
        part = _parts(values, h)
        df = _df((part,), part.patients, _nu(h.mean(axis=0)))
        bound = _bound(entry, runs)
        arm = _arm(entry, mean, part.total, bound, units.smallest)
        low, high = (bound * x for x in arm.limits(quantile(level, df), df))
        notes += _few_df(df)
    return Interval(
        metric=metric,
        level=level,
        value=mean,
        ci_low=low,
        ci_high=high,
        df=df,
        seed_values=tuple(values.tolist()),
        seed_sd=float(values.std(ddof=1)) if len(values) > 1 else math.nan,
        seed_sd_net=math.sqrt(part.net),
        n_seeds=len(values),
        n_cases=len(runs.labels),
        n_units=units.count,
        notes=tuple(notes),
    )


def paired_difference(
    scores_a: ArrayLike,
    scores_b: ArrayLike,
    labels: ArrayLike | None,
    patients: ArrayLike,
    metric: str = "auroc",
    level: float = 0.95,
    design: Design = "crossed",
) -> PairedDifference:
    """Return the difference a - b of a metric's means over seeds, its interval and p.

    Crossed: seed s of both arms shares its draws; seeds are matched by index and those without a
    partner dropped, with a note (give a run without randomness once per seed). Nested: the arms
    ran with unrelated seeds. Choose by the design, never by which interval is narrower.

    Args:
        scores_a: (seeds, cases) or (seeds, cases, classes) of arm a; (cases,) is one seed.
        scores_b: the same of arm b; the number of seeds may differ.
        labels: (cases,), class indices; None where the metric needs none.
        patients: (cases,), any hashable.
        metric: id in `METRICS`.
        level: between 0 and 1.
        design: `crossed` or `nested`.

    Raises:
        RadstartError: input that does not fit; see `as_runs` and `as_units`.
    """
    entry, _ = metric_of(metric), _checked(level)
    if design not in ("crossed", "nested"):
        raise RadstartError("unknown design", "design", str(design), "crossed or nested")
    a = as_runs(entry, _with_seeds(scores_a), labels)
    b = as_runs(entry, _with_seeds(scores_b), labels)
    if a.n_classes != b.n_classes:
        got = f"{a.n_classes} and {b.n_classes}"
        raise RadstartError("the arms differ in their number of classes", "scores", got)
    n_a, n_b = len(a.scores), len(b.scores)
    few = min(n_a, n_b)
    notes: list[str] = [ONE_MODEL] if few == 1 else []
    dropped = abs(n_a - n_b) if design == "crossed" else 0
    if dropped:
        notes.append(f"{dropped} of {max(n_a, n_b)} seeds dropped: the other arm lacks them")
        a, b = replace(a, scores=a.scores[:few]), replace(b, scores=b.scores[:few])
    result = _difference(entry, a, b, as_units(entry, a, patients), level, design)
    return replace(result, n_dropped=dropped, notes=(*notes, *result.notes))


def _difference(
    entry: Metric, a: Runs, b: Runs, units: Units, level: float, design: Design
) -> PairedDifference:
    """Return the difference of checked runs; the form is section 1's of the method."""
    bound, crossed = _bound(entry, a), design == "crossed"
    values_a, left_a = jackknife(entry, a, units.index, units.count)
    values_b, left_b = jackknife(entry, b, units.index, units.count)
    mean_a, mean_b = float(values_a.mean()), float(values_b.mean())
    deltas = values_a - values_b if crossed else np.zeros(0)
    d = float(deltas.mean()) if crossed else mean_a - mean_b
    low = high = p = df = nu = patients = math.nan
    parts: tuple[Parts, ...] = (NO_PARTS,)
    pair, identical, notes = None, False, units.notes
    reason = units.undefined or _off_scale(entry, mean_a) or _off_scale(entry, mean_b)
    if reason:
        notes = (*notes, reason)
    else:
        h_a, h_b = _influence(left_a), _influence(left_b)
        h = h_a.mean(axis=0) - h_b.mean(axis=0)
        part_a, part_b = _parts(values_a, h_a), _parts(values_b, h_b)
        if crossed:
            parts = (_parts(deltas, h_a - h_b),)
            patients = parts[0].patients
            shared = (part_a.total + part_b.total - parts[0].total) / 2.0
        else:
            parts = (part_a, part_b)
            shared = _covariance(h_a.mean(axis=0), h_b.mean(axis=0))
            patients = max(0.0, part_a.patients + part_b.patients - 2.0 * shared)
        nu = _nu(h)
        df = _df(parts, patients, nu)
        root = math.sqrt(part_a.total * part_b.total)
        r = min(1.0, max(-1.0, shared / root)) if root > 0 else 0.0
        arm_a = _arm(entry, mean_a, part_a.total, bound, units.smallest)
        arm_b = _arm(entry, mean_b, part_b.total, bound, units.smallest)
        pair = Pair(arm_a, arm_b, r, df, crossed)
        still = d == patients == sum(one.seeds for one in parts) == 0.0
        still = still and not (arm_a.edge or arm_b.edge)
        identical = still or bool(np.array_equal(a.scores, b.scores))
        if identical:
            low, high, p = 0.0, 0.0, 1.0
            notes = (*notes, "the arms' runs cannot be told apart")
        else:
            low, high = (bound * x for x in pair.limits(quantile(level, df)))
            p = p_different(pair)
        notes = (*notes, *_few_df(df))
    return PairedDifference(
        *(entry.id, level, design, d, low, high, p, df, nu, mean_a, mean_b),
        seed_differences=tuple(deltas.tolist()),
        n_seeds=min(len(values_a), len(values_b)),
        n_dropped=0,
        n_cases=len(a.labels),
        n_units=units.count,
        notes=notes,
        parts=parts,
        patients=patients,
        pair=pair,
        upper=bound,
        identical=identical,
    )


def _with_seeds(scores: ArrayLike) -> Floats:
    given = np.asarray(scores, dtype=np.float64)
    return given[None] if given.ndim == 1 else given


def _checked(level: float) -> float:
    if not 0.0 < level < 1.0:
        raise RadstartError("the level must lie between 0 and 1", "level", f"{level}")
    return level


def _bound(entry: Metric, runs: Runs) -> float:
    """Return what values are divided by so that the logit scale runs from 0 to 1."""
    return entry.bound(runs.n_classes) if entry.scale == "logit" else 1.0


def _arm(entry: Metric, mean: float, variance: float, bound: float, exponent: int) -> Arm:
    return Arm(mean / bound, variance / bound**2, entry.scale, exponent)


def _off_scale(entry: Metric, mean: float) -> str:
    if entry.scale == "log" and not mean > 0.0:
        return f"no interval: a mean of {mean:g} has no logarithm"
    return ""


def _few_df(df: float) -> list[str]:
    return [f"few degrees of freedom: {df:.1f}"] if df < FEW_DF else []


def _influence(left_out: Floats) -> Floats:
    """Return H, (S, P): (P-1)/P (mean over patients of the value without one - that value)."""
    n = left_out.shape[1]
    h: Floats = (n - 1) / n * (left_out.mean(axis=1, keepdims=True) - left_out)
    return h


def _covariance(h_a: Floats, h_b: Floats) -> float:
    return float(h_a @ h_b) * len(h_a) / (len(h_a) - 1)


def _parts(values: Floats, h: Floats) -> Parts:
    """Return the parts of a set of runs from its values (S,) and influences (S, P)."""
    n_seeds, n_units = h.shape
    scale = n_units / (n_units - 1)
    squares = float((h * h).sum())
    if n_seeds == 1:
        return Parts(1, math.nan, 0.0, 0.0, scale * squares)
    total = h.sum(axis=0)
    diagonal = scale * squares / n_seeds
    off = scale * (float(total @ total) - squares) / (n_seeds * (n_seeds - 1))
    noise = max(0.0, diagonal - off)
    between = float(values.var(ddof=1))
    return Parts(n_seeds, between, noise, max(between, noise) / n_seeds, max(0.0, off))


def _nu(h: Floats) -> float:
    """Return the patients' degrees of freedom, 2 (sum h^2)^2 / (sum h^4 - (sum h^2)^2 / P)."""
    n, largest = len(h), float(np.abs(h).max())
    if largest == 0.0:
        return n - 1.0
    h = h / largest
    squares = float((h**2).sum()) ** 2
    spread = float((h**4).sum()) - squares / n
    return min(max(2.0 * squares / spread, 1.0), n - 1.0) if spread > 0.0 else n - 1.0


def _df(sets: tuple[Parts, ...], patients: float, nu: float) -> float:
    """Return Satterthwaite's df with every seed part weighted by kappa = (S+1)/(S-1)."""
    top, bottom = patients, patients**2 / nu
    for one in sets:
        if one.n_seeds > 1:
            weighted = (one.n_seeds + 1) / (one.n_seeds - 1) * one.seeds
            top += weighted
            bottom += weighted**2 / (one.n_seeds - 1)
    return top**2 / bottom if bottom > 0.0 else nu
