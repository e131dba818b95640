"""Every file of the sources, in a fixed order, with what must not be followed left out."""

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from radstart.core.errors import RadstartError
from radstart.core.files import os_reason


@dataclass(frozen=True, slots=True)
class Item:
    """A file of a source.

    Attributes:
        source: number of the source, from 0.
        path: inside the source, with /; bytes that are no UTF-8 as surrogates.
        size: bytes.
        when: its time of modification, nanoseconds.
        reason, remedy: why it is not read; "" = it is.
    """

    source: int
    path: str
    size: int
    when: int
    reason: str = ""
    remedy: str = ""


def walk(sources: Sequence[Path], out: Path) -> list[Item]:
    """List the files below the sources, by source and path.

    Hidden files and folders are passed over, as is the dataset folder itself; links to folders are
    not entered, links to files outside of their source not read.

    Raises:
        RadstartError: a source is absent or cannot be listed.
    """
    found: list[Item] = []
    skipped = os.path.realpath(out)
    for number, source in enumerate(sources):
        if source.is_file():
            found.append(_item(number, str(source.parent), source.name))
            continue
        if not source.is_dir():
            raise RadstartError(
                "is no file or folder", str(source),
                "no such path" if not source.exists() else "something else", "correct the path",
            )  # fmt: skip
        below = sorted(_below(number, os.path.realpath(source), skipped), key=_order)
        found += below or [Item(number, ".", 0, 0, "no file lies in it", "check the path")]
    return found


def _order(item: Item) -> tuple[str, ...]:
    return tuple(item.path.split("/"))


def _below(number: int, root: str, skipped: str) -> list[Item]:
    found: list[Item] = []

    def failed(error: OSError) -> None:
        inside = os.path.relpath(error.filename or root, root)
        if inside == ".":
            raise RadstartError(
                "cannot be listed", root, os_reason(error), "check its permissions"
            ) from error
        why = f"cannot be listed: {os_reason(error)}"
        found.append(Item(number, inside, 0, 0, why, "check its permissions"))

    for folder, below, files in os.walk(root, onerror=failed):
        kept = []
        for name in below:
            path = os.path.join(folder, name)
            if os.path.islink(path):
                inside = os.path.relpath(path, root)
                found.append(
                    Item(number, inside, 0, 0, "a linked folder is not entered", "name it, too")
                )
            elif not name.startswith(".") and os.path.realpath(path) != skipped:
                kept.append(name)
        below[:] = kept
        prefix = os.path.relpath(folder, root)
        found += [
            _item(number, root, os.path.normpath(os.path.join(prefix, name)))
            for name in files
            if not name.startswith(".")
        ]
    return found


def _item(number: int, root: str, path: str) -> Item:
    whole = os.path.join(root, path)
    try:
        if os.path.islink(whole):
            real = os.path.realpath(whole)
            if not Path(real).is_relative_to(root):
                return Item(number, path, 0, 0, "a link out of its source", "name its target, too")
        status = os.stat(whole)
    except OSError as error:
        why = "a link that leads nowhere" if os.path.islink(whole) else os_reason(error)
        return Item(number, path, 0, 0, f"cannot be read: {why}", "make it readable")
    if not stat.S_ISREG(status.st_mode):
        return Item(number, path, 0, 0, "not a plain file", "take it out")
    if status.st_size == 0:
        return Item(
            number, path, 0, status.st_mtime_ns, "an empty file (0 bytes)", "fetch it again"
        )
    return Item(number, path, status.st_size, status.st_mtime_ns)
