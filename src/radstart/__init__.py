"""radstart: which starting weights, how to fine-tune, and is the difference real?

`radstart.compare(...)`, `radstart.open_study(path)`, `radstart.stats.paired_difference(...)`,
`radstart.load_weights("radimagenet/resnet50")`, `radstart.ingest("PACS", out="DATASET")`.
Importing radstart loads no torch; the functions below import what they need.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = [
    "ArmSpec",
    "RadstartError",
    "apply_convention",
    "compare",
    "ingest",
    "load_weights",
    "open_dataset",
    "open_split",
    "open_study",
    "split",
    "stats",
]

_ELSEWHERE = {
    "ArmSpec": "radstart.weights",
    "RadstartError": "radstart.core.errors",
    "apply_convention": "radstart.weights",
    "load_weights": "radstart.weights",
    "open_dataset": "radstart.dataset",
}

if TYPE_CHECKING:
    from radstart import stats
    from radstart.core.errors import RadstartError
    from radstart.dataset import Split, open_dataset
    from radstart.ingest import ingest_sources as ingest
    from radstart.study import Leakage, Seen, Study, StudySpec
    from radstart.weights import ArmSpec, apply_convention, load_weights


def __getattr__(name: str) -> Any:
    """Import what is named here on first use: some of it needs torch."""
    from importlib import import_module

    if name in ("stats", "ingest"):  # rooms; that of ingest is also the function
        return import_module(f"radstart.{name}")
    if name in _ELSEWHERE:
        return getattr(import_module(_ELSEWHERE[name]), name)
    raise AttributeError(f"module 'radstart' has no attribute {name!r}")


def open_study(path: str | Path) -> "Study":
    """Open a finished study: its facts and tables as data frames.

    Raises:
        RadstartError: no finished study there.
    """
    from radstart.study import open_study as opened

    return opened(path)


def split(
    dataset: str | Path,
    *,
    name: str = "split",
    shares: Sequence[float] = (0.7, 0.15, 0.15),
    folds: int = 0,
    repeats: int = 1,
    unit: str = "auto",
    group_column: str = "",
    stratify: Sequence[str] | None = None,
    budgets: Sequence[float] = (),
    seed: int = 0,
) -> "Split":
    """Split a dataset by unit, as `radstart split` does, and write the split with its audit.

    Args:
        dataset: a folder that ingest made.
        name: of the split: `DATASET/splits/NAME.parquet` and its audit, `NAME.toml`.
        shares: of the images, for train, validation and test, or train and test.
        folds, repeats: folds instead of parts; how often it is drawn anew.
        unit: what the unit must be; "auto" = the patient, else the exam, series or alike pictures.
        group_column: column of which every value stays on one side: a site, a scanner.
        stratify: columns shared out alike; None = the label and all findings, () = none.
        budgets: shares of the training units that columns mark, nested.

    Returns: the split; `.rows` is its table, `.audit` what was counted.
    Raises: RadstartError, anything that a person can mend.
    """
    from radstart.dataset import SplitSpec, split_dataset

    spec = SplitSpec(
        name=name,
        shares=tuple(map(float, shares)),
        folds=folds,
        repeats=repeats,
        unit=unit,
        group_column=group_column,
        stratify=None if stratify is None else tuple(stratify),
        budgets=tuple(map(float, budgets)),
        seed=seed,
    )
    return split_dataset(Path(dataset), spec)


def open_split(dataset: str | Path, name: str = "split") -> "Split":
    """Open a split of a dataset.

    Raises:
        RadstartError: none of that name.
    """
    from radstart.dataset import open_split as opened

    return opened(Path(dataset), name)


def compare(
    data: str | Path,
    *,
    out: str | Path,
    arms: "Sequence[str | ArmSpec]",
    labels: str | Path | None = None,
    policies: Sequence[str] = ("full", "frozen"),
    budgets: Sequence[float] = (1.0,),
    seeds: int = 3,
    image_size: int | None = None,
    epochs: int = 30,
    rates: Sequence[float] = (),
    backbone: str = "",
    reference: str = "",
    metric: str = "",
    margin: float | None = 0.02,
    seed: int = 0,
    leakage: "Leakage" = "stop",
    seen: "Seen" = "stop",
    known_as: str = "",
    label_column: str | None = None,
    patient_column: str | None = None,
    exam_column: str | None = None,
    split_column: str | None = None,
    fold_column: str | None = None,
    split: str = "",
    test_fold: str = "",
    validation_fold: str = "",
    positive: str | None = None,
    flip: bool = False,
    device: str = "auto",
    workers: int = 1,
    processes: int = 1,
    numerics: str = "auto",
    offline: bool = False,
    skip_unavailable: bool = False,
    progress: bool = False,
) -> "Study":
    """Compare starting weights on a folder of images, as `radstart compare` does.

    The options are those of the command line (`radstart compare --help`), under the same names.

    Args:
        data: folder of images, or of class folders; it is never written to.
        out: folder of the study; the same question continues or extends it.
        arms: as `--arms` has them, or ArmSpec values, which also say how an arm is fed.
        labels: CSV with at least `image,label`; None = DATA/labels.csv, else class folders.
        policies: `full`, `frozen`; the first is the one others are held against.
        budgets: shares of the labelled units of training and validation, above 0, at most 1.
        rates: learning rates that all arms try; () = a grid that grows; one = shared by all.
        seen, known_as: what to do when weights were trained on the test images; the public set
            that the images are from.
        offline, skip_unavailable: fetch nothing; go on without arms that cannot be had.
        margin: differences below it are practically nothing; None or 0 = no such claims.
        label_column, patient_column, exam_column, split_column, fold_column: names in the CSV;
            None = the usual name where present, "" = not used.
        split: a split of the dataset `data` by its name (NAME:2 = its second repeat); of folds the
            last is test, the one before it validation, unless test_fold or validation_fold say.
        processes, progress: how many share the work on this machine; print the plan on stderr.

    Returns: the study; `report.html` stands in its folder.
    Raises: RadstartError, anything that a person can mend.
    """
    from radstart import study

    spec = study.StudySpec(
        data=study.DataSpec(
            path=os.path.realpath(data),  # resolve() fails on a link to itself
            labels=study.found_labels(Path(data), str(labels or "")),
            label_column=label_column,
            patient_column=patient_column,
            exam_column=exam_column,
            split_column=split_column,
            fold_column=fold_column,
            positive=positive,
            known_as=known_as,
            split=split,
        ),
        arm=tuple(study.absolute_arm(arm) for arm in arms),
        policies=tuple(policies),
        budgets=tuple(map(float, budgets)),
        seeds=seeds,
        seed=seed,
        reference=reference,
        metric=metric,
        margin=margin or 0.0,
        backbone=backbone,
        image_size=image_size,
        epochs=epochs,
        rates=tuple(map(float, rates)),
        flip=flip,
        leakage=leakage,
        seen=seen,
        test_fold=test_fold,
        validation_fold=validation_fold,
    )
    at_work = (device, workers, processes, numerics, offline, skip_unavailable, progress)
    return _answered(spec, Path(out), *at_work)


def _answered(
    spec: "StudySpec",
    out: Path,
    device: str,
    workers: int,
    processes: int,
    numerics: str,
    offline: bool,
    skip_unavailable: bool,
    progress: bool,
) -> "Study":
    from radstart.core.progress import Progress
    from radstart.report import write_report
    from radstart.study import checked, run_study

    done = run_study(
        checked(spec),
        out,
        device=device,
        workers=workers,
        processes=processes,
        numerics=numerics,
        offline=offline,
        skip_unavailable=skip_unavailable,
        progress=Progress(progress),
    )
    write_report(done.folder)
    return open_study(done.folder)
