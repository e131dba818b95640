"""What is shown of a stand-in: the loader's network gives the original's features, whole."""

from dataclasses import dataclass
from pathlib import Path

import torch
from standins.standin import StandIn
from torch import nn

from radstart.weights import Convention, Receipt, load_weights

LARGE = 400
"""Pixels above which one image is compared: it takes seconds."""


@dataclass(frozen=True)
class Proof:
    """What one load of a stand-in showed.

    Attributes:
        path: the file.
        model, convention, receipt: what the loader gave.
        apart: largest |difference| of features / largest |feature|.
        spread: largest |difference| of the original's features of two images, in the same unit:
            where it is small, any two networks agree.
    """

    path: Path
    model: nn.Module
    convention: Convention
    receipt: Receipt
    apart: float
    spread: float


def prove(standin: StandIn, folder: Path) -> Proof:
    """Write a stand-in, load it by its name in the catalog, compare features of two images."""
    path, features = standin.write(folder)
    model, convention, receipt = load_weights(standin.entry, file=path, image_size=standin.size)
    shape = (2, standin.channels, standin.size, standin.size)
    images = torch.randn(shape, generator=torch.Generator().manual_seed(5)).split(1)
    with torch.inference_mode():
        theirs = torch.cat([features(image) for image in images])
        ours = torch.cat([model(image) for image in images[: 1 if standin.size > LARGE else 2]])
    assert ours.shape[1:] == theirs.shape[1:]
    largest = float(theirs.abs().max())
    apart = float((ours - theirs[: len(ours)]).abs().max()) / largest
    spread = float((theirs[0] - theirs[1]).abs().max()) / largest
    return Proof(path, model, convention, receipt, apart, spread)
