"""Which backbones a file's tensors could belong to, by their shapes."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from radstart.backbones import (
    Backbone,
    Shapes,
    classifier_modules,
    comparable,
    known_shapes,
    state_shapes,
)
from radstart.core.errors import RadstartError
from radstart.weights.adapters import ADAPTERS, Adapter, Tensors, adapter_for
from radstart.weights.catalog import entries
from radstart.weights.positions import fitted_size

COUNTER = "num_batches_tracked"
NEAR = 0.5  # share of shapes in common below which a backbone is not called near
FEWEST = 12  # tensors: smaller files share their few with anything


@dataclass(frozen=True)
class Likeness:
    """A file's tensors held against one backbone, names and shapes exactly.

    Attributes:
        backbone: timm's name.
        alike: other names whose tensors have the same shapes.
        share: of all shapes in either, how many are in both, 0 to 1 (order of sides set aside).
        origin: adapter that turned the file's names into timm's.
        fits: tensors of the backbone that are there under their name, in their shape.
        tensors: of the backbone, counters apart.
        missing: names of the backbone's that the file lacks.
        unexpected: names of the file's that the backbone lacks, classifiers and what its origin
            may leave over apart.
        misshapen: names in both whose shapes differ.
        classifier: names of a classifier in the file.
        grey: whether its first convolution sees one channel.
    """

    backbone: str
    alike: tuple[str, ...]
    share: float
    origin: str
    fits: int
    tensors: int
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    misshapen: tuple[str, ...]
    classifier: tuple[str, ...]
    grey: bool

    @property
    def whole(self) -> bool:
        """Whether these tensors load whole as this backbone."""
        return self.fits == self.tensors and not self.unexpected


def nearest_backbones(tensors: Tensors, most: int = 3) -> tuple[Likeness, ...]:
    """Return the backbones whose tensors' shapes are nearest, those that load whole first.

    Every backbone of timm and of ours is looked at by the table of shapes, of the file as it is
    and of what its origin makes of it; the nearest are then held against the file by name. Empty
    where nothing is near.
    """
    adapter = adapter_for(tensors)
    ranked = _ranked(_shapes(tensors))
    if adapter.name != "timm":
        likely = {entry.backbone for entry in entries() if entry.origin == adapter.name}
        likely |= {names[0] for _, names in ranked[:1]}
        tried = {name: _shapes(_adapted(adapter, tensors, name)[1]) for name in sorted(likely)}
        best = max(tried, key=lambda name: _share(tried[name], _known(name)), default="")
        ranked = max([ranked, _ranked(tried[best])] if best else [ranked], key=_first)
    found = [_held_against(tensors, names, share) for share, names in ranked[:most]]
    return tuple(sorted(found, key=lambda one: (not one.whole, -one.share)))


def _shapes(tensors: Tensors) -> Shapes:
    """Return how often each shape occurs; a tensor that stands under two names counts once."""
    once = {
        (tensor.data_ptr() or name, tuple(tensor.shape)): tensor
        for name, tensor in tensors.items()
        if not name.endswith(COUNTER)
    }
    return comparable(tensor.shape for tensor in once.values())


def _known(name: str) -> Shapes:
    """Return the shapes of a backbone; none for a name that the table does not have."""
    return next((known.shapes for known in known_shapes() if name in known.names), Counter())


def _share(own: Shapes, other: Shapes) -> float:
    """Return how many of the shapes in either are in both, 0 to 1."""
    both = (own & other).total()
    return both / max(1, own.total() + other.total() - both)


def _ranked(own: Shapes) -> list[tuple[float, tuple[str, ...]]]:
    """Return (share in common, names) of the backbones that are near, the nearest first."""
    count = own.total()
    ranked = []
    for known in known_shapes():
        other = known.shapes.total()
        if count >= FEWEST and min(count, other) >= NEAR * max(count, other):
            share = _share(own, known.shapes)
            ranked += [(-share, known.names)] if share >= NEAR else []
    return [(-share, names) for share, names in sorted(ranked)]


def _first(ranked: list[tuple[float, tuple[str, ...]]]) -> float:
    return ranked[0][0] if ranked else 0.0


def _adapted(adapter: Adapter, tensors: Tensors, name: str) -> tuple[Adapter, Tensors]:
    """Return the tensors under timm's names, without what their origin may leave over.

    Where the origin has no form for this backbone, they are taken as they are.
    """
    try:
        adapted = adapter.adapt(tensors, name)
    except (RadstartError, RuntimeError, ValueError, KeyError, IndexError):
        return ADAPTERS["timm"], dict(tensors)
    own = [key for key in adapted if not any(fnmatchcase(key, g) for g in adapter.remainder)]
    return adapter, {key: adapted[key] for key in own}


def _held_against(tensors: Tensors, names: tuple[str, ...], share: float) -> Likeness:
    name = names[0]
    adapter, adapted = _adapted(adapter_for(tensors), tensors, name)
    state = _state(name, adapter, adapted)
    wanted = {key: shape for key, shape in state.items() if not key.endswith(COUNTER)}
    given = {key: tuple(t.shape) for key, t in adapted.items() if not key.endswith(COUNTER)}
    grey = [key for key in given if key in wanted and _is_grey(given[key], wanted[key])]
    given |= {key: wanted[key] for key in grey[:1]}  # repeated over three channels when loaded
    heads = classifier_modules(name)
    extra = [key for key in given if key not in wanted]
    classifier = [key for key in extra if key.rpartition(".")[0] in heads]
    return Likeness(
        backbone=name,
        alike=names[1:],
        share=share,
        origin=adapter.name,
        fits=sum(given.get(key) == shape for key, shape in wanted.items()),
        tensors=len(wanted),
        missing=tuple(key for key in wanted if key not in given),
        unexpected=tuple(key for key in extra if key not in classifier),
        misshapen=tuple(k for k, shape in wanted.items() if k in given and given[k] != shape),
        classifier=tuple(classifier),
        grey=bool(grey),
    )


def _state(name: str, adapter: Adapter, adapted: Tensors) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a backbone with the origin's switches and at the size of the file.

    A backbone that does not take them is held against the file as timm has it.
    """
    try:
        backbone = Backbone(name, dict(adapter.switches(name)))
        size = fitted_size(adapted, backbone) if "pos_embed" in adapted else None
        if size is not None:
            backbone = Backbone(name, {**backbone.switches, "img_size": size})
        return state_shapes(backbone)
    except (RadstartError, KeyError, ValueError):
        return state_shapes(Backbone(name))


def _is_grey(given: Sequence[int], wanted: Sequence[int]) -> bool:
    """Return whether a kernel sees one channel where three are wanted, and is the same else."""
    same = len(given) == len(wanted) == 4 and (given[0], *given[2:]) == (wanted[0], *wanted[2:])
    return same and (given[1], wanted[1]) == (1, 3)


def described(tensors: Mapping[str, object]) -> str:
    """Return what kind of network the tensors are of, in one line, as far as shapes tell."""
    shapes = {
        name: tuple(getattr(tensor, "shape", ()))
        for name, tensor in tensors.items()
        if not name.endswith(COUNTER)
    }
    planes = {name: _as_torch(name, shape) for name, shape in shapes.items() if len(shape) == 4}
    matrices = [name for name, shape in shapes.items() if len(shape) == 2 and min(shape) > 1]
    if cifar := _cifar_resnet(planes, shapes):
        return cifar
    parts = []
    if planes:
        sees = [shape for shape in planes.values() if shape[1] == 3 and shape[0] > 1]
        sees += [shape for shape in planes.values() if shape[1] == 1]
        first = sees[0] if sees else (0, 0, 0, 0)
        stem = f"first {first[2]}x{first[3]} from {_several(first[1], 'channel')}, "
        widest = max(shape[0] for shape in planes.values())
        parts.append(
            f"{_several(len(planes), 'convolution')} ({stem if sees else ''}up to {widest} wide)"
        )
    if matrices:
        parts.append(f"{_several(len(matrices), 'matrix', 'matrices')} (linear layers, tables)")
    attention = sum(bool(re.search(r"(qkv|in_proj|query)[._]weight$", name)) for name in shapes)
    if attention:
        parts.append(f"{attention} of attention")
    return ", ".join(parts) or "no convolution and no linear layer"


def _as_torch(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a kernel's shape as (out, in, height, width), also where Keras wrote it."""
    if not name.rpartition(".")[2].rpartition("/")[2].startswith(("kernel", "depthwise_kernel")):
        return shape
    height, width, first, second = shape
    depthwise = "depthwise" in name
    return (first, second, height, width) if depthwise else (second, first, height, width)


def _several(count: int, one: str, many: str = "") -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"


def _cifar_resnet(planes: Mapping[str, tuple[int, ...]], shapes: Mapping[str, object]) -> str:
    """Return the name of He et al.'s ResNet for images of 32 pixels (6n + 2 layers), if it is one.

    Its names are those of an ImageNet ResNet, its shapes are not: a 3x3 first convolution, three
    stages, no fourth.
    """
    if planes.get("conv1.weight", ())[1:] != (3, 3, 3) or "bn1.weight" not in shapes:
        return ""
    stages = sorted({name.split(".")[0] for name in planes if name.startswith("layer")})
    blocks = [name for name in planes if re.fullmatch(r"layer\d\.\d+\.conv[12]\.weight", name)]
    if stages != ["layer1", "layer2", "layer3"] or len(blocks) % 6:
        return ""
    widths = [planes[f"{stage}.0.conv1.weight"][0] for stage in stages]
    return (
        f"a CIFAR ResNet-{len(blocks) + 2}: 3x3 first convolution, three stages of "
        f"{', '.join(map(str, widths))} channels; an ImageNet ResNet has four and a 7x7"
    )
