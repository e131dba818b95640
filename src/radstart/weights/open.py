"""Weights as a person asks for them: found, decided, loaded with convention and receipt."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from torch import nn

from radstart.backbones import MOST_PIXELS, Backbone, Switch, build, build_to_fill, check_backbone
from radstart.core.errors import RadstartError, nearest
from radstart.weights.adapters import ADAPTERS
from radstart.weights.arms import Arm, ArmSpec, of_weights, parse_arm, reset_classifier
from radstart.weights.catalog import find, means_weights
from radstart.weights.convention import Convention, check_channels, stated_convention
from radstart.weights.load import channels_of, classifier_rows, load_whole
from radstart.weights.positions import for_size
from radstart.weights.receipt import Receipt
from radstart.weights.source import Source, locate, source_of, source_of_entry


@dataclass(frozen=True)
class Wanted:
    """Weights as a person asks for them: one value for `load_weights`, `check` and `convert`.

    Attributes:
        source: a name of the catalog ("radimagenet/resnet50", "imagenet"), `hub:OWNER/NAME`,
            `run:STUDY/runs/ID`, `file:PATH`, or a path.
        file: a file of a catalog's entry that is here already; it is not fetched then.
        backbone: timm's name, for files that do not state it and for families without weights
            named; "" = as stated.
        origin: adapter (key of ADAPTERS); "" = the catalog's, else recognised by the layout.
        switches: lead over those of the catalog and of the origin.
        take: which dictionary of tensors, where the file holds several.
        convention: name of NAMED, or {"mean": ..., "std": ...}; "" = as stated, else timm's
            default for the backbone.
        image_size: of the convention, pixels; None = as stated.
        allow_partial: globs of tensors that may be missing, left over or of another shape.
        offline: open no connection.
    """

    source: str | Path
    file: str | Path | None = None
    backbone: str = ""
    origin: str = ""
    switches: Mapping[str, Switch] | None = None
    take: str = ""
    convention: str | Mapping[str, object] = ""
    image_size: int | None = None
    allow_partial: tuple[str, ...] = ()
    offline: bool = False


class Loaded(NamedTuple):
    """A network whose backbone is the file's, how pixels become its input, and what was done."""

    model: nn.Module
    convention: Convention
    receipt: Receipt


def load_weights(
    source: str | Path,
    *,
    file: str | Path | None = None,
    backbone: str = "",
    origin: str = "",
    switches: Mapping[str, Switch] | None = None,
    take: str = "",
    channels: int | None = None,
    outputs: int = 0,
    head: bool = False,
    convention: str | Mapping[str, object] = "",
    image_size: int | None = None,
    allow_partial: Sequence[str] = (),
    seed: int = 0,
    offline: bool = False,
) -> Loaded:
    """Load starting weights whole, or not at all.

    Args:
        source, file, backbone, origin, switches, take, convention, image_size, allow_partial,
            offline: the weights, as `Wanted` has them.
        channels: 1 or 3 of the network's input; None = the file's own. The convention follows.
        outputs: fresh logits; 0 = pooled features (B, F).
        head: keep the file's trained classifier; its classes are then the outputs.
        seed: of what is drawn fresh (the classifier, what was partial).

    Returns: (model, convention, receipt): the model maps float32 (B, C, S, S), as
        `radstart.apply_convention(convention, pixels)` makes it, to (B, F) or (B, outputs).
    Raises: RadstartError: not to be had, pickled code, or not whole.
    """
    wanted = Wanted(
        source, file, backbone, origin, switches, take, convention, image_size,
        tuple(allow_partial), offline,
    )  # fmt: skip
    return load_wanted(wanted, channels, outputs, head, seed)


def load_wanted(
    wanted: Wanted, channels: int | None = None, outputs: int = 0, head: bool = False, seed: int = 0
) -> Loaded:
    """Load weights as `load_weights` does, which says what the arguments are."""
    arm = decided(wanted)
    found = arm.source
    assert found is not None
    if channels not in (None, 1, 3):
        raise RadstartError("no number of channels", "--channels", str(channels), "give 1 or 3")
    outputs = classifier_rows(arm.backbone, found) if head else outputs
    if head and not outputs:
        raise RadstartError("no trained classifier in this file", str(found.path))
    make = build if wanted.allow_partial else build_to_fill
    model = make(arm.backbone, outputs, seed, channels or arm.channels)
    if outputs and not head:
        reset_classifier(model, arm.backbone, seed)
    rows = tuple(range(outputs)) if head else ()
    fed, receipt = load_whole(
        model, arm.backbone, found, arm.convention, partial=arm.spec.partial, head=rows
    )
    return Loaded(model.eval(), fed, replace(receipt, notes=(*receipt.notes, *arm.notes)))


def decided(wanted: Wanted, source: Source | None = None) -> Arm:
    """Return weights that are here with backbone, switches and convention decided, not loaded yet.

    Args:
        wanted: what is asked for.
        source: the file, where it is known already.
    """
    size, origin, backbone = wanted.image_size, wanted.origin, wanted.backbone
    if size is not None and not 1 <= size <= MOST_PIXELS:
        raise RadstartError(
            "no size of an image", "--image-size", str(size), f"give 1 to {MOST_PIXELS}"
        )
    found = source or find_source(wanted)
    if origin and origin not in ADAPTERS:
        raise RadstartError("unknown origin", "origin", origin, nearest(origin, ADAPTERS))
    own = Backbone(backbone) if backbone else found.backbone
    if backbone and found.backbone and backbone.partition(".")[0] == found.backbone.name:
        own = found.backbone
    if own is not None:
        own = replace(own, switches={**own.switches, **(wanted.switches or {})})
        check_backbone(own)
    found = replace(
        found, origin=origin or found.origin, take=wanted.take or found.take, backbone=own
    )
    arm = of_weights(ArmSpec("", str(found.path), partial=wanted.allow_partial), found, None)
    known = arm.convention
    if wanted.convention:
        asked = stated_convention(wanted.convention, known.size, "asked for")
        theirs = len(known.mean) if found.convention else channels_of(arm.backbone, found)
        check_channels(asked, theirs, "--convention")
        arm, known = replace(arm, notes=()), asked  # notes: what was assumed
    known = replace(known, size=size or known.size)
    return replace(arm, backbone=for_size(arm.backbone, known.size), convention=known)


@dataclass(frozen=True, eq=False)
class Whole:
    """A network as its file has it.

    Attributes:
        model: float (B, C, S, S) -> (B, K) where the file has a classifier, else (B, F); in
            evaluation mode.
        backbone: architecture and all switches.
        convention: how pixels become its input.
        receipt: what loading did.
        source: the file and what was stated of it.
        classes: name of every output; their numbers where nobody names them; () = features.
        named: whether the classes have names of their own.
        notes: what a reader must know.
    """

    model: nn.Module
    backbone: Backbone
    convention: Convention
    receipt: Receipt
    source: Source
    classes: tuple[str, ...]
    named: bool
    notes: tuple[str, ...]


def open_whole(arm: Arm, channels: int | None = None) -> Whole:
    """Load weights whole, with their classifier where they have one of timm's kind.

    Args:
        arm: weights with everything decided, as `decided` gives them.
        channels: of the network's input, 1 or 3; None = the file's own.

    Raises:
        RadstartError: pickled code, or not whole.
    """
    source = arm.source
    assert source is not None
    rows = classifier_rows(arm.backbone, source)
    model = build(arm.backbone, rows, channels=channels or arm.channels)
    fed, receipt = load_whole(model, arm.backbone, source, arm.convention, head=tuple(range(rows)))
    named = bool(rows) and len(source.classes) == rows
    classes = source.classes if named else tuple(map(str, range(rows)))
    return Whole(model.eval(), arm.backbone, fed, receipt, source, classes, named, arm.notes)


def network_of(arm: Arm, backbone: Backbone) -> nn.Module:
    """Return an arm's tensors in a network that may have other switches: pooled features out.

    What the arm lets pass is drawn from one seed, the same for every network.

    Raises:
        RadstartError: pickled code, or not whole.
    """
    assert arm.source is not None
    model = build(backbone, 0, 0, arm.channels)
    load_whole(model, backbone, arm.source, arm.convention, partial=arm.spec.partial)
    return model.eval()


def find_source(wanted: Wanted) -> Source:
    """Return the weights file that a person means, fetched if need be, and what is stated of it.

    Raises:
        RadstartError: not to be had.
    """
    text = str(wanted.source)
    if wanted.file is not None:
        beside = source_of(Path(wanted.file).expanduser())
        return source_of_entry(find(text, wanted.backbone), beside.path, beside.sha256)
    if not text.strip():
        raise RadstartError("names nothing", "weights", "''", "name a file, a folder or a start")
    named = means_weights(text) or text.partition(":")[0] in ("file", "run", "hub")
    if isinstance(wanted.source, Path) or not named:
        return source_of(Path(wanted.source).expanduser())
    return locate(parse_arm(text), wanted.backbone, wanted.offline)
