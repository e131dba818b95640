"""Tensors into a network, whole or not at all, with a receipt."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from radstart.backbones import Backbone, build, classifier_keys
from radstart.core.errors import RadstartError
from radstart.weights.adapters import ADAPTERS, Adapter, adapter_for
from radstart.weights.convention import Convention
from radstart.weights.inspecting.doubts import Doubt, doubts
from radstart.weights.positions import fitted_size, positions_text
from radstart.weights.reading.container import Container, Tensors
from radstart.weights.reading.files import check_taken, read_container
from radstart.weights.receipt import Receipt, Share
from radstart.weights.source import Source
from radstart.weights.stem import fit_stem, stem_of

COUNTER = "num_batches_tracked"
POSITIONS = ("pos_embed", "relative_position_bias_table", "rel_pos_h", "rel_pos_w")


def container_of(source: Source) -> Container:
    """Return the file's dictionary of tensors.

    Raises:
        RadstartError: unreadable, pickled code, none or several dictionaries.
    """
    take = source.take or (ADAPTERS[source.origin].take if source.origin else "")
    try:
        found = read_container(source.path, source.sha256, take)
        return check_taken(found, source.take, source.path)
    except RadstartError:
        takes = {} if take else {adapter.take for adapter in ADAPTERS.values() if adapter.take}
        for other in sorted(takes):  # a layout that is known may say which one
            try:
                found = read_container(source.path, source.sha256, other)
            except RadstartError:
                continue
            if adapter_for(found.tensors).take == other:
                return found
        raise


@dataclass(frozen=True, eq=False)
class Adapted:
    """A file under timm's names: what was in it, whose names these were, its tensors under ours."""

    container: Container
    adapter: Adapter
    tensors: Tensors


def adapted_of(source: Source, backbone: str) -> Adapted:
    """Return a file's tensors as those of timm's network, by the stated adapter or its layout's."""
    container = container_of(source)
    adapter = ADAPTERS[source.origin] if source.origin else adapter_for(container.tensors)
    return Adapted(container, adapter, adapter.adapt(container.tensors, backbone))


def fitted_backbone(backbone: Backbone, source: Source) -> Backbone:
    """Return the backbone with what the origin's network needs and the size its positions are for.

    Stated switches lead.

    Raises:
        RadstartError: unreadable, or positions that no size of this backbone has.
    """
    file = adapted_of(source, backbone.name)
    switches = {**file.adapter.switches(backbone.name), **backbone.switches}
    own = replace(backbone, switches=switches)
    if any(name.endswith(POSITIONS) for name in file.tensors):
        size = fitted_size(file.tensors, own)
        if size is not None:
            own = replace(own, switches={**switches, "img_size": size})
    return own


def classifier_rows(backbone: Backbone, source: Source) -> int:
    """Return how many outputs the file's own classifier has; 0 = none, or none of timm's kind."""
    adapted, keys = adapted_of(source, backbone.name).tensors, classifier_keys(backbone)
    if not keys or not all(key in adapted for key in keys):
        return 0
    rows = {len(adapted[key]) for key in keys if key.endswith("bias") or adapted[key].dim() == 2}
    with torch.device("meta"):
        own = build(backbone, 2).state_dict()
    same = all(adapted[key].shape[1:] == own[key].shape[1:] for key in keys)
    return rows.pop() if len(rows) == 1 and same else 0


def channels_of(backbone: Backbone, source: Source) -> int:
    """Return how many channels the file's first convolution sees; 0 = it has none."""
    with torch.device("meta"):
        stem = f"{stem_of(build(backbone, 0))}.weight"
    kernel = adapted_of(source, backbone.name).tensors.get(stem)
    return kernel.shape[1] if kernel is not None and kernel.dim() == 4 else 0


def load_whole(
    model: nn.Module,
    backbone: Backbone,
    source: Source,
    convention: Convention,
    *,
    redraw: Callable[[Tensors], Tensors] | None = None,
    partial: tuple[str, ...] = (),
    head: tuple[int, ...] = (),
) -> tuple[Convention, Receipt]:
    """Copy a file's tensors into a network; return its convention and the receipt.

    The network's own classifier stays as it is unless `head` is given. Left over in the file may
    be classifiers and the origin's declared remainder alone; missing from it
    `num_batches_tracked` alone; shapes are equal but for the first convolution, which is adapted
    to the network's channels.

    Args:
        model: freshly built `backbone`, of 1 or 3 channels.
        backbone: with all switches.
        source: the file.
        convention: that the weights were trained with.
        redraw: gives the values to use in the place of the file's, under timm's names.
        partial: globs of names that may be missing, unexpected or of another shape.
        head: the file's classifier row for every output of the network; () = a fresh classifier.

    Raises:
        RadstartError: anything else is missing, unexpected or of another shape, values that no
            trained network has, a size that this one does not take; `model` is then unchanged.
    """
    file = adapted_of(source, backbone.name)
    container, adapter, adapted = file.container, file.adapter, file.tensors
    _check_values(container.tensors, source)
    classifier = classifier_keys(backbone)
    state = model.state_dict()
    wanted = {name: tensor for name, tensor in state.items() if name not in classifier}
    if head:
        adapted, wanted = _with_head(adapted, wanted, state, classifier, head, source)
    stem = stem_of(model)
    adapted, convention, stem_text = fit_stem(model, stem, adapted, convention)
    extra = [name for name in adapted if name not in wanted]
    dropped = [n for n in extra if n in classifier or _matches(n, adapter.remainder)]
    unexpected = [name for name in extra if name not in dropped]
    missing = [n for n in wanted if n not in adapted and not n.endswith(COUNTER)]
    shapes = [n for n, t in wanted.items() if n in adapted and adapted[n].shape != t.shape]
    let_pass = [n for n in (*missing, *unexpected, *shapes) if _matches(n, partial)]
    faults = [[n for n in names if n not in let_pass] for names in (missing, unexpected, shapes)]
    if any(faults):
        raise _misfit(backbone, source, adapter, adapted, wanted, faults)
    positions = positions_text(backbone, convention.size, model)
    filled = [n for n in wanted if n in adapted and n not in let_pass]
    defaulted = tuple(n for n in wanted if n not in adapted and n.endswith(COUNTER))
    _check_kinds(adapted, wanted, filled, source)
    values = redraw(adapted) if redraw else adapted
    with torch.no_grad():
        for name in filled:
            wanted[name].copy_(values[name])
        for name in defaulted:
            wanted[name].zero_()
    left = [n for n in let_pass if n in adapted]
    fresh = [n for n in wanted if n in let_pass and not n.endswith(COUNTER)]
    unused = (fresh, dropped, left)
    return convention, Receipt(
        **_counted(container.tensors, adapted, filled, unused, model, classifier),
        file=source.path.name,
        sha256=source.sha256,
        entry=source.entry,
        origin=adapter.name,
        licence=source.licence,
        backbone=backbone.text(),
        container=container.path,
        beside=container.beside,
        prefix=container.prefix,
        switches=dict(backbone.switches),
        defaulted=defaulted,
        partial=tuple(let_pass),
        stem=stem_text,
        positions=positions,
        head="classifier kept, rows in the order of the classes" if head else "",
        notes=(
            *_other_switches(backbone, adapter),
            *_notes(container, adapted, filled),
            *_doubted(source, backbone, filled),
        ),
    )


def _matches(name: str, globs: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, glob) for glob in globs)


def _with_head(
    adapted: Tensors,
    wanted: Tensors,
    state: Tensors,
    classifier: frozenset[str],
    rows: tuple[int, ...],
    source: Source,
) -> tuple[Tensors, Tensors]:
    """Return both sides with the classifier in them, its rows put into the network's order."""
    missing = [name for name in classifier if name not in adapted]
    if missing:
        raise RadstartError(
            "no trained classifier in this file", str(source.path), f"no {missing[0]}",
            "leave --keep-head out",
        )  # fmt: skip
    as_it_is = rows == tuple(range(len(adapted[min(classifier)])))
    order = slice(None) if as_it_is else torch.tensor(rows)
    kept = {name: adapted[name][order] for name in classifier}
    return {**adapted, **kept}, {**wanted, **{name: state[name] for name in classifier}}


def _check_values(tensors: Tensors, source: Source) -> None:
    """Refuse values that no trained network has."""
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() or not tensor.numel():
            continue
        if tensor.dtype not in (torch.float32, torch.float16, torch.bfloat16):
            tensor = tensor.to(torch.float32)  # which is what the network gets
        if not torch.isfinite(tensor.sum(dtype=torch.float64)):
            if torch.isfinite(tensor).all():
                continue
            raise RadstartError(
                "holds values that are not finite", str(source.path), name, "fetch it again"
            )
        if name.endswith(("running_var", "moving_variance")) and tensor.min() < 0:
            raise RadstartError(
                "holds a negative variance", str(source.path), name, "fetch it again"
            )


def _check_kinds(adapted: Tensors, wanted: Tensors, filled: list[str], source: Source) -> None:
    """Refuse whole numbers, truths and complex numbers where the network has real ones."""
    for name in filled:
        given, own = adapted[name], wanted[name]
        counts = name.endswith(COUNTER) and not given.is_complex()
        real = given.is_floating_point() == own.is_floating_point() and not given.is_complex()
        if not real and not counts:
            kinds = (str(tensor.dtype).removeprefix("torch.") for tensor in (given, own))
            raise RadstartError(
                "holds another kind of numbers", str(source.path),
                f"{name} is {', needs '.join(kinds)}", "fetch the weights that were trained",
            )  # fmt: skip


def _doubted(source: Source, backbone: Backbone, filled: list[str]) -> Iterator[str]:
    """Yield what is seriously odd about the values that were loaded, as `weights show` says it."""
    loaded = set(filled)
    for doubt in _doubts(source.path, source.sha256, source.take, source.origin, backbone.name):
        names = [name for name in doubt.names if name in loaded]
        if names and doubt.serious:
            count = f"{len(names)} tensor{'s' if len(names) > 1 else ''}"
            yield f"{doubt.what}: {count}, the first {names[0]}"


@lru_cache(maxsize=4)
def _doubts(path: Path, sha256: str, take: str, origin: str, name: str) -> tuple[Doubt, ...]:
    """Return what is odd about a file's tensors, under the backbone's names; once for each."""
    source = Source(path, sha256, origin=origin, take=take)
    return doubts(adapted_of(source, name).tensors)


def _other_switches(backbone: Backbone, adapter: Adapter) -> Iterator[str]:
    """Yield the switches that were stated and are not those of the origin's networks."""
    for name, own in adapter.switches(backbone.name).items():
        stated = backbone.switches.get(name, own)
        if stated != own:
            yield f"{name}={stated} is stated: networks of {adapter.name} have {own}"


def _notes(container: Container, adapted: Tensors, filled: list[str]) -> Iterator[str]:
    """Yield what the file says of itself, and which tensors hold nothing that was learned."""
    if container.version:
        yield f"the file says: {container.version}"
    places = {tensor.data_ptr() for tensor in container.tensors.values()}
    made = [
        n for n in filled if adapted[n].data_ptr() not in places and bool(adapted[n].eq(1).all())
    ]
    if made:
        yield f"{len(made)} scales are ones: its network has none there, the first {made[0]}"


def _misfit(
    backbone: Backbone,
    source: Source,
    adapter: Adapter,
    adapted: Tensors,
    wanted: Tensors,
    faults: list[list[str]],
) -> RadstartError:
    missing, unexpected, shapes = faults
    first = [f"missing {name}" for name in missing[:1]]
    first += [f"unexpected {name}" for name in unexpected[:1]]
    first += [
        f"{name} is {tuple(adapted[name].shape)}, needs {tuple(wanted[name].shape)}"
        for name in shapes[:1]
    ]
    names = "" if adapter.name == "timm" else f", names of {adapter.name}"
    return RadstartError(
        f"weights do not fit {backbone.text()}{names}: {len(missing)} of {len(wanted)} tensors "
        f"missing, {len(unexpected)} unexpected, {len(shapes)} of another shape",
        str(source.path),
        "; ".join(first),
        "nothing was loaded; radstart weights show FILE says what it looks like",
    )


def _counted(
    given: Tensors,
    adapted: Tensors,
    filled: list[str],
    unused: tuple[list[str], list[str], list[str]],
    model: nn.Module,
    classifier: frozenset[str],
) -> dict[str, Any]:
    """Return a receipt's counts: what became of each tensor is told by where its numbers lie.

    `unused` are the network's tensors at fresh values; the file's that its origin drops; the
    file's that were let pass.
    """
    places = {tensor.data_ptr(): name for name, tensor in given.items() if tensor.numel()}
    trained = {name: p.numel() for name, p in model.named_parameters() if p.requires_grad}
    loaded = [n for n in filled if not n.endswith(COUNTER) and n not in classifier]
    sizes = {name: tensor.numel() for name, tensor in adapted.items()}
    kinds: dict[str, list[str]] = {"renamed": [], "reshaped": [], "computed": []}
    for name in loaded:
        tensor = adapted[name]
        old = places.get(tensor.data_ptr())
        if old is None:
            kinds["computed"].append(name)
            continue
        if given[old].shape != tensor.shape or given[old].stride() != tensor.stride():
            kinds["reshaped"].append(name)
        if old != name:
            kinds["renamed"].append(name)
    fresh, dropped, left = unused
    counts: dict[str, Any] = {
        "assigned": len(loaded),
        "counters": sum(name.endswith(COUNTER) for name in filled),
        "dropped": tuple(sorted(dropped)),
        "parameters_assigned": sum(trained.get(n, 0) for n in loaded),
        "parameters_dropped": sum(sizes[name] for name in dropped),
        "parameters_total": sum(n for name, n in trained.items() if name not in classifier),
    }
    for kind, names in kinds.items():
        counts |= {kind: len(names)}
        counts |= {f"parameters_{kind}": sum(trained.get(n, 0) for n in names)}
    unfilled = (("fresh", "backbone", fresh, trained), ("dropped", "file", dropped, sizes))
    shares = _backbone_shares(loaded, kinds, trained)
    for share in (*unfilled, ("left out", "file", left, sizes)):
        shares += _share(*share)
    return counts | {"shares": tuple(shares)}


def _backbone_shares(
    loaded: list[str], kinds: dict[str, list[str]], trained: dict[str, int]
) -> list[Share]:
    """Return what became of the tensors that were loaded, each counted once."""
    left, found = loaded, []
    for kind in ("computed", "reshaped", "renamed"):
        own = set(kinds[kind])
        found += _share(kind, "backbone", [name for name in left if name in own], trained)
        left = [name for name in left if name not in own]
    return [*_share("as named", "backbone", left, trained), *reversed(found)]


def _share(kind: str, place: str, names: list[str], sizes: dict[str, int]) -> list[Share]:
    """Return these tensors as a share, none for none."""
    numbers = sum(sizes.get(name, 0) for name in names)
    return [Share(kind, place, len(names), numbers)] if names else []
