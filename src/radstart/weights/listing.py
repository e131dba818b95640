"""The catalog as a person reads it: a table of families, one family's files, one entry in full."""

import re
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from radstart.core.errors import RadstartError, nearest
from radstart.core.files import status
from radstart.weights.catalog import (
    GROUPS,
    LOADABLE,
    TERMS,
    Entry,
    Family,
    Stated,
    ancestry,
    command,
    entries,
    families,
    find,
    image_sets,
    means_weights,
    numbered,
)

WIDTH = 79
_LABEL = 13  # columns of the labels of `entry_lines`
_SET = 26  # columns of the names of `set_lines`

CONVENTIONS = {
    "imagenet": "RGB 0..1, then ImageNet's mean and std",
    "-1to1": "RGB, -1..1",
    "0to1": "RGB, 0..1, no mean and std",
    "0to255": "RGB, 0..255",
    "caffe": "BGR 0..255 minus 103.939, 116.779, 123.68",
    "caffe-0to1": "BGR 0..255 minus 103.939, 116.779, 123.68, then divided by 255",
    "clip": "RGB 0..1, then CLIP's mean and std",
    "-1024to1024": "one channel, -1024..1024",
}
"""The named conventions in words; `-bgr` behind a name turns RGB into BGR."""


def catalog_lines() -> list[str]:
    """Return the table of all families: backbones, inputs, terms, whether they load."""
    rows = [_family_row(family) for family in families()]
    header, *lines = _table([("FAMILY", "INPUT", "TERMS", "LOADS"), *rows])
    line_of = {family.name: line for family, line in zip(families(), lines, strict=True)}
    said = [header]
    for group in GROUPS:
        said += ["", group.upper()]
        for family in families():
            if family.group == group:
                said += [line_of[family.name], *_below(family)]
    counts = [sum(entry.loadable == kind for entry in entries()) for kind in LOADABLE]
    numbers = (
        f"{counts[0]} fetched by name, {counts[1]} after steps by hand, {counts[2]} not loaded"
    )
    return [
        *said,
        "",
        f"{len(entries())} entries: {numbers} loaded.",
        "radstart weights list --family NAME    the files of one family",
        "radstart weights show NAME             one entry, with every input in use",
    ]


def _family_row(family: Family) -> tuple[str, str, str, str]:
    inputs = _each(_brief(entry.convention) for entry in family.entries if entry.convention)
    sizes = sorted({entry.size for entry in family.entries if entry.convention})
    span = "-".join(map(str, _each((sizes[0], sizes[-1])))) if sizes else ""
    terms = _each(_terms(entry) for entry in family.entries)
    loads = {entry.loadable for entry in family.entries}
    shown = [values[0] + ", ..." * (len(values) > 1) for values in (inputs or [""], terms)]
    order = ", ".join(kind for kind in LOADABLE if kind in loads)
    return f"  {family.name}", f"{shown[0]} {span}".strip(), shown[1], order


def _below(family: Family) -> list[str]:
    """Return a family's backbones, or its title where it has none."""
    backbones = _each(entry.backbone for entry in family.entries if entry.backbone)
    return _wrapped(", ".join(backbones) or family.title, "      ")


def family_lines(name: str) -> list[str]:
    """Return the table of one family's entries.

    Raises:
        RadstartError: no such family.
    """
    known = {family.name: family for family in families()}
    if name.casefold() not in known:
        raise RadstartError("unknown family", "--family", name, nearest(name.casefold(), known))
    family = known[name.casefold()]
    inputs = [f"{_brief(e.convention)} {e.size}" if e.convention else "" for e in family.entries]
    rows = [
        (e.name, fed, _terms(e), e.loadable) for e, fed in zip(family.entries, inputs, strict=True)
    ]
    header, *table = _table([("NAME", "INPUT", "TERMS", "LOADS"), *rows])
    lines = [*_wrapped(f"{family.title}. {family.about}"), "", header]
    for entry, line in zip(family.entries, table, strict=True):
        own = entry.name.partition("/")[2]
        own_backbone = entry.backbone and not own.startswith(entry.backbone)
        lines += [line, *([f"    {_backbone(entry)}"] if own_backbone else [])]
    default = f" {family.name} alone means {family.default}." if len(family.entries) > 1 else ""
    return [*lines, "", *_wrapped(f"radstart weights show NAME says all about one.{default}")]


def shown_lines(
    name: str, backbone: str = "", take: str = "", every: bool = False
) -> Iterable[str]:
    """Return what there is to know of an entry of the catalog, else of a file or folder.

    Args:
        name: of the catalog, or a path.
        backbone: of a family alone, timm's name.
        take: which dictionary of tensors, where a file holds several.
        every: list each tensor of a file.

    Raises:
        RadstartError: neither, or a file that is no weights file.
    """
    path = Path(name).expanduser()
    if not name.strip() or means_weights(name) or status(path) is None:
        if take or every:
            what = "--take" if take else "--tensors"
            raise RadstartError("is of files alone", what, take, f"there is no file {name}")
        return entry_lines(name, backbone)
    if backbone:
        raise RadstartError(
            "is of the catalog's families alone", "--backbone", backbone,
            "leave it out: what the file looks like is shown",
        )  # fmt: skip
    from radstart.weights.inspecting.inventory import inventory_lines, inventory_of

    return inventory_lines(inventory_of(path, take), every)


def entry_lines(name: str, backbone: str = "") -> list[str]:
    """Return everything that the catalog says of one entry, and what can be done next.

    Args:
        name, backbone: as `find` has them; other entries are named where `name` is a family.

    Raises:
        RadstartError: as `find` does.
    """
    entry = find(name, backbone)
    family = next(family for family in families() if family.name == entry.family)
    lines = [entry.name, *_wrapped(f"{entry.title}. {family.about}", "  "), ""]
    for label, texts in (*_function(entry), *_origin(entry)):
        lines += labelled(label, texts)
    others = [e.name.partition("/")[2] for e in family.entries if e is not entry]
    if others and "/" not in name:
        lines += labelled("others", [", ".join(others)])
    lines += ["", *labelled("loads", _loads(entry))]
    return [*lines, *(["", *_next(entry)] if _next(entry) else [])]


def _function(entry: Entry) -> Iterator[tuple[str, list[str]]]:
    """Yield what the weights compute, and from what."""
    yield "backbone", [_backbone(entry)]
    if entry.convention:
        yield "input", [f"{convention_words(entry.convention)}; {entry.size} px"]
    yield "also in use", [convention_words(stated) for stated in entry.also]
    above = sorted(ancestry(entry.saw) - set(entry.saw))
    made_from = f"in turn made from {', '.join(above)}" if above else ""
    yield "saw", [", ".join(entry.saw), made_from, entry.saw_note]
    yield "notes", [f"- {note}" for note in entry.notes]


def _origin(entry: Entry) -> Iterator[tuple[str, list[str]]]:
    """Yield where the file is from and what may be done with it."""
    yield "licence", [entry.licence]
    yield "terms", [terms_words(entry)]
    yield "cite", [entry.citation]
    yield "home", [entry.home]
    yield "hub", [entry.hub + (f" at {entry.revision}" if entry.revision else "")]
    yield "address", [entry.url]
    size = f" (about {entry.mib:,.0f} MiB)" if entry.mib else ""
    file = entry.file or entry.url.rpartition("/")[2]
    yield "file", [file + size if file else ""]
    yield "member", [entry.member]
    yield "sha256", [entry.sha256 + ("..." if 0 < len(entry.sha256) < 64 else "")]
    yield "read as", [entry.origin]


def terms_words(entry: Entry) -> str:
    """Return what is asked for beforehand, and what that means; "" = nothing."""
    return f"{entry.terms}: {TERMS[entry.terms]}" if entry.terms else ""


def _loads(entry: Entry) -> list[str]:
    if entry.loadable == "yes":
        return ["yes"]
    said = "after steps by hand" if entry.loadable == "steps" else "no"
    return [f"{said}. {entry.why}", *numbered(entry)[: len(entry.steps)]]


def _next(entry: Entry) -> list[str]:
    """Return command lines; none where nothing can be loaded."""
    if entry.loadable == "no" or not entry.backbone:
        return []
    if entry.ends == "arm":
        return compare_lines("NAME=file:FOLDER")
    line, broken = command(entry), command(entry).replace(" --", " \\\n    --", 1)
    get = [line] if len(line) <= WIDTH else broken.splitlines()
    return [*get, *compare_lines(entry.name)]


def compare_lines(start: str) -> list[str]:
    """Return the command that compares a start with random values."""
    compare, starts = "radstart compare DATA --out STUDY --arms ", f"random,{start}"
    if len(compare) + len(starts) <= WIDTH:
        return [compare + starts]
    return [f"{compare[:-8]} \\", f"    --arms {starts}"]


def set_lines() -> list[str]:
    """Return the table of the public image sets, with what each is made from."""
    lines = ["SET                       WHAT IT IS; MADE FROM", ""]
    for known in image_sets():
        from_ = f"; made from {', '.join(known.parents)}" if known.parents else ""
        hanging = " " * _SET
        name = f"{known.name:<{_SET - 2}}  "
        said = _wrapped(known.title + from_, hanging)
        lines += [name + said[0][_SET:], *said[1:]]
    return [
        *lines,
        "",
        *_wrapped(
            f"{len(image_sets())} sets. radstart compare --known-as SET says that DATA is from "
            "one: arms that were trained on it, or on what it is made from, are then known."
        ),
    ]


def _each(values: Iterable[Any]) -> list[Any]:
    return list(dict.fromkeys(values))


def _table(rows: list[tuple[str, str, str, str]]) -> list[str]:
    """Return one line per row, its columns as wide as they have to be."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    gap = 2 if sum(widths) + 6 <= WIDTH else 1
    return [
        "".join(f"{text:<{width + gap}}" for text, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _terms(entry: Entry) -> str:
    """Return the terms, or the licence where it asks for nothing beforehand."""
    return entry.terms or entry.licence.partition(" (")[0]


def _backbone(entry: Entry) -> str:
    switches = ", ".join(f"{key}={value}" for key, value in entry.switches.items())
    return f"{entry.backbone} ({switches})" if switches else entry.backbone


def _brief(stated: Stated) -> str:
    """Return a convention in some twelve signs."""
    if isinstance(stated, str):
        return stated
    mean, std = (_numbers(stated[key]) for key in ("mean", "std"))
    return "min-max" if stated.get("per_image") else f"{mean.split()[0]}/{std.split()[0]}"


def convention_words(stated: Stated) -> str:
    """Return a convention in words: what its name means, or its numbers."""
    if isinstance(stated, str):
        plain = stated.removesuffix("-bgr")
        said = CONVENTIONS[plain]
        return f"{stated}: {said if plain == stated else said.replace('RGB', 'BGR')}"
    if stated.get("per_image"):
        return "each image stretched to 0..1 by its own least and largest value"
    mean, std = (_numbers(stated[key]) for key in ("mean", "std"))
    channels = "one channel" if len(stated["mean"]) == 1 else stated.get("order", "RGB")
    minus = f" minus {mean}" if mean != "0" else ""
    return f"{channels} 0..1{minus}" + (f", divided by {std}" if std != "1" else "")


def _numbers(values: list[float]) -> str:
    """Return "0.531", or "0.43 0.411 0.296" where they differ."""
    shown = [f"{value:.4g}" for value in values]
    return shown[0] if len(set(shown)) == 1 else " ".join(shown)


def _wrapped(text: str, indent: str = "") -> list[str]:
    """Return lines of WIDTH at the most; what follows "- " or "1. " hangs, addresses stay whole."""
    mark = re.match(r"- |\d\. ", text)
    hanging = indent + " " * (len(mark[0]) if mark else 0)
    return textwrap.wrap(
        text, WIDTH, initial_indent=indent, subsequent_indent=hanging,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def labelled(label: str, texts: Iterable[str]) -> list[str]:
    """Return texts beside a label, each beginning a line of its own; nothing without texts."""
    indent = " " * _LABEL
    lines = [line for text in filter(None, texts) for line in _wrapped(text, indent)]
    return [f"{label:<{_LABEL}}{lines[0][_LABEL:]}", *lines[1:]] if lines else []
