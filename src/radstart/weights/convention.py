"""How stored pixels become a network's input: one function for training, features and predict."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from radstart.backbones import MOST_PIXELS
from radstart.core.errors import RadstartError, nearest


@dataclass(frozen=True)
class Convention:
    """Pixels 0..255 are divided by 255, then (x - mean) / std per channel, at `size` pixels.

    Every linear scale is one of these: 0..255 itself is mean 0 and std 1/255.

    Attributes:
        size: side of the square input, pixels (images are letterboxed to it, aspect kept).
        mean: per channel in the order of the network's input, on the scale 0..1; its length is
            the number of channels, 1 or 3.
        std: the same.
        source: where these numbers come from, for the receipt and the report.
        order: of a colour image's channels at the input, "RGB" or "BGR".
        per_image: "" or "minmax": each image is first stretched to 0..1 by its own least and
            largest value (a constant image becomes 0).
        name: one of NAMED, "" where these numbers have none.
    """

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: str
    order: str = "RGB"
    per_image: str = ""
    name: str = ""

    def record(self) -> dict[str, object]:
        """Return the convention as the facts, receipts and cards state it."""
        stretched = "each image to 0..1, then " if self.per_image else "0..255 / 255, then "
        return {
            "name": self.name,
            "size": self.size,
            "mean": list(self.mean),
            "std": list(self.std),
            "channels": len(self.mean),
            "order": self.order if len(self.mean) == 3 else "grey",
            "per_image": self.per_image,
            "range": stretched + "(x - mean) / std",
            "source": self.source,
        }

    def identity(self) -> list[object]:
        """Return the numbers that decide the input, for run ids."""
        unusual = [self.order, self.per_image] if self.order != "RGB" or self.per_image else []
        return [self.size, *self.mean, *self.std, *unusual]

    def text(self) -> str:
        """Return "-1..1 RGB, mean 0.5 0.5 0.5, std 0.5 0.5 0.5" or the like, in one line."""
        low, high = self.limits()
        order = self.order if len(self.mean) == 3 else "grey"
        scale = f"{low:.4g} to {high:.4g}" if not self.per_image else "each image to 0..1"
        known = f"{self.name}: " if self.name else ""
        return f"{known}{scale}, {order}, {self.size} px"

    def limits(self) -> tuple[float, float]:
        """Return what the darkest and the brightest pixel become at the most."""
        pairs = list(zip(self.mean, self.std, strict=True))
        return min((0 - m) / s for m, s in pairs), max((1 - m) / s for m, s in pairs)


_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_CAFFE = tuple(value / 255 for value in (103.939, 116.779, 123.68))
_CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
_BGR = "-bgr"
_HUGE = 1e30  # beyond it float32 has no place for what is computed; NaN is beyond it, too

NAMED: dict[str, tuple[tuple[float, ...], tuple[float, ...], str]] = {
    "imagenet": (*_IMAGENET, "RGB"),  # torchvision; Keras's mode "torch"
    "-1to1": ((0.5,) * 3, (0.5,) * 3, "RGB"),  # TensorFlow; Keras's mode "tf"
    "0to1": ((0.0,) * 3, (1.0,) * 3, "RGB"),
    "0to255": ((0.0,) * 3, (1 / 255,) * 3, "RGB"),
    "caffe": (_CAFFE, (1 / 255,) * 3, "BGR"),  # Keras's mode "caffe"
    "caffe-0to1": (_CAFFE, (1.0,) * 3, "BGR"),  # the same, then divided by 255
    "clip": (*_CLIP, "RGB"),
    "-1024to1024": ((0.5,), (1 / 2048,), "RGB"),  # TorchXRayVision, one channel
}


def named_convention(name: str, size: int, source: str) -> Convention:
    """Return a convention by its name in NAMED, perhaps with `-bgr` behind it.

    Raises:
        RadstartError: no such name; the nearest ones are named.
    """
    plain = name.removesuffix(_BGR)
    if plain not in NAMED:
        raise RadstartError("unknown convention", "convention", name, nearest(name, NAMED))
    mean, std, order = NAMED[plain]
    if plain != name:
        mean, std, order = mean[::-1], std[::-1], "BGR"
    return Convention(size, mean, std, source, order=order, name=name)


def stated_convention(stated: str | Mapping[str, Any], size: int, source: str) -> Convention:
    """Return a convention as a catalog, a card or a receipt states it: a name, or its numbers.

    Raises:
        RadstartError: an unknown name, or numbers that make no convention.
    """
    if isinstance(stated, str):
        return named_convention(stated, size, source)
    try:
        mean, std = tuple(map(float, stated["mean"])), tuple(map(float, stated["std"]))
        order = str(stated.get("order", "RGB")).replace("grey", "RGB")
        known = Convention(
            int(stated.get("size") or size), mean, std, str(stated.get("source") or source),
            order, str(stated.get("per_image", "")), str(stated.get("name", "")),
        )  # fmt: skip
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise RadstartError("not a convention", source, str(error), "give mean and std") from error
    fine = len(mean) == len(std) and len(mean) in (1, 3) and 0 < known.size <= MOST_PIXELS
    fine = fine and all(abs(m) < _HUGE for m in mean) and all(1 / _HUGE < s < _HUGE for s in std)
    if not (fine and order in ("RGB", "BGR") and known.per_image in ("", "minmax")):
        raise RadstartError("not a convention", source, str(dict(stated)), "give mean and std")
    return named(known)


def check_channels(asked: Convention, own: int, where: str) -> None:
    """Raise RadstartError where weights of `own` channels, 1 or 3, are not fed so."""
    if own in (1, 3) and len(asked.mean) != own:
        raise RadstartError(
            "has another number of channels", where, asked.name or asked.text(),
            f"these weights take {own}",
        )  # fmt: skip


def named(convention: Convention) -> Convention:
    """Return the convention with its name, where its numbers have one."""
    if convention.per_image:
        return convention
    for name in [*NAMED, *(n + _BGR for n in NAMED)]:
        same = named_convention(name, convention.size, "")
        if len(same.mean) != len(convention.mean) or same.order != convention.order:
            continue
        ours, theirs = ((*c.mean, *c.std) for c in (convention, same))
        if all(abs(a - b) <= 1e-6 for a, b in zip(ours, theirs, strict=True)):
            return replace(convention, name=name)
    return convention


def grey(convention: Convention) -> Convention:
    """Return the one-channel convention that belongs to a stem adapted to grey: channel means."""
    if len(convention.mean) == 1:
        return convention
    mean, std = (sum(values) / 3 for values in (convention.mean, convention.std))
    source = f"{convention.source}; one channel"
    return replace(convention, mean=(mean,), std=(std,), order="RGB", source=source, name="")


def apply_convention(convention: Convention, pixels: Tensor) -> Tensor:
    """Turn uint8 (B, H, W) grey or (B, H, W, 3) colour into float32 (B, C, H, W).

    Grey is repeated over the channels of the convention; colour becomes grey by its mean where
    the convention has one channel. The result is on the device of `pixels`.
    """
    mean = torch.tensor(convention.mean, device=pixels.device).view(1, -1, 1, 1)
    std = torch.tensor(convention.std, device=pixels.device).view(1, -1, 1, 1)
    planes = pixels.unsqueeze(1) if pixels.dim() == 3 else pixels.permute(0, 3, 1, 2)
    if planes.shape[1] == 3:
        if len(convention.mean) == 1:
            planes = planes.to(torch.float32).mean(dim=1, keepdim=True)
        elif convention.order == "BGR":
            planes = planes.flip(1)
    if convention.per_image == "minmax":
        values = planes.to(torch.float32)
        low, high = values.amin((1, 2, 3), True), values.amax((1, 2, 3), True)
        return ((values - low) / (high - low).clamp(min=1)).sub(mean).div_(std)
    return planes.to(torch.float32).div_(255).sub(mean).div_(std)  # two large arrays, not four
