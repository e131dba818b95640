"""Fine-tuning: an arm's network on a task, by the loop."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from radstart.backbones import Numerics, computing, place, place_images
from radstart.features import forward
from radstart.training.batches import Batches, training_batches
from radstart.training.checkpoint import Checkpoints, State
from radstart.training.loop import Batch, Fitted, Objective, fit
from radstart.training.policies import Policy, set_trainable
from radstart.training.recipe import Recipe
from radstart.training.tasks import Task
from radstart.weights import Convention, apply_convention


def fine_tune(
    model: Callable[[], nn.Module],
    task: Task,
    policy: Policy,
    convention: Convention,
    batches: Batches,
    validation_rows: NDArray[np.int64],
    *,
    recipe: Recipe,
    rate: float,
    step_limit: int,
    numerics: Numerics,
    workers: int,
    checkpoints: Checkpoints | None = None,
    on_check: Callable[[int], object] = lambda steps: None,
) -> Fitted:
    """Train the arm's network on the batches' rows; choose the state on the validation rows.

    Args:
        model: makes the network at its start, float (B, 3, S, S) -> (B, K).
        task: gives the loss.
        policy: which tensors are trained.
        convention: of the arm.
        batches: the run's training data.
        validation_rows: int64 (m,), rows of `batches.pixels`.
        recipe: everything that all arms share.
        rate: learning rate.
        step_limit: a run that gets this far is not converged.
        numerics: of the study.
        workers: threads that make batches ahead.
        checkpoints: where the state is kept, and taken up again; None = nowhere.
        on_check: told the steps taken since the last look at validation.

    Raises:
        RunFailed: the loss is not a number.
        RadstartError: a checkpoint cannot be written.
    """
    # on a CPU the same as torch.manual_seed, which also looks for every other device at each call
    seeded = torch.default_generator.manual_seed if numerics.device == "cpu" else torch.manual_seed

    def init() -> nn.Module:
        module = place(model(), numerics)
        set_trainable(module, policy)
        return module

    def loss(module: nn.Module, batch: Batch, seed: int) -> Tensor:
        pixels, targets = batch
        images = place_images(apply_convention(convention, pixels), numerics)
        seeded(seed)
        outputs = module(images)
        with torch.autocast(numerics.device.partition(":")[0], enabled=False):
            return task.loss(outputs.float(), targets.to(numerics.device))

    def state_dict(module: nn.Module) -> State:
        return {k: v.detach().to("cpu", copy=True) for k, v in module.state_dict().items()}

    targets = torch.from_numpy(np.asarray(batches.targets[validation_rows]))

    def validate(module: nn.Module) -> float:
        outputs = forward(module, convention, batches.pixels, validation_rows, numerics)
        return float(task.loss(torch.from_numpy(outputs), targets))

    with computing(numerics), torch.random.fork_rng(devices=[]):
        return fit(
            Objective(init, loss, lambda module, step: None, state_dict),
            lambda first: training_batches(batches, first, workers),
            validate,
            recipe=recipe,
            rate=rate,
            check_steps=max(recipe.check_steps, batches.steps_per_epoch),
            step_limit=step_limit,
            numerics=numerics,
            seed=batches.seed,
            checkpoints=checkpoints,
            on_check=on_check,
        )
