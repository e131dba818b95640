"""Swin Transformers in the names that timm had before 0.9, and Microsoft's files have: Ark, Ark+.

There, patches are merged at the end of a stage (`layers.0.downsample`), in timm today at the
beginning of the next one; the classifier `head` is `head.fc` now; masks and indices, which follow
from the image's size, lie among the tensors.

Ark's files hold a student (`state_dict`) and a `teacher`; the teacher is the published network,
with a projector and one head for each of its pretraining sets, which are left over, as is the
classifier of 1000 classes that no training ever touched.

A Swin has no position embedding: its tensors fit any size that `img_size` names (Ark+ Swin-L:
`swin_large_patch4_window12_384` with `img_size = 768`). Whether the last stage shifts its windows
depends on that size, so the size of the pretraining is part of the network.
"""

import re

from radstart.weights.adapters.adapter import Adapter, Tensors

_MERGE = re.compile(r"layers\.(\d+)\.(downsample\..+)")
_HEAD = re.compile(r"head\.(weight|bias)")


def matches(tensors: Tensors) -> bool:
    """Return whether the first stage of a Swin ends with merging, as none of timm's does today."""
    own = {
        "layers.0.downsample.reduction.weight",
        "layers.0.blocks.0.attn.relative_position_bias_table",
    }
    return own <= tensors.keys()


def adapt(tensors: Tensors, backbone: str) -> Tensors:
    """Move each merging of patches to the stage after it, and the classifier into `head.fc`."""
    return {_name(name): tensor for name, tensor in tensors.items()}


def _name(name: str) -> str:
    if found := _MERGE.fullmatch(name):
        return f"layers.{int(found[1]) + 1}.{found[2]}"
    if found := _HEAD.fullmatch(name):
        return f"head.fc.{found[1]}"
    return name


ADAPTER = Adapter(
    name="ark",
    about="Swin in the names of timm before 0.9 and of Microsoft's files (Ark, Ark+): patches "
    "merged at a stage's end, a projector and several heads beside it",
    matches=matches,
    adapt=adapt,
    remainder=("projector.*", "omni_heads.*", "*.attn_mask", "*.relative_position_index"),
    take="teacher",
)
