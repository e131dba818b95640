"""LVM-Med's ViT-B: SAM's image encoder without its prefix and without a position embedding.

Its authors train and load it with relative positions alone (`use_abs_pos = False`), so timm's
network is told to have none. The file is bound to no size then: at each one, original and timm
resample the relative positions of the blocks that see the whole image in the same way.
Features are the mean of the neck's 256 channels; the authors' classifiers sit before the neck.
LVM-Med's ResNet50 has timm's names.
"""

from collections.abc import Mapping

from radstart.backbones import Switch
from radstart.weights.adapters import sam
from radstart.weights.adapters.adapter import Adapter, Tensors


def matches(tensors: Tensors) -> bool:
    """Return whether SAM's encoder is there alone and has no position embedding."""
    return sam.is_encoder(tensors) and "pos_embed" not in tensors


def switches(backbone: str) -> Mapping[str, Switch]:
    """Return the constant of SAM's layer norms, and that there is no position embedding."""
    return {**sam.switches(backbone), "use_abs_pos": False}


ADAPTER = Adapter(
    name="lvm_med",
    about="LVM-Med's ViT-B: SAM's image encoder alone, without a position embedding",
    matches=matches,
    adapt=sam.adapt,
    switches=switches,
)
