"""Which backbones a file's tensors could belong to, by their shapes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from radstart.backbones import Backbone, classifier_modules, comparable, known_shapes, state_shapes
from radstart.core.errors import RadstartError
from radstart.weights.adapters import ADAPTERS, Tensors, adapter_for

COUNTER = "num_batches_tracked"
NEAR = 0.5  # share of shapes in common below which a backbone is not called near
FEWEST = 6  # tensors in common, too: small files share a few with everything


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

    @property
    def whole(self) -> bool:
        """Whether these tensors load whole as this backbone."""
        return self.fits == self.tensors and not self.unexpected


def nearest_backbones(tensors: Tensors, most: int = 3) -> tuple[Likeness, ...]:
    """Return the backbones whose tensors' shapes are nearest, those that load whole first.

    Every backbone of timm and of ours is looked at by the table of shapes; the nearest are then
    held against the file by name. Empty where nothing is near.
    """
    own = comparable(t.shape for name, t in tensors.items() if not name.endswith(COUNTER))
    count = own.total()
    ranked = []
    for known in known_shapes():
        both = (own & known.shapes).total()
        if both >= FEWEST and both >= NEAR * max(count, known.shapes.total()) / 2:
            share = both / (count + known.shapes.total() - both)
            ranked.append((-share, known.names))
    found = [
        _held_against(tensors, names, -share)
        for share, names in sorted(ranked)[:most]
        if -share >= NEAR
    ]
    return tuple(sorted(found, key=lambda one: (not one.whole, -one.share)))


def _held_against(tensors: Tensors, names: tuple[str, ...], share: float) -> Likeness:
    name = names[0]
    adapter = adapter_for(tensors)
    try:
        adapted = adapter.adapt(tensors, name)
    except (RadstartError, RuntimeError, ValueError, KeyError, IndexError):
        adapter = ADAPTERS["timm"]  # this layout has no form for this backbone
        adapted = dict(tensors)
    wanted = state_shapes(Backbone(name, dict(adapter.switches(name))))
    heads = classifier_modules(name)
    given = {key: tuple(t.shape) for key, t in adapted.items() if not key.endswith(COUNTER)}
    wanted = {key: shape for key, shape in wanted.items() if not key.endswith(COUNTER)}
    extra = [key for key in given if key not in wanted]
    classifier = [key for key in extra if key.rpartition(".")[0] in heads]
    allowed = re.compile("|".join(map(_pattern, adapter.remainder)) or "(?!)")
    return Likeness(
        backbone=name,
        alike=names[1:],
        share=share,
        origin=adapter.name,
        fits=sum(given.get(key) == shape for key, shape in wanted.items()),
        tensors=len(wanted),
        missing=tuple(key for key in wanted if key not in given),
        unexpected=tuple(
            key for key in extra if key not in classifier and not allowed.fullmatch(key)
        ),
        misshapen=tuple(k for k, shape in wanted.items() if k in given and given[k] != shape),
        classifier=tuple(classifier),
    )


def _pattern(glob: str) -> str:
    from fnmatch import translate

    return translate(glob)


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
