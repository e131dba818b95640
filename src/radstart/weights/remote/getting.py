"""`radstart weights get`: weights fetched or taken in, and what a person wants to know then."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from radstart.core.errors import RadstartError
from radstart.core.progress import Progress
from radstart.weights.catalog import TERMS, Entry, after_steps, find, numbered
from radstart.weights.listing import compare_lines, labelled
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
    above = (("file", entry.file), ("address", entry.url), ("licence", entry.licence))
    known = [line for label, text in above for line in labelled(label, [text])]
    known += labelled("terms", [_terms(entry)])
    told = [*labelled("why", [entry.why]), *labelled("steps", steps)]
    return [entry.name, *known, *told, *(["", last] if last else [])]


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
    return [entry.name, *_lies(got), *_may(entry), *_next(entry.name, True)]


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
    licence = labelled("licence", [source.licence or "not stated: see the repository's page"])
    commit = labelled("commit", [got.commit])
    known = source.backbone is not None
    return [name, *_lies(got), *commit, *(_may(entry) if entry else licence), *_next(name, known)]


def _lies(got: Got) -> list[str]:
    return [*labelled("file", [str(got.path)]), *labelled("sha256", [got.sha256])]


def _may(entry: Entry) -> list[str]:
    return [*labelled("licence", [entry.licence]), *labelled("terms", [_terms(entry)])]


def _terms(entry: Entry) -> str:
    return f"{entry.terms}: {TERMS[entry.terms]}" if entry.terms else ""


def _next(start: str, backbone_known: bool) -> list[str]:
    lines = compare_lines(start)
    return ["", *lines[:-1], lines[-1] + ("" if backbone_known else " --backbone NAME")]


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
