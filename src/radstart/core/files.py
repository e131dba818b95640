"""Files that are whole or absent: a temporary name beside the target, fsync, rename."""

import errno
import json
import os
import re
import shutil
import stat
import time
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import tomli_w

from radstart.core.errors import RadstartError
from radstart.core.hashing import digest
from radstart.core.processes import is_alive, machine

ABANDONED = 3600.0  # seconds


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it replaces `path` when the block ends well.

    The folder is made where it is absent. On any error the temporary file is removed and `path`
    is as it was.

    Raises:
        RadstartError: the folder cannot be written or the disk is full.
    """
    temporary = path.with_name(temporary_name(path.name))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)  # POSIX keeps the name in the folder
    except OSError as error:
        raise RadstartError(
            "cannot write", str(path), os_reason(error), "free space or choose another place"
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def temporary_name(name: str) -> str:
    """Return the hidden name under which this process writes what will be `name`."""
    return f".{name}.{_here()}-{os.getpid()}.tmp"


def _here() -> str:
    """Return a short name of what shares our process numbers (containers share host names)."""
    return digest(machine(), 8)


def remove_leftovers(folder: Path, name: str = "*") -> None:
    """Remove what writers of `name` that were killed left half-written in a folder.

    Those of this machine are known by their process numbers; another machine's count as dead an
    hour after their last change.
    """
    for path in folder.glob(f".{name}.*.tmp"):
        host, _, pid = path.name.removesuffix(".tmp").rpartition("-")
        if not pid.isdecimal():
            continue
        try:
            old = time.time() - path.stat().st_mtime > ABANDONED
        except FileNotFoundError:
            continue
        dead = not is_alive(int(pid)) if host.endswith(f".{_here()}") else old
        if dead and path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif dead:
            path.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Make a file, or the names in a folder, durable; some disks cannot do so for folders."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if path.is_file() or error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def ask_anew(folder: Path) -> None:
    """Let a network disk look again: its clients trust "no such file" for up to half a minute.

    Opening the folder is what makes them ask the server (close-to-open consistency of NFS).
    """
    with suppress(OSError):
        os.scandir(folder).close()


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write strict JSON (NaN and infinity are a bug here: what is undefined is null)."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file; absent or broken files are the user's error, one line."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _unreadable(path, error) from error


def write_toml(path: Path, value: Mapping[str, Any]) -> None:
    """Write TOML; keys whose value is None are left out (TOML has no null)."""
    write_text(path, tomli_w.dumps(without_none(value)))


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        RadstartError: absent, unreadable or not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _unreadable(path, error) from error


def status(path: Path) -> os.stat_result | None:
    """Return what the system says of a path, None where nothing is there.

    Raises:
        RadstartError: it does not say (a locked folder, a name that is too long).
    """
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        reason = os_reason(error) if isinstance(error, OSError) else str(error)
        raise RadstartError("cannot read", str(path), reason, "check the path") from error


def is_file(path: Path) -> bool:
    """Return whether a path is a file that can hold something, and no folder, device or pipe.

    Raises:
        RadstartError: the system does not say.
    """
    found = status(path)
    return found is not None and stat.S_ISREG(found.st_mode)


def without_none(value: Any) -> Any:
    """Return `value` with keys of mappings that hold None left out, at every depth."""
    if isinstance(value, Mapping):
        return {key: without_none(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [without_none(item) for item in value]
    return value


def os_reason(error: OSError) -> str:
    """Return the system's words for an error, also where a library has wrapped its number."""
    wrapped = re.search(r"\[errno ([0-9]+)\]", str(error), re.IGNORECASE)
    number = int(wrapped[1]) if wrapped else error.errno
    return os.strerror(number) if number else error.strerror or str(error)


def _unreadable(path: Path, error: Exception) -> RadstartError:
    if isinstance(error, OSError):
        return RadstartError("cannot read", str(path), os_reason(error), "check the path")
    got = "too many brackets" if isinstance(error, RecursionError) else str(error)
    return RadstartError("cannot read", str(path), got, "mend it")
