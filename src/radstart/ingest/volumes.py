"""Slices that are a file each become volumes: by geometry, not by the number of a series alone.

A series may hold a scout, two orientations, several echoes or phases; its files come in any order.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radstart.core.errors import RadstartError

SCOUTS = frozenset({"LOCALIZER", "LOCALISER", "SCOUT", "SCANOGRAM", "TOPOGRAM", "SURVIEW"})
NEEDED = (
    "patient",
    "series",
    "orientation",
    "position",
    "spacing",
    "rows",
    "cols",
    "acquisition",
    "instance",
    "image_type",
    "image_id",
)
"""The columns of `group`: the tags of a scan."""

ANGLE = 0.02  # radians by which slices of a volume may be turned against each other
SPACING = 0.01  # share by which their pixels may differ in size
_SAME = 0.02  # mm: positions nearer than this are one
_UNEVEN = 0.1  # share of the usual step by which a step may differ
_GAP = 1.5  # usual steps from which on slices are missing


@dataclass(frozen=True)
class Stack:
    """What a volume is like.

    Attributes:
        slices: how many.
        step: usual distance between neighbours, in mm (median; 0 = one slice).
        missing: slices that would fill the gaps.
        gaps: places in the order after which something is missing.
        irregular: whether steps differ by more than a tenth where nothing is missing.
        overlap: whether slices are thicker than their distance; None = thickness not known.
        sheared: whether the stack is no right-angled box (a tilted gantry).
    """

    slices: int
    step: float
    missing: int
    gaps: tuple[int, ...]
    irregular: bool
    overlap: bool | None
    sheared: bool


def group(rows: pd.DataFrame) -> pd.DataFrame:
    """Return which volume each image belongs to, and where in it.

    Images of one patient and series are a volume where they agree in size, pixel spacing and
    orientation. Where several lie at one position (echoes, phases, repeats) the volume is split:
    by where they lie in their plane, by acquisition number, by image type, or by both, the first
    that leaves one image per position in few parts; else the k-th image of each position, by
    instance number, is in the k-th volume. The acquisition number alone splits nothing:
    step-and-shoot CT counts it up with every slice. The order of the rows does not matter.

    Args:
        rows: one per image, columns NEEDED (absent values are None or NaN): orientation of 6
            floats, position of 3, spacing of 2 (mm).

    Returns:
        The same index; `volume`: int from 0, -1 = none; `place`: int, order along the normal;
        `along`: float, mm along the normal; `alone`: why it is in no volume, "" = it is in one.
    """
    count = len(rows)
    volume = np.full(count, -1)
    place = np.zeros(count, int)
    along = np.full(count, np.nan)
    alone = np.full(count, "", object)
    cosines = _floats(rows["orientation"], 6)
    positions = _floats(rows["position"], 3)
    spacing = _floats(rows["spacing"], 2)
    with np.errstate(invalid="ignore", over="ignore"):
        normals = np.cross(cosines[:, :3], cosines[:, 3:])
        known = np.abs(np.linalg.norm(normals, axis=1) - 1) < 0.1
    known &= np.isfinite(positions).all(axis=1)
    scouts = np.array([is_scout(kind) for kind in rows["image_type"]], bool)
    named = np.array([_given(name) for name in rows["series"]], bool)
    alone[~known] = "no position or orientation"
    alone[~named] = "no series"
    alone[scouts] = "a localiser"
    usable = np.flatnonzero(known & named & ~scouts)
    order = _ranks(rows)
    geometry = np.hstack([cosines, spacing])
    taken = 0
    for series in _parts(rows, ("patient", "series", "rows", "cols"), usable):
        for same in _alike(geometry[series], series):
            if len(same) < 2:
                alone[same] = "the only one of its geometry in the series"
                continue
            normal = normals[same].mean(axis=0)
            normal /= np.linalg.norm(normal)
            along[same] = positions[same] @ normal
            across = np.rint(positions[same] - np.outer(along[same], normal))  # whole mm
            for stack in _split(rows, same, along, order, across):
                place[stack] = np.argsort(np.lexsort((order[stack], along[stack])))
                volume[stack] = taken
                taken += 1
    columns = {"volume": _renumbered(volume, order), "place": place, "along": along, "alone": alone}
    return pd.DataFrame(columns, index=rows.index)


def is_scout(image_type: object) -> bool:
    r"""Return whether an image type ("ORIGINAL\PRIMARY\LOCALIZER") is that of a localiser."""
    return bool(SCOUTS & set(str(image_type or "").upper().replace("\\", " ").split()))


def stack_of(
    along: NDArray[np.float64],
    positions: NDArray[np.float64] | None = None,
    thickness: float | None = None,
) -> Stack:
    """Return what a volume is like.

    Args:
        along: (N,) mm along the normal, rising.
        positions: (N, 3) mm; None = not known, then nothing is called sheared.
        thickness: of a slice, in mm.
    """
    steps = np.diff(np.asarray(along, float))
    if not steps.size:
        return Stack(len(along), 0.0, 0, (), False, None, False)
    step = float(np.median(steps))
    if step <= 0:
        return Stack(len(along), 0.0, 0, (), True, None, False)
    gaps = np.flatnonzero(steps > _GAP * step)
    missing = int((np.rint(steps[gaps] / step) - 1).clip(1).sum())
    rest = np.delete(steps, gaps)
    irregular = bool((np.abs(rest - step) > max(_UNEVEN * step, _SAME)).any())
    overlap = None if thickness is None else bool(thickness > step + _SAME)
    sheared = False
    if positions is not None:
        reach = np.linalg.norm(positions[-1] - positions[0])
        sheared = bool(reach > 1.001 * (along[-1] - along[0]) + _SAME)
    return Stack(len(along), step, missing, tuple(gaps.tolist()), irregular, overlap, sheared)


def stacks(rows: pd.DataFrame, grouped: pd.DataFrame) -> dict[int, Stack]:
    """Return volume -> what it is like, of what `group` gave for `rows`."""
    volume, place = (grouped[name].to_numpy(np.int64) for name in ("volume", "place"))
    along = grouped["along"].to_numpy(float)
    positions = _floats(rows["position"], 3)
    thickness = np.full(len(rows), np.nan)
    if "thickness" in rows:
        thickness = pd.to_numeric(rows["thickness"]).to_numpy(float, na_value=np.nan)
    order = np.lexsort((place, volume))
    order = order[volume[order] >= 0]
    out = {}
    for part in np.split(order, np.flatnonzero(np.diff(volume[order])) + 1) if order.size else []:
        thick = thickness[part][np.isfinite(thickness[part])]
        known = float(np.median(thick)) if thick.size and np.median(thick) > 0 else None
        out[int(volume[part[0]])] = stack_of(along[part], positions[part], known)
    return out


def choose(
    count: int, rule: str = "all", masked: Sequence[bool] | None = None
) -> NDArray[np.int64]:
    """Return which slices of a volume are taken, in order.

    Args:
        count: of slices.
        rule: "all"; "every N": each N-th, as many left out before the first as after the last;
            "middle K": the K in the middle, all where there are fewer; "masked": all whose mask
            is not empty.
        masked: (count,) for "masked".

    Raises:
        RadstartError: the rule is not known, or no masks were given.
    """
    name, _, number = rule.strip().partition(" ")
    if name == "all" and not number:
        return np.arange(count)
    if name == "masked" and not number:
        if masked is None:
            raise RadstartError("has no masks", "slices", rule, "choose all, every N or middle K")
        return np.flatnonzero(np.asarray(masked, bool)[:count])
    if name not in ("every", "middle") or not number.isdecimal() or not 0 < int(number) < 10**6:
        raise RadstartError("is no rule", "slices", rule, "all, every N, middle K or masked")
    if name == "every":
        return np.arange(max(0, (count - 1) % int(number) // 2), count, int(number))
    first = max(0, (count - int(number)) // 2)
    return np.arange(first, min(count, first + int(number)))


# -- inside ------------------------------------------------------------------------------------


def _floats(column: Iterable[object], width: int) -> NDArray[np.float64]:
    """Return (N, width) floats, NaN where a cell is no such row of numbers."""
    cells = list(column)
    out = np.full((len(cells), width), np.nan)
    for i, cell in enumerate(cells):
        if isinstance(cell, tuple | list | np.ndarray) and len(cell) == width:
            try:
                out[i] = cell
            except (TypeError, ValueError):
                out[i] = np.nan
    out[np.abs(out) > 1e6] = np.nan
    return out


def _given(value: object) -> bool:
    return value is not None and value == value and str(value) != ""


def _parts(
    rows: pd.DataFrame, names: Sequence[str], which: NDArray[np.int64]
) -> Iterator[NDArray[np.int64]]:
    """Yield the row numbers of every combination of values, in the order of the rows."""
    keys = pd.DataFrame({name: rows[name].array.take(which) for name in names})
    for inside in keys.groupby(list(names), sort=False, dropna=False).indices.values():
        yield which[inside]


def _ranks(rows: pd.DataFrame) -> NDArray[np.int64]:
    """Return the rank of every row: patient, series, acquisition, instance, type, identifier."""
    texts = {
        name: pd.factorize(rows[name].astype("string").fillna(""), sort=True)[0]
        for name in ("patient", "series", "image_type", "image_id")
    }
    numbers = {
        name: pd.to_numeric(rows[name], errors="coerce").to_numpy(float, na_value=np.nan)
        for name in ("acquisition", "instance")
    }
    keys = {**texts, **numbers}
    names = ("image_id", "image_type", "instance", "acquisition", "series", "patient")
    out = np.empty(len(rows), int)
    out[np.lexsort([keys[name] for name in names])] = np.arange(len(rows))
    return out


def _alike(geometry: NDArray[np.float64], which: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Yield row numbers whose direction cosines and spacing agree: (N, 8) six and two."""
    left = np.arange(len(which))
    left = left[np.lexsort(np.nan_to_num(geometry).round(3).T[::-1])]
    while left.size:
        first, rest = geometry[left[0]], geometry[left]
        turned = np.linalg.norm(rest[:, :6].reshape(-1, 2, 3) - first[:6].reshape(2, 3), axis=2)
        near = (turned < ANGLE).all(axis=1)
        both = np.isfinite(rest[:, 6:]) & np.isfinite(first[6:])
        off = np.abs(rest[:, 6:] - first[6:]) > SPACING * np.abs(first[6:])
        near &= ~(off & both).any(axis=1) & (both.all(axis=1) == both[0].all())
        near[0] = True
        yield np.sort(which[left[near]])
        left = left[~near]


def _split(
    rows: pd.DataFrame,
    same: NDArray[np.int64],
    along: NDArray[np.float64],
    order: NDArray[np.int64],
    across: NDArray[np.float64],
) -> Iterator[NDArray[np.int64]]:
    """Yield row numbers with one image per position each."""
    snapped = _snapped(along[same])
    _, layers = np.unique(snapped, return_counts=True)
    if layers.max() == 1:
        yield same
        return
    places = pd.DataFrame(across).groupby([0, 1, 2], sort=False).indices.values()
    tags = (("acquisition",), ("image_type",), ("acquisition", "image_type"))
    ways = [[same[inside] for inside in places], *(list(_parts(rows, t, same)) for t in tags)]
    for parts in ways:
        few = 1 < len(parts) <= 2 * layers.max()
        if few and all(len(np.unique(_snapped(along[part]))) == len(part) for part in parts):
            yield from parts
            return
    sorting = np.lexsort((order[same], snapped))
    starts = np.cumsum([0, *layers[:-1]])
    turn = np.arange(len(same)) - np.repeat(starts, layers)
    for k in range(int(layers.max())):
        yield same[sorting][turn == k]


def _snapped(along: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return positions, those that are one with the same value."""
    order = np.argsort(along, kind="stable")
    rising = along[order]
    first = np.diff(rising, prepend=-np.inf) > _SAME
    out = np.empty_like(along)
    out[order] = rising[first][np.cumsum(first) - 1]
    return out


def _renumbered(volume: NDArray[np.int64], order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return volumes numbered by the rank of their first image; -1 stays."""
    rising = volume[np.argsort(order)]
    kept, firsts = np.unique(rising[rising >= 0], return_index=True)
    number = np.full(len(kept) + 1, -1)  # the last one is that of -1
    number[kept[np.argsort(firsts)]] = np.arange(len(kept))
    return number[volume]
