"""Is my test set in the pretraining data? Images of a dataset that are in another one."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radstart.core.errors import RadstartError
from radstart.core.files import os_reason, write_text
from radstart.curation.alike import NEAR
from radstart.curation.copies import has_content
from radstart.curation.divisions import Division
from radstart.curation.measured import Measured
from radstart.dataset import Dataset, similar_hashes, text

Strings = NDArray[np.object_]
BITS = 3  # in which perceptual hashes of near-duplicates may differ
MORE_BITS = 6  # the same where pixels can be compared afterwards
SHOWN = 2000
_CONTENT = re.compile(r"[0-9a-f]{32}")
_HASH = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, eq=False)
class Known:
    """The images of another set.

    Attributes:
        name: of the dataset, or of the list.
        contents: content hashes.
        hashes: uint64, perceptual hashes, each once.
        dataset: the dataset itself; None = a list of hashes.
    """

    name: str
    contents: frozenset[str]
    hashes: NDArray[np.uint64]
    dataset: Dataset | None = None


def write_hashes(dataset: Dataset, path: Path) -> None:
    """Write the hashes of a dataset's images, sorted, so that others can look for theirs."""
    rows = dataset.rows[has_content(dataset.rows)]
    lines = sorted(
        {*text(rows, "content"), *text(rows, "phash")} - {""}, key=lambda h: (-len(h), h)
    )
    head = [
        "# Hashes of images, one a line, sorted: 32 digits are the BLAKE2b of an image's pixels,",
        "# 16 digits its perceptual hash. radstart inspect DATASET --against THIS_FILE",
    ]
    write_text(path, "\n".join([*head, *lines]) + "\n")


def of_dataset(dataset: Dataset) -> Known:
    """Return what is known of another dataset."""
    rows = dataset.rows[has_content(dataset.rows)]
    return Known(dataset.name, frozenset(text(rows, "content")) - {""}, _codes(rows), dataset)


def read_hashes(path: Path) -> Known:
    """Return what is known from a list of hashes, one a line; # begins a remark.

    Raises:
        RadstartError: it cannot be read, or a line is no hash.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = os_reason(error) if isinstance(error, OSError) else "not text"
        raise RadstartError("cannot read the hashes", str(path), why, "check the path") from error
    contents, hashes = set(), set()
    for number, line in enumerate(lines, 1):
        word = line.partition("#")[0].strip().lower()
        if _CONTENT.fullmatch(word):
            contents.add(word)
        elif _HASH.fullmatch(word):
            hashes.add(int(word, 16))
        elif word:
            raise RadstartError(
                "is no hash", f"{path} line {number}", word[:80],
                "32 or 16 hexadecimal digits a line, as inspect/hashes.txt has them",
            )  # fmt: skip
    if not contents and not hashes:
        raise RadstartError("holds no hashes", str(path), f"{len(lines)} lines", "name another")
    return Known(path.name, frozenset(contents), np.array(sorted(hashes), np.uint64))


def _codes(rows: pd.DataFrame) -> NDArray[np.uint64]:
    codes = sorted({int(code, 16) for code in text(rows, "phash") if code})
    return np.array(codes, np.uint64)


def compare_sets(
    dataset: Dataset,
    measured: Measured,
    other: Known,
    other_measured: Measured | None,
    parts: Sequence[Division],
) -> dict[str, Any]:
    """Return which images are in another set: exactly, nearly, or perhaps; by part.

    Exactly: the same pixels. Nearly: thumbnails correlate as `NEAR` or more. Perhaps: of a list,
    which has no pixels, the perceptual hashes differ in `BITS` bits at the most.

    Args:
        dataset: whose images are looked for.
        measured: of it.
        other: the other set.
        other_measured: of the other dataset; None for a list.
        parts: divisions of `dataset`.
    """
    rows = dataset.rows
    content, image, shown = text(rows, "content"), text(rows, "image"), has_content(rows)
    exact = np.array([c in other.contents for c in content], bool) & shown
    kind = np.where(exact, "exact", "").astype(object)
    partner, likeness = _partners(content, exact, other), np.where(exact, 1.0, np.nan)
    rest = np.flatnonzero(~exact & shown)
    if other.dataset is not None and other_measured is not None:
        for row, where, value in _near(dataset, measured, other.dataset, other_measured, rest):
            kind[row], partner[row], likeness[row] = "near", where, value
    else:
        for row, bits in _perhaps(rows, rest, other.hashes):
            kind[row], likeness[row] = "perhaps", bits
    names = text(other.dataset.rows, "image") if other.dataset is not None else None
    order = [row for which in ("exact", "near", "perhaps")
             for row in np.flatnonzero(kind == which).tolist()]  # fmt: skip
    return {
        "other": other.name,
        "kind": "dataset" if other.dataset is not None else "hashes",
        "other_images": len(other.dataset) if other.dataset is not None else None,
        "other_hashes": len(other.contents) + len(other.hashes),
        "pixels_compared": other.dataset is not None,
        **{which: _told(kind == which, parts) for which in ("exact", "near", "perhaps")},
        "matches": [
            {
                "image": image[row],
                "kind": kind[row],
                "parts": {one.name: one.part[row] for one in parts if one.part[row]},
                "other": names[partner[row]] if names is not None and partner[row] >= 0 else None,
                "likeness": round(float(likeness[row]), 5),
                "row": row,
                "other_row": int(partner[row]) if partner[row] >= 0 else None,
            }
            for row in order[:SHOWN]
        ],
        "patients": _shared_patients(dataset, other.dataset),
    }


def _told(chosen: NDArray[np.bool_], parts: Sequence[Division]) -> dict[str, Any]:
    return {
        "images": int(chosen.sum()),
        "by_part": {
            one.name: dict(Counter(one.part[chosen & (one.part != "")].tolist())) for one in parts
        },
    }


def _partners(content: Strings, exact: NDArray[np.bool_], other: Known) -> NDArray[np.int64]:
    found = np.full(len(content), -1, np.int64)
    if other.dataset is not None:
        place = {c: k for k, c in reversed(list(enumerate(text(other.dataset.rows, "content"))))}
        for row in np.flatnonzero(exact).tolist():
            found[row] = place[content[row]]
    return found


def _near(
    dataset: Dataset, measured: Measured, other: Dataset, seen: Measured,
    rows: NDArray[np.int64],
) -> list[tuple[int, int, float]]:  # fmt: skip
    """Return (row, row of the other, correlation) of the nearest, from `NEAR` on."""
    rows = rows[measured.seen[rows]]
    theirs = np.flatnonzero(seen.seen & has_content(other.rows))
    best = np.zeros(len(rows), np.float32)
    where = np.zeros(len(rows), np.int64)
    if len(rows) * len(theirs) > 1_000_000_000:
        return _near_by_hash(dataset, measured, other, seen, rows, theirs)
    for start in range(0, len(theirs), 2048):
        block = theirs[start : start + 2048]
        products = (
            measured.thumbs[rows].astype(np.float32) @ seen.thumbs[block].astype(np.float32).T
        )
        top = products.argmax(axis=1)
        value = products[np.arange(len(rows)), top]
        better = value > best
        best[better], where[better] = value[better], block[top[better]]
    good = np.flatnonzero(best >= NEAR)
    return [(int(rows[k]), int(where[k]), float(best[k])) for k in good.tolist()]


def _near_by_hash(
    dataset: Dataset, measured: Measured, other: Dataset, seen: Measured,
    rows: NDArray[np.int64], theirs: NDArray[np.int64],
) -> list[tuple[int, int, float]]:  # fmt: skip
    """Do the same among images whose hashes differ in `MORE_BITS` bits at the most."""
    mine, known = _hashes(dataset.rows, rows)
    others, has = _hashes(other.rows, theirs)
    both = np.concatenate([mine, others])
    found = similar_hashes(both, np.concatenate([known, has]), MORE_BITS)
    groups: dict[int, list[int]] = {}
    for place, group in enumerate(found.group[len(rows) :].tolist()):
        if group >= 0:
            groups.setdefault(group, []).append(place)
    matches = []
    for place, group in enumerate(found.group[: len(rows)].tolist()):
        near = np.array(groups.get(group, [])[:5000], np.int64)
        if group >= 0 and len(near):
            row = int(rows[place])
            products = seen.thumbs[theirs[near]].astype(np.float32) @ measured.thumbs[row].astype(
                np.float32
            )
            if products.max() >= NEAR:
                top = int(products.argmax())
                matches.append((row, int(theirs[near[top]]), float(products[top])))
    return matches


def _hashes(
    rows: pd.DataFrame, chosen: NDArray[np.int64]
) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    codes = text(rows, "phash")[chosen]
    return (
        np.array([int(code, 16) if code else 0 for code in codes], np.uint64),
        np.array([bool(code) for code in codes], bool),
    )


def _perhaps(
    rows: pd.DataFrame, chosen: NDArray[np.int64], hashes: NDArray[np.uint64]
) -> list[tuple[int, int]]:
    """Return (row, bits that differ) of the nearest hash of a list, up to `BITS`."""
    mine, known = _hashes(rows, chosen)
    if not len(hashes) or not known.any():
        return []
    distinct, which = np.unique(mine[known], return_inverse=True)
    nearest = np.full(len(distinct), BITS + 1, np.int64)
    place = np.searchsorted(hashes, distinct).clip(max=len(hashes) - 1)
    nearest[hashes[place] == distinct] = 0
    both = np.concatenate([distinct, hashes])
    found = similar_hashes(both, None, BITS)
    theirs = np.isin(both, hashes)
    mine_at = {int(code): k for k, code in enumerate(distinct.tolist())}
    for (a, b), bits in zip(found.pairs.tolist(), found.distances.tolist(), strict=True):
        for one, two in ((a, b), (b, a)):
            k = mine_at.get(int(both[one]))
            if k is not None and theirs[two]:
                nearest[k] = min(nearest[k], bits)
    rows_known = chosen[known]
    bits_of = nearest[which]
    good = np.flatnonzero(bits_of <= BITS)
    return [(int(rows_known[k]), int(bits_of[k])) for k in good.tolist()]


def _shared_patients(dataset: Dataset, other: Dataset | None) -> dict[str, Any] | None:
    """Return patients that both have, where the same key wrote their ids; else None."""
    if other is None:
        return None
    keys = [(one.facts.get("how") or {}).get("key") for one in (dataset, other)]
    mine, theirs = (set(text(one.rows, "patient")) - {""} for one in (dataset, other))
    if keys[0] is None or keys[0] != keys[1] or not mine or not theirs:
        return None
    return {"patients": len(mine & theirs), "of": len(mine), "ids_kept": keys[0] == "kept"}
