"""Training input at 224 px: radstart's batches beside torchvision's ImageFolder, same PNG files.

    python benchmarks/input.py [--images 1024] [--turns 5]

The peer: ImageFolder, v2.RandomResizedCrop, RandomRotation, ColorJitter, float, Normalize, per
image in 2 workers of a DataLoader that stay alive between epochs. Ours: crop, rotation, shift and
intensity on the working copy in 2 threads, then the arm's input convention (float, mean, std, three
channels). Both end as float32 (32, 3, 224, 224). The peer in grey is also timed: it does a third
of the work on colours.
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch

from radstart.backbones.operators import declare_torchvision_operators
from radstart.core.random import stream
from radstart.dataset import Dataset, working_copy
from radstart.ingest import ingest_folder
from radstart.phantom import Phantom, write_phantom
from radstart.training import Augmentation, Batches
from radstart.training.augment import augment, draw_augmentation
from radstart.training.batches import batch_at, training_batches
from radstart.weights import Convention, apply_convention
from side_by_side import Row, figure, in_turns, keep, paired_ratio, timed

SIDE, BATCH, WORKERS = 224, 32, 2
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def write_images(folder: Path, count: int) -> None:
    """Write `count` grey PNG images of 256 px in two class folders."""
    made = folder.parent / "phantom"
    write_phantom(Phantom(patients=count // 2, side=256), made)
    images = sorted((made / "images").iterdir())[:count]
    for k, image in enumerate(images):
        into = folder / ("normal", "nodule")[k % 2]
        into.mkdir(parents=True, exist_ok=True)
        image.rename(into / image.name)


def peer(folder: Path, grey: bool) -> Callable[[], None]:
    """Return one epoch of the DataLoader."""
    declare_torchvision_operators()
    from PIL import Image
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    steps = [
        v2.RandomResizedCrop(SIDE, scale=(0.75, 1.0)),
        v2.RandomRotation(10, interpolation=v2.InterpolationMode.BILINEAR),
        v2.ColorJitter(brightness=0.1, contrast=0.2),
        v2.ToImage(),
        v2.ToDtype(torch.float32, scale=True),
    ]
    if grey:
        steps.append(v2.Lambda(lambda image: image.expand(3, -1, -1)))
    steps.append(v2.Normalize(MEAN, STD))
    files = ImageFolder(str(folder), v2.Compose(steps))
    if grey:
        files.loader = Image.open
    loader = torch.utils.data.DataLoader(
        files, BATCH, shuffle=True, num_workers=WORKERS, persistent_workers=True, drop_last=True
    )

    def epoch() -> None:
        for images, _ in loader:
            assert images.shape == (BATCH, 3, SIDE, SIDE)

    return epoch


def ours(dataset: Dataset, steps: int, to_float: bool) -> Callable[[], None]:
    """Return that many of radstart's training steps' batches."""
    pixels = working_copy(dataset, SIDE)
    targets = dataset.rows["label"].eq(dataset.classes[1]).to_numpy("int64")
    rows = stream(0, "benchmark").permutation(len(dataset))
    batches = Batches(pixels, targets, rows, BATCH, Augmentation(), 0)
    convention = Convention(SIDE, MEAN, STD, "as the peer's")

    def run() -> None:
        made = training_batches(batches, 0, WORKERS)
        for _ in range(steps):
            images, _ = next(made)
            if to_float:
                images = apply_convention(convention, images)
                assert images.shape == (BATCH, 3, SIDE, SIDE)
        made.close()  # type: ignore[attr-defined]

    return run


def parts(dataset: Dataset) -> dict[str, float]:
    """Return microseconds per image in one thread: a whole step's batch, and its parts alone."""
    pixels = working_copy(dataset, SIDE)[:BATCH]
    rows = np.arange(BATCH)
    batches = Batches(pixels, np.zeros(BATCH, np.int64), rows, BATCH, Augmentation(), 0)
    drawn = draw_augmentation(Augmentation(), BATCH, stream(0, "benchmark"))
    out = np.empty_like(pixels)
    matrix, table = np.array([[1.05, 0.03, 1], [-0.03, 1.05, 2]]), np.arange(256, dtype=np.uint8)
    tensor = torch.from_numpy(out)
    convention = Convention(SIDE, MEAN, STD, "as the peer's")

    def each(work: Callable[[int], object]) -> Callable[[], None]:
        return lambda: [work(k) for k in range(BATCH)] and None

    works: dict[str, Callable[[], object]] = {
        "uint8 batch": lambda: batch_at(batches, 0),
        "of it, into memory kept": each(lambda k: augment(pixels[k], drawn[k], out[k])),
        "of it, the warp": each(lambda k: cv2.warpAffine(pixels[k], matrix, (SIDE, SIDE), out[k])),
        "of it, the look-up": each(lambda k: cv2.LUT(pixels[k], table)),
        "convention": lambda: apply_convention(convention, tensor),
    }
    seconds = in_turns(works, 40)
    return {name: 1e6 * statistics.median(s) / BATCH for name, s in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--turns", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    many = 8 * given.images // BATCH  # steps of ours in a turn: enough to be timed
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "images"
        write_images(folder, given.images)
        size = statistics.mean(p.stat().st_size for p in folder.rglob("*.png"))
        dataset = ingest_folder(folder, Path(name) / "dataset")
        once = timed(lambda: working_copy(dataset, SIDE))
        seconds = in_turns(
            {
                "ImageFolder": peer(folder, grey=False),
                "radstart": ours(dataset, many, to_float=True),
                "ImageFolder, grey": peer(folder, grey=True),
                "radstart, uint8": ours(dataset, many, to_float=False),
            },
            given.turns,
        )
        alone = parts(dataset)
    images = {name: many * BATCH if "radstart" in name else given.images for name in seconds}
    rate = {name: images[name] / statistics.median(s) for name, s in seconds.items()}

    def times(peer_name: str, own_name: str) -> float:
        factor = images[own_name] / images[peer_name]
        return factor * paired_ratio(seconds[peer_name], seconds[own_name])

    ratio = times("ImageFolder", "radstart")
    rows = [
        Row(
            "training input, 224 px, images/s",
            figure(rate["radstart"]),
            "torchvision ImageFolder + v2, 2 workers",
            figure(rate["ImageFolder"]),
            f"{figure(ratio)}x",
            "at least 10x",
            ratio >= 10,
        )
    ]
    details = {
        "png_bytes": round(size),
        "images_per_second": {name: round(value, 1) for name, value in rate.items()},
        "ratio_to_grey_peer": round(times("ImageFolder, grey", "radstart"), 2),
        "ratio_before_float": round(times("ImageFolder", "radstart, uint8"), 2),
        "working_copy_once_seconds": round(once, 3),
        "microseconds": alone,
        "seconds": seconds,
    }
    keep("input", rows, details)


if __name__ == "__main__":
    main()
