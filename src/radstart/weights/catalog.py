"""The catalog of starting weights and of the image sets that they have seen: catalog.toml, read.

No torch, no timm: `radstart weights list` costs what reading one file costs.
"""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any

from radstart.core.errors import RadstartError, nearest
from radstart.core.files import read_toml

CATALOG = Path(__file__).with_name("catalog.toml")
SCHEMA = 1

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
ENDS = ("file", "arm")
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
        ends: one of ENDS: whether the steps end in the publisher's file, which `get --from` takes,
            or in an arm (a folder that was converted, a file of one's own).
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
        has = ", ".join(_backbones(family))
        raise RadstartError(
            f"no weights for {plain}: it has {has}", family.name,
            remedy="name one of these, or leave this start out",
        )  # fmt: skip
    return (exact or same)[0]


def _backbones(family: Family) -> list[str]:
    return list(dict.fromkeys(entry.backbone for entry in family.entries if entry.backbone))


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


_TEXT, _LIST = (str,), (list,)
_SHARED: dict[str, tuple[type, ...]] = {
    **{item.name: _TEXT for item in fields(Entry) if item.type is str},
    **dict.fromkeys(("saw", "steps", "also", "notes"), _LIST),
    "switches": (dict,),
    "size": (int,),
    "mib": (int, float),
    "convention": (str, dict),
}
_FAMILY = {**_SHARED, "about": _TEXT, "group": _TEXT, "default": _TEXT, "weights": _LIST}
_SET = {"name": _TEXT, "title": _TEXT, **dict.fromkeys(("parents", "aliases", "folders"), _LIST)}
_NUMBERS = ("mean", "std", "order", "channels", "per_image")


def read_catalog(path: Path) -> Catalog:
    """Read a catalog file and check its keys and values; cross references are not checked.

    Raises:
        RadstartError: not TOML, a newer schema, unknown keys, wrong types, values out of range,
            names that occur twice.
    """
    values = read_toml(path)
    schema = values.pop("schema", None)
    if schema != SCHEMA:
        remedy = "update radstart" if isinstance(schema, int) else f"write schema = {SCHEMA}"
        raise RadstartError("another kind of catalog", f"{path.name}: schema", str(schema), remedy)
    _typed(values, {"set": _LIST, "family": _LIST}, path.name)
    sets = tuple(_read_set(item, f"{path.name}: set") for item in values.get("set", []))
    known = tuple(_read_family(item, f"{path.name}: family") for item in values.get("family", []))
    _once([item.name for item in sets], f"{path.name}: set")
    _once([family.name for family in known], f"{path.name}: family")
    _once([entry.name for family in known for entry in family.entries], f"{path.name}: weights")
    return Catalog(known, sets)


def _read_set(values: Any, place: str) -> ImageSet:
    values, place = _table(values, place, "name", "title")
    _typed(values, _SET, place)
    lists = {key: tuple(v) for key, v in values.items() if isinstance(v, list)}
    return ImageSet(values["name"], values["title"], **lists)


def _read_family(values: Any, place: str) -> Family:
    values, place = _table(values, place, "name", "title")
    _typed(values, _FAMILY, place)
    shared = {key: value for key, value in values.items() if key in _SHARED and key != "name"}
    own = [
        _table(item, f"{place} weights", "name") for item in values.get("weights", [{"name": ""}])
    ]
    name = values["name"]
    known = tuple(_read_entry(name, shared, item, where) for item, where in own)
    default = f"{name}/{values['default']}" if values.get("default") else known[0].name
    _one_of(default, [entry.name for entry in known], f"{place}: default")
    group = values.get("group", "")
    _one_of(group, GROUPS, f"{place}: group")
    return Family(name, values["title"], values.get("about", ""), group, default, known)


def _read_entry(family: str, shared: dict[str, Any], own: dict[str, Any], place: str) -> Entry:
    _typed(own, _SHARED, place)
    values = {**shared, **own}
    short = values.pop("name")
    if short and values.get("loadable", "yes") != "no":
        values.setdefault("backbone", short)
    if values.get("loadable", "yes") == "yes":
        values.update(why="", steps=[], ends="file")
    convention = values.get("convention", "")
    values["also"] = [one for one in values.get("also", []) if one != convention]
    for stated in (convention, *values["also"]):
        if isinstance(stated, dict):
            _known_keys(stated, _NUMBERS, f"{place}: convention")
    values |= {"name": f"{family}/{short}" if short else family, "family": family}
    known: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    entry = Entry(**known)
    _check_entry(entry, place)
    return entry


def _check_entry(entry: Entry, place: str) -> None:
    """Refuse an entry that says too little to be used, or contradicts itself."""
    _one_of(entry.terms, TERMS, f"{place}: terms")
    _one_of(entry.loadable, LOADABLE, f"{place}: loadable")
    _one_of(entry.ends, ENDS, f"{place}: ends")
    own = entry.backbone and entry.origin and entry.size and entry.convention
    rules = (
        ("name", entry.name == entry.name.casefold(), "write it in lower case"),
        ("licence", entry.licence, "state the licence, or that there is none"),
        ("why", entry.loadable == "yes" or entry.why, "say why it is not loaded at once"),
        ("steps", entry.loadable != "steps" or entry.steps, "say what a person does"),
        ("hub", not entry.hub or entry.file, "name the file in the repository"),
        ("hub", not (entry.hub and entry.url), "give one of hub and url"),
        ("url", entry.loadable != "yes" or entry.hub or entry.url, "say where the file is"),
        ("backbone", entry.loadable != "yes" or own, "give backbone, origin, size, convention"),
        ("sha256", re.fullmatch(r"([0-9a-f]{8,64})?", entry.sha256), "8 to 64 hex digits"),
    )
    for key, fine, remedy in rules:
        if not fine:
            raise RadstartError("incomplete", f"{place}: {key}", "", remedy)


def _table(values: Any, place: str, *needed: str) -> tuple[dict[str, Any], str]:
    """Return a copy of a table with the texts `needed`, and its place with its name behind it."""
    if not isinstance(values, dict) or not all(type(values.get(key)) is str for key in needed):
        raise RadstartError(f"needs a table with {' and '.join(needed)}", place, str(values))
    return dict(values), f"{place} {values['name']}".strip()


def _typed(values: Mapping[str, Any], kinds: Mapping[str, tuple[type, ...]], place: str) -> None:
    _known_keys(values, kinds, place)
    for key, value in values.items():
        items = value if isinstance(value, list) and key not in ("set", "family", "weights") else []
        wanted = (str, dict) if key == "also" else (str,)
        if type(value) not in kinds[key] or not all(type(item) in wanted for item in items):
            raise RadstartError("wrong type", f"{place}: {key}", repr(value))


def _known_keys(values: Iterable[str], known: Iterable[str], place: str) -> None:
    known = list(known)
    for key in values:
        if key not in known:
            raise RadstartError("unknown key", f"{place}: {key}", "", nearest(key, known))


def _one_of(value: str, known: Iterable[str], place: str) -> None:
    known = list(known)
    if value not in known:
        raise RadstartError("unknown value", place, value or "nothing", nearest(value, known))


def _once(names: list[str], place: str) -> None:
    for name in names:
        if names.count(name) > 1:
            raise RadstartError("stands there twice", place, name)
