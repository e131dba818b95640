"""MobileNetV1 x0.25 as the repositories of RetinaFace, a face detector, name it.

Its activation is a leaky ReLU with a slope of 0.1, which no tensor reveals.
"""

from collections.abc import Mapping

from radstart.backbones import Switch
from radstart.weights.adapters.adapter import Adapter, Tensors

_STEM = {"stage1.0.0": "conv_stem", "stage1.0.1": "bn1", "fc": "classifier"}
_PARTS = {"0": "conv_dw", "1": "bn1", "3": "conv_pw", "4": "bn2"}  # 2 and 5 are activations
_UNITS = {
    **{f"stage1.{i}": unit for i, unit in enumerate(("0.0", "1.0", "1.1", "2.0", "2.1"), 1)},
    **{f"stage2.{i}": f"3.{i}" for i in range(6)},
    **{f"stage3.{i}": f"4.{i}" for i in range(2)},
}


def matches(tensors: Tensors) -> bool:
    """Return whether the three stages are there, depthwise units in each."""
    return {"stage1.0.0.weight", "stage2.0.3.weight", "stage3.1.4.weight"} <= tensors.keys()


def adapt(tensors: Tensors, backbone: str) -> Tensors:
    """Rename the 13 units; nothing is computed."""
    return {_renamed(name): tensor for name, tensor in tensors.items()}


def _renamed(name: str) -> str:
    module, _, value = name.rpartition(".")
    if module in _STEM:
        return f"{_STEM[module]}.{value}"
    unit, _, part = module.rpartition(".")
    if unit in _UNITS and part in _PARTS:
        return f"blocks.{_UNITS[unit]}.{_PARTS[part]}.{value}"
    return name


def switches(backbone: str) -> Mapping[str, Switch]:
    """Return the activation that these weights were trained with."""
    return {"activation": "leaky_relu_0.1"}


ADAPTER = Adapter(
    name="retinaface",
    about="MobileNetV1 x0.25 in three stages (RetinaFace's repositories)",
    matches=matches,
    adapt=adapt,
    switches=switches,
)
