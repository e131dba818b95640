"""The convention detective, on networks whose statistics were made under a known convention."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from radstart.backbones import Backbone, alternatives, build
from radstart.weights import (
    detect,
    detection_lines,
    detection_record,
    sentences,
    use,
    warning,
)
from radstart.weights.convention import Convention, apply_convention, named_convention
from radstart.weights.detective.answers import (
    CLEAR,
    FITS,
    Measured,
    answer_by_gap,
    answer_order,
    answer_scale,
)
from radstart.weights.detective.candidates import (
    Candidate,
    is_coloured,
    mirrored,
    scale_candidates,
)
from radstart.weights.detective.collapse import collapsed, diversity
from radstart.weights.detective.detect import resampling
from radstart.weights.detective.first_layer import Remembered, implied, remembered
from radstart.weights.detective.observed import distances, remade, see

SIZE = 64
NET = Backbone("test_resnet", {"activation": "leaky_relu_0.1"})


def pictures(count=24, seed=0, coloured=True, level=(0.48, 0.45, 0.40), spread=0.24):
    """Return smooth random images, uint8 (N, S, S, 3) or (N, S, S)."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.normal(size=(count, 3, 8, 8)))
    fine = torch.from_numpy(rng.normal(size=(count, 3, 32, 32)))
    up = torch.nn.functional.interpolate
    fields = up(coarse, SIZE, mode="bicubic") + 0.4 * up(fine, SIZE, mode="bicubic")
    shared = fields.mean(dim=1, keepdim=True)
    fields = shared * 1.4 + 0.5 * fields if coloured else shared * 2
    fields = fields / fields.std()
    values = torch.tensor(level).view(1, 3, 1, 1) + spread * fields
    whole = (255 * values.clamp(0, 1)).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    return np.ascontiguousarray(whole if coloured else whole[..., 0])


def convention(name, size=SIZE):
    return named_convention(name, size, "test")


def trained(true, backbone=NET, seed=0, images=None):
    """Return tensors whose statistics were made by feeding pictures in one way."""
    model = build(backbone, 0, seed)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
    model.train()
    with torch.no_grad():
        for k in range(4):
            some = pictures(24, seed=100 + k) if images is None else images
            model(apply_convention(true, torch.from_numpy(some)))
    return model.state_dict()


def loader(tensors):
    def load(backbone):
        model = build(backbone, 0)
        model.load_state_dict(tensors)
        return model.eval()

    return load


@pytest.fixture(scope="module")
def tensors():
    return trained(convention("-1to1"))


@pytest.fixture(scope="module")
def found(tensors):
    """Return the detection with the images of the training, ImageNet's convention stated."""
    views = pictures(20)
    stated = convention("imagenet")
    return detect(
        loader(tensors), Backbone("test_resnet"), stated, views, list(map(str, range(20)))
    )


# The whole ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_scale_and_activation_are_found(found):
    """Among many candidates, stated otherwise."""
    assert found.tried >= 8
    assert found.answer("scale").picked == "-1to1"
    assert found.answer("activation").picked == "leaky_relu_0.1"
    assert found.best.candidate.scale == "-1to1"
    assert found.best.gap < 0.1 < found.own.gap


@pytest.mark.slow
def test_the_stated_convention_is_warned_of_and_the_winner_can_be_used(found):
    """One line; the true convention is not warned of where the switches are right too."""
    line = warning(found, convention("imagenet"))
    chosen, backbone = use(found)

    assert "imagenet" in line
    assert "-1to1" in line
    assert "\n" not in line
    assert chosen.mean == (0.5, 0.5, 0.5)
    assert chosen.std == (0.5, 0.5, 0.5)
    assert backbone.switches["activation"] == "leaky_relu_0.1"
    assert "relu" in warning(found, convention("-1to1"))
    right = replace(found, switches=found.best.candidate.switches, backbone=backbone)
    order = found.answer("order").picked or "RGB"
    assert order == "RGB"
    assert warning(right, convention("-1to1")) == ""


def test_draws_are_named_and_keep_units_together():
    """The same seed draws the same; views of one patient have one weight; the first row is even."""
    units = ["a", "a", "b", "c", "c", "d"]
    drawn = resampling(units, 3)

    assert np.array_equal(drawn, resampling(units, 3))
    assert not np.array_equal(drawn, resampling(units, 4))
    assert drawn[0].tolist() == pytest.approx([1 / 6] * 6)
    assert np.array_equal(drawn[:, 0], drawn[:, 1])
    assert drawn.sum(axis=1) == pytest.approx(np.ones(len(drawn)))


@pytest.mark.slow
def test_grey_images_do_not_choose_an_order(tensors):
    """No mirrored candidate is tried, and the answer says why."""
    views = pictures(8, coloured=False)
    units = list(map(str, range(8)))
    grey = detect(loader(tensors), NET, convention("-1to1"), views, units)

    assert {s.candidate.order for s in grey.scored if s.candidate.scale == "-1to1"} == {"RGB"}
    answer = grey.answer("order")
    assert answer.picked == "" or answer.by == "first layer"


@pytest.mark.slow
def test_images_unlike_those_of_the_training_leave_padding_open():
    """Small leads are no answers."""
    backbone = Backbone("mobilenetv1_025", {"pad_type": "same"})
    made = trained(convention("-1to1"), backbone)
    flat = (pictures(12, seed=9, coloured=False) // 5 + 20).astype(np.uint8)
    units = list(map(str, range(12)))
    answered = detect(loader(made), backbone, convention("-1to1"), flat, units)

    padding = answered.answer("pad_type")
    assert padding.picked in ("", "same")
    assert set(padding.left) >= {"same"}


@pytest.mark.slow
def test_words_fit_a_terminal(found):
    """80 columns, both marks, an answer for every question."""
    lines = detection_lines(found)
    text = "\n".join(lines)

    assert max(map(len, lines)) <= 80
    assert "CANDIDATE" in text
    assert sum(line.startswith("*") for line in lines) == 1
    assert sum(line[:2].endswith(">") for line in lines) == 1
    assert "input scale" in text
    assert sentences(found)[0].startswith("Picked: input scale -1to1")


@pytest.mark.slow
def test_the_record_is_strict_json(found):
    """Nothing undefined in it."""
    import json

    text = json.dumps(detection_record(found), allow_nan=False)

    assert json.loads(text)["answers"][0]["asked"] == "input scale"


# Gaps -----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_gap_is_nought_where_the_statistics_are_of_these_views():
    """And is large under another activation or scale."""
    views = pictures(24, seed=3)
    made = trained(convention("-1to1"), images=views)
    alike = np.full((1, len(views)), 1 / len(views))
    model = loader(made)(NET)
    true = distances(see(model, convention("-1to1"), views), alike).gap
    wrong = distances(see(model, convention("0to1"), views), alike).gap

    assert true.max() < 0.05  # train mode divides by n - 1, and rounds
    assert wrong.mean() > 0.5


def test_dead_channels_do_not_count():
    """A variance of 4e-36 is no unit to measure in."""
    views = pictures(8, seed=3)
    made = trained(convention("-1to1"), images=views)
    made["bn1.running_var"][:3] = 4e-36
    alike = np.full((1, 8), 1 / 8)
    seen = see(loader(made)(NET), convention("-1to1"), views)

    assert seen[0].stored_var.min() > 1e-10
    assert np.isfinite(distances(seen, alike).gap).all()


def test_statistics_made_afterwards_are_noticed(tensors):
    """Weights that are the root of the variance, counters at 1; an ordinary network has neither."""
    model = loader(tensors)(NET)
    assert remade(model) == ""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data = (module.running_var + 1e-5).sqrt()
            module.num_batches_tracked.fill_(1)

    assert "root of variance" in remade(model)
    assert "counters of batches stand at 1" in remade(model)


# The first layer ------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", ["imagenet", "-1to1", "0to1", "0to255", "caffe"])
def test_the_first_layer_remembers_the_training_images(name):
    """Their means come back to two digits under the true convention alone."""
    true = convention(name)
    images = pictures(24, seed=7)
    memory = remembered(loader(trained(true, images=images))(NET), SIZE, 3)
    known = implied(memory, true)
    means = images.reshape(-1, 3).mean(axis=0) / 255

    assert known.mean == pytest.approx(means.tolist(), abs=0.02)
    assert known.impossible == ""
    for other in {"imagenet", "0to1", "0to255"} - {name}:
        found = implied(memory, convention(other))
        near = found.mean == pytest.approx(means.tolist(), abs=0.02)
        assert found.impossible or not near or not math.isclose(found.spread, known.spread)


@pytest.mark.slow
def test_means_of_photographs_and_of_grey_images_are_known():
    """Under the true convention, and not with the channels turned round."""
    memory = remembered(loader(trained(convention("-1to1")))(NET), SIZE, 3)
    grey = np.repeat(pictures(24, coloured=False, level=(0.3,) * 3)[..., None], 3, axis=3)
    own = remembered(loader(trained(convention("0to1"), images=grey))(NET), SIZE, 3)
    known = implied(memory, convention("-1to1"))

    assert known.mean == pytest.approx((0.48, 0.45, 0.40), abs=0.03)
    assert implied(own, convention("0to1")).mean == pytest.approx((0.3,) * 3, abs=0.03)
    assert implied(own, convention("imagenet")).like == ""
    turned = mirrored(Candidate("", convention("-1to1"), ())).convention
    assert implied(memory, turned).like != "photographs"


def test_a_network_without_batch_norms_remembers_nothing():
    """None, no guess."""
    assert remembered(build(Backbone("test_vit"), 0).eval(), 160, 3) is None
    assert remembered(build(NET, 0).eval(), SIZE, 3) is None  # as initialised: 0 and 1


# Answers --------------------------------------------------------------------------------------


def measured(scale, gap, noise=0.01, seed=0, order="RGB", response=0.0, shift=0.0):
    rng = np.random.default_rng(seed)
    gaps = np.concatenate([[gap], gap + noise * rng.normal(size=200)])
    own = Candidate(scale, replace(convention("imagenet"), order=order), (("activation", scale),))
    answers = np.concatenate([[response], response + 0.01 * rng.normal(size=200) + shift])
    return Measured(own, gaps, answers)


def test_a_clear_lead_is_picked_and_a_small_one_is_not():
    """Against a fixed share of the best gap, and against the resampling."""
    clear = answer_by_gap(
        "scale", [measured("a", 0.2), measured("b", 0.2 * (1.02 + CLEAR), seed=1)]
    )
    small = answer_by_gap(
        "scale", [measured("a", 0.2), measured("b", 0.2 * (0.98 + CLEAR), seed=1)]
    )
    loud = answer_by_gap(
        "scale", [measured("a", 0.2, noise=0.1), measured("b", 0.26, noise=0.1, seed=1)]
    )

    assert clear.picked == "a"
    assert small.picked == ""
    assert small.left == ("a", "b")
    assert "below 20%" in small.why
    assert loud.picked == ""


def test_the_first_layer_settles_what_the_activations_leave_open():
    """ImageNet's means in either order of channels; it contradicts a pick that it rules out."""
    plain = Measured(Candidate("-1to1", convention("-1to1"), ()), *(np.full(201, 0.30),) * 2)
    other = Measured(Candidate("imagenet", convention("imagenet"), ()), *(np.full(201, 0.29),) * 2)
    wrong = Measured(Candidate("0to1", convention("0to1"), ()), *(np.full(201, 0.10),) * 2)
    memory = Remembered((-0.06, -0.10, -0.18), (0.001,) * 3, 0.52)
    turned = Remembered(memory.mean[::-1], memory.error, memory.spread)
    grey = Remembered((-0.4, -0.4, -0.4), (0.001,) * 3, 0.4)

    for known in (memory, turned):
        answer = answer_scale([plain, other], known)
        assert (answer.picked, answer.by) == ("-1to1", "first layer")
    assert answer_scale([plain, other], grey).picked == "-1to1"
    assert answer_scale([plain, other], None).picked == ""
    contradicted = answer_scale([wrong, plain, other], memory)
    assert contradicted.picked == ""
    assert "impossible" in contradicted.why
    assert answer_order([plain], turned, False).picked == "BGR"


def test_where_nothing_fits_nothing_is_picked():
    """However far the lead."""
    answer = answer_by_gap("scale", [measured("a", FITS + 0.1), measured("b", 9.0)])

    assert answer.picked == ""
    assert "nothing that was tried fits" in answer.why


def test_the_order_is_read_from_the_later_layers():
    """Picked where they answer more strongly, open where they answer alike or images are grey."""
    rgb, bgr = measured("a", 0.2, response=0.05), measured("a", 0.19, order="BGR", seed=1)
    answer = answer_order([rgb, bgr], None, True)
    alike = answer_order([measured("a", 0.2, response=0.004), bgr], None, True)
    grey = answer_order([rgb], None, False)

    assert (answer.picked, answer.by) == ("RGB", "late layers")
    assert alike.picked == ""
    assert (grey.picked, grey.why) == ("", "grey images cannot show it")


# Candidates -----------------------------------------------------------------------------------


def test_inputs_that_are_nearly_the_same_are_one_candidate():
    """ImageNet's and CLIP's numbers; a stretch of images that fill the range."""
    views = pictures(8)
    views[:, 0, 0], views[:, 0, 1] = 0, 255
    scales = {c.scale: c for c in scale_candidates(convention("-1to1"), (), views)}

    assert "clip" in scales["imagenet"].twins
    assert "0to1 of each image" in scales["0to1"].twins
    dark = {c.scale: c for c in scale_candidates(convention("imagenet"), (), views // 8)}
    assert "clip" in dark["imagenet"].twins
    assert "0to1 of each image" in dark
    assert next(iter(scales)) == "-1to1"
    assert {"0to255", "caffe", "caffe-0to1"} <= set(scales)


def test_conventions_in_circulation_are_tried():
    """Numbers without a name are a candidate like any other."""
    own = Convention(SIZE, (0.2,) * 3, (0.1,) * 3, "a paper")
    scales = scale_candidates(convention("imagenet"), (own,), pictures(4))

    assert "mean 0.2 std 0.1" in [c.scale for c in scales]


def test_one_channel_is_tried_in_grey():
    """Named scales as their channels' means."""
    stated = Convention(SIZE, (0.5,), (0.5,), "test")
    scales = scale_candidates(stated, (), pictures(4, coloured=False))

    assert {len(c.convention.mean) for c in scales} == {1}
    assert {"-1to1", "imagenet", "-1024to1024"} <= {c.scale for c in scales}


def test_turning_the_channels_round_twice_is_nothing():
    """And once exchanges red and blue of the same picture."""
    own = Candidate("caffe", convention("caffe"), ())
    picture = torch.from_numpy(pictures(1))
    turned = mirrored(own).convention

    assert mirrored(mirrored(own)).convention.mean == own.convention.mean
    straight = apply_convention(own.convention, picture)
    assert torch.allclose(apply_convention(turned, picture), straight.flip(1), atol=1e-4)


def test_grey_images_in_three_channels_have_no_colour():
    """A few coloured marks do not make an image coloured."""
    grey = np.repeat(pictures(4, coloured=False)[..., None], 3, axis=3)
    assert not is_coloured(grey)
    grey[:, :4, :4] = (255, 0, 0)
    assert not is_coloured(grey)
    assert is_coloured(pictures(4))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mobilenetv2_100", {"activation": "relu6", "pad_type": "", "bn_eps": 1e-5}),
        ("tf_efficientnet_b0", {"activation": "silu", "pad_type": "same", "bn_eps": 1e-3}),
        ("resnet50", {"activation": "relu", "stride_in_first_conv": False, "bn_eps": 1e-5}),
        ("mobilenetv3_small_100", {"pad_type": "", "bn_eps": 1e-5}),
    ],
)
def test_the_switches_of_a_family(name, expected):
    """Its own value first; what it does not take is not tried."""
    found = alternatives(Backbone(name))

    assert {key: values[0] for key, values in found.items()} == expected
    assert all(len(values) > 1 for values in found.values())


# Networks without batch norms -----------------------------------------------------------------


@pytest.mark.slow
def test_a_collapse_is_refused_and_the_rest_is_not_told():
    """A transformer that expects 0..255 gives the same features for all images in 0..1."""
    backbone = Backbone("test_vit")
    model = build(backbone, 0).eval()
    state = model.state_dict()
    kernel = state["patch_embed.proj.weight"]
    state["patch_embed.proj.weight"] = kernel / 510
    views = np.repeat(np.repeat(pictures(10), 3, axis=1), 3, axis=2)[:, :160, :160]
    units = list(map(str, range(10)))
    stated = named_convention("0to1", 160, "test")
    answered = detect(loader(state), backbone, stated, views, units)
    refused = {s.candidate.scale for s in answered.scored if s.refused}

    assert answered.kind == "features"
    assert "0to1" in refused
    assert "0to255" not in refused
    assert answered.answer("scale").picked == ""
    assert "collapsed" in "\n".join(detection_lines(answered))


def test_diversity_of_features():
    """One direction has rank 1; equal rows have none."""
    rng = np.random.default_rng(0)
    line = np.outer(rng.normal(size=30), rng.normal(size=8)).astype(np.float32)
    wide = rng.normal(size=(400, 8)).astype(np.float32)
    same = np.ones((30, 8), np.float32)

    assert diversity(line).rank == pytest.approx(1.0, abs=1e-3)
    assert diversity(wide).rank == pytest.approx(8.0, rel=0.1)
    assert collapsed(diversity(same), diversity(wide)) != ""
    assert collapsed(diversity(wide), diversity(wide)) == ""
    assert collapsed(diversity(np.full((3, 2), np.nan, np.float32)), diversity(wide)) != ""
