"""What the training loop costs beyond forward, backward and the optimiser's step.

    python benchmarks/loop.py [--steps 40]

resnet18 at 128 px, batches of 32. The real loop is `radstart.training.fine_tune`, with its batches
from a working copy, conventions, gradient clipping and moving average of all tensors; validation
is left out (it is work, not overhead, and comes once an epoch). Two measurements:

* beside: before every step of the real loop, one bare step (forward, backward, AdamW on one batch
  in memory) of a twin network is timed; the ratio is paired step by step;
* inside: in a second run the real loop's own step is cut by hooks into forward + backward, what
  lies between backward and optimiser (clipping), optimiser, and the rest. This is what is judged:
  it does not depend on how two networks share the caches.

Both for plain float32 and for the numerics that `auto` chooses here, with the parts timed alone.
"""

import argparse
import copy
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from radstart.backbones import (
    Backbone,
    Numerics,
    build,
    choose_numerics,
    computing,
    place,
    place_images,
)
from radstart.core.random import stream
from radstart.training import POLICIES, TASKS, Augmentation, Batches, Recipe, fine_tune
from radstart.training.batches import batch_at, training_batches
from radstart.training.checkpoint import Checkpoints, Standing
from radstart.training.loop import _adamw, _average, _clip, _pairs
from radstart.weights import Convention, apply_convention
from side_by_side import Row, bare_step, figure, keep, paired_ratio, plain_beside, timed

SIDE, BATCH = 128, 32
CONVENTION = Convention(SIDE, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "usual")
WARM = 3  # steps that do not count


def data() -> Batches:
    random = stream(0, "benchmark")
    pixels = random.integers(0, 256, (256, SIDE, SIDE), dtype=np.uint8)
    rows = np.arange(192)
    return Batches(pixels, random.integers(0, 2, 256), rows, BATCH, Augmentation(), 0)


def network() -> nn.Module:
    return build(Backbone("resnet18"), 2)


def train(model: Callable[[], nn.Module], steps: int, numerics: Numerics) -> None:
    """Run the real loop for so many steps with one look at validation, at the end."""
    fine_tune(
        model,
        TASKS["classification"],
        POLICIES["full"],
        CONVENTION,
        data(),
        np.arange(192, 256),
        recipe=Recipe(check_steps=steps),
        rate=1e-4,
        step_limit=steps,
        numerics=numerics,
        workers=1,
    )


def beside(numerics: Numerics, steps: int) -> dict[str, float]:
    """Return medians: a step of the real loop, a bare step (ms), the first by the second - 1."""
    bare = bare_step(network(), numerics, SIDE, BATCH)
    began, ended, twin = [], [], []

    def before(module: nn.Module, _: object) -> None:
        began.append(time.perf_counter())
        if module.training:  # the last call is validation's
            with torch.autocast("cpu", enabled=False):  # the real step's context is open here
                twin.append(timed(bare))
            ended.append(time.perf_counter())

    def model() -> nn.Module:
        module = network()
        module.register_forward_pre_hook(before)
        return module

    train(model, steps, numerics)
    real = [b - e for e, b in zip(ended, began[1 : steps + 1], strict=True)][WARM:-1]
    twin = twin[WARM:-1]
    return {
        "real_ms": 1e3 * statistics.median(real),
        "bare_ms": 1e3 * statistics.median(twin),
        "overhead": paired_ratio(real, twin) - 1,
        "least_by_least": min(real) / min(twin) - 1,
    }


def inside(numerics: Numerics, steps: int) -> dict[str, float]:
    """Return medians (ms) of the parts of the real loop's step, and the share of overhead."""
    marks: list[dict[str, float]] = []

    def forward_begins(module: nn.Module, _: object) -> None:
        marks.append({"forward": time.perf_counter()})

    def mark(name: str) -> Callable[..., None]:
        def now(*_: Any) -> None:
            marks[-1][name] = time.perf_counter()

        return now

    def model() -> nn.Module:
        module = network()
        module.register_forward_pre_hook(forward_begins)
        next(module.parameters()).register_post_accumulate_grad_hook(mark("backward done"))
        return module

    hooks = [
        register_optimizer_step_pre_hook(mark("optimiser")),
        register_optimizer_step_post_hook(mark("optimiser done")),
    ]
    try:
        train(model, steps, numerics)
    finally:
        for hook in hooks:
            hook.remove()
    parts = np.array(
        [
            (
                now["backward done"] - now["forward"],
                now["optimiser"] - now["backward done"],
                now["optimiser done"] - now["optimiser"],
                later["forward"] - now["optimiser done"],
            )
            for now, later in zip(marks[WARM : steps - 1], marks[WARM + 1 : steps], strict=True)
        ]
    )
    work, extra = parts[:, [0, 2]].sum(axis=1), parts[:, [1, 3]].sum(axis=1)
    names = ("forward_and_backward_ms", "clipping_ms", "optimiser_ms", "rest_ms")
    found = dict(zip(names, (1e3 * np.median(parts, axis=0)).tolist(), strict=True))
    return {**found, "overhead": float(np.median(extra / work))}


def _copying(
    folder: Path, module: nn.Module, averaged: nn.Module, optimiser: torch.optim.Optimizer
) -> float:
    """Return what a checkpoint costs the training thread (ms); the write goes on beside it."""
    optimiser.step()
    seconds = []
    for k in range(4):
        kept = Checkpoints(folder / f"{k}.safetensors")
        state = {name: tensor.clone() for name, tensor in module.state_dict().items()}
        seconds.append(timed(lambda: kept.keep(Standing(1e-3), module, averaged, state, optimiser)))  # noqa: B023
        kept.close()
    return round(1e3 * statistics.median(seconds[1:]), 1)


def alone(numerics: Numerics) -> dict[str, float]:
    """Return medians (ms) of the overhead's parts, each timed alone with cold caches."""
    module = place(network(), numerics)
    averaged = copy.deepcopy(module)
    for parameter in module.parameters():
        parameter.grad = torch.full_like(parameter, 1e-4)
    batches = data()
    pixels = torch.from_numpy(batches.pixels[:BATCH].copy())
    made = training_batches(batches, 0, 1)
    pairs = _pairs(averaged, module)
    trained = list(module.parameters())
    optimiser = _adamw(module, 1e-4, Recipe())
    works: dict[str, Callable[[], object]] = {
        "moving average": lambda: _average(pairs, 0.95),
        "gradient clipping": lambda: _clip(optimiser, trained, 1.0),
        "of it, the norm": lambda: nn.utils.get_total_norm(
            [p.grad for p in module.parameters() if p.grad is not None]
        ),
        "convention": lambda: place_images(apply_convention(CONVENTION, pixels), numerics),
        "waiting for the batch": lambda: next(made),
        "making it, in another thread": lambda: batch_at(batches, 0),
    }
    other = torch.zeros(1 << 24)  # 64 MB: what a step's activations push out of the caches
    found: dict[str, float] = {}
    for name, work in works.items():
        seconds = []
        for _ in range(12):
            other.add_(1)
            seconds.append(timed(work))
        found[name] = round(1e3 * statistics.median(seconds[2:]), 3)
    with tempfile.TemporaryDirectory() as folder:
        found["a checkpoint's copy, at most once an epoch"] = _copying(
            Path(folder), module, averaged, optimiser
        )
    made.close()  # type: ignore[attr-defined]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=40)
    given = parser.parse_args()
    chosen = choose_numerics("auto", "cpu", network, SIDE, BATCH)
    plain = plain_beside(chosen)
    rows, details = [], {}
    for label, numerics in (("plain fp32", plain), ("chosen numerics", chosen)):
        within = inside(numerics, given.steps)
        with computing(numerics):
            parts = alone(numerics)
        details[label] = {
            "numerics": numerics.record(),
            "inside": within,
            "beside": beside(numerics, given.steps),
            "alone_ms": parts,
        }
        extra = within["clipping_ms"] + within["rest_ms"]
        work = within["forward_and_backward_ms"] + within["optimiser_ms"]
        rows.append(
            Row(
                f"loop overhead, resnet18 at 128 px, {label}, ms/step",
                figure(extra),
                "forward + backward + AdamW",
                figure(work),
                f"{100 * within['overhead']:.1f} %",
                "under 3 %",
                within["overhead"] < 0.03,
            )
        )
    keep("loop", rows, details)


if __name__ == "__main__":
    main()
