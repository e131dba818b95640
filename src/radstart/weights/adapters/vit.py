"""ViTs in their own names: masked autoencoders, BEiT (USFM), EVA-X.

Masked autoencoders: the trained norm stays `norm`, after which the class token is the image's
feature. The original's fine-tuning pools patches instead and starts a fresh `fc_norm`: a network
with one is refused by the loader, since no tensor of the file belongs there.

BEiT: timm's names, with indices among the tensors, or one shared table. A pretraining shares one
table of relative positions among all blocks (`rel_pos_bias.`); USFM's own loader copies it into
every block before fine-tuning, and so does this one: each block then has its own, equal to the
others at the start, as timm's `beit_base_patch16_224` has. timm normalises after averaging
(`fc_norm`); a file whose last norm is `norm`, before averaging, needs the switch
`use_fc_norm = false` and is refused without.

EVA-X: EVA-02 nets of patch 16 as masked pretraining leaves them. The norm of pretraining becomes
`fc_norm`, after the mean of the patches: so EVA-X's own loader has it.
"""

import re
from collections.abc import Mapping

import torch

from radstart.backbones import Switch
from radstart.core.errors import RadstartError
from radstart.weights.adapters.adapter import Adapter
from radstart.weights.adapters.renaming import begins, having, renamed, renaming
from radstart.weights.reading.container import Tensors

GRID = 14
"""Patches along one side of the images of EVA-X's pretraining: 224 / 16."""

_SHARED = "rel_pos_bias.relative_position_bias_table"
_RELATIVE = "attn.relative_position_bias_table"
_BLOCK = r"blocks\.(\d+)\."
_NAIVE = (
    (_BLOCK + r"mlp\.w1\.(\w+)", r"blocks.\1.mlp.fc1_g.\2"),
    (_BLOCK + r"mlp\.w2\.(\w+)", r"blocks.\1.mlp.fc1_x.\2"),
    (_BLOCK + r"mlp\.ffn_ln\.(\w+)", r"blocks.\1.mlp.norm.\2"),
    (_BLOCK + r"attn\.inner_attn_ln\.(\w+)", r"blocks.\1.attn.norm.\2"),
    (_BLOCK + r"mlp\.w12\.(\w+)", r"blocks.\1.mlp.fc1.\2"),
    (_BLOCK + r"mlp\.w3\.(\w+)", r"blocks.\1.mlp.fc2.\2"),
)
_APART = ((_BLOCK + r"attn\.([qv])_bias", r"blocks.\1.attn.\2_proj.bias"),)
_NORM = ((r"norm\.(\w+)", r"fc_norm.\1"),)


def _is_mae(tensors: Tensors) -> bool:
    """Return whether there is a decoder beside a ViT's or a U-Net's encoder."""
    vit = having("decoder_embed.weight", "mask_token", "pos_embed", "blocks.0.norm1.weight")
    unet = begins(tensors, "model.decoder.") and begins(tensors, "model.encoder.")
    return vit(tensors) or unet


def _is_beit(tensors: Tensors) -> bool:
    """Return whether names are timm's for a BEiT, with what only its own files hold."""
    known = having("cls_token", "blocks.0.attn.q_bias", "blocks.0.attn.v_bias")(tensors)
    relative = any(name.endswith("relative_position_bias_table") for name in tensors)
    index = any(name.endswith(".relative_position_index") for name in tensors)
    return known and relative and (index or begins(tensors, "rel_pos_bias.", "mask_token"))


def _beit(tensors: Tensors, backbone: str) -> Tensors:
    """Give every block the shared table, a view of it, unless blocks have tables of their own."""
    if _SHARED not in tensors or any(name.endswith("." + _RELATIVE) for name in tensors):
        return dict(tensors)
    blocks = [f[1] for name in tensors if (f := re.fullmatch(_BLOCK + r"attn\.qkv\.weight", name))]
    rest = {name: tensor for name, tensor in tensors.items() if name != _SHARED}
    return rest | {f"blocks.{block}.{_RELATIVE}": tensors[_SHARED] for block in blocks}


def _is_eva02(tensors: Tensors) -> bool:
    """Return whether this is EVA-02 with 16-pixel patches: gated MLPs, no layer scale."""
    gates = {"blocks.0.mlp.w12.weight", "blocks.0.mlp.w1.weight"} & tensors.keys()
    patch = tensors.get("patch_embed.proj.weight")
    own = gates and {"pos_embed", "blocks.0.attn.q_bias"} <= tensors.keys()
    scaled = {"blocks.0.ls1.gamma", "storage_tokens"} & tensors.keys()
    sixteen = patch is not None and tuple(patch.shape[-2:]) == (16, 16)
    return bool(own) and not scaled and sixteen


def _eva02(tensors: Tensors, backbone: str) -> Tensors:
    """Return the tensors under timm's names.

    Raises:
        RadstartError: rotary tables in the file that are not those of a grid of GRID patches.
    """
    _check_rotary(tensors)
    apart = any(name.endswith(".attn.q_proj.weight") for name in tensors)
    norm = not begins(tensors, "fc_norm.")
    return renamed(tensors, (*_NAIVE, *(_APART if apart else ()), *(_NORM if norm else ())))


def _check_rotary(tensors: Tensors) -> None:
    """Refuse rotary tables of another grid: timm computes them, so the file's are dropped.

    A table is the cosine (patches, head) of position x frequency; its first frequency is 1, so
    that the second column of patches has cos(grid / patches per side).
    """
    for name, table in tensors.items():
        if not name.endswith("rope.freqs_cos") or table.dim() != 2:
            continue
        patches = round(table.shape[0] ** 0.5)
        found = patches * float(torch.arccos(table[1, table.shape[1] // 2].double()))
        if abs(found - GRID) > 0.05:
            raise RadstartError(
                f"rotary positions of another grid than {GRID} x {GRID}", name, f"{found:.3g}",
                f"drop rope.* from a copy of the file, and state ref_feat_shape={found:.0f}",
            )  # fmt: skip


def _eva02_switches(backbone: str) -> Mapping[str, Switch]:
    """Return the patch of 16 pixels and the grid that rotary positions are scaled to."""
    if backbone.startswith("eva02_") and "patch14" in backbone:
        return {"patch_size": 16, "ref_feat_shape": GRID}
    return {}


MAE = Adapter(
    name="mae",
    about="masked autoencoders: ViT encoder beside `decoder_*`, or `model.encoder.` of a U-Net",
    matches=_is_mae,
    adapt=renaming((), "model.encoder."),
    remainder=("mask_token", "decoder_*", "model.decoder.*", "model.segmentation_head.*"),
)
BEIT = Adapter(
    name="beit",
    about="BEiT's own files (USFM): timm's names with indices of relative positions, or with "
    "one table of them for all blocks",
    matches=_is_beit,
    adapt=_beit,
    remainder=("mask_token", "*.relative_position_index"),
)
EVA02 = Adapter(
    name="eva02",
    about="EVA-X: EVA-02 nets with 16-pixel patches in their own names (`mlp.w12`, `q_bias`)",
    matches=_is_eva02,
    adapt=_eva02,
    remainder=("mask_token", "lm_head.*", "rope.*", "blocks.*.attn.rope.*"),
    switches=_eva02_switches,
)
