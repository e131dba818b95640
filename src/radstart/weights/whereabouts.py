"""From what a person wrote to a weights file that is here."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from radstart.backbones import Backbone
from radstart.core.errors import RadstartError
from radstart.core.hashing import file_sha256
from radstart.weights.catalog import Entry, families, find
from radstart.weights.convention import stated_convention
from radstart.weights.hub import fetch_hub, hub_files
from radstart.weights.source import Source, source_of, timm_layout
from radstart.weights.store import get

if TYPE_CHECKING:
    from radstart.weights.arms import ArmSpec


@cache
def family_names() -> tuple[str, ...]:
    """Return the families of the catalog."""
    return tuple(family.name for family in families())


def is_family(start: str) -> bool:
    """Return whether a start is a family of the catalog, or one of its weights."""
    return start.partition("/")[0].casefold() in family_names()


def locate(spec: "ArmSpec", backbone: str, offline: bool = False) -> Source:
    """Return where the weights of an arm are; what is not here yet is fetched.

    Args:
        spec: an arm with weights.
        backbone: timm's name that the study asks for, "" = none.
        offline: open no connection.

    Raises:
        RadstartError: nothing there, or it cannot be had: says why and what to do.
    """
    if spec.kind == "catalog":
        entry = find(spec.start, backbone)
        return source_of_entry(entry, get(entry, offline=offline))
    if spec.kind == "hub":
        return _from_hub(spec.rest, offline)
    return source_of(Path(spec.rest).expanduser())


def source_of_entry(entry: Entry, path: Path) -> Source:
    """Return a file as the catalog's entry describes it.

    Raises:
        RadstartError: weights that cannot be loaded.
    """
    if entry.loadable == "no":
        raise RadstartError("cannot be loaded", entry.name, remedy=entry.why)
    return Source(
        path=path,
        sha256=file_sha256(path),
        backbone=Backbone(entry.backbone, dict(entry.switches)),
        convention=stated_convention(
            entry.convention, entry.size, f"catalog, {entry.name}"
        ),
        origin=entry.origin,
        entry=entry.name,
        licence=entry.licence,
        saw=entry.saw,
    )  # fmt: skip


def _from_hub(rest: str, offline: bool) -> Source:
    """Return weights of any repository: OWNER/NAME, or OWNER/NAME/FILE, perhaps with @REVISION."""
    place, _, revision = rest.partition("@")
    parts = place.split("/")
    if len(parts) < 2 or not all(parts):
        raise RadstartError("not OWNER/NAME", "arms", f"hub:{rest}", "write hub:OWNER/NAME")
    repo, file = "/".join(parts[:2]), "/".join(parts[2:])
    revision = revision or "main"
    file = file or hub_files(repo, revision=revision, offline=offline)[0]
    path, _ = fetch_hub(repo, file, revision=revision, offline=offline)
    try:
        config, _ = fetch_hub(repo, "config.json", revision=revision, offline=offline)
        return timm_layout(config, path, f"config.json of {repo}")
    except RadstartError:  # another layout: --backbone says what it is
        return Source(path, file_sha256(path))
