"""The first convolution, fitted to the number of channels that the network is to have."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from radstart.weights.convention import Convention, grey
from radstart.weights.reading.container import Tensors

LEVEL = "level"


def stem_of(model: nn.Module) -> str:
    """Return the name of the first convolution, "" where it is not known.

    timm states it; a network of ours has timm's layout.
    """
    stated: Any = getattr(model, "pretrained_cfg", {}).get("first_conv") or ""
    named = [stated] if isinstance(stated, str) else list(stated)
    known = dict(model.named_modules())
    for name in (*named, "conv_stem", "conv1", "patch_embed.proj", "stem.0"):
        if isinstance(known.get(name), nn.Conv2d):
            return str(name)
    return ""


def fit_stem(
    model: nn.Module, stem: str, tensors: Tensors, convention: Convention
) -> tuple[Tensors, Convention, str]:
    """Return tensors and convention for the channels of `model`, and what was done, in words.

    Three channels to one (grey) are exact: with x = (g - m) / s for a grey value g, the kernels
    w_c that saw (g - m_c) / s_c become the one kernel sum_c w_c s / s_c, and what is left,
    sum_c w_c (m_c - m) / s_c, is subtracted wherever the kernel lies inside the image, as the
    convolution of an image of ones: zero padding then stands for the same as before. Where all
    m_c are equal nothing is left, and a plain convolution remains.

    One channel to three repeats the kernel over the channels, each divided by 3: exact for grey
    images, and for the mean of colour channels.

    Args:
        model: freshly built; it gets the convolution of ones where that is needed.
        stem: name of its first convolution.
        tensors: under timm's names.
        convention: that the weights were trained with.
    """
    key = f"{stem}.weight"
    if not stem or key not in tensors:
        return tensors, convention, ""
    module = model.get_submodule(stem)
    assert isinstance(module, nn.Conv2d)
    weight = tensors[key]
    has, needs = weight.shape[1] if weight.dim() == 4 else 0, module.weight.shape[1]
    if len(convention.mean) != has or has == needs or {has, needs} != {1, 3}:
        return tensors, convention, ""
    if needs == 3:
        mean, std = (values * 3 for values in (convention.mean, convention.std))
        wider = Convention(
            convention.size, mean, std, convention.source, per_image=convention.per_image
        )
        fitted = {**tensors, key: (weight / 3).expand(-1, 3, -1, -1).contiguous()}
        return fitted, wider, "one channel repeated over three, each a third"
    one = grey(convention)
    wide = weight.to(torch.float64)
    means, stds = (torch.tensor(v, dtype=torch.float64) for v in (convention.mean, convention.std))
    shares = (one.std[0] / stds).view(1, 3, 1, 1)
    left = ((means - one.mean[0]) / stds).view(1, 3, 1, 1)
    fitted = {**tensors, key: (wide * shares).sum(1, keepdim=True).to(weight.dtype)}
    level = -(wide * left).sum(1, keepdim=True).to(weight.dtype)
    text = "3 channels to grey, exact: kernels summed with std folded in"
    if not level.abs().max() > 1e-9 * weight.abs().max():
        return fitted, one, text
    _add_level(module, level)
    return fitted, one, text + "; the means' differences stand in a convolution of ones"


def _add_level(stem: nn.Conv2d, weight: Tensor) -> None:
    """Let the convolution add that of an image of ones with `weight`, (O, 1, k, k)."""
    level = copy.deepcopy(stem)
    level.bias = None
    level.weight = nn.Parameter(weight.clone(), requires_grad=False)
    stem.add_module(LEVEL, level)
    stem.register_forward_hook(_with_level)


def _with_level(stem: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    ones = torch.ones_like(inputs[0][:1])
    added: Tensor = stem.get_submodule(LEVEL)(ones)
    return output + added
