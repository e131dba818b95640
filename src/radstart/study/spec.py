"""The question of a study: one frozen value, the same from command line, TOML and Python."""

import types
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from radstart.core.errors import RadstartError, nearest
from radstart.core.files import read_toml, write_toml
from radstart.stats import METRICS
from radstart.training import TASKS, policy_named
from radstart.weights import ArmSpec, parse_arm

SCHEMA = 1
Leakage = Literal["stop", "regroup", "drop", "allow"]
EXTENDABLE = ("arm", "policies", "budgets", "seeds")


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
        flip: whether the augmentation mirrors left and right.
        leakage: what to do when a unit or an image stands in two parts.
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
    flip: bool = False
    leakage: Leakage = "stop"
    test_fold: str = ""
    validation_fold: str = ""


def checked(spec: StudySpec) -> StudySpec:
    """Return the spec with defaults decided and every value in range.

    Raises:
        RadstartError: names the key, the value and the nearest known names.
    """
    if not spec.arm:
        raise RadstartError("a study needs an arm", "arms", "none", "add --arms random,...")
    names = [arm.name for arm in spec.arm]
    for known, key, name in (
        (TASKS, "task", spec.task),
        (METRICS, "metric", spec.metric or next(iter(METRICS))),
        (names, "reference", spec.reference or names[0]),
        (get_args(Leakage), "leakage", spec.leakage),
    ):
        if name not in known:
            raise RadstartError(f"unknown {key}", key, name, nearest(name, known))
    for policy in spec.policies:
        policy_named(policy)
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
        ("seed", spec.seed, spec.seed >= 0, "0 or more"),
        (
            "margin",
            spec.margin,
            spec.margin >= 0,
            "0 or more",
        ),
        ("level", spec.level, 0.5 <= spec.level < 1, "0.5 to below 1"),
        (
            "image_size",
            spec.image_size,
            spec.image_size is None or 16 <= spec.image_size <= 1024,
            "16 to 1024 pixels",
        ),
        ("epochs", spec.epochs, 1 <= spec.epochs <= 10_000, "1 to 10000"),
    )
    for key, got, fine, wanted in ranges:
        if not fine:
            raise RadstartError("out of range", key, str(got), f"use {wanted}")
    return replace(
        spec,
        metric=spec.metric or TASKS[spec.task].metrics[0],
        reference=spec.reference or names[0],
    )


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
    if not isinstance(schema, int) or schema > SCHEMA:
        raise RadstartError("made by a newer radstart", str(path), f"schema {schema}", "update")
    data, arms = values.pop("data", None), values.pop("arm", None)
    if not (isinstance(data, list) and len(data) == 1 and isinstance(data[0], dict)):
        raise RadstartError("needs one [[data]] table", str(path), type(data).__name__)
    if not (isinstance(arms, list) and arms and all(isinstance(arm, dict) for arm in arms)):
        raise RadstartError("needs [[arm]] tables", str(path), type(arms).__name__)
    folder = path.resolve().parent
    known = _typed(DataSpec, data[0], path, "[[data]] ")
    known["path"] = str(folder / known.get("path", ""))
    if known.get("labels"):
        beside = folder / known["labels"]
        known["labels"] = str(beside if beside.exists() else Path(known["path"], known["labels"]))
    specs = tuple(_read_arm(_typed(ArmSpec, arm, path, "[[arm]] "), folder) for arm in arms)
    rest = _typed(StudySpec, values, path, "")
    return StudySpec(**{**rest, "data": DataSpec(**known), "arm": specs})


def _read_arm(values: dict[str, Any], folder: Path) -> ArmSpec:
    spec = parse_arm(values.get("start", ""))
    if spec.kind in ("file", "run"):
        spec = replace(spec, start=f"{spec.kind}:{folder / Path(spec.rest).expanduser()}")
    return replace(spec, name=values.get("name", spec.name))


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
            raise RadstartError("unknown key", f"{path}: {place}{key}", "", nearest(key, names))
        if isinstance(value, int) and not isinstance(value, bool) and hints[key] is not int:
            value = float(value) if _accepts(hints[key], 0.5) else value
        if isinstance(value, list):
            value = tuple(float(v) if type(v) is int else v for v in value)
        if not _accepts(hints[key], value):
            raise RadstartError("wrong type", f"{path}: {place}{key}", repr(value))
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


def extended(old: StudySpec, new: StudySpec) -> StudySpec:
    """Return the question of a study that is called again, perhaps with more in it.

    More arms, policies, budgets and seeds extend it; the old ones keep their place.

    Raises:
        RadstartError: anything else changed; names the keys.
    """
    before, after = to_toml(old), to_toml(new)
    changed = [
        f"{key} was {before[key]!r}, is {after[key]!r}"
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


def absolute_arm(text: str) -> ArmSpec:
    """Read an arm as a person wrote it; its path is relative to the working folder."""
    spec = parse_arm(text)
    if spec.kind in ("file", "run"):
        path = Path(spec.rest).expanduser().resolve()
        return replace(spec, start=f"{spec.kind}:{path}")
    return spec


def found_labels(data: Path, labels: str) -> str:
    """Return the labels' path: as it stands, else inside DATA; without one, DATA/labels.csv."""
    if not labels:
        inside = data / "labels.csv"
        return str(inside.resolve()) if inside.is_file() else ""
    given = Path(labels).expanduser()
    inside = data / labels
    return str((inside if not given.exists() and inside.exists() else given).resolve())
