"""Which processes live: what claims and half-written files are judged by."""

import os
import socket
from contextlib import suppress
from functools import cache
from pathlib import Path


@cache
def machine() -> str:
    """Return what two processes that can see each other's process numbers have in common."""
    boot = namespace = ""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        namespace = str(Path("/proc/self/ns/pid").readlink())
    return f"{socket.gethostname()}/{boot}/{namespace}"


def process_start(pid: int) -> str:
    """Return when a process of this machine began; "" where that cannot be seen.

    Numbers are given anew: a number together with its start is one process.
    """
    state = _state(pid)
    return state[1] if state else ""


def is_alive(pid: int, start: str = "") -> bool:
    """Return whether a process of this machine lives, and is the one that began at `start`."""
    state = _state(pid)
    if state:
        return state[0] not in "ZX" and start in ("", state[1])
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's, and hidden from us
        return True
    return True


def _state(pid: int) -> tuple[str, str] | None:
    """Return a process's state letter and start, as Linux tells them; None where it does not."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    state, *rest = text.rpartition(")")[2].split()
    return state, rest[18]
