"""Whether an arm's weights were trained on what it is tested on."""

from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from radstart.core.errors import RadstartError
from radstart.dataset import Dataset, Parts
from radstart.study.spec import Seen
from radstart.weights import Arm, find_set, related

SAW = "saw the test images"


@dataclass(frozen=True)
class Overlap:
    """What of the test part an arm's weights have seen, in words; certain or by a name alone."""

    arm: str
    words: str
    certain: bool


def overlaps(
    arms: tuple[Arm, ...], dataset: Dataset, parts: Parts, data: Path, known_as: str
) -> tuple[Overlap, ...]:
    """Return what each arm's weights have seen of the test part.

    Weights of the catalog state the sets that they were trained on; they are held against the
    set that a person says these images are, else against the name of their folder. A run of
    another study is held against its images themselves, and against its patients where both
    studies read one folder.

    Args:
        arms: of the study.
        dataset: of the study.
        parts: each row's part.
        data: folder of the images.
        known_as: the public set, "" = not stated.
    """
    named = known_as or find_set(data.name) or ""
    found = []
    for arm in arms:
        if arm.source is None or arm.redraws:
            continue
        lines = related(arm.source.saw, named) if named else ()
        if lines:
            guess = "" if known_as else f" (if these images are {named}, as their folder is called)"
            found.append(Overlap(arm.name, "; ".join(lines) + guess, bool(known_as)))
        if arm.spec.kind == "run":
            said = _of_run(Path(arm.spec.rest), dataset, parts)
            found += [Overlap(arm.name, said, True)] if said else []
    return tuple(found)


def _of_run(run: Path, dataset: Dataset, parts: Parts) -> str:
    """Say which test images, or patients, a run of another study was trained on."""
    study = run.parent.parent / "dataset"
    tables = (study / "rows.parquet", study / "splits" / "study.parquet")
    if not all(table.is_file() for table in tables):
        return ""
    rows, split = (pd.read_parquet(table) for table in tables)
    used = rows[split["part"].isin(["train", "validation"]).to_numpy()]
    test = dataset.rows[parts.part == "test"]
    images = int(test["content"].isin(used["content"]).sum())
    shared = set(dataset.rows["content"]) & set(rows["content"])
    same_source = len(shared) > len(dataset.rows) / 2
    patients = set(test["patient"].dropna()) & set(used["patient"].dropna()) if same_source else ()
    if not (images or patients):
        return ""
    also = f" and {len(patients)} of its patients" if patients else ""
    return f"this run was trained on {images} of the {len(test)} test images{also}"


def marked(arms: tuple[Arm, ...], found: tuple[Overlap, ...], policy: Seen) -> tuple[Arm, ...]:
    """Return the arms; those that have seen the test part say so in their notes.

    Raises:
        RadstartError: it is certain, and the policy is to stop.
    """
    certain = [overlap for overlap in found if overlap.certain]
    if certain and policy == "stop":
        listed = " | ".join(f"{overlap.arm}: {overlap.words}" for overlap in certain)
        raise RadstartError(
            "arms were trained on what they would be tested on", "arms", listed,
            "leave them out, or let every table say so: --seen mark",
        )  # fmt: skip
    notes = {overlap.arm: overlap.words for overlap in found}
    return tuple(
        replace(arm, notes=(*arm.notes, f"{SAW}: {notes[arm.name]}")) if arm.name in notes else arm
        for arm in arms
    )
