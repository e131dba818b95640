"""From what a person wrote to a weights file that is here."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from radstart.backbones import Backbone
from radstart.core.errors import RadstartError
from radstart.core.hashing import file_sha256
from radstart.weights.catalog import Entry, families, find
from radstart.weights.convention import stated_convention
from radstart.weights.remote.download import Access, no_progress
from radstart.weights.remote.hub import CONFIG
from radstart.weights.remote.store import Got, get, get_hub, hub_place, of_catalog
from radstart.weights.source import Source, is_timm_layout, source_of, timm_layout

if TYPE_CHECKING:
    from radstart.weights.arms import ArmSpec


@cache
def family_names() -> tuple[str, ...]:
    """Return the families of the catalog."""
    return tuple(family.name for family in families())


def is_family(start: str) -> bool:
    """Return whether a start is a family of the catalog, or one of its weights."""
    return start.partition("/")[0].casefold() in family_names()


def locate(
    spec: "ArmSpec",
    backbone: str,
    offline: bool = False,
    progress: Callable[[int, int | None], None] = no_progress,
) -> Source:
    """Return where the weights of an arm are; what is not here yet is fetched.

    Args:
        spec: an arm with weights.
        backbone: timm's name that the study asks for, "" = none.
        offline: open no connection.
        progress: called with the bytes that are here and those of the whole file, None = unknown.

    Raises:
        RadstartError: nothing there, or it cannot be had: says why and what to do.
    """
    access = Access(offline=offline, progress=progress)
    if spec.kind == "catalog":
        entry = find(spec.start, backbone)
        got = get(entry, access)
        return source_of_entry(entry, got.path, got.sha256)
    if spec.kind == "hub":
        return source_of_hub(spec.rest, get_hub(spec.rest, access))
    return source_of(Path(spec.rest).expanduser())


def source_of_entry(entry: Entry, path: Path, sha256: str = "") -> Source:
    """Return a file as the catalog's entry describes it; its hash is computed where not given.

    Raises:
        RadstartError: weights that cannot be loaded.
    """
    if entry.loadable == "no":
        raise RadstartError("cannot be loaded", entry.name, remedy=entry.why)
    return Source(
        path=path,
        sha256=sha256 or file_sha256(path),
        backbone=Backbone(entry.backbone, dict(entry.switches)),
        convention=stated_convention(
            entry.convention, entry.size, f"catalog, {entry.name}"
        ),
        origin=entry.origin,
        entry=entry.name,
        licence=entry.licence,
        saw=entry.saw,
    )  # fmt: skip


def source_of_hub(place: str, got: Got) -> Source:
    """Return weights of a repository as its config.json describes them, else as the catalog does.

    Where neither knows them, --backbone says what they are.
    """
    repo, file, _ = hub_place(place)
    entry = of_catalog(repo, file)
    known = Source(got.path, got.sha256)
    if entry is not None and entry.origin != "timm":
        return source_of_entry(entry, got.path, got.sha256)
    if got.config is not None and is_timm_layout(got.config):
        known = timm_layout(got.config, got.path, f"{CONFIG} of {repo}", got.sha256)
    if entry is None:
        return known
    if known.backbone is None:
        return source_of_entry(entry, got.path, got.sha256)
    licence = known.licence or entry.licence
    return replace(known, entry=entry.name, licence=licence, saw=entry.saw)
