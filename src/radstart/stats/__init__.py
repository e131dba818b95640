"""Metrics, intervals, paired differences, verdicts and planning: NumPy and SciPy only."""

from radstart.stats.intervals import (
    ONE_MODEL,
    Interval,
    PairedDifference,
    interval,
    paired_difference,
)
from radstart.stats.jackknife import value
from radstart.stats.metrics import METRICS, Metric
from radstart.stats.planning import (
    Needed,
    PlannedDifference,
    needed,
    needed_equal,
    planned_difference,
    power,
    smallest_difference,
)
from radstart.stats.verdicts import WITHIN, holm, verdict

__all__ = [
    "METRICS",
    "ONE_MODEL",
    "WITHIN",
    "Interval",
    "Metric",
    "Needed",
    "PairedDifference",
    "PlannedDifference",
    "holm",
    "interval",
    "needed",
    "needed_equal",
    "paired_difference",
    "planned_difference",
    "power",
    "smallest_difference",
    "value",
    "verdict",
]
