"""From what a person wrote to a weights file that is here."""

from pathlib import Path
from typing import TYPE_CHECKING

from radstart.weights.source import Source, source_of

if TYPE_CHECKING:
    from radstart.weights.arms import ArmSpec


def family_names() -> tuple[str, ...]:
    """Return the families of the catalog."""
    return ()


def is_family(start: str) -> bool:
    """Return whether a start is a family of the catalog, or one of its weights."""
    return start.partition("/")[0] in family_names()


def locate(spec: "ArmSpec", backbone: str) -> Source:
    """Return where the weights of an arm are; what is not here yet is fetched.

    Args:
        spec: an arm with weights.
        backbone: timm's name that the study asks for, "" = none.

    Raises:
        RadstartError: nothing there, or it cannot be had: says why and what to do.
    """
    return source_of(Path(spec.rest).expanduser())
