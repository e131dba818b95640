"""DINOv3: Meta's names of its ViTs (registers, rotary positions) and ConvNeXts."""

import re
from collections.abc import Mapping

import torch

from radstart.backbones import Backbone, Switch, state_keys
from radstart.core.errors import RadstartError
from radstart.weights.adapters.adapter import Adapter, Tensors
from radstart.weights.adapters.dinov2 import REMAINDER, prefix_of
from radstart.weights.adapters.renaming import renamed, without_prefix

_VIT = (
    (r"storage_tokens", "reg_token"),
    (r"rope_embed\.periods", "rope.periods"),
    (r"blocks\.(\d+)\.ls([12])\.gamma", r"blocks.\1.gamma_\2"),
    (r"blocks\.(\d+)\.mlp\.w1\.(\w+)", r"blocks.\1.mlp.fc1_g.\2"),
    (r"blocks\.(\d+)\.mlp\.w2\.(\w+)", r"blocks.\1.mlp.fc1_x.\2"),
    (r"blocks\.(\d+)\.mlp\.w3\.(\w+)", r"blocks.\1.mlp.fc2.\2"),
)
_CONVNEXT = (
    (r"downsample_layers\.0\.(\d)\.(\w+)", r"stem.\1.\2"),
    (r"downsample_layers\.(\d)\.(\d)\.(\w+)", r"stages.\1.downsample.\2.\3"),
    (r"stages\.(\d)\.(\d+)\.dwconv\.(\w+)", r"stages.\1.blocks.\2.conv_dw.\3"),
    (r"stages\.(\d)\.(\d+)\.pwconv([12])\.(\w+)", r"stages.\1.blocks.\2.mlp.fc\3.\4"),
    (r"stages\.(\d)\.(\d+)\.(gamma|norm\.\w+)", r"stages.\1.blocks.\2.\3"),
    (r"norm\.(\w+)", r"head.norm.\1"),
)


def matches(tensors: Tensors) -> bool:
    """Return whether this is a ViT with Meta's rotary periods or a ConvNeXt with `norms`."""
    prefix = prefix_of(tensors)
    vit = {f"{prefix}rope_embed.periods", f"{prefix}blocks.0.norm1.weight"}
    convnext = {"downsample_layers.0.0.weight", "stages.0.0.gamma", "norms.3.weight"}
    return vit <= tensors.keys() or convnext <= tensors.keys()


def adapt(tensors: Tensors, backbone: str) -> Tensors:
    """Return the tensors under timm's names; biases of q and v apart, that of k must be zero.

    Raises:
        RadstartError: biases of keys, or biases that the network has no place for.
    """
    if "downsample_layers.0.0.weight" in tensors:
        return renamed(tensors, _CONVNEXT)
    bare = renamed(without_prefix(tensors, prefix_of(tensors)), _VIT)
    keys = state_keys(Backbone(backbone))
    result: Tensors = {}
    for name, tensor in bare.items():
        block = re.fullmatch(r"(blocks\.\d+\.attn\.)qkv\.bias", name)
        result |= _biases(bare, block[1], keys, backbone) if block else {name: tensor}
    return result


def _biases(tensors: Tensors, attention: str, keys: frozenset[str], backbone: str) -> Tensors:
    """Return what becomes of one `qkv.bias`, (3 C,): `q_bias` and `v_bias`, or itself if zero.

    What zeros of a `bias_mask` take out is zero: the original multiplies by it.
    """
    name = f"{attention}qkv.bias"
    mask = tensors.get(f"{name}_mask", torch.ones(()))
    query, key, value = tensors[name].chunk(3)
    kept = (mask != 0).expand_as(tensors[name]).chunk(3)
    if (key * kept[1]).any():
        raise RadstartError(
            "biases of keys are not zero: the network has none", name, remedy="not DINOv3"
        )
    query, value = (
        part if bool(own.all()) else part * own
        for part, own in ((query, kept[0]), (value, kept[2]))
    )
    if f"{attention}q_bias" in keys:
        return {f"{attention}q_bias": query, f"{attention}v_bias": value}
    if bool(query.any()) or bool(value.any()):
        raise RadstartError(
            f"{backbone} has no biases of queries and values, the file has",
            "backbone",
            name,
            f"name {backbone.removesuffix('_qkvb')}_qkvb",
        )
    return {name: tensors[name]}


def switches(backbone: str) -> Mapping[str, Switch]:
    """Return the class token as the image's feature, and periods as the file rounds them."""
    if not backbone.startswith("vit_"):
        return {}
    return {"global_pool": "token", "rope_periods": "stored"}


ADAPTER = Adapter(
    name="dinov3",
    about="DINOv3 in Meta's names: ViT (`storage_tokens`, `rope_embed`) and ConvNeXt",
    matches=matches,
    adapt=adapt,
    remainder=(
        *REMAINDER,
        "blocks.*.attn.qkv.bias",  # zero or masked, or refused
        "blocks.*.attn.qkv.bias_mask",
        "local_cls_norm.*",  # of local crops, in training alone
        "norms.3.*",  # `norm` again
    ),
    switches=switches,
    take="teacher",
)
