"""What is in a weights file, as `radstart weights show FILE` draws it."""

import re
import textwrap
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from radstart.core.errors import short
from radstart.core.hashing import file_sha256
from radstart.weights.adapters import adapter_for
from radstart.weights.inspecting.doubts import Doubt, doubts
from radstart.weights.inspecting.likeness import Likeness, described, nearest_backbones
from radstart.weights.reading.files import check_taken, file_of, read_container
from radstart.weights.reading.sniff import kind_of

MOST_GROUPS, FEW_GROUPS = 24, 10
COUNTER = "num_batches_tracked"
POINTS, UNDERSCORES = re.compile(r"[./]"), re.compile(r"[./_]")
Stage = tuple[str, ...]


@dataclass(frozen=True)
class TensorFact:
    """One tensor of a file: its name, shape, type of number, count of numbers, and bytes."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    numbers: int
    bytes: int


@dataclass(frozen=True)
class Group:
    """The tensors of one stage of a network.

    Attributes:
        name: what their names begin with.
        tensors: how many, counters apart.
        numbers, bytes: in all of them.
        dtypes: of them, the commonest first.
        largest: shape of the largest one.
    """

    name: str
    tensors: int
    numbers: int
    bytes: int
    dtypes: tuple[str, ...]
    largest: tuple[int, ...]


@dataclass(frozen=True)
class Inventory:
    """What is in a weights file.

    Attributes:
        path: of the file.
        sha256: its hash.
        bytes: its size.
        kind: what it is by its first bytes.
        container: place of the dictionary of tensors, "" = the file itself.
        prefix: carried by every name, left out below.
        beside: what else the file holds; what it says of itself is no evidence.
        origin: the layout that the names are in, and what that is.
        tensors: in the file's order.
        groups: the same by stage.
        version: of the format, as the file says; "" = it does not.
        doubts: what is odd about their values.
        nearest: backbones that they could belong to, the best first; empty where none is near.
        described: what kind of network it is, in words.
    """

    path: Path
    sha256: str
    bytes: int
    kind: str
    container: str
    prefix: str
    beside: tuple[str, ...]
    origin: tuple[str, str]
    tensors: tuple[TensorFact, ...]
    groups: tuple[Group, ...]
    version: str
    doubts: tuple[Doubt, ...]
    nearest: tuple[Likeness, ...]
    described: str


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
    container = check_taken(read_container(file, sha256, take), take, file)
    tensors = container.tensors
    facts = tuple(_fact(name, tensor) for name, tensor in tensors.items())
    adapter = adapter_for(tensors)
    return Inventory(
        path=file,
        sha256=sha256,
        bytes=file.stat().st_size,
        kind=kind,
        container=container.path,
        prefix=container.prefix,
        beside=container.beside,
        origin=(adapter.name, adapter.about),
        tensors=facts,
        groups=tuple(grouped(facts)),
        version=container.version,
        doubts=doubts(tensors),
        nearest=nearest_backbones(tensors),
        described=described(tensors),
    )


def _fact(name: str, tensor: Tensor) -> TensorFact:
    dtype = str(tensor.dtype).removeprefix("torch.")
    size = tensor.numel()
    return TensorFact(name, tuple(tensor.shape), dtype, size, size * tensor.element_size())


def grouped(facts: tuple[TensorFact, ...], most: int = MOST_GROUPS) -> Iterator[Group]:
    """Yield the stages of a network in the file's order, `most` at the most.

    A stage is the beginning of names. Beginning with all, the stage with the most numbers is told
    apart as long as there are few enough, and into single layers only where there are very few.
    Names without points (Keras's) are taken apart at their underscores.
    """
    counted = tuple(fact for fact in facts if not fact.name.endswith(COUNTER))
    flat = len(_parted(1, counted, POINTS)) > most
    separator = UNDERSCORES if flat else POINTS
    stages: dict[Stage, tuple[TensorFact, ...]] = {(): counted} if counted else {}
    settled: set[Stage] = set()
    while open_ := [stage for stage in stages if stage not in settled]:
        largest = max(open_, key=lambda stage: sum(fact.numbers for fact in stages[stage]))
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
        yield _group(stage, held)


def _parted(
    depth: int, facts: tuple[TensorFact, ...], separator: re.Pattern[str]
) -> dict[Stage, tuple[TensorFact, ...]]:
    """Return the facts by the first `depth` parts of their names."""
    parts: dict[Stage, list[TensorFact]] = {}
    for fact in facts:
        parts.setdefault(tuple(separator.split(_module(fact.name))[:depth]), []).append(fact)
    return {stage: tuple(held) for stage, held in parts.items()}


def _module(name: str) -> str:
    """Return the name of a tensor's layer: what stands before its last point or slash."""
    return re.sub(r"[./]?[^./]*$", "", name)


def _group(stage: Stage, facts: tuple[TensorFact, ...]) -> Group:
    first = facts[0].name
    beginning = first[: sum(map(len, stage)) + max(0, len(stage) - 1)]
    return Group(
        name=beginning or (first if len(facts) == 1 else "(no stage)"),
        tensors=len(facts),
        numbers=sum(fact.numbers for fact in facts),
        bytes=sum(fact.bytes for fact in facts),
        dtypes=tuple(name for name, _ in Counter(fact.dtype for fact in facts).most_common()),
        largest=max(facts, key=lambda fact: fact.numbers).shape,
    )


def inventory_lines(found: Inventory, every: bool = False, width: int = 80) -> Iterator[str]:
    """Yield the inventory as a terminal shows it.

    Args:
        found: the inventory.
        every: list each tensor, too.
        width: columns.
    """
    yield f"{short(found.path.name, width - 30)}  {_size(found.bytes)}, {found.kind}"
    for name, text in _facts(found):
        yield from _row(name, text, width)
    yield ""
    yield from _drawn(found, width)
    if every:
        yield ""
        longest = max((len(fact.name) for fact in found.tensors), default=0)
        for fact in found.tensors:
            yield f"  {fact.name:<{longest}}  {fact.dtype:<8}  {_shape(fact.shape)}"
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
    yield "sha256", found.sha256
    if found.version:
        yield "written by", found.version
    yield "tensors in", found.container or "the file itself"
    if found.prefix:
        yield "prefix", f"{found.prefix} (on every name, left out below)"
    if found.beside:
        listed = ", ".join(short(name, 24) for name in found.beside[:8])
        more = f" and {len(found.beside) - 8} more" if len(found.beside) > 8 else ""
        yield "beside", f"{listed}{more}"
    known = found.origin[0] != "timm" or any(one.fits for one in found.nearest)
    yield "names", f"{found.origin[0]}: {found.origin[1]}" if known else "of no origin known here"
    yield "network", found.described


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
    dtypes = Counter(fact.dtype for fact in found.tensors if not fact.name.endswith(COUNTER))
    kinds = ", ".join(name for name, _ in dtypes.most_common())
    counters = sum(fact.name.endswith(COUNTER) for fact in found.tensors)
    beside = f", {counters} counters" if counters else ""
    count = sum(group.tensors for group in found.groups)
    numbers = sum(group.numbers for group in found.groups)
    held = _size(sum(group.bytes for group in found.groups))
    yield f"{'all':<{longest}} {count:>7} {numbers:>11,}  {kinds}, {held}{beside}"


def _doubted(found: Inventory) -> Iterator[tuple[str, str]]:
    for doubt in found.doubts:
        count = len(doubt.names)
        more = f" and {count - 3} more" if count > 3 else ""
        listed = ", ".join(short(name, 40) for name in doubt.names[:3])
        yield "WARNING" if doubt.serious else "note", f"{doubt.what}: {listed}{more}"
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


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "one number"


def _size(count: int) -> str:
    for unit, step in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= step:
            return f"{count / step:.1f} {unit}"
    return f"{count} bytes"
