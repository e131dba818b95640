"""Segment Anything's image encoder in its own names: SAM, MedSAM.

The encoder computes at 1024 pixels: 64 x 64 positions, relative positions of 127 steps in the
blocks that see the whole image, windows of 14 x 14 in the others. timm's `samvit_base_patch16` is
the same network there, but for the constant of its layer norms, which is switched to SAM's 1e-6.
The network is built for the file's grid, and keeps the file's tables. It takes images of any
multiple of 16; at other sizes both tables are resampled at every call, the positions bicubically
with antialias, the relative ones linearly, and the receipt says so. Of these SAM's own code does
the second and refuses the first: at other sizes no original exists to be equal to.
Features are the mean of the neck's 256 channels.
"""

from collections.abc import Mapping

from radstart.backbones import Switch
from radstart.weights.adapters.adapter import Adapter, Tensors
from radstart.weights.adapters.renaming import renamed, without_prefix

_ENCODER = "image_encoder."
_TABLE = ((r"blocks\.(\d+)\.mlp\.lin([12])\.(\w+)", r"blocks.\1.mlp.fc\2.\3"),)
_OWN = ("blocks.0.attn.rel_pos_h", "blocks.0.mlp.lin1.weight", "neck.0.weight")


def matches(tensors: Tensors) -> bool:
    """Return whether an image encoder of SAM is there, with its prefix or alone."""
    inside = all(_ENCODER + name in tensors for name in _OWN)
    return inside or (is_encoder(tensors) and "pos_embed" in tensors)


def is_encoder(tensors: Tensors) -> bool:
    """Return whether names are those of SAM's image encoder without its prefix."""
    return all(name in tensors for name in _OWN)


def adapt(tensors: Tensors, backbone: str) -> Tensors:
    """Return the encoder's tensors under timm's names."""
    return renamed(without_prefix(tensors, _ENCODER), _TABLE)


def switches(backbone: str) -> Mapping[str, Switch]:
    """Return the constant of SAM's layer norms; timm has 1e-5."""
    return {"ln_eps": 1e-6}


ADAPTER = Adapter(
    name="sam",
    about="Segment Anything (SAM, MedSAM): image_encoder.*, prompt encoder and mask decoder",
    matches=matches,
    adapt=adapt,
    remainder=("prompt_encoder.*", "mask_decoder.*"),
    switches=switches,
)
