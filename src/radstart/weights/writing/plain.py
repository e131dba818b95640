"""timm's config.json beside our tensors, so that plain timm computes the same or nothing."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from radstart.backbones import OURS, SWITCHES, Backbone, check_name, takes_any_size
from radstart.core.errors import one_line, short
from radstart.core.files import write_json
from radstart.core.random import stream_seed
from radstart.weights.convention import Convention
from radstart.weights.open import Whole

TOLERANCE = 1e-5  # largest difference of outputs, as a share of the largest output
CONFIG = "config.json"
_ACTIVATIONS = {
    "relu": "relu", "relu6": "relu6", "gelu": "gelu", "gelu_tanh": "gelu_tanh",
    "quick_gelu": "quick_gelu", "silu": "silu", "hard_swish": "hard_swish",
}  # fmt: skip
"""Activations of ours that timm has, by timm's names."""


def write_config(folder: Path, whole: Whole, name: str) -> str:
    """Write config.json beside a folder's model.safetensors and try it with plain timm.

    Where timm's own builder says all of the network's switches, the outputs are compared; else,
    or where they differ, the architecture stated is one that timm refuses, with the reason in its
    name: a network that loads and computes something else would be the worst.

    Returns: why plain timm cannot load the folder, "" = it can.
    """
    arguments, unsayable = timm_arguments(whole.backbone)
    built_for: Any = getattr(getattr(whole.model, "patch_embed", None), "img_size", None)
    if "dynamic_img_size" in arguments and built_for:  # else timm resamples the positions to 224
        arguments.setdefault("img_size", int(built_for[0]))
    if not unsayable:
        write_json(folder / CONFIG, _config(whole, whole.backbone.name, arguments, name))
        unsayable = _tried(folder, whole)
    if unsayable:
        refusal = f"{whole.backbone.name} with {unsayable}: load this folder with radstart"
        write_json(folder / CONFIG, _config(whole, refusal, {}, name))
    return unsayable


def timm_arguments(backbone: Backbone) -> tuple[dict[str, Any], str]:
    """Return (timm's arguments for a backbone, what they cannot say; "" = nothing)."""
    if backbone.name in OURS:
        return {}, "an architecture that timm has no name for"
    arguments: dict[str, Any] = {}
    unsayable = []
    for name, value in sorted(backbone.switches.items()):
        if name not in SWITCHES:
            arguments[name] = value
        elif name == "bn_eps":
            arguments["bn_eps"] = float(value)
        elif name == "activation" and str(value) in _ACTIVATIONS:
            arguments["act_layer"] = _ACTIVATIONS[str(value)]
        else:
            unsayable.append(f"{name}={value}")
    if takes_any_size(backbone.name):
        arguments.setdefault("dynamic_img_size", True)
    return arguments, ", ".join(unsayable)


def _config(
    whole: Whole, architecture: str, arguments: dict[str, Any], name: str
) -> dict[str, Any]:
    """Return config.json as timm's local folders have it."""
    convention = whole.convention
    stated: Any = getattr(whole.model, "pretrained_cfg", None) or {}
    outputs = len(whole.classes)
    pretrained = {
        "tag": name,
        "custom_load": False,
        "input_size": [len(convention.mean), convention.size, convention.size],
        "fixed_input_size": bool(stated.get("fixed_input_size", False)),
        "interpolation": "bilinear",
        "crop_pct": 1.0,
        "crop_mode": "border",  # the whole image, its aspect kept
        "mean": list(convention.mean),
        "std": list(convention.std),
        "num_classes": outputs,
        "pool_size": stated.get("pool_size"),
        "first_conv": stated.get("first_conv"),
        "classifier": stated.get("classifier"),
        "license": whole.source.licence or None,
        "notes": list(_unsaid(convention)),
    }
    if whole.named:
        pretrained["label_names"] = list(whole.classes)
    return {
        "architecture": architecture,
        "num_classes": outputs,
        "num_features": int(getattr(whole.model, "num_features", 0)),
        "model_args": arguments,
        "pretrained_cfg": {key: value for key, value in pretrained.items() if value is not None},
    }


def _unsaid(convention: Convention) -> tuple[str, ...]:
    """Return what of a convention timm's transforms do not do."""
    bgr = "mean and std are in the order BGR: timm feeds RGB, which grey images survive"
    stretched = "each image is first stretched to 0..1 by its own range, which timm does not do"
    colour = convention.order == "BGR" and len(convention.mean) == 3
    return (*([bgr] if colour else []), *([stretched] if convention.per_image else []))


def _tried(folder: Path, whole: Whole) -> str:
    """Return why plain timm does not compute the same from a folder; "" = it does."""
    check_name(whole.backbone.name)  # lets timm import
    import timm

    try:
        other = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    except TypeError:  # an argument that this builder of timm's does not have
        own = [name for name in whole.backbone.switches if name in SWITCHES]
        return ", ".join(f"{name}={whole.backbone.switches[name]}" for name in sorted(own))
    except Exception as error:  # whatever timm raises, the folder is not for it
        return f"what timm stops at ({short(one_line(str(error)), 120)})"
    if _constants(other) != _constants(whole.model):
        return "norms' constants that timm does not take"
    size = whole.convention.size
    draw = torch.Generator().manual_seed(stream_seed(0, "plain timm"))
    images = torch.randn(2, len(whole.convention.mean), size, size, generator=draw)
    with torch.inference_mode():
        ours: Tensor = whole.model(images)
        theirs: Tensor = other(images)
    if ours.shape != theirs.shape:
        return f"outputs of another shape in timm ({tuple(theirs.shape)})"
    apart = float((ours - theirs).abs().max() / ours.abs().max().clamp(min=1e-12))
    return "" if apart <= TOLERANCE else f"other outputs in timm (by {apart:.1e} of the largest)"


def _constants(model: nn.Module) -> list[float]:
    """Return the constant of every norm, in order: small differences hardly move the outputs."""
    stated: list[Any] = [getattr(module, "eps", None) for module in model.modules()]
    return [eps for eps in stated if isinstance(eps, float)]
