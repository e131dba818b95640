"""Vision transformers of other origins compute in timm's network what they compute in their own."""

from fnmatch import fnmatchcase

import pytest
import torch
from standins import vit

from radstart.backbones import Backbone, build, classifier_keys
from radstart.core.errors import RadstartError
from radstart.weights.adapters import ADAPTERS, adapter_for

NARROW = {"embed_dim": 24, "depths": (2, 2), "num_heads": (1, 2)}
SWIN = ("swin_tiny_patch4_window7_224", NARROW | {"img_size": 56})
CLIP = {"embed_dim": 64, "num_heads": 1, "depth": 2, "img_size": 64}
SAM = {
    "img_size": 64, "embed_dim": 32, "depth": 2, "num_heads": 2, "window_size": 3,
    "global_attn_indexes": (1,), "neck_chans": 16,
}  # fmt: skip
BEIT = {"img_size": 64, "embed_dim": 48, "depth": 2, "num_heads": 2}
QUICK = "vit_base_patch32_clip_quickgelu_224"


def small(write, *arguments, **named):
    return lambda folder: write(folder, *arguments, small=True, **named)


# case: how it is written, the network, its size, the origin
SMALL = {
    "biomedclip": (small(vit.biomedclip), "vit_tiny_patch16_224", {}, 224, "openclip"),
    "chexzero": (small(vit.chexzero), QUICK, CLIP, 64, "openai_clip"),
    "medclip_vit": (small(vit.medclip_vit), *SWIN, 56, "hf_swin"),
    "medclip_resnet": (vit.medclip_resnet, "resnet50", {}, 64, "medclip_resnet"),
    "ark": (small(vit.ark), *SWIN, 56, "ark"),
    "microsoft": (vit.microsoft_swin, *SWIN, 56, "ark"),
    "mimic_vit": (small(vit.mimic_vit), "vit_base_patch16_224", {"depth": 2}, 224, "timm"),
    "medsam": (small(vit.medsam), "samvit_base_patch16", SAM, 64, "sam"),
    "medsam_hub": (small(vit.medsam_hub), "samvit_base_patch16", SAM, 64, "hf_sam"),
    "lvm_med": (small(vit.lvm_med), "samvit_base_patch16", SAM, 64, "lvm_med"),
    "lvm_med_resnet": (vit.lvm_med_resnet, "resnet50", {}, 64, "timm"),
    "ultrasam": (small(vit.ultrasam), "samvit_base_patch16", SAM, 64, "mmdet_sam"),
    "usfm": (small(vit.usfm), "beit_base_patch16_224", BEIT, 64, "beit"),
    "beit": (small(vit.usfm, shared=False), "beit_base_patch16_224", BEIT, 64, "beit"),
}

FULL = {
    "biomedclip/vit_base_patch16": ("vit_base_patch16_224", {}, "openclip"),
    "chexzero/vit_base_patch32": (QUICK, {}, "openai_clip"),
    "medclip/swin_tiny": ("swin_tiny_patch4_window7_224", {}, "hf_swin"),
    "medclip/resnet50": ("resnet50", {}, "medclip_resnet"),
    "ark/swin_base": ("swin_base_patch4_window7_224", {}, "ark"),
    "ark_plus/swin_large_768": ("swin_large_patch4_window12_384", {"img_size": 768}, "ark"),
    "mimic_vit/vit_base_patch16": ("vit_base_patch16_224", {}, "timm"),
    "medsam/vit_base": ("samvit_base_patch16", {}, "sam"),
    "lvm_med/vit_base": ("samvit_base_patch16", {}, "lvm_med"),
    "lvm_med/resnet50": ("resnet50", {}, "timm"),
    "ultrasam/vit_base": ("samvit_base_patch16", {}, "mmdet_sam"),
    "usfm/beit_base": ("beit_base_patch16_224", {}, "beit"),
}


def read(path):
    """Return the one dictionary of tensors of a stand-in, without `module.`."""
    tensors = torch.load(path, weights_only=True)
    for name in ("teacher", "state_dict", "model"):
        tensors = tensors.get(name, tensors)
    return {name.removeprefix("module."): tensor for name, tensor in tensors.items()}


def load(tensors, name, switches, origin=""):
    """Return the network with the file's tensors, whole; RadstartError names what does not fit."""
    adapter = ADAPTERS[origin] if origin else adapter_for(tensors)
    backbone = Backbone(name, {**adapter.switches(name), **switches})
    model = build(backbone, 0).eval()
    head = classifier_keys(backbone)
    kept = {
        name: tensor
        for name, tensor in adapter.adapt(tensors, name).items()
        if name not in head and not any(fnmatchcase(name, g) for g in adapter.remainder)
    }
    try:
        model.load_state_dict(kept, strict=True)
    except RuntimeError as error:
        raise RadstartError("weights do not fit", name, str(error)) from error
    return model


def pixels(size, count=2):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(3))


@torch.no_grad()
def apart(model, features, images):
    """Return the largest difference relative to the largest feature."""
    expected = features(images)
    got = model(images)
    assert got.shape == expected.shape
    if len(images) > 1:  # features that hardly depend on the image would agree for nothing
        assert (expected[0] - expected[1]).abs().max() > 0.02 * expected.abs().max()
    return float((got - expected).abs().max() / expected.abs().max())


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a function: case -> (tensors of its file, the original's features), made once."""
    known = {}

    def make(case):
        if case not in known:
            path, features = SMALL[case][0](tmp_path_factory.mktemp(case))
            known[case] = read(path), features
        return known[case]

    return make


@pytest.mark.parametrize("case", SMALL)
def test_features_are_the_originals(made, case):
    """Every tensor is placed: names, axes, joins and switches."""
    _, name, switches, size, origin = SMALL[case]
    tensors, features = made(case)

    assert adapter_for(tensors).name == origin
    assert apart(load(tensors, name, switches), features, pixels(size)) < 1e-5


GENERAL = {"ssl", "timm"}  # the last ones, which take what no other origin claims


@pytest.mark.parametrize("case", SMALL)
def test_a_file_is_claimed_by_its_own_origin_alone(made, case):
    """Recognition never hangs on the order of adapters."""
    tensors, _ = made(case)
    claims = {name for name, adapter in ADAPTERS.items() if adapter.matches(tensors)} - GENERAL
    assert claims == {SMALL[case][4]} - GENERAL


@pytest.mark.slow
@pytest.mark.parametrize("standin", vit.STANDINS, ids=lambda s: s.entry)
def test_features_are_the_originals_at_full_size(standin, tmp_path):
    """The published architectures, at the size they are meant for where it is fixed."""
    name, switches, origin = FULL[standin.entry]
    path, features = standin.write(tmp_path)
    tensors = read(path)

    assert adapter_for(tensors).name == origin
    images = pixels(standin.size, count=1)
    assert apart(load(tensors, name, switches), features, images) < standin.tolerance


@pytest.mark.parametrize("case", SMALL)
def test_renamed_tensors_are_views_and_the_given_ones_stay(made, case):
    """A receipt can follow them; what is joined or computed is new."""
    tensors, _ = made(case)
    before = dict(tensors)
    adapted = ADAPTERS[SMALL[case][4]].adapt(tensors, SMALL[case][1])

    assert tensors == before
    places = {tensor.data_ptr() for tensor in tensors.values()}
    new = [name for name, tensor in adapted.items() if tensor.data_ptr() not in places]
    assert all(".attn.qkv." in name for name in new)
    assert bool(new) == (case == "medclip_vit")


@pytest.mark.parametrize("case", SMALL)
def test_a_dropped_tensor_or_an_unknown_one_is_refused(made, case):
    """Nothing is left at its initial value, and nothing is left out unheard."""
    _, name, switches, _, origin = SMALL[case]
    tensors, _ = made(case)
    model = load(tensors, name, switches)
    last = next(n for n in reversed(list(model.state_dict())) if "num_batches" not in n)
    source = [n for n, t in tensors.items() if torch.equal(t, model.state_dict()[last])]

    assert source
    short = {n: t for n, t in tensors.items() if n not in source}
    with pytest.raises(RadstartError, match=r"Missing key.*" + last.replace(".", r"\.")):
        load(short, name, switches, origin)
    with pytest.raises(RadstartError, match=r"Unexpected key.*something"):
        load(tensors | {"something.weight": torch.ones(2)}, name, switches, origin)
    prefixed = {f"net.{n}": t for n, t in tensors.items()}
    with pytest.raises(RadstartError, match="do not fit"):
        load(prefixed, name, switches, origin)


@pytest.mark.parametrize(
    ("case", "switches"),
    [
        ("chexzero", CLIP | {"depth": 3}),
        ("medclip_vit", SWIN[1] | {"depths": (2, 4)}),
        ("ark", SWIN[1] | {"depths": (2, 1)}),
        ("medsam", SAM | {"depth": 3}),
        ("lvm_med", SAM | {"depth": 1}),
        ("ultrasam", SAM | {"depth": 3}),
        ("usfm", BEIT | {"depth": 1}),
        ("usfm", BEIT | {"depth": 3}),
        ("mimic_vit", {"depth": 3}),
    ],
)
def test_another_depth_is_refused(made, case, switches):
    """A network with more or fewer blocks is not this one."""
    with pytest.raises(RadstartError, match=r"(Missing|Unexpected) key"):
        load(made(case)[0], SMALL[case][1], switches)


# --- CLIP -----------------------------------------------------------------------------------


def test_clip_under_gelu_is_switched_to_quick_gelu(made):
    """timm's name without quickgelu gets the activation; without the switch features differ."""
    tensors, features = made("chexzero")
    plain = "vit_base_patch32_clip_224"

    assert ADAPTERS["openai_clip"].switches(plain) == {"activation": "quick_gelu"}
    assert ADAPTERS["openai_clip"].switches(QUICK) == {}
    assert apart(load(tensors, plain, CLIP), features, pixels(64)) < 1e-5
    gelu = load(tensors, plain, CLIP | {"activation": "gelu"})
    assert apart(gelu, features, pixels(64)) > 1e-3


def test_a_clip_that_was_trained_with_gelu_can_be_stated(tmp_path):
    """The layout is the same; a stated activation leads."""
    path, features = vit.chexzero(tmp_path, small=True, quick_gelu=False)
    tensors = read(path)

    model = load(tensors, "vit_base_patch32_clip_224", CLIP | {"activation": "gelu"})
    assert apart(model, features, pixels(64)) < 1e-5


def test_projections_are_never_a_classifier(made):
    """Projections into a space shared with texts are left over under their own names."""
    for case, name in [
        ("chexzero", "visual.proj"),
        ("biomedclip", "visual.head.proj.weight"),
        ("medclip_vit", "vision_model.projection_head.weight"),
        ("medclip_resnet", "vision_model.model.fc.weight"),
    ]:
        adapted = ADAPTERS[SMALL[case][4]].adapt(made(case)[0], SMALL[case][1])
        assert name in adapted
        assert not {"head.weight", "head.fc.weight", "fc.weight"} & adapted.keys()


# --- Swin -----------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [("key", "query", "value"), ("query", "value", "key")])
def test_query_key_and_value_are_joined_in_their_order(made, order):
    """Files with the three exchanged give other features: the equality above can fail."""
    tensors, features = made("medclip_vit")
    new = dict(zip(("query", "key", "value"), order, strict=True))
    exchanged = {}
    for name, tensor in tensors.items():
        part = next((p for p in new if f".self.{p}." in name), "")
        exchanged[name.replace(f".self.{part}.", f".self.{new.get(part)}.")] = tensor

    model = load(exchanged, *SWIN)
    assert apart(model, features, pixels(56)) > 1e-3


def test_a_swin_whose_last_stage_has_several_windows_shifts_them_there(tmp_path):
    """As Ark+ at 768 pixels; built for a smaller image the same tensors are another network."""
    path, features = vit.microsoft_swin(tmp_path, image_size=64, window_size=4)
    tensors = read(path)
    name = "swin_large_patch4_window12_384"
    switches = NARROW | {"window_size": 4}

    model = load(tensors, name, switches | {"img_size": 64})
    assert apart(model, features, pixels(64)) < 1e-5
    unshifted = load(tensors, name, switches | {"img_size": 32, "strict_img_size": False})
    assert apart(unshifted, features, pixels(64)) > 1e-3


def test_names_of_timm_today_are_left_to_timm(made):
    """Only a Swin that merges at a stage's end is an old one."""
    model = load(made("ark")[0], *SWIN)
    assert adapter_for(model.state_dict()).name == "timm"


# --- Segment Anything -----------------------------------------------------------------------


@pytest.mark.parametrize("case", ["medsam", "medsam_hub", "ultrasam"])
def test_a_network_for_another_image_size_is_refused(made, case):
    """Tables of positions are never resampled in silence."""
    with pytest.raises(RadstartError, match="size mismatch for pos_embed"):
        load(made(case)[0], "samvit_base_patch16", SAM | {"img_size": 128})


def test_a_file_without_positions_needs_the_switch(made):
    """LVM-Med's has none: no network with positions is filled by it, and none is emptied."""
    with pytest.raises(RadstartError, match=r"Missing key.*pos_embed"):
        load(made("lvm_med")[0], "samvit_base_patch16", SAM, origin="sam")
    with pytest.raises(RadstartError, match=r"Unexpected key.*pos_embed"):
        load(made("medsam")[0], "samvit_base_patch16", SAM | {"use_abs_pos": False})


@pytest.mark.parametrize("size", [32, 96, 128])
def test_without_positions_every_size_is_exact(made, size):
    """LVM-Med's own code resamples relative positions as timm does."""
    tensors, features = made("lvm_med")
    model = load(tensors, "samvit_base_patch16", SAM)
    assert apart(model, features, pixels(size)) < 1e-5


def test_windows_and_norms_of_segment_anything_are_its_own(made):
    """What no tensor shows: the size of windows, the blocks that see all, the norms' constant."""
    tensors, _ = made("medsam")
    model = load(tensors, "samvit_base_patch16", SAM)
    assert {m.eps for m in model.modules() if isinstance(m, torch.nn.LayerNorm)} == {1e-6}
    dim = {name: tensor * 1e-3 for name, tensor in tensors.items() if "patch_embed" in name}
    dim |= {name: tensor * 1e-3 for name, tensor in tensors.items() if "pos_embed" in name}
    other = load(tensors | dim, "samvit_base_patch16", SAM | {"ln_eps": 1e-5})
    same = load(tensors | dim, "samvit_base_patch16", SAM)
    assert apart(other, same, pixels(64)) > 1e-3
    with pytest.raises(RadstartError, match=r"size mismatch for blocks.0.attn.rel_pos_h"):
        load(tensors, "samvit_base_patch16", SAM | {"window_size": 4})
    with pytest.raises(RadstartError, match=r"size mismatch for blocks.*rel_pos_h"):
        load(tensors, "samvit_base_patch16", SAM | {"global_attn_indexes": (0,)})


# --- BEiT -----------------------------------------------------------------------------------


def test_a_shared_table_becomes_every_blocks_own(made):
    """As USFM's own loader does; timm's network with one shared table computes the same."""
    tensors, features = made("usfm")
    shared = {"use_rel_pos_bias": False, "use_shared_rel_pos_bias": True}

    model = load(tensors, "beit_base_patch16_224", BEIT)
    tables = [block.attn.relative_position_bias_table for block in model.blocks]
    assert torch.equal(tables[0], tables[1])
    assert tables[0].data_ptr() != tables[1].data_ptr()
    with_one = build(Backbone("beit_base_patch16_224", BEIT | shared), 0).eval()
    kept = {n: t for n, t in tensors.items() if n in with_one.state_dict()}
    with_one.load_state_dict(kept)
    assert apart(with_one, features, pixels(64)) < 1e-5


def test_positions_of_a_beit_matter(made):
    """Without its table the features are others: the equality above can fail."""
    tensors, features = made("usfm")
    name = "rel_pos_bias.relative_position_bias_table"
    model = load(tensors | {name: tensors[name] * 0}, "beit_base_patch16_224", BEIT)
    assert apart(model, features, pixels(64)) > 1e-3


def test_a_beit_that_normalises_before_averaging_is_refused_without_its_switch(made):
    """`norm` is not `fc_norm`: a trained norm is never dropped for a fresh one."""
    tensors, _ = made("usfm")
    before = {name.replace("fc_norm", "norm"): tensor for name, tensor in tensors.items()}

    with pytest.raises(RadstartError, match=r"Missing key.*fc_norm.*Unexpected key.*norm"):
        load(before, "beit_base_patch16_224", BEIT)
    load(before, "beit_base_patch16_224", BEIT | {"use_fc_norm": False})


def test_a_network_for_another_grid_is_refused(made):
    """Tables of relative positions are never resampled in silence."""
    with pytest.raises(RadstartError, match=r"size mismatch.*relative_position_bias_table"):
        load(made("usfm")[0], "beit_base_patch16_224", BEIT | {"img_size": 96})
