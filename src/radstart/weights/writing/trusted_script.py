"""Run by `convert --trust` in a process of its own: unpickle one file, write its tensors.

Unpickling runs the file's code. What can be kept from it is: the network (a namespace of its own
where the system allows it), files outside the working folder, other programs, and more time and
memory than stated. Python's audit events enforce all but the first and the last: they restrain
careless code, not hostile code, and what you can read it can read. Imports no radstart, and torch
only after the walls stand.

    python -I trusted_script.py JOB.json
"""

import ctypes
import json
import os
import pickle
import resource
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
PROGRAMS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.spawn",
            "os.kill", "pty.spawn", "signal.pthread_kill")  # fmt: skip
INWARDS = ("gc.get_", "ctypes.dlopen", "ctypes.dlsym")
NETWORK = ("socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo",
           "socket.gethostbyname", "socket.gethostbyaddr", "socket.getservbyname")  # fmt: skip
CHANGES = ("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.chmod",
           "os.chown", "os.setxattr", "os.removexattr", "os.truncate", "os.utime",
           "shutil.rmtree", "shutil.move")  # fmt: skip
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000


def main() -> None:
    """Do the job that JOB.json states and write report.json beside it."""
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    folder = Path(sys.argv[1]).parent
    report: dict[str, Any] = {"network": "none" if _leave_network() else "guarded"}
    for limit, most in job["limits"].items():
        _limit(limit, int(most))
    sys.path[:] = job["sys_path"]
    sys.dont_write_bytecode = True
    try:
        import safetensors.torch
        import torch

        sys.addaudithook(_guard(folder))
        shells: list[str] = []
        loaded = torch.load(
            job["file"], map_location="cpu", weights_only=False, pickle_module=_pickle(shells)
        )
        tensors, dropped = _tensors(_chosen(loaded, job["take"]))
        kept = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
        safetensors.torch.save_file(kept, folder / "tensors.safetensors", {"format": "pt"})
        report |= {"tensors": len(kept), "dropped": dropped, "shells": sorted(set(shells))}
    except BaseException as error:
        report["error"] = f"{type(error).__name__}: {error}"
    (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")
    os._exit(0)  # nothing that the file's code has left to be done at the end is done


def _leave_network() -> bool:
    """Go into a network namespace of our own, which has no way out; tell whether that worked."""
    try:
        unshare = ctypes.CDLL(None, use_errno=True).unshare
        return any(unshare(flags) == 0 for flags in (CLONE_NEWNET, CLONE_NEWUSER | CLONE_NEWNET))
    except (OSError, AttributeError):
        return False


def _limit(name: str, most: int) -> None:
    number = getattr(resource, name, None)
    if number is None:
        return
    hard = resource.getrlimit(number)[1]
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    try:
        resource.setrlimit(number, (most, most))
    except (OSError, ValueError):  # the system does not have this limit
        return


def _guard(folder: Path) -> Any:
    """Return an audit hook that lets nothing out of the folder.

    What it goes by is its own: names of this module and of `os` that are changed later change
    nothing here. It restrains careless code: what Python can do to itself has no end.
    """
    inside = os.path.realpath(folder)
    realpath, commonpath, fsdecode, paths = (
        os.path.realpath, os.path.commonpath, os.fsdecode, os.PathLike,
    )  # fmt: skip
    writes, programs, network, changes, inwards = WRITES, PROGRAMS, NETWORK, CHANGES, INWARDS

    def outside(path: object) -> bool:
        if not isinstance(path, str | bytes | paths):
            return False  # a number of a file that is open already
        real = realpath(fsdecode(path))
        return real != "/dev/null" and commonpath([real, inside]) != inside

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in network:
            raise PermissionError("its code asks for the network")
        if event.startswith(inwards):
            raise PermissionError(f"its code reaches into Python itself ({event})")
        if event.startswith(programs):
            raise PermissionError(f"its code starts a program ({event})")
        written = event == "open" and (
            isinstance(arguments[2], int) and arguments[2] & writes and outside(arguments[0])
        )
        if written or (event in changes and any(outside(path) for path in arguments[:2])):
            raise PermissionError(f"its code changes files: {arguments[0]!r}")

    return hook


class Shell:
    """Stands for an object whose class is not installed here: it keeps what it is given."""

    def __init__(self, *_arguments: object, **_named: object) -> None:
        """Take anything."""

    def __setstate__(self, state: object) -> None:
        """Keep the object's attributes."""
        if isinstance(state, dict):
            self.__dict__.update(state)

    def __call__(self, *_arguments: object, **_named: object) -> "Shell":
        """Return another one: functions that are not installed return nothing that is known."""
        return Shell()


def _pickle(shells: list[str]) -> Any:
    """Return Python's pickle with shells in the place of classes that cannot be imported."""

    class Unpickler(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            try:
                return super().find_class(module, name)
            except PermissionError:
                raise
            except Exception:
                shells.append(f"{module}.{name}")
                return type(name, (Shell,), {"__module__": module})

    def load(file: Any, **options: Any) -> Any:
        return Unpickler(file, **options).load()

    return SimpleNamespace(Unpickler=Unpickler, load=load, __name__="pickle")


def _chosen(loaded: Any, take: str) -> Any:
    """Return the network or the dictionary of tensors in what was unpickled."""
    if not isinstance(loaded, dict) or take:
        return loaded[take] if take else loaded
    if any(_is_tensor(value) for value in loaded.values()):
        return loaded
    found = [key for key, value in loaded.items() if _holds_tensors(value)]
    if len(found) != 1:
        raise ValueError(f"name one of these: {', '.join(map(str, found)) or 'none has tensors'}")
    return loaded[found[0]]


def _is_tensor(value: object) -> bool:
    import torch

    return isinstance(value, torch.Tensor)


def _holds_tensors(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_is_tensor(item) and item.dim() for item in value.values())
    return hasattr(value, "__dict__") and "_modules" in vars(value)


def _tensors(chosen: Any) -> tuple[dict[str, Any], list[str]]:
    """Return (tensors by name, names of what else there was)."""
    if not isinstance(chosen, dict):
        if "_modules" not in getattr(chosen, "__dict__", {}):
            raise TypeError(f"no network and no dictionary of tensors but {type(chosen).__name__}")
        chosen = dict(_walk(chosen, ""))
    flat = {str(name): value for name, value in chosen.items()}
    tensors = {name: value for name, value in flat.items() if _is_tensor(value)}
    if not tensors:
        raise ValueError("holds no tensors")
    return tensors, sorted(name for name in flat if name not in tensors)


def _walk(module: Any, prefix: str) -> Any:
    """Yield (name, tensor) as a module's state_dict has them, also out of shells."""
    held = vars(module)
    passing = held.get("_non_persistent_buffers_set") or ()
    for kind in ("_parameters", "_buffers"):
        for name, value in (held.get(kind) or {}).items():
            if value is not None and not (kind == "_buffers" and name in passing):
                yield prefix + name, value
    for name, inner in (held.get("_modules") or {}).items():
        if inner is not None:
            yield from _walk(inner, f"{prefix}{name}.")


if __name__ == "__main__":
    main()
