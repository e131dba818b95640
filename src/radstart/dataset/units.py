"""The unit: what is resampled and kept on one side of a split.

The patient where one is given, else the exam, else the series or volume, else the group of
identical or nearly identical pictures. Identical pictures join their units, also under two patient
ids. Which rows belong together is decided in `grouping`.
"""

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radstart.dataset.grouping import KINDS, Grouping, Keys, group_rows
from radstart.dataset.tables import Strings, codes, natural, text


@dataclass(frozen=True, eq=False)
class Units:
    """The unit of every row.

    Attributes:
        unit: names, object array (N,): a patient id, "exam ID", "series ID" or "image PATH".
        kind: "patient", "exam", "series", "duplicate group" or "mixed", over the labelled rows.
        patients_known: every labelled row has a patient.
        joined: pairs of patient ids that an identical picture made one unit.
        hashed: names are hashes: units are dealt in the order of the rows, which no key changes.
    """

    unit: Strings
    kind: str
    patients_known: bool
    joined: tuple[tuple[str, str], ...]
    hashed: bool = False


def find_units(rows: pd.DataFrame, *, near: bool = True) -> Units:
    """Find the unit of every row from `patient`, `exam`, `series`, `near`, `content` and `image`.

    The rules are those of `grouping`; columns that are not there are not known. A unit is named by
    its smallest patient id, else by its smallest exam, else series, else by its first image.

    Args:
        rows: of a dataset.
        near: whether near-duplicates of unknown patients are one unit. They are a suspicion: a
            split keeps them together, a study does not stop for them.
    """
    columns = {name: text(rows, name) for name in ("patient", "exam", "series", "near")}
    if not near:
        columns["near"] = np.full(len(rows), "", object)
    volume = text(rows, "volume")
    volume = np.where(volume != "", "volume " + volume, "")
    columns["series"] = np.where(columns["series"] != "", columns["series"], volume)
    known = {name: _coded(values) for name, values in columns.items()}
    content, image, label = text(rows, "content"), text(rows, "image"), text(rows, "label")
    picture = codes(np.where(content != "", content, "image " + image))[1]
    none = np.full(len(rows), -1, np.int64)
    found = group_rows(Keys(**known, picture=picture, column=none))

    best: dict[int, tuple[int, tuple[tuple[int, int, str], ...], str]] = {}
    names = _names(columns, found, image)
    for where, kind, name in zip(found.unit.tolist(), found.row_kind.tolist(), names, strict=True):
        key = (kind, natural(name), name)
        if where not in best or key < best[where]:
            best[where] = key
    unit = np.array([best[where][2] for where in found.unit.tolist()], object)

    counted = label != ""
    counted = counted if counted.any() else np.ones(len(rows), bool)
    kinds = {KINDS[kind] for kind in found.kind[found.unit[counted]].tolist()}
    return Units(
        unit=unit,
        kind=kinds.pop() if len(kinds) == 1 else "mixed",
        patients_known=bool(len(rows) and (found.keys.patient[counted] >= 0).all()),
        joined=_joined(_of(columns["patient"], found.keys.patient), picture),
    )


def _names(columns: dict[str, Strings], found: Grouping, image: Strings) -> list[str]:
    """Return what each row would name its unit."""
    named = [
        _of(columns["patient"], found.keys.patient),
        "exam " + _of(columns["exam"], found.keys.exam),
        "series " + _of(columns["series"], found.keys.series),
        "image " + image,
    ]
    return [named[kind][row] for row, kind in enumerate(found.row_kind.tolist())]


def _coded(values: Strings) -> NDArray[np.int64]:
    """Return the code of every value, -1 for "", the codes in the order of the values."""
    names, code = codes(values)
    return (code - (len(names) > 0 and names[0] == "")).astype(np.int64)


def _of(values: Strings, code: NDArray[np.int64]) -> Strings:
    """Return the values that codes of `_coded(values)` stand for, "" for -1."""
    names = [name for name in codes(values)[0] if name]
    return np.array([*names, ""], object)[code]


def count_duplicates(rows: pd.DataFrame) -> tuple[int, int, int]:
    """Return the groups of identical pictures, their images, and groups of several patients."""
    patient, content = text(rows, "patient"), text(rows, "content")
    times = Counter(content.tolist())
    groups = {name for name, n in times.items() if n > 1}
    owners: dict[str, set[str]] = {}
    for who, which in zip(patient, content, strict=True):
        if who and which in groups:
            owners.setdefault(which, set()).add(who)
    across = sum(len(who) > 1 for who in owners.values())
    return len(groups), sum(times[name] for name in groups), across


def _joined(patient: Strings, picture: NDArray[np.intp]) -> tuple[tuple[str, str], ...]:
    owners: dict[int, set[str]] = {}
    for who, which in zip(patient, picture.tolist(), strict=True):
        if who:
            owners.setdefault(which, set()).add(who)
    pairs: set[tuple[str, str]] = set()
    for who in owners.values():
        ordered = sorted(who, key=natural)
        pairs.update(pairwise(ordered))
    return tuple(sorted(pairs, key=lambda pair: (natural(pair[0]), natural(pair[1]))))
