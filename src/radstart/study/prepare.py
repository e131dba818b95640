"""From a question to everything that training needs, before anything trains."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from radstart.backbones import (
    Numerics,
    choose_numerics,
    classifier_keys,
    instructions,
    native_convention,
    read_numerics,
    usable_device,
)
from radstart.core.errors import RadstartError
from radstart.core.files import read_toml, whole_file, write_toml
from radstart.core.hashing import digest
from radstart.core.progress import Progress
from radstart.core.random import stream_seed
from radstart.dataset import (
    Dataset,
    Given,
    Leakage,
    Parts,
    Units,
    assign_parts,
    audit,
    channel_statistics,
    draw_budget,
    find_units,
    given_split,
    resolve,
    working_copy,
)
from radstart.ingest import Columns, ingest_folder, is_dataset, link_dataset
from radstart.study.fed import INPUTS, input_warnings, read_warnings, with_warnings
from radstart.study.seen import marked, overlaps
from radstart.study.spec import StudySpec, extended, read_spec, to_toml, write_spec
from radstart.training import TASKS, Augmentation, Recipe, Task
from radstart.weights import (
    Arm,
    ArmSpec,
    Receipt,
    Source,
    locate,
    resolve_arms,
    start_model,
    with_heads,
)


@dataclass(frozen=True, eq=False)
class Prepared:
    """A study with its data read, its parts fixed, its arms and numerics decided.

    Attributes:
        folder: of the study.
        spec: the question.
        dataset: images and rows; the arrays below are indexed by row.
        units: what is resampled and kept in one part.
        parts: each row's part.
        leakage: what the audit found and what was done about it.
        arms: in the order of the question.
        receipts: what loading each arm's weights did, by arm name.
        parameters: trainable numbers of each arm's backbone, by arm name.
        task: what is predicted.
        targets: as the task encodes them, (N,) or (N, K).
        numerics: how numbers are computed.
        recipe: how every arm is trained.
        augmentation: of the training images.
        parts_digest: fingerprint of units and parts.
        workers: threads that make training batches ahead.
        copies: the working copies of the dataset, by side in pixels.
        inputs: what the norms of arms whose input is in doubt say of it, by arm name.
        ids: of the runs that were asked for so far.
    """

    folder: Path
    spec: StudySpec
    dataset: Dataset
    units: Units
    parts: Parts
    leakage: Leakage
    arms: tuple[Arm, ...]
    receipts: dict[str, Receipt | None]
    parameters: dict[str, int]
    task: Task
    targets: NDArray[Any]
    numerics: Numerics
    recipe: Recipe
    augmentation: Augmentation
    parts_digest: str
    workers: int
    copies: dict[int, NDArray[np.uint8]]
    inputs: dict[str, str] = field(default_factory=dict)
    ids: dict[Any, str] = field(default_factory=dict)

    def pixels(self, arm: Arm) -> NDArray[np.uint8]:
        """Return the working copy of the arm's input size, uint8 (N, S, S) or (N, S, S, 3)."""
        return self.copies[arm.convention.size]

    def run_seed(self, seed: int) -> int:
        """Return the number that everything random in runs of this seed index derives from."""
        return stream_seed(self.spec.seed, "run", seed)

    def drawn(self, budget: float, seed: int, part: str) -> NDArray[np.int64]:
        """Return the rows of a part that seed `seed` may use under a budget, ascending."""
        labels = self.dataset.rows["label"].to_numpy(dtype=object)
        chosen = draw_budget(self.units, self.parts, labels, budget, self.run_seed(seed))
        return np.flatnonzero(chosen & (self.parts.part == part))

    def test_rows(self) -> NDArray[np.int64]:
        """Return the rows of the test part, ascending."""
        return np.flatnonzero(self.parts.part == "test")


def find_here(spec: ArmSpec, backbone: str) -> Source:
    """Return an arm's weights, which were fetched before: no connection is opened.

    Raises:
        RadstartError: they are not here.
    """
    return locate(spec, backbone, offline=True)


def _listed(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.exists() else []


def _is_ours(name: str) -> bool:
    """Return whether a file may stand in a study's folder before study.toml does."""
    return name in ("claims", "dataset", "numerics.toml", INPUTS) or (
        name.startswith(".") and name.endswith(".tmp")
    )


def is_begun(spec: StudySpec, folder: Path) -> bool:
    """Return whether the folder holds this very question already, nothing to be added.

    Raises:
        RadstartError: another study, or one of a newer radstart.
    """
    if not (folder / "study.toml").exists():
        return False
    held = read_spec(folder / "study.toml")
    return to_toml(extended(held, spec)) == to_toml(held)


def prepare(
    spec: StudySpec, folder: Path, *, device: str, workers: int, numerics: str, progress: Progress
) -> Prepared:
    """Read the data, fix the parts, load every arm once, choose the numerics; train nothing.

    Only `dataset/` is written; a study that is there already is continued or extended.

    Raises:
        RadstartError: leakage between parts, weights that do not fit, another study in `folder`,
            and everything else that a person can mend.
    """
    if (folder / "study.toml").exists():
        spec = extended(read_spec(folder / "study.toml"), spec)
    elif strange := sorted(i.name for i in _listed(folder) if not _is_ours(i.name)):
        raise RadstartError(
            "this folder holds something else", str(folder), strange[0], "choose an empty --out"
        )
    given = _given(spec)
    dataset = _read(spec, folder, progress)
    task = TASKS[spec.task]
    units = replace(find_units(dataset.rows, near=False), hashed=dataset.hashed)
    parts = assign_parts(
        dataset.rows,
        units,
        seed=spec.seed,
        test_fold=spec.test_fold or None,
        validation_fold=spec.validation_fold or None,
        given=given,
    )
    found = audit(dataset.rows, units, parts)
    parts, leakage = resolve(dataset.rows, units, parts, found, spec.leakage, spec.seed)
    parts_digest = _digest(units, parts)
    _check_split(spec, folder, parts_digest)
    size = spec.image_size or 224
    copies = {size: working_copy(dataset, size, progress)}
    mean, std = channel_statistics(copies[size], parts.part == "train")
    moments = (float(np.mean(mean)), float(np.mean(std)))
    arms = resolve_arms(spec.arm, spec.backbone, spec.image_size, moments, find_here)
    arms = with_heads(arms, dataset.classes)
    arms = marked(arms, overlaps(arms, dataset, parts, spec.data), spec.seen)
    receipts, parameters = {}, {}
    for arm in arms:
        if arm.convention.size not in copies:
            copies[arm.convention.size] = working_copy(dataset, arm.convention.size, progress)
        model, receipts[arm.name] = start_model(arm, task.outputs(dataset.classes), spec.seed)
        _try(model, arm)
        head = classifier_keys(arm.backbone)
        parameters[arm.name] = sum(
            p.numel() for key, p in model.named_parameters() if key not in head
        )
    inputs = input_warnings(
        arms, read_warnings(folder), lambda arm: copies[arm.convention.size], units, parts,
        spec.seed, progress,
    )  # fmt: skip
    arms = with_warnings(arms, inputs)
    recipe = Recipe(epochs=spec.epochs)
    if spec.rates:
        recipe = replace(recipe, grid=tuple(sorted(spec.rates)), grid_growth=0)
    chosen = _numerics(folder, numerics, device, arms[0], task.outputs(dataset.classes), recipe)
    if chosen.device == "cpu" and chosen.instructions not in ("", instructions()):
        progress.line(
            f"note: planned with {chosen.instructions}, this processor has {instructions()}: "
            "what runs here may differ in its last digits"
        )
    targets = task.encode(dataset.rows["label"].to_numpy(dtype=object), dataset.classes)
    prepared = Prepared(
        folder, spec, dataset, units, parts, leakage, arms, receipts, parameters, task, targets,
        chosen, recipe, Augmentation(flip=spec.flip), parts_digest, workers, copies, inputs,
    )  # fmt: skip
    for budget in spec.budgets:
        for seed in range(spec.seeds):
            prepared.drawn(budget, seed, "train")
    return prepared


def begin(prepared: Prepared) -> None:
    """Write the parts, the numerics and the question: from here on the folder is this study's."""
    _write_split(prepared)
    write_toml(prepared.folder / "numerics.toml", prepared.numerics.record())
    if prepared.inputs:
        write_toml(prepared.folder / INPUTS, prepared.inputs)
    write_spec(prepared.spec, prepared.folder / "study.toml")


def _try(model: nn.Module, arm: Arm) -> None:
    """Raise RadstartError where the backbone does not take images of the arm's size."""
    size = arm.convention.size
    try:
        with torch.inference_mode():
            model.eval()(torch.zeros(1, len(arm.convention.mean), size, size))
    except (AssertionError, RuntimeError, ValueError) as error:
        native = native_convention(arm.backbone)[0]
        raise RadstartError(
            f"{arm.backbone.text()} does not take images of this size",
            "--image-size",
            f"{size}: {str(error).splitlines()[0]}",
            f"its own is {native}",
        ) from error


def _read(spec: StudySpec, folder: Path, progress: Progress) -> Dataset:
    data = spec.data
    first = not (folder / "study.toml").exists()
    if is_dataset(Path(data.path)):
        named = [name for name in vars(Columns()) if getattr(data, f"{name}_column") is not None]
        if named or data.labels:
            what = "labels" if data.labels else f"{named[0]}-column"
            raise RadstartError(
                "DATA is a dataset, whose columns are chosen already", f"--{what}", data.path,
                "leave the option out, or ingest again with it",
            )  # fmt: skip
        return link_dataset(
            Path(data.path), folder / "dataset", positive=data.positive, replace=first
        )
    columns = Columns(
        image=data.image_column,
        label=data.label_column,
        patient=data.patient_column,
        exam=data.exam_column,
        split=data.split_column,
        fold=data.fold_column,
        sex=data.sex_column,
        age=data.age_column,
        site=data.site_column,
    )
    return ingest_folder(
        Path(data.path),
        folder / "dataset",
        labels=Path(data.labels) if data.labels else None,
        columns=columns,
        positive=data.positive,
        replace=first,
        progress=progress,
    ).kept()


def _given(spec: StudySpec) -> Given | None:
    """Return the split that the parts come from, None where none is asked for."""
    data = spec.data
    if not data.split:
        return None
    if not is_dataset(Path(data.path)):
        raise RadstartError(
            "DATA is a folder of images, which has no splits", "--split", data.split,
            "radstart ingest makes a dataset of it, radstart split divides that",
        )  # fmt: skip
    return given_split(Path(data.path), data.split)


def _digest(units: Units, parts: Parts) -> str:
    """Return the fingerprint of units and parts, and of budgets where the split marks them."""
    marked = [[share, parts.budgets[share].tolist()] for share in sorted(parts.budgets)]
    told = [list(map(str, units.unit)), list(map(str, parts.part))]
    return digest([*told, marked] if marked else told)


def _check_split(spec: StudySpec, folder: Path, parts: str) -> None:
    """Refuse a split that was drawn anew under its name since the study began."""
    held = folder / "dataset" / "splits" / "study.toml"
    begun = spec.data.split and (folder / "study.toml").exists() and held.is_file()
    if begun and read_toml(held).get("parts") != parts:
        raise RadstartError(
            "this split has changed since the study began", "--split", spec.data.split,
            "choose another --out",
        )  # fmt: skip


def _numerics(
    folder: Path, asked: str, device: str, arm: Arm, outputs: int, recipe: Recipe
) -> Numerics:
    """Return the study's numerics: those written down, else measured on the first arm."""
    written = folder / "numerics.toml"
    if written.exists():
        kept = read_numerics(written)
        own = kept.device if device == "auto" else usable_device(device)
        if own.partition(":")[0] != kept.device.partition(":")[0]:
            raise RadstartError(
                "this study computes on another kind of device", "--device", device,
                f"{written} says {kept.device}",
            )  # fmt: skip
        kept = replace(kept, device=usable_device(own))
        given = kept if asked in ("auto", "fp32") else read_numerics(Path(asked))
        if given.identity() != kept.identity():
            raise RadstartError(
                "this study computes otherwise", "--numerics", asked, f"see {written}"
            )
        if asked == "fp32" and (kept.dtype, kept.memory_format) != ("float32", "contiguous"):
            raise RadstartError(
                "this study computes otherwise", "--numerics", asked, f"see {written}"
            )
        return kept
    return choose_numerics(
        asked, device, lambda: start_model(arm, outputs, 0)[0], arm.convention.size,
        recipe.batch_size,
    )  # fmt: skip


def _write_split(prepared: Prepared) -> None:
    folder = prepared.dataset.path / "splits"
    table = pd.DataFrame(
        {
            "row": prepared.dataset.rows["row"],
            "image": prepared.dataset.rows["image"],
            "unit": prepared.units.unit.astype(str),
            "part": prepared.parts.part.astype(str),
        }
    )
    with whole_file(folder / "study.parquet") as temporary:
        table.to_parquet(temporary, index=False)
    leakage = prepared.leakage
    write_toml(
        folder / "study.toml",
        {
            "schema": 1,
            "source": prepared.parts.source,
            "parts": prepared.parts_digest,
            "unit": prepared.units.kind,
            "patients_known": prepared.units.patients_known,
            "leakage": {
                "policy": leakage.policy,
                "units": leakage.units,
                "images": leakage.images,
                "dropped": leakage.dropped,
                "consequence": leakage.consequence,
            },
            "notes": list(prepared.parts.notes),
        },
    )
