"""Stand-ins of medical MAE and EVA-X, whose originals no package carries.

They are small functions of the published tensors, written from the published descriptions.
"""

import argparse
import functools
from pathlib import Path

import torch
from standins.dino import (
    Tensors,
    affine,
    drawn,
    in_heads,
    normed,
    patched,
    vit_features,
    vit_shapes,
)
from standins.standin import Features, StandIn, randomised
from torch import Tensor
from torch.nn.functional import linear, scaled_dot_product_attention, silu

from radstart.backbones import check_name

check_name("resnet18")  # declares torchvision's operators, which an original imports

import torchvision  # noqa: E402

# --- medical MAE -----------------------------------------------------------------------------


def _mae_container(tensors: Tensors) -> dict[str, object]:
    return {
        "model": tensors,
        "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 0.1}]},
        "epoch": 799,
        "scaler": {"scale": 65536.0, "growth_tracker": 3},
        "args": argparse.Namespace(model="mae_vit_small_patch16_dec512d2b", mask_ratio=0.9),
    }


def write_mae_vit(width: int, heads: int, depth: int, folder: Path) -> tuple[Path, Features]:
    encoder = drawn(vit_shapes(width, depth, 16, 14))
    shapes: dict[str, tuple[int, ...]] = {
        "mask_token": (1, 1, 8), "decoder_pos_embed": (1, 197, 8),
        "decoder_embed.weight": (8, width), "decoder_embed.bias": (8,),
        "decoder_norm.weight": (8,), "decoder_norm.bias": (8,),
        "decoder_pred.weight": (768, 8), "decoder_pred.bias": (768,),
    }  # fmt: skip
    inside = {n: s for n, s in vit_shapes(8, 2, 16, 14).items() if n.startswith("blocks.")}
    shapes |= {f"decoder_{name}": shape for name, shape in inside.items()}
    path = folder / f"vit-{width}_CXR_MAE.pth"
    torch.save(_mae_container({**encoder, **drawn(shapes, 3)}), path)
    return path, functools.partial(vit_features, encoder, heads)


def write_mae_densenet(folder: Path) -> tuple[Path, Features]:
    model = torchvision.models.densenet121()
    randomised(model)
    tensors = {
        f"model.encoder.{name}": tensor
        for name, tensor in model.state_dict().items()
        if name.startswith("features.")
    }
    tensors |= {
        "model.decoder.blocks.0.conv1.0.weight": torch.ones(2, 3, 3, 3),
        "model.decoder.blocks.0.conv1.1.running_var": torch.ones(2),
        "model.segmentation_head.0.weight": torch.ones(3, 2, 3, 3),
        "model.segmentation_head.0.bias": torch.ones(3),
    }
    path = folder / "densenet121_CXR_MAE.pth"
    torch.save(_mae_container(tensors), path)

    @torch.no_grad()
    def features(images: Tensor) -> Tensor:
        return torch.relu(model.features(images)).mean((2, 3))

    return path, features


# --- EVA-X -----------------------------------------------------------------------------------


def eva_shapes(width: int, depth: int, sub_norm: bool) -> dict[str, tuple[int, ...]]:
    """Return EVA-02's tensors: packed q, k, v and gates, or (base) apart with a norm inside."""
    hidden = int(width * 8 / 3)
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, width), "mask_token": (1, 1, width), "pos_embed": (1, 197, width),
        "patch_embed.proj.weight": (width, 3, 16, 16), "patch_embed.proj.bias": (width,),
        "norm.weight": (width,), "norm.bias": (width,),
        "lm_head.weight": (16, width), "lm_head.bias": (16,),
    }  # fmt: skip
    for b in range(depth):
        block = f"blocks.{b}."
        for name in ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias"):
            shapes[block + name] = (width,)
        for name in ("attn.q_bias", "attn.v_bias", "attn.proj.bias", "mlp.w3.bias"):
            shapes[block + name] = (width,)
        shapes[block + "attn.proj.weight"] = (width, width)
        shapes[block + "mlp.w3.weight"] = (width, hidden)
        if not sub_norm:
            shapes[block + "attn.qkv.weight"] = (3 * width, width)
            shapes[block + "mlp.w12.weight"] = (2 * hidden, width)
            shapes[block + "mlp.w12.bias"] = (2 * hidden,)
            continue
        for part in "qkv":
            shapes[block + f"attn.{part}_proj.weight"] = (width, width)
        for gate in ("mlp.w1", "mlp.w2"):
            shapes[block + f"{gate}.weight"] = (hidden, width)
            shapes[block + f"{gate}.bias"] = (hidden,)
        shapes[block + "mlp.ffn_ln.weight"] = shapes[block + "mlp.ffn_ln.bias"] = (hidden,)
    return shapes


def rotary_tables(head: int, trained: int = 14, side: int = 14) -> tuple[Tensor, Tensor]:
    """Return cosines and sines, (side^2, head): rows in the first half, columns in the second.

    Position i of `side` stands at i / side * trained; neighbouring channels share a frequency.
    """
    half = head // 2
    frequencies = 10000.0 ** (-torch.arange(0, half, 2) / half)
    angles = torch.outer(torch.arange(side) / side * trained, frequencies)
    angles = angles.repeat_interleave(2, 1)
    rows = angles[:, None].expand(side, side, half)
    columns = angles[None].expand(side, side, half)
    table = torch.cat([rows, columns], -1).flatten(0, 1)
    return table.cos(), table.sin()


def _rotated(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Turn pairs of neighbouring channels of all tokens but the class token."""
    token, rest = x[:, :, :1], x[:, :, 1:]
    turned = torch.stack([-rest[..., 1::2], rest[..., ::2]], -1).flatten(-2)
    return torch.cat([token, rest * cosines + turned * sines], 2)


@torch.no_grad()
def eva_features(t: Tensors, heads: int, trained: int, images: Tensor) -> Tensor:
    """Return the normed mean of EVA-X's patches, at 224 pixels."""
    x = patched(t, images)
    width = x.shape[-1]
    tables = rotary_tables(width // heads, trained)
    for b in range(sum(name.endswith("norm1.weight") for name in t)):
        block = f"blocks.{b}."
        y = normed(t, block + "norm1", x)
        names = [block + f"attn.{part}_proj.weight" for part in "qkv"]
        packed = block + "attn.qkv.weight"
        weight = t[packed] if packed in t else torch.cat([t[name] for name in names])
        q, k, v = linear(y, weight).chunk(3, -1)
        q, v = q + t[block + "attn.q_bias"], v + t[block + "attn.v_bias"]
        q, k, v = (in_heads(part, heads) for part in (q, k, v))
        q, k = _rotated(q, *tables), _rotated(k, *tables)
        y = scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + affine(t, block + "attn.proj", y)
        y = normed(t, block + "norm2", x)
        if block + "mlp.w12.weight" in t:
            gate, value = affine(t, block + "mlp.w12", y).chunk(2, -1)
        else:
            gate, value = affine(t, block + "mlp.w1", y), affine(t, block + "mlp.w2", y)
        hidden = silu(gate) * value
        if block + "mlp.ffn_ln.weight" in t:
            hidden = normed(t, block + "mlp.ffn_ln", hidden)
        x = x + affine(t, block + "mlp.w3", hidden)
    return normed(t, "norm", x[:, 1:].mean(1))


def write_eva_x(
    width: int, heads: int, depth: int, sub_norm: bool, trained: int, folder: Path
) -> tuple[Path, Features]:
    tensors = drawn(eva_shapes(width, depth, sub_norm))
    cosines, sines = rotary_tables(width // heads, trained)
    places = ["rope.", *(f"blocks.{b}.attn.rope." for b in range(depth))]
    tables = {f"{p}freqs_cos": cosines for p in places} | {f"{p}freqs_sin": sines for p in places}
    path = folder / f"eva_x_{width}_patch16_merged520k_mim.pt"
    torch.save({"module": {**tensors, **tables}}, path)
    return path, functools.partial(eva_features, tensors, heads, trained)


# --- the published files ---------------------------------------------------------------------

_OURS = "a re-implementation from the published description"

STANDINS: tuple[StandIn, ...] = (
    StandIn(
        "medical-mae/vit_small_patch16_224",
        functools.partial(write_mae_vit, 384, 6, 12),
        224,
        verified=_OURS,
    ),
    StandIn(
        "medical-mae/vit_base_patch16_224",
        functools.partial(write_mae_vit, 768, 12, 12),
        224,
        verified=_OURS,
    ),
    StandIn("medical-mae/densenet121", write_mae_densenet, 64, verified="torchvision"),
    *(
        StandIn(
            f"eva-x/{size}",
            functools.partial(write_eva_x, width, heads, 12, sub_norm, 14),
            224,
            verified=_OURS,
        )
        for size, width, heads, sub_norm in (
            ("tiny", 192, 3, False),
            ("small", 384, 6, False),
            ("base", 768, 12, True),
        )
    ),
)
