"""A grey stem computes what the colour stem computes on a grey image, borders included."""

import pytest
import torch
from safetensors.torch import save_file

import radstart
from radstart.backbones import Backbone, build
from radstart.weights.convention import NAMED, grey, named_convention

torch.manual_seed(0)
GREY = torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Return a function: a file of random weights of a backbone, one per name and channels."""
    folder = tmp_path_factory.mktemp("stems")

    def save(name, channels=3):
        path = folder / f"{name}-{channels}.safetensors"
        if not path.exists():
            save_file(build(Backbone(name), 0, 1, channels).state_dict(), path)
        return path

    return save


def features(loaded, pixels):
    """Return the pooled features of a loaded network, (B, F)."""
    model, convention, _ = loaded
    with torch.inference_mode():
        return model(radstart.apply_convention(convention, pixels))


def gap(a, b):
    return float((a - b).abs().max() / a.abs().max())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_efficientnet", "test_byobnet"])
@pytest.mark.parametrize("convention", ["imagenet", "caffe", "-1to1", "clip-bgr", "0to1"])
def test_grey_in_one_channel_is_grey_in_three(saved, name, convention):
    """Means and standard deviations that differ between channels, zero padding at the border."""
    path = saved(name)
    wide = radstart.load_weights(path, backbone=name, convention=convention, image_size=64)
    one = radstart.load_weights(
        path, backbone=name, convention=convention, image_size=64, channels=1
    )
    pixels = GREY if name != "test_vit" else GREY[:, :48, :48]

    assert gap(features(wide, pixels), features(one, pixels)) < 1e-5
    assert len(one.convention.mean) == 1
    assert "exact" in one.receipt.stem
    assert wide.receipt.stem == ""
    assert one.receipt.computed == 1
    assert one.receipt.parameters_assigned == one.receipt.parameters_total


def test_summing_the_kernels_alone_is_not_exact(saved):
    """What the convolution of ones adds matters: without it the features are others."""
    path = saved("test_resnet")
    wide = radstart.load_weights(path, backbone="test_resnet", convention="imagenet")
    one = radstart.load_weights(path, backbone="test_resnet", convention="imagenet", channels=1)
    with torch.no_grad():
        one.model.get_submodule("conv1.0.level").weight.zero_()

    assert gap(features(wide, GREY), features(one, GREY)) > 1e-4


def test_equal_means_need_a_plain_convolution_alone(saved):
    """The names of the state are those of timm's network of one channel."""
    path = saved("test_resnet")
    one = radstart.load_weights(path, backbone="test_resnet", convention="-1to1", channels=1)
    plain = build(Backbone("test_resnet"), 0, channels=1)

    assert one.model.state_dict().keys() == plain.state_dict().keys()


def test_what_the_convolution_of_ones_adds_is_not_trained(saved):
    """It belongs to the convention, not to the weights."""
    path = saved("test_resnet")
    one = radstart.load_weights(path, backbone="test_resnet", convention="imagenet", channels=1)
    frozen = [n for n, p in one.model.named_parameters() if not p.requires_grad]

    assert frozen == ["conv1.0.level.weight"]


def test_one_channel_in_three_is_the_same_for_grey_and_for_the_mean_of_colours(saved):
    """Each channel gets a third of the kernel."""
    path = saved("test_resnet", channels=1)
    own = radstart.load_weights(path, backbone="test_resnet", convention="-1024to1024")
    wide = radstart.load_weights(path, backbone="test_resnet", convention="-1024to1024", channels=3)
    colour = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)

    assert len(wide.convention.mean) == 3
    assert gap(features(own, GREY), features(wide, GREY)) < 1e-5
    assert gap(features(own, colour), features(wide, colour)) < 1e-5


def test_a_kernel_that_is_neither_grey_nor_colour_is_refused(saved):
    """Four channels are no image of ours."""
    path = saved("test_resnet", channels=4)
    with pytest.raises(radstart.RadstartError, match="another shape"):
        radstart.load_weights(path, backbone="test_resnet", convention="imagenet")


@pytest.mark.parametrize("name", [*NAMED, "imagenet-bgr"])
def test_a_convention_of_one_channel_keeps_the_range(name):
    """The mean over channels, of means and of standard deviations."""
    wide = named_convention(name, 32, "")
    one = grey(wide)

    assert one.mean == pytest.approx([sum(wide.mean) / len(wide.mean)])
    assert one.std == pytest.approx([sum(wide.std) / len(wide.std)])
