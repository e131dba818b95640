"""A switch that is mistyped is refused: timm builds another network, or fails in its own way."""

import pytest

from radstart.backbones import Backbone, build, check_backbone, stated_backbone
from radstart.core.errors import RadstartError


@pytest.mark.parametrize(
    ("name", "switches", "said"),
    [
        ("mobilenetv2_100", {"pad_type": "Same"}, "switch pad_type.*'Same'.*did you mean same"),
        ("mobilenetv2_100", {"pad_type": "foo"}, "switch pad_type: unknown value"),
        ("mobilenetv2_100", {"output_stride": 7}, "switch output_stride.*known: 8, 16, 32"),
        ("mobilenetv2_100", {"global_pool": "foo"}, "switch global_pool"),
        ("mobilenetv2_100", {"act_layer": "nonsense"}, "does not take these switches.*nonsense"),
        ("mobilenetv2_100", {"img_size": 224}, "does not take these switches.*img_size"),
        ("test_resnet", {"bn_eps": "abc"}, "switch bn_eps.*'abc'"),
        ("test_resnet", {"bn_eps": float("nan")}, "switch bn_eps"),
        ("test_resnet", {"bn_eps": -1e-5}, "switch bn_eps.*above 0"),
        ("test_resnet", {"bn_eps": True}, "switch bn_eps"),
        ("test_resnet", {"bn_eps": [1e-5]}, "switch bn_eps"),
        ("resnet50", {"stride_in_first_conv": "yes"}, "switch stride_in_first_conv.*known: True"),
        ("resnet50", {"stride_in_first_conv": 1}, "switch stride_in_first_conv"),
        ("vit_tiny_patch16_224", {"img_size": "abc"}, "switch img_size.*whole number above 0"),
        ("vit_tiny_patch16_224", {"img_size": -224}, "switch img_size"),
        ("vit_tiny_patch16_224", {"img_size": 2**40}, "switch img_size.*8192 at the most"),
        ("vit_tiny_patch16_224", {"qkv_bias": "maybe"}, "switch qkv_bias.*give true or false"),
        ("test_resnet", {"checkpoint_path": "/etc/passwd"}, "not a switch of the network"),
        ("test_resnet", {"pretrained_cfg": "x"}, "not a switch of the network"),
        ("test_resnet", {"in_chans": 1}, "not a switch of the network"),
        ("mobilenetv2_100.nonsense", {}, "unknown backbone.*mobilenetv2_100.ra_in1k"),
        ("mobilenetv2_100.", {}, "unknown backbone"),
    ],
)
def test_what_no_network_of_this_name_takes_is_refused(name, switches, said):
    """One line, with what it takes; nothing is opened."""
    with pytest.raises(RadstartError, match=said) as caught:
        build(Backbone(name, switches), 0)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "switches"),
    [
        ("mobilenetv2_100", {"pad_type": "same", "output_stride": 16}),
        ("mobilenetv2_100.ra_in1k", {"pad_type": ""}),
        ("vit_tiny_patch16_224", {"img_size": 96, "global_pool": "avg", "qkv_bias": False}),
    ],
)
def test_what_it_takes_is_built(name, switches):
    """Each with another value than timm's default."""
    check_backbone(Backbone(name, switches))
    assert build(Backbone(name, switches), 0)


@pytest.mark.parametrize(
    ("name", "switches", "said"),
    [
        (["x"], {}, "the backbone: a key is missing"),
        ("", {}, "the backbone: a key is missing"),
        ("test_resnet", "x", "the switches: a key is wrong"),
        ("test_resnet", {"a": {"b": 1}}, "the switches: a key is wrong"),
        ("test_resnet", {"a": [1]}, "the switches: a key is wrong"),
        ("test_resnet", {"checkpoint_path": "/x"}, "w.json: checkpoint_path: not a switch"),
    ],
)
def test_what_a_file_states_is_a_backbone_or_refused(name, switches, said):
    """A config.json may come from anybody."""
    with pytest.raises(RadstartError, match=said):
        stated_backbone(name, switches, "w.json")
