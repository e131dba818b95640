"""DINO and DINOv2: training checkpoints, Meta's names, transformers' names (RAD-DINO).

Bare backbones of DINO (v1) have timm's and torchvision's names: they need no adapter.
"""

import re

from radstart.backbones import Backbone, state_keys
from radstart.core.errors import RadstartError
from radstart.weights.adapters.adapter import Adapter
from radstart.weights.adapters.renaming import (
    begins,
    having,
    joined,
    renamed,
    renaming,
    without_prefix,
)
from radstart.weights.reading.container import Tensors

PREFIXES = ("teacher.backbone.", "backbone.")
REMAINDER = (
    *("mask_token", "student.*", "teacher.dino_head.*", "teacher.ibot_head.*", "dino_head.*"),
    *("ibot_head.*", "dino_loss.*", "ibot_patch_loss.*"),
)

_META = (
    # blocks of one FSDP chunk are numbered as in the whole network: blocks.CHUNK.BLOCK
    (r"blocks\.(?:\d+\.)?(\d+)\.mlp\.w12\.(\w+)", r"blocks.\1.mlp.fc1.\2"),
    (r"blocks\.(?:\d+\.)?(\d+)\.mlp\.w3\.(\w+)", r"blocks.\1.mlp.fc2.\2"),
    (r"blocks\.\d+\.(\d+)\.(.+)", r"blocks.\1.\2"),
)
_LAYER = r"encoder\.layer\.(\d+)\."
_TRANSFORMERS = (
    (r"embeddings\.(cls_token|register_tokens)", r"\1"),
    (r"embeddings\.position_embeddings", "pos_embed"),
    (r"embeddings\.patch_embeddings\.projection\.(\w+)", r"patch_embed.proj.\1"),
    (_LAYER + r"(norm[12]|mlp\.fc[12])\.(\w+)", r"blocks.\1.\2.\3"),
    (_LAYER + r"attention\.output\.dense\.(\w+)", r"blocks.\1.attn.proj.\2"),
    (_LAYER + r"layer_scale([12])\.lambda1", r"blocks.\1.ls\2.gamma"),
    (_LAYER + r"mlp\.weights_in\.(\w+)", r"blocks.\1.mlp.fc1.\2"),
    (_LAYER + r"mlp\.weights_out\.(\w+)", r"blocks.\1.mlp.fc2.\2"),
    (r"layernorm\.(\w+)", r"norm.\1"),
)
_QKV = tuple(_LAYER + rf"attention\.attention\.{part}\.(\w+)" for part in ("query", "key", "value"))


def prefix_of(tensors: Tensors) -> str:
    """Return what stands before the names of the backbone to take, "" = nothing."""
    return next((p for p in PREFIXES if f"{p}cls_token" in tensors), "")


def _is_meta(tensors: Tensors) -> bool:
    """Return whether names are Meta's where timm's differ: a plain re-export is timm's."""
    prefix = prefix_of(tensors)
    inner = {name.removeprefix(prefix) for name in tensors if name.startswith(prefix)}
    scales = any(re.fullmatch(r"blocks\.[\d.]+\.ls1\.gamma", name) for name in inner)
    own = {"mask_token", "register_tokens"} & inner or any(
        re.fullmatch(r"blocks\.\d+\.(\d+\.norm1|mlp\.w12)\.weight", name) for name in inner
    )
    return scales and "pos_embed" in inner and bool(own)


def _meta(tensors: Tensors, backbone: str) -> Tensors:
    return _with_registers(renaming(_META, prefix_of(tensors))(tensors, backbone), backbone)


def _bare(tensors: Tensors) -> Tensors:
    """Return the tensors without a classifier's wrap."""
    return without_prefix(without_prefix(tensors, "dinov2."), "dinov2_with_registers.")


def _transformers(tensors: Tensors, backbone: str) -> Tensors:
    """Return the tensors under timm's names; query, key and value are joined in this order."""
    one = joined(_bare(tensors), _QKV, r"blocks.\1.attn.qkv.\2")
    return _with_registers(renamed(one, _TRANSFORMERS), backbone)


def _with_registers(tensors: Tensors, backbone: str) -> Tensors:
    """Return the tensors with registers as timm has them: no slot of the class in pos_embed.

    Where there are registers, timm adds position embeddings to patches alone: the first row of
    `pos_embed` (1, 1 + grid, C) is added to `cls_token` once and for all.

    Raises:
        RadstartError: registers in the file or in the network alone.
    """
    registers = tensors.get("register_tokens")
    wanted = "reg_token" in state_keys(Backbone(backbone))
    if (registers is not None) != wanted:
        count = 0 if registers is None else registers.shape[1]
        other = ("without", "with")[count > 0]
        has = "has register tokens" if wanted else "has none"
        raise RadstartError(
            f"{backbone} {has}, the file holds {count}: these are two networks",
            "backbone",
            backbone,
            f"name the backbone {other} registers, such as {_twin(backbone, count > 0)}",
        )
    if registers is None or not {"cls_token", "pos_embed"} <= tensors.keys():
        return dict(tensors)
    rest = {name: tensor for name, tensor in tensors.items() if name != "register_tokens"}
    return {
        **rest,
        "reg_token": registers,
        "cls_token": tensors["cls_token"] + tensors["pos_embed"][:, :1],
        "pos_embed": tensors["pos_embed"][:, 1:],
    }


def _twin(backbone: str, registers: bool) -> str:
    """Return timm's name for the same network with or without registers."""
    plain = re.sub(r"_reg\d", "", backbone)
    twin = plain.replace("_dinov2", "_reg4_dinov2") if registers else plain
    return twin if "dinov2" in twin else f"vit_base_patch14{'_reg4' if registers else ''}_dinov2"


DINO = Adapter(
    name="dino",
    about="DINO checkpoints: student and teacher, each `backbone.` and a projection `head.`",
    matches=lambda t: begins(t, "backbone.") and begins(t, "head.last_layer."),
    adapt=renaming((), "backbone."),
    remainder=("head.*",),
    take="teacher",
)
DINOV2 = Adapter(
    name="dinov2",
    about="DINOv2 in Meta's names: hub files, training checkpoints (`teacher.backbone.`)",
    matches=_is_meta,
    adapt=_meta,
    remainder=REMAINDER,
    take="teacher",
)
HF_DINOV2 = Adapter(
    name="hf_dinov2",
    about="DINOv2 in transformers' names (RAD-DINO): query, key and value apart",
    matches=lambda tensors: having(
        "embeddings.position_embeddings",
        "encoder.layer.0.layer_scale1.lambda1",
        "encoder.layer.0.attention.attention.query.weight",
    )(_bare(tensors)),
    adapt=_transformers,
    remainder=("embeddings.mask_token", "classifier.*"),
)
