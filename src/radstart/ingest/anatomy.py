"""Region, view and side out of what a header says, in a small vocabulary.

Headers say it in many languages and places. Words are matched whole, from a table of data
(`anatomy.toml`); what is returned is a word of ours and the name of the tag that decided, never
the header's text.
"""

import math
import re
import tomllib
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, lru_cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from radstart.ingest.frames import Tags

REGIONS = (
    "whole body",
    "head",
    "neck",
    "chest",
    "heart",
    "breast",
    "abdomen",
    "pelvis",
    "spine",
    "shoulder",
    "arm",
    "elbow",
    "forearm",
    "wrist",
    "hand",
    "hip",
    "thigh",
    "knee",
    "leg",
    "ankle",
    "foot",
)
"""The vocabulary of regions. Several of them are joined by "+", in this order."""

PAIRED = frozenset({"breast", *REGIONS[REGIONS.index("shoulder") :]})
_TEXTS = ("body_part", "description", "protocol", "study")
_PROJECTIONS = frozenset({"CR", "DX", "RG", "RF", "XA", "MG", "PX", "IO"})
_PLANES = ("sagittal", "coronal", "axial")  # by the axis that their normal is nearest to
_STEEP = 0.8  # cosine below which a slice is no plane's
_LONG = 200  # characters of a header's text that are looked at
_WORDS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+")
_FOLDED = str.maketrans({"ß": "ss", "đ": "d", "Đ": "D", "ł": "l", "ø": "o", "œ": "oe", "Œ": "OE"})
_BREAST_VIEWS = frozenset({"cc", "mlo", "ml", "lm", "xcc"})  # and units of volume
_SIDED = frozenset({"lcc", "rcc", "lmlo", "rmlo"})
_LATE = frozenset({"dx", "sx"})  # right and left in Italian; in front, DX is a modality


def region(tags: Tags) -> tuple[str, str]:
    """Return the region, and the tag that says it, e.g. ("chest+abdomen", "description").

    BodyPartExamined leads, then SeriesDescription, ProtocolName, StudyDescription: the first that
    names a region decides. ("", "") = none does.
    """
    for tag in _TEXTS:
        text = _text(tags, tag)
        found = _regions(text)
        if tag == "body_part" and _tokens(text) == ["main"]:
            found = frozenset({"hand"})  # in French; elsewhere it is an English word
        if found:
            return "+".join(name for name in REGIONS if name in found), tag
    return "", ""


def view(tags: Tags) -> tuple[str, str]:
    """Return the projection or plane, and the tag that says it.

    Of radiographs ViewPosition leads; of everything else the orientation of the image: the plane
    that it is nearest to, or "oblique". Words of the descriptions come last.
    """
    modality = str(tags.get("modality") or "").upper()
    if found := _view(_text(tags, "view")):
        return found, "view"
    orientation = tags.get("orientation")
    if modality not in _PROJECTIONS and (plane := _plane(orientation)):
        return plane, "orientation"
    for tag in ("description", "protocol"):
        found = _view(_text(tags, tag))
        # "AP" is abdomen and pelvis in the name of a CT, and only projections are from the side
        if found in _PLANES or (found in _BREAST_VIEWS and modality == "MG"):
            return found, tag
        if found not in _BREAST_VIEWS and modality in _PROJECTIONS and found:
            return found, tag
    return "", ""


def laterality(tags: Tags) -> tuple[str, str]:
    """Return "L", "R", "B" (both) or "", and the tag that says it.

    Words of the descriptions count for regions that a body has twice only: a "left lateral" of a
    chest is no left chest.
    """
    stated = str(tags.get("laterality") or "").strip().upper()[:1]
    if stated in ("L", "R", "B"):
        return stated, "laterality"
    if not set(region(tags)[0].split("+")) & PAIRED:
        return "", ""
    for tag in _TEXTS:
        words = _tokens(_text(tags, tag))
        if words[:1] and words[0] in _LATE:
            words = words[1:]
        found = set(_matched(_sides(), words))
        found |= {word[0].upper() for word in words if word in _SIDED}
        if found:
            return found.pop() if len(found) == 1 else "B", tag
    return "", ""


def _text(tags: Tags, tag: str) -> str:
    return str(tags.get(tag) or "")[:_LONG]


def _plane(orientation: object) -> str:
    """Return the plane of six direction cosines, "oblique", or "" where they are none."""
    if not isinstance(orientation, tuple | list) or len(orientation) != 6:
        return ""
    try:
        a, b, c, d, e, f = map(float, orientation)
    except (TypeError, ValueError):
        return ""
    if not all(abs(cosine) < 1.1 for cosine in (a, b, c, d, e, f)):  # true of no NaN
        return ""
    normal = [abs(b * f - c * e), abs(c * d - a * f), abs(a * e - b * d)]
    if not 0.9 < math.hypot(*normal) < 1.1:
        return ""
    steepest = max(normal)
    return _PLANES[normal.index(steepest)] if steepest >= _STEEP else "oblique"


# -- words -------------------------------------------------------------------------------------

Phrases = Mapping[tuple[str, ...], str]


def _tokens(text: str) -> list[str]:
    """Return the words of a text: small letters without accents; "CSpine" is two."""
    plain = unicodedata.normalize("NFKD", text.translate(_FOLDED))
    plain = "".join(sign for sign in plain if not unicodedata.combining(sign))
    return [word.lower() for word in _WORDS.findall(plain)]


@lru_cache(maxsize=1024)  # the slices of a series say the same
def _regions(text: str) -> frozenset[str]:
    """Return the regions that a text names: weak words count where there are no others."""
    table = _phrases()
    words = _split(_tokens(text), table)
    found = [names for names in _matched(table, words) if names]
    strong = [names for names in found if not names.startswith("?")]
    return frozenset(name for names in strong or found for name in names.lstrip("?").split("+"))


def _matched(table: Phrases, words: list[str]) -> Iterator[str]:
    """Yield what the longest phrases at each place mean, from left to right."""
    longest = max(map(len, table))
    at = 0
    while at < len(words):
        for length in range(min(longest, len(words) - at), 0, -1):
            meaning = table.get(tuple(words[at : at + length]))
            if meaning is not None:
                yield meaning
                at += length
                break
        else:
            at += 1


@lru_cache(maxsize=1024)
def _view(text: str) -> str:
    """Return the first view that a text names, or ""."""
    words = [word[1:] if word in _SIDED else word for word in _tokens(text)]
    return next(iter(_matched(_views(), words)), "")


def _split(words: list[str], table: Phrases) -> list[str]:
    """Return words with those split that are nothing but known words: chestabdomen, headneck."""
    out = []
    for word in words:
        out += [word] if (word,) in table or len(word) > 30 else _parts(word, table) or [word]
    return out


def _parts(word: str, table: Phrases) -> list[str]:
    """Return a word as two or more known words of at least three letters, else nothing."""
    ways: dict[int, list[str]] = {0: []}
    for end in range(3, len(word) + 1):
        for start in range(end - 2):
            if start in ways and end not in ways and (word[start:end],) in table:
                ways[end] = [*ways[start], word[start:end]]
    return ways.get(len(word), [])


@cache
def _table() -> Mapping[str, Any]:
    return tomllib.loads((files(__package__) / "anatomy.toml").read_text("utf-8"))


def _spelled(phrases: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """Yield each phrase as words, with umlauts as one letter and as two."""
    for phrase in phrases:
        yield tuple(_tokens(phrase))
        if re.search("[äöü]", phrase):
            two = phrase.replace("ä", "ae").replace("ö", "oe").replace("ü", "ue")
            yield tuple(_tokens(two))


@cache
def _phrases() -> Phrases:
    """Return phrase -> regions joined by "+", "?" in front of weak ones, "" = says nothing."""
    out: dict[tuple[str, ...], str] = {}
    table = _table()
    for name in REGIONS:
        for phrases in table["regions"][name].values():
            out.update(dict.fromkeys(_spelled(phrases), name))
    for names, phrases in table["several"].items():
        out.update(dict.fromkeys(_spelled(phrases), names))
    out.update((words, "?" + out[words]) for words in _spelled(table["weak"]["phrases"]))
    out.update(dict.fromkeys(_spelled(table["ignored"]["phrases"]), ""))
    return MappingProxyType(out)


@cache
def _views() -> Phrases:
    return _named("views")


@cache
def _sides() -> Phrases:
    return _named("sides")


def _named(part: str) -> Phrases:
    lists = _table()[part]
    pairs = {words: name for name in lists for words in _spelled(lists[name])}
    return MappingProxyType(pairs)
