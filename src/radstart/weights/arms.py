"""Arms: a named start = weights + backbone + convention."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from radstart.backbones import (
    Backbone,
    build,
    build_to_fill,
    check_backbone,
    classifier_keys,
    native_convention,
)
from radstart.core.errors import RadstartError, nearest
from radstart.core.random import stream_seed
from radstart.weights.catalog import families, is_family
from radstart.weights.convention import Convention, check_channels, named, named_convention
from radstart.weights.load import fitted_backbone, load_whole
from radstart.weights.moments import moments_like
from radstart.weights.positions import for_size
from radstart.weights.receipt import Receipt, redrawn
from radstart.weights.remote.store import hub_place
from radstart.weights.source import Source, locate

STARTS = {
    "random": "random",
    "file": "NAME=file:PATH",
    "run": "NAME=run:STUDY/runs/ID",
    "hub": "NAME=hub:OWNER/NAME",
    "catalog": "imagenet, radimagenet/resnet50, ...",
    "moments": "moments:ARM",
}
"""The kinds of start, and how they are written."""

ASSUMED = "input convention assumed"
HEAD_KEPT = "brings its trained classifier"


@dataclass(frozen=True)
class ArmSpec:
    """An arm as a person wrote it.

    Attributes:
        name: unique in a study.
        start: `random`, `KIND:REST`, or a name of the catalog.
        convention: a name of NAMED that leads over what the weights state; "" = as stated.
        head: whether the trained classifier of the weights is kept, where the classes agree.
        partial: globs of tensors that may be missing or left over; the arm's name then says so.
    """

    name: str
    start: str
    convention: str = ""
    head: bool = False
    partial: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """The kind of start: a key of STARTS."""
        return "catalog" if is_family(self.start) else self.start.partition(":")[0]

    @property
    def located(self) -> bool:
        """Whether it has weights of its own, which lie somewhere."""
        return self.kind not in ("random", "moments")

    @property
    def rest(self) -> str:
        """What stands behind the kind: a path, or the name of another arm."""
        return self.start.partition(":")[2]


@dataclass(frozen=True)
class Arm:
    """An arm with everything decided.

    Attributes:
        spec: as written.
        backbone: architecture and switches.
        convention: how pixels become its input.
        source: its weights, None for random values alone.
        redraws: whether each seed draws its own initial values (random and moments).
        notes: what a reader must know about how it was decided.
        head: the file's classifier row for every class of the study; () = a fresh classifier.
    """

    spec: ArmSpec
    backbone: Backbone
    convention: Convention
    source: Source | None
    redraws: bool
    notes: tuple[str, ...] = ()
    head: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """The arm's name."""
        return self.spec.name

    @property
    def channels(self) -> int:
        """How many channels its network sees."""
        return len(self.convention.mean)

    def record(self) -> dict[str, object]:
        """Return what makes this start, for run ids: file contents, no paths."""
        unusual: dict[str, object] = {"head": self.head} if self.head else {}
        unusual |= {"partial": self.spec.partial} if self.spec.partial else {}
        return {
            "kind": "file" if self.spec.located else self.spec.kind,
            "backbone": self.backbone.name,
            "switches": dict(self.backbone.switches),
            "convention": self.convention.identity(),
            "sha256": self.source.sha256 if self.source else "",
            **unusual,
        }


def parse_arm(text: str) -> ArmSpec:
    """Read `START` or `NAME=START`.

    Raises:
        RadstartError: an unknown kind of start, or one without its path or arm.
    """
    named = re.fullmatch(r"([\w.\- ]+)=(.+)", text.strip(), flags=re.DOTALL)
    start = named.group(2).strip() if named else text.strip()
    spec = ArmSpec("", start)
    if spec.kind not in STARTS or (spec.kind == "catalog" and not is_family(start)):
        known = [
            *(kind for kind in STARTS if kind != "catalog"),
            *(family.name for family in families()),
        ]
        raise RadstartError("unknown start", "arms", start or "nothing", nearest(spec.kind, known))
    if spec.kind != "catalog" and (spec.kind == "random") == bool(spec.rest):
        raise RadstartError("incomplete start", "arms", start, f"write {STARTS[spec.kind]}")
    if named:
        return ArmSpec(named.group(1).strip(), start)
    if spec.kind == "hub":
        repo, _, revision = hub_place(spec.rest)
        short = repo.partition("/")[2]
        return ArmSpec(short if revision == "main" else f"{short}@{revision}", start)
    path_like = spec.kind in ("file", "run")
    return ArmSpec(Path(spec.rest).name or start if path_like else start, start)


def with_options(
    specs: tuple[ArmSpec, ...],
    conventions: Mapping[str, str],
    heads: Sequence[str] = (),
    partial: Mapping[str, tuple[str, ...]] | None = None,
) -> tuple[ArmSpec, ...]:
    """Return the arms with what was asked for some of them by name.

    Args:
        specs: the arms.
        conventions: name of a convention by arm.
        heads: arms that keep their trained classifier.
        partial: globs of tensors that may be missing or left over, by arm.

    Raises:
        RadstartError: no arm of such a name, or no convention.
    """
    names, globs = [spec.name for spec in specs], partial or {}
    for name in (*conventions, *heads, *globs):
        if name not in names:
            raise RadstartError("no arm of this name", "arms", name, nearest(name, names))
    for convention in conventions.values():
        named_convention(convention, 0, "")
    return tuple(
        replace(
            spec,
            convention=conventions.get(spec.name, spec.convention),
            head=spec.head or spec.name in heads,
            partial=(*spec.partial, *globs.get(spec.name, ())),
        )
        for spec in specs
    )


def named_in_full(specs: tuple[ArmSpec, ...]) -> tuple[tuple[ArmSpec, ...], dict[str, str]]:
    """Return the arms, "(partial GLOB)" behind the names of those that may be partial.

    Every table then says it. Moments of such an arm are partial, too.

    Returns: the arms; and the full name by the name that was written, where it changed.
    """
    partial = {spec.name: spec.partial for spec in specs if spec.partial}
    changed = []
    for spec in specs:
        globs, start, name = spec.partial, spec.start, _full(spec.name, spec.partial)
        if spec.kind == "moments" and (globs := partial.get(spec.rest, ())):
            start = f"moments:{_full(spec.rest, globs)}"
            name = start if spec.name == spec.start else _full(spec.name, globs)
        changed.append(replace(spec, name=name, start=start, partial=globs))
    full = {old.name: new.name for old, new in zip(specs, changed, strict=True) if old != new}
    return tuple(changed), full


def _full(name: str, globs: tuple[str, ...]) -> str:
    said = f" (partial {' '.join(globs)})"
    return name if name.endswith(said) or not globs else name + said


def resolve_arms(
    specs: tuple[ArmSpec, ...],
    backbone: str,
    size: int | None,
    mean_std: tuple[float, float],
    find: Callable[[ArmSpec, str], Source] = locate,
) -> tuple[Arm, ...]:
    """Decide every arm's backbone and convention.

    Args:
        specs: at least one; names are unique.
        backbone: timm's name for arms whose weights do not state one; "" = the first arm's that
            does.
        size: input side in pixels for all arms; None = each arm's own.
        mean_std: mean and standard deviation of the training part's pixels on 0..1, the
            convention of `random`.
        find: where the weights of an arm are, given the backbone that is asked for.

    Raises:
        RadstartError: two arms of one name, unknown references, no backbone anywhere, a size
            that a network does not take.
    """
    names = [spec.name for spec in specs]
    for name in names:
        if names.count(name) > 1:
            raise RadstartError("two arms of one name", "arms", name, "name one: NAME=START")
    stated = {spec.name: find(spec, backbone) for spec in specs if spec.located}
    backbones = [found.backbone for found in stated.values() if found.backbone]
    same = [known for known in backbones if known.name == backbone]
    default = next(iter(same or ([Backbone(backbone)] if backbone else backbones)), None)
    resolved: dict[str, Arm] = {}
    for spec in sorted(specs, key=lambda s: s.kind == "moments"):
        if spec.located:
            arm = of_weights(spec, stated[spec.name], default)
        elif spec.kind == "moments":
            if spec.rest not in stated:
                raise RadstartError(
                    "moments needs an arm with weights", spec.start, spec.rest,
                    nearest(spec.rest, stated) if stated else "add NAME=file:PATH",
                )  # fmt: skip
            arm = replace(resolved[spec.rest], spec=spec, redraws=True, head=())
        else:
            if default is None:
                raise RadstartError(
                    "no arm states a backbone", "arms", ",".join(names), "add --backbone"
                )
            side = native_convention(default)[0]
            mean, std = ((value,) * 3 for value in mean_std)
            source = "mean and standard deviation of the training part"
            arm = Arm(spec, default, Convention(side, mean, std, source), None, True)
        if size is not None:
            arm = replace(arm, convention=replace(arm.convention, size=size))
        if spec.convention:
            arm = _fed_otherwise(arm)
        sized = for_size(arm.backbone, arm.convention.size)
        resolved[spec.name] = replace(arm, backbone=sized)
    return tuple(resolved[name] for name in names)


def of_weights(spec: ArmSpec, source: Source, default: Backbone | None) -> Arm:
    """Return the arm of a weights file; `default` is the backbone where the file states none.

    Raises:
        RadstartError: no backbone is known, or there is none of this name.
    """
    own = source.backbone or default
    if own is None:
        raise RadstartError(
            "these weights do not state their architecture", spec.rest or spec.start, "",
            "add --backbone (radstart weights show FILE says what it looks like)",
        )  # fmt: skip
    check_backbone(own)
    own = fitted_backbone(own, source)
    native = native_convention(own)
    assumed = f"{ASSUMED}: timm's default for this name (radstart weights check FILE --images DATA)"
    notes = () if source.convention else (assumed,)
    default_convention = named(Convention(*native, "timm's default for this name"))
    return Arm(spec, own, source.convention or default_convention, source, False, notes)


def _fed_otherwise(arm: Arm) -> Arm:
    own = arm.convention
    asked = named_convention(arm.spec.convention, own.size, "asked for this arm")
    check_channels(asked, len(own.mean), f"convention of {arm.name}")
    stated = f"fed as {asked.text()}; stated is {own.text()} ({own.source})"
    return replace(arm, convention=asked, notes=(*arm.notes, stated))


def with_heads(arms: tuple[Arm, ...], classes: tuple[str, ...]) -> tuple[Arm, ...]:
    """Return the arms; those that keep their trained classifier know its row of every class.

    Raises:
        RadstartError: an arm's weights do not state these classes.
    """
    return tuple(_kept_head(arm, classes) if arm.spec.head else arm for arm in arms)


def _kept_head(arm: Arm, classes: tuple[str, ...]) -> Arm:
    own = arm.source.classes if arm.source else ()
    if arm.redraws or sorted(own) != sorted(classes):
        raise RadstartError(
            "cannot keep its classifier: the classes are not those of the study", arm.name,
            f"{', '.join(own) or 'none stated'}; the study has {', '.join(classes)}",
            "leave --keep-head out",
        )  # fmt: skip
    note = f"{HEAD_KEPT}: this arm knew the labels before"
    rows = tuple(own.index(name) for name in classes)
    return replace(arm, head=rows, notes=(*arm.notes, note))


def empty_model(arm: Arm, outputs: int) -> nn.Module:
    """Return the arm's network, to be filled: what its tensors hold is anything."""
    return build_to_fill(arm.backbone, outputs, channels=arm.channels)


def start_model(arm: Arm, outputs: int, seed: int) -> tuple[nn.Module, Receipt | None]:
    """Return the arm's network with `outputs` fresh logits (0: pooled features) and the receipt.

    Values of arms that redraw come from `seed`, and so does the classifier: normal with a spread
    of 0.01 and no bias for every arm, since timm's own starts differ by family and are large for
    few classes. An arm that keeps its trained classifier keeps it where there are outputs.

    Raises:
        RadstartError: the weights do not fit whole.
    """
    drawn = stream_seed(seed, "initial values")
    filled = arm.source is not None and not arm.spec.partial
    make = build_to_fill if filled else build
    model = make(arm.backbone, outputs, drawn, arm.channels)
    if outputs:
        reset_classifier(model, arm.backbone, stream_seed(seed, "classifier"))
    if arm.source is None:
        return model, None
    moments = arm.spec.kind == "moments"
    _, receipt = load_whole(
        model, arm.backbone, arm.source, arm.convention,
        redraw=(lambda tensors: moments_like(tensors, seed)) if moments else None,
        partial=arm.spec.partial, head=arm.head if outputs else (),
    )  # fmt: skip
    if moments:
        note = "values redrawn: each tensor keeps its mean and variance alone"
        shares = redrawn(receipt.shares)
        receipt = replace(receipt, shares=shares, notes=(*receipt.notes, note))
    return model, receipt


def reset_classifier(model: nn.Module, backbone: Backbone, seed: int) -> None:
    """Draw the classifier anew: normal with a spread of 0.01, no bias."""
    generator = torch.Generator().manual_seed(seed)
    head = classifier_keys(backbone)
    with torch.no_grad():
        for name, tensor in sorted(model.state_dict().items()):
            if name in head and tensor.dim() > 1:
                tensor.copy_(0.01 * torch.randn(tensor.shape, generator=generator))
            elif name in head and name.endswith("bias"):
                tensor.zero_()
