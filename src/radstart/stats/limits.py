"""Confidence limits on the metric's own scale, and p-values as their inversion.

Docstrings name the parts as the method page does: m mean over seeds, V its variance, r the
correlation of the two arms' means, c the number of standard errors.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit, logit, stdtr, stdtrit

Floats = NDArray[np.float64]
Scale = Literal["logit", "log", "identity"]
FARTHEST = 1e8  # c beyond which a limit counts as never reached


@dataclass(frozen=True)
class Arm:
    """Mean m and variance V of one arm, divided by the metric's upper bound where it has one.

    Attributes:
        mean, variance: m and V.
        scale: see `Metric.scale`.
        exponent: k of the limit g^(1/k) where every run is perfect.
    """

    mean: float
    variance: float
    scale: Scale
    exponent: int

    @property
    def edge(self) -> Literal[-1, 0, 1]:
        """Return 1 at the upper bound of the logit scale, -1 at its lower one, else 0."""
        if self.scale != "logit" or 0.0 < self.mean < 1.0:
            return 0
        return 1 if self.mean >= 1.0 else -1

    def center(self) -> tuple[float, float]:
        """Return the mean and its standard error on the scale, (eta, k)."""
        m, error = self.mean, math.sqrt(self.variance)
        if self.scale == "logit":
            return float(logit(m)), error / (m * (1.0 - m))
        return (math.log(m), error / m) if self.scale == "log" else (m, error)

    def limits(self, c: float, df: float) -> tuple[float, float]:
        """Return the limits at c standard errors: e(eta -/+ c k), or g^(1/k) at an edge."""
        if self.edge:
            reach = tail(c, df) ** (1.0 / self.exponent)
            return (reach, 1.0) if self.edge == 1 else (0.0, 1.0 - reach)
        eta, k = self.center()
        return float(back(self.scale, eta - c * k)), float(back(self.scale, eta + c * k))


@dataclass(frozen=True)
class Pair:
    """Two arms, the correlation r of their means, the degrees of freedom and the form."""

    a: Arm
    b: Arm
    r: float
    df: float
    crossed: bool

    def limits(self, c: float) -> tuple[float, float]:
        """Return the limits of a - b at c standard errors."""
        if self.crossed and not (self.a.edge or self.b.edge):
            return _ellipse(self, c, -1), _ellipse(self, c, 1)
        return _mover(self, c)


def tail(c: float, df: float) -> float:
    """Return P(t_df > c)."""
    return float(stdtr(df, -c))


def quantile(level: float, df: float) -> float:
    """Return the two-sided t quantile of a level such as 0.95."""
    return float(stdtrit(df, 0.5 + level / 2.0))


def back(scale: Scale, x: Floats | float) -> Floats:
    """Return the value whose place on the scale is x."""
    if scale == "logit":
        return np.asarray(expit(x))
    return np.exp(x) if scale == "log" else np.asarray(x)


def _ellipse(pair: Pair, c: float, sign: Literal[-1, 1]) -> float:
    """Return the least (-1) or greatest (1) difference over the ellipse of radius c.

    g(t) = e(eta_a + c k_a cos t) - e(eta_b + c k_b cos(t - arccos r)); a grid of 361 points, then
    grids of 21 between the neighbours of the best, down to 2e-6, where g is flat to 1e-12.
    """
    (eta_a, k_a), (eta_b, k_b) = pair.a.center(), pair.b.center()
    angle = math.acos(pair.r)

    def g(t: Floats) -> Floats:
        of_a = back(pair.a.scale, eta_a + c * k_a * np.cos(t))
        return of_a - back(pair.b.scale, eta_b + c * k_b * np.cos(t - angle))

    t, step = np.linspace(0.0, 2.0 * math.pi, 361), math.pi / 180.0
    while True:
        values = sign * g(t)
        best = int(values.argmax())
        if step < 1e-6:
            return sign * float(values[best])
        t = np.linspace(t[best] - step, t[best] + step, 21)
        step /= 10.0


def _mover(pair: Pair, c: float) -> tuple[float, float]:
    """Return the limits by recovered variances (Zou & Donner 2008); r = 0 at an edge."""
    (m_a, m_b), df = (pair.a.mean, pair.b.mean), pair.df
    (l_a, u_a), (l_b, u_b) = pair.a.limits(c, df), pair.b.limits(c, df)
    r = 0.0 if pair.a.edge or pair.b.edge else pair.r

    def distance(x: float, y: float) -> float:
        return math.sqrt(max(0.0, x * x + y * y - 2.0 * r * x * y))

    return m_a - m_b - distance(m_a - l_a, u_b - m_b), m_a - m_b + distance(u_a - m_a, m_b - l_b)


def _reach(pair: Pair, target: float, side: Literal[-1, 1]) -> float:
    """Return the c >= 0 at which the lower (-1) or upper (1) limit is the target.

    0 where the limit lies beyond it from the start (an edge), infinity where it never gets there.
    """
    ellipse = pair.crossed and not (pair.a.edge or pair.b.edge)

    def missing(c: float) -> float:
        limit = _ellipse(pair, c, side) if ellipse else _mover(pair, c)[side > 0]
        return side * (target - limit)

    return _root(missing)


def _root(missing: Callable[[float], float]) -> float:
    """Return the root of a function that falls from c = 0 on, bracketed by doubling."""
    if missing(0.0) <= 0.0:
        return 0.0
    low, high = 0.0, 1.0
    while missing(high) > 0.0:
        low, high = high, 2.0 * high
        if high > FARTHEST:
            return math.inf
    return float(brentq(missing, low, high, xtol=1e-12, rtol=1e-14))


def p_different(pair: Pair) -> float:
    """Return the two-sided p of no difference: 2 P(t_df > c) with a limit at 0 for c."""
    d = pair.a.mean - pair.b.mean
    if d == 0.0:
        return 1.0
    return min(1.0, 2.0 * tail(_reach(pair, 0.0, -1 if d > 0 else 1), pair.df))


def p_inside(pair: Pair, margin: float) -> float:
    """Return the p of two one-sided tests that the difference lies inside (-margin, margin)."""
    d = pair.a.mean - pair.b.mean
    above = tail(_reach(pair, -margin, -1), pair.df)
    below = tail(_reach(pair, margin, 1), pair.df)
    if d <= -margin:
        above = 1.0 - tail(_reach(pair, -margin, 1), pair.df)
    if d >= margin:
        below = 1.0 - tail(_reach(pair, margin, -1), pair.df)
    return max(above, below)
