"""Which images are read, in which order: volumes by geometry, slices by rule."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from radstart.ingest.volumes import choose, group, stacks

MASKED = "masked"


def arrange(images: pd.DataFrame, rule: str) -> tuple[pd.DataFrame, Mapping[str, Any]]:
    """Return the images that are read, in order, with `volume` and `slice` (-1 = none).

    Files that hold a volume keep the order of their slices; single images of DICOM become volumes
    where their geometry says so. A scout is no slice. Images of no volume are all read.

    Args:
        images: of the scan, sorted by item and index.
        rule: "all", "every N", "middle K", or "masked", which is decided when masks are read.

    Raises:
        RadstartError: the rule is not known.
    """
    images = images.reset_index(drop=True)
    volume = np.full(len(images), -1, np.int64)
    place = np.full(len(images), -1, np.int64)
    inside = images["in_volume"].to_numpy(bool)
    if inside.any():
        volume[inside] = pd.factorize(images["item"][inside])[0]
        place[inside] = images["index"][inside]
    notes: dict[str, Any] = {}
    single = (images["kind"] == "dicom").to_numpy(bool) & ~inside
    single &= images["orientation"].notna().to_numpy() & images["position"].notna().to_numpy()
    if single.any():
        slices = images[single].copy()
        slices["spacing"] = list(zip(slices["spacing_row"], slices["spacing_col"], strict=True))
        found = group(slices)
        shapes = stacks(slices, found)
        own = found["volume"].to_numpy(np.int64)
        kept = own >= 0
        first = int(volume.max()) + 1
        volume[single] = np.where(kept, own + first, -1)
        place[single] = np.where(kept, found["place"].to_numpy(np.int64), -1)
        seen = list(shapes.values())
        notes = {
            "volumes": len(seen),
            "volumes_with_gaps": sum(bool(shape.gaps) for shape in seen),
            "slices_missing": sum(shape.missing for shape in seen),
            "volumes_unevenly_spaced": sum(shape.irregular for shape in seen),
            "volumes_sheared": sum(shape.sheared for shape in seen),
        }
    images["volume"], images["slice"] = volume, place
    taken = np.ones(len(images), bool)
    choose(1, "all" if rule == MASKED else rule)  # the rule is known
    if rule not in ("all", MASKED):
        order = np.lexsort((place, volume))
        order = order[volume[order] >= 0]
        ends = np.flatnonzero(np.diff(volume[order])) + 1
        for rows in np.split(order, ends) if order.size else ():
            taken[rows] = False
            taken[rows[choose(len(rows), rule)]] = True
        notes = {**notes, "slices_not_chosen": int((~taken).sum())}
    return images[taken].reset_index(drop=True), notes
