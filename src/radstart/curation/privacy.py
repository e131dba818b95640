"""What may tell who a patient is. Absence of a warning is no proof of absence."""

import re
from typing import Any

import numpy as np
import pandas as pd

from radstart.curation.measured import Measured
from radstart.dataset import Dataset, text

SHOWN = 60
_NAME = re.compile(
    r"[A-Za-zÀ-ž'-]{2,}[\^,] ?[A-Za-zÀ-ž'-]{2,}|^[A-ZÀ-Ž][a-zà-ž]+ [A-ZÀ-Ž][a-zà-ž]+$"
)
_DATE = re.compile(r"(?<!\d)(19|20)\d\d[-._]?(0[1-9]|1[0-2])[-._]?(0[1-9]|[12]\d|3[01])(?!\d)")
_HASH = re.compile(r"[0-9a-f]{16}")


def privacy(dataset: Dataset, measured: Measured) -> dict[str, Any]:
    """Return suspected text in pixels, and what stands in columns that should be hashes."""
    rows = dataset.rows
    drop, image = text(rows, "drop"), text(rows, "image")
    found = np.array([bool(mark.boxes) for mark in measured.marks], bool)
    letters = np.array([mark.letters for mark in measured.marks])
    order = np.flatnonzero(found)
    order = order[np.argsort(-letters[order], kind="stable")]
    how = dataset.facts.get("how") or {}
    return {
        "suspected_text": {
            "images": int(found.sum()),
            "too_small_to_tell": int(_small(rows).sum()),
            "examples": [
                {"image": image[row], "letters": int(letters[row]), "row": row,
                 "boxes": [[round(v, 4) for v in box] for box in measured.marks[row].boxes]}
                for row in order[:SHOWN].tolist()
            ],
            "by_label": _by_label(rows, found),
        },
        "burned_in_by_header": int((drop == "burned-in text, by its header").sum()),
        "identifiers": {
            "key": how.get("key"),
            "kept": how.get("key") == "kept",
            "columns": [told for name in ("patient", "exam", "series", "image", "site")
                        if (told := _column(rows, name))],
        },
    }  # fmt: skip


def _small(rows: pd.DataFrame) -> Any:
    from radstart.curation.marks import LEAST_SIDE

    return rows[["height", "width"]].min(axis=1) < LEAST_SIDE


def _by_label(rows: pd.DataFrame, found: Any) -> list[dict[str, Any]]:
    label = text(rows, "label")
    return [
        {"name": name, "suspected": int(found[label == name].sum()),
         "images": int((label == name).sum())}
        for name in sorted(set(label) - {""})[:200]
    ]  # fmt: skip


def _column(rows: pd.DataFrame, name: str) -> dict[str, Any] | None:
    """Return how many values of a column look like hashes, names or dates; none is repeated."""
    values = sorted(set(text(rows, name)) - {""})
    if not values:
        return None
    bare = [value.split("#")[0].split("@")[0] for value in values]
    return {
        "column": name,
        "values": len(values),
        "hashed": sum(bool(_HASH.fullmatch(value)) for value in bare),
        "like_names": sum(bool(_NAME.search(value)) for value in bare),
        "like_dates": sum(
            bool(_DATE.search(value)) for value in bare if not _HASH.fullmatch(value)
        ),
    }
