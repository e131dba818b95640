"""Weights on this machine: fetched once, by whatever way their publisher offers.

`CACHE/FAMILY/NAME/source.toml` says of an entry of the catalog what was fetched and where it lies,
`CACHE/hub/OWNER/NAME/.../source.toml` of any other repository. What is held is used from then on:
a branch that moves changes no study. `radstart weights get` asks anew.
"""

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from radstart.core.errors import RadstartError
from radstart.core.files import read_toml, remove_leftovers, temporary_name, whole_file, write_toml
from radstart.core.hashing import file_sha256
from radstart.weights.catalog import TERMS, Entry, after_steps, command, entries
from radstart.weights.reading.sniff import kind_of
from radstart.weights.remote.archives import ARCHIVES, unpack
from radstart.weights.remote.download import USUAL, Access, cache_folder, fetch_url, no_progress
from radstart.weights.remote.hub import CONFIG, best_files, fetch_hub, hub_names

SCHEMA = 1


@dataclass(frozen=True)
class Got:
    """A weights file that is here.

    Attributes:
        path: the file; never an archive.
        sha256: its hash.
        commit: of the hub's repository, "" = from elsewhere.
        config: the config.json beside it in its repository; None = there is none.
    """

    path: Path
    sha256: str
    commit: str = ""
    config: Path | None = None


def folder_of(entry: Entry) -> Path:
    """Return where an entry's file and what is known of it lie."""
    return cache_folder() / entry.family / entry.name.partition("/")[2]


def held(folder: Path) -> Got | None:
    """Return the file that a folder's source.toml tells of; None where nothing was fetched yet.

    Raises:
        RadstartError: it is there, and is not the file that was fetched.
    """
    note = folder / "source.toml"
    if not note.is_file():
        return None
    stated = read_toml(note)
    path, config = Path(str(stated.get("path", ""))), stated.get("config", "")
    if not path.is_file() or (config and not os.path.isfile(config)):
        return None
    found = file_sha256(path)
    if found != stated.get("sha256"):
        raise RadstartError(
            "is not the file that was fetched", str(path), f"sha256 {found[:16]}",
            f"delete {folder} and fetch it again",
        )  # fmt: skip
    return Got(path, found, str(stated.get("commit", "")), Path(config) if config else None)


def get(
    entry: Entry,
    access: Access = USUAL,
    *,
    given: Path | None = None,
    check: Callable[[Path], object] | None = None,
) -> Got:
    """Return an entry's file: what is held, else fetched, or taken from where a person put it.

    Args:
        entry: of the catalog.
        access: how it may be fetched; terms are accepted from now on, for the whole family.
        given: the file, or the archive that holds it, as it was got by hand; None = fetch it.
        check: raises RadstartError where a file that was given is not this entry's.

    Raises:
        RadstartError: not to be had, and why; terms that nobody accepted; not what was promised.
    """
    if entry.loadable == "no":
        raise RadstartError("cannot be loaded", entry.name, remedy=entry.why)
    if given is not None and (not entry.backbone or given.is_dir()):
        raise RadstartError(
            "is an arm as it is", str(given), "", f"name it as an arm: NAME=file:{given}"
        )
    folder = folder_of(entry)
    found = held(folder) if given is None else None
    if entry.loadable == "steps" and given is None and found is None:
        file = entry.url or entry.file or "its file"
        steps = " ".join(f"({k}) {step}" for k, step in enumerate(entry.steps, 1))
        raise RadstartError(
            f"{file} has to be got by hand. {entry.why} {steps}".rstrip("."), entry.name,
            remedy=after_steps(entry),
        )  # fmt: skip
    _agree(entry, access)
    if found is not None:
        return found
    came, commit = entry.hub or entry.url, ""
    if given is not None:
        came, path = str(given), _taken(entry, given, folder, check)
    elif entry.hub:
        revision = entry.revision or "main"
        path, commit = fetch_hub(
            entry.hub, entry.file, access, revision=revision, sha256=entry.sha256
        )
    else:
        name = entry.file if not entry.member else ""
        fetched = fetch_url(entry.url, folder, access, name=name, sha256=entry.sha256)
        path = unpack(fetched, folder, member=entry.member)
    return _noted(folder, entry.name, came, path, commit, None, entry.licence)


def get_hub(place: str, access: Access = USUAL, *, anew: bool = False) -> Got:
    """Return weights of any repository of the hub: what is held, else fetched.

    Args:
        place: OWNER/NAME or OWNER/NAME/FILE, perhaps with @REVISION behind it.
        access: how they may be fetched.
        anew: ask the hub what it has now, also where the weights are held.

    Raises:
        RadstartError: not to be had, and why; terms of the catalog that nobody accepted.
    """
    repo, file, revision = hub_place(place)
    entry = of_catalog(repo, file)
    if entry is not None:
        _agree(entry, access)
    folder = cache_folder() / "hub" / Path(*repo.split("/")) / _plain(f"{revision} {file}")
    if not anew and (found := held(folder)) is not None:
        return found
    file = file or best_files(hub_names(repo, access, revision=revision), repo)[0]
    path, commit = fetch_hub(repo, file, access, revision=revision)
    config, quiet = None, replace(access, progress=no_progress)
    if CONFIG in hub_names(repo, access, revision=commit):
        config, _ = fetch_hub(repo, CONFIG, quiet, revision=commit)
    licence = entry.licence if entry else ""
    return _noted(folder, f"hub:{place}", f"{repo}/{file}", path, commit, config, licence)


def hub_place(place: str) -> tuple[str, str, str]:
    """Read OWNER/NAME or OWNER/NAME/FILE, perhaps with @REVISION: repository, file, revision.

    Raises:
        RadstartError: something else.
    """
    where, _, revision = place.partition("@")
    parts = where.split("/")
    if len(parts) < 2 or not all(parts):
        raise RadstartError("not OWNER/NAME", "hub", place or "nothing", "write hub:OWNER/NAME")
    return "/".join(parts[:2]), "/".join(parts[2:]), revision or "main"


def of_catalog(repo: str, file: str) -> Entry | None:
    """Return the catalog's entry for a file of a repository ("" = its best one), if any."""
    same = [entry for entry in entries() if entry.hub == repo]
    if file:
        return next((entry for entry in same if entry.file == file), None)
    return same[0] if len(same) == 1 else None


def _plain(text: str) -> str:
    """Return a text as the name of a folder."""
    return re.sub(r"[^\w.\-]+", "_", text.strip())


def _agree(entry: Entry, access: Access) -> None:
    """Refuse terms that nobody accepted; write down that somebody does."""
    if not entry.terms:
        return
    path = cache_folder() / "accepted.toml"
    accepted: dict[str, Any] = read_toml(path) if path.is_file() else {}
    key = f"{entry.family}: {entry.licence}"
    if key in accepted:
        return
    if not access.accept:
        raise RadstartError(
            f"{TERMS[entry.terms]} (licence: {entry.licence})", entry.name,
            remedy=f"accept that once: {command(entry)}",
        )  # fmt: skip
    write_toml(path, {**accepted, key: datetime.now(UTC).strftime("%Y-%m-%d")})


def _taken(entry: Entry, given: Path, folder: Path, check: Callable[[Path], object] | None) -> Path:
    """Copy a file that a person got by hand, out of its archive where it is in one."""
    if not given.is_file():
        raise RadstartError("no such file", str(given), remedy="correct --from")
    packed = kind_of(given) in ARCHIVES
    known = file_sha256(given)
    published_packed = entry.member or entry.url.endswith((".gz", ".tar", ".tgz", ".zip"))
    if not known.startswith(entry.sha256) and (packed or not published_packed):
        raise RadstartError(
            f"is not the file of {entry.name}: its sha256 begins with {entry.sha256}",
            str(given), known[:16], "fetch it again",
        )  # fmt: skip
    remove_leftovers(folder.parent, folder.name)
    aside = folder.with_name(temporary_name(folder.name))  # what is held stays until all is well
    try:
        found = unpack(given, aside, member=entry.member) if packed else given
        if check is not None:
            check(found)
        path = folder / found.name
        if not path.exists() or not os.path.samefile(found, path):
            with whole_file(path) as temporary:
                (shutil.move if packed else shutil.copyfile)(found, temporary)
        return path
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _noted(
    folder: Path, name: str, came: str, path: Path, commit: str, config: Path | None, licence: str
) -> Got:
    """Write down what was fetched, from where: from here on it is held."""
    got = Got(path.absolute(), file_sha256(path), commit, config.absolute() if config else None)
    write_toml(
        folder / "source.toml",
        {
            "schema": SCHEMA,
            "name": name,
            "from": came,
            "commit": commit,
            "path": str(got.path),
            "config": str(got.config or ""),
            "sha256": got.sha256,
            "licence": licence,
            "got": datetime.now(UTC).strftime("%Y-%m-%d"),
        },
    )
    return got
