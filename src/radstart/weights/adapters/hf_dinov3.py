"""DINOv3 in the names of transformers' DINOv3ViTModel and DINOv3ConvNextModel."""

from collections.abc import Mapping

from radstart.backbones import Backbone, Switch, state_keys
from radstart.core.errors import RadstartError
from radstart.weights.adapters.adapter import Adapter, Tensors
from radstart.weights.adapters.renaming import joined, renamed

_LAYER = r"(?:model\.)?layer\.(\d+)\."
_VIT = (
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
_CONVNEXT = (
    (r"(?:model\.)?stages\.0\.downsample_layers\.(\d)\.(\w+)", r"stem.\1.\2"),
    (_STAGE + r"downsample_layers\.(\d)\.(\w+)", r"stages.\1.downsample.\2.\3"),
    (_STAGE + r"layers\.(\d+)\.depthwise_conv\.(\w+)", r"stages.\1.blocks.\2.conv_dw.\3"),
    (_STAGE + r"layers\.(\d+)\.layer_norm\.(\w+)", r"stages.\1.blocks.\2.norm.\3"),
    (_STAGE + r"layers\.(\d+)\.pointwise_conv([12])\.(\w+)", r"stages.\1.blocks.\2.mlp.fc\3.\4"),
    (_STAGE + r"layers\.(\d+)\.gamma", r"stages.\1.blocks.\2.gamma"),
    (r"layer_norm\.(\w+)", r"head.norm.\1"),
)


def matches(tensors: Tensors) -> bool:
    """Return whether names are transformers' for a DINOv3 ViT or ConvNeXt."""
    names = {name.removeprefix("model.") for name in tensors}
    vit = {"embeddings.register_tokens", "layer.0.attention.q_proj.weight"}
    return vit <= names or "stages.0.layers.0.depthwise_conv.weight" in names


def adapt(tensors: Tensors, backbone: str) -> Tensors:
    """Return the tensors under timm's names; weights of query, key and value are joined.

    Raises:
        RadstartError: biases that the network has no place for.
    """
    if not any(name == "embeddings.cls_token" for name in tensors):
        return renamed(tensors, _CONVNEXT)
    gated = any(name.endswith(".mlp.gate_proj.weight") for name in tensors)
    one = joined(tensors, _QKV, r"blocks.\1.attn.qkv.\2")
    found = renamed(one, (*_VIT, *(_GATED if gated else _PLAIN)))
    keys = state_keys(Backbone(backbone))
    for name, tensor in found.items():
        if name.endswith((".q_bias", ".v_bias")) and name not in keys and tensor.any():
            raise RadstartError(
                f"{backbone} has no biases of queries and values, the file has",
                "backbone",
                name,
                f"name {backbone.removesuffix('_qkvb')}_qkvb",
            )
    return found


def switches(backbone: str) -> Mapping[str, Switch]:
    """Return the class token as the image's feature."""
    return {"global_pool": "token"} if backbone.startswith("vit_") else {}


ADAPTER = Adapter(
    name="hf_dinov3",
    about="DINOv3 in transformers' names: ViT and ConvNeXt",
    matches=matches,
    adapt=adapt,
    remainder=(
        "embeddings.mask_token",
        "blocks.*.attn.q_bias",  # zero, or refused
        "blocks.*.attn.v_bias",
    ),
    switches=switches,
)
