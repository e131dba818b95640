"""The audit of a split: what may not be divided, what was counted, what stands in several parts.

Whatever stands in several parts is counted from the part of each row and the dataset's own columns
(not from what was concluded of them): a patient, an exam, a series or an identical picture in two
parts would show.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radstart.dataset.dealing import Places, Tally
from radstart.dataset.grouping import KINDS, Codes, Grouping, Keys, crossing

_LARGE = 0.5  # of a part's share: a unit above it makes parts uneven


@dataclass(frozen=True, eq=False)
class Classes:
    """A column that is shared out alike.

    Attributes:
        column: its name.
        code: int64 (N,), the class of each row, -1 = none.
        names: of the classes.
    """

    column: str
    code: Codes
    names: Sequence[str]


@dataclass(frozen=True, eq=False)
class Assigned:
    """A split before it is written.

    Attributes:
        raw: keys as the columns have them.
        found: units of the rows.
        kept: bool (N,), rows that have a part.
        classes: columns that were shared out alike, in the order of `held`.
        held: what units hold of them, and behind them how many images.
        labels: names of the parts, or numbers of the folds.
        folds: whether they are folds.
        parts: of every repeat, the part of each unit.
        budgets: of every repeat, which units each budget marks.
    """

    raw: Keys
    found: Grouping
    kept: NDArray[np.bool_]
    classes: Sequence[Classes]
    held: Tally
    labels: Sequence[str]
    folds: bool
    parts: Sequence[Places]
    budgets: Sequence[Mapping[str, NDArray[np.bool_]]]


def described(assigned: Assigned, column: str) -> dict[str, Any]:
    """Return the audit's tables.

    Args:
        assigned: the split.
        column: whose values stay on one side; "" = none.
    """
    unit = _unit(assigned, column)
    several, parts, budgets = [], [], []
    for turn, part in enumerate(assigned.parts, 1):
        several.append(_several(assigned, part))
        parts += _parts(assigned, part, turn)
        budgets += _budgets(assigned, turn)
    found = {key: max(one[key] for one in several) for key in several[0]}
    notes = [*_notes(assigned, unit, column), *_missing(parts)]
    if found["near_duplicate_groups"]:
        notes.append(
            f"{found['near_duplicate_groups']} groups of near-duplicates stand in several parts: "
            "their patients or exams differ, and decide."
        )
    if found["exams"] or found["series"]:
        notes.append("Exams or series that stand in several parts belong to several patients.")
    result = {"unit": unit, "in_several_parts": found, "part": parts, "budget": budgets}
    return {**result, "notes": notes}


def in_words(audit: Mapping[str, Any]) -> list[str]:
    """Return the audit in lines: units, parts of the first repeat, what stands in several."""
    unit, spec = audit["unit"], audit["spec"]
    lines = [f"{unit['images']} images of {unit['units']} units ({unit['kind']}): {unit['why']}"]
    what = "fold" if spec["folds"] else "part"
    lines += [
        f"{what} {part['name']}: {part['images']} images of {part['units']} units"
        for part in audit["part"]
        if part["repeat"] == 1
    ]
    if spec["repeats"] > 1:
        lines.append(f"{spec['repeats']} repeats, each with other units; the first is shown")
    several = ", ".join(
        f"{key.replace('_', ' ')} {n}" for key, n in audit["in_several_parts"].items()
    )
    return [*lines, f"in several parts: {several}", *audit["notes"]]


def _unit(assigned: Assigned, column: str) -> dict[str, Any]:
    found, kept = assigned.found, assigned.kept
    sizes = np.bincount(found.unit[kept], minlength=len(found.kind))
    kinds = np.unique(found.row_kind[kept])
    keys = found.keys
    known = {
        name: int(((getattr(keys, name) >= 0) & kept).sum())
        for name in ("patient", "exam", "series", "near", "picture")
    }
    kind = KINDS[int(kinds[0])] if len(kinds) == 1 else "mixed"
    return {
        "kind": kind,
        "why": _why(kind, len(keys.picture), known, column),
        "images": int(kept.sum()),
        "not_kept": int((~kept).sum()),
        "units": int((sizes > 0).sum()),
        "largest": int(sizes.max(initial=0)),
        "patients_known": known["patient"] == int(kept.sum()),
        "rows_that_have": {
            "patient": known["patient"],
            "exam": known["exam"],
            "series": known["series"],
            "near_duplicates": known["near"],
            "identical_pictures": known["picture"],
        },
        "group_column": column,
    }


def _why(kind: str, n: int, known: Mapping[str, int], column: str) -> str:
    words = {
        "patient": "every row has a patient",
        "exam": "no patient is known, every row has an exam",
        "series": "no patient or exam is known, every row has a series or volume",
        "duplicate group": "no patient, exam or series is known: only alike pictures stay together",
        "mixed": "the strongest that is known of each row: "
        + ", ".join(f"{name} {known[name]}" for name in ("patient", "exam", "series"))
        + f" of {n} rows",
    }[kind]
    words += "; identical pictures join their units" if known["picture"] else ""
    return words + (f"; every value of {column!r} stays on one side" if column else "")


def _several(assigned: Assigned, part: Places) -> dict[str, int]:
    """Return how many of each key stand in two or more parts; rows that are not kept in none."""
    found, keys = assigned.found, assigned.raw
    of_rows = np.where(assigned.kept, part[found.unit], -1)
    return {
        "units": crossing(found.unit, of_rows),
        "patients": crossing(keys.patient, of_rows),
        "exams": crossing(keys.exam, of_rows),
        "series": crossing(keys.series, of_rows),
        "identical_pictures": crossing(keys.picture, of_rows),
        "near_duplicate_groups": crossing(keys.near, of_rows),
        "group_column_values": crossing(keys.column, of_rows),
    }


def _parts(assigned: Assigned, part: Places, turn: int) -> list[dict[str, Any]]:
    images = assigned.held.by_part(part, len(assigned.labels))
    units = assigned.held.by_part(part, len(assigned.labels), of_units=True)
    tables = []
    for k, name in enumerate(assigned.labels):
        table = {"repeat": turn, "name": name}
        table |= {"images": int(images[k, -1]), "units": int(units[k, -1])}
        tables.append(table | {"classes": _classes(assigned, images[k], units[k])})
    return tables


def _budgets(assigned: Assigned, turn: int) -> list[dict[str, Any]]:
    """Return what each budget marks of what is trained on, without the test part."""
    part = assigned.parts[turn - 1]
    trained = np.ones(len(part), bool) if assigned.folds else part < len(assigned.labels) - 1
    tables = []
    for budget, chosen in assigned.budgets[turn - 1].items():
        marked = np.where(trained & chosen, 0, 1)
        images = assigned.held.by_part(marked, 2)[0]
        units = assigned.held.by_part(marked, 2, of_units=True)[0]
        table: dict[str, Any] = {"repeat": turn, "budget": float(budget)}
        table |= {"images": int(images[-1]), "units": int(units[-1])}
        tables.append(table | {"classes": _classes(assigned, images, units)})
    return tables


def _classes(
    assigned: Assigned, images: NDArray[np.int64], units: NDArray[np.int64]
) -> list[dict[str, Any]]:
    tables, place = [], 0
    for one in assigned.classes:
        for name in one.names:
            table = {"column": one.column, "class": name}
            tables.append(table | {"images": int(images[place]), "units": int(units[place])})
            place += 1
    return tables


def _notes(assigned: Assigned, unit: Mapping[str, Any], column: str) -> list[str]:
    notes = []
    if not unit["patients_known"]:
        notes.append(
            "Patients unknown, at least of some rows: one patient may stand in several parts."
        )
    if unit["not_kept"]:
        notes.append(f"{unit['not_kept']} rows that curation does not keep have no part.")
    least = min(1 / len(assigned.labels), 0.15)
    if unit["images"] and unit["largest"] > _LARGE * least * unit["images"]:
        notes.append(
            f"The largest unit has {unit['largest']} of {unit['images']} images"
            + (f" (a value of {column!r})" if column else "")
            + ": parts cannot be even."
        )
    return notes


def _missing(parts: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a note on classes that some part lacks."""
    lacking = {
        f"{entry['column']} {entry['class']}"
        for part in parts
        for entry in part["classes"]
        if not entry["images"]
    }
    shown = ", ".join(sorted(lacking)[:5]) + (", ..." if len(lacking) > 5 else "")
    return [f"Missing from a part, too few units: {shown}."] if lacking else []
