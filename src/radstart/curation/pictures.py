"""Small pictures of what was found, as data URIs: the page needs no other file."""

import base64
from collections.abc import Iterator, Mapping
from typing import Any

import cv2
import numpy as np

from radstart.curation.counts import groups_of_rows
from radstart.curation.measured import grey, top_level
from radstart.dataset import Dataset, natural, text

SIDE = 128  # pixels: the longest side
CLASSES, EACH = 24, 12  # of the montage
SETS = 12  # groups, pairs or single images of one kind
QUALITY = 78
OTHER = "other "

Facts = dict[str, Any]


def draw_pictures(dataset: Dataset, facts: Facts, other: Dataset | None) -> dict[str, str]:
    """Return a data URI for every image that the page shows, by name ("other NAME": of another).

    Adds `montage` to the facts: images of every class, evenly from its list. Twelve sets of each
    kind of finding are shown, so the page stays below some ten megabytes.
    """
    image = text(dataset.rows, "image")
    facts["montage"] = _montage(dataset)
    wanted = {row for one in facts["montage"] for row in one["rows"]}
    wanted |= set(_rows(facts))
    top = top_level(dataset)
    found = {image[row]: _uri(dataset, row, top) for row in sorted(wanted)}
    against = facts["against"]
    if other is not None and against:
        names, level = text(other.rows, "image"), top_level(other)
        for one in against["matches"][:SETS]:
            if one["other_row"] is not None:
                row = one["other_row"]
                found[OTHER + names[row]] = _uri(other, row, level)
    return found


def _montage(dataset: Dataset) -> list[dict[str, Any]]:
    group, image = groups_of_rows(dataset.rows), text(dataset.rows, "image")
    keep = dataset.rows["keep"].to_numpy(bool)
    shown = []
    for name in sorted(set(group), key=natural)[:CLASSES]:
        own = np.flatnonzero((group == name) & keep)
        own = own if len(own) else np.flatnonzero(group == name)
        chosen = own[np.unique(np.linspace(0, len(own) - 1, EACH).round().astype(int))].tolist()
        shown.append({"name": name, "images": [image[row] for row in chosen], "rows": chosen})
    return shown


def _rows(facts: Mapping[str, Any]) -> Iterator[int]:
    near, private = facts["near_duplicates"], facts["privacy"]["suspected_text"]
    lists = [
        facts["label_conflicts"], near["across_labels"], facts["turned_copies"]["examples"],
        facts["outliers"]["examples"], private["examples"], *facts["suspects"].values(),
        (facts["feature_copies"] or {}).get("examples", []),
        *(one["pairs"] for one in near["across_parts"]),
    ]  # fmt: skip
    for one in facts["divisions"]:
        own = [d for d in facts["duplicates_across_parts"] if d["division"] == one["division"]]
        lists.append(own)
    for found in lists:
        for one in found[: 2 * SETS]:
            yield from one["rows"][:4] if "rows" in one else [one["row"]]
    if facts["against"]:
        yield from (one["row"] for one in facts["against"]["matches"][:SETS])


def _uri(dataset: Dataset, row: int, top: float) -> str:
    pixels = np.asarray(dataset.pixels(row))
    if pixels.ndim == 3 and pixels.dtype == np.uint8:
        picture = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2BGR)
    else:
        picture = grey(dataset, row, top)
    height, width = picture.shape[:2]
    scale = SIDE / max(height, width)
    if scale < 1:
        size = max(1, round(width * scale)), max(1, round(height * scale))
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    done, coded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    assert done
    return "data:image/jpeg;base64," + base64.b64encode(coded.tobytes()).decode()
