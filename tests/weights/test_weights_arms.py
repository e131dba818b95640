"""Arms: how they are written, and which backbone and convention they get."""

import numpy as np
import pytest
import torch

from radstart.backbones import Backbone, build
from radstart.core.errors import RadstartError
from radstart.weights import Convention, apply_convention, parse_arm, resolve_arms, start_model


def resolve(*arms, backbone="", size=None):
    return resolve_arms(tuple(map(parse_arm, arms)), backbone, size, (0.3, 0.15))


@pytest.mark.parametrize(
    ("text", "name", "start"),
    [
        ("random", "random", "random"),
        ("moments:w", "moments:w", "moments:w"),
        ("a b=random", "a b", "random"),
        ("w=file:/x/y.pt", "w", "file:/x/y.pt"),
        ("file:/x/my=odd name.pt", "my=odd name.pt", "file:/x/my=odd name.pt"),
        ("run:/s/runs/ab12", "ab12", "run:/s/runs/ab12"),
        ("  w = file:x ", None, None),
    ],
)
def test_an_arm_is_written_start_or_name_and_start(text, name, start):
    """`START` names itself, `NAME=START` is named; a path may hold an equals sign."""
    if name is None:
        assert parse_arm(text).start == "file:x"
        return

    assert (parse_arm(text).name, parse_arm(text).start) == (name, start)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("randon", "unknown start.*did you mean random"),
        ("fil:/x", "did you mean file"),
        ("moment:w", "did you mean moments"),
        ("file:", "incomplete start.*NAME=file:PATH"),
        ("moments:", "incomplete start.*moments:ARM"),
        ("random:3", "incomplete start"),
        ("", "unknown start"),
    ],
)
def test_a_misspelt_start_is_answered_with_the_nearest(text, said):
    """The known ways of writing are named."""
    with pytest.raises(RadstartError, match=said):
        parse_arm(text)


def test_an_unknown_backbone_is_answered_with_the_nearest():
    """timm's names are searched."""
    with pytest.raises(RadstartError, match=r"unknown backbone .*resnet18"):
        build(Backbone("resnet-18"), 2)
    with pytest.raises(RadstartError, match="does not take these switches"):
        build(Backbone("test_resnet", {"no_such_switch": 1}), 2)


def test_arms_without_weights_take_the_first_stated_backbone(weights, other_weights):
    """`--backbone` decides else; a file that states its own keeps it."""
    other = other_weights("other", backbone="test_efficientnet")

    arms = resolve("random", f"w=file:{weights}", f"o=file:{other}", "moments:o")
    assert [arm.backbone.name for arm in arms] == [
        *("test_resnet", "test_resnet", "test_efficientnet", "test_efficientnet"),
    ]
    arms = resolve("random", f"w=file:{weights}", backbone="test_efficientnet")
    assert [arm.backbone.name for arm in arms] == ["test_efficientnet", "test_resnet"]


def test_switches_of_the_named_backbone_hold_for_arms_without_weights(tmp_path, weights):
    """random is compared on the very architecture of the weights, not on timm's default."""
    text = (weights / "config.json").read_text()
    folder = tmp_path / "switched"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes((weights / "model.safetensors").read_bytes())
    args = '"model_args": {"drop_rate": 0.25}, "pretrained_cfg"'
    (folder / "config.json").write_text(text.replace('"pretrained_cfg"', args))

    for backbone in ("", "test_resnet"):
        arms = resolve("random", f"w=file:{folder}", backbone=backbone)
        assert arms[0].backbone == arms[1].backbone == Backbone("test_resnet", {"drop_rate": 0.25})
    assert start_model(arms[0], 2, 0)[0].drop_rate == 0.25


def test_each_arm_has_its_own_convention_and_image_size_overrides_the_size_alone(weights):
    """random: the training part's mean and std; moments: its model's; file: its own."""
    own = {arm.name: arm.convention for arm in resolve("random", f"w=file:{weights}", "moments:w")}
    sized = {
        arm.name: arm.convention
        for arm in resolve("random", f"w=file:{weights}", "moments:w", size=48)
    }

    assert (own["random"].mean, own["random"].std) == ((0.3,) * 3, (0.15,) * 3)
    assert own["w"] == own["moments:w"]
    assert (own["w"].size, own["w"].mean, own["w"].std) == (64, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
    for name, convention in own.items():
        assert sized[name].size == 48
        assert (sized[name].mean, sized[name].std, sized[name].source) == (
            *(convention.mean, convention.std, convention.source),
        )


def test_a_bare_file_says_that_its_convention_is_assumed(weights):
    """Tensors alone do not say what they were trained on."""
    bare = weights / "model.safetensors"

    with pytest.raises(RadstartError, match=r"do not state their architecture.*--backbone"):
        resolve(f"w=file:{bare}")
    (arm,) = resolve(f"w=file:{bare}", backbone="test_resnet")
    assert "input convention assumed" in arm.notes[0]
    assert "radstart weights check" in arm.notes[0]
    assert "timm's default" in arm.convention.source


def test_random_alone_needs_a_backbone_and_moments_an_arm():
    """What is lacking is named."""
    with pytest.raises(RadstartError, match=r"no arm states a backbone.*--backbone"):
        resolve("random")
    with pytest.raises(RadstartError, match=r"moments needs an arm with weights.*NAME=file:PATH"):
        resolve("random", "moments:imagenet", backbone="test_resnet")


def test_moments_of_a_misspelt_arm_and_two_arms_of_one_name(weights):
    """The nearest arm is named; names are unique."""
    with pytest.raises(RadstartError, match="did you mean weight"):
        resolve(f"weight=file:{weights}", "moments:weihgt")
    with pytest.raises(RadstartError, match=r"two arms of one name.*NAME=START"):
        resolve(f"w=file:{weights}", f"w=file:{weights}")


@pytest.mark.slow
def test_seeds_redraw_random_and_moments_and_not_weights(weights):
    """What is random about an arm derives from the seed; loaded values do not."""
    arms = resolve("random", f"w=file:{weights}", "moments:w")
    drawn = {
        arm.name: [
            start_model(arm, 0, seed)[0].state_dict()["conv1.0.weight"] for seed in (1, 1, 2)
        ]
        for arm in arms
    }

    for name, (one, again, two) in drawn.items():
        assert torch.equal(one, again)
        assert torch.equal(one, two) == (name == "w")
    assert [arm.redraws for arm in arms] == [True, False, True]


def test_building_leaves_torchs_generator_alone(weights):
    """Nothing reads or moves the global stream."""
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    for arm in resolve("random", f"w=file:{weights}", "moments:w"):
        start_model(arm, 2, 1)

    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("colour", [False, True])
def test_pixels_become_input_by_mean_and_std_and_grey_is_repeated(colour):
    """(x / 255 - mean) / std per channel, against NumPy."""
    pixels = np.random.default_rng(0).integers(0, 256, (2, 5, 5, 3) if colour else (2, 5, 5))
    mean, std = np.array([0.1, 0.5, 0.7]), np.array([0.2, 0.3, 0.4])
    convention = Convention(5, tuple(mean.tolist()), tuple(std.tolist()), "test")

    got = apply_convention(convention, torch.from_numpy(pixels.astype(np.uint8))).numpy()
    channels = pixels if colour else np.repeat(pixels[..., None], 3, axis=3)
    expected = ((channels / 255 - mean) / std).transpose(0, 3, 1, 2)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    assert convention.record()["channels"] == 3


def test_one_channel_of_mean_and_std_gives_one_channel():
    """The convention decides how many channels grey becomes."""
    grey = torch.full((1, 4, 4), 255, dtype=torch.uint8)

    assert apply_convention(Convention(4, (0.5,), (0.25,), ""), grey).shape == (1, 1, 4, 4)
