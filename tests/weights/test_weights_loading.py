"""Weights go in whole or not at all, with a receipt."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from radstart.backbones import Backbone, build, classifier_keys
from radstart.core.errors import RadstartError
from radstart.core.hashing import file_sha256
from radstart.weights import parse_arm, resolve_arms, start_model
from radstart.weights.adapters import ADAPTERS
from radstart.weights.adapters.adapter import Adapter
from radstart.weights.convention import Convention, named_convention
from radstart.weights.load import load_whole
from radstart.weights.receipt import redrawn
from radstart.weights.source import source_of

SHARED = Path(__file__).parents[2].parent / "shared" / "weights"
real = [
    pytest.mark.real,
    pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/weights is absent: NOT TESTED"),
]
NAME = "test_resnet"


def start(path, outputs=2, backbone=NAME, seed=0):
    (arm,) = resolve_arms((parse_arm(f"w=file:{path}"),), backbone, 32, (0.5, 0.2))
    return start_model(arm, outputs, seed)


def changed(weights, tmp_path, change, name="changed.safetensors"):
    """Return a bare file with the tensors of `weights` after `change(tensors)`."""
    tensors = load_file(weights / "model.safetensors")
    change(tensors)
    save_file(tensors, tmp_path / name)
    return tmp_path / name


def test_every_value_of_the_backbone_is_the_files_and_the_classifier_is_not(weights):
    """Tensors are copied exactly; the file's classifier is dropped, counted and named."""
    tensors = load_file(weights / "model.safetensors")
    head = classifier_keys(Backbone(NAME))
    model, receipt = start(weights, outputs=3)

    state = model.state_dict()
    assert head == {"fc.weight", "fc.bias"}
    for name, tensor in tensors.items():
        if name not in head:
            assert torch.equal(state[name], tensor)
    assert state["fc.weight"].shape[0] == 3
    assert receipt.dropped == ("fc.bias", "fc.weight")
    assert receipt.assigned + receipt.counters == len(tensors) - 2
    assert receipt.defaulted == ()
    assert receipt.sha256 == file_sha256(weights / "model.safetensors")
    own = sum(p.numel() for n, p in model.named_parameters() if n not in head)
    assert receipt.parameters_assigned == receipt.parameters_total == own


def shares(receipt):
    """Return (tensors, parameters) by kind; every tensor stands in one share alone."""
    own = [one for one in receipt.shares if one.place == "backbone"]
    assert sum(one.parameters for one in own) == receipt.parameters_total
    return {one.kind: (one.tensors, one.parameters) for one in receipt.shares}


def test_shares_of_a_receipt_count_every_tensor_once(weights, tmp_path, monkeypatch):
    """As named, renamed, of another order of axes, computed, fresh, dropped, left out, redrawn."""
    own = {n: t.numel() for n, t in load_file(weights / "model.safetensors").items()}
    assert shares(start(weights)[1])["dropped"] == (2, own["fc.weight"] + own["fc.bias"])

    def adapt(tensors, backbone):
        found = {name.removeprefix("old."): tensor for name, tensor in tensors.items()}
        found["layer1.0.conv1.weight"] = found["layer1.0.conv1.weight"].permute(3, 2, 0, 1)
        return {**found, "bn1.bias": found["bn1.bias"] - 1}

    def change(tensors):
        del tensors["bn1.weight"]
        tensors["layer1.0.conv1.weight"] = (
            tensors.pop("layer1.0.conv1.weight").permute(2, 3, 1, 0).contiguous()
        )
        tensors["layer1.0.bn1.weight"] = tensors["layer1.0.bn1.weight"][:3].clone()
        for name in ("bn1.bias", "layer1.0.conv1.weight", "layer2.0.bn1.weight"):
            tensors[f"old.{name}"] = tensors.pop(name)
        tensors["more"] = torch.ones(7)

    odd = Adapter("odd", "for this test", lambda tensors: True, adapt, ("fc.*",))
    monkeypatch.setitem(ADAPTERS, "odd", odd)
    source = replace(source_of(changed(weights, tmp_path, change)), origin="odd")
    stated = Convention(32, (0.5,) * 3, (0.2,) * 3, "")
    globs = ("bn1.weight", "layer1.0.bn1.weight", "more")
    model = build(Backbone(NAME), 2, 0)
    _, receipt = load_whole(model, Backbone(NAME), source, stated, partial=globs)
    found = shares(receipt)

    fresh = own["bn1.weight"] + own["layer1.0.bn1.weight"]
    assert found["renamed"] == (1, own["layer2.0.bn1.weight"])
    assert found["reshaped"] == (1, own["layer1.0.conv1.weight"])
    assert found["computed"] == (1, own["bn1.bias"])
    assert found["fresh"] == (2, fresh)
    assert found["left out"] == (2, 3 + 7)
    assert found["dropped"][0] == 2
    assert receipt.parameters_assigned == receipt.parameters_total - fresh
    counted = sum(found[kind][0] for kind in ("as named", "renamed", "reshaped", "computed"))
    assert counted == receipt.assigned

    again = redrawn(receipt.shares)
    assert [one.kind for one in again] == ["redrawn", "fresh", "dropped", "left out"]
    assert again[0].tensors == counted
    assert again[0].parameters == receipt.parameters_assigned


def test_a_kept_classifier_is_not_the_backbones(weights):
    """Its numbers stand in no share; the receipt says in words that it was kept."""
    (arm,) = resolve_arms((parse_arm(f"w=file:{weights}"),), "", 32, (0.5, 0.2))
    _, receipt = start_model(replace(arm, head=(4, 1)), 2, 0)

    found = shares(receipt)
    assert found.keys() == {"as named"}
    assert receipt.assigned == found["as named"][0]
    assert receipt.head


def test_the_same_seed_gives_every_arm_the_same_classifier(weights):
    """A contrast of starts is not one of classifiers."""
    specs = tuple(map(parse_arm, (f"w=file:{weights}", "moments:w", "random")))
    arms = resolve_arms(specs, "", 32, (0.5, 0.2))
    heads = [start_model(arm, 2, 4)[0].state_dict()["fc.weight"] for arm in arms]
    other = start_model(arms[0], 2, 5)[0].state_dict()["fc.weight"]

    assert torch.equal(heads[0], heads[1])
    assert torch.equal(heads[0], heads[2])
    assert not torch.equal(heads[0], other)


def test_only_the_counter_of_batches_may_be_missing(weights, tmp_path):
    """Its absence is in the receipt; it holds no trained value."""

    def without(tensors):
        for name in [n for n in tensors if n.endswith("num_batches_tracked")]:
            del tensors[name]

    _, receipt = start(changed(weights, tmp_path, without))
    assert len(receipt.defaulted) > 5
    assert all(name.endswith("num_batches_tracked") for name in receipt.defaulted)


def test_a_file_without_a_classifier_is_whole(weights, tmp_path):
    """Backbones are published without one."""

    def without(tensors):
        del tensors["fc.weight"], tensors["fc.bias"]

    _, receipt = start(changed(weights, tmp_path, without))
    assert receipt.dropped == ()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda t: t.pop("bn1.running_mean"),
            r"1 of \d+ tensors missing.*missing bn1.running_mean",
        ),
        (lambda t: t.update(extra=torch.ones(2)), "1 unexpected.*unexpected extra"),
        (
            lambda t: t.update({"conv1.0.weight": torch.ones(2, 3)}),
            r"1 of another shape.*conv1.0.weight is \(2, 3\), needs \(",
        ),
    ],
    ids=["missing", "unexpected", "shape"],
)
def test_anything_else_is_refused_and_named(weights, tmp_path, change, said):
    """A missing, an unexpected or a misshapen tensor is an error that names it."""
    names = load_file(weights / "model.safetensors").keys()
    assert {"bn1.running_mean", "conv1.0.weight"} <= names

    path = changed(weights, tmp_path, change)
    with pytest.raises(RadstartError, match=said) as caught:
        start(path)
    assert "nothing was loaded" in str(caught.value)


def test_a_refusal_leaves_the_network_as_it_was(weights, tmp_path):
    """Not one tensor is copied before the whole is checked."""
    tensors = load_file(weights / "model.safetensors")
    last = list(tensors)[-3]
    tensors[last] = torch.ones(1, 2, 3)
    save_file(tensors, tmp_path / "x.safetensors")
    source = source_of(tmp_path / "x.safetensors")
    model = build(Backbone(NAME), 2)
    before = {k: v.clone() for k, v in model.state_dict().items()}

    with pytest.raises(RadstartError, match="another shape"), torch.no_grad():
        load_whole(model, Backbone(NAME), source, named_convention("imagenet", 32, ""))
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


def test_an_empty_file_is_refused(weights, tmp_path):
    """No tensor at all is no weights file."""
    path = changed(weights, tmp_path, lambda tensors: tensors.clear())
    with pytest.raises(RadstartError, match="no dictionary of tensors"):
        start(path)


class Trap:
    """Writes a file when unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (Path.touch, (Path(self.path),))


def test_pickled_code_is_refused_and_not_executed(tmp_path):
    """Neither a pickled network nor a trap runs."""
    sprung = tmp_path / "sprung"
    torch.save({"state_dict": Trap(sprung)}, tmp_path / "trap.pt")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pt")
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps(Trap(sprung), protocol=2))

    for name in ("trap.pt", "module.pt", "plain.pkl"):
        with pytest.raises(RadstartError, match=r"pickled code|not a readable weights file") as e:
            start(tmp_path / name)
        assert "\n" not in str(e.value)
    assert not sprung.exists()
    pickle.loads((tmp_path / "plain.pkl").read_bytes())
    assert sprung.exists()  # the trap is a real one


def test_a_plain_pickle_of_todays_protocol_is_refused_without_further_words(tmp_path):
    """Only radstart's line is printed, no warning of torch's about the pickle's protocol."""
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps({"w": 1}))

    with pytest.raises(RadstartError, match=r"plain\.pkl"):
        start(tmp_path / "plain.pkl")


@pytest.mark.parametrize("name", ["a.safetensors", "a.pt", "a.pth"])
@pytest.mark.parametrize("content", [b"", b"not weights at all", b"PK\x03\x04 broken"])
def test_what_is_no_weights_file_is_refused_in_one_line(tmp_path, name, content):
    """Empty, text, half a zip: named, no traceback."""
    (tmp_path / name).write_bytes(content)

    with pytest.raises(RadstartError, match=name):
        start(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<!DOCTYPE html><html>", r"a web page.*login"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS.*git lfs pull"),
        (b"\x1c\x00\x00\x00TFL3" + bytes(64), "TensorFlow Lite"),
        (b"\x1f\x8b\x08" + bytes(64), "an archive.*unpack"),
        (b"hello", "no format that is known"),
    ],
)
def test_what_came_instead_of_weights_is_named(tmp_path, content, said):
    """A page, a pointer, another program's model: by their first bytes, never executed."""
    (tmp_path / "w.pth").write_bytes(content)

    with pytest.raises(RadstartError, match=f"w.pth: not a readable weights file.*{said}"):
        start(tmp_path / "w.pth")


def test_a_file_of_something_else_is_refused(tmp_path):
    """Lists and numbers are no tensors by name."""
    torch.save([torch.ones(2)], tmp_path / "list.pt")
    torch.save({"epoch": 3}, tmp_path / "numbers.pt")

    with pytest.raises(RadstartError, match=r"no dictionary of tensors.*got list"):
        start(tmp_path / "list.pt")
    with pytest.raises(RadstartError, match=r"no dictionary of tensors.*epoch.*int"):
        start(tmp_path / "numbers.pt")


def test_containers_and_data_parallel_names_are_unwrapped(weights, tmp_path):
    """A training's checkpoint of plain tensors loads as the bare tensors do."""
    tensors = load_file(weights / "model.safetensors")
    wrapped = {"state_dict": {f"module.{name}": t for name, t in tensors.items()}, "epoch": 3}
    torch.save(wrapped, tmp_path / "checkpoint.pth")

    plain, from_checkpoint = start(weights)[0], start(tmp_path / "checkpoint.pth")[0]
    for name, tensor in plain.state_dict().items():
        assert torch.equal(from_checkpoint.state_dict()[name], tensor)


def test_absent_paths_and_strange_folders_are_refused(tmp_path, weights):
    """The path stands in the message."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "model.safetensors").write_bytes(
        (weights / "model.safetensors").read_bytes()
    )
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "model.safetensors").touch()
    (tmp_path / "odd" / "config.json").write_text('{"architecture": "test_resnet"}')

    for name, said in (
        ("absent", "no such weights file or folder"),
        ("empty", "no model.safetensors"),
        ("bare", "no card.toml, config.json or receipt.toml"),
        ("odd", "not timm's local layout .*pretrained_cfg"),
    ):
        with pytest.raises(RadstartError, match=f"{name}.*{said}"):
            start(tmp_path / name)


def test_a_full_run_is_a_start_and_holds_its_own_values(finished, facts):
    """`run:` loads the run's tensors, architecture and convention."""
    run = next(r for r in facts["runs"] if r["arm"] == "w" and r["policy"] == "full")
    folder = finished / "runs" / run["run"]
    (arm,) = resolve_arms((parse_arm(f"mine=run:{folder}"),), "", None, (0.5, 0.2))
    model, receipt = start_model(arm, 2, 0)

    tensors = load_file(folder / "model.safetensors")
    state = model.state_dict()
    assert all(torch.equal(state[n], t) for n, t in tensors.items() if not n.startswith("fc."))
    assert receipt.assigned + receipt.counters == len(tensors) - 2
    assert arm.backbone.name == NAME
    assert (arm.convention.size, arm.convention.mean) == (32, (0.4, 0.5, 0.6))
    assert not arm.redraws


def test_a_frozen_run_is_no_start(finished, facts):
    """It trained no backbone, and says so."""
    run = next(r for r in facts["runs"] if r["arm"] == "w" and r["policy"] == "frozen")

    spec = parse_arm(f"mine=run:{finished / 'runs' / run['run']}")
    with pytest.raises(RadstartError, match=r"frozen run.*use the arm it started from"):
        resolve_arms((spec,), "", None, (0.5, 0.2))


@pytest.mark.slow
@pytest.mark.parametrize("mark", [pytest.param(None, marks=real)])
def test_switches_and_convention_of_the_folder_hold(mark):
    """Padding that no tensor reveals: another switch would change the features silently."""
    folder = SHARED / "mobilenetv2_100_imagenet_tf2"
    (arm,) = resolve_arms((parse_arm(f"w=file:{folder}"),), "", 64, (0.5, 0.2))
    assert arm.backbone == Backbone("mobilenetv2_100", {"pad_type": "same"})
    assert (arm.convention.size, arm.convention.mean) == (64, (0.5,) * 3)
    assert arm.convention.std == (0.5,) * 3

    model, receipt = start_model(arm, 0, 0)
    other = build(Backbone("mobilenetv2_100"), 0)
    other.load_state_dict(model.state_dict())
    images = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 3, 64, 64))).float()
    with torch.inference_mode():
        apart = (model.eval()(images) - other.eval()(images)).abs().max()
    assert type(model.conv_stem).__name__ == "Conv2dSame"
    assert apart > 0.1
    assert receipt.parameters_assigned == receipt.parameters_total
