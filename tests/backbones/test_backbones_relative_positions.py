"""Networks with relative positions alone build; the constant of layer norms can be set."""

import pytest
import torch
from torch import nn

from radstart.backbones import Backbone, build, check_name
from radstart.core.errors import RadstartError


@pytest.mark.parametrize(
    ("name", "dynamic"),
    [
        ("beit_base_patch16_224", False),
        ("beitv2_base_patch16_224", False),
        ("vit_relpos_small_patch16_224", False),
        ("vit_srelpos_small_patch16_224", False),
        ("vit_tiny_patch16_224", True),
        ("deit_tiny_patch16_224", True),
        ("eva02_tiny_patch14_224", True),
    ],
)
def test_only_what_has_a_position_embedding_is_asked_to_resample_it(name, dynamic):
    """timm's BEiT and its relative-position ViTs know no such argument."""
    with torch.device("meta"):
        model = build(Backbone(name, {"depth": 1}), 0)
    assert getattr(model, "dynamic_img_size", False) is dynamic


def test_every_layer_norm_takes_the_constant():
    """timm's SAM encoder has 1e-5 in its blocks and 1e-6 in its neck; SAM has 1e-6 in both."""
    switches = {"img_size": 32, "depth": 1}
    with torch.device("meta"):
        plain = build(Backbone("samvit_base_patch16", switches), 0)
        model = build(Backbone("samvit_base_patch16", switches | {"ln_eps": 1e-6}), 0)
    assert [m.eps for m in plain.modules() if isinstance(m, nn.LayerNorm)] == [1e-5] * 2 + [
        1e-6
    ] * 2
    assert [m.eps for m in model.modules() if isinstance(m, nn.LayerNorm)] == [1e-6] * 4


def test_a_network_without_layer_norms_is_refused():
    """A switch that changes nothing is an error."""
    check_name("resnet10t")
    with pytest.raises(RadstartError, match="nothing of the kind"):
        build(Backbone("resnet10t", {"ln_eps": 1e-6}), 0)
