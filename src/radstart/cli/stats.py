"""radstart stats: statistics on predictions of your own."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Option

stats = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Statistics on predictions of your own."
)


@stats.callback()
def _group() -> None:
    """Keep `compare` a verb of its own."""


@stats.command()
def compare(
    a: Annotated[Path, typer.Argument(metavar="A", help="CSV of predictions of one model.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="CSV of the other, same cases.")],
    label_column: Annotated[str, Option(help="Column of the true class.")] = "label",
    patient_column: Annotated[
        str | None,
        Option(help="Column of the patient; '' = each case is one.  [patient_id, patient]"),
    ] = None,
    seed_column: Annotated[
        str | None, Option(help="Column of the seed, for repeated trainings.  [seed]")
    ] = None,
    case_column: Annotated[
        str | None, Option(help="Column to join rows on; '' = the row's place.  [case, image]")
    ] = None,
    score_column: Annotated[
        str, Option(help="Score of the positive class; several classes: score_CLASS columns.")
    ] = "score",
    metric: Annotated[str, Option(help="auroc, average_precision, accuracy, brier, ...")] = "auroc",
    level: Annotated[float, Option(help="Of the intervals.")] = 0.95,
    margin: Annotated[float, Option(help="Equivalence margin, fixed beforehand; 0 = none.")] = 0.02,
    out: Annotated[
        Path | None, Option(help="Folder for comparison.csv and comparison.svg.")
    ] = None,
) -> None:
    """Paired difference of two models on the same cases, over patients and seeds.

    \b
    Examples:
      radstart stats compare a.csv b.csv --patient-column patient
      radstart stats compare a.csv b.csv --patient-column patient \\
          --seed-column seed --case-column image --metric brier --out comparison
    """
    from radstart.report import write_comparison
    from radstart.study import (
        PredictionColumns,
        compare_predictions,
        prediction_lines,
        prediction_rows,
    )

    columns = PredictionColumns(
        label_column, patient_column, seed_column, case_column, score_column
    )
    found = compare_predictions(a, b, columns, metric, level)
    for line in prediction_lines(found, margin or None):
        print(line)
    if out is not None:
        for path in write_comparison(prediction_rows(found, margin or None), out):
            print(f"wrote {path}")
