"""card.toml: what a weights folder says of its tensors."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from radstart.backbones import Backbone, stated_backbone
from radstart.core.errors import RadstartError
from radstart.core.files import read_toml, write_toml
from radstart.weights.convention import Convention, stated_convention

SCHEMA = 1
CARD, TENSORS = "card.toml", "model.safetensors"


@dataclass(frozen=True)
class Card:
    """What a weights folder says of its tensors.

    Attributes:
        name: what a person calls them.
        backbone: architecture and switches.
        convention: how pixels become the input.
        tensors_sha256: hash of model.safetensors: the card speaks of these tensors alone.
        origin: adapter that read the names of the file they came from.
        entry: that file's name in the catalog, "" = none.
        file: its name.
        sha256: its hash.
        licence: in the publisher's words, "" = nothing is stated.
        terms: what a licence asks for beforehand (a word of the catalog), "" = nothing.
        citation: what to cite.
        saw: sets of the catalog that the weights were trained on.
        classes: of the classifier, in the order of its outputs; () = none, or they have no names.
        plain_timm: why plain timm cannot load the folder, "" = it can.
        notes: what else a reader must know.
        receipt: what loading the original did.
        radstart: version that wrote it.
    """

    name: str
    backbone: Backbone
    convention: Convention
    tensors_sha256: str
    origin: str = "timm"
    entry: str = ""
    file: str = ""
    sha256: str = ""
    licence: str = ""
    terms: str = ""
    citation: str = ""
    saw: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    plain_timm: str = ""
    notes: tuple[str, ...] = ()
    receipt: Mapping[str, Any] = field(default_factory=dict)
    radstart: str = ""

    def record(self) -> dict[str, Any]:
        """Return the card as card.toml states it."""
        return {
            "schema": SCHEMA,
            "name": self.name,
            "licence": self.licence or "not stated",
            "terms": self.terms,
            "citation": self.citation,
            "saw": list(self.saw),
            "classes": list(self.classes),
            "plain_timm": self.plain_timm or "loads it",
            "notes": list(self.notes),
            "radstart": self.radstart,
            "tensors": {"file": TENSORS, "sha256": self.tensors_sha256},
            "source": {
                "file": self.file,
                "sha256": self.sha256,
                "origin": self.origin,
                "catalog": self.entry,
            },
            "backbone": {"name": self.backbone.name, "switches": dict(self.backbone.switches)},
            "convention": self.convention.record(),
            "receipt": dict(self.receipt),
        }


def write_card(card: Card, folder: Path) -> None:
    """Write card.toml into a folder, whole or not at all."""
    write_toml(folder / CARD, card.record())


def read_card(folder: Path) -> Card:
    """Read a folder's card.toml.

    Raises:
        RadstartError: absent, not TOML, made by a newer radstart, or a key is missing or wrong.
    """
    path = folder / CARD
    stated = read_toml(path)
    schema = stated.get("schema")
    if type(schema) is not int or schema < 1:
        raise _wrong(path, "schema", schema)
    if schema > SCHEMA:
        raise RadstartError(
            "made by a newer radstart", str(path), f"schema {schema}, known up to {SCHEMA}",
            "update radstart",
        )  # fmt: skip
    source = _table(stated, "source", path)
    backbone = _table(stated, "backbone", path)
    tensors = _table(stated, "tensors", path)
    licence, plain = _text(stated, "licence", path), _text(stated, "plain_timm", path)
    return Card(
        name=_text(stated, "name", path),
        backbone=stated_backbone(backbone.get("name"), backbone.get("switches", {}), str(path)),
        convention=stated_convention(_table(stated, "convention", path), 0, str(path)),
        tensors_sha256=_text(tensors, "sha256", path, needed=True),
        origin=_text(source, "origin", path) or "timm",
        entry=_text(source, "catalog", path),
        file=_text(source, "file", path),
        sha256=_text(source, "sha256", path),
        licence="" if licence == "not stated" else licence,
        terms=_text(stated, "terms", path),
        citation=_text(stated, "citation", path),
        saw=_texts(stated, "saw", path),
        classes=_texts(stated, "classes", path),
        plain_timm="" if plain == "loads it" else plain,
        notes=_texts(stated, "notes", path),
        receipt=_table({"receipt": {}, **stated}, "receipt", path),
        radstart=_text(stated, "radstart", path),
    )


def _table(stated: Mapping[str, Any], key: str, path: Path) -> dict[str, Any]:
    value = stated.get(key)
    if not isinstance(value, dict):
        raise _wrong(path, key, value)
    return value


def _text(stated: Mapping[str, Any], key: str, path: Path, needed: bool = False) -> str:
    value = stated.get(key, "")
    if not isinstance(value, str) or (needed and not value):
        raise _wrong(path, key, value)
    return value


def _texts(stated: Mapping[str, Any], key: str, path: Path) -> tuple[str, ...]:
    value = stated.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise _wrong(path, key, value)
    return tuple(value)


def _wrong(path: Path, key: str, value: object) -> RadstartError:
    got = "" if value is None else repr(value)
    return RadstartError(
        "a key is missing or wrong", f"{path}: {key}", got, "write it again: weights convert"
    )  # fmt: skip
