"""What a network might compute otherwise with the same tensors: the values of its switches."""

import torch
from torch import nn

from radstart.backbones.build import Backbone, build
from radstart.backbones.switches import Switch, activation_modules
from radstart.core.errors import RadstartError

_FAMILIES = (
    ("relu", "relu6", "leaky_relu_0.1"),
    ("silu", "relu", "relu6"),
    ("gelu", "gelu_tanh", "quick_gelu"),
    ("hard_swish", "silu", "relu"),
)
_NAMES = {
    "relu": "relu",
    "relu6": "relu6",
    "silu": "silu",
    "swish": "silu",
    "hardswish": "hard_swish",
    "gelu": "gelu",
    "gelutanh": "gelu_tanh",
    "quickgelu": "quick_gelu",
}


def alternatives(backbone: Backbone) -> dict[str, tuple[Switch, ...]]:
    """Return the values that each switch of this network could have, its own value first.

    Only what no tensor reveals: activation, padding, strides, the pools' count, the batch norms'
    constant. A network that mixes activations, or has one of no known name, keeps them.

    Raises:
        RadstartError: no such backbone.
    """
    own = built_empty(backbone)
    found: dict[str, tuple[Switch, ...]] = {}
    activation = own_activation(own)
    family: tuple[Switch, ...] = next((f for f in _FAMILIES if activation in f), ())
    if activation and family:
        found["activation"] = _first(activation, family)
    padding = "same" if _pads_as_needed(own) else ""
    other = "" if padding else "same"
    if _takes(backbone, "pad_type", other, own):
        found["pad_type"] = (padding, other)
    strided = bool(backbone.switches.get("stride_in_first_conv", False))
    if _takes(backbone, "stride_in_first_conv", not strided, own):
        found["stride_in_first_conv"] = (strided, not strided)
    count = str(backbone.switches.get("pool_count", "all"))
    if backbone.name.startswith("inception_v3"):
        found["pool_count"] = _first(count, ("all", "inside"))
    norms = [m for m in own.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    if norms:
        found["bn_eps"] = _first(float(norms[0].eps), (1e-5, 1e-3))
    return found


def built_empty(backbone: Backbone) -> nn.Module:
    """Return the network without any numbers in it: its structure."""
    with torch.device("meta"):
        return build(backbone, 0)


def own_activation(model: nn.Module) -> str:
    """Return the one activation of a network, a key of ACTIVATIONS; "" = none, several, another."""
    names = {_name(child) for child in activation_modules(model)}
    return names.pop() if len(names) == 1 else ""


def _name(module: nn.Module) -> str:
    plain = type(module).__name__.lower().strip("_")
    if isinstance(module, nn.LeakyReLU):
        return f"leaky_relu_{module.negative_slope:g}"
    if isinstance(module, nn.GELU) and module.approximate == "tanh":
        return "gelu_tanh"
    return _NAMES.get(plain, "")


def _first(own: Switch, values: tuple[Switch, ...]) -> tuple[Switch, ...]:
    return (own, *(value for value in values if value != own))


def _pads_as_needed(model: nn.Module) -> bool:
    return any("Same" in type(m).__name__ for m in model.modules() if isinstance(m, nn.Conv2d))


def _takes(backbone: Backbone, switch: str, value: Switch, own: nn.Module) -> bool:
    """Return whether the network takes this value, and is then another one."""
    try:
        other = built_empty(Backbone(backbone.name, {**backbone.switches, switch: value}))
    except (RadstartError, TypeError, ValueError, AttributeError, AssertionError):
        return False
    return _geometry(own) != _geometry(other)


def _geometry(model: nn.Module) -> list[tuple[str, str, str]]:
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    return [(type(m).__name__, str(m.stride), str(m.padding)) for m in convolutions]
