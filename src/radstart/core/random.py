"""Named random streams: every draw derives from (study seed, purpose, index).

Nothing in radstart reads a global generator, so the order in which runs are executed, resumed or
spread over processes changes no draw.
"""

import hashlib

import numpy as np


def stream_seed(seed: int, purpose: str, *index: int | str) -> int:
    """Return the 63-bit seed of the stream (seed, purpose, index)."""
    text = "/".join([str(seed), purpose, *map(str, index)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def stream(seed: int, purpose: str, *index: int | str) -> np.random.Generator:
    """Return the NumPy generator of the stream (seed, purpose, index)."""
    return np.random.default_rng(stream_seed(seed, purpose, *index))
