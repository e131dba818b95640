"""Vision transformers of image-language pairs, chest radiographs and Segment Anything.

The originals are those of open_clip, transformers and torchvision; each is written in the names
and the container that its publisher uses. `small=True` gives a few narrow blocks.
"""

import re
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file
from standins.standin import StandIn, randomised
from torch import nn

from radstart.backbones import check_name

check_name("resnet18")  # declares torchvision's operators, which the originals import

import open_clip  # noqa: E402
import timm  # noqa: E402
import torchvision  # noqa: E402
import transformers  # noqa: E402
from transformers.models.sam.modeling_sam import SamVisionEncoder  # noqa: E402

transformers.utils.logging.disable_progress_bar()


def lively(model):
    """Randomise norms and biases, and whatever else begins as a constant.

    Layers of transformers begin so small that attention is the same everywhere and, in
    Segment Anything's, that the image hardly counts; they are drawn larger, so that an exchange
    of query and key, or a table of positions, shows.
    """
    generator = torch.Generator().manual_seed(1)
    randomised(model)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.min() == parameter.max():
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
            elif parameter.dim() > 1 and name.endswith("weight"):
                drawn = torch.randn(parameter.shape, generator=generator)
                parameter.copy_(drawn / parameter[0].numel() ** 0.5)
    return model


def ballast(*shape):
    """Return a tensor that no network wants."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(2))


def written(folder, name, content):
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(content, folder / name)
    return folder / name


# --- image-language pairs -------------------------------------------------------------------


def biomedclip(folder, *, small=False):
    """open_clip: a timm trunk, a linear projection and a BERT."""
    config = transformers.BertConfig(
        vocab_size=30, hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=16,
    )  # fmt: skip
    config.save_pretrained(folder / "bert")
    model = open_clip.model.CustomTextCLIP(
        embed_dim=512,
        vision_cfg=open_clip.CLIPVisionCfg(
            timm_model_name="vit_tiny_patch16_224" if small else "vit_base_patch16_224",
            timm_model_pretrained=False, timm_pool="", timm_proj="linear", image_size=224,
        ),
        text_cfg=open_clip.CLIPTextCfg(
            hf_model_name=str(folder / "bert"), hf_model_pretrained=False, hf_proj_type="mlp",
            hf_pooler_type="cls_last_hidden_state_pooler",
        ),
    )  # fmt: skip
    lively(model)
    path = written(folder, "open_clip_pytorch_model.bin", model.state_dict())
    return path, model.visual.trunk


def chexzero(folder, *, small=False, quick_gelu=True):
    """OpenAI's CLIP with a ViT, saved as its state dict."""
    width, layers, size = (64, 2, 64) if small else (768, 12, 224)
    model = open_clip.model.CLIP(
        embed_dim=512,
        vision_cfg=open_clip.CLIPVisionCfg(
            layers=layers, width=width, head_width=64, patch_size=32, image_size=size
        ),
        text_cfg=open_clip.CLIPTextCfg(
            context_length=8, vocab_size=30, width=32, heads=2, layers=1
        ),
        quick_gelu=quick_gelu,
    )
    lively(model)
    tensors = dict(model.state_dict())
    model.visual.proj = None
    return written(folder, "best_64_5e-05_original_22000_0.864.pt", tensors), model.visual


TEXT_TOWER = {
    "text_model.model.embeddings.position_ids": torch.arange(16)[None],
    "text_model.model.embeddings.word_embeddings.weight": ballast(30, 8),
    "text_model.projection_head.weight": ballast(512, 8),
    "logit_scale": torch.tensor(2.66),
}


def hf_swin(folder, config):
    """Return transformers' Swin and its tensors in the names of published files."""
    model = lively(transformers.SwinModel(config))
    model.save_pretrained(folder / "hub")
    tensors = load_file(folder / "hub" / "model.safetensors")
    area = config.window_size**2
    for name in [n for n in tensors if n.endswith("relative_position_bias_table")]:
        index = torch.arange(area * area).reshape(area, area)
        tensors[name.replace("bias_table", "index")] = index
    return tensors, lambda x: model(x).pooler_output


SMALL_SWIN = {"embed_dim": 24, "depths": (2, 2), "num_heads": (1, 2)}


def swin_config(image_size=56, window_size=7, **change):
    return transformers.SwinConfig(
        image_size=image_size, window_size=window_size, **{**SMALL_SWIN, **change}
    )


def medclip_vit(folder, *, small=False):
    """MedCLIP: transformers' Swin-Tiny, a projection without bias and a text tower."""
    tiny = {"embed_dim": 96, "depths": (2, 2, 6, 2), "num_heads": (3, 6, 12, 24)}
    config = swin_config() if small else swin_config(224, **tiny)
    tensors, features = hf_swin(folder, config)
    content = {f"vision_model.model.{name}": tensor for name, tensor in tensors.items()}
    content["vision_model.projection_head.weight"] = ballast(512, 768)
    return written(folder, "pytorch_model.bin", content | TEXT_TOWER), features


def resnet(small):
    """Return torchvision's ResNet50, with one block in each stage where it is to be small."""
    blocks = [1, 1, 1, 1] if small else [3, 4, 6, 3]
    return torchvision.models.ResNet(torchvision.models.resnet.Bottleneck, blocks)


def medclip_resnet(folder, *, small=False):
    """MedCLIP: torchvision's ResNet50 whose fc is the projection, and a text tower."""
    model = resnet(small)
    model.fc = nn.Linear(2048, 512, bias=False)
    randomised(model)
    content = {f"vision_model.model.{n}": t for n, t in model.state_dict().items()}
    model.fc = nn.Identity()
    return written(folder, "pytorch_model.bin", content | TEXT_TOWER), model


# --- chest radiographs ----------------------------------------------------------------------

_BLOCK = r"encoder\.(layers\.\d+\.blocks\.\d+)\."
_OLD_SWIN = {
    r"embeddings\.patch_embeddings\.projection": "patch_embed.proj",
    r"embeddings\.norm": "patch_embed.norm",
    _BLOCK + "layernorm_before": r"\1.norm1",
    _BLOCK + "layernorm_after": r"\1.norm2",
    _BLOCK + r"attention\.self\.relative": r"\1.attn.relative",
    _BLOCK + r"attention\.output\.dense": r"\1.attn.proj",
    _BLOCK + r"intermediate\.dense": r"\1.mlp.fc1",
    _BLOCK + r"output\.dense": r"\1.mlp.fc2",
    r"encoder\.(layers\.\d+\.downsample)": r"\1",
    r"^layernorm": "norm",
}


def old_swin(tensors):
    """Return transformers' tensors in the names that timm had in 2021, query, key, value joined."""
    found = {}
    for name, tensor in tensors.items():
        if "self.key" in name or "self.value" in name:
            continue
        if "self.query" in name:
            parts = [tensors[name.replace("query", part)] for part in ("query", "key", "value")]
            name = re.sub(_BLOCK + r"attention\.self\.query", r"\1.attn.qkv", name)
            found[name] = torch.cat(parts)
            continue
        for pattern, new in _OLD_SWIN.items():
            name = re.sub(pattern, new, name)
        found[name] = tensor
    return found


def old_timm_swin(folder, config):
    """Return tensors as timm 0.5 has them, with masks and its classifier, and the original."""
    tensors, features = hf_swin(folder, config)
    width = config.embed_dim * 2 ** (len(config.depths) - 1)
    masks = {
        f"layers.{i}.blocks.{j}.attn_mask": torch.zeros(4, 49, 49)
        for i in range(len(config.depths) - 1)
        for j in range(1, config.depths[i], 2)
    }
    head = {"head.weight": ballast(1000, width), "head.bias": ballast(1000)}
    return old_swin(tensors) | masks | head, features


def ark(folder, *, small=False, large=False):
    """Ark: student and teacher, each under `module.`, a projector, heads, an optimizer."""
    if small:
        config = swin_config()
    elif large:
        config = swin_config(
            768, 12, embed_dim=192, depths=(2, 2, 18, 2), num_heads=(6, 12, 24, 48)
        )
    else:
        config = swin_config(224, embed_dim=128, depths=(2, 2, 18, 2), num_heads=(4, 8, 16, 32))
    tensors, features = old_timm_swin(folder, config)
    width = tensors["norm.weight"].numel()
    extra = {
        "projector.0.weight": ballast(6, width),
        "projector.0.bias": ballast(6),
        "projector.2.weight": ballast(6, 6),
        "projector.2.bias": ballast(6),
    }
    extra |= {f"omni_heads.{i}.weight": ballast(3, 6) for i in range(6)}
    extra |= {f"omni_heads.{i}.bias": ballast(3) for i in range(6)}
    teacher = {f"module.{name}": tensor for name, tensor in (tensors | extra).items()}
    student = {name: torch.zeros_like(tensor) for name, tensor in teacher.items()}
    content = {
        "epoch": 200,
        "lossMIN": [0.31, 0.28],
        "state_dict": student,
        "teacher": teacher,
        "optimizer": {"state": {0: {"momentum_buffer": ballast(3, 3)}}, "param_groups": []},
        "scheduler": {"last_epoch": 200},
    }
    if not small:  # the published file; a training's own holds the student too
        del content["state_dict"], content["optimizer"], content["scheduler"]
    return written(folder, "ark6_teacher_ep200.pth.tar", content), features


def microsoft_swin(folder, image_size=56, window_size=7):
    """A file of Swin's authors: `model`, old names, a classifier."""
    tensors, features = old_timm_swin(folder, swin_config(image_size, window_size))
    return written(folder, "swin_micro_22kto1k.pth", {"model": tensors}), features


def mimic_vit(folder, *, small=False):
    """The MIMIC ViT: timm's own names with the head that it was fine-tuned with."""
    narrow = {"embed_dim": 96, "num_heads": 2, "depth": 2} if small else {}
    model = lively(timm.create_model("vit_base_patch16_224", num_classes=14, **narrow))
    path = written(folder, "mimic_vit_b.pth", model.state_dict())
    return path, lambda x: model.forward_head(model.forward_features(x), pre_logits=True)


# --- Segment Anything -----------------------------------------------------------------------

SMALL_SAM = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "mlp_dim": 128,
    "image_size": 64, "window_size": 3, "global_attn_indexes": [1], "output_channels": 16,
}  # fmt: skip


FEWER_POSITIONS = {"image_size": 256}
"""A table of 16 x 16 in the place of 64 x 64, for the sake of time."""


def sam_encoder(*, small, **change):
    """Return transformers' image encoder, its tensors, and the mean over its neck's output."""
    config = transformers.SamVisionConfig(**(SMALL_SAM if small else {}) | change)
    model = lively(SamVisionEncoder(config))

    def features(images):
        model.patch_embed.image_size = tuple(images.shape[-2:])  # it would refuse other sizes
        return model(images).last_hidden_state.mean((2, 3))

    return dict(model.state_dict()), features


def as_sam(name):
    """Return the name in Segment Anything's own code."""
    name = re.sub(r"^layers\.", "blocks.", name).replace(
        "patch_embed.projection", "patch_embed.proj"
    )
    name = name.replace("layer_norm", "norm") if name.startswith("blocks.") else name
    for i, part in enumerate(("conv1", "layer_norm1", "conv2", "layer_norm2")):
        name = name.replace(f"neck.{part}.", f"neck.{i}.")
    return name


def as_mmdet(name):
    """Return the name in mmpretrain's ViTSAM."""
    name = as_sam(name).replace("blocks.", "layers.").replace("neck.", "channel_reduction.")
    name = name.replace("patch_embed.proj.", "patch_embed.projection.")
    name = re.sub(r"\.norm([12])\.", r".ln\1.", name)
    return name.replace("mlp.lin1.", "ffn.layers.0.0.").replace("mlp.lin2.", "ffn.layers.1.")


SAM_REST = {
    "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix": ballast(2, 8),
    "prompt_encoder.point_embeddings.0.weight": ballast(1, 16),
    "mask_decoder.transformer.layers.0.self_attn.q_proj.weight": ballast(16, 16),
    "mask_decoder.iou_token.weight": ballast(1, 16),
}


def medsam(folder, *, small=False, **change):
    """MedSAM: Segment Anything's own layout, flat."""
    tensors, features = sam_encoder(small=small, **change)
    content = {f"image_encoder.{as_sam(name)}": tensor for name, tensor in tensors.items()}
    return written(folder, "medsam_vit_b.pth", content | SAM_REST), features


def medsam_hub(folder, *, small=False):
    """MedSAM in transformers' layout."""
    tensors, features = sam_encoder(small=small, **{} if small else FEWER_POSITIONS)
    content = {f"vision_encoder.{name}": tensor for name, tensor in tensors.items()}
    shared = {"shared_image_embedding.positional_embedding": ballast(2, 8)}
    return written(folder, "pytorch_model.bin", content | SAM_REST | shared), features


def lvm_med(folder, *, small=False):
    """LVM-Med's ViT: the image encoder alone, without a position embedding."""
    tensors, features = sam_encoder(small=small, use_abs_pos=False)
    content = {as_sam(name): tensor for name, tensor in tensors.items()}
    return written(folder, "lvmmed_vit.pth", content), features


def lvm_med_resnet(folder, *, small=False):
    """LVM-Med's ResNet50: torchvision's names, no classifier."""
    model = resnet(small)
    model.fc = nn.Identity()
    return written(folder, "lvmmed_resnet.torch", randomised(model).state_dict()), model


def ultrasam(folder, *, small=False):
    """UltraSam: mmdet's checkpoint, its pickled objects already left out."""
    tensors, features = sam_encoder(small=small, **{} if small else FEWER_POSITIONS)
    content = {f"backbone.{as_mmdet(name)}": tensor for name, tensor in tensors.items()}
    content |= {
        "prompt_encoder.label_encoder.label_embedding.weight": ballast(11, 16),
        "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix": ballast(2, 8),
        "decoder.layers.0.self_attn.attn.in_proj_bias": ballast(48),
        "bbox_head.iou_prediction_head.layers.0.weight": ballast(16, 16),
    }
    return written(
        folder, "UltraSam.pth", {"meta": {"iter": 30000}, "state_dict": content}
    ), features


# --- ultrasound -----------------------------------------------------------------------------

_BEIT_LAYER = r"encoder\.layer\.(\d+)\."
_BEIT = {
    r"embeddings\.cls_token": "cls_token",
    r"embeddings\.patch_embeddings\.projection": "patch_embed.proj",
    _BEIT_LAYER + r"attention\.output\.dense": r"blocks.\1.attn.proj",
    _BEIT_LAYER + r"attention\.attention\.relative_position_bias\.": r"blocks.\1.attn.",
    _BEIT_LAYER + r"intermediate\.dense": r"blocks.\1.mlp.fc1",
    _BEIT_LAYER + r"output\.dense": r"blocks.\1.mlp.fc2",
    _BEIT_LAYER + r"lambda_": r"blocks.\1.gamma_",
    _BEIT_LAYER + r"layernorm_before": r"blocks.\1.norm1",
    _BEIT_LAYER + r"layernorm_after": r"blocks.\1.norm2",
    r"encoder\.relative_position_bias\.": "rel_pos_bias.",
    r"pooler\.layernorm": "fc_norm",
}


def as_beit(tensors):
    """Return transformers' tensors in the names of BEiT's authors."""
    found = {}
    for name, tensor in tensors.items():
        if match := re.match(_BEIT_LAYER + r"attention\.attention\.(query|key|value)", name):
            if name.endswith("query.weight"):
                parts = [tensors[name.replace("query", p)] for p in ("query", "key", "value")]
                found[f"blocks.{match[1]}.attn.qkv.weight"] = torch.cat(parts)
            elif name.endswith("bias"):
                found[f"blocks.{match[1]}.attn.{match[2][0]}_bias"] = tensor
            continue
        for pattern, new in _BEIT.items():
            name = re.sub(f"^{pattern}", new, name)
        found[name] = tensor
    for name in [n for n in found if n.endswith("relative_position_bias_table")]:
        found[name.replace("bias_table", "index")] = torch.zeros(5, 5, dtype=torch.long)
    return found


def usfm(folder, *, small=False, shared=True):
    """USFM: BEiT's own names, flat; one table of relative positions, or one in each block."""
    narrow = {
        "hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 192, "image_size": 64,
    }  # fmt: skip
    config = transformers.BeitConfig(
        layer_norm_eps=1e-6, layer_scale_init_value=0.1, use_mean_pooling=True,
        use_relative_position_bias=not shared, use_shared_relative_position_bias=shared,
        **narrow if small else {},
    )  # fmt: skip
    model = lively(transformers.BeitModel(config))
    model.save_pretrained(folder / "hub")
    content = as_beit(load_file(folder / "hub" / "model.safetensors"))
    content["mask_token"] = ballast(1, 1, config.hidden_size)
    return written(folder, "USFM_latest.pth", content), lambda x: model(x).pooler_output


def _standin(entry, write, size, verified):
    def quiet(folder: Path):
        path, features = write(folder)
        return path, torch.no_grad()(features)

    return StandIn(entry, quiet, size, verified=verified)


STANDINS: tuple[StandIn, ...] = (
    _standin("biomedclip/vit_base_patch16_224", biomedclip, 224, "open_clip with a timm trunk"),
    _standin("chexzero/vit_base_patch32", chexzero, 224, "open_clip's CLIP with QuickGELU"),
    _standin("medclip/vit", medclip_vit, 224, "transformers' SwinModel"),
    _standin("medclip/resnet50", medclip_resnet, 64, "torchvision's ResNet50"),
    _standin("ark/ark6-swin_base", ark, 224, "transformers' SwinModel under the old names"),
    *(
        _standin(
            "ark/ark-plus-swin_large", partial(ark, large=True), size,
            "transformers' SwinModel under the old names",
        )
        for size in (384, 768)  # a window's tensors do not depend on it; the first is tested
    ),
    _standin("mimic-vit/vit_base_patch16_224", mimic_vit, 224, "timm's own network with a head"),
    *(
        _standin(
            "medsam/samvit_base_patch16", partial(medsam, image_size=size), size,
            "transformers' SamVisionEncoder under SAM's names",
        )
        for size in (256, 1024)  # the first is tested
    ),
    _standin(
        "medsam/samvit_base_patch16-hub", medsam_hub, 256, "transformers' SamVisionEncoder"
    ),
    _standin(
        "lvm-med/samvit_base_patch16", lvm_med, 224,
        "transformers' SamVisionEncoder without positions, under SAM's names",
    ),
    _standin("lvm-med/resnet50", lvm_med_resnet, 64, "torchvision's ResNet50"),
    _standin(
        "ultrasam/samvit_base_patch16", ultrasam, 256,
        "transformers' SamVisionEncoder under mmpretrain's names, container converted",
    ),
    _standin(
        "usfm/beit_base_patch16_224", usfm, 224,
        "transformers' BeitModel with one shared table, under BEiT's names",
    ),
)  # fmt: skip
