"""Exported files: the convention inside, the classes named, the same numbers as PyTorch's."""

import builtins
import json

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import torch
from standins.standin import randomised

from radstart.backbones import Backbone, build
from radstart.core.errors import RadstartError
from radstart.core.files import read_toml, write_toml
from radstart.dataset import open_dataset, working_copy
from radstart.study import export
from radstart.study.exporting import network_of_run
from radstart.weights import Convention, Network, apply_convention, export_network
from radstart.weights.writing.export import GIVES_SCORES, outputs_of

pytestmark = pytest.mark.slow

CONVENTION = Convention(32, (0.2, 0.4, 0.6), (0.1, 0.2, 0.3), "test", order="BGR")
CLASSES = ("no finding", "Ödem", "mass")


def network(name="test_resnet", convention=CONVENTION, colour=True, classes=CLASSES, **switches):
    module = randomised(build(Backbone(name, switches), len(classes), 1, len(convention.mean)))
    gives = GIVES_SCORES if classes else ("features",)
    return Network(module.eval(), convention, classes, gives, colour, {"backbone": name})


def pixels(colour, n=5, side=32):
    shape = (n, side, side, 3) if colour else (n, side, side)
    return np.random.default_rng(7).integers(0, 256, shape).astype(np.uint8)


def expected(net, images):
    """Return the logits by hand: one image at a time, NumPy's arithmetic before the network."""
    rows = []
    for image in images:
        planes = image.transpose(2, 0, 1)[::-1] if image.ndim == 3 else np.stack([image] * 3)
        mean, std = (np.array(v)[:, None, None] for v in (CONVENTION.mean, CONVENTION.std))
        tensor = torch.from_numpy((planes / 255 - mean) / std).float()[None]
        with torch.inference_mode():
            rows.append(net.module(tensor).numpy()[0])
    return np.stack(rows)


def run_onnx(path, images):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session, session.run(None, {"pixels": images})


def run_torch(path, images):
    text = {"radstart.json": ""}
    program = torch.export.load(str(path), extra_files=text)
    outputs = [output.numpy() for output in program.module()(torch.from_numpy(images))]
    return json.loads(text["radstart.json"]), outputs


def softmax(logits):
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    return shifted / shifted.sum(1, keepdims=True)


@pytest.mark.filterwarnings("ignore:`isinstance:FutureWarning")
def test_onnx_takes_pixels_and_says_what_it_is(tmp_path):
    """Scale, mean, std, order are inside; any number of images; classes and origin in the file."""
    net = network()
    done = export_network(net, tmp_path / "net.onnx")
    images = pixels(colour=True)
    session, (logits, probabilities) = run_onnx(done.path, images)

    right = expected(net, images)
    assert np.abs(right).max() > 0.1
    np.testing.assert_allclose(logits, right, atol=1e-4)
    np.testing.assert_allclose(probabilities, softmax(right), atol=1e-5)
    facts = session.get_modelmeta().custom_metadata_map
    assert json.loads(facts["radstart.classes"]) == list(CLASSES)
    assert json.loads(facts["radstart.convention"])["order"] == "BGR"
    assert facts["radstart.size"] == "32"
    assert facts["radstart.input"] == "uint8 (B, 32, 32, 3) RGB, 0..255"
    assert [(i.name, i.type, i.shape) for i in session.get_inputs()] == [
        ("pixels", "tensor(uint8)", ["batch", 32, 32, 3])
    ]
    assert [output.name for output in session.get_outputs()] == ["logits", "probabilities"]
    assert done.difference < 1e-4
    assert len(run_onnx(done.path, images[:1])[1][0]) == 1
    onnx.checker.check_model(str(done.path), full_check=True)


def test_a_torch_program_takes_grey_and_gives_the_same(tmp_path):
    """Grey is repeated inside; what the file says stands beside the program in it."""
    net = network(colour=False)
    done = export_network(net, tmp_path / "net.pt2")
    images = pixels(colour=False)
    facts, (logits, probabilities) = run_torch(done.path, images)

    np.testing.assert_allclose(logits, expected(net, images), atol=1e-4)
    np.testing.assert_allclose(probabilities, softmax(logits), atol=1e-6)
    assert json.loads(facts["classes"]) == list(CLASSES)
    assert facts["names"] == ["logits", "probabilities"]
    assert "inside the file" in "\n".join(done.lines())


def test_a_network_without_classes_gives_features(tmp_path):
    """One output, called what it is."""
    plain = network(classes=(), colour=False)
    done = export_network(plain, tmp_path / "a.pt2")

    assert done.outputs == ("features",)
    facts, (features,) = run_torch(done.path, pixels(colour=False))
    np.testing.assert_allclose(features, outputs_of(plain, pixels(colour=False))[0], atol=1e-5)
    assert facts["classes"] == "[]"


def test_a_file_that_computes_something_else_is_not_written(tmp_path, monkeypatch):
    """The last word is the comparison of the file itself with PyTorch."""
    from radstart.weights.writing import export as module

    real = module._run_torch

    def off(path, images):
        logits, probabilities = real(path, images)
        return [logits, probabilities + 2e-4]

    monkeypatch.setattr(module, "_run_torch", off)
    with pytest.raises(
        RadstartError, match=r"something else than PyTorch.*probabilities.*2\.0e-04"
    ):
        export_network(network(), tmp_path / "net.pt2")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_exported_is_refused_in_one_line(tmp_path, monkeypatch):
    """A format nobody knows, classes that are not the network's, packages that are not there."""
    with pytest.raises(RadstartError, match=r"unknown format.*onnx, torch"):
        export_network(network(), tmp_path / "net.bin")
    wrong = Network(network().module, CONVENTION, ("a", "b"), GIVES_SCORES)
    with pytest.raises(RadstartError, match="2 names, 3 outputs"):
        export_network(wrong, tmp_path / "net.pt2")

    real = builtins.__import__

    def without(name, *rest):
        if name == "onnxscript":
            raise ModuleNotFoundError("No module named 'onnxscript'", name="onnxscript")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(RadstartError, match=r"onnxscript.*radstart\[export\].*--format torch"):
        export_network(network(), tmp_path / "net.onnx")
    assert list(tmp_path.iterdir()) == []


def test_parameters_are_left_as_they_were(tmp_path):
    """The network can be trained on after it was exported."""
    net = network()
    before = {k: v.clone() for k, v in net.module.state_dict().items()}
    export_network(net, tmp_path / "net.pt2")

    assert all(parameter.requires_grad for parameter in net.module.parameters())
    assert all(torch.equal(before[k], v) for k, v in net.module.state_dict().items())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size", "switches"),
    [
        ("vit_tiny_patch16_224", 96, {}),
        ("inception_v3", 128, {"pool_count": "inside", "bn_eps": 1e-3}),
        ("mobilenetv3_small_100", 64, {}),
    ],
)
@pytest.mark.parametrize("ending", ["onnx", "pt2"])
@pytest.mark.filterwarnings("ignore:`isinstance:FutureWarning")
def test_networks_of_the_papers_and_sizes_not_their_own_are_exported(
    tmp_path, name, size, switches, ending
):
    """Position embeddings are resized, hooks and paddings traced; each image stretched alone."""
    convention = Convention(size, (0.5,) * 3, (0.25,) * 3, "test", per_image="minmax")
    net = network(name, convention, colour=False, **switches)
    done = export_network(net, tmp_path / f"net.{ending}")
    images = pixels(colour=False, n=4, side=size) // 2

    run = run_onnx if ending == "onnx" else run_torch
    right = outputs_of(net, images)
    np.testing.assert_allclose(run(done.path, images)[1][1], right[1], atol=1e-4)


@pytest.fixture
def run_of(finished, facts):
    """Return a function (arm, policy) -> folder of one of its runs."""

    def find(arm, policy):
        found = [r["run"] for r in facts["runs"] if (r["arm"], r["policy"]) == (arm, policy)]
        return finished / "runs" / found[-1]

    return find


def own_scores(finished, run, size=32):
    """Return (pixels, scores) of every case of a run."""
    dataset = open_dataset(finished / "dataset")
    cases = pd.read_parquet(run / "cases.parquet")
    row = dict(zip(dataset.rows["image"], dataset.rows["row"], strict=True))
    images = working_copy(dataset, size)[[row[case] for case in cases["case"]]]
    scores = cases[[name for name in cases if name.startswith("score_")]].to_numpy()
    assert len(cases) > 20
    assert np.ptp(scores[:, 0]) > 1e-3
    return np.ascontiguousarray(images), scores


@pytest.mark.parametrize(
    ("arm", "policy"),
    [("w", "full"), ("w", "frozen"), ("random", "frozen"), ("moments:w", "frozen")],
)
def test_a_run_gives_its_own_scores_of_every_case(finished, run_of, arm, policy):
    """From the pixels of the study to the probabilities of its case table, test part and all."""
    run = run_of(arm, policy)
    net = network_of_run(run)
    images, scores = own_scores(finished, run)

    np.testing.assert_allclose(outputs_of(net, images)[1], scores, atol=2e-5)
    assert "gives the run's scores of 8 cases" in net.about["run"]


def test_an_exported_run_does_so_too(finished, run_of, tmp_path):
    """The file alone: no study, no weights beside it."""
    run = run_of("moments:w", "frozen")
    done = export(run, tmp_path / "run.pt2")
    images, scores = own_scores(finished, run)

    facts, (_, probabilities) = run_torch(done.path, images)
    np.testing.assert_allclose(probabilities, scores, atol=2e-5)
    named = [f"score_{name}" for name in json.loads(facts["classes"])]
    assert named == [c for c in pd.read_parquet(run / "cases.parquet") if c.startswith("score_")]
    assert facts["source"].endswith("moments:w")
    assert facts["receipt_sha256"] != facts["weights_sha256"]


def test_a_run_that_is_not_what_its_scores_say_is_refused(finished, run_of, tmp_path):
    """A frozen run whose start has changed, a run without a model, one that lost its study."""
    import shutil

    copy = tmp_path / "study"
    (copy / "runs").mkdir(parents=True)
    for name in ("dataset", "study.toml"):
        source = finished / name
        (copy / name).symlink_to(source)
    run = copy / "runs" / "r"
    shutil.copytree(run_of("random", "frozen"), run)
    known = read_toml(run / "receipt.toml")

    write_toml(run / "receipt.toml", {**known, "seed": known["seed"] + 1})
    with pytest.raises(RadstartError, match=r"does not give the scores of its run.*differ by"):
        export(run, tmp_path / "x.pt2")
    write_toml(run / "receipt.toml", {k: v for k, v in known.items() if k != "probe"})
    with pytest.raises(RadstartError, match=r"older radstart.*again"):
        export(run, tmp_path / "x.pt2")

    shutil.rmtree(run)
    shutil.copytree(run_of("w", "frozen"), run)
    known = read_toml(run / "receipt.toml")
    changed = {**known, "receipt": {**known["receipt"], "sha256": "0" * 64}}
    write_toml(run / "receipt.toml", changed)
    with pytest.raises(RadstartError, match="weights that this run started from have changed"):
        export(run, tmp_path / "x.pt2")
    (copy / "study.toml").unlink()
    with pytest.raises(RadstartError, match=r"needs its study around it"):
        export(run, tmp_path / "x.pt2")
    (run / "done.json").unlink()
    with pytest.raises(RadstartError, match=r"no model.*not finished"):
        export(run, tmp_path / "x.pt2")
    assert not (tmp_path / "x.pt2").exists()


def test_a_full_run_needs_nothing_but_its_folder(run_of, tmp_path):
    """Copied out of its study it is exported all the same, and says what was not compared."""
    import shutil

    run = tmp_path / "a" / "b" / "run"
    shutil.copytree(run_of("w", "full"), run)
    net = network_of_run(run)

    assert net.about["run"] == "its images are not here"
    assert not net.colour


def test_starting_weights_are_exported_with_their_own_classifier(weights, tmp_path):
    """Logits of the file's ten classes, under the folder's convention."""
    done = export(weights, tmp_path / "w.pt2", colour=True)
    facts, (logits,) = run_torch(done.path, pixels(colour=True, side=64))

    from safetensors.torch import load_file

    module = build(Backbone("test_resnet"), 10)
    module.load_state_dict(load_file(weights / "model.safetensors"))
    own = Convention(64, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3), "")
    with torch.inference_mode():
        images = torch.from_numpy(pixels(colour=True, side=64))
        right = module.eval()(apply_convention(own, images))
    np.testing.assert_allclose(logits, right, atol=1e-4)
    assert json.loads(facts["classes"]) == [str(k) for k in range(10)]
    assert facts["input"].startswith("uint8 (B, 64, 64, 3)")
