"""The leakage audit: no unit and no identical picture may stand in two parts."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radstart.core.errors import RadstartError, nearest
from radstart.core.random import stream
from radstart.dataset.parts import PARTS, Parts, check_classes, draw_parts
from radstart.dataset.tables import Strings, among, text
from radstart.dataset.units import Units

POLICIES = ("stop", "regroup", "drop", "allow")
_EXAMPLE_UNITS = 2
_CONSEQUENCE = {
    "stop": "",
    "regroup": (
        "All parts were redrawn by unit in the old proportions: the results are not comparable "
        "with figures published on the given split."
    ),
    "drop": (
        "Their rows left training and validation; the test part is as given, so the results are "
        "comparable with figures published on it, from less training data."
    ),
    "allow": (
        "They were left where they stand: results on the test part may be too good, and every "
        "verdict is marked."
    ),
}


@dataclass(frozen=True)
class Audit:
    """What stands in two or more parts.

    Attributes:
        units: number of units.
        images: their used images.
        patients: number of patient ids.
        contents: number of distinct pictures.
        examples: rows of the first units: line, image, part, unit.
    """

    units: int
    images: int
    patients: int
    contents: int
    examples: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Leakage:
    """What was found and what was done about it; the fields are those of `facts.json`.

    `dropped` counts images that left training and validation; `consequence` is a sentence for the
    report.
    """

    policy: str
    units: int
    images: int
    patients: int
    contents: int
    dropped: int
    examples: tuple[Mapping[str, Any], ...]
    consequence: str


def audit(rows: pd.DataFrame, units: Units, parts: Parts) -> Audit:
    """Count units, patient ids and identical pictures that stand in two or more parts."""
    crossing = _crossing(units.unit, parts.part)
    patients = _crossing(text(rows, "patient"), parts.part)
    contents = _crossing(text(rows, "content"), parts.part)
    involved = among(units.unit, crossing) & (parts.part != "")
    return Audit(
        units=len(crossing),
        images=int(involved.sum()),
        patients=len(patients),
        contents=len(contents),
        examples=_examples(rows, units, parts, np.flatnonzero(involved)),
    )


def resolve(
    rows: pd.DataFrame, units: Units, parts: Parts, found: Audit, policy: str, seed: int
) -> tuple[Parts, Leakage]:
    """Apply the leakage policy.

    Args:
        rows: the rows of a dataset.
        units: their units.
        parts: as assigned.
        found: the audit of these parts.
        policy: "stop", "regroup", "drop" or "allow".
        seed: of the study.

    Returns:
        the parts to use, and the record for the report.

    Raises:
        RadstartError: leakage under "stop"; an unknown policy; a class that is missing from a part
            afterwards.
    """
    if policy not in POLICIES:
        raise RadstartError("unknown policy", "--leakage", repr(policy), nearest(policy, POLICIES))
    dropped = 0
    if found.units and policy == "stop":
        raise _stop(found)
    label = text(rows, "label")
    if found.units and policy == "regroup":
        parts = _regroup(units, label, parts, seed)
        check_classes(parts.part, label, units)
    elif found.units and policy == "drop":
        parts, dropped = _drop(units, parts)
        hint = "--leakage=regroup redraws the parts instead"
        check_classes(parts.part, label, units, hint)
    consequence = _CONSEQUENCE[policy] if found.units else "No unit stands in two parts."
    record = Leakage(
        policy=policy,
        units=found.units,
        images=found.images,
        patients=found.patients,
        contents=found.contents,
        dropped=dropped,
        examples=found.examples,
        consequence=consequence,
    )
    return parts, record


def _crossing(keys: Strings, part: Strings) -> set[str]:
    used = (keys != "") & (part != "")
    pairs = set(zip(keys[used], part[used], strict=True))
    times = Counter(key for key, _ in pairs)
    return {key for key, n in times.items() if n > 1}


def _examples(
    rows: pd.DataFrame, units: Units, parts: Parts, involved: NDArray[np.intp]
) -> tuple[Mapping[str, Any], ...]:
    """Return, of the first units by line, the first row in each part."""
    line = rows["line"].to_numpy(np.int64) if "line" in rows else np.zeros(len(rows), np.int64)
    image = text(rows, "image")
    ordered = sorted(involved.tolist(), key=lambda row: (line[row], row))
    first = list(dict.fromkeys(units.unit[row] for row in ordered))[:_EXAMPLE_UNITS]
    chosen: dict[tuple[str, str], dict[str, Any]] = {}
    for row in ordered:
        key = (units.unit[row], parts.part[row])
        if key[0] in first and key not in chosen:
            place = {"line": int(line[row]), "image": str(image[row])}
            chosen[key] = {**place, "part": str(key[1]), "unit": str(key[0])}
    return tuple(sorted(chosen.values(), key=lambda e: (first.index(e["unit"]), e["line"])))


def _stop(found: Audit) -> RadstartError:
    counts = []
    if found.patients:
        counts.append(_number(found.patients, "patient number"))
    if found.contents:
        counts.append(_number(found.contents, "identical image"))
    if found.units > found.patients + found.contents:
        counts.append(_number(found.units, "unit"))
    shown = ", ".join(
        (f"line {e['line']} " if e["line"] else "") + f"{e['image']} ({_of(e)})"
        for e in found.examples
    )
    one = " and ".join(counts).startswith("1 ") and len(counts) == 1
    return RadstartError(
        f"{' and '.join(counts)} {'stands' if one else 'stand'} in more than one part, "
        f"{_number(found.images, 'image')} in all, first: {shown}",
        "leakage",
        remedy="choose --leakage=regroup (all parts redrawn by unit in the old proportions: not "
        "comparable with published figures), --leakage=drop (their rows leave training and "
        "validation, the test part stays) or --leakage=allow (every verdict is marked)",
    )


def _of(example: Mapping[str, Any]) -> str:
    unit, part = example["unit"], example["part"]
    return part if unit.startswith("image ") else f"{unit}, {part}"


def _number(n: int, one: str) -> str:
    return f"{n} {one if n == 1 else one + 's'}"


def _regroup(units: Units, label: Strings, parts: Parts, seed: int) -> Parts:
    used = parts.part != ""
    shares = [float((parts.part == name).sum() / used.sum()) for name in PARTS]
    part = draw_parts(units, label, used, PARTS, shares, stream(seed, "parts", "regroup"))
    note = f"The parts of the {parts.source} leaked and were redrawn by unit."
    return Parts(part, "regrouped", (*parts.notes, note))


def _drop(units: Units, parts: Parts) -> tuple[Parts, int]:
    part = parts.part.copy()
    in_test = among(units.unit, units.unit[part == "test"])
    part[in_test & (part != "test")] = ""
    in_train = among(units.unit, units.unit[part == "train"])
    part[in_train & (part == "validation")] = ""
    dropped = int(((parts.part != "") & (part == "")).sum())
    note = f"{dropped} images left training and validation because their units leaked."
    return replace(parts, part=part, notes=(*parts.notes, note)), dropped
