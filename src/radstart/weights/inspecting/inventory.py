"""What is in a weights file, as `radstart weights show FILE` draws it."""

import re
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from radstart.core.errors import few, short
from radstart.core.hashing import file_sha256
from radstart.weights.adapters import adapter_for
from radstart.weights.inspecting.doubts import Doubt, doubts
from radstart.weights.inspecting.likeness import Likeness, described, nearest_backbones
from radstart.weights.reading.container import Container, Tensors
from radstart.weights.reading.files import check_taken, file_of, read_container
from radstart.weights.reading.sniff import kind_of

MOST_GROUPS, FEW_GROUPS = 24, 10
COUNTER = "num_batches_tracked"
POINTS, UNDERSCORES = re.compile(r"[./]"), re.compile(r"[./_]")
Stage = tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Group:
    """The tensors of one stage of a network.

    Attributes:
        name: what their names begin with.
        tensors: how many, counters apart.
        numbers, bytes: in all of them.
        largest: shape of the largest one.
    """

    name: str
    tensors: int
    numbers: int
    bytes: int
    largest: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Inventory:
    """What is in a weights file.

    Attributes:
        path: of the file.
        sha256: its hash.
        kind: what it is by its first bytes.
        held: its tensors, where they stood and what stands beside them; what a file says of
            itself is no evidence.
        groups: the tensors by stage.
        doubts: what is odd about their values.
        nearest: backbones that they could belong to, the best first; empty where none is near.
    """

    path: Path
    sha256: str
    kind: str
    held: Container
    groups: tuple[Group, ...]
    doubts: tuple[Doubt, ...]
    nearest: tuple[Likeness, ...]


def inventory_of(path: Path, take: str = "") -> Inventory:
    """Read a weights file, or the one in a weights or run folder, and say what it holds.

    Nothing in it is executed.

    Args:
        path: of the file or folder.
        take: which dictionary of tensors to look at where the file holds several.

    Raises:
        RadstartError: unreadable, pickled code (the globals it asks for are named), no tensors,
            or several dictionaries of them.
    """
    file = file_of(path)
    kind, sha256 = kind_of(file), file_sha256(file)
    held = check_taken(read_container(file, sha256, take), take, file)
    own = held.tensors
    groups = tuple(grouped(own))
    return Inventory(file, sha256, kind, held, groups, doubts(own), nearest_backbones(own))


def grouped(tensors: Tensors, most: int = MOST_GROUPS) -> Iterator[Group]:
    """Yield the stages of a network in the file's order, `most` at the most.

    A stage is the beginning of names. Beginning with all, the stage with the most numbers is told
    apart as long as there are few enough, and into single layers only where there are very few.
    Names without points (Keras's) are taken apart at their underscores.
    """
    counted = {name: t for name, t in tensors.items() if not name.endswith(COUNTER)}
    flat = len(_parted(1, counted, POINTS)) > most
    separator = UNDERSCORES if flat else POINTS
    stages: dict[Stage, Tensors] = {(): counted} if counted else {}
    settled: set[Stage] = set()
    while open_ := [stage for stage in stages if stage not in settled]:
        largest = max(open_, key=lambda stage: sum(t.numel() for t in stages[stage].values()))
        parts = _parted(len(largest) + 1, stages[largest], separator)
        count = len(stages) + len(parts) - 1
        layers = len(stages[largest]) < 5 * len(parts)
        if largest in parts or (largest and count > (FEW_GROUPS if layers else most)):
            settled.add(largest)
            continue
        kept = list(stages.items())
        place = list(stages).index(largest)
        stages = dict([*kept[:place], *parts.items(), *kept[place + 1 :]])
    for stage, held in stages.items():
        first, beginning = next(iter(held)), sum(map(len, stage)) + max(0, len(stage) - 1)
        yield Group(
            name=first[:beginning] or (first if len(held) == 1 else "(no stage)"),
            tensors=len(held),
            numbers=sum(t.numel() for t in held.values()),
            bytes=sum(t.numel() * t.element_size() for t in held.values()),
            largest=tuple(max(held.values(), key=Tensor.numel).shape),
        )


def _parted(depth: int, tensors: Tensors, separator: re.Pattern[str]) -> dict[Stage, Tensors]:
    """Return the tensors by the first `depth` parts of the names of their layers."""
    parts: dict[Stage, Tensors] = {}
    for name, tensor in tensors.items():
        layer = re.sub(r"[./]?[^./]*$", "", name)  # what stands before the last point or slash
        parts.setdefault(tuple(separator.split(layer)[:depth]), {})[name] = tensor
    return parts


def inventory_lines(found: Inventory, every: bool = False, width: int = 80) -> Iterator[str]:
    """Yield the inventory as a terminal shows it.

    Args:
        found: the inventory.
        every: list each tensor, too.
        width: columns.
    """
    size, tensors = found.path.stat().st_size, found.held.tensors
    yield f"{short(found.path.name, width - 30)}  {_size(size)}, {found.kind}"
    for name, text in _facts(found):
        yield from _row(name, text, width)
    yield ""
    yield from _drawn(found, width)
    if every:
        yield ""
        longest = max(map(len, tensors), default=0)
        for name, tensor in tensors.items():
            yield f"  {name:<{longest}}  {_dtype(tensor):<8}  {_shape(tensor.shape)}"
    yield ""
    for name, text in (*_doubted(found), *_likened(found)):
        yield from _row(name, text, width)


def _row(name: str, text: str, width: int) -> list[str]:
    """Return a name and its text, broken at `width`."""
    return textwrap.wrap(
        text, width, initial_indent=f"{name:<11} ", subsequent_indent=" " * 12,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def _facts(found: Inventory) -> Iterator[tuple[str, str]]:
    held, adapter = found.held, adapter_for(found.held.tensors)
    yield "sha256", found.sha256
    if held.version:
        yield "written by", held.version
    yield "tensors in", held.path or "the file itself"
    if held.prefix:
        yield "prefix", f"{held.prefix} (on every name, left out below)"
    if held.beside:
        yield "beside", few(held.beside, 8, 24)
    known = adapter.name != "timm" or any(one.fits for one in found.nearest)
    yield "names", f"{adapter.name}: {adapter.about}" if known else "of no origin known here"
    yield "network", described(held.tensors)


def _drawn(found: Inventory, width: int) -> Iterator[str]:
    """Yield one bar per stage, as long as its share of the numbers."""
    longest = min(30, max([5, *(len(group.name) for group in found.groups)]))
    most = max((group.numbers for group in found.groups), default=1)
    room = max(8, width - longest - 37)
    yield f"{'stage':<{longest}} {'tensors':>7} {'numbers':>11}  largest"
    for group in found.groups:
        bar = "#" * max(1, round(room * group.numbers / max(1, most)))
        yield (
            f"{short(group.name, longest):<{longest}} {group.tensors:>7} {group.numbers:>11,}  "
            f"{_shape(group.largest):<14} {bar}"
        )
    own = found.held.tensors
    dtypes = Counter(_dtype(t) for name, t in own.items() if not name.endswith(COUNTER))
    kinds = ", ".join(name for name, _ in dtypes.most_common())
    counters = sum(name.endswith(COUNTER) for name in own)
    beside = f", {counters} counters" if counters else ""
    count = sum(group.tensors for group in found.groups)
    numbers = sum(group.numbers for group in found.groups)
    held = _size(sum(group.bytes for group in found.groups))
    yield f"{'all':<{longest}} {count:>7} {numbers:>11,}  {kinds}, {held}{beside}"


def _doubted(found: Inventory) -> Iterator[tuple[str, str]]:
    for doubt in found.doubts:
        said = f"{doubt.what}: {few(doubt.names, signs=40)}"
        yield "WARNING" if doubt.serious else "note", said
    if not found.doubts:
        yield "values", "finite, none constant, none at a known start"


def _likened(found: Inventory) -> Iterator[tuple[str, str]]:
    if not found.nearest:
        yield "looks like", "nothing at hand: no backbone that is known here is near by shapes"
    whole = [one for one in found.nearest if one.whole]
    for one in whole or found.nearest:
        alike = f" (as {len(one.alike)} more of these shapes)" if one.alike else ""
        if one.whole:
            module = one.classifier[0].rpartition(".")[0] if one.classifier else "none"
            how = f"{one.origin}'s names" if one.origin != "timm" else "every name"
            seen = ", one channel" if one.grey else ""
            text = f"{one.backbone}{seen}: loads whole by {how}; classifier: {module}{alike}"
            yield "looks like", text
            continue
        yield "near", f"{one.backbone}: {one.share:.0%} of shapes in common{alike}"
        for word in ("missing", "unexpected", "misshapen"):
            names = getattr(one, word)
            if names:
                first = ", ".join(short(name, 40) for name in names[:2])
                yield "", f"{len(names)} {word}: {first}{', ...' if len(names) > 2 else ''}"
    if whole:
        yield "", "shapes show no eps, activation, padding or scale: radstart weights check"


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "one number"


def _size(count: int) -> str:
    for unit, step in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= step:
            return f"{count / step:.1f} {unit}"
    return f"{count} bytes"
