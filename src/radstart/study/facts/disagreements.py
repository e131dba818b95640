"""The cases on which arms disagree most, and small pictures of them."""

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from radstart.core.files import write_json
from radstart.study.cells import Cell, Key
from radstart.study.facts.strict import SCHEMA
from radstart.study.prepare import Prepared

MOST, SIDE, QUALITY = 12, 128, 85
PICTURES = "pictures.json"


def disagreements(prepared: Prepared, cells: dict[Key, Cell]) -> dict[str, Any] | None:
    """Return the cases with the widest spread between arms, at the reference policy and all data.

    The spread of a case is the largest less the smallest of the arms' scores of its true class,
    each the mean over that arm's seeds; equal spreads stand in the order of their names. None with
    fewer than two arms, or where cases are not of one class each.
    """
    spec, classes = prepared.spec, prepared.dataset.classes
    policy, budget = spec.policies[0], max(spec.budgets)
    scores: dict[str, NDArray[np.float64]] = {}
    cell = None
    for arm in spec.arm:
        own = cells.get((arm.name, policy, budget))
        found = own.probabilities(len(classes)) if own else None
        if own is not None and found is not None:
            cell, scores[arm.name] = own, found.mean(axis=0)
    if cell is None or len(scores) < 2:
        return None
    place = np.arange(len(cell.labels))
    of_truth = np.stack([found[place, cell.labels] for found in scores.values()])
    spread = of_truth.max(axis=0) - of_truth.min(axis=0)
    decided = np.stack([found.argmax(axis=1) for found in scores.values()])
    first = np.lexsort([cell.cases.astype(str), -spread])[:MOST]
    return {
        "policy": policy,
        "budget": budget,
        "n_cases": len(spread),
        "decided_differently": int((decided != decided[0]).any(axis=0).sum()),
        "cases": [
            {
                "case": str(cell.cases[k]),
                "target": classes[cell.labels[k]],
                "spread": float(spread[k]),
                "scores": [
                    {"arm": arm, "score": float(one[k]), "predicted": classes[said[k]]}
                    for arm, one, said in zip(scores, of_truth, decided, strict=True)
                ],
            }
            for k in first.tolist()
        ],
    }


def write_pictures(prepared: Prepared, found: dict[str, Any] | None) -> None:
    """Write pictures.json: the cases' images as the first arm's network gets them, made small.

    Beside facts.json, not in it, so that numbers stay readable and can be passed on without
    images. An earlier file goes where there is nothing to show.
    """
    path = prepared.folder / PICTURES
    if found is None:
        path.unlink(missing_ok=True)
        return
    rows = {str(image): row for row, image in enumerate(prepared.dataset.rows["image"])}
    pixels = prepared.pixels(prepared.arms[0])
    pictures = {
        case["case"]: _picture(pixels[rows[case["case"]]])
        for case in found["cases"]
        if case["case"] in rows
    }
    write_json(path, {"schema": SCHEMA, "pictures": pictures})


def _picture(pixels: NDArray[np.uint8]) -> str:
    """Return an image, (S, S) or (S, S, 3), as a JPEG of at most SIDE pixels in a data URI."""
    image = Image.fromarray(np.ascontiguousarray(pixels))
    if max(image.size) > SIDE:
        image.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
