"""The unit: what is resampled and kept on one side of a split.

The patient where one is given, else the exam, else the group of identical pictures. Identical
pictures join their units, also under two patient ids.
"""

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from radstart.dataset.tables import Strings, codes, natural, text


@dataclass(frozen=True, eq=False)
class Units:
    """The unit of every row.

    Attributes:
        unit: names, object array (N,): a patient id, "exam ID" or "image PATH".
        kind: "patient", "exam", "duplicate group" or "mixed", over the labelled rows.
        patients_known: every labelled row has a patient.
        joined: pairs of patient ids that an identical picture made one unit.
    """

    unit: Strings
    kind: str
    patients_known: bool
    joined: tuple[tuple[str, str], ...]


def find_units(rows: pd.DataFrame) -> Units:
    """Find the unit of every row from `patient`, `exam`, `content` and `image`.

    An empty patient counts as absent for that row only; such a row takes the patient of its exam
    where that exam belongs to exactly one patient. A unit is named by its smallest patient id,
    else by its smallest exam, else by its first image.
    """
    patient, exam, content = (text(rows, name) for name in ("patient", "exam", "content"))
    image, label = text(rows, "image"), text(rows, "label")
    patient = _patients_by_exam(patient, exam)
    kinds = np.where(patient != "", 0, np.where(exam != "", 1, 2))
    content = np.where(content != "", content, image)
    names = np.where(kinds == 0, patient, np.where(kinds == 1, "exam " + exam, "image " + image))
    group_keys = np.where(kinds == 2, content, names)
    keyed = np.array([f"{k}{key}" for k, key in zip(kinds, group_keys, strict=True)], object)

    groups, group = codes(keyed)
    contents, picture = codes(content)
    nodes = len(groups) + len(contents)
    edges = (np.ones(len(rows)), (group, len(groups) + picture))
    _, component = connected_components(coo_matrix(edges, shape=(nodes, nodes)), directed=False)
    of_row = component[group] if len(rows) else np.zeros(0, np.intp)

    best: dict[int, tuple[int, tuple[tuple[int, int, str], ...], str]] = {}
    for where, kind, name in zip(of_row.tolist(), kinds.tolist(), names, strict=True):
        key = (kind, natural(name), name)
        if where not in best or key < best[where]:
            best[where] = key
    unit = np.array([best[where][2] for where in of_row.tolist()], object)

    counted = label != ""
    counted = counted if counted.any() else np.ones(len(rows), bool)
    unit_kind = {where: key[0] for where, key in best.items()}
    found = {unit_kind[where] for where in of_row[counted].tolist()}
    kind_name = ("patient", "exam", "duplicate group")[found.pop()] if len(found) == 1 else "mixed"
    return Units(
        unit=unit,
        kind=kind_name,
        patients_known=bool(len(rows) and (patient[counted] != "").all()),
        joined=_joined(patient, picture),
    )


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


def _patients_by_exam(patient: Strings, exam: Strings) -> Strings:
    owners: dict[str, set[str]] = {}
    for who, which in zip(patient, exam, strict=True):
        if who and which:
            owners.setdefault(which, set()).add(who)
    owner = {which: next(iter(who)) for which, who in owners.items() if len(who) == 1}
    pairs = zip(patient, exam, strict=True)
    return np.array([who or owner.get(which, "") for who, which in pairs], object)


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
