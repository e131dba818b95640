"""Where runs err on the test part: confusion tables, and what their probabilities are worth."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from radstart.stats import interval
from radstart.study.cells import Cell, Key
from radstart.study.facts.strict import number

Floats = NDArray[np.float64]
MOST_BINS, CASES_A_BIN = 10, 20


def confusion(cells: dict[Key, Cell], n_classes: int) -> list[dict[str, Any]]:
    """Return how often each class was taken for each: rows true, columns predicted.

    Predicted is the class with the largest score, the first of equals; with two classes that is
    the positive one above 0.5. Counts are of cases, summed over the runs of a cell.
    """
    listed = []
    for (arm, policy, budget), cell in cells.items():
        scores = cell.probabilities(n_classes)
        if scores is None:
            continue
        counts = np.zeros((n_classes, n_classes), dtype=np.int64)
        for said in scores.argmax(axis=2):
            np.add.at(counts, (cell.labels, said), 1)
        rows = counts.sum(axis=1, keepdims=True)
        shares = np.divide(counts, rows, out=np.full(counts.shape, np.nan), where=rows > 0)
        listed.append(
            {
                "arm": arm,
                "policy": policy,
                "budget": budget,
                "seeds": len(scores),
                "counts": counts.tolist(),
                "per_seed": (counts / len(scores)).tolist(),
                "shares": [[number(x) for x in row] for row in shares.tolist()],
            }
        )
    return listed


def calibration(cells: dict[Key, Cell], n_classes: int, level: float) -> list[dict[str, Any]]:
    """Return, per cell, bins of equal count: what was predicted and what came true.

    Two classes: the positive class's score against how often the case is positive. More: the
    largest score against how often that class is right. The pairs of all runs stand together.
    Edges are quantiles, as scikit-learn's `calibration_curve(strategy="quantile")`: 10 bins, fewer
    where a run would have less than 20 cases a bin; equal scores share a bin. Limits of the share
    that came true are a unit's jackknife on the logit scale, given these runs.
    """
    listed = []
    for (arm, policy, budget), cell in cells.items():
        scores = cell.probabilities(n_classes)
        if scores is None:
            continue
        if n_classes == 2:
            said, true = scores[:, :, 1], np.broadcast_to(cell.labels == 1, scores.shape[:2])
        else:
            said, true = scores.max(axis=2), scores.argmax(axis=2) == cell.labels
        units = np.broadcast_to(np.asarray(cell.units), said.shape)
        most = min(MOST_BINS, max(1, said.shape[1] // CASES_A_BIN))
        listed.append(
            {
                "arm": arm,
                "policy": policy,
                "budget": budget,
                "seeds": len(scores),
                "of": "positive class" if n_classes == 2 else "predicted class",
                "bins": _bins(said.ravel(), true.ravel(), units.ravel(), most, level),
            }
        )
    return listed


def _bins(said: Floats, true: Any, units: Any, most: int, level: float) -> list[dict[str, Any]]:
    edges = np.percentile(said, np.linspace(0, 100, most + 1))
    place = np.searchsorted(edges[1:-1], said)
    found = []
    for k in np.unique(place):
        inside = place == k
        # "Accuracy" of the outcomes is their mean, with the edges of the logit scale kept.
        share = interval(
            true[inside].astype(float), np.ones(int(inside.sum())), units[inside], "accuracy", level
        )
        found.append(
            {
                "n": int(inside.sum()),
                "low": number(said[inside].min()),
                "high": number(said[inside].max()),
                "predicted": number(said[inside].mean()),
                "observed": number(share.value),
                "ci_low": number(share.ci_low),
                "ci_high": number(share.ci_high),
            }
        )
    return found
