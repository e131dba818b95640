"""What a study will do, how long it will take and what it can show: before anything trains."""

import math
import os
import textwrap
from dataclasses import dataclass

import numpy as np

from radstart.core.progress import duration
from radstart.stats import PlannedDifference, planned_difference
from radstart.study.fed import FED
from radstart.study.jobs import expected_trainings, probe_runs, read_board
from radstart.study.prepare import Prepared
from radstart.study.runs import is_done, run_folder
from radstart.training import POLICIES

MEGABYTES_PER_PARAMETER = 4e-6


@dataclass(frozen=True)
class Plan:
    """The work ahead.

    Attributes:
        trials: trainings that choose a learning rate (more where an edge of the grid wins).
        runs: runs with their settings chosen, frozen ones included.
        finished: of the runs.
        work: all of it in training steps.
        seconds: likely time for what is not finished, by all processes together.
        megabytes: disk for runs and trials.
        detectable: what difference the test part and the seeds can show.
    """

    trials: int
    runs: int
    finished: int
    work: float
    seconds: float
    megabytes: float
    detectable: PlannedDifference
    processes: int

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
            f"{parts}{f' ({prepared.parts.source})' if spec.data.split else ''}",
            f"arms        {', '.join(arm.name for arm in prepared.arms)}  on "
            f"{', '.join(sorted({arm.backbone.text() for arm in prepared.arms}))}",
            f"grid        policies {', '.join(spec.policies)}; budgets "
            f"{', '.join(f'{b:g}' for b in spec.budgets)}; {spec.seeds} seeds",
            f"work        {self.trials} trials, {self.runs} runs"
            + (f" ({self.finished} of them finished)" if self.finished else ""),
            f"numerics    {numerics.dtype}, {numerics.memory_format}, {numerics.threads} threads, "
            f"{numerics.device}: {numerics.train_rate:.0f} images/s in training",
            f"time        about {duration(self.seconds)}{self._together()}; "
            f"disk about {self.megabytes:.0f} MB",
        ]
        for arm in prepared.arms:
            receipt = prepared.receipts[arm.name]
            if receipt is not None:
                listed.append(f"loaded      {arm.name}: {receipt.short()}; {arm.convention.text()}")
        listed += [
            f"warning     {arm.name}: {note}"
            for arm in prepared.arms
            for note in arm.notes
            if note.startswith(FED)
        ]
        listed.append(f"can show    {_can_show(self.detectable, spec.metric)}")
        if prepared.leakage.consequence:
            listed.append(f"leakage     {prepared.leakage.consequence}")
        idle = _cores() // numerics.threads
        if self.processes < idle and self.seconds > 60 and numerics.device == "cpu":
            short = duration(self.seconds * self.processes / idle)
            listed.append(f"faster      --processes {idle} would take about {short}")
        return [
            part for line in listed for part in textwrap.wrap(line, 79, subsequent_indent=" " * 12)
        ]

    def _together(self) -> str:
        return f" with {self.processes} processes" if self.processes > 1 else ""


def _cores() -> int:
    """Return the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def make_plan(prepared: Prepared, processes: int = 1) -> Plan:
    """Return the work ahead, shared by some processes; trains nothing."""
    spec, recipe, numerics = prepared.spec, prepared.recipe, prepared.numerics
    trained = [policy for policy in spec.policies if not POLICIES[policy].probe]
    arms, seeds = len(spec.arm), spec.seeds
    trials = arms * len(trained) * len(spec.budgets) * len(recipe.grid)
    runs = arms * len(spec.policies) * len(spec.budgets) * seeds
    trainings = len(trained) * len(spec.budgets) * expected_trainings(prepared)
    board = read_board(prepared)
    named = board.runs or tuple(probe_runs(prepared))
    finished = sum(is_done(run_folder(prepared, run)) for run in named)
    seconds = (board.total - board.done) * recipe.batch_size / max(numerics.train_rate, 1e-9)
    images = len(prepared.dataset.rows)
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
        board.total,
        seconds / processes,
        (trainings + runs) * size * MEGABYTES_PER_PARAMETER + 0.02 * images,
        detectable,
        processes,
    )


def _can_show(planned: PlannedDifference, metric: str) -> str:
    if math.isnan(planned.difference):
        return f"no difference of {metric}: {planned.assumptions}"
    return (
        f"differences of {metric} from about {planned.difference:.2g} "
        f"({planned.difference_unsteady:.2g} where seeds differ more) with 80 % power, before "
        "Holm's adjustment"
    )
