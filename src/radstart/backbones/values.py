"""Which values a network's switches take: timm builds something else from some that it lacks."""

import inspect
import math
from collections.abc import Mapping
from typing import Any

from torch import nn

from radstart.backbones.switches import Switch
from radstart.core.errors import RadstartError, nearest

MOST_PIXELS = 8192
WORDS: dict[str, tuple[Switch, ...]] = {
    "pad_type": ("", "same", "valid"),
    "output_stride": (8, 16, 32),
    "global_pool": ("avg", "max", "avgmax", "catavgmax", "token", "map"),
    "pool_count": ("inside", "all"),
    "rope_periods": ("stored",),
    "stride_in_first_conv": (True, False),
    "pre_logits": (True, False),
}
"""The values of switches that have few; "" is timm's own padding."""

NUMBERS: dict[str, tuple[type[int] | type[float], float]] = {
    "img_size": (int, MOST_PIXELS),
    "patch_size": (int, MOST_PIXELS),
    "bn_eps": (float, 1.0),
    "ln_eps": (float, 1.0),
}
"""Switches that are numbers above 0: of which type, and the largest one."""

NOT_SWITCHES = (
    "cache_dir", "checkpoint_path", "features_only", "in_chans", "num_classes", "out_indices",
    "pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "pretrained_strict", "scriptable",
)  # fmt: skip
"""timm's arguments that are none of the network's own: files to read, its ends."""


def check_switches(switches: Mapping[str, Any], where: str = "") -> None:
    """Raise RadstartError where a switch is none, or has a value that it cannot have.

    Args:
        switches: by name; those that stand in no table here are left to the network.
        where: the file that states them, "" = a person.
    """
    for name, value in switches.items():
        place = f"{where}: {name}" if where else f"switch {name}"
        if name in NOT_SWITCHES:
            raise RadstartError("not a switch of the network", place, "", "leave it out")
        fine, remedy = True, ""
        if name in WORDS:
            fine = any(type(value) is type(known) and value == known for known in WORDS[name])
            remedy = nearest(str(value), [str(known) for known in WORDS[name] if known != ""])
        elif name in NUMBERS:
            kind, most = NUMBERS[name]
            number = type(value) is int or (kind is float and type(value) is float)
            fine = number and math.isfinite(value) and 0 < value <= most
            remedy = f"give a {'whole ' if kind is int else ''}number above 0, {most:g} at the most"
        if not fine:
            raise RadstartError("unknown value of a switch", place, repr(value), remedy)


def check_truths(model: nn.Module, arguments: Mapping[str, Any]) -> None:
    """Raise RadstartError where timm takes a word for true: its defaults tell what is a truth."""
    own = inspect.signature(type(model)).parameters
    for name, value in arguments.items():
        truth = name in own and isinstance(own[name].default, bool)
        if truth and not isinstance(value, bool):
            raise RadstartError(
                "unknown value of a switch", f"switch {name}", repr(value), "give true or false"
            )
