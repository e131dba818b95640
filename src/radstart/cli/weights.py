"""radstart weights: the catalog of starting weights."""

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
) -> None:
    """The catalog: backbones, native input, licence or terms, and whether it loads.

    LOADS yes: fetched by its name. steps: something is to be done by hand first, and `show` says
    what. no: listed with the reason. Nothing is fetched here.

    \b
    Examples:
      radstart weights list
      radstart weights list --family radimagenet
    """
    from radstart.weights import catalog_lines, family_lines

    for line in family_lines(family) if family else catalog_lines():
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
