"""Perceptual hashes beside imagehash's, and all pairs within a distance among a million.

Both hash the same decoded images, one thread, in turns: grey pictures of 512 px, as a dataset holds
them, and of mixed sizes, grey and colour. Of the million hashes most are random; a thousand differ
from another one in 1 to 3 bits and have to be found.

python benchmarks/hashes.py [--turns 7]
"""

import argparse
import statistics

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from radstart.dataset import perceptual_hashes, similar_hashes
from side_by_side import Row, figure, in_turns, keep, paired_ratio, timed

LIMIT = 3
MILLION = 1_000_000
PLANTED = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=7)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    sizes = {
        "512 px, grey": [(512, 512)] * 60,
        "mixed sizes": [(64, 64), (300, 400), (512, 487), (1200, 900, 3), (600, 800, 3)] * 12,
    }
    rows, details = [], {}
    for name, shapes in sizes.items():
        row, details[name] = hashing(name, shapes, given.turns)
        rows.append(row)
    row, details["pairs"] = pairing(given.turns)
    keep("hashes", [*rows, row], details)


def hashing(name: str, shapes: list[tuple[int, ...]], turns: int) -> tuple[Row, dict[str, object]]:
    """Return the row of images a second."""
    import imagehash

    images = [picture(k, shape) for k, shape in enumerate(shapes)]

    def ours() -> None:
        perceptual_hashes(images)

    def theirs() -> None:
        for image in images:
            imagehash.phash(Image.fromarray(image))

    seconds = in_turns({"ours": ours, "theirs": theirs}, turns)
    ratio = paired_ratio(seconds["theirs"], seconds["ours"])
    mine, other = (statistics.median(seconds[side]) for side in ("ours", "theirs"))
    row = Row(
        f"perceptual hash, decoded, {name}, images/s",
        figure(len(images) / mine),
        "imagehash.phash",
        figure(len(images) / other),
        f"{ratio:.1f}x",
        "at least 8x",
        ratio >= 8,
    )
    return row, {"ratio": ratio, "seconds": seconds}


def picture(seed: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return a smooth picture with noise."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(20, 200, (12, 11, *shape[2:])).astype(np.float32)
    smooth = cv2.resize(coarse, shape[1::-1], interpolation=cv2.INTER_CUBIC)
    noisy: NDArray[np.uint8] = np.clip(smooth + rng.normal(0, 3, shape), 0, 255).astype(np.uint8)
    return noisy


def pairing(turns: int) -> tuple[Row, dict[str, object]]:
    """Return the row of all pairs among a million."""
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, MILLION, dtype=np.uint64)
    hashes[PLANTED : 2 * PLANTED] = hashes[:PLANTED]
    for row in range(PLANTED):
        for bit in rng.choice(64, 1 + row % LIMIT, replace=False):
            hashes[row + PLANTED] ^= np.uint64(1) << np.uint64(bit)
    found = similar_hashes(hashes, limit=LIMIT)
    complete = {(row, row + PLANTED) for row in range(PLANTED)} <= set(map(tuple, found.pairs))
    seconds = [timed(lambda: similar_hashes(hashes, limit=LIMIT)) for _ in range(turns)]

    def slow() -> None:
        for one in hashes[:200]:
            np.flatnonzero(np.bitwise_count(hashes ^ one) <= LIMIT)

    brute = timed(slow) / 200 * MILLION / 2  # each pair once
    middle = statistics.median(seconds)
    row = Row(
        f"all pairs within distance {LIMIT} among 1,000,000 hashes, s",
        figure(middle),
        "NumPy, one against all (200 timed)",
        figure(brute),
        f"{brute / middle:,.0f}x",
        "under 5 s, complete",
        middle < 5 and complete,
    )
    return row, {"seconds": seconds, "pairs": found.n_pairs, "planted_found": complete}


if __name__ == "__main__":
    main()
