"""radstart report."""

from pathlib import Path
from typing import Annotated

import typer


def report(
    study: Annotated[Path, typer.Argument(metavar="STUDY", help="Folder of a finished study.")],
) -> None:
    """Write STUDY/report.html again, out of its facts.json.

    \b
    Example:
      radstart report STUDY
    """
    from radstart.report import write_report

    print(f"report: {write_report(study)}")
