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
        source = {"file": self.file, "sha256": self.sha256, "origin": self.origin}
        source["catalog"] = self.entry
        return {
            "schema": SCHEMA,
            "name": self.name,
            "licence": self.licence or "not stated",
            **{key: getattr(self, key) for key in ("terms", "citation", "saw", "classes")},
            "plain_timm": self.plain_timm or "loads it",
            "notes": self.notes,
            "radstart": self.radstart,
            "tensors": {"file": TENSORS, "sha256": self.tensors_sha256},
            "source": source,
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

    def of(key: str, other: Any, table: Mapping[str, Any] = stated) -> Any:
        """Return a table's value, of the kind of `other`, which stands for an absent one."""
        value = table.get(key, other)
        texts = not isinstance(value, list) or all(isinstance(item, str) for item in value)
        if not isinstance(value, type(other)) or not texts:
            raise _wrong(path, key, value)
        return tuple(value) if isinstance(value, list) else value

    tables = {key: of(key, {}) for key in ("source", "backbone", "tensors", "convention")}
    source, backbone, tensors, convention = tables.values()
    licence, plain, sha256 = of("licence", ""), of("plain_timm", ""), of("sha256", "", tensors)
    for key, value in (*tables.items(), ("sha256", sha256)):
        if not value:
            raise _wrong(path, key, value)
    return Card(
        name=of("name", ""),
        backbone=stated_backbone(backbone.get("name"), backbone.get("switches", {}), str(path)),
        convention=stated_convention(convention, 0, str(path)),
        tensors_sha256=sha256,
        origin=of("origin", "", source) or "timm",
        entry=of("catalog", "", source),
        file=of("file", "", source),
        sha256=of("sha256", "", source),
        licence="" if licence == "not stated" else licence,
        terms=of("terms", ""),
        citation=of("citation", ""),
        saw=of("saw", []),
        classes=of("classes", []),
        plain_timm="" if plain == "loads it" else plain,
        notes=of("notes", []),
        receipt=of("receipt", {}),
        radstart=of("radstart", ""),
    )


def _wrong(path: Path, key: str, value: object) -> RadstartError:
    got = "" if value is None else repr(value)
    return RadstartError(
        "a key is missing or wrong", f"{path}: {key}", got, "write it again: weights convert"
    )
