"""Which rows belong together, by integer codes: the arithmetic behind units.

What is known of a row decides: its patient, else its exam, else its series or volume, else its
group of near-duplicates. A patient is also known where the row's exam, or its series, has exactly
one; an exam where the series has one. Identical pictures join their units, whatever is known of
them. Near-duplicates join rows of unknown patient and exam only, and go to the one patient or exam
that their group has: two patients may well look alike.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

Codes = NDArray[np.int64]
KINDS = ("patient", "exam", "series", "duplicate group")
"""What a unit is, the strongest first; of the last kind is also an image that is like no other."""


@dataclass(frozen=True, eq=False)
class Keys:
    """What says that rows belong together: int64 (N,) codes from 0, -1 where it is not known.

    Attributes:
        patient, exam, series: of the row; `series` holds volumes, too.
        near: group of near-duplicates.
        picture: group of identical pictures; -1 also for a picture that there is once.
        column: a value that stays on one side (a site, a scanner); all -1 where none was asked for.
    """

    patient: Codes
    exam: Codes
    series: Codes
    near: Codes
    picture: Codes
    column: Codes


@dataclass(frozen=True, eq=False)
class Grouping:
    """Rows that belong together.

    Attributes:
        unit: int64 (N,), 0..U-1.
        kind: int64 (U,), index in KINDS: the strongest key of the unit's rows.
        row_kind: int64 (N,), the same of each row.
        keys: with what was concluded about patients and exams.
    """

    unit: Codes
    kind: Codes
    row_kind: Codes
    keys: Keys


def group_rows(keys: Keys) -> Grouping:
    """Return the units of rows."""
    keys = _concluded(keys)
    n = len(keys.patient)
    row_kind = np.where(
        keys.patient >= 0, 0, np.where(keys.exam >= 0, 1, np.where(keys.series >= 0, 2, 3))
    )
    starts, total = _offsets(keys, n)
    alone = np.where(keys.near >= 0, starts["near"] + keys.near, starts["row"] + np.arange(n))
    node = np.choose(
        row_kind,
        [keys.patient, starts["exam"] + keys.exam, starts["series"] + keys.series, alone],
    )
    edges = [_edges(node, keys.picture, starts["picture"])]
    edges.append(_edges(node, keys.column, starts["column"]))
    edges.append(_edges(node, np.where(row_kind == 2, keys.near, -1), starts["near"]))
    owner = _only(keys.near, np.where(row_kind < 2, node, -1))
    edges.append(np.stack([starts["near"] + np.flatnonzero(owner >= 0), owner[owner >= 0]]))
    a, b = np.concatenate(edges, axis=1)
    graph = coo_matrix((np.ones(len(a), np.int8), (a, b)), shape=(total, total))
    unit = connected_components(graph, directed=False)[1][node] if n else node
    there = np.bincount(unit) > 0 if n else np.zeros(0, bool)
    unit = (np.cumsum(there) - 1)[unit].astype(np.int64)
    kind = np.full(int(there.sum()), len(KINDS) - 1, np.int64)
    np.minimum.at(kind, unit, row_kind)
    return Grouping(unit, kind, row_kind, keys)


def crossing(codes: Codes, part: Codes) -> int:
    """Return how many codes stand in two or more parts; -1 in either does not count."""
    low, high = _range(codes, part)
    return int((low < high).sum())


def _concluded(keys: Keys) -> Keys:
    """Fill in exams by series, and patients by exam and by series, where there is only one."""
    exam = _by(keys.exam, keys.series)
    patient = _by(_by(keys.patient, exam), keys.series)
    return replace(keys, exam=exam, patient=patient)


def _by(known: Codes, group: Codes) -> Codes:
    """Return codes, with those of -1 taken from the row's group where it has exactly one."""
    if not ((known < 0) & (group >= 0)).any():
        return known
    of_group = np.append(_only(group, known), -1)  # the last is that of group -1
    return np.where(known >= 0, known, of_group[group])


def _only(group: Codes, value: Codes) -> Codes:
    """Return for every group the one value that its rows have, -1 where none or several."""
    low, high = _range(group, value)
    return np.where(low == high, low, -1)


def _range(group: Codes, value: Codes) -> tuple[Codes, Codes]:
    """Return the smallest and the largest value of every group, -1 and -1 where there is none."""
    both = (group >= 0) & (value >= 0)
    n_groups = int(group.max(initial=-1)) + 1
    low, high = np.full(n_groups, np.iinfo(np.int64).max), np.full(n_groups, -1, np.int64)
    np.minimum.at(low, group[both], value[both])
    np.maximum.at(high, group[both], value[both])
    return np.where(high < 0, high, low), high


def _offsets(keys: Keys, n: int) -> tuple[dict[str, int], int]:
    """Return where the nodes of each key begin, and their number; patients begin at 0."""
    starts, total = {}, 0
    for name in ("patient", "exam", "series", "near", "picture", "column"):
        starts[name] = total
        total += int(getattr(keys, name).max(initial=-1)) + 1
    starts["row"] = total
    return starts, total + n


def _edges(node: Codes, code: Codes, start: int) -> Codes:
    """Return the edges from rows' nodes to those of a key, int64 (2, E)."""
    known = code >= 0
    return np.stack([node[known], start + code[known]])
