"""What is no whole file of the weights it is said to be is refused, with the reason, in one line.

What each origin's own files are refused for stands with its adapter (test_adapters_*.py); here
are the faults that any file can have, through the one door `load_weights`.
"""

import logging
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from standins import cnn, vit

from radstart import load_weights
from radstart.backbones import Backbone, build
from radstart.core.errors import RadstartError
from radstart.weights.inspecting.inventory import inventory_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def whole():
    """Return the tensors of a whole ResNet18 of torchvision's, classifier inside."""
    return dict(cnn.network("resnet18").state_dict())


@pytest.fixture
def refusal(tmp_path):
    """Return a function: content of a file -> the one line with which it is refused."""

    def words(content, source=None, name="w.pth", **options):
        path = tmp_path / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif content is not None:
            torch.save(content, path)
        where = {"file": path} if source else {}
        with pytest.raises(RadstartError) as caught:
            load_weights(source or path, **{"backbone": "resnet18"} | where | options)
        assert "\n" not in str(caught.value)
        assert caught.value.remedy
        return str(caught.value).removeprefix(f"{path}: ")

    return words


def fits(said):
    """Return (missing, of how many, unexpected, of another shape) of a refusal."""
    found = [int(word) for word in said.partition(" do not fit ")[2].split() if word.isdigit()]
    return tuple(found[:4])


def test_the_file_that_is_changed_below_is_whole(whole, tmp_path):
    """So that each refusal has the one reason that it says."""
    torch.save(whole, tmp_path / "w.pth")
    _, _, receipt = load_weights(tmp_path / "w.pth", backbone="resnet18")

    assert receipt.parameters_assigned == receipt.parameters_total == 11_176_512
    assert (receipt.assigned, receipt.counters, receipt.dropped) == (100, 20, HEAD)


HEAD = ("fc.bias", "fc.weight")


# --- tensors that are not the network's -----------------------------------------------------


def test_a_dropped_layer(whole, refusal):
    """One kernel is missing, and it is named."""
    said = refusal({n: t for n, t in whole.items() if n != "layer3.1.conv2.weight"})

    assert fits(said) == (1, 120, 0, 0)
    assert "(got missing layer3.1.conv2.weight)" in said
    assert "nothing was loaded" in said


def test_an_unknown_prefix(whole, refusal):
    """Not one name is the network's; `strict=False` would go on with all of it random."""
    said = refusal({f"mystery.{name}": tensor for name, tensor in whole.items()})

    assert fits(said) == (100, 120, 122, 0)
    assert "missing conv1.weight; unexpected mystery.conv1.weight" in said
    bare = build(Backbone("resnet18"), 0)
    state = {f"mystery.{name}": tensor for name, tensor in whole.items()}
    assert bare.load_state_dict(state, strict=False).missing_keys


def test_resnet18_in_resnet50(whole, refusal):
    """Names of both are alike: 23 kernels have another shape, the third of each block is absent."""
    said = refusal(whole, backbone="resnet50")

    assert fits(said) == (165, 318, 0, 23)
    assert "missing layer1.0.conv3.weight" in said
    assert "layer1.0.conv1.weight is (64, 64, 3, 3), needs (64, 64, 1, 1)" in said


@pytest.mark.parametrize("claimed", ["timm", "torchvision"])
def test_biases_of_convolutions_that_are_not_folded(claimed, refusal, tmp_path):
    """The port of RadImageNet's Keras file has torchvision's names, and is another network."""
    path, _ = cnn._port(tmp_path)
    said = refusal(None, name=path.name, backbone="resnet50", origin=claimed)

    assert fits(said) == (0, 318, 53, 0)
    assert "(got unexpected conv1.bias)" in said
    _, _, receipt = load_weights(path, backbone="resnet50")
    assert (receipt.origin, receipt.computed) == ("radimagenet_port", 53)


def test_one_junk_tensor_and_a_changed_classifier(refusal, tmp_path, caplog):
    """timm takes it for weights: a network of random values, with a warning in its log."""
    import timm

    save_file({"foo": torch.ones(3)}, tmp_path / "junk.safetensors")
    caplog.set_level(logging.INFO, logger="timm")
    torch.manual_seed(3)
    theirs = timm.create_model(
        "resnet18",
        pretrained=True,
        pretrained_cfg_overlay={"file": str(tmp_path / "junk.safetensors")},
        num_classes=2,
    )
    torch.manual_seed(3)
    fresh = timm.create_model("resnet18", num_classes=2)
    assert any("foo" in record.getMessage() for record in caplog.records)
    assert torch.equal(theirs.layer4[1].conv2.weight, fresh.layer4[1].conv2.weight)

    said = refusal(None, name="junk.safetensors", outputs=2)
    assert fits(said) == (100, 120, 1, 0)
    assert "unexpected foo" in said


def test_two_copies_that_differ(refusal, tmp_path):
    """RadiologyNET's DenseNet is written twice; which copy was trained is not known."""
    case = next(s for s in cnn.STANDINS if s.entry == "radiologynet/densenet121")
    path, _ = case.write(tmp_path)
    content = torch.load(path, weights_only=True)
    load_weights(case.entry, file=path)
    name = "features.denseblock4.denselayer16.conv2.weight"
    content["model_state"][name] = content["model_state"][name] + 1e-6

    said = refusal(content, case.entry, backbone="")
    assert "the two copies of a tensor differ" in said
    assert f"(got {name} and model.{name})" in said


@pytest.mark.parametrize(
    ("names", "listed"),
    [
        (("model", "model_ema"), "model; model_ema"),
        (("state_dict", "state_dict_ema"), "state_dict; state_dict_ema"),
        (("student", "teacher_of_mine"), "student; teacher_of_mine"),
    ],
)
def test_several_dictionaries_of_tensors(names, listed, whole, refusal, tmp_path):
    """None is chosen in silence; the one that is named is taken."""
    first, other = names
    ours = {name: tensor + 1 for name, tensor in whole.items()}
    content = {first: ours, other: whole, "epoch": 3}

    said = refusal(content)
    assert f"several dictionaries of tensors in this file (got {listed})" in said
    assert "--take NAME" in said
    model, _, receipt = load_weights(tmp_path / "w.pth", backbone="resnet18", take=other)
    assert torch.equal(model.conv1.weight, whole["conv1.weight"])
    assert receipt.container == other


# --- files that are none --------------------------------------------------------------------

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 46830571\n"
PAGE = b"<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title></head>"


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors", "w.h5", "w.pt"])
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (POINTER, "a pointer of Git LFS); fetch the file itself"),
        (PAGE, "a web page); fetch it again"),
        (b"", "an empty file)"),
        (b"weights will follow", "no format that is known here)"),
        (pickle.dumps({"w": 1}), "a pickle that torch did not write"),
    ],
    ids=["pointer", "page", "empty", "text", "pickle"],
)
def test_what_came_instead_of_the_file(name, content, reason, refusal):
    """Whatever it is called, and never as "pickled code"."""
    said = refusal(content, name=name)
    assert said.startswith(f"not a readable weights file (got {reason}")


@pytest.mark.parametrize("legacy", [False, True])
def test_torchs_own_files_are_read_under_any_name(legacy, whole, tmp_path):
    """What a file is, its bytes say."""
    path = tmp_path / "w.safetensors"
    torch.save(whole, path, _use_new_zipfile_serialization=not legacy)

    _, _, receipt = load_weights(path, backbone="resnet18")
    assert receipt.assigned == 100


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("zip", "the zip's list of contents, at its end, is missing"),
        ("legacy", "unexpected EOF"),
        ("safetensors", "22377612 bytes where its safetensors header"),
    ],
)
def test_half_a_file(kind, reason, whole, refusal, tmp_path):
    """A download that broke off."""
    path = tmp_path / "whole"
    if kind == "safetensors":
        save_file({n: t for n, t in whole.items() if n not in HEAD}, path)
    else:
        torch.save(whole, path, _use_new_zipfile_serialization=kind == "zip")
    content = path.read_bytes()

    said = refusal(content[: len(content) // 2])
    assert said.startswith(f"not a readable weights file (got {reason}")


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("layer2.0.conv1.weight", float("nan"), "holds values that are not finite"),
        ("layer2.0.bn1.running_mean", float("inf"), "holds values that are not finite"),
        ("layer2.0.bn1.running_var", -1e-3, "holds a negative variance"),
    ],
)
def test_values_that_no_trained_network_has(name, value, reason, whole, refusal):
    """One number is enough."""
    tensor = whole[name].clone()
    tensor.view(-1)[7] = value

    assert refusal(whole | {name: tensor}).startswith(f"{reason} (got {name})")


class Trap:
    """Makes a file when unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (Path.touch, (Path(self.path),))


@pytest.mark.parametrize("legacy", [False, True])
def test_a_pickle_that_would_run_code_does_not(legacy, whole, refusal, tmp_path):
    """Loaded or shown: what it would call is named and not called."""
    sprung = tmp_path / "sprung"
    content = {"state_dict": whole, "callback": Trap(sprung)}
    torch.save(content, tmp_path / "trap.pth", _use_new_zipfile_serialization=not legacy)

    said = refusal(None, name="trap.pth")
    assert said.startswith("holds pickled code, which is not executed (got asks for ")
    assert "pathlib" in said
    with pytest.raises(RadstartError, match="pickled code"):
        inventory_of(tmp_path / "trap.pth")
    assert not sprung.exists()
    torch.load(tmp_path / "trap.pth", weights_only=False)
    assert sprung.exists()  # the trap is a real one


# --- what no tensor reveals -----------------------------------------------------------------

CLIP = {"embed_dim": 64, "num_heads": 1, "depth": 2, "img_size": 64}


def test_gelu_for_quick_gelu_is_flagged(tmp_path):
    """CLIP's tensors fit timm's name with GELU: the receipt says which activation is computed."""
    path, features = vit.chexzero(tmp_path, small=True)
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    name = "vit_base_patch32_clip_224"

    def loaded(**switches):
        model, _, receipt = load_weights(
            path, backbone=name, switches=CLIP | switches, convention="clip", image_size=64
        )
        with torch.no_grad():
            apart = (model(images) - features(images)).abs().max() / features(images).abs().max()
        return float(apart), receipt

    apart, receipt = loaded()
    assert apart < 1e-5
    assert receipt.switches["activation"] == "quick_gelu"
    assert "activation=quick_gelu" in "\n".join(receipt.lines())
    assert not any("quick_gelu" in note for note in receipt.notes)
    apart, receipt = loaded(activation="gelu")
    assert apart > 1e-3
    flag = "activation=gelu is stated: networks of openai_clip have quick_gelu"
    assert flag in receipt.notes
    assert flag in "\n".join(receipt.lines())
