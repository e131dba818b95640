"""One file per origin of weights: its names and layouts -> timm's. A new origin is one line here.

The order matters where a file is not said to be of an origin: the first whose `matches` says yes
is taken, and timm's own names come last.
"""

from radstart.weights.adapters import (
    ark,
    beit,
    dino,
    dinov2,
    dinov3,
    eva02,
    hf_dinov2,
    hf_dinov3,
    hf_sam,
    hf_swin,
    keras,
    lvm_med,
    mae,
    medclip_resnet,
    mmdet_sam,
    openai_clip,
    openclip,
    radimagenet_port,
    radimagenet_torch,
    radiologynet,
    retinaface,
    sam,
    ssl,
    timm,
    torchvision,
    torchxrayvision,
)
from radstart.weights.adapters.adapter import Adapter, Tensors

ADAPTERS: dict[str, Adapter] = {
    adapter.name: adapter
    for adapter in (
        keras.ADAPTER,
        openclip.ADAPTER,
        openai_clip.ADAPTER,
        hf_swin.ADAPTER,
        medclip_resnet.ADAPTER,
        ark.ADAPTER,
        sam.ADAPTER,
        lvm_med.ADAPTER,
        hf_sam.ADAPTER,
        mmdet_sam.ADAPTER,
        beit.ADAPTER,
        hf_dinov2.ADAPTER,
        hf_dinov3.ADAPTER,
        dinov3.ADAPTER,
        dinov2.ADAPTER,
        dino.ADAPTER,
        mae.ADAPTER,
        eva02.ADAPTER,
        radimagenet_port.ADAPTER,
        radimagenet_torch.ADAPTER,
        torchxrayvision.ADAPTER,
        radiologynet.ADAPTER,
        retinaface.ADAPTER,
        torchvision.ADAPTER,
        ssl.ADAPTER,
        timm.ADAPTER,
    )
}

__all__ = ["ADAPTERS", "Adapter", "Tensors", "adapter_for"]


def adapter_for(tensors: Tensors) -> Adapter:
    """Return the first adapter whose layout the tensors are in."""
    return next(adapter for adapter in ADAPTERS.values() if adapter.matches(tensors))
