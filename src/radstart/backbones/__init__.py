"""Backbones: a timm name and its switches -> a module; numerics: how it is computed."""

from radstart.backbones.build import (
    OURS,
    Backbone,
    build,
    check_name,
    classifier_keys,
    native_convention,
)
from radstart.backbones.numerics import (
    Numerics,
    choose_numerics,
    computing,
    instructions,
    mixed,
    place,
    place_images,
    read_numerics,
    usable_device,
)
from radstart.backbones.switches import ACTIVATIONS, SWITCHES, Switch

__all__ = [
    "ACTIVATIONS",
    "OURS",
    "SWITCHES",
    "Backbone",
    "Numerics",
    "Switch",
    "build",
    "check_name",
    "choose_numerics",
    "classifier_keys",
    "computing",
    "instructions",
    "mixed",
    "native_convention",
    "place",
    "place_images",
    "read_numerics",
    "usable_device",
]
