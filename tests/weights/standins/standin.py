"""What a stand-in is: random weights in the exact published layout, and the network they belong to.

Real radiology weights cannot be had here. A stand-in is the origin's own architecture with random
tensors and randomised batch-norm statistics, written as the origin writes its files; loading is
right where radstart's network gives the same features.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

Features = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class StandIn:
    """One file in one published layout.

    Attributes:
        entry: the catalog's name, e.g. "radiologynet/densenet121".
        write: writes the file into a folder; returns its path and the original network as a
            function of float (B, C, S, S) in the network's own range -> pooled features (B, F),
            without the classifier, on the CPU, in evaluation mode.
        size: S, small where the architecture allows it.
        channels: C.
        verified: in words, against what (for the table in the docs).
        tolerance: largest |difference| / largest |feature|.
    """

    entry: str
    write: Callable[[Path], tuple[Path, Features]]
    size: int
    channels: int = 3
    verified: str = ""
    tolerance: float = 1e-5


def randomised(model: nn.Module, seed: int = 0) -> nn.Module:
    """Give every norm random scales, offsets and running statistics; return the model, in eval.

    Convolutions and linear layers keep their own random initial values; biases are drawn too, so
    that a forgotten one shows.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(tensor: Tensor, low: float, high: float) -> None:
        tensor.copy_(low + (high - low) * torch.rand(tensor.shape, generator=generator))

    with torch.no_grad():
        for module in model.modules():
            if getattr(module, "running_var", None) is not None:
                draw(module.running_mean, -0.5, 0.5)
                draw(module.running_var, 0.5, 2.0)
            norm = "norm" in type(module).__name__.lower()
            if norm and getattr(module, "weight", None) is not None:
                draw(module.weight, 0.5, 1.5)
            if isinstance(getattr(module, "bias", None), Tensor):
                draw(module.bias, -0.2, 0.2)
    return model.eval()
