"""What a study will do, how long it will take and what it can show: before anything trains."""

import math
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from radstart.core.progress import duration
from radstart.stats import PlannedDifference, planned_difference
from radstart.study.prepare import Prepared
from radstart.study.runs import RunSpec, is_done, likely_steps, run_id
from radstart.training import POLICIES

MEGABYTES_PER_PARAMETER = 4e-6


GROWN = 1  # values that the grid of learning rates grows by, on average


@dataclass(frozen=True)
class Plan:
    """The work ahead.

    Attributes:
        trials: trainings that choose a learning rate (more where an edge of the grid wins).
        runs: runs with their settings chosen, frozen ones included.
        steps: training steps that these may take, as far as not finished.
        seconds: likely time for what is not finished.
        megabytes: disk for runs and trials.
        detectable: what difference the test part and the seeds can show.
    """

    trials: int
    runs: int
    finished: int
    steps: float
    seconds: float
    megabytes: float
    detectable: PlannedDifference

    def lines(self, prepared: Prepared) -> list[str]:
        """Return the plan as the lines that a person reads."""
        spec, data, numerics = prepared.spec, prepared.dataset, prepared.numerics
        parts = ", ".join(
            f"{part} {int((prepared.parts.part == part).sum())}"
            for part in ("train", "validation", "test")
        )
        known = prepared.units.kind if prepared.units.patients_known else "patients unknown"
        unit_count = len(np.unique(prepared.units.unit[prepared.parts.part != ""]))
        listed = [
            f"data        {data.name}: {len(data.rows)} images, {unit_count} units ({known}); "
            f"{parts}",
            f"arms        {', '.join(arm.name for arm in prepared.arms)}  on "
            f"{', '.join(sorted({arm.backbone.text() for arm in prepared.arms}))}",
            f"grid        policies {', '.join(spec.policies)}; budgets "
            f"{', '.join(f'{b:g}' for b in spec.budgets)}; {spec.seeds} seeds",
            f"work        {self.trials} trials, {self.runs} runs"
            + (f" ({self.finished} of them finished)" if self.finished else ""),
            f"numerics    {numerics.dtype}, {numerics.memory_format}, {numerics.threads} threads, "
            f"{numerics.device}: {numerics.train_rate:.0f} images/s in training",
            f"time        about {duration(self.seconds)}; disk about {self.megabytes:.0f} MB",
        ]
        listed.append(f"can show    {_can_show(self.detectable, spec.metric)}")
        if prepared.leakage.consequence:
            listed.append(f"leakage     {prepared.leakage.consequence}")
        return [
            part for line in listed for part in textwrap.wrap(line, 79, subsequent_indent=" " * 12)
        ]


def make_plan(prepared: Prepared) -> Plan:
    """Return the work ahead; trains nothing."""
    spec, recipe, numerics = prepared.spec, prepared.recipe, prepared.numerics
    trained = [policy for policy in spec.policies if not POLICIES[policy].probe]
    arms, seeds = len(spec.arm), spec.seeds
    per_setting = len(recipe.grid) + GROWN + seeds - 1
    trials = arms * len(trained) * len(spec.budgets) * len(recipe.grid)
    runs = arms * len(spec.policies) * len(spec.budgets) * seeds
    trainings = arms * len(trained) * len(spec.budgets) * per_setting
    finished = sum(1 for _ in _finished(prepared))
    steps = sum(likely_steps(prepared, budget) for budget in spec.budgets)
    steps *= arms * len(trained) * per_setting
    seconds = steps * recipe.batch_size / max(numerics.train_rate, 1e-9)
    seconds *= 1 - min(1.0, finished / runs)
    images = len(prepared.dataset.rows)
    feature_sets = sum(seeds if arm.redraws else 1 for arm in prepared.arms)
    if len(trained) < len(spec.policies):
        seconds += feature_sets * images / max(numerics.evaluation_rate, 1e-9)
    size = float(np.mean(list(prepared.parameters.values())))
    test = prepared.test_rows()
    detectable = planned_difference(
        np.maximum(prepared.targets[test], 0) if prepared.targets.ndim == 1 else None,
        prepared.units.unit[test],
        n_classes=len(prepared.dataset.classes),
        seeds=seeds,
        metric=spec.metric,
    )
    return Plan(
        trials,
        runs,
        finished,
        steps,
        seconds,
        (trainings + runs) * size * MEGABYTES_PER_PARAMETER + 0.02 * images,
        detectable,
    )


def probe_runs(prepared: Prepared) -> Iterator[RunSpec]:
    """Yield the frozen runs of the study, arm by arm, so that features are read once."""
    for arm in prepared.spec.arm:
        for seed in range(prepared.spec.seeds):
            for policy in prepared.spec.policies:
                if POLICIES[policy].probe:
                    for budget in prepared.spec.budgets:
                        yield RunSpec(arm.name, policy, budget, seed, None)


def trained_groups(prepared: Prepared) -> Iterator[tuple[str, float]]:
    """Yield the (policy, budget) pairs whose learning rate is to be chosen for every arm."""
    for budget in prepared.spec.budgets:
        for policy in prepared.spec.policies:
            if not POLICIES[policy].probe:
                yield policy, budget


def _finished(prepared: Prepared) -> Iterator[RunSpec]:
    """Yield what is finished among frozen runs and the first grid's trials (a lower bound)."""
    for run in probe_runs(prepared):
        if is_done(prepared.folder / "runs" / run_id(prepared, run)):
            yield run
    for policy, budget in trained_groups(prepared):
        for arm in prepared.spec.arm:
            for seed in range(prepared.spec.seeds):
                for rate in prepared.recipe.grid:
                    run = RunSpec(arm.name, policy, budget, seed, rate)
                    if is_done(prepared.folder / "runs" / run_id(prepared, run)):
                        yield run


def _can_show(planned: PlannedDifference, metric: str) -> str:
    if math.isnan(planned.difference):
        return f"no difference of {metric}: {planned.assumptions}"
    return (
        f"differences of {metric} from about {planned.difference:.2g} "
        f"({planned.difference_unsteady:.2g} where seeds differ more) with 80 % power, before "
        "Holm's adjustment"
    )
