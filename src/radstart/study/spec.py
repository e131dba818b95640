"""The question of a study: one frozen value, the same from command line, TOML and Python."""

import math
import os
import types
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from radstart.core.errors import RadstartError, nearest, short
from radstart.core.files import read_toml, write_toml
from radstart.stats import METRICS
from radstart.training import TASKS, policy_named
from radstart.weights import ArmSpec, find_set, named_in_full, parse_arm, set_names

SCHEMA = 1
Leakage = Literal["stop", "regroup", "drop", "allow"]
Seen = Literal["stop", "mark"]
EXTENDABLE = ("arm", "policies", "budgets", "seeds", "seen")


@dataclass(frozen=True)
class DataSpec:
    """Where the images and labels are.

    Attributes:
        path: folder of images, or of class folders.
        labels: CSV with at least an image and a label column; "" = class folders.
        image_column, label_column, patient_column, exam_column, split_column, fold_column,
            sex_column, age_column, site_column: names in the CSV; None = the usual name where it
            is present, "" = not used.
        positive: of two classes, the one whose score is ranked; None = decided by the names.
        known_as: public set that the images are from, a name of the catalog; "" = not stated.
        split: split of the dataset at `path` that the parts come from, NAME or NAME:REPEAT;
            "" = its columns, else drawn.
    """

    path: str
    labels: str = ""
    image_column: str | None = None
    label_column: str | None = None
    patient_column: str | None = None
    exam_column: str | None = None
    split_column: str | None = None
    fold_column: str | None = None
    sex_column: str | None = None
    age_column: str | None = None
    site_column: str | None = None
    positive: str | None = None
    known_as: str = ""
    split: str = ""


@dataclass(frozen=True)
class StudySpec:
    """A question in full, with every default written out.

    Attributes:
        data: images and labels.
        arm: the starts to compare.
        policies: what is trained (keys of POLICIES); the first is the one others are held against.
        budgets: shares of the labelled units of training and validation, 0 < b <= 1.
        seeds: how many seeds, shared by all arms.
        seed: of the study; everything random derives from it.
        reference: the arm that others are held against; "" = the first.
        task: what is predicted (a key of TASKS).
        metric: the primary one (an id of METRICS), fixed before anything is seen; "" = the task's.
        margin: differences below it are practically nothing; fixed before; 0 = no such claims.
        level: of the intervals, 0 < level < 1.
        backbone: timm's name for arms whose weights do not state one; "" = the first arm's.
        image_size: input side in pixels for all arms; None = each arm's own.
        epochs: step limit in epochs of the whole training part.
        rates: learning rates that every arm tries; () = the recipe's grid, which grows where its
            edge wins; one = the same for all arms, and nothing is chosen.
        flip: whether the augmentation mirrors left and right.
        leakage: what to do when a unit or an image stands in two parts.
        seen: what to do when an arm's weights were trained on the test images.
        test_fold, validation_fold: folds to use; "" = the last, the one before.
    """

    data: DataSpec
    arm: tuple[ArmSpec, ...]
    policies: tuple[str, ...] = ("full", "frozen")
    budgets: tuple[float, ...] = (1.0,)
    seeds: int = 3
    seed: int = 0
    reference: str = ""
    task: str = "classification"
    metric: str = ""
    margin: float = 0.02
    level: float = 0.95
    backbone: str = ""
    image_size: int | None = None
    epochs: int = 30
    rates: tuple[float, ...] = ()
    flip: bool = False
    leakage: Leakage = "stop"
    seen: Seen = "stop"
    test_fold: str = ""
    validation_fold: str = ""


def checked(spec: StudySpec) -> StudySpec:
    """Return the spec with defaults decided and every value in range.

    Raises:
        RadstartError: names the key, the value and the nearest known names.
    """
    if not spec.arm:
        raise RadstartError("a study needs an arm", "arms", "none", "add --arms random,...")
    arms, full = named_in_full(spec.arm)
    reference = full.get(spec.reference, spec.reference)
    spec = replace(spec, arm=arms, reference=reference)
    names = [arm.name for arm in spec.arm]
    for known, key, name in (
        (TASKS, "task", spec.task),
        (METRICS, "metric", spec.metric or next(iter(METRICS))),
        (names, "reference", spec.reference or names[0]),
        (get_args(Leakage), "leakage", spec.leakage),
        (get_args(Seen), "seen", spec.seen),
    ):
        if name not in known:
            raise RadstartError(f"unknown {key}", key, name, nearest(name, known))
    for policy in spec.policies:
        policy_named(policy)
    if spec.data.known_as and find_set(spec.data.known_as) is None:
        said = spec.data.known_as
        remedy = nearest(said, set_names())
        raise RadstartError("no such public set in the catalog", "known_as", said, remedy)
    for name in ("split_column", "fold_column"):
        if spec.data.split and getattr(spec.data, name) is not None:
            option, got = f"--{name.replace('_', '-')}", getattr(spec.data, name)
            raise RadstartError("the parts come from --split", option, repr(got), "give one")
    ranges: tuple[tuple[str, object, bool, str], ...] = (
        ("policies", spec.policies, bool(spec.policies), "at least one"),
        ("policies", spec.policies, _distinct(spec.policies), "each once"),
        (
            "budgets",
            spec.budgets,
            bool(spec.budgets) and all(0 < b <= 1 for b in spec.budgets),
            "shares above 0, at most 1",
        ),
        ("budgets", spec.budgets, _distinct(spec.budgets), "each once"),
        ("seeds", spec.seeds, 1 <= spec.seeds <= 1000, "1 to 1000"),
        ("seed", spec.seed, 0 <= spec.seed < 1 << 63, "0 to 2^63 - 1"),
        ("margin", spec.margin, 0 <= spec.margin < math.inf, "0 or more"),
        ("level", spec.level, 0.5 <= spec.level < 1, "0.5 to below 1"),
        (
            "image_size",
            spec.image_size,
            spec.image_size is None or 16 <= spec.image_size <= 1024,
            "16 to 1024 pixels",
        ),
        ("epochs", spec.epochs, 1 <= spec.epochs <= 10_000, "1 to 10000"),
        ("rates", spec.rates, all(0 < r <= 1 for r in spec.rates), "learning rates above 0"),
        ("rates", spec.rates, _distinct(spec.rates), "each once"),
    )
    for key, got, fine, wanted in ranges:
        if not fine:
            raise RadstartError("out of range", key, _shown(got), f"use {wanted}")
    _check_text(to_toml(spec))
    return replace(
        spec,
        metric=spec.metric or TASKS[spec.task].metrics[0],
        reference=spec.reference or names[0],
    )


def _shown(value: object) -> str:
    """Return a value as a person would write it."""
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return str(value)


def _check_text(value: object, key: str = "") -> None:
    """Refuse text that no file can hold: bytes of a path that are not UTF-8."""
    if isinstance(value, dict):
        for name, item in value.items():
            _check_text(item, name)
    elif isinstance(value, list | tuple):
        for item in value:
            _check_text(item, key)
    elif isinstance(value, str) and any("\ud800" <= sign <= "\udfff" for sign in value):
        raise RadstartError("is not UTF-8", key, value, "rename it")


def _distinct(values: tuple[Any, ...]) -> bool:
    return len(set(values)) == len(values)


def to_toml(spec: StudySpec) -> dict[str, Any]:
    """Return the spec as study.toml holds it."""
    record = asdict(spec)
    record["data"] = [record.pop("data")]
    record["arm"] = [asdict(arm) for arm in spec.arm]
    return {"schema": SCHEMA, **record, "data": record["data"], "arm": record["arm"]}


def write_spec(spec: StudySpec, path: Path) -> None:
    """Write study.toml, whole or not at all."""
    write_toml(path, to_toml(spec))


def read_spec(path: Path) -> StudySpec:
    """Read a study.toml; paths in it are relative to its folder.

    Raises:
        RadstartError: unknown keys (the nearest known ones are named), wrong types, a newer schema.
    """
    values = read_toml(path)
    schema = values.pop("schema", SCHEMA)
    if type(schema) is not int:
        raise RadstartError("wrong type", f"{path}: schema", repr(schema), f"write {SCHEMA}")
    if schema > SCHEMA:
        got = f"schema {schema}, known up to {SCHEMA}"
        raise RadstartError("made by a newer radstart", str(path), got, "update radstart")
    data, arms = values.pop("data", []), values.pop("arm", [])
    if not (_tables(data) and len(data) == 1):
        remedy = "leave one" if _tables(data) else 'add [[data]] and path = "DATA"'
        raise RadstartError("needs one [[data]] table", str(path), _count(data), remedy)
    if not _tables(arms):
        remedy = 'add [[arm]] and start = "random"'
        raise RadstartError("needs [[arm]] tables", str(path), _count(arms), remedy)
    folder = path.resolve().parent
    known = _typed(DataSpec, data[0], path, "[[data]] ")
    known["path"] = str(folder / known.get("path", ""))
    if known.get("labels"):
        beside = folder / known["labels"]
        within = Path(known["path"], known["labels"])
        known["labels"] = str(beside if os.path.exists(beside) else within)
    specs = tuple(_read_arm(_typed(ArmSpec, arm, path, "[[arm]] "), folder) for arm in arms)
    rest = _typed(StudySpec, values, path, "")
    return StudySpec(**{**rest, "data": DataSpec(**known), "arm": specs})


def _tables(value: object) -> bool:
    """Tell whether a value of TOML is an array of tables."""
    return isinstance(value, list) and bool(value) and all(isinstance(v, dict) for v in value)


def _count(value: object) -> str:
    return str(len(value)) if isinstance(value, list) else type(value).__name__


def _read_arm(values: dict[str, Any], folder: Path) -> ArmSpec:
    spec = parse_arm(values.get("start", ""))
    if spec.kind in ("file", "run"):
        spec = replace(spec, start=f"{spec.kind}:{folder / os.path.expanduser(spec.rest)}")
    return ArmSpec(**{**values, "name": values.get("name", spec.name), "start": spec.start})


def _typed(
    kind: type[DataSpec] | type[ArmSpec] | type[StudySpec],
    values: Mapping[str, Any],
    path: Path,
    place: str,
) -> dict[str, Any]:
    """Return the values of a TOML table, checked against the fields of a dataclass."""
    hints = get_type_hints(kind)
    names = [item.name for item in fields(kind)]
    result = {}
    for key, value in values.items():
        if key not in names:
            known = ["schema", *names] if kind is StudySpec else names
            raise RadstartError(
                "unknown key", f"{path}: {place}{short(key)}", "", nearest(key, known)
            )
        if isinstance(value, int) and not isinstance(value, bool) and hints[key] is not int:
            value = float(value) if _accepts(hints[key], 0.5) else value
        if isinstance(value, list):
            value = tuple(float(v) if type(v) is int else v for v in value)
        if not _accepts(hints[key], value):
            given = values[key]
            wanted = f"write {_wanted(hints[key])}"
            raise RadstartError("wrong type", f"{path}: {place}{key}", repr(given), wanted)
        result[key] = value
    return result


def _accepts(hint: Any, value: object) -> bool:
    if get_origin(hint) is types.UnionType:
        return any(_accepts(option, value) for option in get_args(hint))
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    if get_origin(hint) is tuple:
        return isinstance(value, tuple) and all(_accepts(get_args(hint)[0], v) for v in value)
    return type(value) is hint


def _wanted(hint: Any) -> str:
    """Return in words what a field of this type holds."""
    if get_origin(hint) is types.UnionType:
        return _wanted(get_args(hint)[0])
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(get_args(hint))
    if get_origin(hint) is tuple:
        return f"a list: each {_wanted(get_args(hint)[0])}"
    return {int: "a whole number", float: "a number", str: "text", bool: "true or false"}[hint]


def extended(old: StudySpec, new: StudySpec) -> StudySpec:
    """Return the question of a study that is called again, perhaps with more in it.

    More arms, policies, budgets and seeds extend it; the old ones keep their place. What marks
    results and changes none (`seen`, `known_as`) may be asked otherwise.

    Raises:
        RadstartError: anything else changed; names the keys.
    """
    before, after = to_toml(old), to_toml(new)
    before["data"], after["data"] = (
        [{**spec["data"][0], "known_as": ""}] for spec in (before, after)
    )
    changed = [
        f"{key} was {_differing(before[key], after[key])}, is {_differing(after[key], before[key])}"
        for key in before
        if key not in EXTENDABLE and before[key] != after[key]
    ]
    for key in ("arm", "policies", "budgets"):
        kept, asked = getattr(old, key), getattr(new, key)
        gone = [item.name if key == "arm" else str(item) for item in kept if item not in asked]
        if gone:
            changed.append(f"{key}: {', '.join(gone)} left out or changed")
    if new.seeds < old.seeds:
        changed.append(f"seeds was {old.seeds}, is {new.seeds}")
    if changed:
        raise RadstartError(
            "this folder holds another study",
            "--out",
            "; ".join(changed),
            "only more arms, policies, budgets or seeds extend a study: choose another --out",
        )

    def merged(key: str) -> Any:
        kept = getattr(old, key)
        return (*kept, *(item for item in getattr(new, key) if item not in kept))

    return replace(new, arm=merged("arm"), policies=merged("policies"), budgets=merged("budgets"))


def _differing(value: Any, other: Any) -> str:
    """Return a value as it stands; of the data's table what differs from the other one alone."""
    if not isinstance(value, list):
        return repr(value)
    return ", ".join(
        f"{key} {value[0][key]!r}" for key in value[0] if value[0][key] != other[0][key]
    )


def absolute_arm(arm: str | ArmSpec) -> ArmSpec:
    """Read an arm as a person wrote it; its path is relative to the working folder."""
    spec = parse_arm(arm) if isinstance(arm, str) else arm
    if spec.kind in ("file", "run"):
        return replace(spec, start=f"{spec.kind}:{absolute(spec.rest)}")
    return spec


def absolute(path: str) -> str:
    """Return a path from the root, links followed; never fails: who opens it says what is wrong."""
    return os.path.realpath(os.path.expanduser(path))


def found_labels(data: Path, labels: str) -> str:
    """Return the labels' path: as it stands, else inside DATA; without one, DATA/labels.csv."""
    inside = str(data / (labels or "labels.csv"))
    if not labels:
        return absolute(inside) if os.path.isfile(inside) else ""
    given = absolute(labels)
    return absolute(inside) if not os.path.exists(given) and os.path.exists(inside) else given
