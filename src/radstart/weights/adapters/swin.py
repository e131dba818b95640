"""Swin Transformers: timm's names of before 0.9 and Microsoft's (Ark, Ark+); transformers'.

In both, patches are merged at the end of a stage (`layers.0.downsample`), in timm today at the
beginning of the next one.

Ark: the classifier `head` is `head.fc` now; masks and indices, which follow from the image's size,
lie among the tensors. Its files hold a student (`state_dict`) and a `teacher`; the teacher is the
published network, with a projector and one head for each of its pretraining sets, which are left
over, as is the classifier of 1000 classes that no training ever touched.

transformers' Swins, alone or as MedCLIP's image tower, keep query, key and value apart; timm
joins the three.

A Swin has no position embedding: its tensors fit any size that `img_size` names (Ark+ Swin-L:
`swin_large_patch4_window12_384` with `img_size = 768`). Whether the last stage shifts its windows
depends on that size, so the size of the pretraining is part of the network.
"""

import re

from radstart.weights.adapters.adapter import Adapter
from radstart.weights.adapters.renaming import having, joined, renamed, renamed_by, without_prefix
from radstart.weights.reading.container import Tensors

PREFIXES = ("vision_model.model.", "swin.", "model.", "")
"""MedCLIP's two towers in one file; a classifier's wrap; MedCLIP's image tower alone; bare."""

_BLOCK = r"encoder\.layers\.(\d+)\.blocks\.(\d+)\."
_QUERY = "encoder.layers.0.blocks.0.attention.self.query.weight"
_TABLE = (
    (r"embeddings\.patch_embeddings\.projection\.(\w+)", r"patch_embed.proj.\1"),
    (r"embeddings\.norm\.(\w+)", r"patch_embed.norm.\1"),
    (_BLOCK + r"layernorm_before\.(\w+)", r"layers.\1.blocks.\2.norm1.\3"),
    (_BLOCK + r"layernorm_after\.(\w+)", r"layers.\1.blocks.\2.norm2.\3"),
    (_BLOCK + r"attention\.self\.(relative_position_bias_table)", r"layers.\1.blocks.\2.attn.\3"),
    (_BLOCK + r"attention\.output\.dense\.(\w+)", r"layers.\1.blocks.\2.attn.proj.\3"),
    (_BLOCK + r"intermediate\.dense\.(\w+)", r"layers.\1.blocks.\2.mlp.fc1.\3"),
    (_BLOCK + r"output\.dense\.(\w+)", r"layers.\1.blocks.\2.mlp.fc2.\3"),
    (r"layernorm\.(\w+)", r"norm.\1"),
    (r"classifier\.(\w+)", r"head.fc.\1"),
)
_QKV = tuple(_BLOCK + rf"attention\.self\.{part}\.(\w+)" for part in ("query", "key", "value"))
_MERGE = re.compile(r"(?:encoder\.)?layers\.(\d+)\.(downsample\..+)")


def _merged_later(tensors: Tensors) -> Tensors:
    """Return the tensors with each merging of patches in the stage after it."""

    def name(old: str) -> str:
        found = _MERGE.fullmatch(old)
        return f"layers.{int(found[1]) + 1}.{found[2]}" if found else old

    return renamed_by(tensors, name)


def _hf_swin(tensors: Tensors, backbone: str) -> Tensors:
    """Return the tensors under timm's names; query, key and value are joined in this order."""
    prefix = next((prefix for prefix in PREFIXES if prefix + _QUERY in tensors), "")
    bare = joined(without_prefix(tensors, prefix), _QKV, r"layers.\1.blocks.\2.attn.qkv.\3")
    return renamed(_merged_later(bare), _TABLE)


ARK = Adapter(
    name="ark",
    about="Swin in the names of timm before 0.9 and of Microsoft's files (Ark, Ark+): patches "
    "merged at a stage's end, a projector and several heads beside it",
    # no Swin of timm's today has a merging in its first stage
    matches=having(
        "layers.0.downsample.reduction.weight",
        "layers.0.blocks.0.attn.relative_position_bias_table",
    ),
    adapt=lambda t, backbone: renamed(_merged_later(t), ((r"head\.(weight|bias)", r"head.fc.\1"),)),
    remainder=("projector.*", "omni_heads.*", "*.attn_mask", "*.relative_position_index"),
    take="teacher",
)
HF_SWIN = Adapter(
    name="hf_swin",
    about="Swin in transformers' names (MedCLIP's ViT): query, key and value apart, "
    "a projection and a text tower beside it",
    # of the first version: Swinv2Model has no table
    matches=having(
        *(_QUERY, _QUERY.replace("query.weight", "relative_position_bias_table")), before=PREFIXES
    ),
    adapt=_hf_swin,
    remainder=(
        *("vision_model.projection_head.*", "projection_head.*", "text_model.*", "logit_scale"),
        *("*.relative_position_index", "embeddings.mask_token"),
    ),
)
