"""Keras's files -> tensors by name "layer/weight".

Three layouts: weight files of Keras 1 and 2 (one group a layer), whole models of Keras 2 (the same
under `model_weights`), and Keras 3 (`.weights.h5`, or inside a `.keras` archive). Names of layers
and weights are taken, never their order.
"""

import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from radstart.core.errors import RadstartError, short
from radstart.core.files import os_reason
from radstart.weights.reading.container import Container
from radstart.weights.reading.hdf5 import Array, Group, read_tree
from radstart.weights.reading.sniff import kind_of

ARCHIVED = "model.weights.h5"


def is_keras(path: Path) -> bool:
    """Return whether a file is read here: HDF5, or Keras 3's `.keras` archive.

    Raises:
        RadstartError: it cannot be read.
    """
    kind = kind_of(path)
    return kind == "hdf5" or (kind == "zip" and _is_archive(path))


def _is_archive(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return ARCHIVED in archive.namelist()
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        return False


def read_keras(path: Path) -> Container:
    """Read the weights of a Keras file; the tensors share the memory of one copy of the file.

    Raises:
        RadstartError: not readable, not Keras's, or something in it that is not plainly stored
            there (see `read_tree`).
    """
    try:
        data = _archived(path) if _is_archive(path) else np.fromfile(path, np.uint8)
    except OSError as error:
        raise RadstartError("cannot read", str(path), os_reason(error), "check the path") from error
    tree = read_tree(data, str(path))
    where = "model_weights" if "model_weights" in tree.members else ""
    root = _group(tree, where, path) if where else tree
    if {"layer_names", "layer_names0"} & root.attributes.keys():
        version, backend = root.attributes.get("keras_version") or "1", _backend(root, path)
        named = list(_legacy_names(root, path))
        text = ", ".join(filter(None, (f"Keras {short(version, 20)}", short(backend, 20))))
    elif "layers" in tree.members:
        where, text = "layers", "Keras 3"
        named = list(_keras3_names(_group(tree, where, path), path))
    else:
        raise RadstartError(
            "HDF5, but no weights of Keras's", str(path),
            f"groups {short(', '.join(tree.members), 100)}", "name a weights file",
        )  # fmt: skip
    arrays = dict(named)
    if len(arrays) < len(named):
        twice = Counter(name for name, _ in named).most_common(1)[0][0]
        raise RadstartError(
            "several layers of one name", str(path), short(twice, 200), "save the backbone alone"
        )
    if not arrays or sum(values.nbytes for values in arrays.values()) > len(data):
        what = "declares more numbers than the file can hold" if arrays else "no weights in it"
        raise RadstartError(what, str(path), text, "name a weights file")
    tensors = {name: _tensor(values) for name, values in arrays.items()}
    beside = tuple(sorted(name for name in tree.members if where and name != where))
    return Container(tensors, where, beside=beside, version=text)


def _archived(path: Path) -> npt.NDArray[np.uint8]:
    """Return the HDF5 file inside a `.keras` archive, which Keras does not compress."""
    try:
        with zipfile.ZipFile(path) as archive:
            member = archive.getinfo(ARCHIVED)
            stored = member.compress_type == zipfile.ZIP_STORED
            if stored and member.file_size <= path.stat().st_size:
                return np.frombuffer(bytearray(archive.read(member)), np.uint8)
    except (zipfile.BadZipFile, EOFError, RuntimeError, ValueError, NotImplementedError) as error:
        raise RadstartError(
            "damaged archive", str(path), short(str(error)), "fetch it again"
        ) from error
    raise RadstartError(
        "compressed weights in this archive", str(path), ARCHIVED, "save it anew in Keras"
    )


def _group(tree: Group, name: str, path: Path) -> Group:
    member = tree.members[name]
    if not isinstance(member, Group):
        raise _unknown(path, name)
    return member


def _unknown(path: Path, name: str) -> RadstartError:
    return RadstartError(
        "not a layout of Keras's", str(path), short(name, 200), "name a weights file"
    )


def _backend(root: Group, path: Path) -> str:
    backend = root.attributes.get("backend", "")
    if backend == "theano":
        raise RadstartError(
            "Theano's kernels are rotated: not read", str(path), f"backend {backend}",
            "save it with TensorFlow's backend",
        )  # fmt: skip
    return backend


def _arrays(group: Group, place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Array]]:
    """Yield (names of the groups above it and its own, array) of everything below a group."""
    for name, member in group.members.items():
        if isinstance(member, Group):
            yield from _arrays(member, (*place, name))
        else:
            yield (*place, name), member


_KERAS_1 = {
    "W": "kernel", "b": "bias", "gamma": "gamma", "beta": "beta",
    "running_mean": "moving_mean", "running_std": "moving_variance",
}  # fmt: skip
"""Keras 1's names; what it calls `running_std` is a variance."""


def _legacy_names(root: Group, path: Path) -> Iterator[tuple[str, Array]]:
    """Yield ("layer/weight", array) for `layer/scope/weight:0` of Keras 2, `layer/weight` of 1.

    The scope repeats the layer's name, perhaps with a number behind it; below a model inside the
    model it is the inner layer's.
    """
    for top, member in root.members.items():
        found = list(_arrays(member)) if isinstance(member, Group) else []
        if not isinstance(member, Group):
            raise _unknown(path, top)
        alone = len({place[:-1] for place, _ in found}) == 1
        repeated = re.compile(rf"{re.escape(top)}(_\d+)?")
        for place, values in found:
            layer, weight = top, place[-1].removesuffix(":0")
            if len(place) == 1:
                old = re.fullmatch(r"(.+?)(?:_\d+)?", weight.removeprefix(f"{top}_"))
                weight = _KERAS_1.get(old[1], weight) if old else weight
            elif not (alone and repeated.fullmatch(place[-2])):
                layer = place[-2]
            yield f"{layer}/{weight}", values


_VARIABLES = {
    "conv2d": ("kernel", "bias"),
    "depthwise_conv2d": ("kernel", "bias"),
    "dense": ("kernel", "bias"),
    "batch_normalization": ("gamma", "beta", "moving_mean", "moving_variance"),
    "normalization": ("mean", "variance", "count"),
}
"""What Keras 3 numbers 0, 1, ... in `layers/CLASS_N/vars`; only from behind can some be absent."""


def _keras3_names(
    group: Group, path: Path, place: tuple[str, ...] = ("layers",)
) -> Iterator[tuple[str, Array]]:
    """Yield ("layer/weight", array) for `layers/CLASS_N/vars/K`, the layer named beside it.

    A batch norm of three numbers stays "layer/0": which of scale and offset is left out is not in
    the file.
    """
    for name, member in group.members.items():
        here = (*place, name)
        if not isinstance(member, Group):
            raise _unknown(path, "/".join(here))
        arrays = {k: v for k, v in member.members.items() if not isinstance(v, Group)}
        if name != "vars" or not arrays:
            yield from _keras3_names(member, path, here)
            continue
        layer = member.attributes.get("name")
        if not layer:
            raise RadstartError(
                "this Keras 3 file does not name its layers", str(path), "/".join(place),
                "save it as .h5: model.save('NAME.h5')",
            )  # fmt: skip
        known = _VARIABLES.get(re.sub(r"_\d+$", "", place[-1]), ())
        whole = len(known) < 3 or len(arrays) == len(known)
        for number, values in arrays.items():
            plain = whole and number.isascii() and number.isdecimal() and int(number) < len(known)
            yield f"{layer}/{known[int(number)] if plain else number}", values


def _tensor(values: Array) -> Tensor:
    """Return a view where torch can have one: numbers of this machine's order, in their place."""
    native = np.require(values, values.dtype.newbyteorder("="), ["ALIGNED", "WRITEABLE"])
    return torch.from_numpy(native)
