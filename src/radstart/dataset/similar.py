"""All pairs of 64-bit hashes within a Hamming distance, and the groups that they make.

Complete by the pigeonhole principle: of B bands of bits, two hashes at distance d differ in d bands
at the most, so they agree in all of some B - d bands. For each choice of B - d bands the hashes are
sorted by these bits, and those that agree in them are compared in full. B is chosen by what sorting
and comparing will cost, counted on a sample: many alike hashes want long keys.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import combinations, pairwise
from math import comb

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from radstart.core.random import stream
from radstart.dataset.hashes import Hashes

MOST_PAIRS = 5_000_000
_BITS = 64
_MOST_KEYS = 5000
_SAMPLE = 50_000  # hashes on which the cost of keys is counted
_SORT, _COMPARE = 25.0, 10.0  # nanoseconds: to sort a hash by a key, to compare two
_SMALL = 32  # hashes that share a key: as many are compared by shifting, more in blocks
_BLOCK = 1 << 18  # comparisons at a time
_UNITED = 1 << 21  # pairs that wait before they are made groups
_SPREAD = np.uint64(0x9E3779B97F4A7C15)  # 2^64 by the golden ratio: its multiples mix bits upwards

Rows = NDArray[np.int64]
Places = NDArray[np.int64]
Found = tuple[Places, Places, NDArray[np.uint8]]


@dataclass(frozen=True, eq=False)
class Similar:
    """What is alike among N hashes.

    Attributes:
        first: int64 (N,), the first row with the same hash; -1 for rows without one. Equal hashes
            are in no pair: they are told by this.
        pairs: int64 (M, 2), first rows of two different hashes within `limit`, sorted.
        distances: uint8 (M,), theirs, from 1.
        n_pairs: how many pairs there are; more than M where the most that are listed was reached.
        group: int64 (N,), rows that pairs and equal hashes connect have one number, by first row
            from 0; -1 for rows that are like no other. Groups are complete also where not every
            pair is listed.
        limit: the Hamming distance.
        largest: rows of the largest group.
        spread: the largest distance of a member of it from its first row. A chain of alike pictures
            is one group, though its ends may have little in common: above `limit` tells so.
    """

    first: Rows
    pairs: Rows
    distances: NDArray[np.uint8]
    n_pairs: int
    group: Rows
    limit: int
    largest: int
    spread: int

    @property
    def n_groups(self) -> int:
        """Return how many groups of two or more rows there are."""
        return int(self.group.max(initial=-1)) + 1


@dataclass(frozen=True)
class _Key:
    """Bits that two hashes share, and of those before its last one: bands that differ.

    A pair that shares several keys belongs to the first alone: it shares no band before the key's
    last one, except the key's own.
    """

    shared: np.uint64
    differ: tuple[np.uint64, ...]


def similar_hashes(
    hashes: Hashes,
    known: NDArray[np.bool_] | None = None,
    limit: int = 3,
    most_pairs: int = MOST_PAIRS,
) -> Similar:
    """Find all pairs of hashes within a distance, and their groups.

    Equal hashes are collapsed first: any number of them costs as much as one. Blank images have no
    hash and are in no group. Memory grows with N and with `most_pairs`, not with the pairs found.

    Args:
        hashes: uint64 (N,).
        known: bool (N,), which rows have one; None = all.
        limit: the largest distance, 0 to 8 (3 is meant; each further bit takes several times as
            long).
        most_pairs: how many pairs are listed; others are counted and do make groups.

    Raises:
        ValueError: a limit out of range.
    """
    if not 0 <= limit <= 8:
        raise ValueError(f"limit {limit}: 0 to 8")
    rows = np.arange(len(hashes)) if known is None else np.flatnonzero(known)
    distinct, place, which = np.unique(hashes[rows], return_index=True, return_inverse=True)
    label = np.arange(len(distinct))
    listed: list[Found] = []
    waiting: list[Found] = []
    n_pairs = n_waiting = 0
    for a, b, distance in _found(distinct, limit):
        room = max(0, most_pairs - n_pairs)
        if room:
            listed.append((a[:room], b[:room], distance[:room]))
        waiting.append((a, b, distance))
        n_pairs, n_waiting = n_pairs + len(a), n_waiting + len(a)
        if n_waiting >= _UNITED:
            label, waiting, n_waiting = _united(label, waiting), [], 0
    label = _united(label, waiting)
    first = np.full(len(hashes), -1, np.int64)
    first[rows] = rows[place][which]
    group = np.full(len(hashes), -1, np.int64)
    group[rows] = _numbered(label[which])
    pairs, distances = _in_order(listed, rows[place])
    return Similar(first, pairs, distances, n_pairs, group, limit, *_largest(hashes, group))


def _found(distinct: Hashes, limit: int) -> Iterator[Found]:
    """Yield every pair of distinct hashes within the limit once: two places and the distance."""
    if len(distinct) < 2 or limit == 0:
        return
    for key in _keys(_bands(distinct, limit), limit):
        for a, b in _sharing(distinct, key, limit):
            differ = distinct[a] ^ distinct[b]
            mine = np.ones(len(a), bool)
            for band in key.differ:
                mine &= (differ & band) != 0
            if mine.any():
                yield a[mine], b[mine], np.bitwise_count(differ[mine])


@cache
def _keys(bands: int, limit: int) -> tuple[_Key, ...]:
    """Return all choices of `bands` - `limit` bands."""
    edges = [band * _BITS // bands for band in range(bands + 1)]
    masks = [(1 << stop) - (1 << start) for start, stop in pairwise(edges)]
    keys = []
    for chosen in combinations(range(bands), bands - limit):
        before = (band for band in range(chosen[-1]) if band not in chosen)
        shared = np.uint64(sum(masks[band] for band in chosen))
        keys.append(_Key(shared, tuple(np.uint64(masks[band]) for band in before)))
    return tuple(keys)


def _bands(distinct: Hashes, limit: int) -> int:
    """Return the number of bands that costs least, as far as a sample tells."""
    taken = stream(0, "similar", "sample").permutation(len(distinct))[:_SAMPLE]
    sample, more = distinct[taken], (len(distinct) / len(taken)) ** 2
    costs: dict[int, float] = {}
    for bands in range(limit + 1, _BITS + 1):
        n_keys = comb(bands, limit)
        sorting = n_keys * len(distinct) * _SORT
        if costs and (n_keys > _MOST_KEYS or sorting > min(costs.values())):
            break
        keys = _keys(bands, limit)
        tried = {0, n_keys // 3, 2 * n_keys // 3, n_keys - 1}
        sizes = np.concatenate([_buckets(sample, keys[k])[2] for k in tried])
        compared = (sizes * (sizes - 1.0)).sum() / 2 / len(tried)
        costs[bands] = sorting + n_keys * compared * more * _COMPARE
    return min(costs, key=lambda bands: costs[bands])


def _buckets(distinct: Hashes, key: _Key) -> tuple[Places, Places, Places]:
    """Return places in the order of a key, where several that share it begin, and how many.

    The key's bits are mixed into the upper ones of a word whose lower ones are the place, so that
    one sort of words does it. Keys may collide: what shares one is compared in full anyway.
    """
    low = np.uint64(max(1, (len(distinct) - 1).bit_length()))
    words = distinct & key.shared
    words *= _SPREAD
    words >>= low
    words <<= low
    words |= np.arange(len(distinct), dtype=np.uint64)
    words.sort()
    order = (words & ((np.uint64(1) << low) - np.uint64(1))).astype(np.int64)
    words >>= low
    same = np.zeros(len(words) + 1, bool)
    np.equal(words[1:], words[:-1], out=same[1:-1])
    edges = np.flatnonzero(same[1:] != same[:-1])
    return order, edges[::2], edges[1::2] - edges[::2] + 1


def _sharing(distinct: Hashes, key: _Key, limit: int) -> Iterator[tuple[Places, Places]]:
    """Yield the pairs within the limit among hashes that share a key."""
    order, starts, sizes = _buckets(distinct, key)
    many = sizes > _SMALL
    for start, size in zip(starts[many].tolist(), sizes[many].tolist(), strict=True):
        members = order[start : start + size]
        values = distinct[members]
        height = max(1, _BLOCK // size)
        for top in range(0, size - 1, height):
            differ = values[top : top + height, None] ^ values[top + 1 :]
            i, j = np.nonzero(np.bitwise_count(differ) <= limit)
            once = j >= i
            yield members[top + i[once]], members[top + 1 + j[once]]
    starts, sizes = starts[~many], sizes[~many]
    shift = 1
    place = np.repeat(starts, sizes - 1) + _count_up(sizes - 1)
    left = np.repeat(starts + sizes - 1, sizes - 1) - place  # that follow in the same bucket
    while len(place):
        for top in range(0, len(place), _BLOCK):
            a = order[place[top : top + _BLOCK]]
            b = order[place[top : top + _BLOCK] + shift]
            near = np.bitwise_count(distinct[a] ^ distinct[b]) <= limit
            yield a[near], b[near]
        shift += 1
        place, left = place[left >= shift], left[left >= shift]


def _count_up(sizes: Places) -> Places:
    """Return 0, 1, ... size - 1 for every size, one after the other."""
    ends = np.cumsum(sizes)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - sizes, sizes)


def _united(label: Places, pairs: list[Found]) -> Places:
    """Return labels, 0 to one below their number, of which those of every pair are the same."""
    if not pairs:
        return label
    a = label[np.concatenate([pair[0] for pair in pairs])]
    b = label[np.concatenate([pair[1] for pair in pairs])]
    n = int(label.max()) + 1
    graph = coo_matrix((np.ones(len(a), np.int8), (a, b)), shape=(n, n))
    joined: Places = connected_components(graph, directed=False)[1].astype(np.int64)
    return joined[label]


def _numbered(label: Places) -> Rows:
    """Return labels of several rows as numbers by their first row, -1 for those of one."""
    _, first, which, count = np.unique(
        label, return_index=True, return_inverse=True, return_counts=True
    )
    number = np.full(len(first), -1, np.int64)
    several = np.flatnonzero(count > 1)
    number[several[np.argsort(first[several])]] = np.arange(len(several))
    return number[which]


def _in_order(listed: list[Found], rows: Rows) -> tuple[Rows, NDArray[np.uint8]]:
    """Return pairs of rows, the smaller first, in order; and their distances."""
    if not listed:
        return np.zeros((0, 2), np.int64), np.zeros(0, np.uint8)
    a, b, distance = (np.concatenate(part) for part in zip(*listed, strict=True))
    pairs = np.sort(np.stack([rows[a], rows[b]], axis=1), axis=1)
    order = np.argsort(pairs[:, 0] * (int(rows.max()) + 1) + pairs[:, 1])
    return pairs[order], distance[order]


def _largest(hashes: Hashes, group: Rows) -> tuple[int, int]:
    """Return the size of the largest group, and the largest distance from its first row."""
    sizes = np.bincount(group[group >= 0])
    if not len(sizes):
        return 0, 0
    members = hashes[group == int(np.argmax(sizes))]
    return int(sizes.max()), int(np.bitwise_count(members ^ members[0]).max())
