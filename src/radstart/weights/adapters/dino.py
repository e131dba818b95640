"""DINO (v1): training checkpoints of ViTs and ResNet50; the bare backbones have timm's names."""

from radstart.weights.adapters.adapter import Adapter, Tensors
from radstart.weights.adapters.renaming import without_prefix

_PREFIX = "backbone."


def matches(tensors: Tensors) -> bool:
    """Return whether this is a student or teacher with DINO's own projection head.

    A bare backbone has timm's and torchvision's names: it needs no adapter.
    """
    backbone = any(name.startswith(_PREFIX) for name in tensors)
    return backbone and any(name.startswith("head.last_layer.") for name in tensors)


def adapt(tensors: Tensors, backbone: str) -> Tensors:
    """Return the tensors, those of the backbone without its prefix."""
    return without_prefix(tensors, _PREFIX)


ADAPTER = Adapter(
    name="dino",
    about="DINO checkpoints: student and teacher, each `backbone.` and a projection `head.`",
    matches=matches,
    adapt=adapt,
    remainder=("head.*",),
    take="teacher",
)
