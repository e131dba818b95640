"""radstart status."""

from pathlib import Path
from typing import Annotated

import typer


def status(
    study: Annotated[Path, typer.Argument(metavar="STUDY", help="Folder of a study.")],
    last: Annotated[int, typer.Option(help="How many of the latest events to list.")] = 5,
) -> None:
    """Say who is at work in a study, what is finished, and what happened last.

    \b
    Example:
      radstart status STUDY --last 20
    """
    from radstart.study import status_lines

    for line in status_lines(study, max(0, last)):
        print(line)
