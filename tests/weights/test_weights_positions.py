"""Position embeddings keep the file's grid, or are refused; what is resampled is said."""

import math

import pytest
import torch
from standins import dino
from torch.nn.functional import interpolate

from radstart.backbones import Backbone, build
from radstart.core.errors import RadstartError
from radstart.weights import parse_arm, resolve_arms
from radstart.weights.positions import fitted_size, for_size, positions_text

pytestmark = pytest.mark.slow

EVA_X = {"patch_size": 16, "ref_feat_shape": 14}


def table(rows, width=8):
    return {"pos_embed": torch.zeros(1, rows, width)}


@pytest.mark.parametrize(
    ("name", "switches", "rows", "size"),
    [
        ("vit_small_patch14_dinov2", {}, 1 + 37**2, None),
        ("vit_small_patch14_dinov2", {}, 1 + 16**2, 224),
        ("vit_small_patch14_reg4_dinov2", {}, 37**2, None),
        ("vit_small_patch14_reg4_dinov2", {}, 16**2, 224),
        ("vit_base_patch16_224", {}, 1 + 14**2, None),
        ("vit_base_patch16_224", {}, 1 + 21**2, 336),
        ("vit_base_patch16_224", {}, 1 + 32**2, 512),
        ("vit_base_patch16_224", {"img_size": 512}, 1 + 32**2, None),
        ("deit_small_distilled_patch16_224", {}, 2 + 24**2, 384),
        ("vit_small_r26_s32_224", {}, 1 + 12**2, 384),
        ("eva02_tiny_patch14_224", EVA_X, 1 + 14**2, None),
        ("eva02_tiny_patch14_224", EVA_X, 1 + 24**2, 384),
        ("resnet18", {}, 1 + 14**2, None),
        ("vit_small_patch16_dinov3", {}, 1 + 14**2, None),
    ],
)
def test_a_network_is_built_for_the_files_grid(name, switches, rows, size):
    """None = timm's default fits, or there is nothing to fit."""
    backbone = Backbone(name, switches)
    assert fitted_size(table(rows), backbone) == size
    if size:
        fitted = Backbone(name, {**switches, "img_size": size})
        with torch.device("meta"):
            assert build(fitted, 0).pos_embed.shape[1] == rows
        assert fitted_size(table(rows), fitted) is None


def test_another_patch_is_left_to_the_kernels_own_refusal():
    """A ViT-S/8 of 28 x 28 patches is no ViT-S/16 of 448 pixels."""
    eight = {**table(1 + 28**2), "patch_embed.proj.weight": torch.zeros(8, 3, 8, 8)}
    assert fitted_size(eight, Backbone("vit_small_patch16_224")) is None
    assert fitted_size(eight, Backbone("vit_small_patch8_224")) is None


@pytest.mark.parametrize("rows", [16**2, 5 + 16**2, 1, 0])
def test_rows_of_no_square_grid_are_refused(rows):
    """A table without a class token, or with rows of registers."""
    said = f"no square grid.*got {rows} rows, 1 of them for the class token.*registers"
    with pytest.raises(RadstartError, match=said):
        fitted_size(table(rows), Backbone("vit_small_patch14_dinov2"))


def test_segment_anythings_tables_fit_together_or_are_refused():
    """The grid of pos_embed decides the size; global blocks' tables must be of the same."""
    backbone = Backbone("samvit_base_patch16")
    found = {
        "pos_embed": torch.zeros(1, 32, 32, 768),
        "blocks.0.attn.rel_pos_h": torch.zeros(27, 64),
        "blocks.2.attn.rel_pos_h": torch.zeros(63, 64),
    }
    assert fitted_size(found, backbone) == 512
    found["blocks.2.attn.rel_pos_h"] = torch.zeros(127, 64)
    with pytest.raises(RadstartError, match=r"windows of 64 patches, needs 32.*img_size"):
        fitted_size(found, backbone)
    found["pos_embed"] = torch.zeros(1, 64, 64, 768)
    assert fitted_size(found, backbone) is None


@pytest.mark.parametrize(
    ("name", "switches", "key", "rows", "windows"),
    [
        ("swin_tiny_patch4_window7_224", {}, "layers.0.blocks.0.attn.", 23**2, (12, 7)),
        ("beit_base_patch16_224", {}, "blocks.0.attn.", 47**2 + 3, (24, 14)),
        ("samvit_base_patch16", {}, "blocks.2.attn.", 127, (64, 64)),
        ("beit_base_patch16_224", {"img_size": 384}, "blocks.0.attn.", 47**2 + 3, (24, 24)),
    ],
)
def test_relative_positions_of_other_windows_are_refused(name, switches, key, rows, windows):
    """Nothing resamples them: another window is another network."""
    key += "rel_pos_w" if name.startswith("sam") else "relative_position_bias_table"
    found = {key: torch.zeros(rows, 3)}
    if windows[0] == windows[1]:
        assert fitted_size(found, Backbone(name, switches)) is None
        return
    said = f"relative positions of another size.*{windows[0]} patches, needs {windows[1]}"
    with pytest.raises(RadstartError, match=said):
        fitted_size(found, Backbone(name, switches))


@pytest.mark.parametrize(
    ("name", "switches", "size", "text"),
    [
        ("vit_small_patch14_dinov2", {}, 518, "37 x 37 (518 px) as in the file"),
        ("vit_small_patch14_dinov2", {}, 224, "37 x 37 (518 px) as in the file; resampled at each "
         "image to 16 x 16, bicubic, antialias"),
        ("vit_base_patch16_224", {"img_size": 512}, 512, "32 x 32 (512 px) as in the file"),
        ("samvit_base_patch16", {}, 224, "64 x 64 (1024 px) as in the file; resampled at each "
         "image to 14 x 14, bicubic, antialias (relative ones: linear)"),
        ("vit_small_patch16_dinov3", {}, 512, ""),
        ("swin_tiny_patch4_window7_224", {}, 224, ""),
        ("resnet18", {}, 100, ""),
    ],
)  # fmt: skip
def test_the_receipt_says_what_becomes_of_them(name, switches, size, text):
    backbone = Backbone(name, switches)
    assert positions_text(backbone, size) == text
    with torch.device("meta"):
        assert positions_text(backbone, size, build(backbone, 5, channels=1)) == text


@pytest.mark.parametrize(
    ("name", "size", "said"),
    [
        ("vit_small_patch14_dinov2", 512, "patches of 14 pixels.*got 512.*such as 504 or 518"),
        ("vit_small_patch16_dinov3", 100, "patches of 16 pixels.*got 100.*such as 96 or 112"),
        ("vit_base_patch16_224", 10, "such as 16$"),
        ("swin_tiny_patch4_window7_224", 256, "images of 224 pixels alone.*img_size=256"),
        ("beit_base_patch16_224", 96, "images of 224 pixels alone.*give 224"),
    ],
)
def test_sizes_that_a_network_does_not_take_are_refused(name, size, said):
    """timm asserts in the middle of a forward, or lets the rest of the image fall."""
    with pytest.raises(RadstartError, match=said):
        positions_text(Backbone(name), size)
    with torch.device("meta"), pytest.raises(AssertionError):
        build(Backbone(name), 0)(torch.zeros(1, 3, size, size))


def test_networks_of_one_size_are_built_for_the_images_size():
    """Swin and BEiT; those that take any size are left as they are."""
    swin = Backbone("swin_tiny_patch4_window7_224")
    other = for_size(swin, 256)
    assert other == Backbone(swin.name, {"img_size": 256})
    assert for_size(swin, 224) == swin
    assert for_size(other, 224).switches == {"img_size": 224}
    for name in ("vit_small_patch14_dinov2", "resnet18", "samvit_base_patch16"):
        assert for_size(Backbone(name), 112) == Backbone(name)
    with pytest.raises(RadstartError, match="patches of 14 pixels"):
        for_size(Backbone("vit_small_patch14_dinov2"), 96)
    with pytest.raises(RadstartError, match=r"patches of 4 pixels.*such as 96 or 100"):
        for_size(swin, 97)
    with torch.device("meta"):
        assert build(other, 0)(torch.zeros(1, 3, 256, 256)).shape == (1, 768)


def test_arms_are_built_for_the_studys_size_or_refused_before_anything_trains():
    """Random ones too."""

    def arm(name, size):
        (found,) = resolve_arms((parse_arm("random"),), name, size, (0.5, 0.2))
        return found

    assert arm("swin_tiny_patch4_window7_224", 256).backbone.switches == {"img_size": 256}
    assert arm("swin_tiny_patch4_window7_224", None).backbone.switches == {}
    assert arm("vit_small_patch14_dinov2", 224).backbone.switches == {}
    with pytest.raises(RadstartError, match="such as 504 or 518"):
        arm("vit_small_patch14_dinov2", 512)


def test_at_the_native_size_nothing_is_resampled():
    """The table that patches see is the file's own, bit by bit."""
    model = build(
        Backbone("vit_small_patch14_dinov2", {"depth": 1, "embed_dim": 6, "num_heads": 1}), 0
    )
    patches = torch.zeros(1, 37, 37, 6)
    with torch.no_grad():
        seen = model._pos_embed(patches)
        other = model._pos_embed(torch.zeros(1, 16, 16, 6))
    assert torch.equal(seen[:, 1:], model.pos_embed[:, 1:])
    assert other.shape == (1, 257, 6)


def smooth(generator, waves=5, side=37, width=64):
    """Return a random table (1, width, side, side) of some `waves` features from side to side."""
    coarse = torch.randn(1, width, waves, waves, generator=generator)
    return interpolate(coarse, size=(side, side), mode="bicubic", align_corners=True)


def metas(grid, patches, registers):
    """Return a table as Meta's own code resamples it.

    Plain nets: by a scale factor with 0.1 added to the patches, without antialias; nets with
    registers: to the size, with antialias.
    """
    if registers:
        return interpolate(grid, size=(patches, patches), mode="bicubic", antialias=True)
    factor = (patches + 0.1) / grid.shape[-1]
    found = interpolate(grid, scale_factor=(factor, factor), mode="bicubic")
    assert found.shape[-1] == patches
    return found


def test_resampling_differs_from_metas_own_by_a_few_percent():
    """From 37 to 16 patches: nothing with registers; plain, 4% of a table of five waves.

    The rougher the table, the more: 7% with eight waves, 80% where neighbours are independent.
    """
    name = "vit_small_patch14_dinov2"
    model = build(Backbone(name, {"depth": 1, "embed_dim": 64, "num_heads": 1}), 0)
    model.cls_token.data.zero_()
    apart = {}
    for waves in (5, 8, 37):
        grid = smooth(torch.Generator().manual_seed(0), waves)
        model.pos_embed.data[:, 1:] = grid.flatten(2).transpose(1, 2)
        with torch.no_grad():
            ours = model._pos_embed(torch.zeros(1, 16, 16, 64))[:, 1:]
        ours = ours.transpose(1, 2).unflatten(-1, (16, 16))
        for registers in (False, True):
            theirs = metas(grid, 16, registers)
            apart[waves, registers] = float((ours - theirs).norm() / theirs.norm())
    assert all(apart[waves, True] < 1e-6 for waves in (5, 8, 37))
    assert math.isclose(apart[5, False], 0.04, abs_tol=0.01)
    assert math.isclose(apart[8, False], 0.07, abs_tol=0.01)
    assert math.isclose(apart[37, False], 0.82, abs_tol=0.03)


def test_features_at_another_size_are_close_to_metas(tmp_path):
    """37 -> 16 patches, random weights, a table of five waves: 1.2% of the features."""
    model = dino.dinov2_original(96, 3, 2)
    table = smooth(torch.Generator().manual_seed(0), width=96)
    with torch.no_grad():
        model.embeddings.position_embeddings[:, 1:] = table.flatten(2).transpose(1, 2)
    tensors = dino.meta_dinov2(dino.published(model, tmp_path))
    narrow = {"depth": 2, "embed_dim": 96, "num_heads": 3}
    ours = build(Backbone("vit_small_patch14_dinov2", narrow), 0).eval()
    tensors.pop("mask_token")
    ours.load_state_dict(tensors)
    with torch.no_grad():  # the original, its table resampled by Meta's own rule
        images = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(3)) * 2 - 1
        model.embeddings.interpolate_pos_encoding = lambda *_: torch.cat(
            [tensors["pos_embed"][:, :1], metas(table, 16, False).flatten(2).transpose(1, 2)], 1
        )
        theirs = model(images).pooler_output
        apart = float((ours(images) - theirs).norm() / theirs.norm())
    assert 0.006 < apart < 0.02
