"""How stored pixels become a network's input: one function for training, features and predict."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Convention:
    """Pixels 0..255 are divided by 255, then (x - mean) / std per channel, at `size` pixels.

    Attributes:
        size: side of the square input, pixels (images are letterboxed to it, aspect kept).
        mean: per channel, on the scale 0..1.
        std: per channel, on the scale 0..1.
        source: where these numbers come from, for the receipt and the report.
    """

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: str

    def record(self) -> dict[str, object]:
        """Return the convention as the facts and receipts state it."""
        return {
            "size": self.size,
            "mean": list(self.mean),
            "std": list(self.std),
            "channels": len(self.mean),
            "range": "0..255 / 255, then (x - mean) / std",
            "source": self.source,
        }


def apply_convention(convention: Convention, pixels: Tensor) -> Tensor:
    """Turn uint8 (B, H, W) grey or (B, H, W, 3) colour into float32 (B, C, H, W).

    Grey is repeated over the channels of the convention. The result is on the device of `pixels`.
    """
    mean = torch.tensor(convention.mean, device=pixels.device).view(1, -1, 1, 1)
    std = torch.tensor(convention.std, device=pixels.device).view(1, -1, 1, 1)
    planes = pixels.unsqueeze(1) if pixels.dim() == 3 else pixels.permute(0, 3, 1, 2)
    return planes.to(torch.float32).div_(255).sub(mean).div_(std)  # two large arrays, not four
