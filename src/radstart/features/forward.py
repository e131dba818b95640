"""A network over many images, and frozen features kept on disk."""

from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from radstart.backbones import Numerics, computing, place, place_images
from radstart.core.files import whole_file
from radstart.core.hashing import digest
from radstart.core.progress import Progress
from radstart.weights import Arm, Convention, apply_convention, start_model

EVALUATION_BATCH = 64


def forward(
    module: nn.Module,
    convention: Convention,
    pixels: NDArray[np.uint8],
    rows: NDArray[np.int64],
    numerics: Numerics,
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """Return the module's outputs, float32 (n, K), for rows of `pixels`, in evaluation mode.

    Args:
        module: float (B, 3, S, S) -> (B, K), on the device of `numerics`.
        convention: of the arm.
        pixels: working copy, uint8 (N, S, S) or (N, S, S, 3).
        rows: int64 (n,).
        numerics: of the study; always float32 here, since rounded scores tie.
        progress: shown meanwhile.
    """
    module.eval()
    outputs = []
    task = (progress or Progress()).task("features", len(rows))
    with torch.inference_mode(), task as shown:
        for start in range(0, len(rows), EVALUATION_BATCH):
            chosen = rows[start : start + EVALUATION_BATCH]
            batch = torch.from_numpy(np.ascontiguousarray(pixels[chosen]))
            images = place_images(apply_convention(convention, batch), numerics)
            outputs.append(module(images).float().cpu())
            shown.advance(len(chosen))
    return np.asarray(torch.cat(outputs).numpy())


def features_key(
    arm: Arm, seed: int, shape: tuple[int, ...], content: str, numerics: Numerics
) -> str:
    """Return what features are kept under: a hash of arm, input, content and numerics.

    Args:
        arm: the start.
        seed: of the run; unused by arms that do not redraw.
        shape: of the working copy.
        content: fingerprint of the dataset.
        numerics: of the study.
    """
    drawn = seed if arm.redraws else 0
    return digest(["features", content, shape, arm.record(), drawn, numerics.identity()], 20)


def frozen_features(
    arm: Arm,
    seed: int,
    pixels: NDArray[np.uint8],
    path: Path,
    numerics: Numerics,
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """Return pooled features of every image under an arm, float32 (N, D), computed once.

    Args:
        arm: the start.
        seed: of the run; unused by arms that do not redraw.
        pixels: working copy, uint8 (N, S, S) or (N, S, S, 3).
        path: where they are kept, named by `features_key`.
        numerics: of the study.
        progress: shown meanwhile.
    """
    if path.is_file():
        with suppress(OSError, ValueError, EOFError):  # a damaged file is made again
            features = np.load(path, allow_pickle=False)
            if features.shape[0] == len(pixels) and features.dtype == np.float32:
                return np.asarray(features)
    with computing(numerics):
        module = place(start_model(arm, 0, seed)[0], numerics)
        rows = np.arange(len(pixels))
        features = forward(module, arm.convention, pixels, rows, numerics, progress)
    with whole_file(path) as temporary, temporary.open("wb") as file:
        np.save(file, features)
    return features
