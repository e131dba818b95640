"""What the norms of weights say of an input that is in doubt, before a study trains with it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from radstart.core.files import read_toml
from radstart.core.progress import Progress
from radstart.core.random import stream
from radstart.dataset import Parts, Units
from radstart.study.detecting import circulating
from radstart.weights import ASSUMED, Arm, detect, network_of, warning

INPUTS = "inputs.toml"
IMAGES = 48  # of the training part
FED = "input in doubt"


def is_in_doubt(arm: Arm) -> bool:
    """Return whether an arm's input is assumed, or its sources contradict each other.

    What a person asked for is not.
    """
    if arm.source is None or arm.redraws or arm.spec.convention:
        return False
    return any(note.startswith(ASSUMED) for note in arm.notes) or bool(circulating(arm))


def read_warnings(folder: Path) -> dict[str, str]:
    """Return what was found before, by arm name; empty where nothing was."""
    path = folder / INPUTS
    return {str(k): str(v) for k, v in read_toml(path).items()} if path.is_file() else {}


def input_warnings(
    arms: tuple[Arm, ...],
    known: dict[str, str],
    pixels: Callable[[Arm], NDArray[np.uint8]],
    units: Units,
    parts: Parts,
    seed: int,
    progress: Progress,
) -> dict[str, str]:
    """Return a line for every arm in doubt: that its input clearly loses, or "".

    Args:
        arms: of the study.
        known: lines that were found before; they are not looked for again.
        pixels: the working copy of an arm.
        units: of the study.
        parts: of the study; images of the training part alone are looked at.
        seed: of the draw.
        progress: shown meanwhile.
    """
    train = np.flatnonzero(parts.part == "train")
    rows = np.sort(stream(seed, "inputs").permutation(train)[:IMAGES])
    found = {}
    for arm in arms:
        if not is_in_doubt(arm) or len(rows) < 2:
            continue
        if arm.name in known:
            found[arm.name] = known[arm.name]
            continue
        detection = detect(
            lambda network, arm=arm: network_of(arm, network),  # type: ignore[misc]
            arm.backbone, arm.convention, np.asarray(pixels(arm)[rows]),
            [str(unit) for unit in units.unit[rows]], also=circulating(arm), seed=seed,
            progress=progress,
        )  # fmt: skip
        found[arm.name] = warning(detection, arm.convention)
    return found


def with_warnings(arms: tuple[Arm, ...], found: dict[str, str]) -> tuple[Arm, ...]:
    """Return the arms; those whose input clearly loses say so in their notes."""
    return tuple(
        replace(arm, notes=(*arm.notes, f"{FED}: {found[arm.name]}"))
        if found.get(arm.name)
        else arm
        for arm in arms
    )
