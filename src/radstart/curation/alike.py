"""Pictures that are nearly the same: correlated thumbnails, also turned or mirrored.

Perceptual hashes alone say too much and too little: among hand radiographs hashes agree that show
different hands, and a caliper drawn into an image moves more bits than are looked for. So
thumbnails of 32 x 32 are correlated, all pairs up to `ALL` images; beyond that all pairs that are
near in their first components, which loses none that correlate as `NEAR`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from radstart.core.random import stream
from radstart.curation.measured import ANGLES, Floats, Measured

ALL = 20_000  # images of which every pair is correlated
NEAR = 0.995  # correlation of near-duplicates: the same view
STEPS = (0.97, 0.98, 0.99, NEAR)
TURNED = 0.95  # correlation of discs, one of them turned or mirrored
_HINT = 0.95  # correlation of what turning does not change
_BLOCK = 512
_COMPONENTS = 10
_MOST = 2_000_000  # pairs that are kept

Places = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Alike:
    """Pairs of rows whose thumbnails correlate.

    Attributes:
        first, second: int64 (M,), rows, first < second.
        correlation: float32 (M,).
        least: pairs from here on are all there.
        complete: False where there were more than can be kept.
    """

    first: Places
    second: Places
    correlation: Floats
    least: float
    complete: bool

    def above(self, correlation: float) -> "Alike":
        """Return the pairs from a correlation on."""
        chosen = self.correlation >= correlation
        return Alike(
            self.first[chosen], self.second[chosen], self.correlation[chosen], correlation,
            self.complete,
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Turned:
    """Pairs of rows that show the same turned or mirrored.

    Attributes:
        first, second: rows.
        degrees: by how much the second is turned, -180 to 180, in steps of 5.6.
        mirrored: whether it is mirrored, too.
        correlation: of the discs.
    """

    first: Places
    second: Places
    degrees: NDArray[np.float64]
    mirrored: NDArray[np.bool_]
    correlation: Floats


def alike(measured: Measured, rows: Places) -> Alike:
    """Return pairs among some rows: from `STEPS[0]` on, from `NEAR` on where there are many.

    Args:
        measured: of the dataset.
        rows: those to compare, sorted; one of each group of identical pictures is enough.
    """
    rows = rows[measured.seen[rows]]
    many = len(rows) > ALL
    least = NEAR if many else STEPS[0]
    found: list[tuple[Places, Places, Floats]] = []
    kept = 0
    pairs = _near_pairs(measured, rows) if many else _all_pairs(measured, rows, least)
    for a, b, correlation in pairs:
        found.append((a, b, correlation))
        kept += len(a)
        if kept > _MOST:
            break
    if not found:
        nothing = np.zeros(0, np.int64)
        return Alike(nothing, nothing, np.zeros(0, np.float32), least, True)
    a, b, correlation = (np.concatenate(part) for part in zip(*found, strict=True))
    order = np.lexsort((b, a))
    return Alike(rows[a[order]], rows[b[order]], correlation[order], least, kept <= _MOST)


def _all_pairs(
    measured: Measured, rows: Places, least: float
) -> Iterator[tuple[Places, Places, Floats]]:
    thumbs = measured.thumbs[rows].astype(np.float32)
    for start in range(0, len(rows), _BLOCK):
        products = thumbs[start : start + _BLOCK] @ thumbs[start:].T
        a, b = np.nonzero(products >= least)
        once = b > a
        a, b = a[once], b[once]
        yield a + start, b + start, products[a, b]


def _near_pairs(measured: Measured, rows: Places) -> Iterator[tuple[Places, Places, Floats]]:
    """Yield pairs from `NEAR` on: a projection brings no two further apart than they are."""
    from scipy.spatial import cKDTree

    sample = stream(0, "alike", "sample").permutation(len(rows))[:4096]
    drawn = measured.thumbs[rows[np.sort(sample)]].astype(np.float32)
    axes = np.linalg.svd(drawn - drawn.mean(axis=0), full_matrices=False)[2][:_COMPONENTS].T
    places = np.concatenate(
        [
            measured.thumbs[rows[start : start + 8192]].astype(np.float32) @ axes
            for start in range(0, len(rows), 8192)
        ]
    )
    radius = float(np.sqrt(2 * (1 - NEAR))) + 2e-3  # thumbnails are stored in 16 bits
    tree = cKDTree(places)
    for start in range(0, len(rows), 4096):
        block = np.arange(start, min(start + 4096, len(rows)))
        near = tree.query_ball_point(places[block], radius)
        a = np.repeat(block, [len(one) for one in near])
        b = np.fromiter((k for one in near for k in one), np.int64, len(a))
        once = b > a
        a, b = a[once], b[once]
        for low in range(0, len(a), 1 << 16):
            one, other = a[low : low + (1 << 16)], b[low : low + (1 << 16)]
            left = measured.thumbs[rows[one]].astype(np.float32)
            product = np.einsum("ij,ij->i", left, measured.thumbs[rows[other]].astype(np.float32))
            good = product >= NEAR
            yield one[good], other[good], product[good]


def groups_of(first: Places, second: Places, count: int) -> Places:
    """Return the group of every row, numbered by first row; -1 for rows without a pair."""
    graph = coo_matrix((np.ones(len(first), np.int8), (first, second)), shape=(count, count))
    label = connected_components(graph, directed=False)[1]
    _, start, which, size = np.unique(
        label, return_index=True, return_inverse=True, return_counts=True
    )
    number = np.full(len(start), -1, np.int64)
    several = np.flatnonzero(size > 1)
    number[several[np.argsort(start[several])]] = np.arange(len(several))
    return number[which]


def turned(measured: Measured, rows: Places) -> Turned:
    """Return pairs that are copies turned by an angle, or mirrored; none of many images.

    The strengths of the frequencies around the centre stay when an image is turned about its
    centre: pairs that agree in these are turned against each other in all steps and compared.
    """
    rows = rows[measured.discs[rows].any(axis=(1, 2))]
    rows = rows if len(rows) <= ALL else rows[:0]
    waves = np.abs(np.fft.rfft(measured.discs[rows].astype(np.float32), axis=1))[:, :20]
    marks = waves.reshape(len(rows), -1).astype(np.float32)
    marks = marks - marks.mean(axis=0) if len(rows) else marks
    marks /= np.maximum(np.linalg.norm(marks, axis=1, keepdims=True), 1e-6)
    found: list[tuple[Places, Places]] = []
    kept = 0
    for start in range(0, len(rows), _BLOCK):
        products = marks[start : start + _BLOCK] @ marks[start:].T
        a, b = np.nonzero(products >= _HINT)
        once = b > a
        found.append((a[once] + start, b[once] + start))
        kept += int(once.sum())
        if kept > _MOST // 10:
            break
    a = np.concatenate([pair[0] for pair in found]) if found else np.zeros(0, np.int64)
    b = np.concatenate([pair[1] for pair in found]) if found else np.zeros(0, np.int64)
    return _verified(measured, rows[a], rows[b])


def _verified(measured: Measured, first: Places, second: Places) -> Turned:
    parts = []
    for start in range(0, len(first), 4096):
        a, b = first[start : start + 4096], second[start : start + 4096]
        left = np.fft.rfft(measured.discs[a].astype(np.float32), axis=1)
        right = measured.discs[b].astype(np.float32)
        by_shift = []
        for other in (right, right[:, ::-1]):
            product = np.conj(left) * np.fft.rfft(other, axis=1)
            by_shift.append(np.fft.irfft(product, n=ANGLES, axis=1).sum(axis=2))
        both = np.concatenate(by_shift, axis=1)
        best = both.argmax(axis=1)
        value = both[np.arange(len(a)), best]
        shift, mirrored = best % ANGLES, best >= ANGLES
        shift = shift + mirrored  # the reversed disc begins one step further on
        degrees = (shift * 360 / ANGLES + 180) % 360 - 180
        # What hardly changes between turned and straight says nothing of the copy's making.
        told = (value >= TURNED) & (mirrored | (np.abs(degrees) > 6)) & (both[:, 0] < value - 0.05)
        parts.append((a[told], b[told], degrees[told], mirrored[told], value[told]))
    if not parts:
        nothing = np.zeros(0, np.int64)
        return Turned(nothing, nothing, np.zeros(0), np.zeros(0, bool), np.zeros(0, np.float32))
    a, b, degrees, mirrored, value = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Turned(a, b, degrees, mirrored, value.astype(np.float32))
