"""Dealing units into parts so that every class is shared out alike."""

import numpy as np
from numpy.typing import NDArray

from radstart.dataset.tables import Strings, codes

Counts = NDArray[np.int64]


def count_classes(
    unit: Strings, label: Strings, in_rows: bool = False
) -> tuple[Strings, Strings, Counts]:
    """Count images per unit and class.

    Args:
        unit: names, object array (N,).
        label: class names, object array (N,), none empty.
        in_rows: units in the order in which they appear, not of their names.

    Returns:
        unit names (U,), class names (C,), counts (U, C) int64.
    """
    units, unit_index = codes(unit, in_rows)
    classes, class_index = codes(label)
    flat = np.bincount(unit_index * len(classes) + class_index, minlength=len(units) * len(classes))
    return units, classes, flat.reshape(len(units), len(classes)).astype(np.int64)


def deal(counts: Counts, shares: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.intp]:
    """Deal units into parts in proportion to `shares`, class by class.

    Units go from the largest to the smallest (equal ones in random order), each to the part that
    is emptiest, relative to its share, in the classes of that unit (Sainte-Lague's rule: large
    units are spread over all parts). Where units of one class each are dealt, a part's images of a
    class differ from its share by less than two of that class's largest units. Afterwards a class
    missing from a part gets its smallest unit from the part that has most of them, where one can
    be spared.

    Args:
        counts: images per unit and class (U, C).
        shares: positive, (P,), of any sum.
        rng: decides the order of equal units.

    Returns:
        the part of each unit, (U,), 0..P-1.
    """
    shares = shares / shares.sum()
    totals = np.maximum(counts.sum(axis=0), 1)
    order = rng.permutation(len(counts))
    order = order[np.argsort(-counts[order].sum(axis=1), kind="stable")]
    filled = np.zeros((len(shares), counts.shape[1]))
    part = np.zeros(len(counts), np.intp)
    relative = counts / totals
    for unit in order.tolist():
        fill = (filled + relative[unit] / 2) @ relative[unit]
        part[unit] = np.argmin(fill / shares)
        filled[part[unit]] += relative[unit]
    _spare(counts, part, len(shares))
    return part


def _spare(counts: Counts, part: NDArray[np.intp], n_parts: int) -> None:
    """Move units, in place, to parts that lack a class; a donor keeps all of its classes."""
    has = counts > 0
    sizes = counts.sum(axis=1)
    for label in np.argsort(has.sum(axis=0), kind="stable").tolist():
        for needy in range(n_parts):
            held = np.array([(has[part == p, label]).sum() for p in range(n_parts)])
            if held[needy]:
                continue
            donor = int(np.argmax(held))
            left = has[part == donor].sum(axis=0)
            spare = has[:, label] & (part == donor) & ~(has & (left < 2)).any(axis=1)
            candidates = np.flatnonzero(spare)
            if len(candidates):
                part[candidates[np.argmin(sizes[candidates])]] = needy
