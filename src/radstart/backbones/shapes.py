"""The shapes of every backbone's tensors, in a table beside this file: what a file could belong to.

Building 1,400 networks takes minutes, so the table is made once per version of timm:

    python -m radstart.backbones.shapes
"""

import gzip
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from radstart.backbones.build import OURS, Backbone, build, check_name
from radstart.core.errors import RadstartError
from radstart.core.files import whole_file

TABLE = Path(__file__).with_name("shapes.json.gz")
COUNTER = "num_batches_tracked"
Shape = tuple[int, ...]
Shapes = Counter[Shape]


@dataclass(frozen=True)
class KnownShapes:
    """Backbones that shapes cannot tell apart.

    Attributes:
        names: shortest first, the rest in alphabetical order.
        shapes: how many tensors of each shape the backbone has, without a classifier.
    """

    names: tuple[str, ...]
    shapes: Shapes


def comparable(shapes: Iterable[Sequence[int]]) -> Shapes:
    """Return how often each shape occurs, with its sides sorted and those of 1 left out.

    So the layouts of other frameworks (a kernel of 3, 3, 64, 128) and 1x1 convolutions in the
    place of linear layers count as the same; single numbers (counters) do not count.
    """
    sorted_ = (tuple(sorted(side for side in shape if side > 1)) for shape in shapes)
    return Counter(shape for shape in sorted_ if shape)


@cache
def known_shapes() -> tuple[KnownShapes, ...]:
    """Return the shapes of every backbone of timm and of ours, as the table has them."""
    with gzip.open(TABLE, "rt", encoding="utf-8") as file:
        table = json.load(file)
    shapes = [tuple(shape) for shape in table["shapes"]]
    return tuple(
        KnownShapes(
            tuple(names),
            Counter({shapes[k]: n for k, n in zip(counts[::2], counts[1::2], strict=True)}),
        )
        for names, counts in table["backbones"]
    )


def state_shapes(backbone: Backbone) -> dict[str, Shape]:
    """Return name -> shape of a backbone's tensors, without a classifier; nothing is computed."""
    with torch.device("meta"):
        state = build(backbone, 0).state_dict()
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def classifier_modules(name: str) -> tuple[str, ...]:
    """Return the modules that timm calls the classifier of a backbone, mostly one."""
    check_name(name)  # lets timm import
    from timm import get_pretrained_cfg

    config = get_pretrained_cfg(name)
    stated = config.classifier if config is not None and config.classifier else "classifier"
    return (stated,) if isinstance(stated, str) else tuple(stated)


def write_table(path: Path, shapes: Mapping[str, Shapes]) -> None:
    """Write the table: every shape once, and per backbone how often it has which."""
    alike: dict[tuple[tuple[Shape, int], ...], list[str]] = {}
    for name in sorted(shapes, key=lambda name: (len(name), name)):
        alike.setdefault(tuple(sorted(shapes[name].items())), []).append(name)
    every = sorted({shape for counts in shapes.values() for shape in counts})
    place = {shape: k for k, shape in enumerate(every)}
    rows = [[names, [x for s, n in key for x in (place[s], n)]] for key, names in alike.items()]
    text = json.dumps({"shapes": every, "backbones": rows}, separators=(",", ":"))
    with whole_file(path) as temporary:
        temporary.write_bytes(gzip.compress(text.encode(), 9, mtime=0))


def _all_shapes() -> dict[str, Shapes]:
    check_name("resnet18")  # lets timm import
    import timm

    found = {}
    for name in [*OURS, *timm.list_models()]:
        try:
            found[name] = comparable(state_shapes(Backbone(name)).values())
        except RadstartError:
            continue  # a network that cannot be built without further arguments
    return found


if __name__ == "__main__":
    write_table(TABLE, _all_shapes())
