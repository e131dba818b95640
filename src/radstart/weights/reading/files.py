"""Weight files on disk -> tensors by name. No pickle is ever executed."""

import argparse
import pickle
import re
import stat
import warnings
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from radstart.core.errors import RadstartError, short
from radstart.core.files import is_file, os_reason, status
from radstart.weights.reading.container import Container, Tensors
from radstart.weights.reading.keras_files import is_keras, read_keras
from radstart.weights.reading.pickles import asked_globals
from radstart.weights.reading.sniff import Kind, damage_of, kind_of

WRAPPERS = ("module.", "_orig_mod.")
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_BALLAST = re.compile(r"optim(i[sz]ers?)?|(lr)?sched(ulers?|ules?)?|scalers?|amp")
DEPTH = 4  # dictionaries inside dictionaries
FETCH = "fetch it again, or save its state_dict as safetensors"
_MADE_OF = "start from the weights that it was made of"
OTHERS: dict[Kind, tuple[str, str]] = {
    "html": ("a web page", "fetch it again: a login, a form or an error came in its place"),
    "lfs pointer": ("a pointer of Git LFS", "fetch the file itself: git lfs pull"),
    "gzip": ("an archive", "unpack it"),
    "tar": ("an archive", "unpack it"),
    "zip": ("an archive", "unpack it"),
    "numpy npz": ("NumPy arrays", "save them as safetensors, under timm's names"),
    "onnx": ("an ONNX model: norms are folded into it", _MADE_OF),
    "tflite": ("a TensorFlow Lite model: norms are folded into it", _MADE_OF),
    "torchscript": ("a TorchScript program", "save its state_dict as safetensors"),
    "unknown": ("no format that is known here", FETCH),
}
"""What a file may be instead of weights, and what to do then."""


@lru_cache(maxsize=2)
def read_container(path: Path, sha256: str = "", take: str = "") -> Container:
    """Read a safetensors file, a torch file of plain tensors (weights_only) or Keras HDF5.

    Args:
        path: the file; what it is is decided by its first bytes.
        sha256: of the file: what was read once is kept under both.
        take: which dictionary to take where there are several: its path, or its last part; or,
            where names themselves tell networks apart, the words before those to take
            ("student", "teacher.backbone").

    Raises:
        RadstartError: unreadable, a pickled module, no dictionary of tensors, or several of them.
    """
    if is_file(existing(path)) and is_keras(path):
        return read_keras(path)
    loaded = _read(path)
    if not isinstance(loaded, Mapping):
        raise RadstartError(
            "no dictionary of tensors in this file", str(path), type(loaded).__name__,
            "save the model's state_dict",
        )  # fmt: skip
    found = dict(_dictionaries(loaded, ()))
    if not found:
        raise RadstartError(
            "no dictionary of tensors in this file", str(path),
            ", ".join(f"{k}: {type(v).__name__}" for k, v in list(loaded.items())[:4]),
            "save the model's state_dict",
        )  # fmt: skip
    place = _chosen(found, take, path)
    inside = {str(k): v for k, v in found[place].items() if isinstance(v, Tensor)}
    strange = [str(k) for k, v in found[place].items() if not isinstance(v, Tensor)]
    beside = strange if not place else [str(k) for k in loaded if str(k) != place[0]]
    _check_plain(inside, path)
    prefix = ""
    while wrapper := next((w for w in WRAPPERS if all(n.startswith(w) for n in inside)), ""):
        inside = {name.removeprefix(wrapper): tensor for name, tensor in inside.items()}
        prefix += wrapper
    named = {name: tensor for name, tensor in inside.items() if name.startswith(f"{take}.")}
    if named and take not in place:
        beside += sorted({name.partition(".")[0] for name in inside.keys() - named.keys()})
        inside = named
    taken = bool(named) or (bool(take) and take in (" / ".join(place), *place))
    return Container(inside, " / ".join(place), prefix, tuple(sorted(beside)), taken=taken)


def check_taken(container: Container, take: str, path: Path) -> Container:
    """Return what was read; raise RadstartError where a person named what is not there."""
    if take and not container.taken:
        there = container.path or "one dictionary, without a name"
        raise RadstartError(
            "no dictionary of tensors of this name", f"{path}: --take", take, f"there is {there}"
        )
    return container


def _check_plain(tensors: Tensors, path: Path) -> None:
    """Refuse tensors whose numbers do not lie here one behind the other."""
    for name, tensor in tensors.items():
        here = tensor.layout is torch.strided and tensor.device.type == "cpu"
        if not here or tensor.is_quantized or tensor.is_nested:
            kind = str(tensor.layout) if here else f"{tensor.layout}, {tensor.device.type}"
            kind = f"{tensor.dtype}" if tensor.is_quantized else kind
            raise RadstartError(
                "holds a tensor that is no plain array", str(path),
                f"{name}: {kind.replace('torch.', '')}", "save it dense, on the CPU",
            )  # fmt: skip


def _dictionaries(
    value: Mapping[Any, Any], place: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Mapping[Any, Any]]]:
    """Yield every dictionary that holds tensors of its own; optimizers' are none."""
    tensors = [v for v in value.values() if isinstance(v, Tensor)]
    if any(tensor.dim() for tensor in tensors):  # numbers alone are scores, steps, scales
        yield place, value
        return
    for key, inner in value.items():
        words = _WORDS.findall(str(key))
        ballast = any(_BALLAST.fullmatch(word.lower()) for word in words)
        if isinstance(inner, Mapping) and not ballast and len(place) < DEPTH:
            yield from _dictionaries(inner, (*place, str(key)))


def _chosen(
    found: Mapping[tuple[str, ...], Mapping[Any, Any]], take: str, path: Path
) -> tuple[str, ...]:
    """Return the place of the dictionary to load."""
    wanted = [place for place in found if take and take in (" / ".join(place), *place)]
    if len(wanted) == 1:
        return wanted[0]
    if len(found) == 1:
        return next(iter(found))
    raise RadstartError(
        "several dictionaries of tensors in this file", str(path),
        "; ".join(" / ".join(place) for place in found), "name the one to take: --take NAME",
    )  # fmt: skip


def _read(path: Path) -> Any:
    kind = kind_of(path)
    if damage := damage_of(path):  # half of torch's zip looks like any zip
        raise _unreadable(path, damage)
    if kind in OTHERS:
        raise _unreadable(path, *OTHERS[kind])
    try:
        if kind == "safetensors":
            return load_file(path)
        with warnings.catch_warnings(), torch.serialization.safe_globals([argparse.Namespace]):
            warnings.simplefilter("ignore")  # of pickle protocols; what matters is raised
            if path.suffix == ".safetensors":  # torch would go by the name
                with path.open("rb") as file:
                    return torch.load(file, map_location="cpu", weights_only=True)
            return torch.load(path, map_location="cpu", weights_only=True, mmap=kind == "torch zip")
    except pickle.UnpicklingError as error:
        asked = asked_globals(path)
        if kind == "pickle" and not asked:
            raise _unreadable(path, "a pickle that torch did not write") from error
        raise RadstartError(
            "holds pickled code, which is not executed", str(path),
            short("asks for " + (", ".join(asked) or "more than tensors"), 300),
            "where you trust it, convert it: radstart weights convert FILE --trust --out FOLDER",
        ) from error  # fmt: skip
    except OSError as error:
        raise _unreadable(path, os_reason(error)) from error
    except Exception as error:  # damaged bytes lead torch's reader anywhere
        known = isinstance(error, SafetensorError | RuntimeError | EOFError | ValueError)
        got = str(error).split("\n")[0] if known else ""
        raise _unreadable(path, short(got or "no such format", 120)) from error


def _unreadable(path: Path, got: str, remedy: str = FETCH) -> RadstartError:
    return RadstartError("not a readable weights file", str(path), got, remedy)


def existing(path: Path) -> Path:
    """Return the path.

    Raises:
        RadstartError: nothing is there, or it is neither a file nor a folder.
    """
    found = status(path)
    if found is None:
        raise RadstartError(
            "no such weights file or folder", str(path), remedy="correct the path of the arm"
        )
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        raise RadstartError("is neither a file nor a folder", str(path), remedy="name a file")
    return path


def file_of(path: Path) -> Path:
    """Return the path of a file, of a folder that of the tensors in it.

    Raises:
        RadstartError: nothing is there, or no tensors under the name that they have in folders.
    """
    if is_file(existing(path)):
        return path
    tensors = path / "model.safetensors"
    if not is_file(tensors):
        raise RadstartError(
            "no model.safetensors in this folder", str(path), remedy="name a file inside it"
        )
    return tensors
