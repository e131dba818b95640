"""radstart split."""

import shlex
from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from radstart.core.errors import RadstartError

Dataset = Annotated[Path, typer.Argument(metavar="DATASET", help="Folder that ingest made.")]
Name = Annotated[str, Option(help="Of the split: DATASET/splits/NAME.parquet and NAME.toml.")]
Shares = Annotated[str, Option(help="Of the images: train,validation,test or train,test.")]
Folds = Annotated[int, Option(help="Folds instead of parts.")]
Repeats = Annotated[int, Option(help="How often it is drawn anew.")]
Unit = Annotated[
    str,
    Option(help="What the unit must be: auto (the strongest known), patient, exam, series, image."),
]
GroupColumn = Annotated[
    str, Option(help="Column of which every value stays on one side: site, manufacturer, ...")
]
Stratify = Annotated[
    str | None, Option(help="Columns shared out alike; '' = none.  [label and all findings]")
]
Budgets = Annotated[str, Option(help="Nested shares of the training units, marked in columns.")]
Seed = Annotated[int, Option(help="The same seed gives the same split.")]


def split(
    dataset: Dataset,
    name: Name = "split",
    shares: Shares = "0.7,0.15,0.15",
    folds: Folds = 0,
    repeats: Repeats = 1,
    unit: Unit = "auto",
    group_column: GroupColumn = "",
    stratify: Stratify = None,
    budgets: Budgets = "",
    seed: Seed = 0,
) -> None:
    """Split a dataset by patient (else exam, series, alike pictures), with an audit beside it.

    \b
    Examples:
      radstart split DATASET
      radstart split DATASET --folds 5 --repeats 3 --name cv
      radstart split DATASET --group-column site --stratify label,sex --budgets 0.1,0.25
    """
    import radstart

    made = radstart.split(
        dataset,
        name=name,
        shares=_numbers(shares, "--shares"),
        folds=folds,
        repeats=repeats,
        unit=unit,
        group_column=group_column,
        stratify=None if stratify is None else [word for word in _words(stratify) if word],
        budgets=_numbers(budgets, "--budgets"),
        seed=seed,
    )
    for line in made.lines:
        print(line)
    print(f"wrote {made.path} and {made.path.with_suffix('.toml').name}")
    print(
        f"next: radstart compare {shlex.quote(str(dataset))} --split {name} "
        "--arms random,imagenet --out STUDY"
    )


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",")]


def _numbers(text: str, option: str) -> list[float]:
    try:
        return [float(word) for word in _words(text) if word]
    except ValueError:
        remedy = "write numbers with commas between them"
        raise RadstartError("is not a list of numbers", option, repr(text), remedy) from None
