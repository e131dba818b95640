"""From what a person wrote to a weights file that is here, and what is stated beside it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from radstart.backbones import Backbone, stated_backbone
from radstart.core.errors import RadstartError
from radstart.core.files import is_file, read_json, read_toml
from radstart.core.hashing import file_sha256
from radstart.weights.catalog import Entry, find
from radstart.weights.convention import Convention, stated_convention
from radstart.weights.reading.files import file_of
from radstart.weights.remote.download import Access, no_progress
from radstart.weights.remote.hub import CONFIG
from radstart.weights.remote.store import Got, get, get_hub, hub_place, of_catalog
from radstart.weights.writing.card import CARD, read_card

if TYPE_CHECKING:
    from radstart.weights.arms import ArmSpec


@dataclass(frozen=True)
class Source:
    """A weights file that is here, and what is known of it.

    Attributes:
        path: the file with the tensors.
        sha256: its hash.
        backbone: architecture and switches, None where nothing beside the tensors says it.
        convention: None where nothing beside the tensors says it.
        origin: adapter (key of ADAPTERS), "" = recognised by its layout.
        take: dictionary to take where the file holds several, "" = the origin's.
        entry: name in the catalog, "" = none.
        licence: in words, "" = nothing is stated.
        saw: sets that the weights were trained on (names of the catalog).
        classes: of the trained classifier, in the order of its outputs; () = not stated.
    """

    path: Path
    sha256: str
    backbone: Backbone | None = None
    convention: Convention | None = None
    origin: str = ""
    take: str = ""
    entry: str = ""
    licence: str = ""
    saw: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()


def source_of(path: Path) -> Source:
    """Read what stands beside the tensors: our card, a run's receipt, timm's config.json, nothing.

    Raises:
        RadstartError: nothing there, or a folder in no known layout.
    """
    tensors = file_of(path)
    if tensors == path:
        return Source(path, file_sha256(path))
    if is_file(path / CARD):
        return _carded(path, tensors)
    if is_file(path / "receipt.toml"):
        return _run(path, tensors)
    if is_file(path / CONFIG):
        return timm_layout(path / CONFIG, tensors, "config.json of the weights folder")
    raise RadstartError(
        "no card.toml, config.json or receipt.toml in this folder",
        str(path),
        remedy="name the file in it, with --backbone",
    )


def _carded(path: Path, tensors: Path) -> Source:
    card, sha256 = read_card(path), file_sha256(tensors)
    if card.tensors_sha256 != sha256:
        raise RadstartError(
            "these are not the tensors that card.toml speaks of", str(tensors), sha256[:16],
            "write the folder again: radstart weights convert",
        )  # fmt: skip
    return Source(
        tensors, sha256, card.backbone, card.convention, "timm", entry=card.entry,
        licence=card.licence, saw=card.saw, classes=card.classes,
    )  # fmt: skip


def _run(path: Path, tensors: Path) -> Source:
    note = path / "receipt.toml"
    stated = read_toml(note)
    if stated.get("probe") or "backbone" not in stated or "convention" not in stated:
        raise RadstartError(
            "this run trained no backbone (it is a frozen run)",
            str(path),
            remedy="use the arm it started from",
        )
    backbone, receipt = stated["backbone"], stated.get("receipt", {})
    lists = [stated.get("saw", []), stated.get("classes", [])]
    tables = all(isinstance(one, dict) for one in (backbone, stated["convention"], receipt))
    if not (tables and all(isinstance(one, list) for one in lists)):
        raise RadstartError("a key is wrong", str(note), remedy="use another run")
    saw, classes = (tuple(map(str, one)) for one in lists)
    return Source(
        tensors, file_sha256(tensors),
        stated_backbone(backbone.get("name"), backbone.get("switches", {}), str(note)),
        stated_convention(stated["convention"], 0, str(note)), "timm",
        licence=str(receipt.get("licence", "")), saw=saw, classes=classes,
    )  # fmt: skip


def is_timm_layout(path: Path) -> bool:
    """Return whether a config.json is timm's: many kinds of repositories have one."""
    config = read_json(path)
    return isinstance(config, dict) and {"architecture", "pretrained_cfg"} <= set(config)


def timm_layout(path: Path, tensors: Path, source: str, sha256: str = "") -> Source:
    """Read timm's config.json beside a file of timm's names.

    Args:
        path: of config.json.
        tensors: the file.
        source: where the convention is from, in words.
        sha256: of the file; "" = to be computed.

    Raises:
        RadstartError: another layout.
    """
    config = read_json(path)
    stated = config.get("pretrained_cfg") if isinstance(config, dict) else None
    if not isinstance(stated, dict) or "architecture" not in config:
        raise RadstartError(
            "not timm's local layout", str(path), "no architecture with its pretrained_cfg",
            "name the file beside it, with --backbone",
        )  # fmt: skip
    backbone = stated_backbone(config["architecture"], config.get("model_args") or {}, str(path))
    size = stated.get("input_size")
    if not isinstance(size, list) or not size:
        raise RadstartError("not a convention", str(path), f"input_size {size!r}", "mend it")
    fed = {"size": size[-1], "mean": stated.get("mean"), "std": stated.get("std")}
    return Source(
        tensors, sha256 or file_sha256(tensors), backbone,
        stated_convention(fed | {"source": source}, 0, str(path)), "timm",
        licence=str(stated.get("license") or ""),
    )  # fmt: skip


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
        convention=stated_convention(entry.convention, entry.size, f"catalog, {entry.name}"),
        origin=entry.origin,
        entry=entry.name,
        licence=entry.licence,
        saw=entry.saw,
    )


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
