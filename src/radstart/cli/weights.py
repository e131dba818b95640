"""radstart weights: the catalog of starting weights, and files of them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Option

from radstart.core.errors import RadstartError

if TYPE_CHECKING:
    from radstart.weights import Wanted

FILE = "A file, a folder, or a start as arms have it."
Source = Annotated[str, typer.Argument(metavar="FILE", help=FILE)]
Entry = Annotated[str, Option("--as", metavar="NAME", help="Catalog's name of what the file is.")]
Backbone = Annotated[str, Option(help="timm name of the backbone, where nothing states it.")]
OfFamily = Annotated[
    str, Option(help="Of a family alone: timm name of the backbone.  [the family's default]")
]
Origin = Annotated[str, Option(help="Whose names the tensors have.  [by their layout]")]
Switches = Annotated[
    list[str] | None, Option(help="KEY=VALUE of the network, e.g. bn_eps=0.001; repeatable.")
]
Take = Annotated[str, Option(help="Which dictionary of tensors, where the file holds several.")]
Input = Annotated[str, Option(help="Of the input: imagenet, -1to1, ...  [as stated]")]
Side = Annotated[int | None, Option(help="Of the input, pixels.  [as stated]")]
Offline = Annotated[bool, Option("--offline", help="Open no connection.")]

weights = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Starting weights: which there are, where they are from, how they are used.",
)


@weights.callback()
def _group() -> None:
    """Keep every verb one of its own."""


@weights.command("list")
def list_weights(
    family: Annotated[str, Option(help="Only this family, file by file.  [all families]")] = "",
    sets: Annotated[
        bool, Option("--sets", help="The public image sets that are known, and their ancestors.")
    ] = False,
) -> None:
    """The catalog: backbones, native input, licence or terms, and whether it loads.

    LOADS yes: fetched by its name. steps: something is to be done by hand first, and `show` says
    what. no: listed with the reason. Nothing is fetched here.

    \b
    Examples:
      radstart weights list
      radstart weights list --family radimagenet
      radstart weights list --sets
    """
    from radstart.weights import catalog_lines, family_lines, set_lines

    lines = set_lines() if sets else family_lines(family) if family else catalog_lines()
    for line in lines:
        print(line)


@weights.command()
def show(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="FAMILY/WEIGHTS of the catalog, FAMILY alone, or a FILE."
        ),
    ],
    backbone: OfFamily = "",
    take: Annotated[
        str, Option(help="Of a file: which dictionary of tensors, where it holds several.")
    ] = "",
    tensors: Annotated[bool, Option("--tensors", help="Of a file: list every tensor.")] = False,
) -> None:
    """Everything about some weights: inputs in use, what they have seen, licence, next steps.

    Of a FILE (or a folder with one): its container, its tensors stage by stage, values that look
    wrong or never trained, and the nearest of all backbones by shapes, with what would be missing.
    Nothing in it is executed.

    \b
    Examples:
      radstart weights show radimagenet/resnet50
      radstart weights show imagenet --backbone convnext_tiny
      radstart weights show checkpoint.pth
    """
    from radstart.weights import shown_lines

    for line in shown_lines(name, backbone, take, tensors):
        print(line)


@weights.command("get")
def get_weights(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="FAMILY/WEIGHTS, FAMILY alone, or hub:OWNER/NAME[/FILE][@REVISION].",
        ),
    ],
    backbone: OfFamily = "",
    given: Annotated[
        Path | None, Option("--from", help="The file, or its archive, as you got it by hand.")
    ] = None,
    accept: Annotated[
        bool, Option("--accept", help="Accept the terms of these weights, now and from now on.")
    ] = False,
    token_env: Annotated[
        str, Option(help="Environment variable with a token for the file's host.  [the hub's own]")
    ] = "",
    offline: Offline = False,
) -> None:
    """Fetch weights once; radstart compare then has them by this name.

    What is fetched is held against its length and published hash; a download that breaks off goes
    on with the next call. Weights that have to be got by hand: the steps are printed (exit code
    2), and --from takes what you got. RADSTART_CACHE says where all of it lies.

    \b
    Examples:
      radstart weights get imagenet/resnet50
      radstart weights get radiologynet --backbone densenet121 --accept
      radstart weights get radimagenet/resnet50 --from ResNet50.pt --accept
      radstart weights get hub:timm/resnet50.tv_in1k
    """
    from radstart.core.progress import Progress
    from radstart.weights import get_lines, steps_lines

    for line in steps_lines(name, backbone) if given is None else []:
        print(line)
    for line in get_lines(
        name,
        backbone=backbone,
        given=given,
        accept=accept,
        token_env=token_env,
        offline=offline,
        progress=Progress(shown=True),
    ):
        print(line)


@weights.command()
def check(
    source: Source,
    entry: Entry = "",
    backbone: Backbone = "",
    origin: Origin = "",
    switch: Switches = None,
    take: Take = "",
    channels: Annotated[
        int | None, Option(help="1 or 3: of the network's input.  [the file's]")
    ] = None,
    allow_partial: Annotated[
        list[str] | None, Option(help="GLOB of tensors that may be missing or left over.")
    ] = None,
    convention: Input = "",
    image_size: Side = None,
    images: Annotated[
        Path | None, Option(help="Folder of images: which input do these weights know?")
    ] = None,
    labels: Annotated[
        Path | None, Option(help="CSV of the images: a frozen probe compares the inputs too.")
    ] = None,
    label_column: Annotated[str | None, Option(help="As in the CSV.  [label]")] = None,
    patient_column: Annotated[str | None, Option(help="As in the CSV.  [patient_id]")] = None,
    out: Annotated[Path, Option(help="Page of the scores, with --images.")] = Path("check.html"),
    offline: Offline = False,
) -> None:
    """Load weights whole, or say why not: the receipt and exit code 0, or one line and 2.

    With --images, the likely inputs (scale, mean and standard deviation, order of channels,
    padding, activation) are tried, and each is scored by how well what the network's norms see
    agrees with what they remember. It says "cannot tell" where it cannot.

    \b
    Examples:
      radstart weights check imagenet/resnet50
      radstart weights check model.pt --backbone resnet50
      radstart weights check RadImageNet-ResNet50_notop.h5 --as radimagenet/resnet50-keras
      radstart weights check model.pt --backbone resnet50 --images DATA --out check.html
    """
    from radstart.weights import Wanted, load_wanted, read_switches

    wanted = Wanted(
        entry or source, source if entry else None, backbone, origin, read_switches(switch or []),
        take, convention, image_size, tuple(allow_partial or ()), offline,
    )  # fmt: skip
    if labels is not None and images is None:
        raise RadstartError("of which images?", "--labels", str(labels), "add --images FOLDER")
    _, fed, receipt = load_wanted(wanted, channels)
    for line in receipt.lines():
        print(line)
    print(f"{'input':<10} {fed.text()}; {fed.source}")
    if images is not None:
        columns = (label_column, patient_column)
        _detect(wanted, images, labels, columns, out)


def _detect(
    wanted: "Wanted",
    images: Path,
    labels: Path | None,
    columns: tuple[str | None, str | None],
    out: Path,
) -> None:
    """Print which input the weights know, and write the page."""
    from radstart.core.progress import Progress
    from radstart.ingest import Columns
    from radstart.report import write_detection_page
    from radstart.study import check_convention
    from radstart.weights import detection_lines, detection_record

    label, patient = columns
    found = check_convention(
        wanted,
        images,
        labels=labels,
        columns=Columns(label=label, patient=patient),
        progress=Progress(shown=True),
    )
    print()
    for line in detection_lines(found):
        print(line)
    print(f"page: {write_detection_page(detection_record(found), out)}")


@weights.command()
def convert(
    source: Source,
    out: Annotated[Path, Option(help="Folder to be made.")],
    entry: Entry = "",
    backbone: Backbone = "",
    origin: Origin = "",
    switch: Switches = None,
    take: Take = "",
    convention: Input = "",
    image_size: Side = None,
    classes: Annotated[str, Option(help="Of the classifier, in order, with commas.")] = "",
    name: Annotated[str, Option(help="Of the weights.  [the catalog's, else the folder's]")] = "",
    licence: Annotated[str, Option(help="In words.  [as stated]")] = "",
    saw: Annotated[str, Option(help="Sets they were trained on, with commas.  [as stated]")] = "",
    trust: Annotated[
        bool, Option("--trust", help="Open a pickled network: THIS RUNS THE FILE'S CODE.")
    ] = False,
    offline: Offline = False,
) -> None:
    """Write weights as a folder that says everything about itself.

    OUT holds model.safetensors (whole, timm's names, three channels), card.toml (architecture,
    switches, input, origin, licence, what they have seen) and timm's config.json: plain
    timm.create_model("local-dir:OUT", pretrained=True) then computes the same, which is tried, or
    refuses where timm has no way to say what the network needs. An arm of it: NAME=file:OUT.

    Pickled networks are refused: opening one runs code that it brings along. Where you trust its
    origin, --trust does so once, in a process of its own, as far as possible without network,
    other files, programs and your environment: that restrains careless code, not hostile code, and
    any code can read what you can read. Out come plain tensors.

    \b
    Examples:
      radstart weights convert checkpoint.pth --backbone resnet50 --out W
      radstart weights convert mobilenet.pth --backbone mobilenetv3_small_100 \\
          --switch bn_eps=0.001 --convention imagenet --out W
      radstart weights convert nih.pt --as torchxrayvision/densenet121-res224-nih \\
          --trust --out W
    """
    from radstart.core.progress import Progress
    from radstart.weights import Wanted, convert_weights, read_switches

    wanted = Wanted(
        entry or source, source if entry else None, backbone, origin, read_switches(switch or []),
        take, convention, image_size, offline=offline,
    )  # fmt: skip
    done = convert_weights(
        wanted, out, classes=_words(classes), name=name, licence=licence, saw=_words(saw),
        trust=trust, progress=Progress(shown=True),
    )  # fmt: skip
    for line in done.lines():
        print(line)


@weights.command("export")
def export_weights(
    source: Annotated[
        str,
        typer.Argument(metavar="SOURCE", help="STUDY/runs/ID, a weights folder, or a name."),
    ],
    out: Annotated[Path, Option(help="File to be written, .onnx or .pt2.")],
    format: Annotated[  # noqa: A002 - the option's name
        str, Option(help="onnx, torch.  [by the ending of --out]")
    ] = "",
    backbone: Backbone = "",
    colour: Annotated[
        bool | None,
        Option("--colour/--grey", help="What pixels it takes.  [as the study's images]"),
    ] = None,
    offline: Offline = False,
) -> None:
    """Write a run, or weights, as one file with the input convention inside.

    The file takes pixels, uint8 0..255: (B, S, S) grey or (B, S, S, 3) RGB, resized to S with the
    aspect kept and padded with black; scale, mean, order and channels are inside and cannot be got
    wrong. It gives logits and probabilities in the order of the classes, which stand in the file
    with the convention and where it is from (weights without a classifier: features). A frozen
    run is its network with the probe. What is written was compared with PyTorch, and a run with
    its own scores. ONNX needs: pip install 'radstart[export]'.

    \b
    Examples:
      radstart weights export STUDY/runs/4f1c22ab90de --out model.onnx
      radstart weights export STUDY/runs/4f1c22ab90de --out model.pt2
      radstart weights export WEIGHTS_FOLDER --grey --out backbone.onnx
    """
    from radstart.study import export

    for line in export(source, out, format, colour, backbone, offline).lines():
        print(line)


def _words(text: str) -> list[str]:
    """Return what stands between commas."""
    return [word.strip() for word in text.split(",") if word.strip()]
