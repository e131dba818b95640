"""Conventions and switches that a weights file may have been trained with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray

from radstart.backbones import Backbone, Switch
from radstart.weights.convention import NAMED, Convention, apply_convention, grey, named_convention

TWINS = 0.1  # inputs that differ by less than this part of their range are one candidate
COLOURED = 2.0  # mean difference of an image's channels, of 255: below, its order cannot be seen
LOOKED_AT = 16  # views that decide whether two inputs are alike
REFINED = "bn_eps"  # a question that is asked of the best candidate alone

Switches = tuple[tuple[str, Switch], ...]


@dataclass(frozen=True)
class Candidate:
    """A convention with switches.

    Attributes:
        scale: name of range, mean and std, without the order of the channels.
        convention: the input.
        switches: what is set beside, or in the place of, the backbone's own; sorted.
        twins: names of scales that make the same input of these images, or nearly so.
    """

    scale: str
    convention: Convention
    switches: Switches
    twins: tuple[str, ...] = ()

    @property
    def order(self) -> str:
        """The order of colours at the input: "RGB", "BGR", or "grey" for one channel."""
        return self.convention.order if len(self.convention.mean) == 3 else "grey"

    def value(self, question: str) -> str:
        """Return the candidate's answer to a question, as text."""
        if question in ("scale", "order"):
            return str(getattr(self, question))
        return switch_value(question, dict(self.switches)[question])

    def backbone(self, own: Backbone) -> Backbone:
        """Return the network to load."""
        return Backbone(own.name, {**own.switches, **dict(self.switches)})

    def text(self) -> str:
        """Return "imagenet RGB, leaky_relu_0.1, symmetric padding"."""
        order = f" {self.order}" if self.order != "grey" else ""
        listed = [switch_text(name, value) for name, value in self.switches if name != REFINED]
        return ", ".join([self.scale + order, *listed])


def switch_value(name: str, value: Switch) -> str:
    """Return a value of a switch as an answer: "same", "1e-05", "3x3"."""
    if name == "pad_type":
        return "same" if value == "same" else "symmetric"
    if name == "stride_in_first_conv":
        return "1x1" if value else "3x3"
    return f"{value:g}" if isinstance(value, float) else str(value)


def switch_text(name: str, value: Switch) -> str:
    """Return a value of a switch where its question is not named: "same padding", "eps 1e-05"."""
    known = {
        "pad_type": "{} padding",
        "stride_in_first_conv": "stride in the {}",
        "pool_count": "pools count {}",
        "bn_eps": "eps {}",
    }
    return known.get(name, "{}").format(switch_value(name, value))


def is_coloured(views: NDArray[np.uint8]) -> bool:
    """Return whether views have enough colour to show the order of channels."""
    if views.ndim == 3:
        return False
    some = views[:LOOKED_AT].astype(np.int16)
    return float((some.max(axis=3) - some.min(axis=3)).mean()) >= COLOURED


def mirrored(candidate: Candidate) -> Candidate:
    """Return the candidate with the order of its channels turned round."""
    own = candidate.convention
    order = "RGB" if own.order == "BGR" else "BGR"
    turned = replace(own, mean=own.mean[::-1], std=own.std[::-1], order=order, name="")
    return replace(candidate, convention=turned)


def scale_candidates(
    stated: Convention, also: Sequence[Convention], views: NDArray[np.uint8]
) -> tuple[Candidate, ...]:
    """Return a candidate for every scale, in its usual order of channels, without switches.

    The stated one leads, then what is in circulation for these weights, then NAMED. A scale that
    makes nearly the same input of these views as one before it is that one's twin.
    """
    channels = len(stated.mean)
    known = [stated, *also]
    known += [named_convention(name, stated.size, "tried") for name in NAMED]
    stretched = named_convention("0to1", stated.size, "tried")
    known.append(replace(stretched, per_image="minmax", name=""))
    found: list[Candidate] = []
    inputs: list[NDArray[np.float32]] = []
    for convention in known:
        name = scale_name(convention)
        if len(convention.mean) != channels:
            convention = grey(convention)
        if len(convention.mean) != channels or any(name in (c.scale, *c.twins) for c in found):
            continue
        fitting = replace(convention, size=stated.size)
        plain = _in_rgb(fitting, views)
        twin = next(
            (i for i, one in enumerate(found) if _alike(one.convention, inputs[i], fitting, plain)),
            None,
        )
        if twin is None:
            found.append(Candidate(name, fitting, ()))
            inputs.append(plain)
        else:
            found[twin] = replace(found[twin], twins=(*found[twin].twins, name))
    return tuple(found)


def scale_name(convention: Convention) -> str:
    """Return the name of range, mean and std, whatever the order of the channels."""
    name = convention.name.removesuffix("-bgr")
    if not name:
        name = _known_name(convention) or _numbers(convention)
    return f"{name} of each image" if convention.per_image else name


def _known_name(convention: Convention) -> str:
    ours, channels = _ordered(convention), len(convention.mean)
    for name in NAMED:
        theirs = named_convention(name, convention.size, "")
        theirs = grey(theirs) if channels == 1 else theirs
        if len(theirs.mean) == channels and np.allclose(ours, _ordered(theirs), atol=1e-6):
            return name
    return ""


def _ordered(convention: Convention) -> list[tuple[float, ...]]:
    step = -1 if convention.order == "BGR" else 1
    return [convention.mean[::step], convention.std[::step]]


def _numbers(convention: Convention) -> str:
    mean, std = (
        " ".join(f"{value:.3g}" for value in dict.fromkeys(values))
        for values in _ordered(convention)
    )
    return f"mean {mean} std {std}"


def _in_rgb(convention: Convention, views: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return some of the input's pixels, channels in the order red, green, blue."""
    some = torch.from_numpy(np.ascontiguousarray(views[:LOOKED_AT, ::4, ::4]))
    values = apply_convention(convention, some)
    return np.asarray((values.flip(1) if convention.order == "BGR" else values).numpy())


def _alike(
    ours: Convention, a: NDArray[np.float32], theirs: Convention, b: NDArray[np.float32]
) -> bool:
    narrower = min(high - low for low, high in (ours.limits(), theirs.limits()))
    return float(np.sqrt(((a - b) ** 2).mean())) <= TWINS * narrower


def switch_choices(values: Mapping[str, tuple[Switch, ...]]) -> tuple[Switches, ...]:
    """Return every combination of switch values but for REFINED, the networks' own first."""
    names = sorted(name for name in values if name != REFINED)
    return tuple(
        tuple(zip(names, combination, strict=True))
        for combination in product(*(values[name] for name in names))
    )


def questions(candidates: Sequence[Candidate]) -> tuple[str, ...]:
    """Return what the candidates differ in, in the order in which it is asked."""
    names: Mapping[str, None] = dict.fromkeys(name for c in candidates for name, _ in c.switches)
    return ("scale", "order", *(name for name in names if name != REFINED), REFINED)
