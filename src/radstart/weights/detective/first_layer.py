"""What the first layer remembers of the images that a network was trained on.

Where a batch norm follows the first convolution, each of its means is that of a sum of input
pixels, weighted by a kernel. Kernel sums and means are both in the file, so the mean of the input
can be solved for, channel by channel; kernels that only add up (hardly any negative weight) tell
its spread too. No image is needed. A convention turns both into pixels: some then have a mean below
black or a spread that no image has.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from radstart.weights.convention import Convention
from radstart.weights.detective.observed import DEAD, Floats, norms_of

ADDS_UP = 0.6  # |sum| / sum of |weights| of a kernel that says something about the spread
WIDEST = 1.1  # times the largest spread of pixels with that mean: sqrt(m (1 - m))
NARROWEST = 0.03  # no set of images is flatter (0..1)
OUTSIDE = 0.03  # a mean may lie so far below 0 or above 1: borders, rounding
PHOTOGRAPHS = (0.485, 0.456, 0.406)  # mean of ImageNet's pixels
PHOTOGRAPHS_SPREAD = 0.265
NEAR, NEAR_SPREAD = 0.03, 0.30  # largest difference of a mean; of the logarithm of the spread
EQUAL = 0.01  # means of grey images differ by less


@dataclass(frozen=True)
class Remembered:
    """Mean and spread of a network's input during training, in the input's own units.

    Attributes:
        mean: per channel of the input.
        error: its standard error.
        spread: standard deviation over all pixels, about; NaN = no kernel tells.
    """

    mean: tuple[float, ...]
    error: tuple[float, ...]
    spread: float


@dataclass(frozen=True)
class Implied:
    """What the training images were, if a convention is the right one.

    Attributes:
        mean: of red, green and blue, or of grey, on the scale 0..1.
        spread: on the same scale; NaN = not known.
        impossible: why no images are like that; "" = some are.
        like: "photographs" (ImageNet's mean and spread), "grey" (equal means), or "".
    """

    mean: tuple[float, ...]
    spread: float
    impossible: str
    like: str


def remembered(model: nn.Module, size: int, channels: int) -> Remembered | None:
    """Return what the first layer remembers; None = no convolution with a batch norm behind it.

    Args:
        model: in evaluation mode, on the CPU.
        size: side of its input in pixels.
        channels: of its input.
    """
    pair = _first_pair(model, size, channels)
    if pair is None:
        return None
    convolution, norm = pair
    assert norm.running_mean is not None
    assert norm.running_var is not None
    weight = convolution.weight.detach().double()
    sums = weight.sum((2, 3)).numpy()
    whole = weight.abs().sum((1, 2, 3)).numpy()
    mean = norm.running_mean.double().numpy()
    if convolution.bias is not None:
        mean = mean - convolution.bias.detach().double().numpy()
    var = norm.running_var.double().numpy()
    alive = var > DEAD * max(float(np.median(var)), 1e-30)
    if alive.sum() <= channels:
        return None
    sums, whole, mean, sd = sums[alive], whole[alive], mean[alive], np.sqrt(var[alive])
    left, right = sums / sd[:, None], mean / sd
    if np.linalg.matrix_rank(left, tol=1e-4 * float(np.abs(left).max())) < channels:
        return None
    solved = np.linalg.lstsq(left, right, rcond=None)[0]
    rest = right - left @ solved
    noise = float(rest @ rest) / max(1, len(rest) - channels)
    error = np.sqrt(noise * np.diag(np.linalg.inv(left.T @ left)))
    total = np.abs(sums.sum(axis=1))
    adding = total >= ADDS_UP * whole
    spread = float(np.median(sd[adding] / total[adding])) if adding.any() else math.nan
    return Remembered(tuple(solved.tolist()), tuple(error.tolist()), spread)


def _first_pair(
    model: nn.Module, size: int, channels: int
) -> tuple[nn.Conv2d, nn.BatchNorm2d] | None:
    """Return the first convolution and its batch norm, if the latter takes what it gives."""
    if not norms_of(model):
        return None
    calls: list[tuple[nn.Module, Tensor]] = []

    def called(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if len(calls) < 2:
            calls.append((module, output if isinstance(module, nn.Conv2d) else inputs[0]))

    watched = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.BatchNorm2d)]
    hooks = [module.register_forward_hook(called) for module in watched]
    try:
        with torch.inference_mode():
            model(torch.zeros(1, channels, size, size))
    finally:
        for hook in hooks:
            hook.remove()
    if len(calls) < 2:
        return None
    (convolution, gave), (norm, took) = calls
    plain = isinstance(convolution, nn.Conv2d) and convolution.groups == 1
    if not plain or not isinstance(norm, nn.BatchNorm2d) or gave is not took:
        return None
    assert isinstance(convolution, nn.Conv2d)
    return (convolution, norm) if convolution.in_channels == channels else None


def implied(known: Remembered, convention: Convention) -> Implied:
    """Return what images the weights were trained on, if they were fed in this way."""
    std = np.asarray(convention.std)
    means = np.asarray(known.mean) * std + np.asarray(convention.mean)
    errors = np.asarray(known.error) * std
    if convention.order == "BGR":
        means, errors = means[::-1], errors[::-1]
    spread = known.spread * float(std.mean())
    return Implied(
        tuple(means.tolist()), spread, _impossible(means, errors, spread), _like(means, spread)
    )


def _impossible(means: Floats, errors: Floats, spread: float) -> str:
    room = OUTSIDE + 3 * errors
    if (means < -room).any():
        return f"the training images would have been darker than black ({means.min():.2f})"
    if (means > 1 + room).any():
        return f"the training images would have been brighter than white ({means.max():.2f})"
    if math.isnan(spread):
        return ""
    middle = float(np.clip(means, 0.02, 0.98).mean())
    if spread > WIDEST * math.sqrt(middle * (1 - middle)):
        return f"the training pixels would spread by {spread:.2f} on a scale from 0 to 1"
    if spread < NARROWEST:
        return f"the training pixels would spread by {spread:.4f} only, on a scale from 0 to 1"
    return ""


def _like(means: Floats, spread: float) -> str:
    if len(means) != 3 or math.isnan(spread) or not 0.08 < spread < 0.45:
        return ""
    off = float(np.abs(means - np.asarray(PHOTOGRAPHS)).max())
    if off <= NEAR and abs(math.log(spread / PHOTOGRAPHS_SPREAD)) <= NEAR_SPREAD:
        return "photographs"
    return "grey" if float(np.ptp(means)) <= EQUAL and means.min() > 0.03 else ""
