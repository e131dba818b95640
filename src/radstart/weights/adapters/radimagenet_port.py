"""Ports of RadImageNet's Keras ResNet50 to PyTorch that compute what Keras does.

Names are torchvision's, the network is not: every convolution has a bias, batch norm's eps is
1.001e-5 and stages stride in their first 1 x 1 convolution. A load by names alone takes all but
the biases and computes another network, so it is refused; here the biases are folded into the
running means, which is exact: norm(x + b) with mean m is norm(x) with mean m - b.

A conversion that threw the biases away is lost: its file cannot be told from one of torchvision's
networks, and no adapter can give back what is not there.
"""

import re
from collections.abc import Mapping

from radstart.backbones import Switch
from radstart.weights.adapters.adapter import Adapter, Tensors

BN_EPS = 1.001e-5

_CONVOLUTION = re.compile(r"(?P<before>(?:.*\.)?)conv(?P<number>[1-3])\.bias")
_SHORTCUT = re.compile(r"(?P<before>.*\.downsample)\.0\.bias")


def matches(tensors: Tensors) -> bool:
    """Return whether this is a bottleneck ResNet whose convolutions have biases."""
    return {"conv1.bias", "bn1.running_mean", "layer1.0.conv3.bias"} <= tensors.keys()


def adapt(tensors: Tensors, backbone: str) -> Tensors:
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


def switches(backbone: str) -> Mapping[str, Switch]:
    """Return the eps and the strides of Keras Applications' ResNets."""
    return {"bn_eps": BN_EPS, "stride_in_first_conv": True}


ADAPTER = Adapter(
    name="radimagenet_port",
    about="RadImageNet's Keras ResNet50 in PyTorch, convolutions with biases",
    matches=matches,
    adapt=adapt,
    switches=switches,
)
