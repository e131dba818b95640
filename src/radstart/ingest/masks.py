"""Masks beside an image: labels of every pixel, several of them united by a rule."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from radstart.ingest.frames import Unreadable, Values

_LEVELS = "save it with whole numbers from 0 to 255"


def labels_of(values: Values) -> NDArray[np.uint8]:
    """Return a mask as labels: (H, W) uint8.

    Floats may be whole numbers; three equal channels are one; black and white (0 and 255 alone)
    is 0 and 1.

    Args:
        values: (H, W) or (H, W, 3), as a reader gives them.

    Raises:
        Unreadable: a colour picture, or values that are no labels.
    """
    if values.ndim == 3:
        if (values != values[..., :1]).any():
            raise Unreadable("a mask in colours", _LEVELS)
        values = values[..., 0]
    if values.dtype == bool:
        return values.astype(np.uint8)
    if values.size and not (values.min() >= 0 and values.max() <= 255):  # false of NaN
        raise Unreadable("a mask with values outside of 0 to 255", _LEVELS)
    labels = values.astype(np.uint8)
    if values.dtype.kind == "f" and (labels != values).any():
        raise Unreadable("a mask with broken numbers", _LEVELS)
    if labels.size and labels.max() == 255 and np.isin(labels, (0, 255)).all():
        return labels // 255
    return labels


def unite(masks: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Return one mask of several of the same image: masked is what any of them masks.

    The label is that of the first mask that has one there.

    Args:
        masks: at least one, each (H, W) labels, 0 = background.

    Raises:
        Unreadable: masks of different sizes.
    """
    if len({mask.shape for mask in masks}) > 1:
        raise Unreadable("masks of different sizes for one image", "give masks of its own size")
    together = masks[0].copy()
    for mask in masks[1:]:
        np.copyto(together, mask, where=together == 0)
    return together
