"""DINO, DINOv2, DINOv3, RAD-DINO, medical MAE and EVA-X compute in timm's nets what they are."""

from fnmatch import fnmatchcase
from functools import partial

import pytest
import torch
from safetensors.torch import load_file
from standins import chest, dino

from radstart.backbones import Backbone, build, classifier_keys
from radstart.core.errors import RadstartError
from radstart.weights.adapters import ADAPTERS, adapter_for
from radstart.weights.positions import fitted_size

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
    "dino resnet50": (partial(dino.write_dino_resnet50, True), "resnet50", {}, 64, "dino"),
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
    """Return the dictionary of tensors to take, without `module.`."""
    if path.suffix == ".safetensors":
        return load_file(path)
    with torch.serialization.safe_globals([dino.argparse.Namespace]):
        tensors = torch.load(path, weights_only=True)
    for name in ("teacher", "model", "module"):
        tensors = tensors.get(name, tensors)
    return {name.removeprefix("module."): tensor for name, tensor in tensors.items()}


def load(tensors, name, switches=None, origin="", without=()):
    """Return the network with the file's tensors, whole; RadstartError names what does not fit."""
    adapter = ADAPTERS[origin] if origin else adapter_for(tensors)
    stated = {**adapter.switches(name), **(switches or {})}
    backbone = Backbone(name, {k: v for k, v in stated.items() if k not in without})
    adapted = adapter.adapt(tensors, name)
    if size := fitted_size(adapted, backbone):
        backbone = Backbone(name, {**backbone.switches, "img_size": size})
    model = build(backbone, 0).eval()
    state, head = model.state_dict(), classifier_keys(backbone)
    over = [n for n in adapted if n not in state and n not in head]
    over = [n for n in over if not any(fnmatchcase(n, glob) for glob in adapter.remainder)]
    missing = [n for n in state if n not in adapted and not n.endswith("num_batches_tracked")]
    shapes = [n for n in state if n in adapted and adapted[n].shape != state[n].shape]
    if over or missing or shapes:
        raise RadstartError(f"unexpected {over[:1]}, missing {missing[:1]}, shapes {shapes[:1]}")
    model.load_state_dict({n: t for n, t in adapted.items() if n in state}, strict=False)
    return model


@torch.no_grad()
def apart(model, features, size):
    """Return the largest difference of features over the largest feature."""
    images = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(7)) * 2 - 1
    theirs = features(images)
    return float((model(images) - theirs).abs().max() / theirs.abs().max())


@pytest.fixture
def tensors(tmp_path):
    """Return a function: case -> (tensors, features of the original, backbone, switches, size)."""

    def made(case):
        write, name, switches, size, _ = SMALL[case]
        path, features = write(tmp_path)
        return read(path), features, name, switches, size

    return made


@pytest.mark.parametrize("case", SMALL)
def test_features_are_the_originals_and_the_layout_is_told_apart(tensors, case):
    """Shallow nets, everything else as published, each at its own size."""
    found, features, name, switches, size = tensors(case)

    claimed = [adapter.name for adapter in ADAPTERS.values() if adapter.matches(found)]
    assert claimed[0] == SMALL[case][-1]
    assert set(claimed[1:]) <= {"ssl", "timm"}  # the last two take what is left
    assert apart(load(found, name, switches), features, size) <= 1e-5


BACKBONES = {
    "dino/resnet50": "resnet50",
    "rad-dino/vit_base_patch14": "vit_base_patch14_dinov2",
    "dinov3/convnext_tiny": "convnext_tiny",
    "medical_mae/vit_small_patch16": "vit_small_patch16_224",
    "medical_mae/vit_base_patch16": "vit_base_patch16_224",
    "medical_mae/densenet121": "densenet121",
    "eva_x/tiny_patch16": "eva02_tiny_patch14_224",
    "eva_x/small_patch16": "eva02_small_patch14_224",
    "eva_x/base_patch16": "eva02_base_patch14_224",
}


def backbone_of(entry):
    family, name = entry.split("/")
    if entry in BACKBONES:
        return BACKBONES[entry]
    return f"{name}_224" if family == "dino" else f"{name}_{family}"


@pytest.mark.slow
@pytest.mark.parametrize("standin", dino.STANDINS + chest.STANDINS, ids=lambda s: s.entry)
def test_published_files_give_the_originals_features(standin, tmp_path):
    """Full depth and width, at the native size."""
    path, features = standin.write(tmp_path)

    model = load(read(path), backbone_of(standin.entry))
    assert apart(model, features, standin.size) <= standin.tolerance


def test_the_teacher_is_taken(tensors):
    """The student's values differ from it by one."""
    found, _, name, switches, _ = tensors("dino")
    assert ADAPTERS["dino"].take == "teacher"
    assert load(found, name, switches).blocks[0].norm1.weight.max() < 1.5


@pytest.mark.parametrize("case", ["dinov2", "dinov2 giant reg4"])
@pytest.mark.parametrize("chunk", [0, 1])
def test_a_checkpoint_of_dinov2s_training_gives_its_teacher(tensors, case, chunk):
    """With and without the chunks of blocks that FSDP leaves in the names."""
    found, features, name, switches, size = tensors(case)
    if chunk:
        found = dino.chunked(found, chunk)
        assert "blocks.1.1.norm1.weight" in found
    inner = dino.dinov2_checkpoint(found)["model"]

    assert adapter_for(inner).name == "dinov2"
    assert apart(load(inner, name, switches), features, size) <= 1e-5

    alone = {n.removeprefix("teacher."): t for n, t in inner.items() if n.startswith("teacher.")}
    assert adapter_for(alone).name == "dinov2"
    assert apart(load(alone, name, switches), features, size) <= 1e-5


@pytest.mark.parametrize("case", ["dinov2", "dinov2 reg4", "dinov2 giant"])
def test_a_copy_without_mask_token_is_the_same_network(tensors, case):
    """timm recognises DINOv2 by this one tensor, and lets other copies pass unconverted."""
    found, features, name, switches, size = tensors(case)
    del found["mask_token"]

    assert adapter_for(found).name == ("timm" if case == "dinov2" else "dinov2")
    assert apart(load(found, name, switches), features, size) <= 1e-5


@pytest.mark.parametrize("case", ["dinov2", "rad-dino"])
def test_a_plain_file_in_a_network_with_registers_is_refused(tensors, case):
    found, _, _, switches, _ = tensors(case)
    said = f"{S14R} has register tokens, the file holds 0.*without registers, such as {S14}"
    with pytest.raises(RadstartError, match=said):
        load(found, S14R, switches)


@pytest.mark.parametrize("case", ["dinov2 reg4", "hf dinov2 reg4"])
@pytest.mark.parametrize("masked", [True, False])
def test_a_file_with_registers_in_a_plain_network_is_refused(tensors, case, masked):
    """timm accepts it where `mask_token` is absent and the classifier differs."""
    found, _, _, switches, _ = tensors(case)
    if not masked:
        found = {name: t for name, t in found.items() if not name.endswith("mask_token")}
    said = f"{S14} has none, the file holds 4.*with registers, such as {S14R}"
    with pytest.raises(RadstartError, match=said):
        load(found, S14, switches)


@pytest.mark.parametrize(
    "case", ["dinov2", "dinov2 reg4", "dinov2 giant", "dinov3 biased", "dinov3 gated",
             "eva-x tiny", "eva-x base", "dinov3 convnext"],
)  # fmt: skip
def test_timms_own_conversion_agrees(tensors, case):
    """A second referee: the same names with the same values."""
    import timm.models

    found, _, name, switches, _ = tensors(case)
    adapter = adapter_for(found)
    ours = adapter.adapt(found, name)
    model = load(found, name, switches)
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
def test_what_is_no_whole_file_of_its_origin_is_refused(tensors, case, change):
    """A dropped layer, an unknown prefix, a block too many."""
    found, _, name, switches, _ = tensors(case)
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
        load(found, name, switches, origin)


def test_half_of_a_joined_tensor_is_named(tensors):
    """Query without key and value stays what it is, and is refused."""
    found, _, name, switches, _ = tensors("rad-dino")
    del found["encoder.layer.1.attention.attention.key.bias"]
    with pytest.raises(RadstartError, match=r"encoder\.layer\.1\.attention\.attention\.\w+\.bias"):
        load(found, name, switches)


@pytest.mark.parametrize(
    ("case", "switch"),
    [("dinov3", "rope_periods"), ("dinov3", "global_pool"), ("eva-x tiny", "ref_feat_shape")],
)
def test_without_its_switches_a_network_computes_something_else(tensors, case, switch):
    """No tensor says so: the features are visibly other ones."""
    found, features, name, switches, size = tensors(case)
    if switch == "rope_periods":
        plain = load(found, name, switches)
        other = build(Backbone(name, {**switches, "global_pool": "token"}), 0).eval()
        state = plain.state_dict()
        other.load_state_dict({n: t for n, t in state.items() if n != "rope.periods"})
        assert not torch.equal(other.rope.periods, plain.rope.periods)
    else:
        other = load(found, name, switches, without=(switch,))
    assert apart(other, features, size) > 1e-4


@pytest.mark.parametrize("case", ["dinov3 biased", "hf dinov3 gated"])
def test_biases_that_the_network_lacks_are_refused_unless_zero(tensors, case):
    """timm drops them without looking."""
    found, _, name, switches, _ = tensors(case)
    with pytest.raises(RadstartError, match=f"has no biases of queries and values.*{name}"):
        load(found, name.removesuffix("_qkvb"), switches)


def test_biases_of_keys_are_refused_unless_masked(tensors):
    found, _, name, switches, _ = tensors("dinov3 biased")
    bare = {n: t for n, t in found.items() if not n.endswith("bias_mask")}
    with pytest.raises(RadstartError, match="biases of keys are not zero"):
        load(bare, name, switches)


def test_zero_biases_fit_either_network(tensors):
    """The published files of S, B and L hold zeros: both of timm's nets compute the same."""
    found, features, name, switches, size = tensors("dinov3")
    assert "blocks.0.attn.qkv.bias" in found
    assert apart(load(found, f"{name}_qkvb", switches), features, size) <= 1e-5


def test_norm_of_a_local_crop_is_left_out(tensors):
    found, features, name, switches, size = tensors("dinov3")
    found |= {"local_cls_norm.weight": torch.ones(96), "local_cls_norm.bias": torch.ones(96)}
    assert apart(load(found, name, switches), features, size) <= 1e-5
    found["cls_norm.weight"] = torch.ones(96)
    with pytest.raises(RadstartError, match="cls_norm"):
        load(found, name, switches)


def test_maes_trained_norm_is_not_lost_to_mean_pooling(tensors):
    """The original renames it away and starts a fresh one: here that network is refused."""
    found, _, name, switches, _ = tensors("mae")
    with pytest.raises(RadstartError, match=r"unexpected \['norm.weight'\], missing \['fc_norm"):
        load(found, name, {**switches, "global_pool": "avg"})


def test_rotary_tables_of_another_grid_are_refused(tmp_path):
    """EVA-X's fine-tuning code scales the base net's to 16; a file says which it was."""
    path, _ = chest.write_eva_x(192, 3, 1, False, 16, tmp_path)
    with pytest.raises(RadstartError, match=r"another grid than 14 x 14.*got 16.*ref_feat_shape"):
        load(read(path), "eva02_tiny_patch14_224", {"depth": 1})

    path, features = chest.write_eva_x(192, 3, 1, False, 16, tmp_path)
    bare = {name: t for name, t in read(path).items() if "rope." not in name}
    model = load(bare, "eva02_tiny_patch14_224", {"depth": 1, "ref_feat_shape": 16})
    assert apart(model, features, 224) <= 1e-5
