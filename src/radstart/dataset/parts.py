"""Parts: which rows train, validate and test."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radstart.core.errors import RadstartError, nearest
from radstart.core.random import stream
from radstart.dataset.strata import count_classes, deal
from radstart.dataset.tables import Strings, natural, text
from radstart.dataset.units import Units

PARTS = ("train", "validation", "test")
_SYNONYMS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}


@dataclass(frozen=True, eq=False)
class Parts:
    """The part of every row.

    Attributes:
        part: object array (N,) of "train", "validation", "test"; "" for rows that are not used
            (unlabelled, or dropped for leakage).
        source: "split column", "folds", "splits/NAME", "drawn" or "regrouped".
        notes: what a reader should know about how the parts came about.
        budgets: rows that the split marks for a budget, bool (N,) by its share; none = drawn.
    """

    part: Strings
    source: str
    notes: tuple[str, ...] = ()
    budgets: Mapping[float, NDArray[np.bool_]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Given:
    """The part or fold of every kept row, as a split has it.

    Attributes:
        name: "splits/NAME", of a repeat "splits/NAME:2".
        folds: whether `value` names folds, not parts.
        value: object array (N,), of the kept rows in their order.
        budgets: bool (N,) of each budget that the split marks, by its share.
    """

    name: str
    folds: bool
    value: Strings
    budgets: Mapping[float, NDArray[np.bool_]]


def part_of_split(value: str) -> str:
    """Return the part that a value of a split column means, "" for none."""
    return _SYNONYMS.get(value.strip().lower(), "")


def assign_parts(
    rows: pd.DataFrame,
    units: Units,
    *,
    seed: int,
    validation_share: float = 0.10,
    test_share: float = 0.15,
    test_fold: str | None = None,
    validation_fold: str | None = None,
    given: Given | None = None,
) -> Parts:
    """Assign every labelled row to a part.

    As a split that is given says; else the split column where it has values; else whole folds (the
    last is test, the one before it validation); else drawn by unit, stratified by class. A split
    without validation takes it from training, by unit. A test or validation fold that is named puts
    the folds before the split.

    Args:
        rows: the rows of a dataset.
        units: their units.
        seed: of the study.
        validation_share: share of the images when parts are drawn.
        test_share: the same for test.
        test_fold: the fold to test on.
        validation_fold: the fold to validate on.
        given: a split of the dataset, for these rows.

    Raises:
        RadstartError: a value that means no part, a row without one, shares out of range, fewer
            units than parts, or a class missing from a part.
    """
    label = text(rows, "label")
    labelled = label != ""
    split, fold = text(rows, "split"), text(rows, "fold")
    if given is not None:
        none = np.full(len(rows), "", object)
        split, fold = (none, given.value) if given.folds else (given.value, none)
    if not (validation_share > 0 and test_share > 0 and validation_share + test_share < 1):
        raise RadstartError(
            "shares must be above 0 and leave some for training",
            "validation and test share",
            f"{validation_share} and {test_share}",
            "for instance 0.1 and 0.15",
        )
    n_units = len(set(units.unit[labelled]))
    if n_units < len(PARTS):
        raise RadstartError(
            f"fewer units than parts: train, validation and test need a {units.kind} each",
            "parts",
            f"{n_units} with {int(labelled.sum())} labelled images",
            "add data",
        )
    shares = (1 - validation_share - test_share, validation_share, test_share)
    named = test_fold is not None or validation_fold is not None
    if given is not None and named and not given.folds:
        option = "--validation-fold" if test_fold is None else "--test-fold"
        got = str(validation_fold if test_fold is None else test_fold)
        raise RadstartError(f"{given.name} has parts, not folds", option, got, "leave it out")
    notes: list[str] = []
    if (split[labelled] != "").any() and not named:
        source, part = "split column", _from_split(rows, split, labelled)
    elif (fold[labelled] != "").any() or named:
        source = "folds"
        part = _from_folds(rows, fold, labelled, test_fold, validation_fold, notes)
    else:
        source = "drawn"
        part = draw_parts(units, label, labelled, PARTS, shares, stream(seed, "parts"))
    another = 'name another --split-column, or "" to have the parts drawn'
    if given is not None:
        source, another = given.name, "name another --split"
    if not (part == "test").any() or not (part == "train").any():
        lacking = "train" if (part == "test").any() else "test"
        raise RadstartError(
            f"the {source} gives no {lacking} part",
            "parts",
            ", ".join(f"{name} {int((part == name).sum())}" for name in PARTS),
            another,
        )
    if not (part == "validation").any():
        training = part == "train"
        two = (1 - validation_share / (1 - test_share), validation_share / (1 - test_share))
        rng = stream(seed, "parts", "validation")
        drawn = draw_parts(units, label, training, PARTS[:2], two, rng)
        part = np.where(training, drawn, part)
        taken = part == "validation"
        notes.append(
            f"The {source} had no validation part: {int(taken.sum())} images of "
            f"{len(set(units.unit[taken]))} units were taken from training."
        )
    hints = {"split column": '--split-column "" draws the parts', "drawn": ""}
    hints["folds"] = '--fold-column "" draws the parts'
    check_classes(part, label, units, hints.get(source, another))
    return Parts(part, source, tuple(notes), given.budgets if given else {})


def draw_parts(
    units: Units,
    label: Strings,
    chosen: NDArray[np.bool_],
    names: Sequence[str],
    shares: Sequence[float],
    rng: np.random.Generator,
) -> Strings:
    """Draw parts by unit among the chosen rows, stratified by class; "" for the others."""
    part = np.full(len(label), "", object)
    unit_names, _, counts = count_classes(units.unit[chosen], label[chosen], units.hashed)
    dealt = deal(counts, np.asarray(shares, np.float64), rng)
    of_unit = dict(zip(unit_names, dealt.tolist(), strict=True))
    part[chosen] = [names[of_unit[unit]] for unit in units.unit[chosen]]
    return part


def check_classes(part: Strings, label: Strings, units: Units, hint: str = "") -> None:
    """Refuse parts in which a class is missing.

    Raises:
        RadstartError: names the class, the part, and how many units the class has.
    """
    for name in sorted(set(label[label != ""]), key=natural):
        of_class = label == name
        for which in PARTS:
            if (of_class & (part == which)).any():
                continue
            n = len(set(units.unit[of_class]))
            enough = n >= len(PARTS) and hint
            raise RadstartError(
                f"class {name!r} is missing from the {which} part",
                "parts",
                f"{int(of_class.sum())} images of {n} units in all",
                hint
                if enough
                else "a class needs units in all 3 parts: add data, or leave "
                "it out by emptying its labels",
            )


def _from_split(rows: pd.DataFrame, split: Strings, labelled: NDArray[np.bool_]) -> Strings:
    part = np.full(len(split), "", object)
    for row in np.flatnonzero(labelled).tolist():
        part[row] = part_of_split(split[row])
        if not part[row]:
            raise RadstartError(
                "the split column has a value that means no part",
                _place(rows, row),
                repr(split[row]) if split[row] else "an empty cell",
                nearest(split[row], ("train", "val", "valid", "validation", "dev", "test"))
                + "; an empty label leaves a row out",
            )
    return part


def _from_folds(
    rows: pd.DataFrame,
    fold: Strings,
    labelled: NDArray[np.bool_],
    test_fold: str | None,
    validation_fold: str | None,
    notes: list[str],
) -> Strings:
    folds = sorted(set(fold[labelled]) - {""}, key=natural)
    for option, value in (("--test-fold", test_fold), ("--validation-fold", validation_fold)):
        if value is not None and value not in folds:
            raise RadstartError("no such fold", option, repr(value), nearest(value, folds))
    empty = np.flatnonzero(labelled & (fold == ""))
    if len(empty):
        raise RadstartError(
            f"{len(empty)} labelled rows have no fold",
            _place(rows, int(empty[0])),
            "an empty cell",
            'fill it in, or --fold-column "" to have the parts drawn',
        )
    if len(folds) < 2:
        raise RadstartError(
            "one fold makes no parts",
            "fold column",
            f"only {folds[0]!r}",
            '--fold-column "" to have the parts drawn',
        )
    if test_fold is not None and test_fold == validation_fold:
        raise RadstartError(
            "test and validation are the same fold", "--test-fold", test_fold, "name two folds"
        )
    test = test_fold or next(name for name in reversed(folds) if name != validation_fold)
    left = [name for name in folds if name != test]
    validation = validation_fold or (_before(folds, test) if len(left) > 1 else "")
    notes.append(
        f"Fold {test} is test, "
        + (f"fold {validation} validation, " if validation else "")
        + f"train: {', '.join(name for name in left if name != validation)}."
    )
    part = np.full(len(fold), "train", object)
    part[fold == test] = "test"
    if validation:
        part[fold == validation] = "validation"
    part[~labelled] = ""
    return part


def _before(folds: list[str], test: str) -> str:
    """Return the fold before `test`; before the first comes the last."""
    return folds[folds.index(test) - 1]


def _place(rows: pd.DataFrame, row: int) -> str:
    line = int(rows["line"].iloc[row]) if "line" in rows else 0
    return (f"line {line}, " if line else "") + str(text(rows.iloc[[row]], "image")[0])
