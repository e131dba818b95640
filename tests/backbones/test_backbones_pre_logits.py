"""VGG without its hidden layers, as files without a top have it."""

import pytest
import torch

from radstart.backbones import Backbone, build, classifier_keys
from radstart.core.errors import RadstartError


@pytest.mark.slow
def test_vgg_without_hidden_layers_has_the_last_maps_means_for_features():
    """512 of them; its classifier takes these, and nothing is drawn anew for it."""
    small = {"mlp_ratio": 0.01}  # timm's argument: hidden layers that are quickly made
    bare = Backbone("vgg11", {"pre_logits": False, **small})
    before = torch.get_rng_state()
    model, headless = build(bare, 3).eval(), build(bare, 0).eval()
    images = torch.linspace(-1, 1, 3 * 40 * 40).view(1, 3, 40, 40)

    assert torch.equal(torch.get_rng_state(), before)
    assert not [name for name in model.state_dict() if name.startswith("pre_logits")]
    assert classifier_keys(bare) == {"head.fc.weight", "head.fc.bias"}
    with torch.inference_mode():
        assert torch.equal(headless(images), headless.features(images).mean((2, 3)))
        features = model.features(images).mean((2, 3))
        classifier = model.head.fc
        scores = torch.nn.functional.linear(features, classifier.weight, classifier.bias)
        torch.testing.assert_close(model(images), scores)
    assert features.shape == (1, 512)
    assert model.num_features == model.head_hidden_size == 512


def test_with_it_nothing_changes_and_others_have_none():
    """True is what timm builds; a ResNet has no such layers."""
    with torch.device("meta"):
        names = build(Backbone("vgg16", {"pre_logits": True}), 0).state_dict().keys()
    assert "pre_logits.fc1.weight" in names
    with pytest.raises(RadstartError, match="pre_logits"):
        build(Backbone("test_resnet", {"pre_logits": False}), 0)
