"""Images that are unlike the others: by simple figures, inverted, turned, nearly blank."""

from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radstart.curation.measured import NUMBERS, SIDE, Measured
from radstart.dataset import text

Strings = NDArray[np.object_]
FAR = 5.0  # robust standard deviations, root mean square over all figures
LEAST = 20  # images of a group that are enough to say what is usual
STEADY = 0.5  # median correlation with the group's mean, from which a group has one pose
SHOWN = 60
_SAID = {
    "mean": ("darker", "brighter"),
    "spread": ("flatter", "more contrast"),
    "p01": ("darker shadows", "no black"),
    "median": ("darker", "brighter"),
    "p99": ("no bright pixels", "brighter lights"),
    "black": ("less black", "more black"),
    "white": ("less white", "more white"),
    "sharpness": ("blurred", "noisier or sharper"),
}


def alike_rows(rows: pd.DataFrame) -> Strings:
    """Return which images should look alike: same modality, anatomy and view, else label."""
    keys = [text(rows, name) for name in ("modality", "anatomy", "view")]
    if not any((key != "").any() for key in keys):
        return text(rows, "label")
    return np.array([" ".join(filter(None, parts)) for parts in zip(*keys, strict=True)], object)


def outliers(rows: pd.DataFrame, measured: Measured) -> dict[str, Any]:
    """Return images far from the others by a robust distance, the farthest first."""
    group, numbers = alike_rows(rows), measured.numbers.astype(np.float64)
    score = np.zeros(numbers.shape)
    for name in set(group):
        own = np.flatnonzero(group == name)
        if len(own) >= LEAST:
            values = numbers[own]
            middle = np.median(values, axis=0)
            quarter = np.quantile(values, [0.25, 0.75], axis=0)
            spread = np.maximum((quarter[1] - quarter[0]) / 1.349, _floor(values))
            score[own] = (values - middle) / spread
    distance = np.sqrt((np.clip(score, -20, 20) ** 2).mean(axis=1))
    far = np.flatnonzero(distance > FAR)
    far = far[np.argsort(-distance[far], kind="stable")]
    image = text(rows, "image")
    return {
        "images": len(far),
        "far": FAR,
        "examples": [
            {"image": image[row], "distance": round(float(distance[row]), 2),
             "why": _why(score[row]), "row": row}
            for row in far[:SHOWN].tolist()
        ],
    }  # fmt: skip


def _floor(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the least spread that counts: two levels, 2 % of pixels, 0.1 of log sharpness."""
    least = {"black": 0.02, "white": 0.02, "sharpness": 0.1}
    return np.array([least.get(name, 2.0) for name in NUMBERS])


def _why(score: NDArray[np.float64]) -> str:
    order = np.argsort(-np.abs(score))[:3]
    said = [_SAID[NUMBERS[k]][int(score[k] > 0)] for k in order.tolist() if abs(score[k]) > FAR / 2]
    return ", ".join(dict.fromkeys(said))


def suspects(rows: pd.DataFrame, measured: Measured) -> dict[str, list[dict[str, Any]]]:
    """Return images that look nearly blank, inverted, or turned by quarters; suspected only.

    Inverted and turned are told where a group has one pose: an image that fits the group's mean
    clearly better inverted, or turned by 90, 180 or 270 degrees.
    """
    image, drop = text(rows, "image"), text(rows, "drop")
    spread = measured.numbers[:, NUMBERS.index("spread")]
    blank = [
        {"image": image[row], "spread": round(float(spread[row]), 2), "row": row}
        for row in np.flatnonzero((spread < 4.0) & (drop != "blank"))[:SHOWN].tolist()
    ]
    found: dict[str, list[dict[str, Any]]] = {"near_blank": blank, "inverted": [], "turned": []}
    group = alike_rows(rows)
    for name in sorted(set(group)):
        own = np.flatnonzero((group == name) & measured.seen)
        if len(own) < LEAST:
            continue
        thumbs = measured.thumbs[own].astype(np.float32)
        mean = np.median(thumbs[: 20 * SIDE * SIDE], axis=0)
        mean = (mean - mean.mean()) / max(float(np.linalg.norm(mean - mean.mean())), 1e-6)
        upright = thumbs @ mean
        if np.median(upright) < STEADY:
            continue
        for row, fit in zip(own.tolist(), upright.tolist(), strict=True):
            if fit < -0.35:
                found["inverted"].append(
                    {"image": image[row], "correlation": round(fit, 3), "row": row}
                )
        square = mean.reshape(SIDE, SIDE)
        for quarter, how in (
            (cv2.ROTATE_90_CLOCKWISE, 90), (cv2.ROTATE_180, 180),
            (cv2.ROTATE_90_COUNTERCLOCKWISE, 270),
        ):  # fmt: skip
            fits = thumbs @ np.asarray(cv2.rotate(square, quarter)).ravel()
            for k in np.flatnonzero((fits > STEADY) & (fits - upright > 0.3)).tolist():
                found["turned"].append({
                    "image": image[own[k]], "degrees": how, "row": int(own[k]),
                    "correlation": round(float(fits[k]), 3), "upright": round(float(upright[k]), 3),
                })  # fmt: skip
    return found
