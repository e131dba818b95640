"""Origins of weights: their names and layouts -> timm's. A new origin is one line in ADAPTERS.

The order matters where a file is not said to be of an origin: the first whose `matches` says yes
is taken, and timm's own names come last.
"""

from radstart.weights.adapters.adapter import Adapter
from radstart.weights.adapters.dino import DINO, DINOV2, HF_DINOV2
from radstart.weights.adapters.dinov3 import DINOV3, HF_DINOV3
from radstart.weights.adapters.keras import KERAS
from radstart.weights.adapters.radiology import (
    RADIMAGENET_PORT,
    RADIMAGENET_TORCH,
    RADIOLOGYNET,
    RETINAFACE,
    TORCHXRAYVISION,
)
from radstart.weights.adapters.sam import HF_SAM, LVM_MED, MMDET_SAM, SAM
from radstart.weights.adapters.ssl import SSL
from radstart.weights.adapters.swin import ARK, HF_SWIN
from radstart.weights.adapters.torchvision import TORCHVISION
from radstart.weights.adapters.towers import MEDCLIP_RESNET, OPENAI_CLIP, OPENCLIP
from radstart.weights.adapters.vit import BEIT, EVA02, MAE
from radstart.weights.reading.container import Tensors

TIMM = Adapter(
    name="timm",
    about="timm's names (torchvision's ResNets, DenseNets and InceptionV3 share them)",
    matches=lambda tensors: True,  # what no other origin claims
    adapt=lambda tensors, backbone: dict(tensors),
)
ADAPTERS: dict[str, Adapter] = {
    adapter.name: adapter
    for adapter in (
        *(KERAS, OPENCLIP, OPENAI_CLIP, HF_SWIN, MEDCLIP_RESNET, ARK, SAM, LVM_MED, HF_SAM),
        *(MMDET_SAM, BEIT, HF_DINOV2, HF_DINOV3, DINOV3, DINOV2, DINO, MAE, EVA02),
        *(RADIMAGENET_PORT, RADIMAGENET_TORCH, TORCHXRAYVISION, RADIOLOGYNET, RETINAFACE),
        *(TORCHVISION, SSL, TIMM),
    )
}

__all__ = ["ADAPTERS", "Adapter", "Tensors", "adapter_for"]


def adapter_for(tensors: Tensors) -> Adapter:
    """Return the first adapter whose layout the tensors are in."""
    return next(adapter for adapter in ADAPTERS.values() if adapter.matches(tensors))
