"""radstart report."""

from pathlib import Path
from typing import Annotated

import typer


def report(
    study: Annotated[Path, typer.Argument(metavar="STUDY", help="Folder of a finished study.")],
    no_images: Annotated[
        bool, typer.Option("--no-images", help="Leave out the pictures of cases.")
    ] = False,
) -> None:
    """Write STUDY/report.html and STUDY/tables again, out of its facts.json.

    \b
    Examples:
      radstart report STUDY
      radstart report STUDY --no-images     (a page to pass on without patients' images)
    """
    from radstart.report import write_report

    print(f"report: {write_report(study, images=not no_images)}")
