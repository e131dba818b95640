"""Dealing many units into parts so that every class of every label is shared out alike.

`strata.deal` does so for the parts of a study, unit by unit. Here units may be millions and classes
those of several labels together (iterative stratification over units): the units that matter most,
large ones and those of rare classes, go first and one by one, each to the part that lacks most of
what it has; the bulk is dealt out in turns inside each stratum, which needs no look at each unit;
and a last share of small units, one by one again, evens out what the bulk has left uneven.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_ONE_BY_ONE = 10_000  # units before the bulk, and as many after it
_GOLDEN = (5**0.5 - 1) / 2  # its multiples, modulo 1, fill every stretch evenly

Places = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Tally:
    """What units hold, as a sparse table (U, C) in rows.

    Attributes:
        start: int64 (U + 1,), where each unit's entries begin.
        label: int32 (E,), the class of each entry.
        count: int64 (E,), images of that class in the unit, above 0.
        n_classes: C.
    """

    start: NDArray[np.int64]
    label: NDArray[np.int32]
    count: NDArray[np.int64]
    n_classes: int

    def __len__(self) -> int:
        """Return the number of units."""
        return len(self.start) - 1

    @property
    def unit(self) -> NDArray[np.int64]:
        """Return the unit of each entry."""
        owner: NDArray[np.int64] = np.repeat(np.arange(len(self)), np.diff(self.start))
        return owner

    def entries(self, units: Places) -> NDArray[np.int64]:
        """Return where the entries of some units stand, one unit after the other."""
        sizes = self.start[units + 1] - self.start[units]
        ends = np.cumsum(sizes)
        total = int(ends[-1]) if len(ends) else 0
        before = np.repeat(self.start[units] - ends + sizes, sizes)
        return np.asarray(np.arange(total) + before, np.int64)

    def present(self, units: Places) -> NDArray[np.bool_]:
        """Return which classes some units have, bool (len(units), C)."""
        sizes = self.start[units + 1] - self.start[units]
        has = np.zeros((len(units), self.n_classes), bool)
        has[np.repeat(np.arange(len(units)), sizes), self.label[self.entries(units)]] = True
        return has

    def by_part(self, part: Places, n_parts: int, of_units: bool = False) -> NDArray[np.int64]:
        """Return images (or units) of every class in every part, int64 (P, C)."""
        weights = None if of_units else self.count
        flat = part[self.unit] * self.n_classes + self.label
        sums = np.bincount(flat, weights, minlength=n_parts * self.n_classes)
        return np.rint(sums).astype(np.int64).reshape(n_parts, self.n_classes)


def tally(unit: NDArray[np.int64], n_units: int, labels: list[NDArray[np.int64]]) -> Tally:
    """Count images per unit and class.

    Args:
        unit: (N,), 0..U-1.
        n_units: U.
        labels: int64 (N,) each, classes from 0, -1 = none; they are counted one after the other,
            and behind them every row once, as a class of its own, so that sizes are shared, too.
    """
    columns = [*labels, np.zeros(len(unit), np.int64)]
    n_classes = sum(int(label.max(initial=-1)) + 1 for label in columns)
    keys, counts, first = [], [], 0
    for label in columns:
        known = label >= 0
        key = unit[known] * n_classes
        key += first + label[known]
        key.sort()
        edges = np.flatnonzero(np.diff(key, prepend=-1))
        keys.append(key[edges])
        counts.append(np.diff(edges, append=len(key)))
        first += int(label.max(initial=-1)) + 1
    key, count = np.concatenate(keys), np.concatenate(counts)
    order = np.argsort(key)
    owner, label = np.divmod(key[order], n_classes)
    start = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=n_units))])
    return Tally(start, label.astype(np.int32), count[order], n_classes)


def deal_units(held: Tally, shares: NDArray[np.float64], rng: np.random.Generator) -> Places:
    """Deal units into parts in proportion to `shares`, class by class.

    With up to 20,000 units each goes, the one with the largest share of any class first and equal
    ones in random order, to the part that is emptiest, relative to its share, in its classes. A
    class missing from a part gets its smallest unit from the part that has most of them, where one
    can be spared.

    Args:
        held: what units hold.
        shares: positive, (P,), of any sum.
        rng: decides the order of equal units.

    Returns:
        the part of each unit, (U,), 0..P-1.
    """
    shares = shares / shares.sum()
    n = len(held)
    totals = np.maximum(np.bincount(held.label, held.count, minlength=held.n_classes), 1)
    relative = held.count / totals[held.label]
    weight = _reduced(np.maximum, held, relative)
    order = rng.permutation(n)
    order = order[np.argsort(-weight[order], kind="stable")]
    part = np.zeros(n, np.intp)
    filled = np.zeros((len(shares), held.n_classes))
    first, rest = order[:_ONE_BY_ONE], order[_ONE_BY_ONE:]
    step = max(1, len(rest) // _ONE_BY_ONE)
    last = np.zeros(len(rest), bool)
    last[::step] = True
    _one_by_one(held, relative, first, shares, part, filled)
    _in_turns(held, relative, rest[~last], shares, part, filled, rng)
    _one_by_one(held, relative, rest[last], shares, part, filled)
    _spare(held, part, len(shares))
    return part


def _one_by_one(
    held: Tally,
    relative: NDArray[np.float64],
    order: Places,
    shares: NDArray[np.float64],
    part: Places,
    filled: NDArray[np.float64],
) -> None:
    """Deal units, in place, each to the part that lacks most of what it has."""
    for unit in order.tolist():
        entries = slice(held.start[unit], held.start[unit + 1])
        label, share = held.label[entries], relative[entries]
        fill = (filled[:, label] + share / 2) @ share
        part[unit] = where = np.argmin(fill / shares)
        filled[where, label] += share


def _in_turns(
    held: Tally,
    relative: NDArray[np.float64],
    chosen: Places,
    shares: NDArray[np.float64],
    part: Places,
    filled: NDArray[np.float64],
    rng: np.random.Generator,
) -> None:
    """Deal units, in place, in turns inside the stratum of their rarest class.

    Units that hold the same stand side by side in it, and every stretch of units goes to the parts
    in proportion to what they still lack of the class.
    """
    if not len(chosen):
        return
    with_class = np.bincount(held.label, minlength=held.n_classes)
    rank = np.empty(held.n_classes, np.int64)
    rank[np.argsort(with_class, kind="stable")] = np.arange(held.n_classes)
    mixed = rng.integers(1, 2**63, held.n_classes, dtype=np.int64)
    rarest = _reduced(np.minimum, held, rank[held.label])
    profile = _reduced(np.add, held, mixed[held.label] * held.count)  # equal where all they hold is
    order = chosen[np.lexsort((profile[chosen], rarest[chosen]))]
    edges = np.flatnonzero(np.diff(rarest[order], prepend=-1, append=-1))
    by_rank = np.argsort(rank)
    for start, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        label = by_rank[rarest[order[start]]]
        lacking = np.maximum(shares - filled[:, label], 0)
        lacking = lacking / lacking.sum() if lacking.sum() > 0 else shares
        turn = (rng.random() + _GOLDEN * np.arange(stop - start)) % 1
        dealt = np.searchsorted(np.cumsum(lacking)[:-1], turn, side="right")
        part[order[start:stop]] = dealt
        own = held.entries(order[start:stop])
        wide = np.repeat(dealt, held.start[order[start:stop] + 1] - held.start[order[start:stop]])
        flat = wide * held.n_classes + held.label[own]
        filled += np.bincount(flat, relative[own], minlength=filled.size).reshape(filled.shape)


def _reduced(by: np.ufunc, held: Tally, values: NDArray[Any]) -> NDArray[Any]:
    """Return the sum, least or largest of the entries of each unit; 0 for units without any."""
    there = np.flatnonzero(np.diff(held.start))
    result = np.zeros(len(held), values.dtype)
    if len(there):
        result[there] = by.reduceat(values, held.start[there])
    return result


def _spare(held: Tally, part: Places, n_parts: int) -> None:
    """Move units, in place, to parts that lack a class; a donor keeps all of its classes."""
    units = held.by_part(part, n_parts, of_units=True)
    sizes = np.bincount(held.unit, held.count, minlength=len(held))
    for label in np.argsort(units.sum(axis=0), kind="stable").tolist():
        for needy in np.flatnonzero(units[:, label] == 0).tolist():
            donor = int(np.argmax(units[:, label]))
            if units[donor, label] < 2:
                continue
            having = held.unit[held.label == label]
            for unit in sorted(having[part[having] == donor].tolist(), key=lambda u: sizes[u]):
                classes = held.label[held.start[unit] : held.start[unit + 1]]
                if (units[donor, classes] >= 2).all():
                    units[donor, classes] -= 1
                    units[needy, classes] += 1
                    part[unit] = needy
                    break
