"""Backbones: a timm name and its switches -> a module; numerics: how it is computed."""

from radstart.backbones.alternatives import alternatives
from radstart.backbones.build import (
    OURS,
    Backbone,
    build,
    build_to_fill,
    check_backbone,
    check_name,
    classifier_keys,
    native_convention,
    state_keys,
    stated_backbone,
    takes_any_size,
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
from radstart.backbones.shapes import (
    KnownShapes,
    Shapes,
    classifier_modules,
    comparable,
    known_shapes,
    state_shapes,
)
from radstart.backbones.switches import ACTIVATIONS, SWITCHES, Switch
from radstart.backbones.values import MOST_PIXELS

__all__ = [
    "ACTIVATIONS",
    "MOST_PIXELS",
    "OURS",
    "SWITCHES",
    "Backbone",
    "KnownShapes",
    "Numerics",
    "Shapes",
    "Switch",
    "alternatives",
    "build",
    "build_to_fill",
    "check_backbone",
    "check_name",
    "choose_numerics",
    "classifier_keys",
    "classifier_modules",
    "comparable",
    "computing",
    "instructions",
    "known_shapes",
    "mixed",
    "native_convention",
    "place",
    "place_images",
    "read_numerics",
    "state_keys",
    "state_shapes",
    "stated_backbone",
    "takes_any_size",
    "usable_device",
]
