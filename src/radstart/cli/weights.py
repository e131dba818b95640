"""radstart weights: the catalog of starting weights."""

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from radstart.core.errors import RadstartError

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


@weights.command()
def check(
    source: Annotated[
        str, typer.Argument(metavar="FILE", help="A file, a folder, or a start as arms have it.")
    ],
    entry: Annotated[
        str, Option("--as", metavar="NAME", help="Catalog's name of what the file is.")
    ] = "",
    backbone: Annotated[str, Option(help="timm name, where nothing states it.")] = "",
    origin: Annotated[str, Option(help="Whose names they are.  [by their layout]")] = "",
    switch: Annotated[
        list[str] | None, Option("--switch", help="KEY=VALUE of the network (repeatable).")
    ] = None,
    take: Annotated[str, Option(help="Which of several dictionaries of tensors.")] = "",
    channels: Annotated[
        int | None, Option(help="1 or 3: of the network's input.  [the file's]")
    ] = None,
    allow_partial: Annotated[
        list[str] | None, Option(help="GLOB of tensors that may be missing or left over.")
    ] = None,
    offline: Annotated[bool, Option("--offline", help="Fetch nothing.")] = False,
) -> None:
    """Load weights whole, or say why not: the receipt and exit code 0, or one line and 2.

    \b
    Examples:
      radstart weights check imagenet/resnet50
      radstart weights check model.pt --backbone resnet50
      radstart weights check RadImageNet-ResNet50_notop.h5 --as radimagenet/resnet50-keras
    """
    from radstart.weights import load_weights

    _, convention, receipt = load_weights(
        entry or source,
        file=source if entry else None,
        backbone=backbone,
        origin=origin,
        switches=_switches(switch or []),
        take=take,
        channels=channels,
        allow_partial=tuple(allow_partial or ()),
        offline=offline,
    )
    for line in receipt.lines():
        print(line)
    print(f"{'input':<10} {convention.text()}; {convention.source}")


def _switches(texts: list[str]) -> dict[str, str | int | float | bool]:
    """Return KEY=VALUE texts as switches: true and false, numbers, else text."""
    found: dict[str, str | int | float | bool] = {}
    for text in texts:
        key, sign, value = text.partition("=")
        if not (sign and key and value):
            raise RadstartError("not KEY=VALUE", "--switch", text, "write --switch bn_eps=0.001")
        found[key] = _value(value)
    return found


def _value(text: str) -> str | int | float | bool:
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text
