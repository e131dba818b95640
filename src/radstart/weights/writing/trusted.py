"""Pickled networks -> tensors, once, in a process of its own: this runs the file's code."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from radstart.core.errors import RadstartError, short
from radstart.core.files import read_json, write_json

SECONDS = 600  # of a processor, and by the clock
MEMORY = 4 << 30  # bytes, and eight times the file
SCRIPT = Path(__file__).with_name("trusted_script.py")
KEPT = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")
WARNING = (
    "this runs the code in {name}: in a process of its own, as far as possible without network, "
    "other files and programs. That restrains careless code, not hostile code, and any code can "
    "read what you can read; do it only where you trust the file's origin"
)


@dataclass(frozen=True)
class Unpickled:
    """What came out of a pickled network.

    Attributes:
        path: a safetensors file, gone when the block ends.
        network: "none" = the process had no network at all; "guarded" = Python was kept from it.
        shells: classes that are not installed here; only the tensors they held were taken.
        dropped: names beside the tensors that are none.
    """

    path: Path
    network: str
    shells: tuple[str, ...]
    dropped: tuple[str, ...]

    def notes(self) -> tuple[str, ...]:
        """Return what a reader of the card must know."""
        said = ["its pickle was executed once to take out the tensors (--trust)"]
        if self.shells:
            said.append(f"not installed, taken for its tensors alone: {', '.join(self.shells)}")
        if self.dropped:
            said.append(f"left out, no tensors: {short(', '.join(self.dropped), 200)}")
        return tuple(said)


@contextmanager
def unpickled(path: Path, take: str = "", seconds: float = SECONDS) -> Iterator[Unpickled]:
    """Run a pickle's code in a process of its own and yield the tensors that it leaves.

    The process has a temporary working folder and home, none of this one's environment but the
    search paths, no network where the system has namespaces for that, and limits of time, memory
    and written bytes; Python in it is kept from starting programs and from changing files
    elsewhere. That restrains careless code, not hostile code, which finds a way around; and any
    code can read what you can read.

    Args:
        path: the file.
        take: key of the network where the file holds several.
        seconds: of the clock; the processor's time has a limit of its own.

    Raises:
        RadstartError: the file's code failed, was stopped, or left no tensors.
    """
    with tempfile.TemporaryDirectory(prefix="radstart-trust-") as name:
        folder = Path(name).resolve()
        size = path.stat().st_size
        job = {
            "file": str(path.resolve()),
            "take": take,
            "sys_path": [os.path.abspath(place) for place in sys.path],
            "limits": {
                "RLIMIT_CPU": SECONDS,
                "RLIMIT_DATA": MEMORY + 8 * size,
                "RLIMIT_FSIZE": (64 << 20) + 4 * size,
                "RLIMIT_CORE": 0,
            },
        }
        write_json(folder / "job.json", job)
        code, said = _run(folder, seconds)
        if not (folder / "report.json").is_file():
            reason = said.strip().splitlines()[-1:] or [_ended(code)]
            raise _failed(path, reason[0] if code != -signal.SIGKILL else _ended(code))
        report = read_json(folder / "report.json")
        tensors = folder / "tensors.safetensors"
        if "error" in report or tensors.is_symlink() or not tensors.is_file():
            raise _failed(path, str(report.get("error", "no tensors")))
        yield Unpickled(
            tensors,
            str(report["network"]),
            tuple(map(str, report["shells"])),
            tuple(map(str, report["dropped"])),
        )


def _run(folder: Path, seconds: float) -> tuple[int, str]:
    """Run the script in the folder; return its exit code and the end of what it said."""
    nowhere = "http://127.0.0.1:9"
    environment = {name: os.environ[name] for name in KEPT if name in os.environ} | {
        "HOME": str(folder), "TMPDIR": str(folder), "OMP_NUM_THREADS": "1",
        "http_proxy": nowhere, "https_proxy": nowhere, "HF_HUB_OFFLINE": "1",
    }  # fmt: skip
    with (folder / "said").open("w+b") as said:
        process = subprocess.Popen(
            [sys.executable, "-I", str(SCRIPT), str(folder / "job.json")],
            cwd=folder, env=environment, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=said, stderr=said,
        )  # fmt: skip
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            code = -signal.SIGKILL
        finally:
            with suppress(ProcessLookupError):  # with whatever it has started
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        said.seek(0)
        return code, said.read()[-2000:].decode("utf-8", "replace")


def _ended(code: int) -> str:
    if code == -signal.SIGKILL:
        return "it took too long and was stopped"
    return f"it ended with {signal.Signals(-code).name if code < 0 else f'code {code}'}"


def _failed(path: Path, reason: str) -> RadstartError:
    return RadstartError(
        "its code did not give tensors", str(path), short(reason, 300),
        "in the original project: safetensors.torch.save_file(model.state_dict(), PATH)",
    )  # fmt: skip
