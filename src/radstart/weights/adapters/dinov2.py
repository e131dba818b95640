"""DINOv2: Meta's names, with and without registers, SwiGLU, training checkpoints."""

import re

from radstart.backbones import Backbone, state_keys
from radstart.core.errors import RadstartError
from radstart.weights.adapters.adapter import Adapter, Tensors
from radstart.weights.adapters.renaming import renamed, without_prefix

PREFIXES = ("teacher.backbone.", "backbone.")
REMAINDER = (
    "mask_token",
    "student.*",
    "teacher.dino_head.*",
    "teacher.ibot_head.*",
    "dino_head.*",
    "ibot_head.*",
    "dino_loss.*",
    "ibot_patch_loss.*",
)

_TABLE = (
    # blocks of one FSDP chunk are numbered as in the whole network: blocks.CHUNK.BLOCK
    (r"blocks\.\d+\.(\d+)\.mlp\.w12\.(\w+)", r"blocks.\1.mlp.fc1.\2"),
    (r"blocks\.\d+\.(\d+)\.mlp\.w3\.(\w+)", r"blocks.\1.mlp.fc2.\2"),
    (r"blocks\.\d+\.(\d+)\.(.+)", r"blocks.\1.\2"),
    (r"blocks\.(\d+)\.mlp\.w12\.(\w+)", r"blocks.\1.mlp.fc1.\2"),
    (r"blocks\.(\d+)\.mlp\.w3\.(\w+)", r"blocks.\1.mlp.fc2.\2"),
)


def prefix_of(tensors: Tensors) -> str:
    """Return what stands before the names of the backbone to take, "" = nothing."""
    return next((p for p in PREFIXES if f"{p}cls_token" in tensors), "")


def matches(tensors: Tensors) -> bool:
    """Return whether names are Meta's where timm's differ: a plain re-export is timm's."""
    prefix = prefix_of(tensors)
    inner = {name.removeprefix(prefix) for name in tensors if name.startswith(prefix)}
    scales = any(re.fullmatch(r"blocks\.[\d.]+\.ls1\.gamma", name) for name in inner)
    own = {"mask_token", "register_tokens"} & inner or any(
        re.fullmatch(r"blocks\.\d+\.(\d+\.norm1|mlp\.w12)\.weight", name) for name in inner
    )
    return scales and "pos_embed" in inner and bool(own)


def adapt(tensors: Tensors, backbone: str) -> Tensors:
    """Return the tensors under timm's names.

    Raises:
        RadstartError: registers in the file or in the network alone.
    """
    return with_registers(renamed(without_prefix(tensors, prefix_of(tensors)), _TABLE), backbone)


def with_registers(tensors: Tensors, backbone: str) -> Tensors:
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


ADAPTER = Adapter(
    name="dinov2",
    about="DINOv2 in Meta's names: hub files, training checkpoints (`teacher.backbone.`)",
    matches=matches,
    adapt=adapt,
    remainder=REMAINDER,
    take="teacher",
)
