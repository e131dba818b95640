"""Perceptual hashes: 64 bits that stay nearly the same when a picture is resized or recompressed.

The idea and the order of bits are those of `imagehash.phash`, so that published lists of it can be
held against ours: a thumbnail of 32 x 32, its discrete cosine transform, the 8 x 8 lowest
frequencies, each above their median or not, the first one the highest bit. The thumbnail is a mean
of areas here and a Lanczos filter there, so a few bits may differ. Only the first coefficient holds
the brightness, and it is above the median anyway: an offset, a factor or more bits a pixel change
nothing but roundings.
"""

from collections.abc import Iterable
from itertools import islice
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from radstart.dataset.store import Pixels

BLANK = 1.0  # levels of 255: standard deviation of the low frequencies below which there is no hash
_SIDE = 32  # of the thumbnail
_HALVED = 192  # shorter sides from here on are halved first; an odd last row or column is left out
_LOW = 8  # frequencies kept in each direction
_TIE = 2.0**-12  # of the largest coefficient: no closer to the median counts as above it
_BLOCK = 1024  # images whose thumbnails are transformed in one product
_GREY = np.array([0.299, 0.587, 0.114], np.float32)

Hashes = NDArray[np.uint64]


def perceptual_hash(pixels: Pixels) -> int | None:
    """Return the 64-bit hash of an image, None where it is blank (see `perceptual_hashes`)."""
    hashes, known = perceptual_hashes([pixels])
    return int(hashes[0]) if known[0] else None


def perceptual_hashes(images: Iterable[Pixels]) -> tuple[Hashes, NDArray[np.bool_]]:
    """Return the hashes of images of any size, and which images have one.

    An image has none where its low frequencies have a standard deviation below `BLANK` levels of
    255, or a side of no pixels: a hash of nearly nothing would be the hash of its noise. For uint16
    a level is a 255th of what the thumbnail's largest value needs in whole bits, at least eight.

    Args:
        images: uint8 or uint16, (H, W) or (H, W, 3) RGB; taken one after the other.

    Returns:
        uint64 (N,), 0 where there is none; bool (N,), which have one.
    """
    hashes, known, rest = [np.zeros(0, np.uint64)], [np.zeros(0, bool)], iter(images)
    while block := [_thumbnail(image) for image in islice(rest, _BLOCK)]:
        one, has = _hashed(np.stack(block).reshape(len(block), -1))
        hashes.append(one)
        known.append(has)
    return np.concatenate(hashes), np.concatenate(known)


def _thumbnail(pixels: Pixels) -> NDArray[np.float32]:
    """Return a grey thumbnail, float32 (32, 32), in the image's own levels."""
    image: NDArray[Any] = pixels
    height, width = image.shape[:2]
    if not height or not width:
        return np.zeros((_SIDE, _SIDE), np.float32)
    while min(height, width) >= _HALVED:  # four to one is several times faster than any other
        image = image[: height // 2 * 2, : width // 2 * 2]
        height, width = height // 2, width // 2
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    if height > _SIDE or width > _SIDE:  # where one side grows, AREA would leave out pixels
        smaller = (min(width, _SIDE), min(height, _SIDE))
        image = cv2.resize(image, smaller, interpolation=cv2.INTER_AREA)
    if image.shape[:2] != (_SIDE, _SIDE):
        image = cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_LINEAR)
    small = np.asarray(image, np.float32)
    return small @ _GREY if small.ndim == 3 else small


def _hashed(thumbnails: NDArray[np.float32]) -> tuple[Hashes, NDArray[np.bool_]]:
    """Return hashes and which are known, of float32 (N, 1024)."""
    coefficients = thumbnails @ _TRANSFORM
    rest = coefficients[:, 1:]
    level = 255 / (np.exp2(np.maximum(8, np.ceil(np.log2(thumbnails.max(axis=1) + 1)))) - 1)
    spread = np.sqrt((rest * rest) @ _ENERGY[1:]) * level
    median = np.median(coefficients, axis=1) + _TIE * np.abs(rest).max(axis=1)
    known = spread >= BLANK
    bits = (coefficients > median[:, None]) & known[:, None]
    return np.packbits(bits, axis=1).view(">u8")[:, 0].astype(np.uint64), known


def _transform() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the low part of the cosine transform, and what its squares add to the variance."""
    frequency, place = np.arange(_LOW)[:, None], np.arange(_SIDE)
    waves = np.cos(np.pi * frequency * (2 * place + 1) / (2 * _SIDE))
    scale = np.where(np.arange(_LOW) == 0, 1, 2) / _SIDE  # makes the waves orthonormal, squared
    energy = np.outer(scale, scale).ravel() / _SIDE**2
    return np.kron(waves, waves).T.astype(np.float32), energy.astype(np.float32)


_TRANSFORM, _ENERGY = _transform()
