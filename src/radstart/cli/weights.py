"""radstart weights: the catalog of starting weights."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Option

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
        str, typer.Argument(metavar="NAME", help="FAMILY/WEIGHTS of the catalog, or FAMILY alone.")
    ],
    backbone: Annotated[
        str, Option(help="Of a family alone: timm name of the backbone.  [the family's default]")
    ] = "",
) -> None:
    """Everything about some weights: inputs in use, what they have seen, licence, next steps.

    \b
    Examples:
      radstart weights show radimagenet/resnet50
      radstart weights show imagenet --backbone convnext_tiny
    """
    from radstart.weights import entry_lines

    for line in entry_lines(name, backbone):
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
    backbone: Annotated[
        str, Option(help="Of a family alone: timm name of the backbone.  [the family's default]")
    ] = "",
    given: Annotated[
        Path | None, Option("--from", help="The file, or its archive, as you got it by hand.")
    ] = None,
    accept: Annotated[
        bool, Option("--accept", help="Accept the terms of these weights, now and from now on.")
    ] = False,
    token_env: Annotated[
        str, Option(help="Environment variable with a token for the file's host.  [the hub's own]")
    ] = "",
    offline: Annotated[bool, Option("--offline", help="Open no connection.")] = False,
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
