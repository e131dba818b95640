"""DINO, DINOv2, DINOv3, RAD-DINO, medical MAE and EVA-X compute in timm's nets what they are."""

from functools import partial

import pytest
import torch
from standins import chest, dino

import radstart
from radstart.backbones import Backbone, build
from radstart.core.errors import RadstartError
from radstart.weights.adapters import ADAPTERS, adapter_for
from radstart.weights.load import container_of
from radstart.weights.source import source_of

pytestmark = pytest.mark.slow

TWO = {"depth": 2}
TINY = {"depth": 2, "embed_dim": 96, "num_heads": 3}
CONVNEXT = {"depths": (1, 2, 1, 1), "dims": (8, 16, 24, 32)}
S14, S14R = "vit_small_patch14_dinov2", "vit_small_patch14_reg4_dinov2"
G14, G14R = "vit_giant_patch14_dinov2", "vit_giant_patch14_reg4_dinov2"

# case: how it is written, the network, what makes it small, its size, the origin
SMALL = {
    "dino": (partial(dino.write_dino_vit, 384, 6, 16, 14, True, 2),
             "vit_small_patch16_224", TWO, 224, "dino"),
    "dino flat": (partial(dino.write_dino_vit, 384, 6, 16, 14, False, 2),
                  "vit_small_patch16_224", TWO, 224, "timm"),
    "dino resnet50": (
        partial(dino.write_dino_resnet50, True, layers=(1, 1, 1, 1)),
        "resnet50", {"layers": (1, 1, 1, 1)}, 64, "dino",
    ),
    "dinov2": (partial(dino.write_dinov2, 96, 3, 2, 0, False, 518), S14, TINY, 518, "dinov2"),
    "dinov2 reg4": (partial(dino.write_dinov2, 96, 3, 2, 4, False, 518), S14R, TINY, 518, "dinov2"),
    "dinov2 giant": (partial(dino.write_dinov2, 96, 3, 2, 0, True, 98), G14, TINY, 98, "dinov2"),
    "dinov2 giant reg4": (partial(dino.write_dinov2, 96, 3, 2, 4, True, 98),
                          G14R, TINY, 98, "dinov2"),
    "rad-dino": (partial(dino.write_hf_dinov2, 96, 3, 2, 0, 518), S14, TINY, 518, "hf_dinov2"),
    "hf dinov2 reg4": (partial(dino.write_hf_dinov2, 96, 3, 2, 4, 98), S14R, TINY, 98, "hf_dinov2"),
    "dinov3": (partial(dino.write_dinov3, 96, 3, 2, False, False),
               "vit_small_patch16_dinov3", TINY, 96, "dinov3"),
    "dinov3 biased": (partial(dino.write_dinov3, 96, 3, 2, False, True),
                      "vit_small_patch16_dinov3_qkvb", TINY, 96, "dinov3"),
    "dinov3 gated": (partial(dino.write_dinov3, 96, 3, 2, True, True),
                     "vit_small_plus_patch16_dinov3_qkvb", TINY, 96, "dinov3"),
    "hf dinov3": (partial(dino.write_hf_dinov3, 96, 3, 2, False, False),
                  "vit_small_patch16_dinov3", TINY, 96, "hf_dinov3"),
    "hf dinov3 gated": (partial(dino.write_hf_dinov3, 96, 3, 2, True, True),
                        "vit_small_plus_patch16_dinov3_qkvb", TINY, 96, "hf_dinov3"),
    "dinov3 convnext": (
        partial(dino.write_dinov3_convnext, *CONVNEXT.values(), True),
        "convnext_tiny", CONVNEXT, 64, "dinov3",
    ),
    "hf dinov3 convnext": (
        partial(dino.write_dinov3_convnext, *CONVNEXT.values(), False),
        "convnext_tiny", CONVNEXT, 64, "hf_dinov3",
    ),
    "mae": (partial(chest.write_mae_vit, 384, 6, 2), "vit_small_patch16_224", TWO, 224, "mae"),
    "mae densenet": (chest.write_mae_densenet, "densenet121", {}, 32, "mae"),
    "eva-x tiny": (partial(chest.write_eva_x, 192, 3, 2, False, 14),
                   "eva02_tiny_patch14_224", TWO, 224, "eva02"),
    "eva-x base": (partial(chest.write_eva_x, 768, 12, 1, True, 14),
                   "eva02_base_patch14_224", {"depth": 1}, 224, "eva02"),
}  # fmt: skip


def read(path):
    """Return the dictionary of tensors that is taken from a file."""
    return dict(container_of(source_of(path)).tensors)


@torch.no_grad()
def apart(model, features, size):
    """Return the largest difference of features over the largest feature."""
    count = 1 if size > 224 else 2
    images = torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(7)) * 2 - 1
    theirs = features(images)
    return float((model(images) - theirs).abs().max() / theirs.abs().max())


@pytest.fixture
def load(tmp_path):
    """Return a function: tensors or a path, ... -> the network with them, whole, or a refusal."""

    def loaded(file, name, switches, size, origin=""):
        if isinstance(file, dict):
            torch.save(file, tmp_path / "changed.pth")
            file = tmp_path / "changed.pth"
        return radstart.load_weights(
            file, backbone=name, switches=switches, origin=origin, image_size=size
        ).model

    return loaded


@pytest.fixture
def tensors(tmp_path):
    """Return a function: case -> (tensors, features of the original, backbone, switches, size)."""

    def made(case):
        write, name, switches, size, _ = SMALL[case]
        path, features = write(tmp_path)
        return read(path), features, name, switches, size

    return made


@pytest.mark.parametrize("case", SMALL)
def test_features_are_the_originals_and_the_layout_is_told_apart(load, tmp_path, case):
    """Shallow nets, everything else as published, each at its own size."""
    write, name, switches, size, origin = SMALL[case]
    path, features = write(tmp_path)

    found = read(path)
    claimed = [adapter.name for adapter in ADAPTERS.values() if adapter.matches(found)]
    assert claimed[0] == origin
    assert set(claimed[1:]) <= {"ssl", "timm"}  # the last two take what is left
    assert apart(load(path, name, switches, size), features, size) <= 1e-5


def test_receipts_say_what_was_joined_left_out_and_resampled(tmp_path):
    """RAD-DINO at 224 pixels."""
    write, name, switches, _, _ = SMALL["rad-dino"]
    path, _ = write(tmp_path)
    _, _, receipt = radstart.load_weights(path, backbone=name, switches=switches, image_size=224)

    assert receipt.origin == "hf_dinov2"
    assert receipt.assigned == receipt.renamed + receipt.computed == 4 + 2 * 14 + 2
    assert receipt.computed == 2 * 2  # weight and bias of q, k and v in two blocks
    assert receipt.parameters_assigned == receipt.parameters_total
    assert receipt.dropped == ("embeddings.mask_token",)
    assert receipt.positions.startswith("37 x 37 (518 px) as in the file; resampled at each image")


def test_a_training_checkpoint_is_said_to_be_one(tmp_path):
    """DINO's: which of the two networks, and what stood beside it."""
    write, name, switches, size, _ = SMALL["dino resnet50"]
    path, _ = write(tmp_path)
    _, _, receipt = radstart.load_weights(path, backbone=name, switches=switches, image_size=size)

    assert (receipt.origin, receipt.container, receipt.prefix) == ("dino", "teacher", "module.")
    assert {"student", "optimizer", "epoch", "args"} <= set(receipt.beside)
    assert all(dropped.startswith("head.") for dropped in receipt.dropped)


def test_the_teacher_is_taken(load, tensors):
    """The student's values differ from it by one."""
    found, _, name, switches, size = tensors("dino")
    assert ADAPTERS["dino"].take == "teacher"
    assert load(found, name, switches, size).blocks[0].norm1.weight.max() < 1.5


@pytest.mark.parametrize("case", ["dinov2", "dinov2 giant reg4"])
@pytest.mark.parametrize("chunk", [0, 1])
def test_a_checkpoint_of_dinov2s_training_gives_its_teacher(load, tensors, case, chunk):
    """With and without the chunks of blocks that FSDP leaves in the names."""
    found, features, name, switches, size = tensors(case)
    if chunk:
        found = dino.chunked(found, chunk)
        assert "blocks.1.1.norm1.weight" in found
    inner = dino.dinov2_checkpoint(found)["model"]

    assert adapter_for(inner).name == "dinov2"
    assert apart(load(inner, name, switches, size), features, size) <= 1e-5

    alone = {n.removeprefix("teacher."): t for n, t in inner.items() if n.startswith("teacher.")}
    assert adapter_for(alone).name == "dinov2"
    assert apart(load(alone, name, switches, size), features, size) <= 1e-5


@pytest.mark.parametrize("case", ["dinov2", "dinov2 reg4", "dinov2 giant"])
def test_a_copy_without_mask_token_is_the_same_network(load, tensors, case):
    """timm recognises DINOv2 by this one tensor, and lets other copies pass unconverted."""
    found, features, name, switches, size = tensors(case)
    del found["mask_token"]

    assert adapter_for(found).name == ("timm" if case == "dinov2" else "dinov2")
    assert apart(load(found, name, switches, size), features, size) <= 1e-5


@pytest.mark.parametrize("case", ["dinov2", "rad-dino"])
def test_a_plain_file_in_a_network_with_registers_is_refused(load, tensors, case):
    found, _, _, switches, size = tensors(case)
    said = f"{S14R} has register tokens, the file holds 0.*without registers, such as {S14}"
    with pytest.raises(RadstartError, match=said):
        load(found, S14R, switches, size)


@pytest.mark.parametrize("case", ["dinov2 reg4", "hf dinov2 reg4"])
@pytest.mark.parametrize("masked", [True, False])
def test_a_file_with_registers_in_a_plain_network_is_refused(load, tensors, case, masked):
    """timm accepts it where `mask_token` is absent and the classifier differs."""
    found, _, _, switches, size = tensors(case)
    if not masked:
        found = {name: t for name, t in found.items() if not name.endswith("mask_token")}
    said = f"{S14} has none, the file holds 4.*with registers, such as {S14R}"
    with pytest.raises(RadstartError, match=said):
        load(found, S14, switches, size)


@pytest.mark.parametrize(
    "case", ["dinov2", "dinov2 reg4", "dinov2 giant", "dinov3 biased", "dinov3 gated",
             "eva-x tiny", "eva-x base", "dinov3 convnext"],
)  # fmt: skip
def test_timms_own_conversion_agrees(load, tensors, case):
    """A second referee: the same names with the same values."""
    import timm.models

    found, _, name, switches, size = tensors(case)
    adapter = adapter_for(found)
    ours = adapter.adapt(found, name)
    model = load(found, name, switches, size)
    state = {key: ours[key] for key in model.state_dict() if key != "rope.periods"}
    family = {"v": "vision_transformer", "c": "convnext"}[name[0]] if name[0] != "e" else "eva"
    family = "eva" if "dinov3" in name else family
    convert = getattr(timm.models, family).checkpoint_filter_fn
    theirs = convert(dict(found), model)

    assert theirs.keys() - {"head.fc.weight"} == state.keys()
    assert all(torch.equal(theirs[key], state[key]) for key in state)


@pytest.mark.parametrize("case", ["dino", "dinov2", "dinov3", "mae", "eva-x tiny"])
def test_renamed_tensors_are_views(tensors, case):
    """The receipt follows a tensor by where its numbers lie."""
    found, _, name, _, _ = tensors(case)
    places = {tensor.data_ptr() for tensor in found.values()}
    adapted = adapter_for(found).adapt(found, name)
    assert {tensor.data_ptr() for tensor in adapted.values()} <= places


ONE_OF_EACH = ("dino", "dinov2", "rad-dino", "dinov3", "hf dinov3", "mae", "eva-x tiny")


@pytest.mark.parametrize("case", ONE_OF_EACH)
@pytest.mark.parametrize("change", ["dropped", "strange", "deeper"])
def test_what_is_no_whole_file_of_its_origin_is_refused(load, tensors, case, change):
    """A dropped layer, an unknown prefix, a block too many."""
    found, _, name, switches, size = tensors(case)
    origin = adapter_for(found).name
    last = [key for key in found if "norm2" in key and "decoder" not in key][-1]
    if change == "dropped":
        del found[last]
    elif change == "deeper":
        assert "1.norm2" in last
        found[last.replace("1.norm2", "2.norm2")] = found[last]
    else:
        found[f"visual.{last}"] = found.pop(last)
    with pytest.raises(RadstartError, match="norm2"):
        load(found, name, switches, size, origin)


def test_half_of_a_joined_tensor_is_named(load, tensors):
    """Query without key and value stays what it is, and is refused."""
    found, _, name, switches, size = tensors("rad-dino")
    del found["encoder.layer.1.attention.attention.key.bias"]
    with pytest.raises(RadstartError, match=r"encoder\.layer\.1\.attention\.attention\.\w+\.bias"):
        load(found, name, switches, size)


@pytest.mark.parametrize(
    ("case", "switch", "timms"),
    [
        ("dinov3", "rope_periods", None),
        ("dinov3", "global_pool", "avg"),
        ("eva-x tiny", "ref_feat_shape", 16),
    ],
)
def test_without_its_switches_a_network_computes_something_else(load, tensors, case, switch, timms):
    """No tensor says so: the features are visibly other ones."""
    found, features, name, switches, size = tensors(case)
    if switch == "rope_periods":
        plain = load(found, name, switches, size)
        other = build(Backbone(name, {**switches, "global_pool": "token"}), 0).eval()
        state = plain.state_dict()
        other.load_state_dict({n: t for n, t in state.items() if n != "rope.periods"})
        assert not torch.equal(other.rope.periods, plain.rope.periods)
    else:
        other = load(found, name, {**switches, switch: timms}, size)
    assert apart(other, features, size) > 1e-4


@pytest.mark.parametrize("case", ["dinov3 biased", "hf dinov3 gated"])
def test_biases_that_the_network_lacks_are_refused_unless_zero(load, tensors, case):
    """timm drops them without looking."""
    found, _, name, switches, size = tensors(case)
    with pytest.raises(RadstartError, match=f"has no biases of queries and values.*{name}"):
        load(found, name.removesuffix("_qkvb"), switches, size)


def test_biases_of_keys_are_refused_unless_masked(load, tensors):
    found, _, name, switches, size = tensors("dinov3 biased")
    bare = {n: t for n, t in found.items() if not n.endswith("bias_mask")}
    with pytest.raises(RadstartError, match="biases of keys are not zero"):
        load(bare, name, switches, size)


@pytest.mark.parametrize("network", ["", "_qkvb"])
def test_biases_behind_a_mask_of_zeros_are_none(load, tensors, network):
    """Files of Meta's are seen whose masks are zero everywhere: the bias's values do not count."""
    found, features, name, switches, size = tensors("dinov3")
    for block in range(2):
        found[f"blocks.{block}.attn.qkv.bias"] = torch.ones(288)
        found[f"blocks.{block}.attn.qkv.bias_mask"] = torch.zeros(288)
    assert apart(load(found, name + network, switches, size), features, size) <= 1e-5


def test_zero_biases_fit_either_network(load, tensors):
    """The published files of S, B and L hold zeros: both of timm's nets compute the same."""
    found, features, name, switches, size = tensors("dinov3")
    assert "blocks.0.attn.qkv.bias" in found
    assert apart(load(found, f"{name}_qkvb", switches, size), features, size) <= 1e-5


def test_the_stand_ins_periods_are_the_published_ones():
    """Heads of 64 channels, as every published ViT but the largest has them."""
    periods = dino.rounded_periods(dino.dinov3_original(128, 2, 1))
    assert periods.tolist() == [
        1.0, 1.3359375, 1.78125, 2.375, 3.15625, 4.21875, 5.625, 7.5,
        10.0, 13.3125, 17.75, 23.75, 31.625, 42.25, 56.25, 75.0,
    ]  # fmt: skip


def test_norm_of_a_local_crop_is_left_out(load, tensors):
    found, features, name, switches, size = tensors("dinov3")
    found |= {"local_cls_norm.weight": torch.ones(96), "local_cls_norm.bias": torch.ones(96)}
    assert apart(load(found, name, switches, size), features, size) <= 1e-5
    found["cls_norm.weight"] = torch.ones(96)
    with pytest.raises(RadstartError, match="cls_norm"):
        load(found, name, switches, size)


def test_maes_trained_norm_is_not_lost_to_mean_pooling(load, tensors):
    """The original renames it away and starts a fresh one: here that network is refused."""
    found, _, name, switches, size = tensors("mae")
    with pytest.raises(RadstartError, match=r"missing fc_norm.*unexpected norm\."):
        load(found, name, {**switches, "global_pool": "avg"}, size)


def test_rotary_tables_of_another_grid_are_refused(load, tmp_path):
    """EVA-X's fine-tuning code scales the base net's to 16; a file says which it was."""
    path, _ = chest.write_eva_x(192, 3, 1, False, 16, tmp_path)
    with pytest.raises(RadstartError, match=r"another grid than 14 x 14.*got 16.*ref_feat_shape"):
        load(path, "eva02_tiny_patch14_224", {"depth": 1}, 224)

    path, features = chest.write_eva_x(192, 3, 1, False, 16, tmp_path)
    bare = {name: t for name, t in read(path).items() if "rope." not in name}
    model = load(bare, "eva02_tiny_patch14_224", {"depth": 1, "ref_feat_shape": 16}, 224)
    assert apart(model, features, 224) <= 1e-5
