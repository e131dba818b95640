"""What a pickle would call, read off without running any of it."""

import pickletools
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from radstart.core.errors import RadstartError
from radstart.core.files import os_reason

MOST_BYTES = 1 << 28  # of a pickle's program; tensors lie beside it
MOST_OPCODES = 20_000_000
LEGACY_PICKLES = 4  # magic number, protocol, system, the object; then come raw numbers
PLAIN = (
    "collections.OrderedDict",
    "collections.Counter",
    "_codecs.encode",
    "builtins.set",
    "torch.Size",
    "torch.device",
    "torch.dtype",
    "torch.Tensor",
    "torch.nn.parameter.Parameter",
    "torch.serialization._get_layout",
)
"""Globals that files of plain tensors ask for, and that torch's safe reader gives them."""


def asked_globals(path: Path) -> tuple[str, ...]:
    """Return what the pickles in a file would import and call, beyond what plain tensors need.

    Opcodes are read, never executed: "torchxrayvision.models.DenseNet", "posix.system", ... in
    alphabetical order. Empty for files that are no pickles, and for pickles of plain tensors. For
    a person to read: a pickle made to mislead can hide a name, and is refused all the same.

    Raises:
        RadstartError: the file cannot be read.
    """
    found: set[str] = set()
    try:
        with path.open("rb") as file:
            if file.read(2) == b"PK":
                programs: Iterator[BinaryIO] = _members(path)
            else:
                file.seek(0)
                programs = iter([file])
            for program in programs:
                found |= _globals(program)
    except OSError as error:
        raise RadstartError("cannot read", str(path), os_reason(error), "check the path") from error
    return tuple(sorted(name for name in found if not _is_plain(name)))


def _members(path: Path) -> Iterator[BinaryIO]:
    """Yield the pickles of a torch zip."""
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                if entry.filename.endswith(".pkl"):
                    with archive.open(entry) as member:
                        yield BytesIO(member.read(MOST_BYTES))
    except OSError:
        raise
    except Exception:  # damaged in any way: what follows is no pickle
        return


def _globals(program: BinaryIO) -> set[str]:
    """Return the globals of the pickles that follow each other at the start of a file."""
    found: set[str] = set()
    left = MOST_OPCODES
    for _ in range(LEGACY_PICKLES):
        texts: list[str] = []  # as the pickle's stack has them: names come last
        memory: dict[object, str] = {}
        try:
            for opcode, argument, _place in pickletools.genops(program):
                name, left = opcode.name, left - 1
                if left <= 0:
                    return found | {"(more than can be listed)"}
                if name in ("GLOBAL", "INST"):
                    found.add(_dotted(str(argument).replace(" ", ".", 1)))
                elif name == "STACK_GLOBAL":
                    found.add(_dotted(".".join(texts[-2:])) or "(a name that is computed)")
                elif name.startswith("EXT"):
                    found.add(f"(extension {argument})")
                elif (isinstance(argument, str) and "UNICODE" in name) or name.endswith("STRING"):
                    texts.append(str(argument))
                elif name == "MEMOIZE":
                    memory[len(memory)] = texts[-1] if texts else ""
                elif name.endswith("PUT"):
                    memory[argument] = texts[-1] if texts else ""
                elif name.endswith("GET"):
                    texts.append(memory.get(argument, ""))
        except OSError:
            raise
        except Exception:  # lengths beyond memory, ends in the middle
            return found  # what follows is no pickle
    return found


def _dotted(name: str) -> str:
    """Return a name as Python 3 has it."""
    old, new = "__builtin__.", "builtins."
    return new + name.removeprefix(old) if name.startswith(old) else name


def _is_plain(name: str) -> bool:
    return name in PLAIN or (
        name.startswith(("torch._utils._rebuild_", "torch._tensor._rebuild_"))
        or (name.startswith("torch.") and name.count(".") == 1 and _is_kind(name[6:]))
        or (name.startswith("torch.storage.") and name.endswith("Storage"))
    )


def _is_kind(name: str) -> bool:
    """Return whether a name of torch's is a storage or the type of a number."""
    kinds = ("float", "bfloat", "int", "uint", "bool", "half", "double", "long", "complex")
    return name.endswith("Storage") or name.startswith(kinds)
