"""What batch norms really see, held against what they remember.

A batch norm keeps mean and variance of every channel as they were during training. Fed as in
training, a network shows it much the same; under another input scale, activation or padding it
does not.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from radstart.weights.convention import Convention, apply_convention

Floats = NDArray[np.float64]
BATCH = 16
DEAD = 1e-4  # of the layer's median variance: a channel below carries nothing
FLOOR = 1e-3  # of the stored variance: what is seen counts as at least this much
LATE = 0.75  # the later layers begin here


@dataclass(frozen=True, eq=False)
class Seen:
    """One batch norm and what came to it, channels that carry something alone.

    Attributes:
        name: of the module.
        mean, var: over the pixels of each view, float64 (N, C).
        stored_mean, stored_var: what it remembers, float64 (C,).
    """

    name: str
    mean: Floats
    var: Floats
    stored_mean: Floats
    stored_var: Floats


def norms_of(model: nn.Module) -> list[tuple[str, nn.BatchNorm2d]]:
    """Return the batch norms that remember something: none where all is as it was initialised."""
    found = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.BatchNorm2d) and module.running_var is not None
    ]
    return [] if all(_is_fresh(norm) for _, norm in found) else found


def _is_fresh(norm: nn.BatchNorm2d) -> bool:
    mean, var = norm.running_mean, norm.running_var
    assert mean is not None
    assert var is not None
    return not mean.any() and bool((var == 1).all())


def see(
    model: nn.Module, convention: Convention, views: NDArray[np.uint8], device: str = "cpu"
) -> tuple[Seen, ...]:
    """Return what every batch norm sees, in the order of the network.

    Args:
        model: in evaluation mode, on the device.
        convention: how views become its input.
        views: uint8 (N, S, S) or (N, S, S, 3).
        device: where the model is.
    """
    norms = norms_of(model)
    kept: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name, _ in norms}

    def keep(name: str, inputs: tuple[Tensor, ...]) -> None:
        var, mean = torch.var_mean(inputs[0].float(), dim=(2, 3), correction=0)
        kept[name].append((mean.cpu(), var.cpu()))

    hooks = [
        norm.register_forward_pre_hook(lambda _, inputs, name=name: keep(name, inputs))
        for name, norm in norms
    ]
    batches = range(0, len(views), BATCH)
    try:
        with torch.inference_mode():
            for start in batches:
                some = torch.from_numpy(np.ascontiguousarray(views[start : start + BATCH]))
                model(apply_convention(convention, some.to(device)))
    finally:
        for hook in hooks:
            hook.remove()
    once = [pair for pair in norms if len(kept[pair[0]]) == len(batches)]  # others are shared
    return tuple(_seen(name, norm, kept[name]) for name, norm in once)


def _seen(name: str, norm: nn.BatchNorm2d, kept: list[tuple[Tensor, Tensor]]) -> Seen:
    mean, var = (torch.cat(parts).double().numpy() for parts in zip(*kept, strict=True))
    stored_mean, stored_var = (
        getattr(norm, key).detach().cpu().double().numpy()
        for key in ("running_mean", "running_var")
    )
    alive = stored_var > DEAD * max(float(np.median(stored_var)), 1e-30)
    return Seen(name, mean[:, alive], var[:, alive], stored_mean[alive], stored_var[alive])


@dataclass(frozen=True, eq=False)
class Distances:
    """How far each layer is from what it remembers, for several weightings of the views.

    Attributes:
        gap: median over channels of the distance between two normal distributions, the one seen
            and the one remembered: root of (difference of means / remembered standard
            deviation)^2 + (log ratio of standard deviations)^2; float64 (B, L).
        response: median over channels of that log ratio, with its sign; float64 (B, L).
    """

    gap: Floats
    response: Floats


def distances(seen: Sequence[Seen], weights: Floats) -> Distances:
    """Return the distance of every layer under every weighting.

    Args:
        seen: L layers of N views.
        weights: float64 (B, N), each row adds up to 1.
    """
    gaps, responses = [], []
    for layer in seen:
        mean = weights @ layer.mean
        var = weights @ (layer.var + layer.mean**2) - mean**2
        shift = (mean - layer.stored_mean) / np.sqrt(layer.stored_var)
        share = np.maximum(var / layer.stored_var, 0.0) + FLOOR
        ratio = 0.5 * np.log(share / (1 + FLOOR))
        gap = np.hypot(shift, ratio)
        gap = np.where(np.isfinite(gap), gap, np.inf)
        gaps.append(np.median(gap, axis=1))
        responses.append(np.median(np.where(np.isfinite(ratio), ratio, 0.0), axis=1))
    return Distances(np.stack(gaps, axis=1), np.stack(responses, axis=1))


def late(layers: int) -> slice:
    """Return the later layers."""
    return slice(min(int(LATE * layers), layers - 1), layers)


def remade(model: nn.Module) -> str:
    """Return in words that the running statistics were made after the training; "" = no sign.

    Two signs: in every batch norm the weight is the root of variance + eps to four digits, as one
    gets who takes a folded network apart again; or no counter of batches is above 1.
    """
    norms = norms_of(model)
    if not norms:
        return ""
    modules = [norm for _, norm in norms if norm.affine]
    undone = [norm for norm in modules if _is_undone(norm)]
    counters = [norm.num_batches_tracked for _, norm in norms]
    once = [int(c) == 1 for c in counters if c is not None]
    signs = []
    if len(modules) > 2 and len(undone) == len(modules):
        signs.append(f"in all {len(modules)} batch norms the weight is the root of variance + eps")
    if once and all(once):
        signs.append(f"all {len(once)} counters of batches stand at 1")
    return " and ".join(signs)


def _is_undone(norm: nn.BatchNorm2d) -> bool:
    assert norm.running_var is not None
    var, weight = norm.running_var.double(), norm.weight.detach().double()
    return any(
        bool(((weight - (var + eps).sqrt()).abs() <= 1e-4 * (var + eps).sqrt()).all())
        for eps in {norm.eps, 1e-5, 1e-3}
    )
