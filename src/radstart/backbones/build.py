"""A timm name with switches -> a module whose initial values come from a named stream."""

from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from torch import nn

from radstart.backbones.operators import declare_torchvision_operators
from radstart.core.errors import RadstartError, nearest

Switch = str | int | float | bool


@dataclass(frozen=True)
class Backbone:
    """An architecture: timm's name and the arguments that differ from timm's defaults."""

    name: str
    switches: dict[str, Switch] = field(default_factory=dict)

    def text(self) -> str:
        """Return "mobilenetv2_100 (pad_type=same)"."""
        listed = ", ".join(f"{key}={value}" for key, value in sorted(self.switches.items()))
        return f"{self.name} ({listed})" if listed else self.name


def build(backbone: Backbone, outputs: int, seed: int = 0) -> nn.Module:
    """Return the network with `outputs` logits (0: pooled features), freshly initialised.

    The network maps float (B, 3, H, W) to (B, outputs) or (B, features). Initial values depend on
    `seed` alone; torch's global generator is left as it was. Nothing is downloaded.

    Raises:
        RadstartError: timm has no such name, or it does not take these switches.
    """
    declare_torchvision_operators()
    import timm

    if not timm.is_model(backbone.name):
        names = timm.list_models()
        raise RadstartError(
            "unknown backbone", "backbone", backbone.name, nearest(backbone.name, names)
        )
    switches: dict[str, Any] = dict(backbone.switches)
    if _has_position_embedding(backbone.name):
        switches.setdefault("dynamic_img_size", True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            model = timm.create_model(
                backbone.name, pretrained=False, num_classes=outputs, **switches
            )
        except TypeError as error:
            raise RadstartError(
                f"{backbone.name} does not take these switches", "backbone", str(error)
            ) from error
    return model


@cache
def _has_position_embedding(name: str) -> bool:
    return name.startswith(("vit_", "deit", "eva", "beit"))


def classifier_keys(backbone: Backbone) -> frozenset[str]:
    """Return the state-dict keys that exist only for the sake of the classifier."""
    return _classifier_keys(backbone.name, tuple(sorted(backbone.switches.items())))


@cache
def _classifier_keys(name: str, switches: tuple[tuple[str, Switch], ...]) -> frozenset[str]:
    backbone = Backbone(name, dict(switches))
    with torch.device("meta"):
        with_classifier = build(backbone, 7).state_dict().keys()
        without = build(backbone, 0).state_dict().keys()
    return frozenset(with_classifier - without)


def native_convention(backbone: Backbone) -> tuple[int, tuple[float, ...], tuple[float, ...]]:
    """Return timm's (size, mean, std) for this name: a default, not a property of any weights."""
    declare_torchvision_operators()
    import timm

    config = timm.get_pretrained_cfg(backbone.name)
    if config is None:
        return 224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    return int(config.input_size[-1]), tuple(config.mean), tuple(config.std)
