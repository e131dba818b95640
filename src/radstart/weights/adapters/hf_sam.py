"""Segment Anything's image encoder in transformers' names (SamModel): SAM's and MedSAM's copies.

What is said of sizes in `sam` holds here too.
"""

from radstart.weights.adapters import sam
from radstart.weights.adapters.adapter import Adapter, Tensors
from radstart.weights.adapters.renaming import renamed, without_prefix

_ENCODER = "vision_encoder."
_LAYER = r"layers\.(\d+)\."
_TABLE = (
    (r"patch_embed\.projection\.(\w+)", r"patch_embed.proj.\1"),
    (_LAYER + r"layer_norm([12])\.(\w+)", r"blocks.\1.norm\2.\3"),
    (_LAYER + r"(attn\..+)", r"blocks.\1.\2"),
    (_LAYER + r"mlp\.lin([12])\.(\w+)", r"blocks.\1.mlp.fc\2.\3"),
    (r"neck\.conv1\.weight", "neck.0.weight"),
    (r"neck\.layer_norm1\.(\w+)", r"neck.1.\1"),
    (r"neck\.conv2\.weight", "neck.2.weight"),
    (r"neck\.layer_norm2\.(\w+)", r"neck.3.\1"),
)


def matches(tensors: Tensors) -> bool:
    """Return whether an image encoder of transformers' SamModel is there."""
    own = ("layers.0.attn.rel_pos_h", "layers.0.mlp.lin1.weight", "neck.layer_norm1.weight")
    return all(_ENCODER + name in tensors for name in own)


def adapt(tensors: Tensors, backbone: str) -> Tensors:
    """Return the encoder's tensors under timm's names."""
    return renamed(without_prefix(tensors, _ENCODER), _TABLE)


ADAPTER = Adapter(
    name="hf_sam",
    about="Segment Anything in transformers' names: vision_encoder.*, prompt encoder and decoder",
    matches=matches,
    adapt=adapt,
    remainder=("prompt_encoder.*", "mask_decoder.*", "shared_image_embedding.*"),
    switches=sam.switches,
)
