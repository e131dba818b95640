"""torchvision's networks as four radiology projects write them, and one of a face detector.

RadImageNet's official PyTorch files (ResNet50.pt, InceptionV3.pt, DenseNet121.pt) hold
torchvision's networks as `Backbone.backbone = nn.Sequential(*children)`, so that names are
numbers: "backbone.4.0.conv1.weight". Convolutions have no biases and the strides are
torchvision's: whatever these files are, they are not the Keras networks of the paper.

Ports of RadImageNet's Keras ResNet50 to PyTorch compute what Keras does. Names are torchvision's,
the network is not: every convolution has a bias, batch norm's eps is 1.001e-5 and stages stride
in their first 1 x 1 convolution. A load by names alone takes all but the biases and computes
another network, so it is refused; here the biases are folded into the running means, which is
exact: norm(x + b) with mean m is norm(x) with mean m - b. A conversion that threw the biases away
is lost: its file cannot be told from one of torchvision's networks, and no adapter can give back
what is not there.

RadiologyNET's checkpoints keep `model_state` beside an optimizer's state. ResNets and InceptionV3
stand under `model.`; EfficientNets, MobileNetV3 and VGG16 are written part by part; DenseNet121
is written twice, as its parts and whole. Its InceptionV3 was built with the auxiliary classifier.

TorchXRayVision's DenseNet121 and ResNet50 have one input channel and 18 outputs. The released
DenseNet files are pickled modules, which are not loaded; their state dict is. The buffer
`op_threshs` (operating points of the 18 outputs) is no weight of the backbone. A ResNet's state
dict taken from the library's wrapper has `model.` before every name.

RetinaFace's repositories name MobileNetV1 x0.25 in three stages. Its activation is a leaky ReLU
with a slope of 0.1, which no tensor reveals.
"""

import re

from torch import Tensor, equal

from radstart.core.errors import RadstartError
from radstart.weights.adapters import children, torchvision
from radstart.weights.adapters.adapter import Adapter
from radstart.weights.adapters.renaming import having, renamed_by, without_prefix
from radstart.weights.reading.container import Tensors

CLASSES = 36  # pseudo-labels of RadiologyNET's pretraining
OUTPUTS = 18  # of TorchXRayVision
THRESHOLDS = "op_threshs"
BN_EPS = 1.001e-5  # of Keras's ResNets

_CONVOLUTION = re.compile(r"(?P<before>(?:.*\.)?)conv(?P<number>[1-3])\.bias")
_SHORTCUT = re.compile(r"(?P<before>.*\.downsample)\.0\.bias")
_CLASSIFIERS = ("model.fc", "classifier.1", "classifier.3", "classifier.6")
_STEM = {"stage1.0.0": "conv_stem", "stage1.0.1": "bn1", "fc": "classifier"}
_PARTS = {"0": "conv_dw", "1": "bn1", "3": "conv_pw", "4": "bn2"}  # 2 and 5 are activations
_UNITS = {
    **{f"stage1.{i}": unit for i, unit in enumerate(("0.0", "1.0", "1.1", "2.0", "2.1"), 1)},
    **{f"stage2.{i}": f"3.{i}" for i in range(6)},
    **{f"stage3.{i}": f"4.{i}" for i in range(2)},
}


def _are_numbered(tensors: Tensors) -> bool:
    """Return whether every name is "backbone." and a number."""
    return all(name.startswith("backbone.") for name in tensors) and children.are_numbered(
        without_prefix(tensors, "backbone.")
    )


def _folded(tensors: Tensors, backbone: str) -> Tensors:
    """Fold the biases of convolutions into the running means of the norms behind them."""
    folded = dict(tensors)
    for name, bias in tensors.items():
        mean = tensors.get(_mean_behind(name))
        if mean is not None and mean.shape == bias.shape:
            folded[_mean_behind(name)] = mean - bias
            del folded[name]
    return folded


def _mean_behind(name: str) -> str:
    """Return the running mean that follows a convolution's bias, "" for any other name."""
    if found := _CONVOLUTION.fullmatch(name):
        return f"{found['before']}bn{found['number']}.running_mean"
    if found := _SHORTCUT.fullmatch(name):
        return f"{found['before']}.1.running_mean"
    return ""


def _is_radiologynet(tensors: Tensors) -> bool:
    """Return whether tensors are written twice, or end in RadiologyNET's number of classes."""
    if not all(name.startswith(("model.", "features.", "classifier.")) for name in tensors):
        return False
    if "features.conv0.weight" in tensors:
        return "model.features.conv0.weight" in tensors
    last = [tensors[f"{name}.weight"] for name in _CLASSIFIERS if f"{name}.weight" in tensors]
    return bool(last) and last[-1].dim() == 2 and len(last[-1]) == CLASSES


def _radiologynet(tensors: Tensors, backbone: str) -> Tensors:
    """Take one copy of each tensor, without the prefix, under timm's name.

    Raises:
        RadstartError: two copies differ.
    """
    single: Tensors = {}
    for name, tensor in tensors.items():
        plain = name.removeprefix("model.")
        if plain in single and not _same(single[plain], tensor):
            raise RadstartError(
                "the two copies of a tensor differ: which one was trained is not known",
                "names in the file",
                f"{plain} and model.{plain}",
                "fetch the file again",
            )
        single.setdefault(plain, tensor)
    return torchvision.adapt(single, backbone)


def _same(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and equal(one, other)


def _unwrapped(tensors: Tensors) -> Tensors:
    wrapped = all(name.startswith("model.") for name in tensors)
    return without_prefix(tensors, "model.") if wrapped else tensors


def _is_torchxrayvision(tensors: Tensors) -> bool:
    """Return whether the first convolution is grey and there are thresholds or 18 outputs."""
    plain = _unwrapped(tensors)
    grey = any(_is_grey(plain.get(name)) for name in ("features.conv0.weight", "conv1.weight"))
    heads = [plain[name] for name in ("classifier.weight", "fc.weight") if name in plain]
    return grey and (THRESHOLDS in plain or any(len(head) == OUTPUTS for head in heads))


def _is_grey(tensor: Tensor | None) -> bool:
    return tensor is not None and tensor.dim() == 4 and tensor.shape[1] == 1


def _unit(name: str) -> str:
    """Return timm's name of a tensor of RetinaFace's."""
    module, _, value = name.rpartition(".")
    if module in _STEM:
        return f"{_STEM[module]}.{value}"
    unit, _, part = module.rpartition(".")
    if unit in _UNITS and part in _PARTS:
        return f"blocks.{_UNITS[unit]}.{_PARTS[part]}.{value}"
    return name


RADIMAGENET_PORT = Adapter(
    name="radimagenet_port",
    about="RadImageNet's Keras ResNet50 in PyTorch, convolutions with biases",
    matches=having("conv1.bias", "bn1.running_mean", "layer1.0.conv3.bias"),
    adapt=_folded,
    switches=lambda backbone: {"bn_eps": BN_EPS, "stride_in_first_conv": True},
)
RADIMAGENET_TORCH = Adapter(
    name="radimagenet_torch",
    about="RadImageNet's official .pt files: torchvision's layers under numbers",
    matches=_are_numbered,
    adapt=lambda tensors, backbone: torchvision.adapt(
        children.named(without_prefix(tensors, "backbone.")), backbone
    ),
    remainder=("AuxLogits.*",),
)
TORCHXRAYVISION = Adapter(
    name="torchxrayvision",
    about="TorchXRayVision's state dicts: one input channel, thresholds beside the weights",
    matches=_is_torchxrayvision,
    adapt=lambda tensors, backbone: torchvision.adapt(_unwrapped(tensors), backbone),
    remainder=(THRESHOLDS,),
)
RADIOLOGYNET = Adapter(
    name="radiologynet",
    about="RadiologyNET's model_state: torchvision's networks under model., DenseNet121 twice",
    matches=_is_radiologynet,
    adapt=_radiologynet,
    remainder=("AuxLogits.*",),
    switches=torchvision.switches,
    take="model_state",
)
RETINAFACE = Adapter(
    name="retinaface",
    about="MobileNetV1 x0.25 in three stages (RetinaFace's repositories)",
    matches=having("stage1.0.0.weight", "stage2.0.3.weight", "stage3.1.4.weight"),
    adapt=lambda tensors, backbone: renamed_by(tensors, _unit),
    switches=lambda backbone: {"activation": "leaky_relu_0.1"},
)
