"""Augmentation on uint8 images: drawn as numbers first, applied afterwards. Never a flip."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Augmentation:
    """Ranges of what is drawn for every image and epoch, uniformly.

    Attributes:
        zoom: largest factor in or out.
        turn: largest rotation, degrees.
        shift: largest shift, share of the side.
        contrast: largest relative change of contrast about mid-grey.
        brightness: largest shift of brightness, share of the range.
        flip: mirror left and right with probability 1/2; off unless asked for, since anatomy has
            sides.
    """

    zoom: float = 1.15
    turn: float = 10.0
    shift: float = 0.06
    contrast: float = 0.2
    brightness: float = 0.1
    flip: bool = False

    def described(self) -> list[str]:
        """Return the list that the report shows."""
        return [
            f"zoom 1/{self.zoom:g} to {self.zoom:g}",
            f"rotation up to {self.turn:g} degrees",
            f"shift up to {self.shift:.0%} of the side",
            f"contrast up to {self.contrast:.0%}",
            f"brightness up to {self.brightness:.0%} of the range",
            "left-right flip" if self.flip else "no flip",
        ]


def draw_augmentation(
    augmentation: Augmentation, count: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return (count, 7): zoom, turn (radians), shift x, shift y, contrast, brightness, flip."""
    u = rng.uniform(-1, 1, size=(count, 7))
    u[:, 0] = augmentation.zoom ** u[:, 0]
    u[:, 1] *= math.radians(augmentation.turn)
    u[:, 2:4] *= augmentation.shift
    u[:, 4] = 1 + augmentation.contrast * u[:, 4]
    u[:, 5] *= 255 * augmentation.brightness
    u[:, 6] = np.where((u[:, 6] > 0) & augmentation.flip, -1.0, 1.0)
    return u


def augment(pixels: Pixels, drawn: NDArray[np.float64], out: Pixels) -> None:
    """Apply one row of `draw_augmentation` to a square image (S, S) or (S, S, 3), into `out`.

    What comes from outside the image is black, as the letterbox is.
    """
    zoom, turn, shift_x, shift_y, contrast, brightness, flip = drawn
    side = pixels.shape[0]
    centre = (side - 1) / 2
    cos, sin = math.cos(turn) * zoom, math.sin(turn) * zoom
    matrix = np.array(
        [
            [flip * cos, -sin, centre + side * shift_x - flip * centre * cos + centre * sin],
            [flip * sin, cos, centre + side * shift_y - flip * centre * sin - centre * cos],
        ]
    )
    levels = np.arange(256) * contrast + 127.5 * (1 - contrast) + brightness
    table = np.clip(np.rint(levels), 0, 255).astype(np.uint8)
    toned = cv2.LUT(pixels, table)
    cv2.warpAffine(toned, matrix, (side, side), dst=out, flags=cv2.INTER_LINEAR)
