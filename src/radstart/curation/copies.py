"""Identical and nearly identical pictures: under several labels, patients or parts."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radstart.curation.alike import NEAR, STEPS, Alike, Turned, groups_of
from radstart.curation.divisions import Division
from radstart.dataset import Units, text

Strings = NDArray[np.object_]
EMPTY = ("blank", "low diversity")
MOST = 2000  # pairs listed


def has_content(rows: pd.DataFrame) -> NDArray[np.bool_]:
    """Return which rows show something: blank pictures are alike and tell nothing of copies."""
    return ~np.isin(text(rows, "drop"), EMPTY)


def exact_groups(rows: pd.DataFrame) -> list[list[int]]:
    """Return the rows of every group of identical pictures, by first row."""
    members: dict[str, list[int]] = {}
    for row, content in enumerate(text(rows, "content")):
        if content:
            members.setdefault(content, []).append(row)
    return [own for own in members.values() if len(own) > 1]


def label_conflicts(rows: pd.DataFrame, groups: Sequence[Sequence[int]]) -> list[dict[str, Any]]:
    """Return every picture that stands under several labels, its images and their labels."""
    image, label = text(rows, "image"), text(rows, "label")
    shown = has_content(rows)
    found = []
    for own in groups:
        labels = sorted({label[row] for row in own} - {""})
        if len(labels) > 1 and shown[own[0]]:
            found.append({
                "images": [image[row] for row in own],
                "labels": [label[row] or None for row in own],
                "rows": list(own),
            })  # fmt: skip
    return found


def under_several(
    groups: Sequence[Sequence[int]], keys: Strings, shown: NDArray[np.bool_]
) -> list[list[int]]:
    """Return the groups whose rows have two or more keys, "" being none."""
    return [
        list(own) for own in groups if shown[own[0]] and len({keys[row] for row in own} - {""}) > 1
    ]


def near_counts(
    rows: pd.DataFrame, found: Alike, units: Units, parts: Sequence[Division]
) -> list[dict[str, Any]]:
    """Return, for each step of correlation, pairs of different pictures and what they cross."""
    label = text(rows, "label")
    counts = []
    for step in STEPS:
        if step < found.least:
            continue
        pairs = found.above(step)
        a, b = pairs.first, pairs.second
        group = groups_of(a, b, len(rows))
        counts.append({
            "correlation": step,
            "pairs": len(a),
            "groups": int(group.max(initial=-1)) + 1,
            "images": int((group >= 0).sum()),
            "across_labels": int(differ(label, a, b).sum()),
            "across_units": int((units.unit[a] != units.unit[b]).sum()),
            "across_parts": {
                one.name: int(differ(one.part, a, b).sum()) for one in parts
            },
        })  # fmt: skip
    return counts


def differ(keys: Strings, a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which pairs of rows have two different keys, "" being none."""
    return np.asarray((keys[a] != keys[b]) & (keys[a] != "") & (keys[b] != ""), bool)


def near_groups(rows: pd.DataFrame, found: Alike) -> list[list[int]]:
    """Return the rows of every group of near-duplicates, with the identical pictures of each."""
    pairs = found.above(NEAR)
    group = groups_of(pairs.first, pairs.second, len(rows))
    content = text(rows, "content")
    of_content = {content[row]: group[row] for row in np.flatnonzero(group >= 0).tolist()}
    members: dict[int, list[int]] = {}
    for row, own in enumerate(content):
        if own in of_content:
            members.setdefault(int(of_content[own]), []).append(row)
    return [members[key] for key in sorted(members)]


def known_groups(rows: pd.DataFrame, found: Alike, other: Turned) -> NDArray[np.int64]:
    """Return the group of every row by what was found and the column `near`, -1 = none."""
    near = text(rows, "near")
    order = np.argsort(near, kind="stable")
    same = (near[order[1:]] == near[order[:-1]]) & (near[order[1:]] != "")
    pairs = found.above(NEAR)
    first = np.concatenate([pairs.first, other.first, order[:-1][same]])
    second = np.concatenate([pairs.second, other.second, order[1:][same]])
    return groups_of(first, second, len(rows))


def near_across(
    rows: pd.DataFrame, found: Alike, units: Units, keys: Strings
) -> list[dict[str, Any]]:
    """Return pairs of near-duplicates, the most alike first, whose keys differ."""
    pairs = found.above(NEAR)
    across = np.flatnonzero(differ(keys, pairs.first, pairs.second))
    order = across[np.argsort(-pairs.correlation[across], kind="stable")]
    image = text(rows, "image")
    return [
        {
            "images": [image[a], image[b]],
            "between": [keys[a], keys[b]],
            "correlation": round(float(correlation), 5),
            "same_unit": bool(units.unit[a] == units.unit[b]),
            "rows": [a, b],
        }
        for a, b, correlation in zip(
            pairs.first[order[:MOST]].tolist(), pairs.second[order[:MOST]].tolist(),
            pairs.correlation[order[:MOST]].tolist(), strict=True,
        )
    ]  # fmt: skip


def turned_pairs(rows: pd.DataFrame, found: Turned, parts: Sequence[Division]) -> Mapping[str, Any]:
    """Return pairs that look like turned or mirrored copies, the most alike first."""
    image, label = text(rows, "image"), text(rows, "label")
    order = np.argsort(-found.correlation, kind="stable")
    involved = np.union1d(found.first, found.second)
    return {
        "pairs": len(order),
        "images": len(involved),
        "across_labels": int(differ(label, found.first, found.second).sum()),
        "across_parts": {
            one.name: int(differ(one.part, found.first, found.second).sum()) for one in parts
        },
        "examples": [
            {
                "images": [image[found.first[k]], image[found.second[k]]],
                "degrees": round(float(found.degrees[k]), 1),
                "mirrored": bool(found.mirrored[k]),
                "correlation": round(float(found.correlation[k]), 4),
                "rows": [int(found.first[k]), int(found.second[k])],
            }
            for k in order[:200].tolist()
        ],
    }


def across_parts(
    rows: pd.DataFrame, groups: Sequence[Sequence[int]], division: Division
) -> list[dict[str, Any]]:
    """Return every picture that stands in several parts."""
    image, shown = text(rows, "image"), has_content(rows)
    return [
        {
            "division": division.name,
            "images": [image[row] for row in own],
            "parts": [division.part[row] or None for row in own],
            "rows": own,
        }
        for own in under_several(groups, division.part, shown)
    ]
