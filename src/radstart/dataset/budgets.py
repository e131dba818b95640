"""Budgets: a nested share of the labelled units of training and validation."""

import math

import numpy as np
from numpy.typing import NDArray

from radstart.core.errors import RadstartError
from radstart.core.random import stream
from radstart.dataset.parts import Parts
from radstart.dataset.strata import count_classes
from radstart.dataset.tables import Strings, among
from radstart.dataset.units import Units

_KEEP = {"train": 2, "validation": 1}  # units of every class that come first


def draw_budget(
    units: Units, parts: Parts, labels: Strings, budget: float, seed: int
) -> NDArray[np.bool_]:
    """Draw the rows of training and validation that a budget allows.

    The units of each part are ordered once per seed, so that every prefix has about the classes of
    the whole; a budget takes the first `budget` x number of units (rounded, at least one). Budgets
    of one seed are therefore nested. The order begins with a unit of every class, in training with
    two where a class has two. A budget of 1 is everything, for every seed. Where a split marks its
    budgets, they are these and no others, the same for every seed.

    Args:
        units: of the dataset.
        parts: of the dataset.
        labels: object array (N,), as `text(rows, "label")`.
        budget: above 0, at most 1.
        seed: the run's seed.

    Returns:
        used rows of training and validation, bool (N,).

    Raises:
        RadstartError: out of range, or too small for a unit of every class in both parts; then the
            smallest budget that works is named; or not among those that the split marks.
    """
    if not 0 < budget <= 1:
        raise RadstartError("is out of range", "budget", str(budget), "above 0, at most 1")
    if parts.budgets and budget < 1:
        return _marked(parts, labels, budget)
    used = np.zeros(len(labels), bool)
    smallest = 0.0
    for part, keep in _KEEP.items():
        rows = parts.part == part
        names, _, counts = count_classes(units.unit[rows], labels[rows], units.hashed)
        order = first_units(counts > 0, keep, stream(seed, "budget", part))
        covered = (np.cumsum(counts[order] > 0, axis=0) > 0).all(axis=1)
        needed = int(np.argmax(covered)) + 1
        smallest = max(smallest, _smallest(needed, len(names)))
        taken = names[order[: budget_units(budget, len(names))]]
        used |= rows & among(units.unit, taken)
    if budget < smallest:
        raise RadstartError(
            "is too small: some class would have no unit in training or validation",
            "budget",
            f"{budget:g}",
            f"the smallest that works here is {smallest:g}",
        )
    return used


def _marked(parts: Parts, labels: Strings, budget: float) -> NDArray[np.bool_]:
    """Return the rows of training and validation that the split marks for a budget."""
    known = [f"{share:g}" for share in sorted(parts.budgets)]
    if budget not in parts.budgets:
        raise RadstartError(
            f"{parts.source} marks other budgets", "budget", f"{budget:g}",
            f"use {', '.join(known)} or 1, or a split without budgets",
        )  # fmt: skip
    used = parts.budgets[budget] & np.isin(parts.part, list(_KEEP))
    for part in _KEEP:
        there, lacking = parts.part == part, ""
        lacking = ", ".join(sorted(set(labels[there]) - set(labels[there & used])))
        if lacking:
            raise RadstartError(
                f"{parts.source} marks no {part} unit of a class", f"budget {budget:g}", lacking,
                "use a larger budget",
            )  # fmt: skip
    return used


def budget_units(budget: float, n_units: int) -> int:
    """Return how many of the first units a budget takes."""
    return max(1, math.floor(budget * n_units + 0.5))


def _smallest(needed: int, n_units: int) -> float:
    """Return the smallest budget, in thousandths, that takes at least `needed` units."""
    if needed <= 1:
        return 0.0
    thousandths = math.ceil((needed - 0.5) / n_units * 1000)
    while budget_units(thousandths / 1000, n_units) < needed:
        thousandths += 1
    return thousandths / 1000


def first_units(has: NDArray[np.bool_], keep: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Order units so that every prefix is stratified, `keep` units of every class first.

    `has` says which classes a unit has, (U, C). A unit's stratum is the rarest of its classes. Unit
    r of a stratum of n stands at (r + u) / n, u uniform for each stratum: systematic sampling in
    every prefix.
    """
    with_class = has.sum(axis=0)
    stratum = np.where(has, with_class, len(has) + 1).argmin(axis=1)
    start = rng.random((has.shape[1],))
    shuffled = rng.permutation(len(has))
    place = np.zeros(len(has))
    for label in range(has.shape[1]):
        members = shuffled[stratum[shuffled] == label]
        place[members] = (np.arange(len(members)) + start[label]) / max(len(members), 1)
    order = np.argsort(place, kind="stable")

    first: list[int] = []
    for times in range(1, keep + 1):
        for label in np.argsort(with_class, kind="stable").tolist():
            if sum(bool(has[unit, label]) for unit in first) < times:
                waiting = order[has[order, label] & ~np.isin(order, first)]
                first += waiting[:1].tolist()
    rest = order[~np.isin(order, first)]
    return np.concatenate([np.array(first, np.intp), rest])
