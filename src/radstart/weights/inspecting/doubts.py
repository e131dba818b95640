"""Tensors that look as if something went wrong: not finite, constant, never trained."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

Tensors = Mapping[str, Tensor]
HUGE_VARIANCE = 1e4  # of what a batch norm saw; images scaled to units give 0.01 to 100
ABSURD_VARIANCE = 1e12  # images of 16 bits, not scaled, give 1e10
DEAD_VARIANCE = 1e-12  # such channels carried nothing
FEWEST_UNIFORM, FEWEST_NORMAL, MOST = 64, 4096, 16_384  # numbers that are judged
LEAST_SIZE = 0.001  # share of tensors at their start that the test misses


@dataclass(frozen=True)
class Doubt:
    """What a reader should know of some tensors.

    Attributes:
        what: in a few words, as "never trained: ..."
        names: of the tensors, in the file's order.
        serious: whether a network with them computes nonsense, or was not wholly trained.
    """

    what: str
    names: tuple[str, ...]
    serious: bool


def doubts(tensors: Tensors) -> tuple[Doubt, ...]:
    """Return what is odd about the values of a network's tensors, most serious first."""
    found: dict[tuple[str, bool], list[str]] = {}
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() or not tensor.numel():
            continue
        for what, serious in _of_tensor(name, tensor, tensors):
            found.setdefault((what, serious), []).append(name)
    for name in _fresh_norms(tensors):
        found.setdefault(("never trained: a norm with weight 1 and bias 0", True), []).append(name)
    listed = [Doubt(what, tuple(names), serious) for (what, serious), names in found.items()]
    return tuple(sorted(listed, key=lambda doubt: not doubt.serious))


def _of_tensor(name: str, tensor: Tensor, tensors: Tensors) -> Iterator[tuple[str, bool]]:
    values = tensor.detach().to(torch.float32)
    low, high = map(float, values.aminmax())
    if not (math.isfinite(low) and math.isfinite(high)):
        yield "holds values that are not finite", True
        return
    if name.endswith(("running_var", "moving_variance", "moving_variance:0")):
        if low < 0:
            yield "a variance below 0", True
        elif high < DEAD_VARIANCE:
            yield f"variances all below {DEAD_VARIANCE:g}: the network saw nothing", True
        elif low < DEAD_VARIANCE:
            yield f"a variance below {DEAD_VARIANCE:g}: channels that carried nothing", False
        if high > ABSURD_VARIANCE:
            yield f"a variance above {ABSURD_VARIANCE:g}", True
        elif high > HUGE_VARIANCE:
            yield f"a variance above {HUGE_VARIANCE:g}: was the input scaled?", False
        return
    if tensor.dim() > 1 and tensor.numel() > 1:
        if low == high:
            yield f"all values are {low:g}", True
            return
        dead = int((values.reshape(len(values), -1).abs().amax(1) == 0).sum())
        if dead:
            yield "kernels or rows that are all zero", False
    start = untrained(name, values, tensors)
    if start:
        yield f"never trained: {start}", True


def _fresh_norms(tensors: Tensors) -> Iterator[str]:
    """Yield the weights of norms that are as they were made: 1, 0, and 0, 1 of what was seen."""
    ends = {"weight": "bias", "gamma": "beta", "gamma:0": "beta:0"}
    for name, weight in tensors.items():
        module, _, end = name.rpartition(".") if "." in name else name.rpartition("/")
        mark = name[len(module) : len(name) - len(end)]
        bias = tensors.get(f"{module}{mark}{ends.get(end, '')}")
        if end not in ends or bias is None or weight.dim() != 1 or bias.shape != weight.shape:
            continue
        seen = [(f"{module}{mark}running_mean", 0.0), (f"{module}{mark}running_var", 1.0)]
        fixed = [(weight, 1.0), (bias, 0.0), *((tensors[k], v) for k, v in seen if k in tensors)]
        if weight.numel() > 1 and all(bool((tensor == value).all()) for tensor, value in fixed):
            yield name


def untrained(name: str, values: Tensor, tensors: Tensors) -> str:
    """Return which initial distribution the values cannot be told from, in words; "" = none.

    By the Kolmogorov-Smirnov distance at the 0.1 % point, the fourth moment, and for a uniform
    start its exact bound, which the largest of n values misses by some 1/n and training moves. A
    normal start has no such mark, so thousands of numbers are asked for, tens for a uniform one.

    Args:
        name: of the tensor; a bias starts by the shape of the weight beside it.
        values: float.
        tensors: all, for the weight beside a bias.
    """
    weight = values
    if values.dim() == 1:
        module, _, end = name.rpartition(".")
        beside = tensors.get(f"{module}.weight" if module else "weight")
        if end != "bias" or beside is None or beside.dim() < 2:
            return ""
        weight = beside
    count = values.numel()
    if count < FEWEST_UNIFORM or weight.numel() < 2:
        return ""
    inputs = weight[0].numel()
    outputs = weight.numel() // weight.shape[1]
    flat = values.reshape(-1)
    largest = float(flat.abs().max())
    sample = flat[:: max(1, count // MOST)][:MOST].to(torch.float64).sort().values
    n = len(sample)
    fourth = float((sample**4).mean() / (sample**2).mean().clamp(min=1e-300) ** 2)
    for words, bound, spread in _starts(inputs, outputs, values.dim() > 1):
        if bound:
            marked = bound * (1 - 7 / count) <= largest <= bound * (1 + 1e-5)
            expected = ((sample / bound + 1) / 2).clamp(0, 1)
            if marked and fourth < 1.8 + 4 / math.sqrt(n) and _close(expected):
                return words
            continue
        tails = n >= FEWEST_NORMAL and abs(fourth - 3) < 20 / math.sqrt(n)
        if tails and _close(torch.special.ndtr(sample / spread)):
            return words
    return ""


def _starts(inputs: int, outputs: int, matrix: bool) -> Iterator[tuple[str, float, float]]:
    """Yield (words, bound of a uniform distribution or 0, spread of a normal one)."""
    yield "PyTorch's uniform start", 1 / math.sqrt(inputs), 0.0
    if matrix:
        yield "Glorot's uniform start", math.sqrt(6 / (inputs + outputs)), 0.0
        yield "He's normal start (fan out)", 0.0, math.sqrt(2 / outputs)
        yield "He's normal start (fan in)", 0.0, math.sqrt(2 / inputs)
        yield "a normal start of spread 0.02", 0.0, 0.02
        yield "a normal start of spread 0.01", 0.0, 0.01


def _close(share: Tensor) -> bool:
    """Return whether a sample is as near a distribution as 999 of 1000 of its samples are.

    `share` is the distribution's share below each value of the sample, which is in order.
    """
    n = len(share)
    steps = torch.arange(n + 1, dtype=torch.float64) / n
    distance = float(torch.maximum(steps[1:] - share, share - steps[:-1]).max())
    return distance < math.sqrt(-math.log(LEAST_SIZE / 2) / 2 / n)
