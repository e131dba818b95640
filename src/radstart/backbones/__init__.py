"""Backbones: a timm name and its switches -> a module; numerics: how it is computed."""

from radstart.backbones.build import Backbone, build, classifier_keys, native_convention
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

__all__ = [
    "Backbone",
    "Numerics",
    "build",
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
