"""radstart weights show FILE, convert, export: parsed, passed on; one line where refused."""

import json

import onnxruntime
import pytest
import torch
from safetensors.torch import load_file

from radstart.core.errors import RadstartError
from radstart.weights import load_weights, read_switches


def test_a_file_is_shown_and_a_name_still_is_one(cli, weights):
    """A path that is there is looked into; a family of the catalog is never taken for one."""
    code, out, err = cli("weights", "show", weights / "model.safetensors")
    assert (code, err) == (0, "")
    assert "looks like  test_resnet: loads whole" in out
    assert "conv1.0.weight" not in out
    assert "conv1.0.weight" in cli("weights", "show", weights, "--tensors")[1]
    assert "Mei X. et al." in cli("weights", "show", "radimagenet/resnet50")[1]


def test_which_dictionary_is_shown_can_be_said(cli, weights, tmp_path):
    """Several without a word are refused, and --take names one."""
    tensors = load_file(weights / "model.safetensors")
    torch.save({"student": tensors, "teacher": tensors}, tmp_path / "two.pth")

    code, out, err = cli("weights", "show", tmp_path / "two.pth")
    assert (code, out) == (2, "")
    assert "several dictionaries of tensors" in err
    code, out, _ = cli("weights", "show", tmp_path / "two.pth", "--take", "teacher")
    assert code == 0
    assert "tensors in  teacher" in out


def test_weights_are_converted_with_everything_that_was_said(cli, weights, tmp_path):
    """Options reach the card; the receipt is printed."""
    names = ",".join("abcdefghij")
    code, out, err = cli(
        *("weights", "convert", weights / "model.safetensors", "--out", tmp_path / "w"),
        *("--backbone", "test_resnet", "--convention", "-1to1", "--image-size", "48"),
        *("--classes", names, "--licence", "MIT", "--saw", "chexpert, padchest"),
        *("--switch", "bn_eps=0.001", "--name", "mine"),
    )
    assert (code, err) == (0, "")
    assert "plain timm does not load it" in out
    assert f"file:{tmp_path / 'w'}" in out
    card = (tmp_path / "w" / "card.toml").read_text()
    for word in ('name = "mine"', 'licence = "MIT"', '"padchest"', "bn_eps = 0.001", "size = 48"):
        assert word in card
    assert load_weights(tmp_path / "w").convention.name == "-1to1"


def test_pickled_code_is_refused_by_every_verb(cli, tmp_path):
    """One line with what it asks for and the way out; nothing is written."""
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pt")
    for words in (
        ("show", tmp_path / "module.pt"),
        ("convert", tmp_path / "module.pt", "--out", tmp_path / "w", "--backbone", "test_resnet"),
        ("export", tmp_path / "module.pt", "--out", tmp_path / "w.pt2", "--backbone", "resnet18"),
    ):
        code, out, err = cli("weights", *words)
        assert (code, out) == (2, "")
        assert "torch.nn.modules.linear.Linear" in err
        assert "--trust" in err
        assert len(err.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["module.pt"]


def test_the_detective_gets_every_option_that_the_loader_got(cli, weights, tmp_path, monkeypatch):
    """Else the receipt is printed, and then the same file refused."""
    tensors = load_file(weights / "model.safetensors")
    del tensors["layer1.0.conv1.weight"]
    torch.save(tensors, tmp_path / "w.pth")
    asked = {}

    def stop(wanted, images, **options):
        asked.update(wanted=wanted)
        raise RadstartError("stopped here")

    monkeypatch.setattr("radstart.study.check_convention", stop)
    code, out, err = cli(
        *(
            "weights",
            "check",
            tmp_path / "w.pth",
            "--backbone",
            "test_resnet",
            "--images",
            tmp_path,
        ),
        *("--allow-partial", "layer1.0.conv1.*", "--image-size", "64"),
    )
    assert (code, "PARTIAL" in out, "stopped here" in err) == (2, True, True)
    assert asked["wanted"].allow_partial == ("layer1.0.conv1.*",)
    code, out, err = cli("weights", "check", weights, "--labels", "absent.csv")
    assert (code, out) == (2, "")
    assert "--labels: of which images? (got absent.csv); add --images" in err


def test_switches_are_numbers_words_and_truths():
    """As a person writes them."""
    assert read_switches(["bn_eps=1e-3", "pad_type=same", "a=true", "img_size=96"]) == {
        "bn_eps": 0.001,
        "pad_type": "same",
        "a": True,
        "img_size": 96,
    }
    for text in ("bn_eps", "=3", "a="):
        with pytest.raises(RadstartError, match="not KEY=VALUE"):
            read_switches([text])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`isinstance:FutureWarning")
def test_a_run_is_exported_as_onnx(cli, finished, facts, tmp_path):
    """The format is that of the ending; what was written and compared is said."""
    run = next(r["run"] for r in facts["runs"] if (r["arm"], r["policy"]) == ("w", "frozen"))
    code, out, err = cli("weights", "export", finished / "runs" / run, "--out", tmp_path / "m.onnx")
    assert (code, err) == (0, "")
    assert "largest difference to PyTorch" in out
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"))
    told = session.get_modelmeta().custom_metadata_map
    assert json.loads(told["radstart.classes"]) == list(facts["question"]["classes"])
    assert cli("weights", "export", finished, "--out", tmp_path / "n.pt2")[0] == 2
