"""DINOv3: ViTs (registers, rotary positions) and ConvNeXts, in Meta's and transformers' names."""

import re
from collections.abc import Mapping

import torch

from radstart.backbones import Backbone, Switch, state_keys
from radstart.core.errors import RadstartError
from radstart.weights.adapters.adapter import Adapter
from radstart.weights.adapters.dino import REMAINDER, prefix_of
from radstart.weights.adapters.renaming import joined, renamed, renaming
from radstart.weights.reading.container import Tensors

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

_LAYER = r"(?:model\.)?layer\.(\d+)\."
_HF_VIT = (
    (r"embeddings\.cls_token", "cls_token"),
    (r"embeddings\.register_tokens", "reg_token"),
    (r"embeddings\.patch_embeddings\.(\w+)", r"patch_embed.proj.\1"),
    (_LAYER + r"(norm[12])\.(\w+)", r"blocks.\1.\2.\3"),
    (_LAYER + r"attention\.o_proj\.(\w+)", r"blocks.\1.attn.proj.\2"),
    (_LAYER + r"attention\.([qv])_proj\.bias", r"blocks.\1.attn.\2_bias"),
    (_LAYER + r"layer_scale([12])\.lambda1", r"blocks.\1.gamma_\2"),
)
_PLAIN = (
    (_LAYER + r"mlp\.up_proj\.(\w+)", r"blocks.\1.mlp.fc1.\2"),
    (_LAYER + r"mlp\.down_proj\.(\w+)", r"blocks.\1.mlp.fc2.\2"),
)
_GATED = (
    (_LAYER + r"mlp\.gate_proj\.(\w+)", r"blocks.\1.mlp.fc1_g.\2"),
    (_LAYER + r"mlp\.up_proj\.(\w+)", r"blocks.\1.mlp.fc1_x.\2"),
    (_LAYER + r"mlp\.down_proj\.(\w+)", r"blocks.\1.mlp.fc2.\2"),
)
_QKV = tuple(_LAYER + rf"attention\.{part}_proj\.(weight)" for part in "qkv")
_STAGE = r"(?:model\.)?stages\.(\d)\."
_HF_CONVNEXT = (
    (r"(?:model\.)?stages\.0\.downsample_layers\.(\d)\.(\w+)", r"stem.\1.\2"),
    (_STAGE + r"downsample_layers\.(\d)\.(\w+)", r"stages.\1.downsample.\2.\3"),
    (_STAGE + r"layers\.(\d+)\.depthwise_conv\.(\w+)", r"stages.\1.blocks.\2.conv_dw.\3"),
    (_STAGE + r"layers\.(\d+)\.layer_norm\.(\w+)", r"stages.\1.blocks.\2.norm.\3"),
    (_STAGE + r"layers\.(\d+)\.pointwise_conv([12])\.(\w+)", r"stages.\1.blocks.\2.mlp.fc\3.\4"),
    (_STAGE + r"layers\.(\d+)\.gamma", r"stages.\1.blocks.\2.gamma"),
    (r"layer_norm\.(\w+)", r"head.norm.\1"),
)


def _is_meta(tensors: Tensors) -> bool:
    """Return whether this is a ViT with Meta's rotary periods or a ConvNeXt with `norms`."""
    prefix = prefix_of(tensors)
    vit = {f"{prefix}rope_embed.periods", f"{prefix}blocks.0.norm1.weight"}
    convnext = {"downsample_layers.0.0.weight", "stages.0.0.gamma", "norms.3.weight"}
    return vit <= tensors.keys() or convnext <= tensors.keys()


def _meta(tensors: Tensors, backbone: str) -> Tensors:
    """Return the tensors under timm's names; biases of q and v apart, that of k must be zero.

    Raises:
        RadstartError: biases of keys, or biases that the network has no place for.
    """
    if "downsample_layers.0.0.weight" in tensors:
        return renamed(tensors, _CONVNEXT)
    bare = renaming(_VIT, prefix_of(tensors))(tensors, backbone)
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
        raise _no_place(backbone, name)
    return {name: tensors[name]}


def _no_place(backbone: str, name: str) -> RadstartError:
    return RadstartError(
        f"{backbone} has no biases of queries and values, the file has",
        "backbone",
        name,
        f"name {backbone.removesuffix('_qkvb')}_qkvb",
    )


def _is_transformers(tensors: Tensors) -> bool:
    """Return whether names are transformers' for a DINOv3 ViT or ConvNeXt."""
    names = {name.removeprefix("model.") for name in tensors}
    vit = {"embeddings.register_tokens", "layer.0.attention.q_proj.weight"}
    return vit <= names or "stages.0.layers.0.depthwise_conv.weight" in names


def _transformers(tensors: Tensors, backbone: str) -> Tensors:
    """Return the tensors under timm's names; weights of query, key and value are joined.

    Raises:
        RadstartError: biases that the network has no place for.
    """
    if "embeddings.cls_token" not in tensors:
        return renamed(tensors, _HF_CONVNEXT)
    gated = any(name.endswith(".mlp.gate_proj.weight") for name in tensors)
    one = joined(tensors, _QKV, r"blocks.\1.attn.qkv.\2")
    found = renamed(one, (*_HF_VIT, *(_GATED if gated else _PLAIN)))
    keys = state_keys(Backbone(backbone))
    for name, tensor in found.items():
        if name.endswith((".q_bias", ".v_bias")) and name not in keys and tensor.any():
            raise _no_place(backbone, name)
    return found


def switches(backbone: str) -> Mapping[str, Switch]:
    """Return the class token as the image's feature, and periods as the file rounds them."""
    if not backbone.startswith("vit_"):
        return {}
    return {"global_pool": "token", "rope_periods": "stored"}


DINOV3 = Adapter(
    name="dinov3",
    about="DINOv3 in Meta's names: ViT (`storage_tokens`, `rope_embed`) and ConvNeXt",
    matches=_is_meta,
    adapt=_meta,
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
HF_DINOV3 = Adapter(
    name="hf_dinov3",
    about="DINOv3 in transformers' names: ViT and ConvNeXt",
    matches=_is_transformers,
    adapt=_transformers,
    remainder=(
        "embeddings.mask_token",
        "blocks.*.attn.q_bias",  # zero, or refused
        "blocks.*.attn.v_bias",
    ),
    # the class token is the image's feature
    switches=lambda backbone: {"global_pool": "token"} if backbone.startswith("vit_") else {},
)
