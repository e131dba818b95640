"""EVA-X: EVA-02 nets of patch 16 in their own names, as masked pretraining leaves them."""

from collections.abc import Mapping

import torch

from radstart.backbones import Switch
from radstart.core.errors import RadstartError
from radstart.weights.adapters.adapter import Adapter, Tensors
from radstart.weights.adapters.renaming import renamed

GRID = 14
"""Patches along one side of the images of pretraining: 224 / 16."""

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


def matches(tensors: Tensors) -> bool:
    """Return whether this is EVA-02 with 16-pixel patches: gated MLPs, no layer scale."""
    gates = {"blocks.0.mlp.w12.weight", "blocks.0.mlp.w1.weight"} & tensors.keys()
    patch = tensors.get("patch_embed.proj.weight")
    own = gates and {"pos_embed", "blocks.0.attn.q_bias"} <= tensors.keys()
    scaled = {"blocks.0.ls1.gamma", "storage_tokens"} & tensors.keys()
    sixteen = patch is not None and tuple(patch.shape[-2:]) == (16, 16)
    return bool(own) and not scaled and sixteen


def adapt(tensors: Tensors, backbone: str) -> Tensors:
    """Return the tensors under timm's names.

    The norm of pretraining becomes `fc_norm`, after the mean of the patches: so EVA-X's own
    loader has it.

    Raises:
        RadstartError: rotary tables in the file that are not those of a grid of GRID patches.
    """
    _check_rotary(tensors)
    apart = any(name.endswith(".attn.q_proj.weight") for name in tensors)
    norm = not any(name.startswith("fc_norm.") for name in tensors)
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
                f"rotary positions of another grid than {GRID} x {GRID}",
                name,
                f"{found:.3g}",
                f"drop rope.* from a copy of the file, and state ref_feat_shape={found:.0f}",
            )


def switches(backbone: str) -> Mapping[str, Switch]:
    """Return the patch of 16 pixels and the grid that rotary positions are scaled to."""
    if backbone.startswith("eva02_") and "patch14" in backbone:
        return {"patch_size": 16, "ref_feat_shape": GRID}
    return {}


ADAPTER = Adapter(
    name="eva02",
    about="EVA-X: EVA-02 nets with 16-pixel patches in their own names (`mlp.w12`, `q_bias`)",
    matches=matches,
    adapt=adapt,
    remainder=("mask_token", "lm_head.*", "rope.*", "blocks.*.attn.rope.*"),
    switches=switches,
)
