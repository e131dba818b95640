"""A timm name with switches -> a module whose initial values come from a named stream."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from radstart.backbones.operators import declare_torchvision_operators
from radstart.backbones.switches import SWITCHES, Switch
from radstart.backbones.values import check_switches, check_truths
from radstart.core.errors import RadstartError, nearest, short


@dataclass(frozen=True)
class Backbone:
    """An architecture: timm's name, its arguments that differ from timm's defaults, SWITCHES."""

    name: str
    switches: dict[str, Switch] = field(default_factory=dict)

    def text(self) -> str:
        """Return "mobilenetv2_100 (pad_type=same)"."""
        listed = ", ".join(f"{key}={value}" for key, value in sorted(self.switches.items()))
        return f"{self.name} ({listed})" if listed else self.name


def _mobilenetv1_025(**arguments: Any) -> nn.Module:
    from timm.models.efficientnet import _gen_mobilenet_v1

    model: nn.Module = _gen_mobilenet_v1("mobilenetv1_100", 0.25, **arguments)
    return model


OURS: dict[str, Callable[..., nn.Module]] = {"mobilenetv1_025": _mobilenetv1_025}
"""Backbones that timm can build and has no name for."""


def build(backbone: Backbone, outputs: int, seed: int = 0, channels: int = 3) -> nn.Module:
    """Return the network with `outputs` logits (0: pooled features), freshly initialised.

    The network maps float (B, channels, H, W) to (B, outputs) or (B, features). Initial values
    depend on `seed` alone; torch's global generator is left as it was. Nothing is downloaded.

    Raises:
        RadstartError: no such name, or it does not take these switches.
    """
    check_backbone(backbone)
    import timm

    own = {name: value for name, value in backbone.switches.items() if name in SWITCHES}
    arguments: dict[str, Any] = {k: v for k, v in backbone.switches.items() if k not in own}
    if takes_any_size(backbone.name):
        arguments.setdefault("dynamic_img_size", True)
    if channels != 3:
        arguments["in_chans"] = channels
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            make = OURS.get(backbone.name, partial(timm.create_model, backbone.name))
            model = make(pretrained=False, num_classes=outputs, **arguments)
        except Exception as error:  # timm's own checks are of every kind
            if not backbone.switches:
                raise
            raise RadstartError(
                f"{backbone.name} does not take these switches", "backbone",
                short(f"{backbone.text()}: {error}", 200), "correct or leave out --switch",
            ) from error  # fmt: skip
    check_truths(model, backbone.switches)
    for name, value in own.items():
        SWITCHES[name](model, value)
    return model


def build_to_fill(backbone: Backbone, outputs: int, seed: int = 0, channels: int = 3) -> nn.Module:
    """Return the network of `build` for who sets every tensor of its state: faster, the same.

    Initial values are not drawn: what is not set holds anything. A network that keeps tensors
    beside its state (tables of positions, say) is built in full.
    """
    with torch.device("meta"):
        model = build(backbone, outputs, seed, channels)
    kept = model.state_dict().keys()
    beside = any(name not in kept for name, _ in model.named_buffers()) or any(
        isinstance(value, Tensor) for module in model.modules() for value in vars(module).values()
    )
    return build(backbone, outputs, seed, channels) if beside else model.to_empty(device="cpu")


def check_backbone(backbone: Backbone) -> None:
    """Raise RadstartError where there is no such backbone, or no such value of a switch."""
    check_name(backbone.name)
    check_switches(backbone.switches)


def check_name(name: str) -> None:
    """Raise RadstartError where neither timm nor radstart has a backbone of this name."""
    declare_torchvision_operators()
    import timm

    if name not in OURS and not timm.is_model(name):
        known = [*OURS, *timm.list_models()]
        raise RadstartError("unknown backbone", "backbone", name, nearest(name, known))
    plain, point, _ = name.partition(".")
    if point and name not in (tags := timm.list_pretrained(f"{plain}.*")):
        raise RadstartError("unknown backbone", "backbone", name, nearest(name, [plain, *tags]))


_FILE = "mend it, or name the weights file in it, with --backbone"


def stated_backbone(name: object, switches: object, where: str) -> Backbone:
    """Return a backbone as a card, a receipt or a config.json states it.

    Raises:
        RadstartError: no name, or switches that are none.
    """
    if not isinstance(name, str) or not name:
        raise RadstartError(
            "a key is missing or wrong", f"{where}: the backbone", repr(name), _FILE
        )
    plain = isinstance(switches, dict) and all(isinstance(v, Switch) for v in switches.values())
    if not isinstance(switches, dict) or not plain:
        raise RadstartError("a key is wrong", f"{where}: the switches", repr(switches), _FILE)
    check_switches(switches, where)
    return Backbone(name, dict(switches))


_RELATIVE_ONLY = ("beit_", "beitv2_", "vit_relpos_", "vit_srelpos_")


@cache
def takes_any_size(name: str) -> bool:
    """Whether timm resamples this network's position embedding to the image at hand."""
    return name.startswith(("vit_", "deit", "eva", "beit")) and not name.startswith(_RELATIVE_ONLY)


def state_keys(backbone: Backbone) -> frozenset[str]:
    """Return the state-dict keys of the backbone, without a classifier."""
    return _state_keys(backbone.name, tuple(sorted(backbone.switches.items())), 0)


def classifier_keys(backbone: Backbone) -> frozenset[str]:
    """Return the state-dict keys that exist only for the sake of the classifier."""
    switches = tuple(sorted(backbone.switches.items()))
    return _state_keys(backbone.name, switches, 7) - _state_keys(backbone.name, switches, 0)


@cache
def _state_keys(
    name: str, switches: tuple[tuple[str, Switch], ...], outputs: int
) -> frozenset[str]:
    with torch.device("meta"):
        return frozenset(build(Backbone(name, dict(switches)), outputs).state_dict())


def native_convention(backbone: Backbone) -> tuple[int, tuple[float, ...], tuple[float, ...]]:
    """Return timm's (size, mean, std) for this name: a default, not a property of any weights.

    A size among the switches leads.
    """
    declare_torchvision_operators()
    import timm

    stated = int(backbone.switches.get("img_size", 0))
    config = timm.get_pretrained_cfg(backbone.name)
    if config is None:
        return stated or 224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    return stated or int(config.input_size[-1]), tuple(config.mean), tuple(config.std)
