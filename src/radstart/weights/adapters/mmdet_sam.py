"""Segment Anything's image encoder in the names of mmpretrain's ViTSAM (UltraSam).

A file of mmdet's trainer holds the encoder under `backbone.` beside prompt encoder, decoder and
mask head; it is pickled with objects of mmengine, so it must be converted once. What is said of
sizes in `sam` holds here too.
"""

from radstart.weights.adapters import sam
from radstart.weights.adapters.adapter import Adapter, Tensors
from radstart.weights.adapters.renaming import renamed, without_prefix

_ENCODER = "backbone."
_LAYER = r"layers\.(\d+)\."
_TABLE = (
    (r"patch_embed\.projection\.(\w+)", r"patch_embed.proj.\1"),
    (_LAYER + r"ln([12])\.(\w+)", r"blocks.\1.norm\2.\3"),
    (_LAYER + r"(attn\..+)", r"blocks.\1.\2"),
    (_LAYER + r"ffn\.layers\.0\.0\.(\w+)", r"blocks.\1.mlp.fc1.\2"),
    (_LAYER + r"ffn\.layers\.1\.(\w+)", r"blocks.\1.mlp.fc2.\2"),
    (r"channel_reduction\.(\d)\.(\w+)", r"neck.\1.\2"),
)


def matches(tensors: Tensors) -> bool:
    """Return whether an image encoder of mmpretrain's ViTSAM is there, with its prefix or alone."""
    own = ("layers.0.attn.rel_pos_h", "layers.0.ffn.layers.0.0.weight")
    return any(all(prefix + name in tensors for name in own) for prefix in (_ENCODER, ""))


def adapt(tensors: Tensors, backbone: str) -> Tensors:
    """Return the encoder's tensors under timm's names."""
    return renamed(without_prefix(tensors, _ENCODER), _TABLE)


ADAPTER = Adapter(
    name="mmdet_sam",
    about="Segment Anything in mmpretrain's names (UltraSam): backbone.layers.*, prompt encoder, "
    "decoder and mask head",
    matches=matches,
    adapt=adapt,
    remainder=("prompt_encoder.*", "decoder.*", "bbox_head.*"),
    switches=sam.switches,
)
