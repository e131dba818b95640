"""The one training loop, read from top to bottom."""

import copy
import math
import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from radstart.backbones import Numerics, mixed
from radstart.core.random import stream_seed
from radstart.training.checkpoint import Checkpoints, Standing, State
from radstart.training.recipe import Recipe

Batch = tuple[Tensor, Tensor]
AVERAGE_EVERY = 2  # steps between two moves of the average: half the memory traffic


class RunFailed(Exception):  # noqa: N818 - a fact about a run, not about the program
    """A run that cannot go on; the study lists the reason and the other runs go on.

    Args:
        reason: for a person.
        batch: the training batch on which it failed, if it was one.
    """

    def __init__(self, reason: str, batch: Batch | None = None) -> None:
        """Keep the reason and the batch."""
        super().__init__(reason)
        self.batch = batch


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
        continued: the step of the checkpoint that it went on from; 0 = it was begun here.
    """

    state: State
    validation_loss: float
    history: list[dict[str, float]]
    converged: bool
    steps: int
    continued: int


def fit(
    objective: Objective,
    batches: Callable[[int], Generator[Batch]],
    validate: Callable[[nn.Module], float],
    *,
    recipe: Recipe,
    rate: float,
    check_steps: int,
    step_limit: int,
    numerics: Numerics,
    seed: int,
    checkpoints: Checkpoints | None = None,
    on_check: Callable[[int], object] = lambda steps: None,
) -> Fitted:
    """Train until validation stops improving, decay the rate, stop when it does so again.

    Args:
        objective: what is trained.
        batches: first step -> endless training batches from there on.
        validate: the module -> mean validation loss; leaves it in evaluation mode.
        recipe: everything that all arms share.
        rate: the learning rate of this run.
        check_steps: steps between two looks at validation.
        step_limit: a run that gets this far is not converged.
        numerics: how the steps are computed.
        seed: of the layers' own randomness (dropout).
        checkpoints: where the state is kept, and taken up again; None = nowhere.
        on_check: told the steps taken since the last look.

    Raises:
        RunFailed: the loss is not a number.
        RadstartError: a checkpoint cannot be written.
    """
    module, averaged, optimiser, at, best_state = _begin(objective, rate, recipe, checkpoints)
    pairs = _pairs(averaged, module)
    trained = [p for p in module.parameters() if p.requires_grad]
    module.train()  # validation works on the average and leaves it alone
    continued, earlier, began = at.step, at.seconds, time.monotonic()
    if continued:
        on_check(continued)
    with closing(batches(continued)) as stream:
        while at.step < step_limit and not at.converged:
            for group in optimiser.param_groups:
                group["lr"] = at.rate * min(1.0, (at.step + 1) / recipe.warmup_steps)
            batch = next(stream)
            with mixed(numerics):
                loss = objective.loss(module, batch, stream_seed(seed, "layers", at.step))
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            _clip(optimiser, trained, recipe.clip)
            optimiser.step()
            objective.after_step(module, at.step)
            at.losses += float(loss.detach())
            at.step += 1
            if not math.isfinite(at.losses):
                raise RunFailed(
                    f"the loss is not a number at step {at.step}, learning rate {at.rate:g}", batch
                )

            looked = at.step % check_steps == 0 or at.step == step_limit
            if looked or at.step % AVERAGE_EVERY == 0:
                kept = min(recipe.average, at.step / (9 + at.step))
                _average(pairs, kept**AVERAGE_EVERY)
            if looked:
                validation_loss = validate(averaged)
                taken = (at.step - 1) % check_steps + 1
                at.history.append(
                    {
                        "step": at.step,
                        "train_loss": at.losses / taken,
                        "validation_loss": validation_loss,
                        "rate": at.rate,
                    }
                )
                at.losses = 0.0
                on_check(taken)
                if validation_loss < at.best_loss:
                    best_state, at.best_loss, at.waited = (
                        objective.state_dict(averaged), validation_loss, 0
                    )  # fmt: skip
                else:
                    at.waited += 1
                    if not at.decayed and at.waited >= recipe.plateau_checks:
                        module.load_state_dict(best_state)
                        averaged.load_state_dict(best_state)
                        at.rate, at.decayed, at.waited = at.rate * recipe.decay, True, 0
                    elif at.decayed and at.waited >= recipe.final_checks:
                        at.converged = True
            at.seconds = earlier + time.monotonic() - began
            if checkpoints and checkpoints.due(looked):
                checkpoints.keep(at, module, averaged, best_state, optimiser)
    if not math.isfinite(at.best_loss):
        raise RunFailed(f"the validation loss was never a number, learning rate {rate:g}")
    return Fitted(best_state, at.best_loss, at.history, at.converged, at.step, continued)


def _begin(
    objective: Objective, rate: float, recipe: Recipe, checkpoints: Checkpoints | None
) -> tuple[nn.Module, nn.Module, torch.optim.Optimizer, Standing, State]:
    """Return what the loop works on: as the checkpoint says, else at the start."""
    for there in (checkpoints, None):
        module = objective.init()
        optimiser = _adamw(module, rate, recipe)
        averaged = copy.deepcopy(module)
        if there and there.path.exists():
            found = there.restore(module, averaged, optimiser)
            if found:
                return module, averaged, optimiser, *found
        else:
            break
    return module, averaged, optimiser, Standing(rate), objective.state_dict(averaged)


Pairs = tuple[list[Tensor], list[Tensor], list[tuple[Tensor, Tensor]]]


def _pairs(averaged: nn.Module, module: nn.Module) -> Pairs:
    """Return the floating tensors of both, in the same order, and the pairs of all others."""
    pairs = list(zip(averaged.state_dict().values(), module.state_dict().values(), strict=True))
    floating = [(a, b) for a, b in pairs if a.is_floating_point()]
    others = [(a, b) for a, b in pairs if not a.is_floating_point()]
    return [a for a, _ in floating], [b for _, b in floating], others


def _average(pairs: Pairs, kept: float) -> None:
    """Move the average of every floating tensor towards the module's; counters are copied."""
    averages, now, others = pairs
    with torch.no_grad():
        torch._foreach_lerp_(averages, now, 1 - kept)
        for a, b in others:
            a.copy_(b)


def _clip(optimiser: torch.optim.Optimizer, trained: list[nn.Parameter], largest: float) -> None:
    """Tell the optimiser what to divide the gradient by, so that its norm is at most `largest`.

    The fused optimiser divides while it reads the gradient anyway.
    """
    if trained[0].device.type == "mps":  # whose fused AdamW does not divide
        nn.utils.clip_grad_norm_(trained, largest)
        return
    norm = nn.utils.get_total_norm([p.grad for p in trained if p.grad is not None])
    setattr(optimiser, "grad_scale", None if norm <= largest else norm / largest)  # noqa: B010


def _adamw(module: nn.Module, rate: float, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW that decays matrices and kernels, not biases and norms."""
    trained = [p for p in module.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in trained if p.dim() > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in trained if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=rate, fused=True)
