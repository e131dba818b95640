"""Networks saved as `nn.Sequential(*network.children())`: numbers -> the names of the layers.

Which number a layer has depends on what stands between (activations, pools, an auxiliary
classifier), so each layer is recognised by the tensors in it, and the n-th of a kind gets the
n-th name. Shapes are checked where the tensors are loaded.
"""

import re

from radstart.weights.adapters.renaming import renamed_by
from radstart.weights.reading.container import Tensors

KINDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("running_mean", ("bn1",)),
    ("0.conv1.weight", ("layer1", "layer2", "layer3", "layer4")),
    ("conv0.weight", ("features",)),  # of a DenseNet
    ("branch5x5_1.conv.weight", ("Mixed_5b", "Mixed_5c", "Mixed_5d")),
    ("branch3x3.conv.weight", ("Mixed_6a",)),
    ("branch7x7_1.conv.weight", ("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e")),
    ("conv0.conv.weight", ("AuxLogits",)),
    ("branch7x7x3_1.conv.weight", ("Mixed_7a",)),
    ("branch3x3_2a.conv.weight", ("Mixed_7b", "Mixed_7c")),
    (
        "conv.weight",
        ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "Conv2d_3b_1x1", "Conv2d_4a_3x3"),
    ),
)
"""What a layer of torchvision's ResNets, DenseNets and InceptionV3 holds; the first that fits."""

_NUMBERED = re.compile(r"(?P<child>\d+)\.(?P<inside>.+)")


def are_numbered(tensors: Tensors) -> bool:
    """Return whether names begin with numbers, a first convolution among them."""
    first = ("0.weight", "0.conv.weight", "0.conv0.weight")
    return all(_NUMBERED.fullmatch(name) for name in tensors) and any(
        name in tensors and tensors[name].dim() == 4 for name in first
    )


def named(tensors: Tensors) -> Tensors:
    """Return the tensors under torchvision's names; what is of no known kind keeps its own."""
    children: dict[int, Tensors] = {}
    for name, tensor in tensors.items():
        if found := _NUMBERED.fullmatch(name):
            children.setdefault(int(found["child"]), {})[found["inside"]] = tensor
    names: dict[str, str] = {}
    given: dict[tuple[str, ...], int] = {}
    for child in sorted(children):
        kind = _kind(children[child], "0.conv0.weight" in tensors)
        nth = given.get(kind, 0)
        given[kind] = nth + 1
        if nth < len(kind):
            names[str(child)] = kind[nth]

    def named_child(old: str) -> str:
        child, _, inside = old.partition(".")
        return f"{names[child]}.{inside}" if child in names else old

    return renamed_by(tensors, named_child)


def _kind(inside: Tensors, dense: bool) -> tuple[str, ...]:
    """Return the names that layers of this kind have, in their order; () = unknown."""
    for mark, names in KINDS:
        if mark in inside:
            return names
    dimensions = inside["weight"].dim() if "weight" in inside else 0
    if dimensions == 4:
        return ("conv1",)
    if dimensions == 2:
        return ("classifier",) if dense else ("fc",)
    return ()
