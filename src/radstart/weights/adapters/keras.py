"""Keras Applications' layers -> timm's modules, by name.

Tensors come as "layer/weight". Keras names most layers of InceptionV3 and Inception-ResNet-v2 by
the order in which a process has built them (`conv2d_94`, ...): the tables below list these layers
in the order in which the architecture's definition builds them, and the file's numbers are put in
order, wherever they begin.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import chain

import torch
from torch import Tensor

from radstart.backbones import Switch
from radstart.core.errors import RadstartError, nearest
from radstart.weights.adapters.adapter import Adapter
from radstart.weights.reading.container import Tensors

_WEIGHTS = {
    "kernel": "weight", "depthwise_kernel": "weight", "bias": "bias",
    "gamma": "weight", "beta": "bias",
    "moving_mean": "running_mean", "moving_variance": "running_var",
}  # fmt: skip


@dataclass(frozen=True)
class _Family:
    """One architecture of Keras Applications.

    Attributes:
        module: Keras's layer -> timm's module, "" for a layer that it does not have.
        switches: what its network computes beside its tensors.
        norm_behind: a convolution's module -> the batch norm's behind it, which takes its bias;
            "" where Keras has a convolution without bias, or timm one with.
        numbered: how many convolutions, each with a batch norm behind it, are named by number
            alone.
        scales: whether its batch norms have a scale.
    """

    module: Callable[[str], str]
    switches: Mapping[str, Switch] = field(default_factory=dict)
    norm_behind: Callable[[str], str] = lambda module: ""
    numbered: int = 0
    scales: bool = True


def _resnet(layer: str) -> str:
    if found := re.fullmatch(r"conv([2-5])_block(\d+)_([0-3])_(conv|bn)", layer):
        stage, block, part, kind = found.groups()
        place = f"layer{int(stage) - 1}.{int(block) - 1}"
        if part == "0":
            return f"{place}.downsample.{'0' if kind == 'conv' else '1'}"
        return f"{place}.{kind}{part}"
    return {"conv1_conv": "conv1", "conv1_bn": "bn1", "predictions": "fc"}.get(layer, "")


def _norm_behind_in_resnet(module: str) -> str:
    place, dot, name = module.rpartition(".")
    if module.endswith("downsample.0"):
        return f"{place}.1"
    return f"{place}{dot}{name.replace('conv', 'bn')}" if name.startswith("conv") else ""


def _densenet(layer: str) -> str:
    if found := re.fullmatch(r"conv([2-5])_block(\d+)_([0-2])_(conv|bn)", layer):
        block, dense, part, kind = found.groups()
        number = int(part) + (kind == "bn")
        inside = f"norm{number}" if kind == "bn" else f"conv{number}"
        return f"features.denseblock{int(block) - 1}.denselayer{dense}.{inside}"
    if found := re.fullmatch(r"pool([2-4])_(conv|bn)", layer):
        kind = "norm" if found[2] == "bn" else "conv"
        return f"features.transition{int(found[1]) - 1}.{kind}"
    return {
        "conv1_conv": "features.conv0", "conv1_bn": "features.norm0", "bn": "features.norm5",
        "predictions": "classifier",
    }.get(layer, "")  # fmt: skip


def _vgg(convolutions: tuple[int, ...]) -> Callable[[str], str]:
    """Return the names of a VGG with so many convolutions in each of its five blocks."""
    ends = {"fc1": "pre_logits.fc1", "fc2": "pre_logits.fc2", "predictions": "head.fc"}
    names, place = dict(ends), 0
    for block, count in enumerate(convolutions, 1):
        for convolution in range(1, count + 1):
            names[f"block{block}_conv{convolution}"] = f"features.{place}"
            place += 2  # the activation behind it
        place += 1  # the pool
    return lambda layer: names.get(layer, "")


def _blocks(repeats: tuple[int, ...]) -> list[str]:
    """Return timm's names of blocks, stage by stage: blocks.0.0, blocks.1.0, blocks.1.1, ..."""
    return [f"blocks.{stage}.{k}" for stage, count in enumerate(repeats) for k in range(count)]


def _mobilenet_v1(layer: str) -> str:
    blocks = _blocks((1, 2, 2, 6, 2))
    found = re.fullmatch(r"conv_(dw|pw)_(\d+)(_bn)?", layer)
    if found and 1 <= int(found[2]) <= len(blocks):
        norm = "bn1" if found[1] == "dw" else "bn2"
        return f"{blocks[int(found[2]) - 1]}.{norm if found[3] else f'conv_{found[1]}'}"
    return {"conv1": "conv_stem", "conv1_bn": "bn1", "conv_preds": "classifier"}.get(layer, "")


_EXPANDED = {"expand": ("conv_pw", "bn1"), "depthwise": ("conv_dw", "bn2"),
             "project": ("conv_pwl", "bn3")}  # fmt: skip
_SEPARABLE = {"depthwise": ("conv_dw", "bn1"), "project": ("conv_pw", "bn2")}
"""A block's part in Keras -> timm's convolution and norm; a network's first blocks have no
expansion, and timm counts its names from there."""


def _mobilenet_v2(layer: str) -> str:
    blocks = _blocks((1, 2, 3, 4, 3, 3, 1))
    if found := re.fullmatch(r"expanded_conv_(depthwise|project)(_BN)?", layer):
        return f"{blocks[0]}.{_SEPARABLE[found[1]][bool(found[2])]}"
    found = re.fullmatch(r"block_(\d+)_(expand|depthwise|project)(_BN)?", layer)
    if found and 1 <= int(found[1]) < len(blocks):
        return f"{blocks[int(found[1])]}.{_EXPANDED[found[2]][bool(found[3])]}"
    return {
        "Conv1": "conv_stem", "bn_Conv1": "bn1", "Conv_1": "conv_head", "Conv_1_bn": "bn2",
        "predictions": "classifier",
    }.get(layer, "")  # fmt: skip


_EFFICIENT = {
    "expand_conv": ("expand", 0), "expand_bn": ("expand", 1), "dwconv": ("depthwise", 0),
    "bn": ("depthwise", 1), "project_conv": ("project", 0), "project_bn": ("project", 1),
}  # fmt: skip


def _efficientnet(layer: str) -> str:
    if found := re.fullmatch(r"block([1-7])([a-z])_(\w+)", layer):
        place = f"blocks.{int(found[1]) - 1}.{ord(found[2]) - ord('a')}"
        if found[3] in ("se_reduce", "se_expand"):
            return f"{place}.se.conv_{found[3].removeprefix('se_')}"
        part, norm = _EFFICIENT.get(found[3], ("", 0))
        names = _SEPARABLE if found[1] == "1" else _EXPANDED
        return f"{place}.{names[part][norm]}" if part in names else ""
    return {
        "stem_conv": "conv_stem", "stem_bn": "bn1", "top_conv": "conv_head", "top_bn": "bn2",
        "predictions": "classifier",
    }.get(layer, "")  # fmt: skip


def _built_v3() -> Iterator[str]:
    """Yield timm's names of InceptionV3's convolutions in the order of its definition."""
    yield from ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "Conv2d_3b_1x1")
    yield "Conv2d_4a_3x3"
    five = ("1x1", "5x5_1", "5x5_2", "3x3dbl_1", "3x3dbl_2", "3x3dbl_3", "_pool")
    six = ("1x1", *(f"7x7_{k}" for k in (1, 2, 3)), *(f"7x7dbl_{k}" for k in range(1, 6)), "_pool")
    seven = ("1x1", "3x3_1", "3x3_2a", "3x3_2b", *(f"3x3dbl_{k}" for k in (1, 2, "3a", "3b")),
             "_pool")  # fmt: skip
    reduced = ("3x3", "3x3dbl_1", "3x3dbl_2", "3x3dbl_3")
    reduced_again = ("3x3_1", "3x3_2", *(f"7x7x3_{k}" for k in (1, 2, 3, 4)))
    mixed = {
        "5b": five, "5c": five, "5d": five, "6a": reduced, "6b": six, "6c": six, "6d": six,
        "6e": six, "7a": reduced_again, "7b": seven, "7c": seven,
    }  # fmt: skip
    for name, branches in mixed.items():
        yield from (f"Mixed_{name}.branch{branch}" for branch in branches)


def _built_resnet_v2() -> Iterator[str]:
    """Yield timm's names of Inception-ResNet-v2's numbered convolutions, in the same way."""
    yield from (f"conv2d_{name}" for name in ("1a", "2a", "2b", "3b", "4a"))

    def branches(place: str, *convolutions: str) -> Iterator[str]:
        return (f"{place}.branch{convolution}" for convolution in convolutions)

    yield from branches("mixed_5b", "0", "1.0", "1.1", "2.0", "2.1", "2.2", "3.1")
    for block in range(10):
        yield from branches(f"repeat.{block}", "0", "1.0", "1.1", "2.0", "2.1", "2.2")
    yield from branches("mixed_6a", "0", "1.0", "1.1", "1.2")
    for block in range(20):
        yield from branches(f"repeat_1.{block}", "0", "1.0", "1.1", "1.2")
    yield from branches("mixed_7a", "0.0", "0.1", "1.0", "1.1", "2.0", "2.1", "2.2")
    for place in (*(f"repeat_2.{block}" for block in range(9)), "block8"):
        yield from branches(place, "0", "1.0", "1.1", "1.2")


@cache
def _numbered(built: Callable[[], Iterator[str]]) -> Mapping[str, str]:
    """Return {"conv2d 0": "Conv2d_1a_3x3.conv", "batch_normalization 0": ...bn, ...}."""
    pairs = (
        ((f"conv2d {k}", f"{name}.conv"), (f"batch_normalization {k}", f"{name}.bn"))
        for k, name in enumerate(built())
    )
    return dict(chain.from_iterable(pairs))


def _inception_v3(layer: str) -> str:
    return {**_numbered(_built_v3), "predictions": "fc"}.get(layer, "")


def _inception_resnet_v2(layer: str) -> str:
    if found := re.fullmatch(r"block(35|17|8)_(\d+)_conv", layer):
        repeat = {"35": "repeat", "17": "repeat_1", "8": "repeat_2"}[found[1]]
        last = (found[1], found[2]) == ("8", "10")
        return "block8.conv2d" if last else f"{repeat}.{int(found[2]) - 1}.conv2d"
    ends = {"conv_7b": "conv2d_7b.conv", "conv_7b_bn": "conv2d_7b.bn", "predictions": "classif"}
    return {**_numbered(_built_resnet_v2), **ends}.get(layer, "")


_SAME: dict[str, Switch] = {"pad_type": "same", "bn_eps": 1e-3}
_DENSE = _Family(_densenet, {"bn_eps": 1.001e-5})
_RESNET = _Family(
    _resnet, {"bn_eps": 1.001e-5, "stride_in_first_conv": True}, _norm_behind_in_resnet
)
_V1, _V2 = _Family(_mobilenet_v1, _SAME), _Family(_mobilenet_v2, _SAME)
_EFFICIENTNET = _Family(_efficientnet, _SAME)

FAMILIES: Mapping[str, _Family] = {
    **{f"resnet{depth}": _RESNET for depth in (50, 101, 152)},
    **{f"densenet{depth}": _DENSE for depth in (121, 169, 201)},
    "inception_v3": _Family(
        _inception_v3, {"bn_eps": 1e-3, "pool_count": "inside"}, numbered=94, scales=False
    ),
    "inception_resnet_v2": _Family(
        _inception_resnet_v2, {"bn_eps": 1e-3}, numbered=203, scales=False
    ),
    "vgg16": _Family(_vgg((2, 2, 3, 3, 3))),
    "vgg19": _Family(_vgg((2, 2, 4, 4, 4))),
    **{f"mobilenetv1_{width}": _V1 for width in ("025", "100")},
    **{f"mobilenetv2_{width}": _V2 for width in ("035", "050", "075", "100", "140")},
    **{f"tf_efficientnet_b{k}": _EFFICIENTNET for k in range(6)},
    **{f"efficientnet_b{k}": _EFFICIENTNET for k in (3, 4)},
}  # fmt: skip
"""By timm's name: the networks of Keras Applications that timm has, too.

Equal for every input but one kind: MobileNetV1 pads behind its maps alone, which is timm's "same"
where sides stay even, so at multiples of 32 pixels. Files of VGG without top need the switch
`pre_logits=False`. EfficientNet's own first layers (x / 255, mean, variance) are a convention.
"""


def matches(tensors: Tensors) -> bool:
    """Return whether all names are "layer/weight" and some are a convolution's kernel."""
    names = [name.rpartition("/") for name in tensors]
    kernels = any(weight in ("kernel", "depthwise_kernel") for _, _, weight in names)
    return kernels and all(layer for layer, _, _ in names)


def switches(backbone: str) -> Mapping[str, Switch]:
    """Return what Keras's network of this timm name needs beside its tensors."""
    return FAMILIES[backbone].switches if backbone in FAMILIES else {}


def adapt(tensors: Tensors, backbone: str) -> Tensors:
    """Return the tensors under timm's names, in torch's axes.

    Computed ones are running means that take in the bias of the convolution before them (exact:
    (y + b) - m = y - (m - b)), and ones for scales, where Keras's batch norm has none.

    Raises:
        RadstartError: Keras Applications has no network of this name, or another number of its
            numbered layers.
    """
    if backbone not in FAMILIES:
        raise RadstartError(
            "no network of Keras Applications", "backbone", backbone, nearest(backbone, FAMILIES)
        )
    family = FAMILIES[backbone]
    ranked = _in_order(tensors, family.numbered, backbone) if family.numbered else {}
    adapted, biases = {}, {}
    for name, tensor in tensors.items():
        layer, _, weight = name.rpartition("/")
        module = family.module(ranked.get(layer, layer))
        if not module or weight not in _weights(family):
            adapted[name] = tensor
        elif weight == "bias" and (norm := family.norm_behind(module)):
            biases[norm] = name
        else:
            adapted[f"{module}.{_weights(family)[weight]}"] = _turned(tensor, module, weight)
    for norm, name in biases.items():
        mean = adapted.get(f"{norm}.running_mean")
        if mean is None or mean.shape != tensors[name].shape:
            adapted[name] = tensors[name]  # nothing to take it in: the loader refuses it
        else:
            adapted[f"{norm}.running_mean"] = mean - tensors[name]
    for name in [] if family.scales else list(adapted):
        norm = name.removesuffix(".running_mean")
        if norm != name:
            adapted.setdefault(f"{norm}.weight", torch.ones_like(adapted[name]))
    return adapted


def _weights(family: _Family) -> Mapping[str, str]:
    """Return Keras's names of weights -> torch's; those of Keras 3 may be numbers.

    It numbers what a batch norm without a scale has, and the network's definition says that it is
    the scale that it lacks.
    """
    if family.scales:
        return _WEIGHTS
    return {**_WEIGHTS, "0": "bias", "1": "running_mean", "2": "running_var"}


def _in_order(tensors: Tensors, count: int, backbone: str) -> Mapping[str, str]:
    """Return {"conv2d_95": "conv2d 1", ...}: numbered layers by their rank."""
    layers = {name.rpartition("/")[0] for name in tensors}
    ranked: dict[str, str] = {}
    for kind in ("conv2d", "batch_normalization"):
        numbers = {
            int(found[1] or 0): layer
            for layer in layers
            if (found := re.fullmatch(rf"{kind}(?:_(\d{{1,9}}))?", layer))
        }
        if len(numbers) != count:
            raise RadstartError(
                f"not the layers of {backbone}", "names of keras",
                f"{len(numbers)} layers {kind}_N, needs {count}",
                "name the right --backbone, or save the backbone alone",
            )  # fmt: skip
        ranked |= {numbers[n]: f"{kind} {rank}" for rank, n in enumerate(sorted(numbers))}
    return ranked


def _turned(tensor: Tensor, module: str, weight: str) -> Tensor:
    """Return a view in torch's axes; what has other axes than its layer's is left as it is."""
    if weight not in ("kernel", "depthwise_kernel"):
        return tensor
    if tensor.dim() == 4:
        if module.endswith("conv_dw"):
            return tensor.permute(2, 3, 0, 1)  # height, width, channels, 1
        turned = tensor.permute(3, 2, 0, 1)  # height, width, in, out
        one = module == "classifier" and turned.shape[2:] == (1, 1)
        return turned.flatten(1) if one else turned
    if tensor.dim() != 2:
        return tensor
    if module == "pre_logits.fc1" and tensor.shape[0] % 49 == 0:
        return tensor.view(7, 7, -1, tensor.shape[1]).permute(3, 2, 0, 1)  # rows, columns, in
    if module == "pre_logits.fc2":
        return tensor.t().unsqueeze(-1).unsqueeze(-1)
    return tensor.t()


KERAS = Adapter(
    name="keras",
    about="Keras Applications (.h5, .weights.h5, .keras): layer/weight, axes turned, "
    "biases of ResNets' convolutions folded",
    matches=matches,
    adapt=adapt,
    remainder=("dense/*", "dense_[0-9]*/*", "normalization/*", "normalization_[0-9]*/*"),
    switches=switches,
)
