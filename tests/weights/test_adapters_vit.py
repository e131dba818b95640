"""Vision transformers of other origins compute in timm's network what they compute in their own."""

from dataclasses import replace

import pytest
import torch
from standins import vit

from radstart.backbones import Backbone, build
from radstart.core.errors import RadstartError
from radstart.weights.adapters import ADAPTERS, adapter_for
from radstart.weights.convention import named_convention
from radstart.weights.load import container_of, fitted_backbone, load_whole
from radstart.weights.source import source_of

pytestmark = pytest.mark.slow

NARROW = {"embed_dim": 24, "depths": (2, 2), "num_heads": (1, 2)}
SWIN = ("swin_tiny_patch4_window7_224", NARROW | {"img_size": 56})
CLIP = {"embed_dim": 64, "num_heads": 1, "depth": 2, "img_size": 64}
SAM = {
    "img_size": 64, "embed_dim": 32, "depth": 2, "num_heads": 2, "window_size": 3,
    "global_attn_indexes": (1,), "neck_chans": 16,
}  # fmt: skip
BEIT = {"img_size": 64, "embed_dim": 48, "depth": 2, "num_heads": 2}
THIN = {"depth": 2, "embed_dim": 96, "num_heads": 2}
FEW = {"layers": (1, 1, 1, 1)}
QUICK = "vit_base_patch32_clip_quickgelu_224"


def small(write, *arguments, **named):
    return lambda folder: write(folder, *arguments, small=True, **named)


# case: how it is written, the network, its size, the origin
SMALL = {
    "biomedclip": (small(vit.biomedclip), "vit_tiny_patch16_224", {}, 224, "openclip"),
    "chexzero": (small(vit.chexzero), QUICK, CLIP, 64, "openai_clip"),
    "medclip_vit": (small(vit.medclip_vit), *SWIN, 56, "hf_swin"),
    "medclip_resnet": (small(vit.medclip_resnet), "resnet50", FEW, 64, "medclip_resnet"),
    "ark": (small(vit.ark), *SWIN, 56, "ark"),
    "microsoft": (vit.microsoft_swin, *SWIN, 56, "ark"),
    "mimic_vit": (small(vit.mimic_vit), "vit_base_patch16_224", THIN, 224, "timm"),
    "medsam": (small(vit.medsam), "samvit_base_patch16", SAM, 64, "sam"),
    "medsam_hub": (small(vit.medsam_hub), "samvit_base_patch16", SAM, 64, "hf_sam"),
    "lvm_med": (small(vit.lvm_med), "samvit_base_patch16", SAM, 64, "lvm_med"),
    "lvm_med_resnet": (small(vit.lvm_med_resnet), "resnet50", FEW, 64, "timm"),
    "ultrasam": (small(vit.ultrasam), "samvit_base_patch16", SAM, 64, "mmdet_sam"),
    "usfm": (small(vit.usfm), "beit_base_patch16_224", BEIT, 64, "beit"),
    "beit": (small(vit.usfm, shared=False), "beit_base_patch16_224", BEIT, 64, "beit"),
}


def load(path, name, switches, origin=""):
    """Return the network with the file's tensors, and the receipt."""
    source = replace(source_of(path), origin=origin)
    backbone = fitted_backbone(Backbone(name, switches), source)
    model = build(backbone, 0).eval()
    convention = named_convention("imagenet", backbone.switches.get("img_size", 224), "test")
    return model, load_whole(model, backbone, source, convention)[1]


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
    """Return a function: case -> (its file, the tensors in it, the original's features)."""
    known = {}

    def make(case):
        if case not in known:
            path, features = SMALL[case][0](tmp_path_factory.mktemp(case))
            known[case] = path, container_of(source_of(path)).tensors, features
        return known[case]

    return make


@pytest.fixture
def written(tmp_path):
    """Return a function that writes tensors into a file of their own."""

    def write(tensors):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.pth"
        torch.save(tensors, path)
        return path

    return write


@pytest.mark.parametrize("case", SMALL)
def test_features_are_the_originals(made, case):
    """Every tensor is placed: names, axes, joins and switches."""
    _, name, switches, size, origin = SMALL[case]
    path, _, features = made(case)

    model, receipt = load(path, name, switches)
    assert receipt.origin == origin
    assert receipt.parameters_assigned == receipt.parameters_total
    assert apart(model, features, pixels(size)) < 1e-5


GENERAL = {"ssl", "timm"}  # the last ones, which take what no other origin claims


@pytest.mark.parametrize("case", SMALL)
def test_a_file_is_claimed_by_its_own_origin_alone(made, case):
    """Recognition never hangs on the order of adapters."""
    _, tensors, _ = made(case)
    claims = {name for name, adapter in ADAPTERS.items() if adapter.matches(tensors)} - GENERAL
    assert claims == {SMALL[case][4]} - GENERAL
    assert adapter_for(tensors).name == SMALL[case][4]


@pytest.mark.parametrize("case", SMALL)
def test_renamed_tensors_are_views_and_the_given_ones_stay(made, case):
    """A receipt can follow them; what is joined or computed is new."""
    _, tensors, _ = made(case)
    before = dict(tensors)
    adapted = ADAPTERS[SMALL[case][4]].adapt(tensors, SMALL[case][1])

    assert tensors == before
    places = {tensor.data_ptr() for tensor in tensors.values()}
    new = [name for name, tensor in adapted.items() if tensor.data_ptr() not in places]
    assert all(".attn.qkv." in name for name in new)
    assert bool(new) == (case == "medclip_vit")


def test_receipts_say_what_became_of_the_tensors(made):
    """Where they stood, how many were renamed, reshaped and joined, what was left out."""
    receipts = {case: load(made(case)[0], *SMALL[case][1:3])[1] for case in SMALL}

    ark, clip, swin = receipts["ark"], receipts["chexzero"], receipts["medclip_vit"]
    assert (ark.container, ark.prefix) == ("teacher", "module.")
    assert ark.renamed == 3  # one merging of patches: reduction, norm's weight and bias
    assert {"head.fc.weight", "projector.0.weight", "omni_heads.5.bias"} <= set(ark.dropped)
    assert clip.renamed == clip.assigned
    assert clip.reshaped == 2  # class token and positions
    assert clip.switches == CLIP
    assert swin.computed == 2 * 4  # weights and biases of four blocks
    assert {"vision_model.projection_head.weight", "logit_scale"} <= set(swin.dropped)
    assert receipts["medsam"].switches["ln_eps"] == 1e-6
    assert "mask_decoder.iou_token.weight" in receipts["medsam"].dropped
    assert receipts["lvm_med"].dropped == ()
    assert receipts["usfm"].renamed == 2  # the one table, twice


@pytest.mark.parametrize("case", SMALL)
def test_a_dropped_tensor_or_an_unknown_one_is_refused(made, written, case):
    """Nothing is left at its initial value, and nothing is left out unheard."""
    _, name, switches, _, origin = SMALL[case]
    path, tensors, _ = made(case)
    state = load(path, name, switches)[0].state_dict()
    last = next(n for n in reversed(list(state)) if "num_batches" not in n)
    own = [n for n, t in tensors.items() if t.shape == state[last].shape]
    (source,) = [n for n in own if torch.equal(tensors[n], state[last])]

    short = written({n: t for n, t in tensors.items() if n != source})
    with pytest.raises(RadstartError, match=rf"1 of \d+ tensors missing, 0 unex.*missing {last}"):
        load(short, name, switches, origin)
    longer = written(tensors | {"something.weight": torch.ones(2)})
    with pytest.raises(RadstartError, match=r"1 unexpected.*unexpected something\.weight"):
        load(longer, name, switches, origin)
    with pytest.raises(RadstartError, match="do not fit"):
        load(written({f"net.{n}": t for n, t in tensors.items()}), name, switches, origin)


@pytest.mark.parametrize(
    ("case", "switches", "said"),
    [
        ("chexzero", CLIP | {"depth": 3}, "missing blocks.2"),
        ("medclip_vit", SWIN[1] | {"depths": (2, 4)}, "missing layers.1.blocks.2"),
        ("ark", SWIN[1] | {"depths": (2, 1)}, "unexpected layers.1.blocks.1"),
        ("medsam", SAM | {"depth": 3}, "missing blocks.2"),
        ("lvm_med", SAM | {"depth": 1}, "unexpected blocks.1"),
        ("ultrasam", SAM | {"depth": 3}, "missing blocks.2"),
        ("usfm", BEIT | {"depth": 1}, "unexpected blocks.1"),
        ("usfm", BEIT | {"depth": 3}, "missing blocks.2"),
        ("mimic_vit", THIN | {"depth": 3}, "missing blocks.2"),
    ],
)
def test_another_depth_is_refused(made, case, switches, said):
    """A network with more or fewer blocks is not this one."""
    with pytest.raises(RadstartError, match=said):
        load(made(case)[0], SMALL[case][1], switches)


# --- CLIP -----------------------------------------------------------------------------------


def test_clip_under_gelu_is_switched_to_quick_gelu(made):
    """timm's name without quickgelu gets the activation; without the switch features differ."""
    path, _, features = made("chexzero")
    plain = "vit_base_patch32_clip_224"

    model, receipt = load(path, plain, CLIP)
    assert receipt.switches == CLIP | {"activation": "quick_gelu"}
    assert "activation=quick_gelu" in receipt.backbone
    assert apart(model, features, pixels(64)) < 1e-5
    gelu, _ = load(path, plain, CLIP | {"activation": "gelu"})
    assert apart(gelu, features, pixels(64)) > 1e-3


def test_a_clip_that_was_trained_with_gelu_can_be_stated(tmp_path):
    """The layout is the same; a stated activation leads."""
    path, features = vit.chexzero(tmp_path, small=True, quick_gelu=False)

    model, _ = load(path, "vit_base_patch32_clip_224", CLIP | {"activation": "gelu"})
    assert apart(model, features, pixels(64)) < 1e-5


def test_projections_are_never_a_classifier(made):
    """Projections into a space shared with texts are left over under their own names."""
    for case, name in [
        ("chexzero", "visual.proj"),
        ("biomedclip", "visual.head.proj.weight"),
        ("medclip_vit", "vision_model.projection_head.weight"),
        ("medclip_resnet", "vision_model.model.fc.weight"),
    ]:
        adapted = ADAPTERS[SMALL[case][4]].adapt(made(case)[1], SMALL[case][1])
        assert name in adapted
        assert not {"head.weight", "head.fc.weight", "fc.weight"} & adapted.keys()


# --- Swin -----------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [("key", "query", "value"), ("query", "value", "key")])
def test_query_key_and_value_are_joined_in_their_order(made, written, order):
    """Files with the three exchanged give other features: the equality above can fail."""
    _, tensors, features = made("medclip_vit")
    new = dict(zip(("query", "key", "value"), order, strict=True))
    exchanged = {}
    for name, tensor in tensors.items():
        part = next((p for p in new if f".self.{p}." in name), "")
        exchanged[name.replace(f".self.{part}.", f".self.{new.get(part)}.")] = tensor

    model, _ = load(written(exchanged), *SWIN)
    assert apart(model, features, pixels(56)) > 1e-3


def test_a_swin_whose_last_stage_has_several_windows_shifts_them_there(tmp_path):
    """As Ark+ at 768 pixels; built for a smaller image the same tensors are another network."""
    path, features = vit.microsoft_swin(tmp_path, image_size=64, window_size=4)
    name = "swin_large_patch4_window12_384"
    switches = NARROW | {"window_size": 4}

    model, _ = load(path, name, switches | {"img_size": 64})
    assert apart(model, features, pixels(64)) < 1e-5
    unshifted, _ = load(path, name, switches | {"img_size": 32, "strict_img_size": False})
    assert apart(unshifted, features, pixels(64)) > 1e-3


def test_names_of_timm_today_are_left_to_timm(made):
    """Only a Swin that merges at a stage's end is an old one."""
    model, _ = load(made("ark")[0], *SWIN)
    assert adapter_for(model.state_dict()).name == "timm"


def test_students_are_not_taken_for_their_teacher(made, tmp_path):
    """Ark's training keeps both in one file; a file of two unnamed networks is refused."""
    both = torch.load(made("ark")[0], weights_only=True)
    assert {"state_dict", "teacher"} <= both.keys()
    both["model"] = both.pop("teacher")
    torch.save(both, tmp_path / "both.pth")
    with pytest.raises(RadstartError, match="several dictionaries of tensors"):
        load(tmp_path / "both.pth", *SWIN)


# --- Segment Anything -----------------------------------------------------------------------


@pytest.mark.parametrize("case", ["medsam", "medsam_hub", "ultrasam"])
def test_the_files_grid_leads(made, case):
    """Tables of positions are kept; what is done at another size of image is in the receipt."""
    other = SAM | {"img_size": 128}

    model, receipt = load(made(case)[0], "samvit_base_patch16", other)
    assert model.pos_embed.shape == (1, 4, 4, 32)
    assert receipt.switches["img_size"] == 64
    assert receipt.positions == "4 x 4 (64 px) as in the file"
    assert apart(model, made(case)[2], pixels(64)) < 1e-5


def test_a_file_without_positions_needs_the_switch(made):
    """LVM-Med's has none: no network with positions is filled by it, and none is emptied."""
    with pytest.raises(RadstartError, match="missing pos_embed"):
        load(made("lvm_med")[0], "samvit_base_patch16", SAM, origin="sam")
    with pytest.raises(RadstartError, match="unexpected pos_embed"):
        load(made("medsam")[0], "samvit_base_patch16", SAM | {"use_abs_pos": False})


@pytest.mark.parametrize("size", [32, 96, 128])
def test_without_positions_every_size_is_exact(made, size):
    """LVM-Med's own code resamples relative positions as timm does."""
    path, _, features = made("lvm_med")
    model, _ = load(path, "samvit_base_patch16", SAM)
    assert apart(model, features, pixels(size)) < 1e-5


def test_windows_and_norms_of_segment_anything_are_its_own(made, written):
    """What no name shows: the size of windows, the blocks that see all, the norms' constant."""
    path, tensors, _ = made("medsam")
    model, _ = load(path, "samvit_base_patch16", SAM)
    assert {m.eps for m in model.modules() if isinstance(m, torch.nn.LayerNorm)} == {1e-6}
    before = ("image_encoder.patch_embed.", "image_encoder.pos_embed")
    faint = {n: t * 1e-3 for n, t in tensors.items() if n.startswith(before)}
    file = written(tensors | faint)
    same, _ = load(file, "samvit_base_patch16", SAM)
    other, _ = load(file, "samvit_base_patch16", SAM | {"ln_eps": 1e-5})
    assert apart(other, same, pixels(64)) > 1e-3
    with pytest.raises(RadstartError, match=r"blocks\.0\.attn\.rel_pos_h: .*of 3 patches, needs 4"):
        load(path, "samvit_base_patch16", SAM | {"window_size": 4})
    with pytest.raises(RadstartError, match=r"blocks\.0\.attn\.rel_pos_h: .*of 3 patches, needs 4"):
        load(path, "samvit_base_patch16", SAM | {"global_attn_indexes": (0,)})


# --- BEiT -----------------------------------------------------------------------------------


def test_a_shared_table_becomes_every_blocks_own(made):
    """As USFM's own loader does; timm's network with one shared table computes the same."""
    path, tensors, features = made("usfm")
    model, _ = load(path, "beit_base_patch16_224", BEIT)

    tables = [block.attn.relative_position_bias_table for block in model.blocks]
    assert torch.equal(tables[0], tables[1])
    assert tables[0].data_ptr() != tables[1].data_ptr()
    one = {"use_rel_pos_bias": False, "use_shared_rel_pos_bias": True}
    shared = build(Backbone("beit_base_patch16_224", BEIT | one), 0).eval()
    shared.load_state_dict({n: t for n, t in tensors.items() if n in shared.state_dict()})
    assert apart(shared, features, pixels(64)) < 1e-5


def test_positions_of_a_beit_matter(made, written):
    """Without its table the features are others: the equality above can fail."""
    _, tensors, features = made("usfm")
    name = "rel_pos_bias.relative_position_bias_table"
    model, _ = load(written(tensors | {name: tensors[name] * 0}), "beit_base_patch16_224", BEIT)
    assert apart(model, features, pixels(64)) > 1e-3


def test_a_beit_that_normalises_before_averaging_is_refused_without_its_switch(made, written):
    """`norm` is not `fc_norm`: a trained norm is never dropped for a fresh one."""
    _, tensors, _ = made("usfm")
    file = written({name.replace("fc_norm", "norm"): t for name, t in tensors.items()})

    with pytest.raises(RadstartError, match=r"missing fc_norm\.weight; unexpected norm\."):
        load(file, "beit_base_patch16_224", BEIT)
    model, receipt = load(file, "beit_base_patch16_224", BEIT | {"use_fc_norm": False})
    assert receipt.parameters_assigned == receipt.parameters_total
    assert torch.equal(model.norm.weight, tensors["fc_norm.weight"])


def test_a_network_for_another_grid_is_refused(made):
    """Tables of relative positions are never resampled in silence."""
    with pytest.raises(RadstartError, match=r"bias_table: .* of 4 patches, needs 6"):
        load(made("usfm")[0], "beit_base_patch16_224", BEIT | {"img_size": 96})
