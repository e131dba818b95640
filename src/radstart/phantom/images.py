"""A seeded generator of radiograph-like images: an oval body, soft structures, perhaps a finding.

The truth is known: the finding alone carries the label; body, structures and noise do not.
"""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from radstart.core.files import whole_file, write_text
from radstart.core.random import stream

Image = NDArray[np.float32]
SPLITS = ("train", "test", "train", "validation", "train")  # by patient, within a kind
KINDS = ("normal", "nodule", "ring", "streak")


@dataclass(frozen=True)
class Phantom:
    """What is generated.

    Attributes:
        patients: how many; each has one to five images of one body.
        kinds: of KINDS; each patient has one, in turn.
        contrast: of the finding against the body, on 0..1; the noise has a spread of 0.08.
        side: of the square images, pixels.
        seed: everything is drawn from it.
    """

    patients: int = 150
    kinds: tuple[str, ...] = ("normal", "nodule")
    contrast: float = 0.25
    side: int = 64
    seed: int = 0


def write_phantom(phantom: Phantom, folder: Path) -> Path:
    """Write PNG images (8 bit, grey) and labels.csv; return the CSV.

    Its columns are image, label, patient_id and split (by patient: three in five train, one
    validation, one test).

    The same phantom gives the same bytes.
    """
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["image", "label", "patient_id", "split"])
    for patient in range(phantom.patients):
        random = stream(phantom.seed, "phantom patient", patient)
        kind = phantom.kinds[patient % len(phantom.kinds)]
        body = _body(random, phantom.side)
        split = SPLITS[patient // len(phantom.kinds) % len(SPLITS)]
        for number in range(int(random.integers(1, 6))):
            name = f"images/p{patient:04d}_{number}.png"
            image = body + _finding(kind, random, phantom)
            image += random.normal(0, 0.08, image.shape).astype(np.float32)
            with whole_file(folder / name) as temporary:
                encoded = cv2.imencode(".png", _eight_bit(image))[1]
                temporary.write_bytes(encoded.tobytes())
            writer.writerow([name, kind, f"p{patient:04d}", split])
    path = folder / "labels.csv"
    write_text(path, table.getvalue())
    return path


def _eight_bit(image: Image) -> NDArray[np.uint8]:
    return np.asarray(np.clip(255 * image, 0, 255), dtype=np.uint8)


def _body(random: np.random.Generator, side: int) -> Image:
    """Return one patient's body: an oval with soft structures and two darker fields."""
    y, x = _grid(side)
    width, height = random.uniform(0.65, 0.9, 2)
    oval = _soft(1 - (x / width) ** 2 - (y / height) ** 2, 0.15)
    cloud = random.normal(size=(8, 8)).astype(np.float32)
    structure = cv2.resize(cloud, (side, side), interpolation=cv2.INTER_CUBIC)
    fields = np.zeros_like(x)
    for centre in (-0.35, 0.35):
        at = centre + random.normal(0, 0.04)
        wide, tall = random.uniform(0.2, 0.28), random.uniform(0.4, 0.55)
        fields += _soft(1 - ((x - at) / wide) ** 2 - (y / tall) ** 2, 0.3)
    image = oval * (0.55 + 0.06 * structure) - 0.25 * fields * oval
    return np.asarray(image, dtype=np.float32)


def _finding(kind: str, random: np.random.Generator, phantom: Phantom) -> Image:
    """Return what the label says: nothing, a blob, a ring or a streak, somewhere in the body."""
    y, x = _grid(phantom.side)
    at_x, at_y = random.uniform(-0.45, 0.45, 2)
    size, turn = random.uniform(0.14, 0.24), random.uniform(0, np.pi)
    radius = np.hypot(x - at_x, y - at_y)
    along = (x - at_x) * np.cos(turn) + (y - at_y) * np.sin(turn)
    across = (y - at_y) * np.cos(turn) - (x - at_x) * np.sin(turn)
    shape = {
        "normal": np.zeros_like(x),
        "nodule": np.exp(-0.5 * (radius / (0.6 * size)) ** 2),
        "ring": np.exp(-0.5 * ((radius - size) / (0.25 * size)) ** 2),
        "streak": np.exp(-0.5 * (across / (0.2 * size)) ** 2 - 0.5 * (along / (1.6 * size)) ** 2),
    }[kind]
    return np.asarray(phantom.contrast * shape, dtype=np.float32)


def _grid(side: int) -> tuple[Image, Image]:
    """Return y and x on -1..1."""
    axis = np.linspace(-1, 1, side, dtype=np.float32)
    y, x = np.meshgrid(axis, axis, indexing="ij")
    return y, x


def _soft(inside: Image, edge: float) -> Image:
    return np.asarray(1 / (1 + np.exp(-np.clip(4 * inside / edge, -40, 40))), dtype=np.float32)
