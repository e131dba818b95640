"""Conventions: what each does to pixels, its name, its record."""

import numpy as np
import pytest
import torch

from radstart.core.errors import RadstartError
from radstart.weights.convention import (
    NAMED,
    Convention,
    apply_convention,
    named,
    named_convention,
    stated_convention,
)

COLOUR = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3), dtype=np.uint8))
BY_HAND = {
    "imagenet": lambda x: (x / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225],
    "-1to1": lambda x: x / 127.5 - 1,
    "0to1": lambda x: x / 255,
    "0to255": lambda x: x,
    "caffe": lambda x: x[..., ::-1] - [103.939, 116.779, 123.68],
    "caffe-0to1": lambda x: (x[..., ::-1] - [103.939, 116.779, 123.68]) / 255,
    "-1to1-bgr": lambda x: x[..., ::-1] / 127.5 - 1,
    "imagenet-bgr": lambda x: ((x / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225])[
        ..., ::-1
    ],
    "-1024to1024": lambda x: (2 * x.mean(-1, keepdims=True) / 255 - 1) * 1024,
}


@pytest.mark.parametrize("name", BY_HAND)
def test_a_named_convention_is_what_its_publishers_compute(name):
    """Formulas of torchvision, Keras and TorchXRayVision, in float64."""
    convention = named_convention(name, 7, "")
    wanted = BY_HAND[name](COLOUR.numpy().astype(np.float64))
    found = apply_convention(convention, COLOUR).permute(0, 2, 3, 1).numpy()

    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5 * np.abs(wanted).max())


def test_a_scale_per_image_stretches_each_image_and_a_constant_one_is_dark():
    """MedSAM's: least and largest value of each image."""
    convention = Convention(4, (0.0,) * 3, (1.0,) * 3, "", per_image="minmax")
    images = torch.stack([torch.arange(16).view(4, 4) * 3 + 20, torch.full((4, 4), 9)])
    found = apply_convention(convention, images.to(torch.uint8))

    assert (float(found[0].min()), float(found[0].max())) == (0.0, 1.0)
    assert not found[1].any()


@pytest.mark.parametrize("name", [*NAMED, *(f"{n}-bgr" for n in NAMED if n != "-1024to1024")])
def test_a_convention_comes_back_from_its_record_with_its_name(name):
    """Cards and receipts state numbers; the name is found again."""
    convention = named_convention(name, 96, "here")
    again = stated_convention(convention.record(), 0, "there")

    assert again.identity() == convention.identity()
    assert named(again).limits() == convention.limits()
    same = named_convention(named(again).name, 96, "")
    assert same.identity() == convention.identity()  # 0to1-bgr is 0to1 in the other order


@pytest.mark.parametrize(
    "stated",
    [{}, {"mean": [0.5]}, {"mean": [0.5], "std": [0]}, {"mean": [0, 0], "std": [1, 1]},
     {"mean": [0.5], "std": [1], "order": "RBG"}, {"mean": ["a"], "std": [1]},
     {"mean": [0.5], "std": [1], "per_image": "std"}],
)  # fmt: skip
def test_numbers_that_make_no_convention_are_refused(stated):
    """One line, whatever is wrong."""
    with pytest.raises(RadstartError, match="not a convention"):
        stated_convention(stated, 32, "card.toml")


def test_an_unknown_name_is_refused_with_the_nearest():
    """A typing error is no convention."""
    with pytest.raises(RadstartError, match="did you mean imagenet"):
        named_convention("imagnet", 32, "")
