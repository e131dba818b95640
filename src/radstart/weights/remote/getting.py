"""`radstart weights get`: weights fetched or taken in, and what a person wants to know then."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from radstart.core.errors import RadstartError
from radstart.core.progress import Progress
from radstart.weights.catalog import Entry, after_steps, find, numbered
from radstart.weights.listing import compare_lines, labelled, terms_words
from radstart.weights.remote.download import Access
from radstart.weights.remote.store import Got, folder_of, get, get_hub, held, hub_place, of_catalog

MIB = 1 << 20
HUB = "hub:"


@contextmanager
def fetching(progress: Progress, name: str) -> Iterator[Callable[[int, int | None], None]]:
    """Show a download while the block runs: yield what is told the bytes here and of the whole."""
    with progress.task(f"fetching {name}", 0.0) as task:

        def told(done: int, total: int | None) -> None:
            task.text = f"{done / MIB:,.1f}" + (f" of {total / MIB:,.1f} MiB" if total else " MiB")
            task.at(done, total or 0.0)

        yield told


def steps_lines(name: str, backbone: str = "") -> list[str]:
    """Return what a person does first to get some weights, step by step; [] where nothing is.

    Raises:
        RadstartError: as `find` does.
    """
    entry = None if name.startswith(HUB) else find(name, backbone)
    if entry is None or entry.loadable != "steps" or held(folder_of(entry)) is not None:
        return []
    *steps, last = numbered(entry) if entry.ends == "file" else [*numbered(entry), ""]
    known = _rows(
        ("file", entry.file), ("address", entry.url), ("licence", entry.licence),
        ("terms", terms_words(entry)), ("why", entry.why),
    )  # fmt: skip
    return [entry.name, *known, *labelled("steps", steps), *(["", last] if last else [])]


def _rows(*pairs: tuple[str, str]) -> list[str]:
    return [line for label, text in pairs for line in labelled(label, [text])]


def get_lines(
    name: str,
    *,
    backbone: str = "",
    given: Path | None = None,
    accept: bool = False,
    token_env: str = "",
    offline: bool = False,
    progress: Progress | None = None,
) -> list[str]:
    """Fetch weights, or take in a file; return where they lie, what they are and what comes next.

    Args:
        name, backbone: as `find` has them; or hub:OWNER/NAME, perhaps with /FILE and @REVISION.
        given: the file, or the archive that holds it, as a person got it by hand. It is taken in
            only where it loads whole.
        accept: the terms of these weights are accepted.
        token_env: environment variable with a token for the file's host, "" = none.
        offline: open no connection.
        progress: where progress goes; None = silent.

    Raises:
        RadstartError: not to be had, and why; terms that nobody accepted; not what was promised.
    """
    access, progress = Access(_token(token_env), offline, accept), progress or Progress()
    if name.startswith(HUB):
        return _of_hub(name, given, access, progress)
    entry = find(name, backbone)
    if given is None and steps_lines(name, backbone):
        raise RadstartError("has to be got by hand", entry.name, remedy=after_steps(entry))
    with fetching(progress, entry.name) as told:
        told_too = replace(access, progress=told)
        got = get(entry, told_too, given=given, check=lambda path: _loads(entry, path))
    return _lies(entry.name, got, entry.licence, terms_words(entry))


def _of_hub(name: str, given: Path | None, access: Access, progress: Progress) -> list[str]:
    from radstart.weights.source import source_of_hub

    place = name.removeprefix(HUB)
    if given is not None:
        raise RadstartError(
            "a file is an arm as it is", "--from", str(given), f"--arms NAME=file:{given}"
        )
    with fetching(progress, name) as told:
        got = get_hub(place, replace(access, progress=told), anew=not access.offline)
    source, entry = source_of_hub(place, got), of_catalog(*hub_place(place)[:2])
    licence = entry.licence if entry else source.licence
    terms = terms_words(entry) if entry else ""
    behind = "" if source.backbone else " --backbone NAME"
    return _lies(name, got, licence or "not stated: see the repository's page", terms, behind)


def _lies(name: str, got: Got, licence: str, terms: str, behind: str = "") -> list[str]:
    """Return where weights lie, what may be done with them and what comes next."""
    *lines, last = compare_lines(name)
    known = _rows(
        ("file", str(got.path)), ("sha256", got.sha256),
        ("commit", got.commit if name.startswith(HUB) else ""), ("licence", licence),
        ("terms", terms),
    )  # fmt: skip
    return [name, *known, "", *lines, last + behind]


def _loads(entry: Entry, path: Path) -> None:
    """Raise RadstartError where a file is not an entry's: it does not load whole as that."""
    from radstart.weights.open import load_weights

    load_weights(entry.name, file=path)


def _token(variable: str) -> str:
    if not variable:
        return ""
    token = os.environ.get(variable, "")
    if not token:
        raise RadstartError(
            "no such environment variable, or it is empty", "--token-env", variable,
            f"set it: export {variable}=...",
        )  # fmt: skip
    return token
