"""The one training loop, read from top to bottom."""

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from radstart.backbones import Numerics, mixed
from radstart.core.random import stream_seed
from radstart.training.recipe import Recipe

State = dict[str, Tensor]
Batch = tuple[Tensor, Tensor]


class RunFailed(Exception):  # noqa: N818 - a fact about a run, not about the program
    """A run that cannot go on; the study lists the reason and the other runs go on."""


@dataclass(frozen=True)
class Objective:
    """What the loop trains: a fine-tuning task, or a pretraining method.

    Attributes:
        init: makes what is trained, on its device.
        loss: (module, batch, seed of this step) -> scalar loss.
        after_step: (module, step), for moving averages and queues.
        state_dict: the tensors to keep, detached.
    """

    init: Callable[[], nn.Module]
    loss: Callable[[nn.Module, Batch, int], Tensor]
    after_step: Callable[[nn.Module, int], None]
    state_dict: Callable[[nn.Module], State]


@dataclass(frozen=True)
class Fitted:
    """The outcome of a training.

    Attributes:
        state: tensors of the state with the best validation loss.
        validation_loss: that loss.
        history: one record per look at validation: step, train_loss, validation_loss, rate.
        converged: False = the step limit came before validation stopped improving.
        steps: steps taken.
    """

    state: State
    validation_loss: float
    history: list[dict[str, float]]
    converged: bool
    steps: int


def fit(
    objective: Objective,
    batches: Iterator[Batch],
    validate: Callable[[nn.Module], float],
    *,
    recipe: Recipe,
    rate: float,
    check_steps: int,
    step_limit: int,
    numerics: Numerics,
    seed: int,
    on_check: Callable[[int], object] = lambda steps: None,
) -> Fitted:
    """Train until validation stops improving, decay the rate, stop when it does so again.

    Args:
        objective: what is trained.
        batches: endless training batches.
        validate: the module -> mean validation loss; leaves it in evaluation mode.
        recipe: everything that all arms share.
        rate: the learning rate of this run.
        check_steps: steps between two looks at validation.
        step_limit: a run that gets this far is not converged.
        numerics: how the steps are computed.
        seed: of the layers' own randomness (dropout).
        on_check: told the steps taken since the last look.

    Raises:
        RunFailed: the loss is not a number.
    """
    module = objective.init()
    optimiser = _adamw(module, rate, recipe)
    averaged = copy.deepcopy(module)
    best_state, best_loss = objective.state_dict(averaged), math.inf
    history: list[dict[str, float]] = []
    now, decayed, waited, losses = rate, False, 0, 0.0
    converged = False
    step = 0
    while step < step_limit and not converged:
        module.train()
        for group in optimiser.param_groups:
            group["lr"] = now * min(1.0, (step + 1) / recipe.warmup_steps)
        batch = next(batches)
        with mixed(numerics):
            loss = objective.loss(module, batch, stream_seed(seed, "layers", step))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(module.parameters(), recipe.clip)
        optimiser.step()
        objective.after_step(module, step)
        _average(averaged, module, min(recipe.average, (1 + step) / (10 + step)))
        losses += float(loss.detach())
        step += 1
        if not math.isfinite(losses):
            raise RunFailed(f"the loss is not a number at step {step}, learning rate {now:g}")
        if step % check_steps and step < step_limit:
            continue

        validation_loss = validate(averaged)
        taken = (step - 1) % check_steps + 1
        history.append(
            {
                "step": step,
                "train_loss": losses / taken,
                "validation_loss": validation_loss,
                "rate": now,
            }
        )
        losses = 0.0
        on_check(taken)
        if validation_loss < best_loss:
            best_state, best_loss, waited = objective.state_dict(averaged), validation_loss, 0
            continue
        waited += 1
        if not decayed and waited >= recipe.plateau_checks:
            module.load_state_dict(best_state)
            averaged.load_state_dict(best_state)
            now, decayed, waited = now * recipe.decay, True, 0
        elif decayed and waited >= recipe.final_checks:
            converged = True
    if not math.isfinite(best_loss):
        raise RunFailed(f"the validation loss was never a number, learning rate {rate:g}")
    return Fitted(best_state, best_loss, history, converged, step)


def _average(averaged: nn.Module, module: nn.Module, kept: float) -> None:
    """Move the average of every floating tensor towards the module's; counters are copied."""
    pairs = list(zip(averaged.state_dict().values(), module.state_dict().values(), strict=True))
    floating = [(a, b) for a, b in pairs if a.is_floating_point()]
    with torch.no_grad():
        torch._foreach_lerp_([a for a, _ in floating], [b for _, b in floating], 1 - kept)
        for a, b in pairs:
            if not a.is_floating_point():
                a.copy_(b)


def _adamw(module: nn.Module, rate: float, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW that decays matrices and kernels, not biases and norms."""
    trained = [p for p in module.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in trained if p.dim() > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in trained if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=rate, foreach=True)
