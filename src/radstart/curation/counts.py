"""What a dataset holds: counts, sizes, intensities, targets, masks; plain figures of its rows."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radstart.curation.measured import BINS, NUMBERS, Measured
from radstart.dataset import TARGET, Dataset, Units, natural, text

Strings = NDArray[np.object_]
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
FEW = 5  # patients of a class, below which single persons may be told by it
SHOWN = 200  # images named of one kind


def groups_of_rows(rows: pd.DataFrame) -> Strings:
    """Return what the page sets apart: the label, else one group of all."""
    label = text(rows, "label")
    if (label != "").any():
        return np.where(label == "", "(no label)", label)
    return np.full(len(rows), "all images", object)


def count_rows(rows: pd.DataFrame, units: Units) -> list[dict[str, Any]]:
    """Return images and units by modality, anatomy and label."""
    keys = list(zip(*(text(rows, name) for name in ("modality", "anatomy", "label")), strict=True))
    members: dict[tuple[str, ...], list[int]] = {}
    for row, key in enumerate(keys):
        members.setdefault(key, []).append(row)
    return [
        {
            **dict(zip(("modality", "anatomy", "label"), (part or None for part in key),
                       strict=True)),
            "images": len(own),
            "units": len(set(units.unit[own])),
        }
        for key, own in sorted(members.items(), key=lambda item: [natural(k) for k in item[0]])
    ]  # fmt: skip


def count_classes(
    rows: pd.DataFrame, units: Units, measured: Measured, group: Strings
) -> list[dict[str, Any]]:
    """Return, for every class, images, units, sizes and intensities."""
    found = []
    keep = rows["keep"].to_numpy(bool)
    height, width = native_size(rows)
    for name in _ordered(group):
        own = np.flatnonzero(group == name)
        shapes = Counter(zip(height[own].tolist(), width[own].tolist(), strict=True))
        aspect = width[own] / np.maximum(height[own], 1)
        found.append({
            "name": name,
            "images": len(own),
            "kept": int(keep[own].sum()),
            "units": len(set(units.unit[own])),
            "sizes": [
                {"height": h, "width": w, "images": n} for (h, w), n in shapes.most_common(6)
            ],
            "n_sizes": len(shapes),
            "aspect": quantiles(aspect),
            "not_square": int((height[own] != width[own]).sum()),
            "histogram": [round(float(v), 6) for v in measured.histogram[own].mean(axis=0)],
            **{
                key: quantiles(measured.numbers[own, NUMBERS.index(key)])
                for key in ("mean", "spread", "black")
            },
            "corner": _most_common(measured.corners[own, 0]),
        })  # fmt: skip
    return found


def _ordered(group: Strings) -> list[str]:
    return sorted(set(group), key=lambda name: (name == "(no label)", natural(name)))


def _most_common(values: NDArray[Any]) -> Mapping[str, Any]:
    value, count = Counter(values.tolist()).most_common(1)[0]
    return {"value": int(value), "share": round(count / len(values), 4)}


def native_size(rows: pd.DataFrame) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return height and width before ingest shrank images, as far as known."""
    found = []
    for name in ("height", "width"):
        native = rows[f"native_{name}"].to_numpy(float)
        stored = rows[name].to_numpy(float)
        found.append(np.where(np.isfinite(native), native, stored).astype(np.int64))
    return found[0], found[1]


def quantiles(values: NDArray[Any]) -> list[float | None]:
    """Return `QUANTILES` of the finite values, None where there are none."""
    known = values[np.isfinite(values)]
    if not len(known):
        return [None] * len(QUANTILES)
    return [round(float(v), 4) for v in np.quantile(known.astype(np.float64), QUANTILES)]


def images_per_unit(units: Units) -> dict[str, Any]:
    """Return how many units have how many images."""
    each = np.array(list(Counter(units.unit.tolist()).values()))
    times = Counter(each.tolist())
    return {
        "kind": units.kind,
        "known": units.patients_known,
        "units": len(each),
        "mean": round(float(each.mean()), 3) if len(each) else None,
        "median": float(np.median(each)) if len(each) else None,
        "most": int(each.max(initial=0)),
        "histogram": [{"images": k, "units": times[k]} for k in sorted(times)][:200],
    }


def dropped(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows that curation left out, by reason."""
    drop, image = text(rows, "drop"), text(rows, "image")
    out = ~rows["keep"].to_numpy(bool)
    reasons = np.where(out & (drop == ""), "(no reason given)", np.where(out, drop, ""))
    return [
        {
            "reason": reason,
            "images": int((reasons == reason).sum()),
            "examples": [image[row] for row in np.flatnonzero(reasons == reason)[:SHOWN].tolist()],
        }
        for reason in sorted(set(reasons) - {""})
    ]


def attributes(rows: pd.DataFrame) -> dict[str, Any]:
    """Return, for every column that describes images, the commonest values and the empty ones."""
    found: dict[str, Any] = {}
    for name in ("modality", "anatomy", "view", "laterality", "sex", "manufacturer", "site",
                 "window", "origin", "dtype", "channels"):  # fmt: skip
        values = text(rows, name)
        known = Counter(values[values != ""].tolist())
        if known:
            found[name] = {
                "values": [{"value": v, "images": n} for v, n in known.most_common(30)],
                "distinct": len(known),
                "unknown": int((values == "").sum()),
            }
    age = rows["age"].to_numpy(float)
    if np.isfinite(age).any():
        found["age"] = {"quantiles": quantiles(age), "unknown": int((~np.isfinite(age)).sum())}
    return found


def targets(dataset: Dataset) -> list[dict[str, Any]]:
    """Return findings (positive, negative, unknown) and numbers (range, heaps)."""
    found = []
    for column in (name for name in map(str, dataset.rows) if name.startswith(TARGET)):
        values = dataset.rows[column].to_numpy(float)
        known = values[np.isfinite(values)]
        name = column.removeprefix(TARGET)
        unknown = int(len(values) - len(known))
        if len(known) and np.isin(known, (0, 1)).all():
            positive = int(known.sum())
            found.append({"name": name, "kind": "finding", "positive": positive,
                          "negative": len(known) - positive, "unknown": unknown})  # fmt: skip
        elif len(known):
            found.append({
                "name": name, "kind": "number", "known": len(known), "unknown": unknown,
                "low": float(known.min()), "high": float(known.max()),
                "mean": round(float(known.mean()), 4), "sd": round(float(known.std(ddof=1)), 4)
                if len(known) > 1 else None, "median": float(np.median(known)),
                "distinct": len(np.unique(known)), "heap": _heap(known),
                "histogram": _histogram(known),
            })  # fmt: skip
    return found


def _heap(known: NDArray[np.float64]) -> Mapping[str, Any] | None:
    """Return the step whose multiples hold far more whole numbers than they should."""
    if (known != np.round(known)).any() or len(known) < 50:
        return None
    best: Mapping[str, Any] | None = None
    for step in (5, 6, 10, 12):
        share = float((known % step == 0).mean())
        excess = (share - 1 / step) / (1 - 1 / step)
        if excess > 0.3 and (best is None or excess > best["excess"]):
            best = {"step": step, "images": int((known % step == 0).sum()),
                    "share": round(share, 4), "excess": round(excess, 4)}  # fmt: skip
    return best


def _histogram(known: NDArray[np.float64]) -> Mapping[str, Any]:
    counts, edges = np.histogram(known, BINS)
    return {"counts": counts.tolist(), "edges": [round(float(edge), 6) for edge in edges]}


def contradictions(dataset: Dataset) -> dict[str, Any]:
    """Return images that are "normal" and have another finding at once."""
    names = [name for name in map(str, dataset.rows) if name.startswith(TARGET)]
    clear = [n for n in names if n.removeprefix(TARGET).lower().replace(" ", "_") in
             ("no_finding", "normal", "healthy", "negative")]  # fmt: skip
    rest = [n for n in names if n not in clear and
            dataset.rows[n].dropna().isin([0, 1]).all()]  # fmt: skip
    if not clear or not rest:
        return {"images": 0, "examples": []}
    both = (dataset.rows[clear] == 1).any(axis=1) & (dataset.rows[rest] == 1).any(axis=1)
    image = text(dataset.rows, "image")
    rows = np.flatnonzero(both.to_numpy())
    return {"images": len(rows), "examples": [image[row] for row in rows[:SHOWN].tolist()]}


def several_labels(rows: pd.DataFrame, units: Units) -> dict[str, Any]:
    """Return the patients whose images have different labels: a course over time, or a mistake."""
    label, patient = text(rows, "label"), text(rows, "patient")
    members: dict[str, set[str]] = {}
    for who, what in zip(patient, label, strict=True):
        if who and what:
            members.setdefault(who, set()).add(what)
    several = sorted((who for who, what in members.items() if len(what) > 1), key=natural)
    return {
        "patients": len(several),
        "of": len(members),
        "examples": [{"patient": who, "labels": sorted(members[who])} for who in several[:SHOWN]],
    }


def masks(dataset: Dataset) -> dict[str, Any] | None:
    """Return what is odd about masks: missing where others have one, empty, by label.

    None where the dataset has no masks.
    """
    rows = dataset.rows
    has = rows["mask_offset"].to_numpy(float) >= 0
    if not has.any():
        return None
    image, group = text(rows, "image"), groups_of_rows(rows)
    share = np.full(len(rows), np.nan)
    for row in np.flatnonzero(has).tolist():
        mask = dataset.mask(row)
        share[row] = float((mask > 0).mean()) if mask is not None and mask.size else 0.0
    missing = np.flatnonzero(~has)
    sources = [name.split("#")[0] for name in image]
    complete = {source for source, own in zip(sources, has, strict=True) if own}
    whole = sorted({sources[row] for row in missing.tolist()} - complete, key=natural)
    return {
        "with_mask": int(has.sum()),
        "missing": {
            "images": len(missing),
            "examples": [image[row] for row in missing[:SHOWN].tolist()],
            "files": whole[:SHOWN],
            "n_files": len(whole),
        },
        "by_label": [
            {
                "name": name,
                "masks": int((has & (group == name)).sum()),
                "empty": int((has & (group == name) & (share == 0)).sum()),
                "share": quantiles(share[(group == name) & (share > 0)]),
            }
            for name in _ordered(group)
        ],
    }


def small_cells(classes: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return classes of fewer than `FEW` units."""
    return [
        {"name": one["name"], "units": one["units"], "images": one["images"]}
        for one in classes
        if one["units"] < FEW and one["name"] != "(no label)"
    ]
