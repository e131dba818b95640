"""Whether an arm's weights were trained on what it is tested on."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from radstart.core.errors import RadstartError
from radstart.core.files import read_toml
from radstart.dataset import Dataset, Parts
from radstart.study.spec import DataSpec, Seen, read_spec
from radstart.weights import Arm, find_set, related

SAW = "saw the test images"
MAY_HAVE = "may have seen the test images"


@dataclass(frozen=True)
class Overlap:
    """What of the test part an arm's weights have seen, in words; certain or by a name alone."""

    arm: str
    words: str
    certain: bool


def overlaps(
    arms: tuple[Arm, ...], dataset: Dataset, parts: Parts, data: DataSpec
) -> tuple[Overlap, ...]:
    """Return what each arm's weights have seen of the test part.

    Weights of the catalog state the sets that they were trained on; they are held against the
    set that a person says these images are, else against the name of their folder. A run of
    another study is held against its images themselves, against its patients where both studies
    read one source, and so are the runs that it started from in turn. Moments of weights keep
    nothing of single images and are not asked.

    Args:
        arms: of the study.
        dataset: of the study.
        parts: each row's part.
        data: where the images are, and the public set that they are said to be from.
    """
    folder = Path(data.path).name
    named = data.known_as or find_set(folder) or ""
    found = []
    for arm in arms:
        if arm.source is None or arm.redraws:
            continue
        lines = related(arm.source.saw, named) if named else ()
        if lines and data.known_as:
            found.append(Overlap(arm.name, "; ".join(lines), True))
        elif lines:
            guess = f"their folder is called {folder}, and if they are {named}: "
            found.append(Overlap(arm.name, guess + "; ".join(lines), False))
        if arm.spec.kind in ("file", "run"):
            said = _of_runs(Path(arm.spec.rest), dataset, parts, data)
            found += [Overlap(arm.name, words, True) for words in said]
    return tuple(found)


def _of_runs(weights: Path, dataset: Dataset, parts: Parts, data: DataSpec) -> Iterator[str]:
    """Say which test images, or patients, a run was trained on, and those that it started from."""
    asked: list[Path] = []
    while True:
        run = weights if weights.is_dir() else weights.parent
        if run in asked or not (run / "receipt.toml").is_file():
            return
        what = f"run {run.name}, which it started from," if asked else "this run"
        asked.append(run)
        if said := _of_run(run, dataset, parts, data):
            yield f"{what} was trained on {said}"
        kind, _, rest = str(read_toml(run / "receipt.toml").get("start", "")).partition(":")
        if kind not in ("file", "run"):
            return
        weights = Path(rest)


def _of_run(run: Path, dataset: Dataset, parts: Parts, data: DataSpec) -> str:
    """Say which test images and patients stand in the training or validation part of a run."""
    study = run.parent.parent
    tables = tuple(study / "dataset" / name for name in ("rows.parquet", "splits/study.parquet"))
    if not all(table.is_file() for table in tables):
        return ""
    rows, split = (pd.read_parquet(table) for table in tables)
    rows = rows[rows["keep"]] if "keep" in rows else rows  # as the study saw them
    used = rows[split["part"].isin(["train", "validation"]).to_numpy()]
    test = dataset.rows[parts.part == "test"]
    images = int(test["content"].isin(used["content"]).sum())
    shared = set(dataset.rows["content"]) & set(rows["content"])
    patients = 0
    if len(shared) > min(len(dataset.rows), len(rows)) / 2 or _same_folder(study, data):
        patients = len(set(test["patient"].dropna()) & set(used["patient"].dropna()))
    said = [f"{images} of the {len(test)} test images"] if images else []
    said += [f"images of {patients} of the test patients"] if patients else []
    return " and ".join(said)


def _same_folder(study: Path, data: DataSpec) -> bool:
    """Return whether another study reads the same folder of images."""
    asked = study / "study.toml"
    if not asked.is_file():
        return False
    return os.path.realpath(read_spec(asked).data.path) == os.path.realpath(data.path)


def marked(arms: tuple[Arm, ...], found: tuple[Overlap, ...], policy: Seen) -> tuple[Arm, ...]:
    """Return the arms; those that have seen the test part, or may have, say so in their notes.

    Raises:
        RadstartError: it is certain, and the policy is to stop.
    """
    certain = [overlap for overlap in found if overlap.certain]
    if certain and policy == "stop":
        listed = " | ".join(f"{overlap.arm}: {overlap.words}" for overlap in certain)
        raise RadstartError(
            f"were trained on what they would be tested on: {listed}", "arms",
            remedy="leave them out, or let every table say so: --seen mark",
        )  # fmt: skip
    changed = []
    for arm in arms:
        notes = [
            f"{SAW if overlap.certain else MAY_HAVE}: {overlap.words}"
            for overlap in found
            if overlap.arm == arm.name
        ]
        changed.append(replace(arm, notes=(*arm.notes, *notes)))
    return tuple(changed)


def mark_of(notes: tuple[str, ...]) -> str:
    """Return the qualifier that an arm's notes bring to every comparison, "" for none."""
    return next((mark for mark in (SAW, MAY_HAVE) if any(n.startswith(mark) for n in notes)), "")
