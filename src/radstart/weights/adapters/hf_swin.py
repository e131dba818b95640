"""Swin Transformers in transformers' names, alone or as MedCLIP's image tower.

transformers keeps query, key and value apart and merges patches at the end of a stage; timm joins
the three and merges at the beginning of the next stage.
"""

import re

from radstart.weights.adapters.adapter import Adapter, Tensors
from radstart.weights.adapters.renaming import joined, renamed, without_prefix

PREFIXES = ("vision_model.model.", "swin.", "model.", "")
"""MedCLIP's two towers in one file; a classifier's wrap; MedCLIP's image tower alone; bare."""

_BLOCK = r"encoder\.layers\.(\d+)\.blocks\.(\d+)\."
_ATTENTION = "encoder.layers.0.blocks.0.attention.self."
_TABLE = (
    (r"embeddings\.patch_embeddings\.projection\.(\w+)", r"patch_embed.proj.\1"),
    (r"embeddings\.norm\.(\w+)", r"patch_embed.norm.\1"),
    (_BLOCK + r"layernorm_before\.(\w+)", r"layers.\1.blocks.\2.norm1.\3"),
    (_BLOCK + r"layernorm_after\.(\w+)", r"layers.\1.blocks.\2.norm2.\3"),
    (
        _BLOCK + r"attention\.self\.relative_position_bias_table",
        r"layers.\1.blocks.\2.attn.relative_position_bias_table",
    ),
    (_BLOCK + r"attention\.output\.dense\.(\w+)", r"layers.\1.blocks.\2.attn.proj.\3"),
    (_BLOCK + r"intermediate\.dense\.(\w+)", r"layers.\1.blocks.\2.mlp.fc1.\3"),
    (_BLOCK + r"output\.dense\.(\w+)", r"layers.\1.blocks.\2.mlp.fc2.\3"),
    (r"layernorm\.(\w+)", r"norm.\1"),
    (r"classifier\.(\w+)", r"head.fc.\1"),
)
_QKV = tuple(_BLOCK + rf"attention\.self\.{part}\.(\w+)" for part in ("query", "key", "value"))
_MERGE = re.compile(r"encoder\.layers\.(\d+)\.(downsample\..+)")


def matches(tensors: Tensors) -> bool:
    """Return whether names are those of transformers' SwinModel (not of Swinv2Model)."""
    own = (_ATTENTION + "query.weight", _ATTENTION + "relative_position_bias_table")
    return any(all(prefix + name in tensors for name in own) for prefix in PREFIXES)


def adapt(tensors: Tensors, backbone: str) -> Tensors:
    """Return the tensors under timm's names; query, key and value are joined in this order."""
    first = _ATTENTION + "query.weight"
    prefix = next((prefix for prefix in PREFIXES if prefix + first in tensors), "")
    bare = joined(without_prefix(tensors, prefix), _QKV, r"layers.\1.blocks.\2.attn.qkv.\3")
    return renamed({_merging(name): tensor for name, tensor in bare.items()}, _TABLE)


def _merging(name: str) -> str:
    """Return "layers.1.downsample.x" for "encoder.layers.0.downsample.x"."""
    found = _MERGE.fullmatch(name)
    return f"layers.{int(found[1]) + 1}.{found[2]}" if found else name


ADAPTER = Adapter(
    name="hf_swin",
    about="Swin in transformers' names (MedCLIP's ViT): query, key and value apart, "
    "a projection and a text tower beside it",
    matches=matches,
    adapt=adapt,
    remainder=(
        *("vision_model.projection_head.*", "projection_head.*", "text_model.*", "logit_scale"),
        *("*.relative_position_index", "embeddings.mask_token"),
    ),
)
