"""Claims: which process does what, in a folder that several processes and machines share.

A claim is a file `NAME.GENERATION` that only one process can make (a hard link, which fails where
the name is taken, also on network file systems). A thread touches it every few seconds. The holder
with the highest generation owns the name. A claim of a dead process on this machine, or one that
nobody touched for LEASE seconds, is taken over by making the next generation: of several that try,
one succeeds, and no claim is deleted to get at it.
"""

import errno
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from radstart.core.errors import RadstartError
from radstart.core.files import os_reason, temporary_name
from radstart.core.processes import is_alive, machine, process_start

LEASE = 60.0  # seconds without a sign of life, by the watcher's own clock
BEAT = 10.0  # seconds between two signs of life
NO_LINKS = {errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


@dataclass(frozen=True)
class Claim:
    """A claim as it lies there.

    Attributes:
        name: what is claimed.
        said: what the holder says of itself: machine, host, pid, start, since.
        beat: its last sign of life, seconds since the epoch by the folder's clock.
        ended: whether its process is known to be dead (one of this machine).
    """

    name: str
    said: dict[str, Any]
    beat: float
    ended: bool


@dataclass
class Claims:
    """The claims of one folder, as this process sees them. Threads must not share it.

    Attributes:
        folder: where the claim files lie; made when the first claim is.
        held: this process's claims, by name.
    """

    folder: Path
    held: dict[str, Path] = field(default_factory=dict)
    _seen: dict[Path, tuple[int, float]] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def take(self, name: str) -> dict[str, Any] | None:
        """Claim `name`; None = a living process holds it.

        Returns: what the dead holder said of itself whose claim was taken over; {} without one.

        Raises:
            RadstartError: the folder cannot be written.
        """
        holder = self._newest(name)
        generation, former = 1, {}
        if holder is not None:
            if not self._is_dead(holder):
                return None
            generation, former = _generation(holder) + 1, _read(holder)
        path = self.folder / f"{name}.{generation}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            made = _make(path, json.dumps(self._identity()))
        except OSError as error:
            raise RadstartError(
                "cannot write",
                str(self.folder.parent),
                os_reason(error),
                "free space or choose another --out",
            ) from error
        if not made:
            return None
        self.held[name] = path
        self._beat()
        for leftover in self.folder.glob(f".{name}.*.tmp"):
            leftover.unlink(missing_ok=True)
        return former

    def release(self, name: str) -> None:
        """Give a claim back, older generations of it first."""
        own = self.held.pop(name)
        for path in self._all(name):
            if _generation(path) < _generation(own):
                path.unlink(missing_ok=True)
        if _read(own).get("pid") == os.getpid() and _read(own).get("machine") == machine():
            own.unlink(missing_ok=True)  # else it was taken over, given back and is another's now

    def owner(self, name: str) -> dict[str, Any]:
        """Return what the newest claim of a name says: host, pid, since; {} without one."""
        newest = self._newest(name)
        return _read(newest) if newest else {}

    @contextmanager
    def waiting(self, name: str) -> Iterator[None]:
        """Hold `name` while the block runs, waiting for it as long as its holder lives."""
        while self.take(name) is None:
            time.sleep(0.2)
        try:
            yield
        finally:
            self.release(name)

    def listed(self) -> list[Claim]:
        """Return every claim that lies there and can be read, by name."""
        found = []
        for path in sorted(self.folder.glob("[!.]*")):
            said = _read(path)
            with suppress(FileNotFoundError):
                if said:
                    found.append(Claim(path.stem, said, path.stat().st_mtime, _has_ended(said)))
        return found

    def sweep(self) -> None:
        """Remove what processes of this machine that are dead left behind."""
        for path in self.folder.glob("*"):
            if _read(path) and self._is_dead(path):
                path.unlink(missing_ok=True)

    def close(self) -> None:
        """Give everything back and stop the signs of life; an empty folder is removed."""
        self._stop.set()
        for name in list(self.held):
            with suppress(OSError):
                self.release(name)
        with suppress(OSError):
            self.folder.rmdir()

    def _all(self, name: str) -> list[Path]:
        return [path for path in self.folder.glob(f"{name}.*") if path.suffix[1:].isdigit()]

    def _newest(self, name: str) -> Path | None:
        return max(self._all(name), key=_generation, default=None)

    def _identity(self) -> dict[str, Any]:
        pid = os.getpid()
        return {
            "machine": machine(),
            "host": socket.gethostname(),
            "pid": pid,
            "start": process_start(pid),
            "since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }

    def _is_dead(self, path: Path) -> bool:
        """Return whether a claim's process ended, or has given no sign of life for LEASE."""
        try:
            beat = path.stat().st_mtime_ns
        except FileNotFoundError:  # given back just now; the next look finds it free
            return False
        said = _read(path)
        if _has_ended(said):
            return True
        before, since = self._seen.get(path, (None, 0.0))
        if before != beat:
            self._seen[path] = (beat, time.monotonic())
            return False
        return time.monotonic() - since >= LEASE

    def _beat(self) -> None:
        """Start the thread that touches what is held."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._live, name="radstart-claims", daemon=True)
            self._thread.start()

    def _live(self) -> None:
        while not self._stop.wait(BEAT):
            for path in list(self.held.values()):
                with suppress(OSError):
                    os.utime(path)


def _has_ended(said: dict[str, Any]) -> bool:
    """Return whether a holder is a process of this machine that is dead."""
    return said.get("machine") == machine() and not is_alive(said["pid"], said["start"])


def _generation(path: Path) -> int:
    return int(path.suffix[1:])


def _read(path: Path) -> dict[str, Any]:
    """Return what a claim says; {} where it was given back or is damaged."""
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}


def _make(path: Path, text: str) -> bool:
    """Make a file with its text at once; False where the name is taken."""
    temporary = path.with_name(temporary_name(path.name))
    try:
        temporary.write_text(text, encoding="utf-8")
        os.link(temporary, path)
    except (FileExistsError, FileNotFoundError):  # gone = cleared by the one who was faster
        return False
    except OSError as error:  # a file system without hard links: exclusive, but not at once whole
        if error.errno not in NO_LINKS:
            raise
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            return False
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    return True
