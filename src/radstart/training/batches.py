"""Training batches of augmented uint8 images, a function of (seed, step) alone."""

from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from radstart.core.random import stream
from radstart.training.augment import Augmentation, augment, draw_augmentation


@dataclass(frozen=True, eq=False)
class Batches:
    """What the training batches of one run are made from.

    Attributes:
        pixels: working copy, uint8 (N, S, S) or (N, S, S, 3).
        targets: (N,) or (N, K), indexed like `pixels`.
        rows: int64 (n,), the rows to train on.
        batch_size: images in a step; an epoch's images are spread evenly over its steps.
        augmentation: what is drawn for every image.
        seed: the run's seed; the order and the augmentation derive from it.
    """

    pixels: NDArray[np.uint8]
    targets: NDArray[np.float32] | NDArray[np.int64]
    rows: NDArray[np.int64]
    batch_size: int
    augmentation: Augmentation
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        """How many steps one pass over the rows takes."""
        return max(1, round(len(self.rows) / self.batch_size))


def batch_at(batches: Batches, step: int) -> tuple[Tensor, Tensor]:
    """Return step `step`'s pixels, uint8 (B, S, S[, 3]), and targets (B, ...)."""
    epoch, place = divmod(step, batches.steps_per_epoch)
    order, drawn = _epoch(batches, epoch)
    chosen = np.array_split(np.arange(len(order)), batches.steps_per_epoch)[place]
    out = np.empty((len(chosen), *batches.pixels.shape[1:]), np.uint8)
    for i, k in enumerate(chosen):
        augment(np.asarray(batches.pixels[order[k]]), drawn[k], out[i])
    return torch.from_numpy(out), torch.from_numpy(np.asarray(batches.targets[order[chosen]]))


@lru_cache(maxsize=4)
def _epoch(batches: Batches, epoch: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    order = stream(batches.seed, "order", epoch).permutation(batches.rows)
    rng = stream(batches.seed, "augmentation", epoch)
    return order, draw_augmentation(batches.augmentation, len(order), rng)


def training_batches(
    batches: Batches, first_step: int, workers: int
) -> Generator[tuple[Tensor, Tensor]]:
    """Yield the batches from `first_step` on, for ever, made ahead by `workers` threads."""
    if workers == 0:
        step = first_step
        while True:
            yield batch_at(batches, step)
            step += 1
    with ThreadPoolExecutor(workers, "radstart-batches") as pool:
        ahead: deque[Future[tuple[Tensor, Tensor]]] = deque()
        step = first_step
        try:
            while True:
                while len(ahead) < 2 * workers:
                    ahead.append(pool.submit(batch_at, batches, step))
                    step += 1
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()
