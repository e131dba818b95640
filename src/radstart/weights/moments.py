"""Random values with each tensor's mean and variance of trained weights (Raghu et al. 2019).

The control of "Transfusion: Understanding Transfer Learning for Medical Imaging"
(arXiv 1902.07208, section 4.1): scale alone, without what was learned.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from radstart.core.random import stream

FIXED = ("rope.periods",)
"""Endings of names whose values belong to the architecture: no training moves them."""


def moments_like(tensors: dict[str, Tensor], seed: int) -> dict[str, Tensor]:
    """Return tensors of the same names, shapes and dtypes with redrawn values.

    Every floating tensor keeps its own mean and (population) variance exactly, up to rounding;
    none of its values in its place. Running variances stay positive (log-normal), all others are
    normal. A tensor whose values are all equal has nothing to redraw and stays; counters
    (`num_batches_tracked`) and what is FIXED stay.
    """
    return {name: _redraw(name, tensor, seed) for name, tensor in tensors.items()}


def _redraw(name: str, tensor: Tensor, seed: int) -> Tensor:
    if not tensor.is_floating_point() or tensor.numel() < 2 or name.endswith(FIXED):
        return tensor.clone()
    values = tensor.detach().to(torch.float64).numpy()
    mean, spread = float(values.mean()), float(values.std())
    if spread == 0:
        return tensor.clone()
    drawn = stream(seed, "moments", name).standard_normal(values.size)
    if name.endswith("running_var"):
        redrawn = _positive(drawn, spread / mean) * mean
    else:
        redrawn = (drawn - drawn.mean()) / drawn.std() * spread + mean
    found = torch.from_numpy(redrawn.reshape(values.shape)).to(tensor.dtype)
    same = found == tensor  # by rounding: one in ten million
    return torch.where(same, torch.nextafter(found, torch.full_like(found, torch.inf)), found)


def _positive(drawn: NDArray[np.float64], variation: float) -> NDArray[np.float64]:
    """Return exp(k drawn), scaled to mean 1, with k such that its standard deviation is given."""
    low, high = 0.0, 1.0

    def scaled(k: float) -> NDArray[np.float64]:
        values = np.exp(k * (drawn - drawn.max()))
        return np.asarray(values / values.mean())

    while scaled(high).std() < variation and high < 512:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if scaled(middle).std() < variation else (low, middle)
    return scaled(high)
