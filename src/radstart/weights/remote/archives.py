"""One weights file out of a zip, tar, tar.gz or gz file, safely."""

import gzip
import io
import lzma
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any

from radstart.core.errors import RadstartError, short
from radstart.core.files import os_reason, temporary_name, whole_file
from radstart.weights.reading.sniff import HEAD, kind_of, kind_of_bytes
from radstart.weights.remote.download import MOST_BYTES, ROOM, too_large

MOST_MEMBERS = 10_000
MOST_RATIO = 200  # bytes that one packed byte may become, where more than SMALL come out
SMALL = 64 << 20
CHUNK = 1 << 20
ARCHIVES = ("zip", "tar", "gzip")
WEIGHTS = {"safetensors", "hdf5", "torch legacy", "pickle"}
ZIPPED = {".pt", ".pth", ".bin", ".ckpt", ".th", ".npz", ".keras"}  # weights that are zips


@dataclass(frozen=True)
class _Member:
    """A regular file in an archive, of `size` bytes unpacked and `packed` as it lies there."""

    name: str
    size: int
    packed: int
    open: Callable[[], IO[bytes]]


def unpack(
    path: Path,
    folder: Path,
    *,
    member: str = "",
    max_bytes: int = MOST_BYTES,
    max_members: int = MOST_MEMBERS,
) -> Path:
    """Return the one weights file of an archive, unpacked into `folder` under its last name.

    Formats are told by content. What is no archive, torch's own zip among them, is returned as it
    is. An archive that holds a link, a device or a name that leads out of it is refused whole.

    Args:
        path: the archive.
        folder: where the file goes; made where it is absent.
        member: its name in the archive, with or without folders; "" = the only weights file.
        max_bytes: unpacked bytes of the whole archive.
        max_members: entries of the archive.

    Raises:
        RadstartError: damaged, unsafe, too large, or no single weights file in it.
    """
    kind = kind_of(path)
    if kind not in ARCHIVES:
        if member:
            raise RadstartError("not an archive", str(path), kind, f"leave out {member!r}")
        return path
    with ExitStack() as stack:
        if kind == "gzip":
            plain = stack.enter_context(_unzipped(path, folder, max_bytes))
            if kind_of(plain) != "tar":
                target = _target(path, folder, path.stem)
                with whole_file(target) as temporary:
                    plain.replace(temporary)
                return target
        else:
            plain = path
        with _damage(path):
            if kind == "zip":
                found = _zip_members(stack.enter_context(zipfile.ZipFile(plain)), path)
            else:
                file = stack.enter_context(_Headers(plain))
                found = _tar_members(
                    stack.enter_context(tarfile.open(fileobj=file, mode="r:")), path
                )
            members = _limited(found, path, max_bytes, max_members)
        chosen = _chosen(members, member, path)
        target = _target(path, folder, chosen.name)
        with whole_file(target) as temporary, temporary.open("wb") as out:
            _copy(chosen.open, out, chosen.size, path)
    return target


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Turn what the readers of archives raise into one line."""
    try:
        yield
    except (
        zipfile.BadZipFile,
        tarfile.TarError,
        zlib.error,
        lzma.LZMAError,
        EOFError,
        OSError,
        NotImplementedError,
        ValueError,
    ) as error:
        raise RadstartError(
            "damaged archive", str(path), str(error) or type(error).__name__, "fetch it again"
        ) from error


def _copy(
    packed: Callable[[], IO[bytes] | gzip.GzipFile], out: IO[bytes], most: int, path: Path
) -> None:
    """Copy a stream, at most `most` bytes of it."""
    done = 0
    with _damage(path):
        source = packed()
    with source:
        while True:
            with _damage(path):
                chunk = source.read(CHUNK)
            done += len(chunk)
            if done > most:
                raise too_large(str(path), done, most)
            if not chunk:
                return
            out.write(chunk)


@contextmanager
def _unzipped(path: Path, folder: Path, max_bytes: int) -> Iterator[Path]:
    """Yield what a gzip file holds, as a temporary file in `folder`."""
    most = min(max_bytes, max(SMALL, MOST_RATIO * path.stat().st_size))
    temporary = folder / temporary_name(f"{path.name}.unzipped")
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as out:
                _copy(lambda: gzip.GzipFile(path), out, most, path)
        except OSError as error:
            raise RadstartError("cannot write", str(folder), os_reason(error), ROOM) from error
        yield temporary
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


class _Headers(io.FileIO):
    """A file of which nobody reads more at once than a member's header may need."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= 4 * CHUNK:
            raise tarfile.ReadError("a header of unreasonable size")
        return super().read(size)


def _zip_members(archive: zipfile.ZipFile, path: Path) -> Iterator[_Member | None]:
    """Yield the regular files of a zip, None for a folder."""
    for entry in archive.infolist():
        form = stat.S_IFMT(entry.external_attr >> 16)
        if form not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _unsafe(path, entry.filename, "a link or a device")
        if entry.flag_bits & 1:
            raise RadstartError(
                "this archive is encrypted", str(path), entry.filename, "unpack it yourself"
            )
        _check_name(path, entry.orig_filename)
        if entry.is_dir():
            yield None
        else:
            opened = partial(archive.open, entry)
            yield _Member(entry.filename, entry.file_size, entry.compress_size, opened)


def _tar_members(archive: tarfile.TarFile, path: Path) -> Iterator[_Member | None]:
    """Yield the regular files of a tar, None for a folder."""
    for entry in archive:
        _check_name(path, entry.name)
        if entry.isdir():
            yield None
        elif not entry.isreg() or entry.issparse():
            raise _unsafe(path, entry.name, "a link, a device or a sparse file")
        else:
            opened: Any = partial(archive.extractfile, entry)
            yield _Member(entry.name, entry.size, entry.size, opened)


def _check_name(path: Path, name: str) -> None:
    parts = PurePosixPath(name).parts
    if (
        not name.isprintable()
        or name.startswith("/")
        or "\\" in name
        or re.match("[A-Za-z]:", name)
        or ".." in parts
    ):
        raise _unsafe(path, name, "a name that may lead out of it")


def _unsafe(path: Path, name: str, what: str) -> RadstartError:
    return RadstartError(
        f"this archive holds {what}",
        str(path),
        short(name, 200),
        "where you trust it, unpack it yourself and name the file",
    )


def _limited(
    found: Iterator[_Member | None], path: Path, max_bytes: int, max_members: int
) -> list[_Member]:
    """Return the members of an archive that keeps to the limits."""
    members, total = [], 0
    for count, entry in enumerate(found, 1):
        if count > max_members:
            raise RadstartError(
                f"more than {max_members} entries in this archive", str(path), remedy="unpack it"
            )
        if entry is None:
            continue
        total += entry.size
        if total > max_bytes:
            raise too_large(str(path), total, max_bytes)
        if entry.size > max(SMALL, MOST_RATIO * entry.packed):
            raise _unsafe(path, entry.name, f"a file packed to less than 1/{MOST_RATIO}")
        members.append(entry)
    return members


def _chosen(members: list[_Member], wanted: str, path: Path) -> _Member:
    """Return the one member that is meant."""
    exact = [entry for entry in members if entry.name.removeprefix("./") == wanted]
    if wanted:
        fits = exact or [entry for entry in members if PurePosixPath(entry.name).name == wanted]
        what = f"{len(fits) or 'no'} files called {wanted!r} in this archive"
    else:
        fits = [entry for entry in members if _is_weights(entry, path)]
        what = f"{len(fits) or 'no'} weights files in this archive"
    if len(fits) == 1:
        return fits[0]
    names = [entry.name for entry in fits or members]
    raise RadstartError(
        what,
        str(path),
        short(", ".join(names[:20]) + (", ..." if len(names) > 20 else ""), 600),
        "name one of them" if fits else "",
    )


def _is_weights(member: _Member, path: Path) -> bool:
    """Return whether a member begins as weights do."""
    with _damage(path), member.open() as file:
        kind = kind_of_bytes(file.read(HEAD))
    return kind in WEIGHTS or (
        kind == "zip" and PurePosixPath(member.name).suffix.lower() in ZIPPED
    )


def _target(path: Path, folder: Path, name: str) -> Path:
    """Return where a member goes, never over the archive itself."""
    last = re.sub(r"[^\w.+@=-]|^\.", "_", PurePosixPath(name).name)[-150:]
    target = folder / last
    if target.exists() and target.samefile(path):
        return folder / f"unpacked-{last}"
    return target
