"""radstart ingest."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from typer import Option

from radstart.core.errors import RadstartError


def ingest(
    sources: Annotated[
        list[Path],
        typer.Argument(metavar="SOURCE...", help="Folders or files; never written to."),
    ],
    out: Annotated[Path, Option(help="Folder of the dataset.", show_default=False)],
    labels: Annotated[
        list[str],
        Option(
            help="CSV with a row per file, patient, exam, series or instance; as it stands or "
            "inside the first SOURCE. 'folders': the class folder an image lies in is its label. "
            "May be repeated: train.csv, val.csv, ... of the same columns are one table.  [none]"
        ),
    ] = [],  # noqa: B006
    column: Annotated[
        list[str],
        Option(
            help="MEANING=NAME: the column of the CSV for image, label, patient, exam, series, "
            "image_id, split, fold, sex, age, site, modality, anatomy, view, laterality, mask. "
            "'MEANING=' takes none. May be repeated.  [usual names]"
        ),
    ] = [],  # noqa: B006
    number: Annotated[
        list[str], Option(help="A column of numbers to predict. May be repeated.  [none]")
    ] = [],  # noqa: B006
    all_files: Annotated[
        bool, Option("--all-files", help="Also read files that the CSV does not name.")
    ] = False,
    windows: Annotated[
        str,
        Option(
            help="Of CT and other values: first or all of the header's, or brain, subdural, bone, "
            "lung, mediastinum, abdomen; several, comma-separated, are images of their own."
        ),
    ] = "first",
    stack: Annotated[
        bool, Option("--stack", help="Up to three windows become the channels of one image.")
    ] = False,
    depth: Annotated[
        int,
        Option(help="Bits: 8 shows a window, 16 keeps the stored range for a window of later."),
    ] = 8,
    shape: Annotated[
        str, Option(help="Steps by name, comma-separated: pad, squash, equalise.  [none]")
    ] = "",
    max_side: Annotated[int, Option(help="Longest side kept, in pixels.")] = 512,
    slices: Annotated[
        str, Option(help="Of volumes: 'all', 'every N', 'middle K', or 'masked'.")
    ] = "all",
    modality: Annotated[
        str,
        Option(help="Of files that say none, e.g. CT: NIfTI, NRRD, NPY hold Hounsfield units."),
    ] = "",
    keep_ids: Annotated[
        bool,
        Option(
            "--keep-ids",
            help="Keep identifiers and file names as they are: they will stand in OUT.",
        ),
    ] = False,
    key: Annotated[
        Path | None,
        Option(help="Secret that hides identifiers; made if absent.  [the user's own]"),
    ] = None,
    workers: Annotated[
        int, Option(help="Processes that read.  [one per core]", show_default=False)
    ] = 0,
    engine: Annotated[str, Option(help="local, or ray: a cluster that shares the folders.")] = (
        "local"
    ),
    seconds: Annotated[float, Option(help="That one image may take.")] = 60.0,
    memory: Annotated[float, Option(help="GB that a process may take.")] = 6.0,
) -> None:
    """Make a dataset of any mix of DICOM, NIfTI, NRRD, MHA, PNG, JPEG, TIFF, NPY and NPZ files.

    What cannot be read is a row of OUT/rejected.parquet with its reason; nothing stops the rest.
    Patients, exams, series, institutions and file names are written as keyed hashes: the same in a
    later ingest with the same key. Stop it however you like: the same command goes on.

    \b
    Examples:
      radstart ingest /export/pacs --out DATASET
      radstart ingest IMAGES --labels labels.csv --out DATASET
      radstart ingest CT --windows lung,mediastinum,bone --stack --slices "every 5" --out DATASET
      radstart ingest IMAGES --labels radiologynet.csv --column label=Cluster --out DATASET
    """
    from radstart.core.progress import Progress
    from radstart.ingest import IngestSpec, Rendering, dataset_lines
    from radstart.ingest import ingest as make

    spec = IngestSpec(
        tuple(sources), out, tuple(labels), dict(_pair(text) for text in column), tuple(number),
        all_files,
        Rendering(_words(windows), stack=stack, depth=_depth(depth), shape=_words(shape)),
        max_side, slices, modality, keep_ids, key, workers, engine, seconds, memory,
    )  # fmt: skip
    for line in dataset_lines(make(spec, Progress(shown=True))):
        print(line)


def _depth(bits: int) -> Literal[8, 16]:
    if bits == 8:
        return 8
    if bits == 16:
        return 16
    raise RadstartError("is not a depth", "--depth", str(bits), "choose 8 or 16")


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _pair(text: str) -> tuple[str, str]:
    meaning, sign, name = text.partition("=")
    if not sign:
        raise RadstartError(
            "is no column", "--column", text, "write MEANING=NAME, e.g. label=Cluster"
        )
    return meaning.strip(), name.strip()
