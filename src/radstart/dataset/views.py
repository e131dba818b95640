"""Square views of images of any size, cut out as in training, not letterboxed."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from radstart.core.random import stream
from radstart.dataset.store import Pixels

LEAST_SHARE = 0.35  # of an image's area that a random cut takes
ASPECT = 4 / 3  # of a random cut, at the most


def square_views(
    images: Sequence[Pixels], size: int, count: int, seed: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return views of images and which image each is of.

    The first view of every image is its middle square. Where images are fewer than `count`, each
    has further ones, cut out at random (a part of its area, an aspect of 3/4 to 4/3) and resized.
    Grey repeats over the channels where any image is coloured; uint16 is divided so that the
    largest value of all, rounded up to a whole number of bits, becomes 255.

    Args:
        images: uint8 or uint16, (H, W) or (H, W, 3).
        size: side of the views in pixels.
        count: how many views there are at least, if images are fewer.
        seed: of the cuts.

    Returns:
        uint8 (N, size, size), or (N, size, size, 3) where any image is coloured; int64 (N,).
    """
    each = max(1, -(-count // len(images)))
    top = _top(images)
    coloured = any(image.ndim == 3 for image in images)
    views, index = [], []
    for place, image in enumerate(images):
        rng = stream(seed, "detective", "views", place)
        for turn in range(each):
            cut = _middle(image) if turn == 0 else _random_cut(image, rng)
            view = _resized(cut, size, top)
            if coloured and view.ndim == 2:
                view = np.repeat(view[..., None], 3, axis=2)
            views.append(view)
            index.append(place)
    return np.stack(views), np.asarray(index, np.int64)


def _top(images: Sequence[Pixels]) -> int:
    deep = [int(image.max()) for image in images if image.dtype == np.uint16]
    return int((1 << max(8, max(deep, default=0).bit_length())) - 1)


def _middle(image: Pixels) -> Pixels:
    height, width = image.shape[:2]
    side = min(height, width)
    up, left = (height - side) // 2, (width - side) // 2
    return image[up : up + side, left : left + side]


def _random_cut(image: Pixels, rng: np.random.Generator) -> Pixels:
    height, width = image.shape[:2]
    area = rng.uniform(LEAST_SHARE, 1) * height * width
    aspect = np.exp(rng.uniform(-np.log(ASPECT), np.log(ASPECT)))
    tall = max(1, min(height, round(float(np.sqrt(area / aspect)))))
    wide = max(1, min(width, round(float(np.sqrt(area * aspect)))))
    up, left = rng.integers(height - tall + 1), rng.integers(width - wide + 1)
    return image[up : up + tall, left : left + wide]


def _resized(image: Pixels, size: int, top: int) -> NDArray[np.uint8]:
    shrinks = min(image.shape[:2]) > size
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    resized = cv2.resize(np.ascontiguousarray(image), (size, size), interpolation=how)
    if resized.dtype == np.uint16:
        resized = np.rint(resized * np.float32(255 / top))
    return np.asarray(resized).astype(np.uint8)
