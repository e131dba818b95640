"""What stands beside tensors is taken at its word or refused: it may come from anybody."""

import json

import pytest

from radstart.core.errors import RadstartError
from radstart.weights.source import source_of

GARBAGE = {
    "no size": {"input_size": []},
    "a size without end": {"input_size": [3, 64, float("inf")]},
    "a size below 0": {"input_size": [3, -64, -64]},
    "a size of many": {"input_size": [3, 64, 1 << 40]},
    "no spread": {"std": [0, 0, 0]},
    "a spread below float32": {"std": [1e-50] * 3},
    "a mean that is none": {"mean": [float("nan")] * 3},
    "two means": {"mean": [0.5] * 2, "std": [0.5] * 2},
    "a word": {"mean": "x"},
}


@pytest.mark.parametrize("change", GARBAGE.values(), ids=GARBAGE)
def test_a_config_json_that_states_no_convention_is_refused(change, other_weights):
    """A hub's config.json comes from strangers."""
    folder = other_weights("w")
    config = json.loads((folder / "config.json").read_text())
    config["pretrained_cfg"] |= change
    (folder / "config.json").write_text(json.dumps(config))

    with pytest.raises(RadstartError, match=r"config\.json: not a convention"):
        source_of(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"architecture": ["x"]},
        {"architecture": ""},
        {"model_args": {"block_args": {"a": 1}}},
        {"model_args": "x"},
        {"model_args": {"checkpoint_path": "/etc/passwd"}},
        {"model_args": {"pretrained_cfg": "x"}},
        {"model_args": {"bn_eps": "x"}},
        {"pretrained_cfg": []},
    ],
    ids=str,
)
def test_a_config_json_that_states_no_backbone_is_refused(change, other_weights):
    """Nothing that it names is opened."""
    folder = other_weights("w")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))

    with pytest.raises(RadstartError, match=r"config\.json"):
        source_of(folder)


@pytest.mark.parametrize(
    "text",
    [
        'backbone = "x"\n[convention]\nsize = 3\nmean = [0.5]\nstd = [0.5]',
        'receipt = "x"\n[backbone]\nname = "x"\n[convention]\nsize = 3\nmean = [0.5]\nstd = [0.5]',
        "[backbone]\n[convention]\nsize = 3\nmean = [0.5]\nstd = [0.5]",
        '[backbone]\nname = "x"\n[convention]\nsize = inf\nmean = [0.5]\nstd = [0.5]',
        '[backbone]\nname = "x"\n[convention]\nsize = -1\nmean = [0.5]\nstd = [0.5]',
        'convention = "imagenet"\n[backbone]\nname = "x"',
        'saw = 3\n[backbone]\nname = "x"\n[convention]\nsize = 3\nmean = [0.5]\nstd = [0.5]',
    ],
)
def test_a_receipt_that_is_none_is_refused(text, other_weights):
    """In one line, with the file's name."""
    folder = other_weights("w")
    (folder / "receipt.toml").write_text(text)

    with pytest.raises(RadstartError, match=r"receipt\.toml"):
        source_of(folder)
