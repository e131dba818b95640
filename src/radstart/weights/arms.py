"""Arms: a named start = weights + backbone + convention.

The kinds of start are the table STARTS; another kind is one entry there.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn

from radstart.backbones import Backbone, build, classifier_keys, native_convention
from radstart.core.errors import RadstartError, nearest
from radstart.core.random import stream_seed
from radstart.weights.convention import Convention
from radstart.weights.files import inspect_weights, read_tensors
from radstart.weights.load import Receipt, load_whole
from radstart.weights.moments import moments_like


@dataclass(frozen=True)
class ArmSpec:
    """An arm as a person wrote it: its name and its start, `random` or `KIND:REST`."""

    name: str
    start: str

    @property
    def kind(self) -> str:
        """The kind of start: a key of STARTS."""
        return self.start.partition(":")[0]

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
        file: weights file, None for random values alone.
        sha256: hash of that file, "" without one.
        redraws: whether each seed draws its own initial values (random and moments).
        notes: what a reader must know about how it was decided.
    """

    spec: ArmSpec
    backbone: Backbone
    convention: Convention
    file: Path | None
    sha256: str
    redraws: bool
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The arm's name."""
        return self.spec.name

    def record(self) -> dict[str, object]:
        """Return what makes this start, for run ids: file contents, no paths."""
        return {
            "kind": self.spec.kind,
            "backbone": self.backbone.name,
            "switches": dict(self.backbone.switches),
            "convention": self.convention.identity(),
            "sha256": self.sha256,
        }


def parse_arm(text: str) -> ArmSpec:
    """Read `START` or `NAME=START`.

    Raises:
        RadstartError: an unknown kind of start, or one without its path or arm.
    """
    named = re.fullmatch(r"([\w.\- ]+)=(.+)", text.strip(), flags=re.DOTALL)
    start = named.group(2).strip() if named else text.strip()
    spec = ArmSpec("", start)
    if spec.kind not in STARTS:
        raise RadstartError("unknown start", "arms", start or "nothing", nearest(spec.kind, STARTS))
    if (spec.kind == "random") == bool(spec.rest):
        raise RadstartError("incomplete start", "arms", start, f"write {STARTS[spec.kind].form}")
    if named:
        return ArmSpec(named.group(1).strip(), start)
    path_like = spec.kind in ("file", "run")
    return ArmSpec(Path(spec.rest).name or start if path_like else start, start)


def resolve_arms(
    specs: tuple[ArmSpec, ...], backbone: str, size: int | None, mean_std: tuple[float, float]
) -> tuple[Arm, ...]:
    """Decide every arm's backbone and convention.

    Args:
        specs: at least one; names are unique.
        backbone: timm's name for arms whose weights do not state one; "" = the first arm's that
            does.
        size: input side in pixels for all arms; None = each arm's own.
        mean_std: mean and standard deviation of the training part's pixels on 0..1, the
            convention of `random`.

    Raises:
        RadstartError: two arms of one name, unknown references, no backbone anywhere.
    """
    names = [spec.name for spec in specs]
    for name in names:
        if names.count(name) > 1:
            raise RadstartError("two arms of one name", "arms", name, "name one: NAME=START")
    stated = {
        spec.name: inspect_weights(Path(spec.rest).expanduser())
        for spec in specs
        if spec.kind in ("file", "run")
    }
    backbones = [found.backbone for found in stated.values() if found.backbone]
    same = [known for known in backbones if known.name == backbone]
    default = next(iter(same or ([Backbone(backbone)] if backbone else backbones)), None)
    resolved: dict[str, Arm] = {}
    for spec in sorted(specs, key=lambda s: STARTS[s.kind].needs_other):
        if spec.kind in ("file", "run"):
            found = stated[spec.name]
            own = found.backbone or default
            if own is None:
                raise RadstartError(
                    "these weights do not state their architecture", spec.rest, "",
                    "add --backbone, or a config.json in timm's layout",
                )  # fmt: skip
            native = native_convention(own)
            notes = () if found.convention else ("input convention assumed: timm's default",)
            convention = found.convention or Convention(*native, "timm's default for this name")
            arm = Arm(spec, own, convention, found.path, found.sha256, False, notes)
        elif spec.kind == "moments":
            if spec.rest not in stated:
                raise RadstartError(
                    "moments needs an arm with weights", spec.start, spec.rest,
                    nearest(spec.rest, stated) if stated else "add NAME=file:PATH",
                )  # fmt: skip
            arm = replace(resolved[spec.rest], spec=spec, redraws=True)
        else:
            if default is None:
                raise RadstartError(
                    "no arm states a backbone", "arms", ",".join(names), "add --backbone"
                )
            side = native_convention(default)[0]
            mean, std = ((value,) * 3 for value in mean_std)
            source = "mean and standard deviation of the training part"
            arm = Arm(spec, default, Convention(side, mean, std, source), None, "", True)
        if size is not None:
            arm = replace(arm, convention=replace(arm.convention, size=size))
        resolved[spec.name] = arm
    return tuple(resolved[name] for name in names)


def start_model(arm: Arm, outputs: int, seed: int) -> tuple[nn.Module, Receipt | None]:
    """Return the arm's network with `outputs` fresh logits (0: pooled features) and the receipt.

    Values of arms that redraw come from `seed`, and so does the classifier: normal with a spread
    of 0.01 and no bias for every arm, since timm's own starts differ by family and are large for
    few classes.

    Raises:
        RadstartError: the weights do not fit whole.
    """
    model = build(arm.backbone, outputs, stream_seed(seed, "initial values"))
    receipt = STARTS[arm.spec.kind].fill(model, arm, seed)
    if outputs:
        _reset_classifier(model, arm.backbone, stream_seed(seed, "classifier"))
    return model, receipt


def _reset_classifier(model: nn.Module, backbone: Backbone, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    head = classifier_keys(backbone)
    with torch.no_grad():
        for name, tensor in sorted(model.state_dict().items()):
            if name in head and tensor.dim() > 1:
                tensor.copy_(0.01 * torch.randn(tensor.shape, generator=generator))
            elif name in head and name.endswith("bias"):
                tensor.zero_()


def _fill_random(model: nn.Module, arm: Arm, seed: int) -> Receipt | None:
    return None


def _fill_weights(model: nn.Module, arm: Arm, seed: int) -> Receipt | None:
    assert arm.file is not None
    with torch.no_grad():
        return load_whole(model, arm.backbone, _tensors(arm.file, arm.sha256), arm.file, arm.sha256)


def _fill_moments(model: nn.Module, arm: Arm, seed: int) -> Receipt | None:
    assert arm.file is not None
    drawn = moments_like(_tensors(arm.file, arm.sha256), seed)
    with torch.no_grad():
        receipt = load_whole(model, arm.backbone, drawn, arm.file, arm.sha256)
    note = "values redrawn: each tensor keeps its mean and variance alone"
    return replace(receipt, notes=(*receipt.notes, note))


@lru_cache(maxsize=2)
def _tensors(path: Path, sha256: str) -> dict[str, Tensor]:
    return read_tensors(path)


@dataclass(frozen=True)
class Start:
    """A kind of start: how it is written, and how it fills a fresh network."""

    form: str
    needs_other: bool
    fill: Callable[[nn.Module, Arm, int], Receipt | None]


STARTS = {
    "random": Start("random", False, _fill_random),
    "file": Start("NAME=file:PATH", False, _fill_weights),
    "run": Start("NAME=run:STUDY/runs/ID", False, _fill_weights),
    "moments": Start("moments:ARM", True, _fill_moments),
}
