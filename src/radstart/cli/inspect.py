"""radstart inspect."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Option

MOST = 30  # findings printed


def inspect(
    dataset: Annotated[
        Path, typer.Argument(metavar="DATASET", help="Folder that radstart ingest made.")
    ],
    against: Annotated[
        Path | None,
        Option(
            metavar="OTHER",
            help="Another dataset, or a file of hashes (OTHER/inspect/hashes.txt): which of my "
            "images are in there?",
        ),
    ] = None,
    features: Annotated[
        str,
        Option(
            metavar="ARM",
            help="Look for further copies by the features of a network: imagenet, file:PATH, "
            "hub:OWNER/NAME, ...",
        ),
    ] = "",
    backbone: Annotated[
        str, Option(help="timm name of that network, where its weights do not state it.")
    ] = "",
    strict: Annotated[
        bool, Option("--strict", help="Exit code 1 where something blocks training.")
    ] = False,
    no_images: Annotated[
        bool, Option("--no-images", help="A page without pictures, to pass on.")
    ] = False,
) -> None:
    """What is wrong with a dataset: duplicates, leakage, shortcuts, odd images, privacy.

    Writes DATASET/inspect/report.html (one file, opens offline), facts.json (every number in it)
    and hashes.txt (for --against). Nothing is changed or left out: that is for you to decide.
    Blocking, for --strict: one picture under several labels; a patient, exam or identical picture
    in several parts of a split; with --against, images that are in OTHER.

    \b
    Examples:
      radstart inspect DATASET
      radstart inspect DATASET --strict                (exit code 1: fix it before training)
      radstart inspect TESTSET --against PRETRAINING   (is my test set in the pretraining data?)
      radstart inspect TESTSET --against hashes.txt
      radstart inspect DATASET --features imagenet     (cropped, turned, rewindowed copies, too)
    """
    from radstart.core.progress import Progress
    from radstart.curation import inspect_dataset
    from radstart.report import write_inspection_page

    found = inspect_dataset(dataset, against, Progress(shown=True), features, backbone)
    page = write_inspection_page(
        found.facts, found.folder / "report.html", {} if no_images else found.pictures
    )
    findings = found.facts["findings"]
    for one in findings[:MOST]:
        print(f"{one['level']:<9} {one['words']}")
    if len(findings) > MOST:
        print(f"and {len(findings) - MOST} more in the report")
    print(f"report: {page}")
    if strict and found.blocking:
        raise typer.Exit(1)
