"""Weights with everything they have: backbone, and their own trained classifier if there is one."""

from dataclasses import dataclass

from torch import nn

from radstart.backbones import Backbone, build
from radstart.weights.arms import Arm
from radstart.weights.convention import Convention
from radstart.weights.load import classifier_rows, load_whole
from radstart.weights.receipt import Receipt
from radstart.weights.source import Source


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
    convention, receipt = load_whole(
        model, arm.backbone, source, arm.convention, head=tuple(range(rows))
    )
    named = bool(rows) and len(source.classes) == rows
    classes = source.classes if named else tuple(map(str, range(rows)))
    return Whole(
        model.eval(), arm.backbone, convention, receipt, source, classes, named, arm.notes
    )  # fmt: skip
