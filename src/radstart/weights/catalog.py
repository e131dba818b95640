"""The catalog of starting weights and of the image sets that they have seen: catalog.toml, read.

No torch, no timm: `radstart weights list` costs what reading one file costs.
"""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from radstart.core.errors import RadstartError, nearest
from radstart.core.files import read_toml

CATALOG = Path(__file__).with_name("catalog.toml")

TERMS = {
    "": "",
    "unclear": "no licence is stated for the weights: ask the publisher",
    "research": "for research only",
    "non-commercial": "not for commercial use",
    "no-derivatives": "not for commercial use; weights trained on from these may not be shared",
    "gated": "the publisher asks for an agreement first",
}
"""What `terms` may be, and what it means; "" = a licence that asks for nothing beforehand."""

LOADABLE = ("yes", "steps", "no")
GROUPS = (
    "natural images",
    "radiology",
    "images with text",
    "segmentation",
    "yours",
    "not loaded here",
)

Stated = str | dict[str, Any]


@dataclass(frozen=True)
class Entry:
    """One file of weights, or one family of which there is none to load.

    Attributes:
        name: "family/weights"; the family alone where it has no weights in the catalog.
        family: name of its family.
        title: of the family, or its own.
        backbone: timm's name without a tag; "" where nothing can be loaded.
        switches: what the network needs beside timm's defaults, as Backbone has it. An adapter
            may add its own.
        origin: the adapter that reads the file, a key of ADAPTERS.
        size: native side of the square input in pixels; 0 = not known.
        hub: Hugging Face repository, with `file` in it and perhaps `revision`; or
        url: address of the file; or neither: `steps` say how a person gets it.
        file: the publisher's name of the file, "" where not known.
        revision: of the hub's repository, "" = its newest.
        member: name inside an archive, "" = its only one.
        sha256: leading digits of the file's hash, or all 64; "" = not published.
        mib: size of the file in MiB as its publisher states it, rounded; 0 = not stated.
        licence: in the publisher's words; what it does not cover is said there.
        terms: a key of TERMS.
        citation, home: what to cite; the repository or page.
        saw: sets of the catalog that the weights were trained on, without their ancestors.
        saw_note: what is not known of them.
        loadable: one of LOADABLE.
        why: one sentence, unless loadable is "yes".
        steps: what a person does first, in order; empty where loadable is "yes".
        ends: "file" or "arm": whether the steps end in the publisher's file, which `get --from`
            takes, or in an arm (a folder that was converted, a file of one's own).
        convention: a name of NAMED, or {mean, std, order, channels, per_image} on the scale 0..1;
            "" where nothing can be loaded.
        also: every other convention in circulation for this file.
        notes: what else a user must know.
    """

    name: str
    family: str
    title: str
    backbone: str = ""
    switches: dict[str, str | int | float | bool] = field(default_factory=dict, hash=False)
    origin: str = ""
    size: int = 0
    hub: str = ""
    file: str = ""
    revision: str = ""
    url: str = ""
    member: str = ""
    sha256: str = ""
    mib: float = 0.0
    licence: str = ""
    terms: str = ""
    citation: str = ""
    home: str = ""
    saw: tuple[str, ...] = ()
    saw_note: str = ""
    loadable: str = "yes"
    why: str = ""
    steps: tuple[str, ...] = ()
    ends: str = "file"
    convention: Stated = field(default="", hash=False)
    also: tuple[Stated, ...] = field(default=(), hash=False)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Family:
    """Weights of one publication.

    Attributes:
        name: what a person writes, lower case.
        title: in words.
        about: how they were trained, in a sentence or two.
        group: one of GROUPS.
        default: name of the entry that the family's name alone means.
        entries: at least one.
    """

    name: str
    title: str
    about: str
    group: str
    default: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class ImageSet:
    """A pretraining or benchmark set.

    Attributes:
        name: lower case, with dashes.
        title: in words.
        parents: sets that this one is made from, wholly or in part.
        aliases: other names, also found inside a longer name.
        folders: names that mean this set only when they are all there is.
    """

    name: str
    title: str
    parents: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()


@dataclass(frozen=True)
class Catalog:
    """What a catalog file holds, in its order."""

    families: tuple[Family, ...]
    sets: tuple[ImageSet, ...]


def entries() -> tuple[Entry, ...]:
    """Return every entry, in the catalog's order."""
    return tuple(entry for family in families() for entry in family.entries)


def families() -> tuple[Family, ...]:
    """Return every family, in the catalog's order."""
    return _catalog().families


def find(name: str, backbone: str = "") -> Entry:
    """Return the entry of a name.

    Args:
        name: "family/weights"; or a family: then the entry of that family whose backbone is
            `backbone`, or the family's default where that is "".
        backbone: timm's name. A tag behind it chooses among entries that come from timm's hub,
            and says nothing of others.

    Raises:
        RadstartError: no such name; a family without weights for this backbone. Whether the
            entry can be loaded is not asked.
    """
    wanted, _, own = name.strip().casefold().partition("/")
    known = {family.name: family for family in families()}
    if wanted not in known:
        names = list(known) if not own else [entry.name for entry in entries()]
        raise RadstartError("unknown weights", name, "", nearest(name.casefold(), names))
    family = known[wanted]
    if own:
        for entry in family.entries:
            if own in (entry.name.partition("/")[2], _tagged(entry)):
                return entry
        remedy = nearest(name.casefold(), [entry.name for entry in family.entries])
        raise RadstartError("unknown weights", name, "", remedy)
    if not backbone or not any(entry.backbone for entry in family.entries):
        return next(entry for entry in family.entries if entry.name == family.default)
    plain, _, tag = backbone.partition(".")
    same = [entry for entry in family.entries if entry.backbone == plain]
    exact = [entry for entry in same if tag and _tagged(entry) == backbone]
    if same and tag and not exact and all(map(_tagged, same)):
        tags = ", ".join(map(_tagged, same))
        remedy = f"hub:timm/{backbone} names any other of timm's"
        raise RadstartError(f"no {backbone}: it has {tags}", family.name, remedy=remedy)
    if not same:
        has = ", ".join(dict.fromkeys(e.backbone for e in family.entries if e.backbone))
        raise RadstartError(
            f"no weights for {plain}: it has {has}", family.name,
            remedy="name one of these, or leave this start out",
        )  # fmt: skip
    return (exact or same)[0]


def _tagged(entry: Entry) -> str:
    """Return "resnet50.a1_in1k" for what comes from timm's hub, "" for the rest."""
    return entry.hub.removeprefix("timm/") if entry.hub.startswith("timm/") else ""


def find_set(text: str) -> str | None:
    """Return the set that a name means, None where that is not clear.

    Case, dashes, underscores and blanks do not count. A set's name or alias may stand inside a
    longer one ("chest_xray_kermany", "Dataset_BUSI_with_GT"), as whole words of four signs or
    more; the longest such run decides, and two equally long ones of different sets decide
    nothing.
    """
    within, whole = _set_names()
    words = _words(text)
    if "".join(words) in whole:
        return whole["".join(words)]
    count = len(words)
    runs = {"".join(words[i:k]) for i in range(count) for k in range(i + 1, count + 1)}
    found = {run: within[run] for run in runs if len(run) >= 4 and run in within}
    longest = max(map(len, found), default=0)
    meant = {name for run, name in found.items() if len(run) == longest}
    return meant.pop() if len(meant) == 1 else None


def image_sets() -> tuple[ImageSet, ...]:
    """Return the image sets, in the catalog's order."""
    return _catalog().sets


def set_names() -> tuple[str, ...]:
    """Return the names of the catalog's image sets."""
    return tuple(known.name for known in _catalog().sets)


def ancestry(sets: Iterable[str]) -> frozenset[str]:
    """Return the sets with everything that they are made from; unknown names stand for themselves.

    A name may be any that `find_set` knows.
    """
    parents = {known.name: known.parents for known in _catalog().sets}
    reached: set[str] = set()
    waiting = [_known(name) for name in sets]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += parents.get(name, ())
    return frozenset(reached)


def related(saw: Iterable[str], known_as: str | Iterable[str]) -> tuple[str, ...]:
    """Explain how what weights have seen overlaps with a test set.

    Args:
        saw: sets that the weights were trained on.
        known_as: the name, or names, under which the test set is known. Names that the catalog
            does not have are compared as they stand.

    Returns: one sentence per overlap, the most direct ones; empty where nothing is known.
    """
    tests = [known_as] if isinstance(known_as, str) else list(known_as)
    seen = list(dict.fromkeys(_known(name) for name in saw))
    said: dict[str, None] = {}
    for test in dict.fromkeys(_known(name) for name in tests):
        if test in seen:
            said[f"these weights were trained on {test}"] = None
            continue
        for name in seen:
            if name in ancestry([test]):
                said[f"{test} is made from {name}, which these weights were trained on"] = None
            elif test in ancestry([name]):
                said[f"these weights were trained on {name}, which is made from {test}"] = None
            else:
                for origin in _nearest_common(test, name, seen):
                    line = f"{test} and {name}, which these weights were trained on, are both"
                    said[f"{line} made from {origin}"] = None
    return tuple(said)


def _nearest_common(a: str, b: str, seen: list[str]) -> list[str]:
    """Return the sets that both are made from, without ancestors of these and without `seen`."""
    common = ancestry([a]) & ancestry([b])
    further = {up for name in common for up in ancestry([name]) - {name}}
    return sorted(name for name in common - further if name not in seen)


def _known(name: str) -> str:
    plain = "-".join(_words(name))
    return find_set(name) or plain or name


def is_family(start: str) -> bool:
    """Return whether a start is a family of the catalog, or one of its weights."""
    return any(start.partition("/")[0].casefold() == family.name for family in families())


def means_weights(text: str) -> bool:
    """Return whether a text names weights of the catalog; what lies at that path comes second.

    A family's name and a slash are a path where something lies there that the catalog lacks.
    """
    own = text.strip().casefold()
    names = {family.name for family in families()}
    if own in names or own in {entry.name for entry in entries()}:
        return True
    return own.partition("/")[0] in names and not os.path.lexists(os.path.expanduser(text))


def command(entry: Entry) -> str:
    """Return the command line that gets an entry."""
    file = "" if entry.loadable == "yes" else " --from FILE"
    return f"radstart weights get {entry.name}{file}" + (" --accept" if entry.terms else "")


def numbered(entry: Entry) -> list[str]:
    """Return what a person does first, step by step; the command that follows is the last line.

    There is none where the steps end in an arm.
    """
    steps = [f"{k}. {step}" for k, step in enumerate(entry.steps, 1)]
    return [*steps, *([f"then: {command(entry)}"] if steps and entry.ends == "file" else [])]


def after_steps(entry: Entry) -> str:
    """Return what comes after the steps, as a remedy."""
    return f"then {command(entry)}" if entry.ends == "file" else "then an arm: NAME=file:PATH"


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.casefold())


@cache
def _set_names() -> tuple[dict[str, str], dict[str, str]]:
    """Return names and aliases -> set, those of whole folders included in the second."""
    within = {
        "".join(_words(name)): known.name
        for known in _catalog().sets
        for name in (known.name, *known.aliases)
    }
    folders = {
        "".join(_words(name)): known.name for known in _catalog().sets for name in known.folders
    }
    return within, {**folders, **within}


@cache
def _catalog() -> Catalog:
    return read_catalog(CATALOG)


def read_catalog(path: Path) -> Catalog:
    """Read a catalog file. What stands in the one that is shipped is checked by its tests.

    Raises:
        RadstartError: unreadable, or not TOML.
    """
    values = read_toml(path)
    sets = tuple(ImageSet(**_with_tuples(one)) for one in values["set"])
    return Catalog(tuple(map(_read_family, values["family"])), sets)


def _read_family(values: dict[str, Any]) -> Family:
    """Return a family; its entries take what stands beside them, and lead over it."""
    about, group, default, weights = (
        values.pop(key, other)
        for key, other in (("about", ""), ("group", ""), ("default", ""), ("weights", [{}]))
    )
    name = values.pop("name")
    known = tuple(_read_entry(name, {**values, **own}, own.get("name", "")) for own in weights)
    meant = f"{name}/{default}" if default else known[0].name
    return Family(name, values["title"], about, group, meant, known)


def _read_entry(family: str, values: dict[str, Any], own: str) -> Entry:
    loadable = values.get("loadable", "yes")
    if own and loadable != "no":
        values.setdefault("backbone", own)
    if loadable == "yes":
        values.update(why="", steps=[], ends="file")
    values["also"] = [one for one in values.get("also", []) if one != values.get("convention", "")]
    values |= {"name": f"{family}/{own}" if own else family, "family": family}
    return Entry(**_with_tuples(values))


def _with_tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
