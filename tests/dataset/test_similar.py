"""All pairs within a distance: complete against brute force, however the hashes are spread."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radstart.dataset import similar, similar_hashes

SPREADS = ("random", "skewed", "dense", "near copies")


def draw(spread, n, seed=0):
    rng = np.random.default_rng(seed)
    if spread == "random":
        return rng.integers(0, 2**64, n, dtype=np.uint64)
    if spread == "skewed":  # most bits nearly constant: few keys, large buckets
        bits = rng.random((n, 64)) < np.where(rng.random(64) < 0.6, 0.97, 0.5)
        return np.packbits(bits, axis=1).view(">u8")[:, 0].astype(np.uint64)
    if spread == "dense":
        return rng.permutation(n).astype(np.uint64) << np.uint64(21)
    hashes = draw("random", n, seed)
    bits = np.uint64(1) << rng.integers(0, 64, (n, 5)).astype(np.uint64)
    keep = np.arange(5) < rng.integers(0, 6, (n, 1))
    flips = np.bitwise_xor.reduce(np.where(keep, bits, np.uint64(0)), axis=1)
    return hashes[rng.integers(0, n // 3, n)] ^ flips


def brute(hashes, known, limit):
    """Return pairs of rows within the limit, and which rows they connect, the slow way."""
    first, second = [], []
    for row in np.flatnonzero(known):
        near = np.bitwise_count(hashes[row] ^ hashes[row + 1 :]) <= limit
        others = row + 1 + np.flatnonzero(near & known[row + 1 :])
        first += [row] * len(others)
        second += others.tolist()
    return set(zip(first, second, strict=True))


def groups(pairs, n):
    """Return the group of every row by walking along pairs."""
    owner = list(range(n))

    def top(row):
        while owner[row] != row:
            owner[row] = row = owner[owner[row]]
        return row

    for a, b in pairs:
        owner[max(top(a), top(b))] = min(top(a), top(b))
    tops = [top(row) for row in range(n)]
    several = [t for t in sorted(set(tops)) if tops.count(t) > 1] if n < 5000 else None
    if several is None:
        values, counts = np.unique(tops, return_counts=True)
        several = values[counts > 1].tolist()
    number = {t: k for k, t in enumerate(several)}
    return [number.get(t, -1) for t in tops]


def written_out(found, n):
    """Return all pairs of rows that a result stands for, equal hashes included."""
    alike = {}
    for row, first in enumerate(found.first.tolist()):
        alike.setdefault(first, []).append(row)
    alike.pop(-1, None)
    pairs = {(a, b) for rows in alike.values() for a in rows for b in rows if a < b}
    for a, b in found.pairs.tolist():
        pairs |= {(min(x, y), max(x, y)) for x in alike[a] for y in alike[b]}
    return pairs


def check(hashes, limit, known=None):
    have = np.ones(len(hashes), bool) if known is None else known
    found = similar_hashes(hashes, known, limit)
    wanted = brute(hashes, have, limit)
    assert written_out(found, len(hashes)) == wanted
    assert found.n_pairs == len(found.pairs) == len(set(map(tuple, found.pairs.tolist())))
    assert found.group.tolist() == groups(wanted, len(hashes))
    assert sorted(map(tuple, found.pairs.tolist())) == list(map(tuple, found.pairs.tolist()))
    a, b = found.pairs.T
    assert np.array_equal(np.bitwise_count(hashes[a] ^ hashes[b]), found.distances)
    assert (found.first[~have] == -1).all()
    sizes = np.bincount(found.group[found.group >= 0])
    assert found.n_groups == len(sizes)
    assert found.largest == (sizes.max() if len(sizes) else 0)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("limit", range(9))
@pytest.mark.parametrize("spread", SPREADS)
def test_complete_against_brute_force(spread, limit):
    n = 200 if spread == "dense" else 1200
    check(draw(spread, n, seed=limit), limit)


@pytest.mark.parametrize("bands", [4, 5, 8, 16])
@pytest.mark.parametrize("spread", SPREADS)
def test_complete_whatever_number_of_bands_is_chosen(spread, bands, monkeypatch):
    monkeypatch.setattr(similar, "_bands", lambda distinct, limit: bands)
    monkeypatch.setattr(similar, "_BLOCK", 64)
    check(draw(spread, 300), 3)


def test_complete_on_20000():
    hashes = np.concatenate([draw("near copies", 12_000), draw("random", 8000, 1)])
    found = check(hashes, 3)
    assert found.n_pairs > 3000


words = st.integers(0, 2**64 - 1)
flips = st.lists(st.integers(0, 63), max_size=4)


@settings(deadline=None)
@given(words, st.lists(st.tuples(flips, st.booleans()), max_size=25), st.integers(0, 4))
def test_complete_on_anything_close(word, changes, limit):
    hashes = []
    for bits, go_on in changes:
        hashes.append(word ^ sum(1 << bit for bit in set(bits)))
        word = hashes[-1] if go_on else word
    known = np.array([len(bits) != 3 for bits, _ in changes], bool)
    check(np.array(hashes, np.uint64), limit, known)


def test_equal_hashes_are_collapsed_and_blank_ones_are_in_no_group():
    hashes = np.full(200_000, 7, np.uint64)
    hashes[150_000:] = 0
    hashes[5] = 6
    known = np.arange(200_000) < 150_000
    found = similar_hashes(hashes, known)
    assert found.pairs.tolist() == [[0, 5]]
    assert found.distances.tolist() == [1]
    assert (found.largest, found.n_groups, found.spread) == (150_000, 1, 1)
    assert (found.group[known] == 0).all()
    assert (found.group[~known] == -1).all()
    assert (found.first[150_000:] == -1).all()


def test_a_chain_is_one_group_and_its_spread_is_told():
    chain = np.array([(1 << (3 * k)) - 1 for k in range(21)], np.uint64)
    found = similar_hashes(chain)
    assert (found.n_pairs, found.n_groups, found.largest, found.spread) == (20, 1, 21, 60)


def test_more_pairs_than_are_listed_are_counted_and_make_groups(monkeypatch):
    monkeypatch.setattr(similar, "_UNITED", 1000)
    hashes = np.concatenate([draw("dense", 512), draw("near copies", 500)])
    whole = similar_hashes(hashes)
    capped = similar_hashes(hashes, most_pairs=100)
    assert len(capped.pairs) == 100
    assert capped.n_pairs == whole.n_pairs == len(whole.pairs) > 2000
    assert np.array_equal(capped.group, whole.group)


def test_nothing_and_one():
    for n in (0, 1):
        found = similar_hashes(np.zeros(n, np.uint64))
        assert (len(found.pairs), found.n_groups, found.largest, found.spread) == (0, 0, 0, 0)
    none = similar_hashes(np.zeros(3, np.uint64), np.zeros(3, bool))
    assert none.group.tolist() == none.first.tolist() == [-1, -1, -1]


def test_a_limit_out_of_range_is_a_bug():
    with pytest.raises(ValueError, match="0 to 8"):
        similar_hashes(np.zeros(2, np.uint64), limit=9)
