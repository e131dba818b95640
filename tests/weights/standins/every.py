"""The stand-ins of all groups: one line for a new one."""

import re

from standins import chest, cnn, dino, keras_nets, timm_nets, vit
from standins.standin import StandIn

from radstart.weights.catalog import Entry, find

GROUPS = (timm_nets, cnn, keras_nets, dino, chest, vit)
EVERY: tuple[StandIn, ...] = tuple(standin for group in GROUPS for standin in group.STANDINS)

_SAME = (
    ("tiny|small|base|large|huge", "SIZE"),
    ("resnet(18|34)$", "resnet-basic"),
    ("resnet(50|101|152)$", "resnet-bottleneck"),
    ("efficientnet_b[34]", "efficientnet"),
    ("patch(8|16)_", "patch_"),
)


def layout(entry: Entry) -> tuple[str, str]:
    """Return origin and network, networks that differ in width and depth alone being one."""
    network = entry.backbone
    for pattern, name in _SAME:
        network = re.sub(pattern, name, network)
    return entry.origin, network


def _one_of_each() -> tuple[StandIn, ...]:
    found: dict[tuple[object, ...], StandIn] = {}
    for standin in EVERY:
        entry = find(standin.entry)
        words = standin.verified.replace(entry.backbone, "")
        writer = re.sub(r"(resnet|efficientnet_b)\d+|mobilenet_v3_\w+", "", words)
        found.setdefault((standin.entry.partition("/")[0], *layout(entry), writer), standin)
    return tuple(found.values())


ONE_OF_EACH = _one_of_each()
"""The first, which is the smallest, of each family and layout: what `make test` proves.

`python tests/weights/families_page.py --measure` proves all.
"""
