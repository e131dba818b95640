"""Inspect a dataset: everything that a person should know before training on it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from radstart.core.errors import RadstartError
from radstart.core.files import write_json
from radstart.core.progress import Progress
from radstart.curation import copies, counts
from radstart.curation.against import Known, compare_sets, of_dataset, read_hashes, write_hashes
from radstart.curation.alike import ALL, NEAR, alike, turned
from radstart.curation.divisions import Division, crossing, divisions, split_units
from radstart.curation.findings import find
from radstart.curation.measured import Measured, measure
from radstart.curation.outliers import outliers, suspects
from radstart.curation.pictures import draw_pictures
from radstart.curation.privacy import privacy
from radstart.curation.shortcuts import giveaways, probe
from radstart.dataset import Dataset, Units, find_units, open_dataset, text

if TYPE_CHECKING:
    from radstart.weights import Arm

SCHEMA = 1
FOLDER = "inspect"


@dataclass(frozen=True, eq=False)
class Inspection:
    """What was found.

    Attributes:
        folder: DATASET/inspect.
        facts: what stands in facts.json.
        pictures: data URIs by name, for the page.
    """

    folder: Path
    facts: Mapping[str, Any]
    pictures: Mapping[str, str]

    @property
    def blocking(self) -> list[Mapping[str, Any]]:
        """Return the findings that no training should pass over."""
        return list(self.facts["blocking"])


def inspect_dataset(
    path: Path,
    against: Path | None = None,
    progress: Progress | None = None,
    features: str = "",
    backbone: str = "",
) -> Inspection:
    """Look at a dataset; write DATASET/inspect/facts.json and hashes.txt.

    Args:
        path: the dataset.
        against: another dataset, or a list of hashes: are my images in there?
        progress: shown while images are looked at.
        features: an arm, as studies have them, whose features look for further copies; "" = none.
        backbone: timm's name, where its weights do not state one.

    Raises:
        RadstartError: no dataset, no images, `against` is neither, or nothing can be written.
    """
    progress = progress or Progress()
    dataset = _opened(path)
    other = _other(against)
    arm = None
    if features:  # needs torch
        from radstart.curation.featured import asked_arm

        arm = asked_arm(features, backbone, progress)
    measured = measure(dataset, progress)
    units = units_of(dataset)
    parts = divisions(dataset)
    facts = _facts(dataset, measured, units, parts, arm, progress)
    other_measured = None
    if other is not None:
        if other.dataset is not None:
            other_measured = measure(other.dataset, progress)
        facts["against"] = compare_sets(dataset, measured, other, other_measured, parts)
    facts["findings"] = find(facts)
    facts["blocking"] = [one for one in facts["findings"] if one["level"] == "blocking"]
    pictures = draw_pictures(dataset, facts, other.dataset if other is not None else None)
    facts = _without_rows(facts)
    folder = path / FOLDER
    write_hashes(dataset, folder / "hashes.txt")
    write_json(folder / "facts.json", facts)
    return Inspection(folder, facts, pictures)


def units_of(dataset: Dataset) -> Units:
    """Return the units of a dataset: what surely belongs together.

    Near-duplicates by hash alone do not make a unit here, and blank pictures join nobody though
    they are identical.
    """
    rows = dataset.rows
    empty = ~copies.has_content(rows)
    if empty.any():
        rows = rows.assign(content=np.where(empty, "", text(rows, "content")))
    return find_units(rows, near=False)


def _opened(path: Path) -> Dataset:
    try:
        dataset = open_dataset(path)
    except RadstartError as error:
        if error.what == "is not a dataset folder":
            error.remedy = "name a folder that radstart ingest made"
        raise
    if not len(dataset):
        raise RadstartError("holds no images", str(path), "0 rows", "ingest some first")
    return dataset


def _other(against: Path | None) -> Known | None:
    if against is None:
        return None
    if not against.exists():
        raise RadstartError(
            "is not there", f"--against {against}", "no such path",
            "name a dataset folder, or a file of hashes (inspect/hashes.txt of a dataset)",
        )  # fmt: skip
    return of_dataset(_opened(against)) if against.is_dir() else read_hashes(against)


def _facts(
    dataset: Dataset, measured: Measured, units: Units, parts: Sequence[Division],
    arm: "Arm | None", progress: Progress,
) -> dict[str, Any]:  # fmt: skip
    rows = dataset.rows
    group = counts.groups_of_rows(rows)
    classes = counts.count_classes(rows, units, measured, group)
    return {
        "schema": SCHEMA,
        "radstart": version("radstart"),
        "dataset": {
            "name": dataset.name,
            "target": dataset.target,
            "classes": list(dataset.classes),
            "content": dataset.content,
            "images": len(dataset),
            "kept": int(rows["keep"].to_numpy(bool).sum()),
            "labelled": int((text(rows, "label") != "").sum()),
            "rejected": len(dataset.rejected),
        },
        "units": counts.images_per_unit(units),
        "joined_patients": [list(pair) for pair in units.joined],
        "counts": counts.count_rows(rows, units),
        "classes": classes,
        "attributes": counts.attributes(rows),
        "targets": counts.targets(dataset),
        "contradictory_findings": counts.contradictions(dataset),
        "patients_with_several_labels": counts.several_labels(rows, units),
        "dropped": counts.dropped(rows),
        "masks": counts.masks(dataset),
        "small_cells": counts.small_cells(classes),
        **_copies(dataset, measured, units, parts, arm, progress),
        "outliers": outliers(rows, measured),
        "suspects": suspects(rows, measured),
        "privacy": privacy(dataset, measured),
        "shortcuts": probe(dataset, units, measured, progress),
        "giveaways": giveaways(dataset, units, measured)[:200],
        "against": None,
    }


def _copies(
    dataset: Dataset, measured: Measured, units: Units, parts: Sequence[Division],
    arm: "Arm | None", progress: Progress,
) -> dict[str, Any]:  # fmt: skip
    rows = dataset.rows
    image, label, patient = (text(rows, name) for name in ("image", "label", "patient"))
    shown = copies.has_content(rows)
    groups = copies.exact_groups(rows)
    repeated = {row for own in groups for row in own[1:]}
    distinct = np.array([r for r in np.flatnonzero(shown).tolist() if r not in repeated], np.int64)
    pairs = alike(measured, distinct)
    near = copies.near_groups(rows, pairs)
    turns = turned(measured, distinct)
    features = None
    if arm is not None:
        from radstart.curation.featured import featured_copies

        known = copies.known_groups(rows, pairs, turns)
        features = featured_copies(dataset, arm, distinct, units, known, parts, progress)
    return {
        "exact_duplicate_groups": [[image[row] for row in own] for own in groups],
        "duplicates_under_several_patients": [
            {"images": [image[r] for r in own], "patients": [patient[r] or None for r in own]}
            for own in copies.under_several(groups, patient, shown)
        ],
        "label_conflicts": copies.label_conflicts(rows, groups),
        "near_duplicate_groups": [[image[row] for row in own] for own in near],
        "near_duplicates": {
            "correlation": NEAR,
            "complete": pairs.complete,
            "counts": copies.near_counts(rows, pairs, units, parts),
            "across_labels": copies.near_across(rows, pairs, units, label),
            "across_parts": [
                {"division": one.name, "pairs": copies.near_across(rows, pairs, units, one.part)}
                for one in parts
            ],
        },
        "turned_copies": {
            "looked_for": len(distinct) <= ALL,
            **copies.turned_pairs(rows, turns, parts),
        },
        "feature_copies": features,
        "divisions": [crossing(rows, units, one) for one in parts],
        "units_in_several_parts": [
            unit for one in parts for unit in split_units(rows, units, one)
        ],
        "duplicates_across_parts": [
            own for one in parts for own in copies.across_parts(rows, groups, one)
        ],
    }  # fmt: skip


def _without_rows(value: Any) -> Any:
    """Return facts without numbers of rows, which only the pictures need."""
    if isinstance(value, Mapping):
        return {
            key: _without_rows(item)
            for key, item in value.items()
            if key not in ("row", "rows", "other_row")
        }
    if isinstance(value, list | tuple):
        return [_without_rows(item) for item in value]
    return value
