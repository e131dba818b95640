"""radstart compare."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Option

from radstart.core.errors import RadstartError

if TYPE_CHECKING:
    from radstart.study import StudySpec
    from radstart.weights import ArmSpec

PAPER = "As in the CSV; '' = do not use it."


Data = Annotated[
    Path, typer.Argument(metavar="DATA", help="Folder of images, a dataset, or a study.toml.")
]
Out = Annotated[Path, Option(help="Folder of the study; the same command continues it.")]
Labels = Annotated[
    str, Option(help="CSV with image,label (patient_id, split, ...).  [DATA/labels.csv]")
]
Arms = Annotated[
    str,
    Option(
        help="Starts: random, imagenet, radimagenet, ... (radstart weights list), moments:ARM, "
        "NAME=file:PATH, NAME=run:STUDY/runs/ID, NAME=hub:OWNER/NAME."
    ),
]
Policies = Annotated[str, Option(help="What is trained: full, frozen.")]
Budgets = Annotated[str, Option(help="Shares of the labelled training units, 0-1.")]
Seeds = Annotated[int, Option(help="Seeds, shared by all arms.")]
ImageSize = Annotated[
    int | None, Option(help="Input side in pixels.", show_default="each arm's own")
]
Epochs = Annotated[int, Option(help="Step limit, in epochs of the whole training part.")]
Rates = Annotated[
    str, Option(help="Learning rates that all arms try; one = shared.  [a grid that grows]")
]
Conventions = Annotated[
    list[str] | None, Option("--convention", help="ARM=NAME: feed an arm otherwise (repeatable).")
]
Backbone = Annotated[str, Option(help="timm name for arms whose weights do not state one.")]
Reference = Annotated[str, Option(help="Arm that others are held against.  [the first]")]
Metric = Annotated[str, Option(help="Primary metric.  [auroc]")]
Margin = Annotated[
    float, Option(help="Differences below it are practically nothing; 0 = no such claims.")
]
ImageColumn = Annotated[str | None, Option(help="Column of the file name.  [image]")]
LabelColumn = Annotated[str | None, Option(help="Column of the target.  [label]")]
PatientColumn = Annotated[str | None, Option(help=PAPER + "  [patient_id]")]
ExamColumn = Annotated[str | None, Option(help=PAPER + "  [exam_id]")]
SplitColumn = Annotated[str | None, Option(help=PAPER + "  [split]")]
FoldColumn = Annotated[str | None, Option(help=PAPER + "  [fold]")]
SexColumn = Annotated[str | None, Option(help="[sex]")]
AgeColumn = Annotated[str | None, Option(help="[age]")]
SiteColumn = Annotated[str | None, Option(help="[site]")]
Split = Annotated[
    str, Option(help="Split of the dataset: NAME, of repeats NAME:2 (radstart split).")
]
TestFold = Annotated[str, Option(help="Fold that is the test part.  [the last]")]
ValidationFold = Annotated[str, Option(help="Fold for validation.  [the one before]")]
Positive = Annotated[str | None, Option(help="Positive class of two.", show_default="by its name")]
Leakage = Annotated[
    str, Option(help="When a unit stands in two parts: stop, regroup, drop, allow.")
]
Seen = Annotated[
    str, Option(help="When an arm's weights were trained on the test images: stop, mark.")
]
KnownAs = Annotated[str, Option(help="Public set that the images are from (weights list --sets).")]
KeepHead = Annotated[
    list[str] | None, Option(help="ARM that keeps its trained classifier (repeatable).")
]
AllowPartial = Annotated[
    list[str] | None, Option(help="ARM=GLOB: tensors that may be missing or left over; printed.")
]
SkipUnavailable = Annotated[
    bool, Option("--skip-unavailable", help="Go on without arms that cannot be had.")
]
Offline = Annotated[bool, Option("--offline", help="Fetch nothing; use what is here.")]
Flip = Annotated[bool, Option("--flip", help="Mirror left and right in training.")]
Seed = Annotated[int, Option(help="Seed of the study.")]
Device = Annotated[str, Option(help="auto, cpu, cuda, cuda:1, ...")]
Workers = Annotated[int, Option(help="Threads that make batches ahead.")]
Processes = Annotated[int, Option(help="Processes that share the work on this machine.")]
Numerics = Annotated[str, Option(help="auto (measured once per study), fp32, or a numerics.toml.")]
DryRun = Annotated[bool, Option("--dry-run", help="Read the data, print the plan, train nothing.")]


def compare(
    context: typer.Context,
    data: Data,
    out: Out,
    labels: Labels = "",
    arms: Arms = "random",
    policies: Policies = "full,frozen",
    budgets: Budgets = "1.0",
    seeds: Seeds = 3,
    image_size: ImageSize = None,
    epochs: Epochs = 30,
    rates: Rates = "",
    convention: Conventions = None,
    keep_head: KeepHead = None,
    allow_partial: AllowPartial = None,
    backbone: Backbone = "",
    reference: Reference = "",
    metric: Metric = "",
    margin: Margin = 0.02,
    image_column: ImageColumn = None,
    label_column: LabelColumn = None,
    patient_column: PatientColumn = None,
    exam_column: ExamColumn = None,
    split_column: SplitColumn = None,
    fold_column: FoldColumn = None,
    sex_column: SexColumn = None,
    age_column: AgeColumn = None,
    site_column: SiteColumn = None,
    split: Split = "",
    test_fold: TestFold = "",
    validation_fold: ValidationFold = "",
    positive: Positive = None,
    leakage: Leakage = "stop",
    seen: Seen = "stop",
    known_as: KnownAs = "",
    flip: Flip = False,
    seed: Seed = 0,
    device: Device = "auto",
    workers: Workers = 1,
    processes: Processes = 1,
    numerics: Numerics = "auto",
    dry_run: DryRun = False,
    offline: Offline = False,
    skip_unavailable: SkipUnavailable = False,
) -> None:
    """Compare starting weights on your images: train, test, report.

    \b
    Examples:
      radstart compare DATA --labels labels.csv --arms random,imagenet,x=file:PATH --out STUDY
      radstart compare DATASET --split NAME --arms random,imagenet --budgets 0.1,1.0 --out STUDY
      radstart compare STUDY/study.toml --out STUDY        (continue it, or join in)

    \b
    STUDY then holds report.html, facts.json, results.parquet, every run's cases. The same
    command goes on after a stop of any kind; started several times, also on several machines
    that share STUDY, the work is shared. Exit code 1: runs failed; 2: something to mend.
    """
    from radstart.study import DataSpec, StudySpec, found_labels, read_spec

    if data.suffix == ".toml":
        _only_toml(context, data)
        spec = read_spec(data)
    else:
        spec = StudySpec(
            data=DataSpec(
                path=os.path.realpath(data),  # resolve() fails on a link to itself
                labels=found_labels(data, labels),
                image_column=image_column,
                label_column=label_column,
                patient_column=patient_column,
                exam_column=exam_column,
                split_column=split_column,
                fold_column=fold_column,
                sex_column=sex_column,
                age_column=age_column,
                site_column=site_column,
                positive=positive,
                known_as=known_as,
                split=split,
            ),
            arm=_arms(arms, convention, keep_head, allow_partial),
            policies=tuple(_listed(policies)),
            budgets=tuple(_number(text, "--budgets") for text in _listed(budgets)),
            seeds=seeds,
            seed=seed,
            reference=reference,
            metric=metric,
            margin=margin,
            backbone=backbone,
            image_size=image_size,
            epochs=epochs,
            rates=tuple(_number(text, "--rates") for text in _listed(rates)),
            flip=flip,
            leakage=leakage,  # type: ignore[arg-type]  # checked just below
            seen=seen,  # type: ignore[arg-type]
            test_fold=test_fold,
            validation_fold=validation_fold,
        )
    _run(spec, out, device, workers, processes, numerics, dry_run, offline, skip_unavailable)


def _arms(
    text: str, conventions: list[str] | None, heads: list[str] | None, partial: list[str] | None
) -> "tuple[ArmSpec, ...]":
    from radstart.study import absolute_arm
    from radstart.weights import with_options

    fed = _pairs(conventions or [], "--convention")
    if twice := [arm for arm, names in fed.items() if len(names) > 1]:
        raise RadstartError("two conventions for one arm", "--convention", twice[0], "give one")
    return with_options(
        tuple(absolute_arm(arm) for arm in _listed(text)),
        {arm: names[0] for arm, names in fed.items()},
        [arm.strip() for arm in heads or []],
        _pairs(partial or [], "--allow-partial"),
    )


def _run(
    spec: "StudySpec",
    out: Path,
    device: str,
    workers: int,
    processes: int,
    numerics: str,
    dry_run: bool,
    offline: bool,
    skip_unavailable: bool,
) -> None:
    """Run the study, write its report, print the answer; exit 1 where runs failed."""
    from radstart.core.progress import Progress
    from radstart.report import write_report
    from radstart.study import checked, run_study

    progress = Progress(shown=True)
    done = run_study(
        checked(spec),
        out,
        device=device,
        workers=workers,
        processes=processes,
        numerics=numerics,
        dry_run=dry_run,
        offline=offline,
        skip_unavailable=skip_unavailable,
        progress=progress,
    )
    if done.planned_only:
        print("nothing was trained (--dry-run)")
        return
    page = write_report(done.folder)
    for line in done.answer:
        print(line)
    print(f"report: {page}")
    for reason in done.failed:
        print(f"failed: {reason}")
    if done.failed:
        raise typer.Exit(1)


def _only_toml(context: typer.Context, data: Path) -> None:
    """Refuse options that a study.toml answers itself."""
    free = {"data", "out", "device", "workers", "processes", "numerics", "dry_run"}
    free |= {"offline", "skip_unavailable"}
    given = [
        f"--{name.replace('_', '-')}"
        for name in context.params
        if name not in free and str(context.get_parameter_source(name)).endswith("COMMANDLINE")
    ]
    if given:
        raise RadstartError(
            "the question stands in the file", str(data), ", ".join(given), "edit the file instead"
        )


def _pairs(texts: list[str], option: str) -> dict[str, tuple[str, ...]]:
    """Return ARM=VALUE texts as the values by arm."""
    found: dict[str, tuple[str, ...]] = {}
    for text in texts:
        arm, _, value = (part.strip() for part in text.rpartition("="))
        if not (arm and value):
            raise RadstartError("not ARM=VALUE", option, text, f"write {option} ARM=VALUE")
        found[arm] = (*found.get(arm, ()), value)
    return found


def _listed(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def _number(text: str, option: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise RadstartError("not a number", option, text, "write numbers: 0.1,1.0") from None
