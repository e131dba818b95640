"""BEiT's own layout (USFM): timm's names, with indices among the tensors, or one shared table.

A pretraining shares one table of relative positions among all blocks (`rel_pos_bias.`); USFM's own
loader copies it into every block before fine-tuning, and so does this one: each block then has
its own, equal to the others at the start, as timm's `beit_base_patch16_224` has.
timm normalises after averaging (`fc_norm`); a file whose last norm is `norm`, before averaging,
needs the switch `use_fc_norm = false` and is refused without.
"""

import re

from radstart.weights.adapters.adapter import Adapter, Tensors

_SHARED = "rel_pos_bias.relative_position_bias_table"
_TABLE = "attn.relative_position_bias_table"
_BLOCK = re.compile(r"blocks\.(\d+)\.attn\.qkv\.weight")


def matches(tensors: Tensors) -> bool:
    """Return whether names are timm's for a BEiT, with what only its own files hold."""
    known = {"cls_token", "blocks.0.attn.q_bias", "blocks.0.attn.v_bias"} <= tensors.keys()
    own = ("rel_pos_bias.", "mask_token")
    relative = any(name.endswith("relative_position_bias_table") for name in tensors)
    return (
        known
        and relative
        and any(
            name.startswith(own) or name.endswith(".relative_position_index") for name in tensors
        )
    )


def adapt(tensors: Tensors, backbone: str) -> Tensors:
    """Give every block the shared table, a view of it, unless blocks have tables of their own."""
    if _SHARED not in tensors or any(name.endswith("." + _TABLE) for name in tensors):
        return dict(tensors)
    blocks = [found[1] for name in tensors if (found := _BLOCK.fullmatch(name))]
    rest = {name: tensor for name, tensor in tensors.items() if name != _SHARED}
    return rest | {f"blocks.{block}.{_TABLE}": tensors[_SHARED] for block in blocks}


ADAPTER = Adapter(
    name="beit",
    about="BEiT's own files (USFM): timm's names with indices of relative positions, or with "
    "one table of them for all blocks",
    matches=matches,
    adapt=adapt,
    remainder=("mask_token", "*.relative_position_index"),
)
