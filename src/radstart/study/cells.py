"""Case tables -> arrays for statistics: one cell = arm x policy x budget, its runs by seed."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radstart.core.errors import RadstartError
from radstart.training import Task

Key = tuple[str, str, float]


@dataclass(frozen=True, eq=False)
class Cell:
    """The finished runs of one arm, policy and budget on the test part.

    Attributes:
        key: (arm, policy, budget).
        scores: run scores by seed index, (N,) or (N, C), in the order of `case`.
        labels: (N,) as the task gives them, None for per-case values.
        units: (N,) what is resampled.
        cases: (N,) names.
        converged: every run met its stopping rule.
    """

    key: Key
    scores: dict[int, Any]
    labels: Any
    units: Any
    cases: Any
    converged: bool

    def stacked(self, seeds: Iterable[int] | None = None) -> Any:
        """Return (S, N) or (S, N, C) for these seeds, all by default, ascending."""
        return np.stack([self.scores[s] for s in sorted(seeds or self.scores)])

    def probabilities(self, n_classes: int) -> NDArray[np.float64] | None:
        """Return (S, N, C), or None where cases are not of one of C >= 2 classes each."""
        scores, labels = np.asarray(self.stacked(), dtype=np.float64), self.labels
        if labels is None or np.asarray(labels).dtype.kind not in "iu" or np.ndim(labels) != 1:
            return None
        if scores.ndim == 2 and n_classes == 2:
            scores = np.stack([1.0 - scores, scores], axis=2)
        fits = scores.ndim == 3 and scores.shape[2] == n_classes >= 2
        return scores if fits and scores.min() >= 0.0 and scores.max() <= 1.0 else None


@dataclass
class _Open:
    scores: dict[int, Any] = field(default_factory=dict)
    labels: Any = None
    units: Any = None
    cases: Any = None
    converged: bool = True


def read_part(folder: Path, part: str) -> dict[str, Any]:
    """Return the columns of a part of a run's case table, sorted by case."""
    table = pd.read_parquet(folder / "cases.parquet")
    table = table[table["part"] == part].sort_values("case", kind="stable")
    return {str(name): table[name].to_numpy() for name in table.columns}


def read_cells(
    runs: pd.DataFrame, folder: Path, task: Task, classes: tuple[str, ...]
) -> dict[Key, Cell]:
    """Return the cells of finished runs, in the order of `runs`.

    Args:
        runs: columns run, arm, policy, budget, seed, state, converged.
        folder: STUDY/runs.
        task: reads scores out of case tables.
        classes: of the target.

    Raises:
        RadstartError: runs of one cell that do not hold the same cases.
    """
    cells: dict[Key, _Open] = {}
    for run in runs[runs["state"] == "done"].to_dict("records"):
        columns = read_part(folder / run["run"], "test")
        scores, labels = task.scored(columns, classes)
        cell = cells.setdefault((run["arm"], run["policy"], run["budget"]), _Open())
        if cell.cases is not None and not np.array_equal(cell.cases, columns["case"]):
            raise RadstartError("runs hold different test cases", str(folder / run["run"]))
        cell.scores[run["seed"]] = scores
        cell.labels, cell.units, cell.cases = labels, columns["unit"], columns["case"]
        cell.converged &= bool(run["converged"])
    return {key: Cell(key, **vars(cell)) for key, cell in cells.items()}
