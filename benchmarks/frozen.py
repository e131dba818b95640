"""A frozen study of 5 budgets x 10 seeds beside a training run each through the frozen network.

    python benchmarks/frozen.py [--patients 160]

Ours is the whole study, `radstart.compare` with policy `frozen`: reading the images, the working
copy, features once, a probe for each of 50 runs with nine penalties, case tables, statistics and
the report. The peer trains the classifier alone by radstart's own loop, the frozen network computed
anew at every step, with the same recipe, stopping rule and numerics: one run at the smallest and
one at the largest budget are timed, and each of the 50 is taken to cost their mean. That favours
the peer: its trials of learning rates, its test scores and its report are left out.

Network: resnet18 at 128 px, plain float32 in one thread on both sides.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

import radstart
from radstart.backbones import Backbone, build
from radstart.core.progress import Progress
from radstart.phantom import Phantom, write_phantom
from radstart.study import checked
from radstart.study.prepare import Prepared, prepare
from radstart.study.runs import step_limit
from radstart.study.spec import read_spec
from radstart.training import Batches, Policy, fine_tune
from radstart.weights import start_model
from side_by_side import Row, figure, keep, timed

BUDGETS, SEEDS, SIDE = (0.1, 0.25, 0.5, 0.75, 1.0), 10, 128
HEAD = Policy("head", False, lambda name: name.startswith("fc."), "the classifier alone")


def write_start(path: Path) -> Path:
    """Write a weights file: resnet18 without classifier, with fixed random values."""
    state = build(Backbone("resnet18"), 0, seed=1).state_dict()
    save_file({key: value.contiguous() for key, value in state.items()}, path)
    return path


def train_head(prepared: Prepared, budget: float) -> tuple[float, int]:
    """Train the classifier through the frozen network; return seconds and steps."""
    arm = prepared.arms[0]
    seed = prepared.run_seed(0)
    steps = []
    seconds = timed(
        lambda: steps.append(
            fine_tune(
                lambda: start_model(arm, 2, seed)[0],
                prepared.task,
                HEAD,
                arm.convention,
                Batches(
                    prepared.pixels(arm),
                    prepared.targets,
                    prepared.drawn(budget, 0, "train"),
                    prepared.recipe.batch_size,
                    prepared.augmentation,
                    seed,
                ),
                prepared.drawn(budget, 0, "validation"),
                recipe=prepared.recipe,
                rate=1e-2,
                step_limit=step_limit(prepared),
                numerics=prepared.numerics,
                workers=1,
            ).steps
        )
    )
    return seconds, steps[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=160)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_phantom(Phantom(given.patients, contrast=0.4, side=SIDE), folder / "data")
        start = write_start(folder / "start.safetensors")

        def study(out: Path, seeds: int, budgets: tuple[float, ...]) -> radstart.study.Study:
            return radstart.compare(
                folder / "data", out=out, arms=[f"start=file:{start}"], policies=["frozen"],
                budgets=budgets, seeds=seeds, image_size=SIDE, backbone="resnet18", numerics="fp32",
            )  # fmt: skip

        study(folder / "warm", 1, (1.0,))  # imports
        whole = timed(lambda: study(folder / "study", SEEDS, BUDGETS))
        prepared = prepare(
            checked(read_spec(folder / "study" / "study.toml")), folder / "study",
            device="cpu", workers=1, numerics="fp32", progress=Progress(),
        )  # fmt: skip
        trained = {budget: train_head(prepared, budget) for budget in (BUDGETS[0], BUDGETS[-1])}
        images = {part: int(np.sum(prepared.parts.part == part)) for part in ("train", "test")}
    each = statistics.mean(seconds for seconds, _ in trained.values())
    runs = len(BUDGETS) * SEEDS
    ratio = runs * each / whole
    row = Row(
        f"frozen study, {len(BUDGETS)} budgets x {SEEDS} seeds, whole, s",
        figure(whole),
        f"{runs} trainings through the frozen network (2 measured)",
        figure(runs * each),
        f"{figure(ratio)}x",
        "at least 20x",
        ratio >= 20,
    )
    details = {
        "study_seconds": whole,
        "images": images,
        "training_runs": [
            {"budget": budget, "seconds": seconds, "steps": steps}
            for budget, (seconds, steps) in trained.items()
        ],
    }
    keep("frozen", [row], details)


if __name__ == "__main__":
    main()
