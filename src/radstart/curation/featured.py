"""Copies that thumbnails and hashes miss, by frozen features of a network; suspected, no more.

Features of one kind of image point nearly the same way, so they are whitened first: what all images
share counts little. The threshold comes from the data: the likeness of an image to the nearest one
of another unit is taken to be a largest value (Gumbel's law, fitted to the lower half, in which
copies do not matter), and lies where one image in the whole dataset would reach it by chance. What
it finds is measured, too: copies of some images are made, hidden among the others and looked for.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from radstart.backbones import Numerics, computing, instructions, place, usable_device
from radstart.core.errors import RadstartError
from radstart.core.progress import Progress
from radstart.core.random import stream
from radstart.curation.alike import Places, groups_of
from radstart.curation.copies import differ
from radstart.curation.divisions import Division
from radstart.dataset import Dataset, Units, codes, text, working_copy
from radstart.features import features_key, forward, frozen_features
from radstart.weights import Arm, fetching, locate, parse_arm, resolve_arms, start_model

MOST, LEAST = 1_000_000, 30  # images
MADE = 15  # copies of each kind that are made and looked for
SHOWN = 12  # closest pairs
_ADDED = 1.0  # times the mean variance, to that of every direction: few images, many features
_TILE, _MOST_PAIRS = 2048, 200_000

Floats = NDArray[np.float32]
Levels = NDArray[np.uint8]


ALTERED: dict[str, Callable[[Levels, int], Any]] = {  # of a square image and its side
    "mirrored": lambda image, side: image[:, ::-1],
    "other contrast": lambda image, side: np.rint(255 * (image / 255) ** 1.7).astype(np.uint8),
    "cropped to 85 %": lambda image, side: cv2.resize(
        np.ascontiguousarray(image[(c := round(0.075 * side)) : side - c, c : side - c]),
        (side, side),
    ),
    "turned by 8°": lambda image, side: cv2.warpAffine(
        image, cv2.getRotationMatrix2D(((side - 1) / 2,) * 2, 8.0, 1.0), (side, side)
    ),
}


def asked_arm(start: str, backbone: str, progress: Progress) -> Arm:
    """Return the arm whose features are asked for; its weights are fetched where they are not here.

    Raises:
        RadstartError: an unknown start, one without trained weights, or it cannot be had.
    """
    spec = parse_arm(start)
    if not spec.located:
        raise RadstartError(
            "features of random values tell no copies", "--features", start,
            "name trained weights: imagenet, file:PATH, hub:OWNER/NAME, ...",
        )  # fmt: skip
    if spec.kind not in ("file", "run"):
        with fetching(progress, spec.name) as told:
            locate(spec, backbone, False, told)
    return resolve_arms((spec,), backbone, None, (0.5, 0.25))[0]


def _tiles(vectors: Floats, unit: Places) -> Iterator[tuple[int, int, Floats]]:
    """Yield likenesses of all pairs in tiles (start, other, (n, m)); -1 within a unit."""
    for start in range(0, len(vectors), _TILE):
        for other in range(start, len(vectors), _TILE):
            a, b = slice(start, start + _TILE), slice(other, other + _TILE)
            found = vectors[a] @ vectors[b].T
            found[unit[a][:, None] == unit[b][None]] = -1.0
            yield start, other, found


def _nearest(vectors: Floats, unit: Places) -> tuple[Floats, Places]:
    """Return the likeness of every image to the nearest one of another unit, and where it is."""
    best, where = np.full(len(vectors), -1.0, np.float32), np.zeros(len(vectors), np.int64)
    for start, other, tile in _tiles(vectors, unit):
        for at, to, found in ((start, other, tile), (other, start, tile.T)):
            top = found.argmax(axis=1)
            value = found[np.arange(len(found)), top]
            better = np.flatnonzero(value > best[at : at + len(found)])
            best[at + better], where[at + better] = value[better], to + top[better]
    return best, where


def _above(vectors: Floats, unit: Places, limit: float) -> Iterator[tuple[Places, Places, Floats]]:
    """Yield pairs of other units from a likeness on, up to some `_MOST_PAIRS`."""
    kept = 0
    for start, other, found in _tiles(vectors, unit):
        a, b = np.nonzero(found >= limit)
        yield a + start, b + other, found[a, b]
        kept += len(a)
        if kept > _MOST_PAIRS:
            return


def featured_copies(
    dataset: Dataset, arm: Arm, rows: Places, units: Units, known: Places,
    parts: Sequence[Division], progress: Progress,
) -> dict[str, Any]:  # fmt: skip
    """Return pairs and groups of images of other units that are suspected to be copies.

    Args:
        dataset: of which kept images are looked at.
        arm: whose features.
        rows: those to compare: one of each group of identical pictures.
        units: within one, pairs are not asked for.
        known: group of every row by what was found before, -1 = none; pairs within are left out.
        parts: divisions of the dataset.
        progress: where progress goes.

    Raises:
        RadstartError: more than `MOST` images.
    """
    keep = np.flatnonzero(dataset.rows["keep"].to_numpy(bool))
    rows = rows[np.isin(rows, keep)]
    told: dict[str, Any] = {"arm": arm.name, "size": arm.convention.size, "images": len(rows)}
    told |= {"threshold": None, "made": [], "pairs": 0, "groups": [], "examples": []}
    told |= {"across_labels": 0, "across_parts": {}}
    if len(rows) > MOST:
        raise RadstartError("too many images", "--features", str(len(rows)), f"{MOST:,} at most")
    if len(rows) < LEAST:
        return told
    features, made, chosen = _features(dataset.kept(), arm, np.searchsorted(keep, rows), progress)
    vectors = _whitened(np.concatenate([features, made]))
    vectors, made = vectors[: len(rows)], vectors[len(rows) :]
    unit = codes(units.unit[rows])[1].astype(np.int64)
    likeness, where = _nearest(vectors, unit)
    limit = _threshold(likeness)
    pairs = [(np.arange(len(rows)), where, likeness)]  # shown even where none is suspected
    if limit is not None:
        found = np.einsum("ijk,ijk->ij", made.reshape(*chosen.shape, -1), vectors[chosen]) >= limit
        told["made"] = [
            {"kind": kind, "copies": len(own), "found": int(own.sum())}
            for kind, own in zip(ALTERED, found, strict=True)
        ]
        pairs += _above(vectors, unit, limit)
    a, b, value = (np.concatenate(part) for part in zip(*pairs, strict=True))
    low, high = np.minimum(a, b), np.maximum(a, b)
    once = np.unique(np.stack([low, high]), axis=1, return_index=True)[1]
    a, b, value = rows[low[once]], rows[high[once]], value[once]
    new = np.flatnonzero((known[a] < 0) | (known[a] != known[b]))
    order = new[np.argsort(-value[new], kind="stable")]
    return {**told, **_told(dataset.rows, limit, parts, a[order], b[order], value[order])}


def _told(
    rows: pd.DataFrame, limit: float | None, parts: Sequence[Division],
    a: Places, b: Places, value: Floats,
) -> dict[str, Any]:  # fmt: skip
    """Return the facts of pairs, the most alike first, of which those from `limit` on count."""
    image, label = text(rows, "image"), text(rows, "label")
    sure = int((value >= limit).sum()) if limit is not None else 0
    group = groups_of(a[:sure], b[:sure], len(rows))
    return {
        "threshold": limit,
        "pairs": sure,
        "groups": [
            image[group == number].tolist() for number in range(int(group.max(initial=-1)) + 1)
        ],
        "across_labels": int(differ(label, a[:sure], b[:sure]).sum()),
        "across_parts": {
            one.name: int(differ(one.part, a[:sure], b[:sure]).sum()) for one in parts
        },
        "examples": [
            {
                "images": [image[a[k]], image[b[k]]],
                "between": [label[a[k]] or None, label[b[k]] or None],
                "cosine": round(float(value[k]), 4),
                "suspected": k < sure,
                "rows": [int(a[k]), int(b[k])],
            }
            for k in range(min(len(value), max(SHOWN, min(sure, 200))))
        ],
    }


def _features(
    dataset: Dataset, arm: Arm, places: Places, progress: Progress
) -> tuple[Floats, Floats, Places]:
    """Return features of the images at `places`, of copies made of some, and of which, (4, n)."""
    pixels = working_copy(dataset, arm.convention.size, progress)
    device = usable_device("auto")
    numerics = Numerics("float32", "contiguous", torch.get_num_threads(), instructions(), device)
    key = features_key(arm, 0, pixels.shape, dataset.content, numerics)
    path = dataset.path / "cache" / f"{key}.npy"
    features = frozen_features(arm, 0, pixels, path, numerics, progress)
    count = min(MADE, len(places) // 20 + 1)
    drawn = stream(0, "featured", "made").permutation(len(places))[: count * len(ALTERED)]
    drawn = drawn.reshape(len(ALTERED), count)
    copies = [
        alter(np.asarray(pixels[row]), arm.convention.size)
        for alter, own in zip(ALTERED.values(), drawn, strict=True)
        for row in places[own].tolist()
    ]
    with computing(numerics):
        module = place(start_model(arm, 0, 0)[0], numerics)
        made = forward(module, arm.convention, np.stack(copies), np.arange(len(copies)), numerics)
    return features[places], made, drawn


def _whitened(features: Floats) -> Floats:
    """Make features, in place, ones of unit length whose directions vary about alike."""
    mean = features.mean(axis=0, dtype=np.float64).astype(np.float32)
    spread = np.zeros((features.shape[1],) * 2)
    for start in range(0, len(features), _TILE):
        block = features[start : start + _TILE] - mean
        spread += block.T @ block
    values, axes = np.linalg.eigh(spread / len(features))
    scale = np.sqrt(np.maximum(values, 0) + _ADDED * max(float(values.mean()), 1e-12))
    turn = (axes / scale).astype(np.float32)
    for start in range(0, len(features), _TILE):
        white = (features[start : start + _TILE] - mean) @ turn
        white /= np.maximum(np.linalg.norm(white, axis=1, keepdims=True), np.float32(1e-6))
        features[start : start + _TILE] = white
    return features


def _threshold(likeness: Floats) -> float | None:
    """Return the likeness that one image of all reaches by chance; None = copies would not."""
    low, middle = np.quantile(likeness, [0.25, 0.5])
    width = (middle - low) / np.log(2)
    limit = float(middle + width * np.log(np.log(2) * len(likeness)))
    return limit if width > 0 and limit < 1 else None
