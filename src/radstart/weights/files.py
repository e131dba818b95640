"""Weight files on disk -> tensors by name. No pickle is ever executed."""

import json
import os
import pickle
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from radstart.backbones import Backbone
from radstart.core.errors import RadstartError
from radstart.core.files import read_json, read_toml
from radstart.core.hashing import file_sha256
from radstart.weights.convention import Convention

CONTAINERS = ("state_dict", "model_state_dict", "model", "net", "weights")


@dataclass(frozen=True)
class WeightsFile:
    """What a weights file or folder states: its tensors are read by `read_tensors`.

    `backbone` and `convention` are None where nothing beside the tensors says what they are.
    """

    path: Path
    sha256: str
    backbone: Backbone | None
    convention: Convention | None


def inspect_weights(path: Path) -> WeightsFile:
    """Read what stands beside the tensors: timm's local layout, a run's folder, or a bare file.

    Raises:
        RadstartError: nothing there, or a folder in no known layout.
    """
    if not os.path.exists(path):
        raise RadstartError(
            "no such weights file or folder", str(path), remedy="correct the path of the arm"
        )
    if path.is_file():
        return WeightsFile(path, file_sha256(path), None, None)
    tensors = path / "model.safetensors"
    if not tensors.is_file():
        raise RadstartError(
            "no model.safetensors in this folder", str(path), remedy="name a file inside it"
        )
    if (path / "receipt.toml").is_file():
        stated = read_toml(path / "receipt.toml")
        if "backbone" not in stated or "convention" not in stated:
            raise RadstartError(
                "this run trained no backbone (it is a frozen run)",
                str(path),
                remedy="use the arm it started from",
            )
        known = stated["convention"]
        convention = Convention(
            known["size"], tuple(known["mean"]), tuple(known["std"]), known["source"]
        )
        backbone = Backbone(stated["backbone"]["name"], stated["backbone"].get("switches", {}))
    elif (path / "config.json").is_file():
        backbone, convention = _timm_layout(path / "config.json")
    else:
        raise RadstartError(
            "neither config.json nor receipt.toml in this folder",
            str(path),
            remedy="name the file in it, with --backbone",
        )
    return WeightsFile(tensors, file_sha256(tensors), backbone, convention)


def _timm_layout(path: Path) -> tuple[Backbone, Convention]:
    config: dict[str, Any] = read_json(path)
    try:
        stated = config["pretrained_cfg"]
        backbone = Backbone(config["architecture"], dict(config.get("model_args") or {}))
        convention = Convention(
            int(stated["input_size"][-1]),
            tuple(map(float, stated["mean"])),
            tuple(map(float, stated["std"])),
            "config.json of the weights folder",
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RadstartError(
            "not timm's local layout",
            str(path),
            f"no {error}",
            "name the file beside it, with --backbone",
        ) from error
    return backbone, convention


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file, or a torch file of plain tensors (weights_only).

    A dictionary under one of `CONTAINERS` is unwrapped; a `module.` that all names carry is
    removed.

    Raises:
        RadstartError: unreadable, a pickled module, or no dictionary of tensors.
    """
    try:
        if path.suffix == ".safetensors":
            loaded: Any = load_file(path)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of pickle protocols; what matters is raised
                loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise RadstartError(
            "holds pickled code, which is not executed",
            str(path),
            remedy="save its state_dict as safetensors once, where you trust it",
        ) from error
    except (SafetensorError, OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise RadstartError(
            "not a readable weights file",
            str(path),
            "no such format" if isinstance(error, KeyError) else str(error).split("\n")[0],
            "fetch it again, or save its state_dict as safetensors",
        ) from error
    for name in CONTAINERS:
        if isinstance(loaded, dict) and isinstance(loaded.get(name), dict):
            loaded = loaded[name]
            break
    if not isinstance(loaded, dict) or not all(isinstance(v, Tensor) for v in loaded.values()):
        raise RadstartError(
            "no dictionary of tensors in this file",
            str(path),
            _kinds(loaded),
            "save the model's state_dict",
        )
    if loaded and all(name.startswith("module.") for name in loaded):
        return {name.removeprefix("module."): tensor for name, tensor in loaded.items()}
    return dict(loaded)


def _kinds(loaded: Any) -> str:
    if not isinstance(loaded, dict):
        return type(loaded).__name__
    return json.dumps({str(k): type(v).__name__ for k, v in list(loaded.items())[:4]})
