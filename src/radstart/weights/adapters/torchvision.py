"""torchvision's names where they differ from timm's.

Its ResNets, its DenseNets of today and its InceptionV3 without the auxiliary classifier have
timm's own names: nothing in such a file says which of the two wrote it, and nothing needs to.

The blocks of EfficientNet and MobileNetV3 are numbered otherwise and their layers are numbers
alone. What a layer is follows from its tensors: squeeze-and-excitation has `fc1`, a depthwise
convolution one input channel, those before it expand and those behind it project. The order of
names in the file is not looked at: safetensors sorts them.
"""

import re
from collections.abc import Iterable, Mapping
from itertools import accumulate

from radstart.backbones import Switch
from radstart.weights.adapters.adapter import Adapter
from radstart.weights.adapters.renaming import renamed, renamed_by
from radstart.weights.reading.container import Tensors

EFFICIENTNETS = tuple(f"efficientnet_b{scale}" for scale in range(5))
"""The larger ones have another eps than timm's."""

STAGES = {"mobilenetv3_small_100": (1, 2, 3, 2, 3), "mobilenetv3_large_100": (1, 2, 3, 4, 2, 3)}
"""Blocks in each of timm's stages; torchvision counts them through."""

BN_EPS = 1e-3  # of torchvision's MobileNetV3; timm's has 1e-5

_BLOCK = re.compile(
    r"features\.(?P<block>\d+(\.\d+)?)\.block\.(?P<layer>\d+)\.(?P<part>0|1|fc1|fc2)\.[^.]+"
)
_OLD_DENSE = r"(.*\.denselayer\d+\.(?:norm|conv))\.([12])\.(\w+)"  # norm.1 is norm1 today
_VGG = {
    "classifier.0": "pre_logits.fc1",
    "classifier.3": "pre_logits.fc2",
    "classifier.6": "head.fc",
}
_SQUEEZE = {"fc1": "se.conv_reduce", "fc2": "se.conv_expand"}


def matches(tensors: Tensors) -> bool:
    """Return whether names are torchvision's and not timm's."""
    return (
        "features.1.0.block.0.0.weight" in tensors  # EfficientNet
        or "features.1.block.0.0.weight" in tensors  # MobileNetV3
        or {"features.0.weight", "classifier.0.weight", "classifier.3.weight"} <= tensors.keys()
        or {"Mixed_7c.branch1x1.conv.weight", "AuxLogits.conv0.conv.weight"} <= tensors.keys()
        or any(re.fullmatch(_OLD_DENSE, name) for name in tensors)
    )


def adapt(tensors: Tensors, backbone: str) -> Tensors:
    """Rename what differs for this backbone; layers that became 1 x 1 convolutions are views."""
    name = backbone.partition(".")[0]
    if name in EFFICIENTNETS:
        return _placed(tensors, _efficientnet(tensors))
    if name in STAGES:
        return _as_convolution(
            _placed(tensors, _mobilenetv3(tensors, STAGES[name])), "conv_head", 1
        )
    if name.startswith("vgg"):
        convolutional = _as_convolution(_placed(tensors, _VGG), "pre_logits.fc1", 7)
        return _as_convolution(convolutional, "pre_logits.fc2", 1)
    if name.startswith("densenet"):
        return renamed(tensors, ((_OLD_DENSE, r"\1\2.\3"),))
    return dict(tensors)


def switches(backbone: str) -> Mapping[str, Switch]:
    """Return MobileNetV3's eps: with timm's the features are quietly others."""
    return {"bn_eps": BN_EPS} if backbone.partition(".")[0] in STAGES else {}


def _efficientnet(tensors: Tensors) -> dict[str, str]:
    places = {
        "features.0.0": "conv_stem",
        "features.0.1": "bn1",
        "features.8.0": "conv_head",
        "features.8.1": "bn2",
        "classifier.1": "classifier",
    }
    for block, parts in _blocks(tensors).items():
        stage, _, number = block.partition(".")
        places |= _layers(tensors, block, parts, f"blocks.{int(stage) - 1}.{number}")
    return places


def _mobilenetv3(tensors: Tensors, stages: tuple[int, ...]) -> dict[str, str]:
    count = sum(stages)
    places = {
        "features.0.0": "conv_stem",
        "features.0.1": "bn1",
        f"features.{count + 1}.0": f"blocks.{len(stages)}.0.conv",
        f"features.{count + 1}.1": f"blocks.{len(stages)}.0.bn1",
        "classifier.0": "conv_head",
        "classifier.3": "classifier",
    }
    firsts = [0, *accumulate(stages)]
    for block, parts in _blocks(tensors).items():
        number = int(block) - 1 if block.isdigit() else count
        if number < count:
            stage = max(s for s, first in enumerate(firsts) if first <= number)
            places |= _layers(tensors, block, parts, f"blocks.{stage}.{number - firsts[stage]}")
    return places


def _blocks(tensors: Tensors) -> dict[str, set[tuple[int, str]]]:
    """Return the parts (number of the layer, "0", "1", "fc1" or "fc2") of every block."""
    blocks: dict[str, set[tuple[int, str]]] = {}
    for name in tensors:
        if found := _BLOCK.fullmatch(name):
            blocks.setdefault(found["block"], set()).add((int(found["layer"]), found["part"]))
    return blocks


def _layers(
    tensors: Tensors, block: str, parts: Iterable[tuple[int, str]], target: str
) -> dict[str, str]:
    """Return where the layers of one inverted residual go."""
    before = f"features.{block}.block"
    convolutions = sorted({layer for layer, part in parts if part in ("0", "1")})
    shapes = {c: tensors[f"{before}.{c}.0.weight"].shape for c in convolutions
              if f"{before}.{c}.0.weight" in tensors}  # fmt: skip
    deep = [c for c, shape in shapes.items() if len(shape) == 4 and shape[1] == 1]
    places = {}
    for layer, part in parts:
        if part in _SQUEEZE:
            role = _SQUEEZE[part]
        elif part == "1":
            role = f"bn{convolutions.index(layer) + 1}"
        elif layer in deep:
            role = "conv_dw"
        else:  # the projection of a block that does not expand is timm's conv_pw
            role = "conv_pwl" if layer == convolutions[-1] and len(convolutions) == 3 else "conv_pw"
        places[f"{before}.{layer}.{part}"] = f"{target}.{role}"
    return places


def _placed(tensors: Tensors, places: Mapping[str, str]) -> Tensors:
    """Rename layers; the last part of a name (weight, bias, running_var, ...) stays."""

    def name(old: str) -> str:
        layer, _, leaf = old.rpartition(".")
        return f"{places[layer]}.{leaf}" if layer in places else old

    return renamed_by(tensors, name)


def _as_convolution(tensors: Tensors, layer: str, side: int) -> Tensors:
    """Return the tensors with a linear layer seen as a `side` x `side` convolution."""
    name = f"{layer}.weight"
    if name not in tensors or tensors[name].dim() != 2 or tensors[name].shape[1] % side**2:
        return tensors
    return tensors | {name: tensors[name].unflatten(1, (-1, side, side))}


TORCHVISION = Adapter(
    name="torchvision",
    about="torchvision's EfficientNet, MobileNetV3, VGG, InceptionV3 with its auxiliary "
    "classifier, and DenseNets of before 2018",
    matches=matches,
    adapt=adapt,
    remainder=("AuxLogits.*",),
    switches=switches,
)
