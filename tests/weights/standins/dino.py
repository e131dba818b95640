"""Stand-ins of DINO, DINOv2, DINOv3 and RAD-DINO.

The originals are transformers' models where it has them (written independently of timm), and
otherwise small functions of the published tensors, written from the published descriptions.
"""

import argparse
import functools
import math
import re
from pathlib import Path

import torch
from safetensors.torch import load_file
from standins.standin import Features, StandIn, randomised
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, linear

from radstart.backbones import check_name

check_name("resnet18")  # declares torchvision's operators, which the originals import

import torchvision  # noqa: E402
import transformers  # noqa: E402

transformers.utils.logging.disable_progress_bar()

Tensors = dict[str, Tensor]


def drawn(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> Tensors:
    """Return random tensors that let nothing go unnoticed: norms 0.5..1.5, biases -0.2..0.2."""
    generator = torch.Generator().manual_seed(seed)
    result = {}
    for name, shape in shapes.items():
        values = torch.rand(shape, generator=generator)
        if ("norm" in name and name.endswith("weight")) or name.endswith("ffn_ln.weight"):
            result[name] = 0.5 + values
        elif len(shape) == 1:
            result[name] = 0.4 * values - 0.2
        else:
            spread = math.sqrt(3 / math.prod(shape[1:])) if name.endswith("weight") else 0.5
            result[name] = spread * (2 * values - 1)
    return result


# --- a plain ViT, by DINO's names ------------------------------------------------------------


def vit_shapes(width: int, depth: int, patch: int, grid: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, width),
        "pos_embed": (1, 1 + grid**2, width),
        "patch_embed.proj.weight": (width, 3, patch, patch),
        "patch_embed.proj.bias": (width,),
    }
    for b in range(depth):
        for name, rows, columns in (
            ("attn.qkv", 3 * width, width),
            ("attn.proj", width, width),
            ("mlp.fc1", 4 * width, width),
            ("mlp.fc2", width, 4 * width),
        ):
            shapes[f"blocks.{b}.{name}.weight"] = (rows, columns)
            shapes[f"blocks.{b}.{name}.bias"] = (rows,)
        for norm in ("norm1", "norm2"):
            shapes[f"blocks.{b}.{norm}.weight"] = shapes[f"blocks.{b}.{norm}.bias"] = (width,)
    shapes["norm.weight"] = shapes["norm.bias"] = (width,)
    return shapes


def normed(t: Tensors, name: str, x: Tensor) -> Tensor:
    return layer_norm(x, x.shape[-1:], t[f"{name}.weight"], t[f"{name}.bias"], 1e-6)


def affine(t: Tensors, name: str, x: Tensor) -> Tensor:
    return linear(x, t[f"{name}.weight"], t.get(f"{name}.bias"))


def in_heads(x: Tensor, heads: int) -> Tensor:
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)  # (B, N, C) -> (B, heads, N, C / heads)


def patched(t: Tensors, images: Tensor) -> Tensor:
    weight = t["patch_embed.proj.weight"]
    side = weight.shape[-1]
    x = torch.nn.functional.conv2d(images, weight, t["patch_embed.proj.bias"], stride=side)
    x = x.flatten(2).transpose(1, 2)
    return torch.cat([t["cls_token"].expand(len(x), -1, -1), x], 1) + t["pos_embed"]


@torch.no_grad()
def vit_features(t: Tensors, heads: int, images: Tensor) -> Tensor:
    """Return the normed class token of a pre-norm ViT at the size of its pos_embed."""
    x = patched(t, images)
    for b in range(sum(name.endswith("norm1.weight") for name in t)):
        block = f"blocks.{b}."
        q, k, v = (
            in_heads(part, heads)
            for part in affine(t, block + "attn.qkv", normed(t, block + "norm1", x)).chunk(3, -1)
        )
        attended = torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]), -1) @ v
        x = x + affine(t, block + "attn.proj", attended.transpose(1, 2).flatten(2))
        hidden = gelu(affine(t, block + "mlp.fc1", normed(t, block + "norm2", x)))
        x = x + affine(t, block + "mlp.fc2", hidden)
    return normed(t, "norm", x)[:, 0]


# --- DINO (v1) -------------------------------------------------------------------------------


def _dino_head(width: int) -> dict[str, tuple[int, ...]]:
    return {
        "head.mlp.0.weight": (8, width), "head.mlp.0.bias": (8,),
        "head.mlp.2.weight": (4, 8), "head.mlp.2.bias": (4,),
        "head.last_layer.weight_g": (16, 1), "head.last_layer.weight_v": (16, 4),
    }  # fmt: skip


def dino_checkpoint(backbone: Tensors, width: int, teacher_prefix: str = "") -> dict[str, object]:
    """Return a full training checkpoint around a backbone: the teacher's values are its own."""
    head = drawn(_dino_head(width), 9)
    own = {f"{teacher_prefix}backbone.{name}": tensor for name, tensor in backbone.items()}
    teacher = {**own, **{teacher_prefix + name: tensor for name, tensor in head.items()}}
    student = {f"module.backbone.{n}": t + 1 for n, t in backbone.items()}
    student |= {f"module.{name}": tensor + 1 for name, tensor in head.items()}
    return {
        "student": student,
        "teacher": teacher,
        "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 0.1}]},
        "epoch": 100,
        "args": argparse.Namespace(arch="vit_small", patch_size=16),
        "dino_loss": {"center": torch.zeros(1, 16)},
        "fp16_scaler": {"scale": 65536.0, "growth_tracker": 3},
    }


def write_dino_vit(
    width: int, heads: int, patch: int, grid: int, full: bool, depth: int, folder: Path
) -> tuple[Path, Features]:
    tensors = drawn(vit_shapes(width, depth, patch, grid))
    path = folder / ("checkpoint.pth" if full else f"dino_vit{width}_{patch}_pretrain.pth")
    torch.save(dino_checkpoint(tensors, width) if full else tensors, path)
    return path, functools.partial(vit_features, tensors, heads)


def write_dino_resnet50(
    full: bool, folder: Path, layers: tuple[int, ...] = (3, 4, 6, 3)
) -> tuple[Path, Features]:
    model = torchvision.models.resnet.ResNet(torchvision.models.resnet.Bottleneck, list(layers))
    model.fc = torch.nn.Identity()
    randomised(model)
    tensors = dict(model.state_dict())
    path = folder / ("checkpoint.pth" if full else "dino_resnet50_pretrain.pth")
    torch.save(dino_checkpoint(tensors, 2048, "module.") if full else tensors, path)
    return path, torch.no_grad()(model)


# --- DINOv2 and DINOv3 out of transformers ---------------------------------------------------


def _randomised_transformer(model: torch.nn.Module) -> torch.nn.Module:
    """Randomise what `randomised` does not know, so that attention is far from even."""
    randomised(model)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1 and name.endswith("weight"):  # 0.02 lets attention be even
                spread = math.sqrt(3 / parameter[0].numel())
                values = torch.rand(parameter.shape, generator=generator)
                parameter.copy_(spread * (2 * values - 1))
            elif name.endswith(("lambda1", "gamma")):
                parameter.copy_(0.5 + torch.rand(parameter.shape, generator=generator))
            elif "token" in name or "position" in name:
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model


def _pooled(model: torch.nn.Module) -> Features:
    @torch.no_grad()
    def features(images: Tensor) -> Tensor:
        pooled: Tensor = model(images).pooler_output
        return pooled

    return features


def dinov2_original(
    width: int, heads: int, depth: int, *, size: int = 518, registers: int = 0, gated: bool = False
) -> torch.nn.Module:
    """Return transformers' DINOv2 with random tensors."""
    kind = "Dinov2WithRegisters" if registers else "Dinov2"
    config = getattr(transformers, f"{kind}Config")(
        hidden_size=width, num_hidden_layers=depth, num_attention_heads=heads, image_size=size,
        patch_size=14, use_swiglu_ffn=gated, layer_norm_eps=1e-6,
        **({"num_register_tokens": registers} if registers else {}),
    )  # fmt: skip
    model: torch.nn.Module = getattr(transformers, f"{kind}Model")(config)
    return _randomised_transformer(model)


def published(model: torch.nn.Module, folder: Path) -> Tensors:
    """Return a transformers model's tensors as its hub files name them."""
    model.save_pretrained(folder / "published")  # type: ignore[operator]
    return load_file(folder / "published" / "model.safetensors")


_META_V2 = (
    (r"embeddings\.(cls_token|mask_token|register_tokens)", r"\1"),
    (r"embeddings\.position_embeddings", "pos_embed"),
    (r"embeddings\.patch_embeddings\.projection", "patch_embed.proj"),
    (r"encoder\.layer\.", "blocks."),
    (r"attention\.output\.dense", "attn.proj"),
    (r"layer_scale(\d)\.lambda1", r"ls\1.gamma"),
    (r"mlp\.weights_in", "mlp.w12"),
    (r"mlp\.weights_out", "mlp.w3"),
    (r"layernorm", "norm"),
)


def meta_dinov2(tensors: Tensors) -> Tensors:
    """Return tensors of transformers' DINOv2 under the names of Meta's files."""
    result: Tensors = {}
    for name, tensor in tensors.items():
        if ".query." in name:
            parts = [tensors[name.replace("query", part)] for part in ("query", "key", "value")]
            name, tensor = name.replace("attention.attention.query", "attn.qkv"), torch.cat(parts)
        elif ".key." in name or ".value." in name:
            continue
        for pattern, new in _META_V2:
            name = re.sub(pattern, new, name)
        result[name] = tensor
    return result


def write_dinov2(
    width: int, heads: int, depth: int, registers: int, gated: bool, size: int, folder: Path
) -> tuple[Path, Features]:
    """Write a file of Meta's hub."""
    model = dinov2_original(width, heads, depth, size=size, registers=registers, gated=gated)
    path = folder / f"dinov2_vit{width}14{'_reg4' if registers else ''}_pretrain.pth"
    torch.save(meta_dinov2(published(model, folder)), path)
    return path, _pooled(model)


def write_hf_dinov2(
    width: int, heads: int, depth: int, registers: int, size: int, folder: Path
) -> tuple[Path, Features]:
    """Write RAD-DINO's layout."""
    model = dinov2_original(width, heads, depth, size=size, registers=registers)
    published(model, folder)
    return folder / "published" / "model.safetensors", _pooled(model)


def chunked(tensors: Tensors, per_chunk: int) -> Tensors:
    """Return DINOv2's names as a run with FSDP chunks of blocks leaves them."""
    return {
        re.sub(r"^blocks\.(\d+)\.", lambda m: f"blocks.{int(m[1]) // per_chunk}.{m[1]}.", n): t
        for n, t in tensors.items()
    }


def dinov2_checkpoint(tensors: Tensors) -> dict[str, object]:
    """Return a checkpoint of DINOv2's training: student and teacher in one dictionary."""
    width = tensors["cls_token"].shape[-1]
    inner: Tensors = {}
    for who, shift in (("student", 1), ("teacher", 0)):
        inner |= {f"{who}.backbone.{name}": t + shift for name, t in tensors.items()}
        inner[f"{who}.dino_head.mlp.0.weight"] = torch.ones(4, width)
        inner[f"{who}.dino_head.last_layer.weight_v"] = torch.ones(8, 4)
        inner[f"{who}.ibot_head.mlp.0.weight"] = torch.ones(4, width)
    inner["dino_loss.center"] = torch.zeros(1, 8)
    inner["ibot_patch_loss.center"] = torch.zeros(1, 1, 8)
    return {"model": inner, "optimizer": {"state": {0: torch.ones(2)}}, "iteration": 624999}


def dinov3_original(
    width: int, heads: int, depth: int, *, gated: bool = False, biased: bool = True
) -> torch.nn.Module:
    """Return transformers' DINOv3 with random tensors; biases of q and v are zero unless asked."""
    config = transformers.DINOv3ViTConfig(
        hidden_size=width, intermediate_size=4 * width, num_hidden_layers=depth,
        num_attention_heads=heads, num_register_tokens=4, use_gated_mlp=gated,
        hidden_act="silu" if gated else "gelu", layer_norm_eps=1e-5,
    )  # fmt: skip
    model = _randomised_transformer(transformers.DINOv3ViTModel(config))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not biased and name.endswith(("q_proj.bias", "v_proj.bias")):
                parameter.zero_()
    return model


def rounded_periods(model: torch.nn.Module) -> Tensor:
    """Round the rotary periods of a DINOv3 to bfloat16, as Meta's files have them; return them."""
    (rope,) = (m for m in model.modules() if hasattr(m, "inv_freq"))
    periods = (1 / rope.inv_freq).to(torch.bfloat16)
    rope.inv_freq.copy_(1 / periods.float())
    return periods


_META_V3 = (
    (r"embeddings\.(cls_token)", r"\1"),
    (r"embeddings\.register_tokens", "storage_tokens"),
    (r"embeddings\.patch_embeddings", "patch_embed.proj"),
    (r"^layer\.", "blocks."),
    (r"attention\.o_proj", "attn.proj"),
    (r"layer_scale(\d)\.lambda1", r"ls\1.gamma"),
)


def meta_dinov3(tensors: Tensors, periods: Tensor, masked: bool = True) -> Tensors:
    """Return tensors of transformers' DINOv3 under the names of Meta's files.

    Biases of keys hold values that `bias_mask` takes out, as after a training.
    """
    gated = any(".gate_proj." in name for name in tensors)
    mlp = {"up_proj": "fc1", "down_proj": "fc2"}
    if gated:
        mlp = {"gate_proj": "w1", "up_proj": "w2", "down_proj": "w3"}
    result: Tensors = {"rope_embed.periods": periods}
    for name, tensor in tensors.items():
        if name == "embeddings.mask_token":
            result["mask_token"] = tensor[0]
            continue
        if match := re.fullmatch(r"layer\.(\d+)\.attention\.q_proj\.(\w+)", name):
            at = f"layer.{match[1]}.attention."
            key = tensors.get(f"{at}k_proj.{match[2]}", torch.full_like(tensor, 0.3 * masked))
            parts = [tensor, key, tensors[f"{at}v_proj.{match[2]}"]]
            result[f"blocks.{match[1]}.attn.qkv.{match[2]}"] = torch.cat(parts)
            if match[2] == "bias" and masked:
                mask = torch.ones(3 * len(tensor))
                mask[len(tensor) : 2 * len(tensor)] = 0
                result[f"blocks.{match[1]}.attn.qkv.bias_mask"] = mask
            continue
        if re.search(r"[kv]_proj", name):
            continue
        for pattern, new in _META_V3:
            name = re.sub(pattern, new, name)
        for old, new in mlp.items():
            name = name.replace(f"mlp.{old}.", f"mlp.{new}.")
        result[name] = tensor
    return result


def write_dinov3(
    width: int, heads: int, depth: int, gated: bool, biased: bool, folder: Path
) -> tuple[Path, Features]:
    """Write a file of Meta's, by name without its hash."""
    model = dinov3_original(width, heads, depth, gated=gated, biased=biased)
    tensors = meta_dinov3(published(model, folder), rounded_periods(model))
    path = folder / f"dinov3_vit{width}16_pretrain_lvd1689m.pth"
    torch.save(tensors, path)
    return path, _pooled(model)


def write_hf_dinov3(
    width: int, heads: int, depth: int, gated: bool, biased: bool, folder: Path
) -> tuple[Path, Features]:
    model = dinov3_original(width, heads, depth, gated=gated, biased=biased)
    published(model, folder)
    return folder / "published" / "model.safetensors", _pooled(model)


_META_CONVNEXT = (
    (r"stages\.(\d)\.downsample_layers\.", r"downsample_layers.\1."),
    (r"stages\.(\d)\.layers\.", r"stages.\1."),
    (r"depthwise_conv", "dwconv"),
    (r"pointwise_conv", "pwconv"),
    (r"^layer_norm", "norm"),
    (r"layer_norm", "norm"),
    (r"^model\.", ""),
)


def write_dinov3_convnext(
    depths: tuple[int, ...], dims: tuple[int, ...], meta: bool, folder: Path
) -> tuple[Path, Features]:
    """Write Meta's layout, or that of the hub's transformers files."""
    config = transformers.DINOv3ConvNextConfig(depths=list(depths), hidden_sizes=list(dims))
    model = _randomised_transformer(transformers.DINOv3ConvNextModel(config))
    tensors = published(model, folder)
    if not meta:
        return folder / "published" / "model.safetensors", _pooled(model)
    for pattern, new in _META_CONVNEXT:
        tensors = {re.sub(pattern, new, name): tensor for name, tensor in tensors.items()}
    tensors |= {f"norms.3.{part}": tensors[f"norm.{part}"] for part in ("weight", "bias")}
    path = folder / "dinov3_convnext_tiny_pretrain_lvd1689m.pth"
    torch.save(tensors, path)
    return path, _pooled(model)


# --- the published files ---------------------------------------------------------------------

_OURS = "a re-implementation from the published description"
_HF = "transformers' independent implementation"
_CONVNEXT_TINY = ((3, 3, 9, 3), (96, 192, 384, 768))


def _dinov2(width: int, heads: int, depth: int, registers: int, size: int) -> StandIn:
    kind = {384: "small", 768: "base", 1024: "large"}[width]
    name = f"vit_{kind}_patch14{'_reg4' if registers else ''}_dinov2-meta"
    write = functools.partial(write_dinov2, width, heads, depth, registers, False, size)
    return StandIn(f"dinov2/{name}", write, size, verified=_HF)


STANDINS: tuple[StandIn, ...] = (
    *(
        StandIn(
            f"dino/vit_{size}_patch{patch}_224-meta",
            functools.partial(write_dino_vit, width, heads, patch, 224 // patch, False, 12),
            224,
            verified=_OURS,
        )
        for size, width, heads in (("small", 384, 6), ("base", 768, 12))
        for patch in (16, 8)
    ),
    StandIn(
        "dino/resnet50", functools.partial(write_dino_resnet50, False), 64, verified="torchvision"
    ),
    *(
        _dinov2(*known)
        for known in (
            (384, 6, 12, 0, 518),
            (384, 6, 12, 4, 518),
            (768, 12, 12, 0, 518),
            # a table of 7 x 7 in the place of 37 x 37, for the sake of time
            (768, 12, 12, 4, 98),
            (1024, 16, 24, 0, 98),
            (1024, 16, 24, 4, 98),
        )
    ),
    StandIn(
        "rad-dino/vit_base_patch14_dinov2",
        functools.partial(write_hf_dinov2, 768, 12, 12, 0, 518),
        518,
        verified=_HF,
    ),
    *(
        StandIn(
            f"dinov3/vit_{size}_patch16_dinov3-meta",
            functools.partial(write_dinov3, width, heads, depth, gated, False),
            224,
            verified=_HF,
        )
        for size, width, heads, depth, gated in (
            ("small", 384, 6, 12, False),
            ("small_plus", 384, 6, 12, True),
            ("base", 768, 12, 12, False),
            ("large", 1024, 16, 24, False),
        )
    ),
    StandIn(
        "dinov3/convnext_tiny-meta",
        functools.partial(write_dinov3_convnext, *_CONVNEXT_TINY, True),
        64,
        verified=_HF,
    ),
    StandIn(
        "dinov3/vit_small_patch16_dinov3-hf",
        functools.partial(write_hf_dinov3, 384, 6, 12, False, False),
        224,
        verified=_HF,
    ),
    StandIn(
        "dinov3/vit_small_plus_patch16_dinov3-hf",
        functools.partial(write_hf_dinov3, 384, 6, 12, True, False),
        224,
        verified=_HF,
    ),
    StandIn(
        "dinov3/convnext_tiny-hf",
        functools.partial(write_dinov3_convnext, *_CONVNEXT_TINY, False),
        64,
        verified=_HF,
    ),
)
