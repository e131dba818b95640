"""Files of timm's own names, as timm puts them on the hub: safetensors, the classifier inside.

The original is timm's network with its classifier and timm's own way to its features; where a
publisher's feature is another one (DINOv3's class token), that.
"""

from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save_file
from standins.standin import Features, StandIn, randomised
from torch import Tensor, nn

from radstart.backbones import check_name

check_name("resnet18")  # declares torchvision's operators, which timm imports

import timm  # noqa: E402

SIZES = {
    "dinov2": 518,
    "vgg16": 32,
    "inception_v3": 96,
    "inception_resnet_v2": 96,
    "vit": 224,
    "swin": 224,
}
"""Pixels by a part of the name; 64 for all others."""

NAMED = {
    "imagenet": (
        "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "vgg16", "densenet121",
        "inception_v3", "inception_resnet_v2", "efficientnet_b3", "efficientnet_b4",
        "mobilenetv2_100", "mobilenetv3_small_100", "mobilenetv3_large_100",
        "vit_small_patch16_224", "vit_base_patch16_224", "vit_large_patch16_224",
        "swin_tiny_patch4_window7_224", "swin_small_patch4_window7_224",
        "swin_base_patch4_window7_224", "convnext_tiny", "convnext_small", "convnext_base",
    ),
    "dinov2": ("vit_small_patch14_dinov2", "vit_small_patch14_reg4_dinov2"),
    "dinov3": ("vit_small_patch16_dinov3", "vit_small_patch16_dinov3_qkvb"),
}  # fmt: skip
"""Weights of the catalog by family, each with the name of its network."""


def network(name: str) -> nn.Module:
    """Return timm's network with random values that let nothing go unnoticed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: nn.Module = randomised(timm.create_model(name))
        for key, parameter in model.named_parameters():
            if parameter.dim() == 1 and "gamma" in key:  # of layers' scales: 1e-6 hides a block
                nn.init.uniform_(parameter, 0.5, 1.5)
            elif parameter.dim() == 4:
                nn.init.kaiming_normal_(parameter, nonlinearity="relu")
            elif parameter.dim() > 1 and key.endswith("weight"):
                nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
            elif "pos_embed" in key or "token" in key:
                nn.init.normal_(parameter, std=0.3)
    return model


def write(name: str, token: bool, folder: Path) -> tuple[Path, Features]:
    """Write model.safetensors; `token`: the feature is the class token, normed."""
    model = network(name)
    tensors = {key: tensor.contiguous() for key, tensor in model.state_dict().items()}
    save_file(tensors, folder / "model.safetensors")

    def features(images: Tensor) -> Tensor:
        with torch.inference_mode():
            found = model.forward_features(images)
            if token:
                return found[:, 0]
            pooled: Tensor = model.forward_head(found, pre_logits=True)
            return pooled

    return folder / "model.safetensors", features


def _size(name: str) -> int:
    return next((size for part, size in SIZES.items() if part in name), 64)


STANDINS: tuple[StandIn, ...] = tuple(
    StandIn(
        f"{family}/{name}",
        partial(write, name, family == "dinov3"),
        _size(name),
        verified="timm's own network",
    )
    for family, names in NAMED.items()
    for name in names
)
