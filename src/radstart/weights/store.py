"""Weights of the catalog on this machine: fetched once, by whatever way their publisher offers."""

import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from radstart.core.errors import RadstartError
from radstart.core.files import read_toml, sync, whole_file, write_toml
from radstart.core.hashing import file_sha256
from radstart.weights.archives import unpack
from radstart.weights.catalog import TERMS, Entry
from radstart.weights.download import cache_folder, fetch_url, no_progress
from radstart.weights.hub import fetch_hub

SCHEMA = 1


def folder_of(entry: Entry) -> Path:
    """Return where an entry's file and what is known of it lie."""
    return cache_folder() / "weights" / entry.family / entry.name.partition("/")[2]


def held(entry: Entry) -> Path | None:
    """Return an entry's file, None where it was not fetched yet.

    Raises:
        RadstartError: it is there, and is not the file that was fetched.
    """
    note = folder_of(entry) / "source.toml"
    if not note.is_file():
        return None
    stated = read_toml(note)
    path = Path(stated["path"])
    if not path.is_file():
        return None
    if path.stat().st_size != stated["bytes"]:
        raise RadstartError(
            "is not the file that was fetched", str(path), f"{path.stat().st_size} bytes",
            f"delete {note.parent} and fetch it again",
        )  # fmt: skip
    return path


def get(
    entry: Entry,
    *,
    given: Path | None = None,
    accept: bool = False,
    offline: bool = False,
    token: str = "",
    progress: Callable[[int, int | None], None] = no_progress,
) -> Path:
    """Return an entry's file: what is held, else fetched, or taken from where a person put it.

    Args:
        entry: of the catalog.
        given: the file, or the archive that holds it, as it was got by hand; None = fetch it.
        accept: the entry's terms are accepted, here and from now on, for its whole family.
        offline: open no connection.
        token: for the file's host.
        progress: called with the bytes that are here and those of the whole file, None = unknown.

    Raises:
        RadstartError: not to be had, and why; terms that nobody accepted; not what was promised.
    """
    if entry.loadable == "no":
        raise RadstartError("cannot be loaded", entry.name, remedy=entry.why)
    _agree(entry, accept)
    found = held(entry)
    if found is not None and given is None:
        return found
    folder = folder_of(entry)
    commit = ""
    if given is not None:
        path = _taken(entry, given, folder)
    elif entry.hub:
        path, commit = fetch_hub(
            entry.hub, entry.file, revision=entry.revision or "main", sha256=entry.sha256,
            token=token, offline=offline, progress=progress,
        )  # fmt: skip
    elif entry.url:
        fetched = fetch_url(
            entry.url, folder, name=entry.file if not entry.member else "",
            sha256=entry.sha256, token=token, offline=offline, progress=progress,
        )  # fmt: skip
        path = unpack(fetched, folder, member=entry.member)
    else:
        steps = "; ".join(f"({i}) {step}" for i, step in enumerate(entry.steps, 1))
        raise RadstartError("has to be got by hand", entry.name, remedy=steps)
    _note(entry, folder, path, commit)
    return path


def _agree(entry: Entry, accept: bool) -> None:
    """Refuse terms that nobody accepted; write down that somebody does."""
    if not entry.terms:
        return
    path = cache_folder() / "accepted.toml"
    accepted: dict[str, Any] = read_toml(path) if path.is_file() else {}
    key = f"{entry.family}: {entry.licence}"
    if key in accepted:
        return
    if not accept:
        raise RadstartError(
            f"{TERMS[entry.terms]} (licence: {entry.licence})", entry.name,
            remedy=f"accept that once: radstart weights get {entry.name} --accept",
        )  # fmt: skip
    write_toml(path, {**accepted, key: datetime.now(UTC).strftime("%Y-%m-%d")})


def _taken(entry: Entry, given: Path, folder: Path) -> Path:
    """Copy a file that a person got by hand, out of its archive where it is in one."""
    if not os.path.isfile(given):
        raise RadstartError("no such file", str(given), remedy="correct --from")
    found = unpack(given, folder, member=entry.member)
    if not entry.member and entry.sha256:
        _same_hash(entry, found)
    path = folder / found.name
    if found != path:
        with whole_file(path) as temporary:
            shutil.copyfile(found, temporary)
            sync(temporary)
    return path


def _same_hash(entry: Entry, path: Path) -> None:
    known = file_sha256(path)
    if not known.startswith(entry.sha256):
        raise RadstartError(
            f"is not the file of {entry.name}: its sha256 begins with {entry.sha256}",
            str(path), known[:16], "fetch it again",
        )  # fmt: skip


def _note(entry: Entry, folder: Path, path: Path, commit: str) -> None:
    """Write down what was fetched, from where: from here on it is held."""
    write_toml(
        folder / "source.toml",
        {
            "schema": SCHEMA,
            "entry": entry.name,
            "from": entry.hub or entry.url or "by hand",
            "commit": commit,
            "path": str(path.resolve()),
            "bytes": path.stat().st_size,
            "sha256": file_sha256(path),
            "licence": entry.licence,
            "got": datetime.now(UTC).strftime("%Y-%m-%d"),
        },
    )
