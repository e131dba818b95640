"""Shortcuts: how well what is no anatomy tells the label, alone.

For each family of properties (size, border, corners, scanner, ...) trees learn the label from it
in five folds that keep patients together; what they say of images they have not seen gives an
AUROC with its interval over patients. 0.5 is chance. Single values that nearly always go with one
class ("giveaways") are counted beside: a rare one can matter and hardly move the AUROC.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import binom

from radstart.core.progress import Progress
from radstart.core.random import stream, stream_seed
from radstart.curation.counts import FEW, native_size
from radstart.curation.measured import CORNERS, Measured
from radstart.dataset import TARGET, Dataset, Units, text
from radstart.stats import interval, value

Strings = NDArray[np.object_]
Floats = NDArray[np.float64]
FOLDS = 5
MOST = 6000  # images that a probe learns from
MOST_QUESTIONS = 12
CLEAR, STRONG = 0.6, 0.8  # AUROC whose lower limit says that a property tells the label
PURE = 0.95  # share of one class among the units of a value that gives it away
LEAST = 10  # units with such a value
CHANCE = 1e-3  # of a giveaway by luck, over all values looked at


@dataclass(frozen=True, eq=False)
class Question:
    """What a shortcut might tell: the label, one finding, or the upper half of a number.

    Attributes:
        name: "label", or a target's.
        classes: in order.
        target: int64 (N,), index of the class, -1 = not asked.
    """

    name: str
    classes: tuple[str, ...]
    target: NDArray[np.int64]


def questions(dataset: Dataset, units: Units) -> list[Question]:
    """Return what is asked: classes of `FEW` units or more, the commonest findings, numbers."""
    keep = dataset.rows["keep"].to_numpy(bool)
    label = np.where(keep, text(dataset.rows, "label"), "")
    found = [_question("label", label, units)]
    for column in (name for name in map(str, dataset.rows) if name.startswith(TARGET)):
        values = np.where(keep, dataset.rows[column].to_numpy(float), np.nan)
        known = values[np.isfinite(values)]
        if not len(known):
            continue
        finding = bool(np.isin(known, (0, 1)).all())
        edge = 0.5 if finding else float(np.median(known))
        names = ("no", "yes") if finding else ("lower half", "upper half")
        said = np.where(np.isnan(values), "", np.where(values > edge, names[1], names[0]))
        found.append(_question(column.removeprefix(TARGET), said.astype(object), units, names))
    asked = [one for one in found if len(one.classes) > 1]
    return sorted(asked, key=lambda one: (one.name != "label", -_rarest(one)))[:MOST_QUESTIONS]


def _question(
    name: str, said: Strings, units: Units, order: Sequence[str] | None = None
) -> Question:
    pairs = {(what, unit) for what, unit in zip(said, units.unit, strict=True) if what}
    held = Counter(what for what, _ in pairs)
    classes = tuple(c for c in order or sorted(held) if held[c] >= max(FEW, FOLDS))
    index = {what: k for k, what in enumerate(classes)}
    return Question(name, classes, np.array([index.get(what, -1) for what in said], np.int64))


def _rarest(question: Question) -> int:
    return int(np.bincount(question.target[question.target >= 0]).min())


def families(dataset: Dataset, measured: Measured) -> dict[str, Floats]:
    """Return the numbers of every family that varies, (N, K) each."""
    rows = dataset.rows
    height, width = native_size(rows)
    stored = rows[["height", "width"]].to_numpy(np.float64)
    letters = np.array([[m.letters, m.area, len(m.boxes)] for m in measured.marks])
    places = np.array([_place(m.boxes) for m in measured.marks])
    spacing = rows[["spacing_row", "spacing_col", "thickness"]].astype(float).fillna(-1)
    found = {
        "scanner": _coded(rows, ("manufacturer",)),
        "site": _coded(rows, ("site",)),
        "view": _coded(rows, ("modality", "view", "laterality", "window")),
        "sex and age": np.hstack(
            [_coded(rows, ("sex",)), rows[["age"]].astype(float).fillna(-1).to_numpy()]
        ),
        "size and shape": np.column_stack(
            [height, width, width / np.maximum(height, 1), stored, stored[:, 1] / stored[:, 0]]
        ),
        "pixel size and depth": np.hstack(
            [_coded(rows, ("channels", "dtype", "origin")), spacing.to_numpy(np.float64)]
        ),
        "border": measured.border.astype(np.float64),
        "corner pixels": measured.corners.astype(np.float64),
        "text-like marks": np.hstack([letters, places]),
    }
    return {name: x for name, x in found.items() if x.shape[1] and (x != x[:1]).any()}


def _coded(rows: pd.DataFrame, columns: Sequence[str]) -> Floats:
    """Return a column of 0 and 1 for every value of `FEW` images or more."""
    found = []
    for name in columns:
        values = text(rows, name)
        counts = Counter(values.tolist())
        known = [v for v, n in counts.most_common(40) if n >= FEW]
        if len(known) > 1:
            found += [(values == v).astype(np.float64) for v in known]
    return np.column_stack(found) if found else np.zeros((len(rows), 0))


def _place(boxes: Sequence[tuple[float, float, float, float]]) -> tuple[float, float]:
    return (boxes[0][0], boxes[0][1]) if boxes else (-1.0, -1.0)


def probe(
    dataset: Dataset, units: Units, measured: Measured, progress: Progress | None = None
) -> list[dict[str, Any]]:
    """Return, for every question and family, how well the family alone tells the answer."""
    asked, known = questions(dataset, units), families(dataset, measured)
    found = []
    with (progress or Progress()).task("shortcuts", len(asked) * len(known)) as task:
        for question in asked:
            rows = _drawn(question, units)
            folds = _folds(dataset, question, units, rows)
            for name, numbers in known.items():
                found.append(_probed(question, units, rows, folds, name, numbers))
                task.advance()
    return found


def _drawn(question: Question, units: Units) -> NDArray[np.int64]:
    """Return the rows that are asked about: whole units, `MOST` rows at most."""
    rows = np.flatnonzero(question.target >= 0)
    if len(rows) <= MOST:
        return rows
    names, index = np.unique(units.unit[rows].astype(str), return_inverse=True)
    order = stream(0, "shortcuts", "units").permutation(len(names))
    sizes = np.bincount(index)[order]
    chosen = np.zeros(len(names), bool)
    chosen[order[np.cumsum(sizes) <= MOST]] = True
    chosen[order[0]] = True
    return np.asarray(rows[chosen[index]])


def _folds(
    dataset: Dataset, question: Question, units: Units, rows: NDArray[np.int64]
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Return the folds: drawn by unit, or the dataset's own where patients are not known.

    Folds that come with a dataset are the only hint at who is whose, then.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    own, y = text(dataset.rows, "fold")[rows], question.target[rows]
    names = sorted(set(own))
    if not units.patients_known and 2 < len(names) <= 20 and "" not in names:
        given = [(np.flatnonzero(own != name), np.flatnonzero(own == name)) for name in names]
        if all(len(set(y[train])) == len(question.classes) for train, _ in given):
            return given
    splitter = StratifiedGroupKFold(
        FOLDS, shuffle=True, random_state=stream_seed(0, "shortcuts", "folds") % 2**32
    )
    group = np.unique(units.unit[rows].astype(str), return_inverse=True)[1]
    return list(splitter.split(rows, y, group))


def _probed(
    question: Question,
    units: Units,
    rows: NDArray[np.int64],
    folds: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]],
    family: str,
    numbers: Floats,
) -> dict[str, Any]:
    from sklearn.ensemble import ExtraTreesClassifier

    x, y = numbers[rows], question.target[rows]
    scores = np.zeros((len(rows), len(question.classes)))
    for train, test in folds:
        trees = ExtraTreesClassifier(
            100, min_samples_leaf=3, class_weight="balanced", n_jobs=1,
            random_state=stream_seed(0, "shortcuts", family) % 2**32,
        )  # fmt: skip
        trees.fit(x[train], y[train])
        scores[np.ix_(test, trees.classes_)] = trees.predict_proba(x[test])
    given = scores[:, 1] if len(question.classes) == 2 else scores
    found = interval(given[None], y, units.unit[rows], "auroc")
    classes = [
        {"name": name, "auroc": _number(value("auroc", scores[:, k], (y == k).astype(np.int64)))}
        for k, name in enumerate(question.classes)
    ]
    return {
        "family": family,
        "question": question.name,
        "auroc": _number(found.value),
        "ci_low": _number(found.ci_low),
        "ci_high": _number(found.ci_high),
        "chance": 0.5,
        "balanced_accuracy": _number(value("balanced_accuracy", given, y)),
        "chance_accuracy": _number(1 / len(question.classes)),
        "classes": classes,
        "images": len(rows),
        "units": len(set(units.unit[rows])),
        "verdict": _verdict(found.value, found.ci_low),
    }


def _verdict(auroc: float, low: float) -> str:
    """Return "strong", "clear", "slight", "none" or "cannot tell"."""
    if not np.isfinite(low):
        return "cannot tell"
    if auroc >= STRONG and low >= CLEAR:
        return "strong"
    return "clear" if low >= CLEAR else "slight" if low > 0.5 else "none"


def _number(x: float) -> float | None:
    return round(float(x), 4) if np.isfinite(x) else None


def giveaways(dataset: Dataset, units: Units, measured: Measured) -> list[dict[str, Any]]:
    """Return single values that nearly always go with one class, the surest first.

    Counted in units; a value needs `LEAST` of them, `PURE` of one class, and a chance by luck
    below `CHANCE` over all values looked at.
    """
    found: list[dict[str, Any]] = []
    looked = 0
    for question in questions(dataset, units):
        first: dict[str, int] = {}
        asked = np.flatnonzero(question.target >= 0)
        for row in asked.tolist():
            first.setdefault(units.unit[row], int(question.target[row]))
        base = np.bincount(list(first.values()), minlength=len(question.classes)) / len(first)
        for family, name, values in _values(dataset, measured):
            for shown, own in _members(values, asked):
                held = {units.unit[row]: int(question.target[row]) for row in own.tolist()}
                counts = np.bincount(list(held.values()), minlength=len(base))
                looked += 1
                top, n = int(counts.argmax()), len(held)
                if n < LEAST or counts[top] < PURE * n or base[top] > 0.9:
                    continue
                found.append({
                    "question": question.name, "family": family, "property": name,
                    "value": shown, "class": question.classes[top], "images": len(own),
                    "units": n, "of_class": int(counts[top]), "expected": _number(base[top]),
                    "p": float(binom.sf(counts[top] - 1, n, base[top])),
                })  # fmt: skip
    kept = [one for one in found if one["p"] * looked < CHANCE]
    return sorted(kept, key=lambda one: one["p"])


def _values(dataset: Dataset, measured: Measured) -> Iterator[tuple[str, str, Strings]]:
    """Yield what may give a class away: family, name, a value per row ("" = none)."""
    rows = dataset.rows
    height, width = native_size(rows)
    yield (
        "size and shape",
        "size",
        np.array(
            [f"{h} x {w}" for h, w in zip(height.tolist(), width.tolist(), strict=True)], object
        ),
    )
    shape = np.where(height == width, "square", np.where(width > height, "wide", "high"))
    yield "size and shape", "shape", shape.astype(object)
    for k, corner in enumerate(CORNERS):
        levels = measured.corners[:, k]
        yield "corner pixels", f"{corner} pixel", np.array([str(v) for v in levels], object)
    black = measured.border.reshape(len(rows), 4, 3)[:, :, 2]
    count = (black >= 0.99).sum(axis=1)
    yield "border", "black sides", np.array([str(n) for n in count], object)
    text_like = np.array([bool(mark.boxes) for mark in measured.marks])
    yield "text-like marks", "marks", np.where(text_like, "text-like marks", "").astype(object)
    for family, name in (("scanner", "manufacturer"), ("site", "site"), ("view", "view"),
                         ("view", "window"), ("pixel size and depth", "channels")):  # fmt: skip
        yield family, name, text(rows, name)


def _members(values: Strings, asked: NDArray[np.int64]) -> Iterator[tuple[str, NDArray[np.int64]]]:
    named = values[asked].astype(str)
    names, which, counts = np.unique(named, return_inverse=True, return_counts=True)
    order = np.argsort(which, kind="stable")
    starts = np.concatenate([[0], np.cumsum(counts)])
    for k, name in enumerate(names.tolist()):
        if name and counts[k] >= LEAST and len(names) > 1:
            yield name, asked[order[starts[k] : starts[k + 1]]]


def worst(found: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the probes that tell the label, the best first."""
    telling = [one for one in found if one["verdict"] in ("strong", "clear")]
    return sorted(telling, key=lambda one: -(one["auroc"] or 0.0))
