"""What a network computes beside its tensors, and what no weights file reveals.

timm's own arguments (`pad_type`, `img_size`, ...) go to timm; the table SWITCHES holds those that
timm does not offer for every family. Each is a function that changes a built network.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from radstart.core.errors import RadstartError, nearest

Switch = str | int | float | bool


def _set_bn_eps(model: nn.Module, value: Switch) -> None:
    """Set the constant that is added to every batch norm's variance."""
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    _some(norms, "bn_eps", value)
    for norm in norms:
        norm.eps = float(value)


def _set_ln_eps(model: nn.Module, value: Switch) -> None:
    """Set the constant that is added to every layer norm's variance."""
    norms = [m for m in model.modules() if isinstance(m, nn.LayerNorm)]
    _some(norms, "ln_eps", value)
    for norm in norms:
        norm.eps = float(value)


class _QuickGELU(nn.Module):
    """x sigmoid(1.702 x), as CLIP has it."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "leaky_relu_0.1": lambda: nn.LeakyReLU(0.1),
    "gelu": nn.GELU,
    "gelu_tanh": lambda: nn.GELU(approximate="tanh"),
    "quick_gelu": _QuickGELU,
    "silu": nn.SiLU,
    "hard_swish": nn.Hardswish,
}


def _set_activation(model: nn.Module, value: Switch) -> None:
    """Put one activation in the place of every other; gates of squeeze-excitation stay."""
    name = str(value)
    if name not in ACTIVATIONS:
        raise RadstartError("unknown activation", "activation", name, nearest(name, ACTIVATIONS))
    found = _activations(model)
    _some(found, "activation", value)
    for parent, key in found:
        setattr(parent, key, ACTIVATIONS[name]())


def activation_modules(model: nn.Module) -> list[nn.Module]:
    """Return the activations that the switch of this name exchanges."""
    return [getattr(parent, key) for parent, key in _activations(model)]


def _activations(model: nn.Module) -> list[tuple[nn.Module, str]]:
    return [
        (parent, key)
        for path, parent in model.named_modules()
        if not _is_gate(path)
        for key, child in parent.named_children()
        if _is_activation(child) and not _is_gate(key)
    ]


def _is_activation(module: nn.Module) -> bool:
    name = type(module).__name__.lower()
    return any(word in name for word in ("relu", "gelu", "silu", "swish", "mish")) and not any(
        True for _ in module.children()
    )


def _is_gate(path: str) -> bool:
    return bool({"se", "gate", "attn"} & set(path.split(".")))


def _stride_in_first_conv(model: nn.Module, value: Switch) -> None:
    """Let each stage of a bottleneck ResNet stride in its 1x1 convolution (He et al., v1).

    timm and torchvision stride in the 3x3 (v1.5); Keras Applications has v1.
    """
    blocks: list[Any] = [
        m for m in model.modules() if all(hasattr(m, f"conv{i}") for i in (1, 2, 3))
    ]
    moved = [b for b in blocks if b.conv2.stride != (1, 1) or b.conv1.stride != (1, 1)]
    _some(moved, "stride_in_first_conv", value)
    for block in moved if value else ():
        strides = max(block.conv1.stride, block.conv2.stride)
        block.conv1.stride, block.conv2.stride = strides, (1, 1)


def _pool_count(model: nn.Module, value: Switch) -> None:
    """Let InceptionV3's average pools count the pixels inside the image alone ("inside").

    timm and torchvision divide by nine at the border too; TensorFlow and Keras do not.
    """
    if value not in ("inside", "all"):
        raise RadstartError("unknown value of a switch", "pool_count", str(value), "inside or all")
    branches = [m for path, m in model.named_modules() if path.endswith("branch_pool")]
    _some(branches, "pool_count", value)
    for branch in branches if value == "inside" else ():
        if not isinstance(branch, nn.Sequential):  # Inception-ResNet-v2 counts inside as it is
            branch.register_forward_pre_hook(_by_those_inside)


def _by_those_inside(module: nn.Module, inputs: tuple[Tensor]) -> Tensor:
    (pooled,) = inputs
    ones = torch.ones_like(pooled[:1, :1])
    return pooled / functional.avg_pool2d(ones, kernel_size=3, stride=1, padding=1)


def _rope_periods(model: nn.Module, value: Switch) -> None:
    """Let DINOv3's rotary periods be a tensor of the network ("stored"), not computed.

    The published files hold them rounded to bfloat16, and their own code loads these; timm
    computes them in float32, which gives other features.
    """
    if value != "stored":
        raise RadstartError("unknown value of a switch", "rope_periods", str(value), "stored")
    ropes: list[Any] = [m for m in model.modules() if type(m).__name__ == "RotaryEmbeddingDinoV3"]
    _some(ropes, "rope_periods", value)
    for rope in ropes:
        rope.register_buffer("periods", rope.periods, persistent=True)


def _set_pre_logits(model: nn.Module, value: Switch) -> None:
    """Leave VGG's two hidden layers out (False): its features are the last maps' means.

    Files without a top have none of them; timm's VGGs have them before the classifier.
    """
    hidden: Any = getattr(model, "pre_logits", None)
    _some([hidden] if hasattr(hidden, "fc1") else [], "pre_logits", value)
    if value:
        return
    changed: Any = model
    count = hidden.fc1.in_channels
    changed.pre_logits = nn.Identity()
    changed.head_hidden_size = changed.head.num_features = count
    classifier = changed.head.fc
    if isinstance(classifier, nn.Linear):
        classifier.weight = nn.Parameter(classifier.weight[:, :count].detach().clone())
        classifier.in_features = count


SWITCHES: dict[str, Callable[[nn.Module, Switch], None]] = {
    "activation": _set_activation,
    "bn_eps": _set_bn_eps,
    "ln_eps": _set_ln_eps,
    "pool_count": _pool_count,
    "rope_periods": _rope_periods,
    "pre_logits": _set_pre_logits,
    "stride_in_first_conv": _stride_in_first_conv,
}


def _some(found: list[Any], switch: str, value: Switch) -> None:
    if not found:
        raise RadstartError("this network has nothing of the kind", switch, str(value))
