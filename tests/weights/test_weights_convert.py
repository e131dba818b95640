"""Our weights folder: whole, said of itself, the same in plain timm or refused by it; --trust."""

import os
import sys
import types
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from standins.standin import randomised

from radstart.backbones import Backbone, build, check_name
from radstart.core.errors import RadstartError
from radstart.core.files import read_json, read_toml, write_toml
from radstart.core.hashing import file_sha256
from radstart.weights import (
    Wanted,
    convert_weights,
    inventory_of,
    load_weights,
    parse_arm,
    resolve_arms,
    start_model,
)
from radstart.weights.writing import trusted_script
from radstart.weights.writing.card import read_card
from radstart.weights.writing.trusted import WARNING, unpickled

check_name("resnet18")  # lets timm import
import timm  # noqa: E402

OWN = ("classes", "name", "licence", "saw", "trust", "progress")


def converted(source, out, **options):
    """Write weights; options are those of the weights and of the folder."""
    own = {key: options.pop(key) for key in OWN if key in options}
    return convert_weights(Wanted(source, **options), out, **own)


def original(folder, name="test_resnet", switches=None, classes=7, channels=3):
    """Return (file of timm's names, the network that it belongs to)."""
    network = randomised(build(Backbone(name, switches or {}), classes, 3, channels))
    path = folder / "original.safetensors"
    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, path)
    return path, network


def images(size=64, channels=3, n=2):
    return torch.randn(n, channels, size, size, generator=torch.Generator().manual_seed(0))


def outputs(network, batch):
    with torch.inference_mode():
        return network.eval()(batch)


def same(a, b, tolerance=1e-5):
    return float((a - b).abs().max()) <= tolerance * float(a.abs().max())


def test_a_folder_is_whole_and_says_everything(tmp_path):
    """Tensors, classifier, architecture, convention, origin, licence, what was seen."""
    path, network = original(tmp_path)
    done = converted(
        path, tmp_path / "out", backbone="test_resnet", convention="-1to1", image_size=64,
        classes=list("abcdefg"), licence="MIT", saw=["nih-chest-xray", "chexpert"],
    )  # fmt: skip

    held = load_file(done.folder / "model.safetensors")
    assert all(torch.equal(held[k], v) for k, v in network.state_dict().items())
    card = read_card(done.folder)
    assert card == done.card
    assert (card.backbone, card.convention.name) == (Backbone("test_resnet"), "-1to1")
    assert (card.convention.size, card.classes) == (64, tuple("abcdefg"))
    assert (card.file, card.sha256) == ("original.safetensors", file_sha256(path))
    assert (card.licence, card.saw) == ("MIT", ("chestx-ray14", "chexpert"))
    assert card.receipt["computed"] == 0
    assert card.receipt["parameters_assigned"] == card.receipt["parameters_total"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["original.safetensors", "out"]
    assert sorted(p.name for p in done.folder.iterdir()) == [
        *("card.toml", "config.json", "model.safetensors"),
    ]


@pytest.mark.slow
def test_the_folder_is_an_arm_and_a_start_and_its_card_leads(tmp_path):
    """Architecture, convention, classes and what was seen come back; config.json is not asked."""
    path, network = original(tmp_path)
    done = converted(
        path, tmp_path / "out", backbone="test_resnet", convention="caffe", image_size=64,
        classes=list("abcdefg"), saw=["chexpert"],
    )  # fmt: skip
    (arm,) = resolve_arms((parse_arm(f"w=file:{done.folder}"),), "", None, (0.5, 0.2))
    assert (arm.convention.order, arm.convention.name) == ("BGR", "caffe")
    assert arm.source.classes == tuple("abcdefg")
    assert arm.source.saw == ("chexpert",)
    loaded = load_weights(done.folder, head=True)
    assert same(outputs(network, images()), outputs(loaded.model, images()))
    assert start_model(arm, 2, 0)[1].parameters_assigned > 0

    config = read_json(done.folder / "config.json")
    assert "BGR" in config["pretrained_cfg"]["notes"][0]
    card = read_toml(done.folder / "card.toml")
    card["convention"]["mean"] = [0.1, 0.2, 0.3]
    write_toml(done.folder / "card.toml", card)
    assert load_weights(done.folder).convention.mean == (0.1, 0.2, 0.3)


@pytest.mark.slow
def test_a_card_speaks_of_its_own_tensors_alone(tmp_path):
    """Other tensors under the card, a card without its keys, a newer one: refused."""
    path, _ = original(tmp_path)
    folder = converted(path, tmp_path / "out", backbone="test_resnet").folder
    card = read_toml(folder / "card.toml")
    tensors = load_file(folder / "model.safetensors")
    tensors["fc.bias"] += 1
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(RadstartError, match=r"not the tensors that card.toml speaks of"):
        load_weights(folder)

    for change, said in (
        ({"schema": 99}, "made by a newer radstart.*schema 99"),
        ({"schema": "1"}, "card.toml: schema: a key is missing or wrong"),
        ({"schema": 0}, "card.toml: schema: a key is missing or wrong"),
        ({"receipt": "x"}, "card.toml: receipt: a key is missing or wrong"),
        ({"backbone": {}}, "a key is missing or wrong"),
        ({"saw": "x"}, "card.toml: saw: a key is missing or wrong"),
        ({"convention": {"mean": [0.5]}}, "not a convention"),
        ({"convention": card["convention"] | {"size": float("inf")}}, "not a convention"),
        ({"convention": card["convention"] | {"size": -1}}, "not a convention"),
        ({"tensors": 3}, "card.toml: tensors: a key is missing or wrong"),
    ):
        write_toml(folder / "card.toml", {**card, **change})
        with pytest.raises(RadstartError, match=said):
            read_card(folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "switches", "size"),
    [
        ("test_resnet", {}, 64),
        ("mobilenetv3_small_100", {"bn_eps": 1e-3}, 64),
        ("mobilenetv2_100", {"pad_type": "same", "activation": "relu"}, 64),
        ("vit_tiny_patch16_224", {"img_size": 64, "activation": "quick_gelu"}, 96),
        pytest.param("swin_tiny_patch4_window7_224", {}, 224, marks=pytest.mark.slow),
    ],
    ids=["plain", "eps", "padding and activation", "positions and QuickGELU", "fixed size"],
)
@pytest.mark.filterwarnings("ignore:No pretrained configuration")
def test_plain_timm_gives_the_same_outputs(tmp_path, name, switches, size):
    """Nothing but timm and the folder; the switches do matter."""
    path, network = original(tmp_path, name, switches)
    done = converted(path, tmp_path / "out", backbone=name, switches=switches, image_size=size)
    other = timm.create_model(f"local-dir:{done.folder}", pretrained=True)

    right = outputs(network, images(size))
    assert done.card.plain_timm == ""
    assert same(right, outputs(other, images(size)))
    assert same(right, outputs(load_weights(done.folder, head=True).model, images(size)))
    config = timm.data.resolve_data_config({}, model=other)
    assert list(config["input_size"]) == [3, size, size]
    assert list(config["mean"]) == list(done.card.convention.mean)
    if set(switches) - {"img_size"}:
        bare = build(Backbone(name, {k: v for k, v in switches.items() if k == "img_size"}), 7)
        bare.load_state_dict(network.state_dict())
        assert not same(right, outputs(bare, images(size)), 1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "switches", "said"),
    [
        ("mobilenetv1_025", {}, "timm has no name for"),
        ("mobilenetv2_100", {"activation": "leaky_relu_0.1"}, "activation=leaky_relu_0.1"),
        pytest.param(
            "resnet50",
            {"stride_in_first_conv": True},
            "stride_in_first_conv=True",
            marks=pytest.mark.slow,
        ),
        ("test_resnet", {"bn_eps": 1.001e-5}, "bn_eps"),
    ],
)
def test_what_timm_cannot_say_it_refuses_and_ours_loads(tmp_path, name, switches, said):
    """No other network is computed silently: plain timm stops, and its words say why."""
    path, network = original(tmp_path, name, switches)
    done = converted(path, tmp_path / "out", backbone=name, switches=switches, image_size=64)

    assert said in done.card.plain_timm
    assert f"does not load it: {done.card.plain_timm}" in "\n".join(done.lines())
    with pytest.raises(RuntimeError, match="load this folder with radstart"):
        timm.create_model(f"local-dir:{done.folder}", pretrained=True)
    right = outputs(network, images())
    assert same(right, outputs(load_weights(done.folder, head=True).model, images()))


@pytest.mark.slow
def test_a_config_that_computes_something_else_is_noticed(tmp_path, monkeypatch):
    """The folder is tried with plain timm, and other constants or outputs are not let pass."""
    from radstart.weights.writing import plain

    path, _ = original(tmp_path, "mobilenetv2_100", {"pad_type": "same", "bn_eps": 1e-4})
    keep = {"bn_eps": ("norms' constants", "a"), "pad_type": ("other outputs in timm", "b")}
    for name, (said, out) in keep.items():
        arguments = {"pad_type": "same", "bn_eps": 1e-4}
        del arguments[name]
        monkeypatch.setattr(plain, "timm_arguments", lambda backbone, a=arguments: (a, ""))
        done = converted(
            path, tmp_path / out, backbone="mobilenetv2_100", image_size=64,
            switches={"pad_type": "same", "bn_eps": 1e-4},
        )  # fmt: skip
        assert said in done.card.plain_timm
        with pytest.raises(RuntimeError, match="Unknown model"):
            timm.create_model(f"local-dir:{done.folder}", pretrained=True)


def test_what_is_in_the_way_or_misfits_leaves_nothing(tmp_path):
    """A folder that is there, classes that do not fit, sets nobody knows."""
    path, _ = original(tmp_path)
    ask = {"source": path, "out": tmp_path / "out", "backbone": "test_resnet"}
    with pytest.raises(RadstartError, match=r"another number of outputs.*got 2.*it has 7"):
        converted(**ask, classes=["a", "b"])
    with pytest.raises(RadstartError, match="two classes of one name"):
        converted(**ask, classes=list("aabcdef"))
    with pytest.raises(RadstartError, match=r"no such set.*did you mean chexpert"):
        converted(**ask, saw=["chexpertt"])
    with pytest.raises(RadstartError, match="do not fit resnet18"):
        converted(path, tmp_path / "out", backbone="resnet18")
    (tmp_path / "there").mkdir()
    with pytest.raises(RadstartError, match="there is something already"):
        converted(path, tmp_path / "there", backbone="test_resnet")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["original.safetensors", "there"]


PUBLISHED = {  # entry of a stand-in in the published layout -> why plain timm cannot load it
    "torchvision/mobilenetv3_small_100": "",
    "radimagenet/resnet50": "",
    "radimagenet/resnet50-port": "stride_in_first_conv=True",
    "radimagenet/resnet50-keras": "stride_in_first_conv=True",
    "radimagenet/densenet121-keras": "bn_eps=1.001e-05",
    "radiologynet/densenet121": "",
    "torchxrayvision/resnet50-res512-all": "",
    "medical-mae/vit_small_patch16_224": "",
    "medclip/vit": "",
    "dinov2/vit_small_patch14_reg4_dinov2-meta": "",
}


def published(entry):
    from standins import chest, cnn, dino, keras_nets, vit

    every = [one for module in (cnn, keras_nets, chest, vit, dino) for one in module.STANDINS]
    return next(one for one in every if one.entry == entry)


@pytest.mark.slow
@pytest.mark.parametrize("entry", PUBLISHED)
@pytest.mark.filterwarnings("ignore")
def test_published_layouts_become_folders_that_compute_what_the_original_does(tmp_path, entry):
    """From the origin's own file to a folder, into radstart and plain timm: the same features."""
    standin = published(entry)
    path, features = standin.write(tmp_path)
    near = inventory_of(path).nearest[0]
    done = converted(entry, tmp_path / "out", file=path)
    path.unlink()
    batch = images(standin.size, standin.channels)
    wide = batch.expand(-1, 3, -1, -1)

    right = outputs(features, batch) if isinstance(features, torch.nn.Module) else features(batch)
    loaded = load_weights(done.folder)
    assert (near.backbone, near.whole) == (done.card.backbone.name, True)
    assert same(right, outputs(loaded.model, wide))
    assert done.card.plain_timm == PUBLISHED[entry]
    if not PUBLISHED[entry]:
        plain = timm.create_model(f"local-dir:{done.folder}", pretrained=True, num_classes=0)
        assert same(right, outputs(plain, wide))
    assert done.card.licence
    assert done.card.citation


class Trap:
    """Evaluates an expression when unpickled."""

    def __init__(self, expression):
        self.expression = expression

    def __reduce__(self):
        return (eval, (self.expression,))


def trap(folder, expression):
    path = folder / "trap.pt"
    torch.save({"state_dict": {"w": torch.ones(2, 3)}, "x": Trap(expression)}, path)
    return path


def test_code_is_never_run_without_trust(tmp_path):
    """Loading, showing, converting: refused, what it asks for is named, how to go on is said."""
    sprung = tmp_path / "sprung"
    path = trap(tmp_path, f"__import__('pathlib').Path({str(sprung)!r}).touch()")
    for act in (
        lambda: load_weights(path, backbone="test_resnet"),
        lambda: inventory_of(path),
        lambda: converted(path, tmp_path / "out", backbone="test_resnet"),
        lambda: resolve_arms((parse_arm(f"w=file:{path}"),), "test_resnet", None, (0.5, 0.2)),
    ):
        with pytest.raises(RadstartError, match=r"not executed.*builtins\.eval.*--trust"):
            act()
    assert not sprung.exists()
    torch.load(path, weights_only=False)
    assert sprung.exists()  # the trap is a real one


class Said:
    """Keeps the lines of a progress."""

    def __init__(self):
        self.lines = []

    def line(self, text):
        self.lines.append(text)


@pytest.fixture
def gone():
    """Return a function network -> the same as an instance of a class that nobody else has."""
    made = []

    def wrapped(network):
        name = "departed_library"
        module = types.ModuleType(name)
        kind = type("DenseNet", (torch.nn.Module,), {"__module__": name})
        module.DenseNet, sys.modules[name] = kind, module
        made.append(name)
        one = kind()
        for key, child in network.named_children():
            setattr(one, key, child)
        one.op_threshs = torch.full((18,), torch.nan)
        return one

    yield wrapped
    for name in made:
        sys.modules.pop(name, None)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
@pytest.mark.parametrize("zipped", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_pickled_network_is_converted_once_with_trust(tmp_path, gone, zipped):
    """TorchXRayVision's kind of file, its library absent: tensors, and a card that says so."""
    network = randomised(build(Backbone("densenet121"), 18, 1, channels=1))
    path = tmp_path / "densenet.pt"
    torch.save(gone(network), path, _use_new_zipfile_serialization=zipped)
    sys.modules.pop("departed_library")
    said = Said()
    done = converted(
        "torchxrayvision/densenet121-res224-nih", tmp_path / "out", file=path, trust=True,
        progress=said,
    )  # fmt: skip

    assert len(said.lines) == 1
    assert "this runs the code in densenet.pt" in said.lines[0]
    card = done.card
    assert (card.entry, card.origin) == (
        "torchxrayvision/densenet121-res224-nih",
        "torchxrayvision",
    )
    assert (card.file, card.sha256) == ("densenet.pt", file_sha256(path))
    assert card.saw == ("chestx-ray14",)
    assert "MIDL 2022" in card.citation
    assert any("executed once" in note for note in card.notes)
    assert any("departed_library.DenseNet" in note for note in card.notes)
    grey = images(64, 1)
    loaded = load_weights(done.folder, head=True)
    assert loaded.convention.limits() == pytest.approx((-1024, 1024))
    right = outputs(network, grey)
    assert same(right, outputs(loaded.model, grey.expand(-1, 3, -1, -1)), 1e-4)
    plain = timm.create_model(f"local-dir:{done.folder}", pretrained=True)
    assert same(outputs(loaded.model, images()), outputs(plain, images()))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("open({there!r}, 'w')", "changes files"),
        pytest.param(
            "__import__('os').rename({here!r}, {there!r})", "changes", marks=pytest.mark.slow
        ),
        pytest.param("__import__('os').system('touch {there}')", "program", marks=pytest.mark.slow),
        pytest.param(
            "__import__('socket').create_connection(('127.0.0.1', 9), 1)", "the network",
            marks=pytest.mark.slow,
        ),
        pytest.param("bytearray(64 << 30)", "MemoryError", marks=pytest.mark.slow),
        pytest.param("__import__('time').sleep(60)", "took too long", marks=pytest.mark.slow),
        pytest.param("__import__('os')._exit(3)", "code 3", marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_what_trusted_code_does_beyond_its_folder_is_stopped(tmp_path, expression, said):
    """Writing elsewhere, programs, the network, memory, time: one line, and nothing happened."""
    there, here = str(tmp_path / "there"), str(tmp_path / "trap.pt")
    path = trap(tmp_path, expression.format(there=there, here=here))
    with (
        pytest.raises(RadstartError, match=f"did not give tensors.*{said}") as caught,
        unpickled(path, seconds=5 if "sleep" in expression else 120),
    ):
        pass
    assert "\n" not in str(caught.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["trap.pt"]


def test_the_guard_of_trusted_code_does_not_go_by_what_that_code_can_change(tmp_path, monkeypatch):
    """Names of the module and of `os` changed afterwards; signals, Python's own insides."""
    inside, there = tmp_path / "inside", str(tmp_path / "there")
    hook = trusted_script._guard(inside)
    for name in ("PROGRAMS", "NETWORK", "CHANGES", "INWARDS"):
        monkeypatch.setattr(trusted_script, name, ("none",))
    monkeypatch.setattr(trusted_script, "WRITES", 0)
    monkeypatch.setattr(os.path, "realpath", lambda path: str(inside))
    monkeypatch.setattr(os.path, "commonpath", lambda paths: str(inside))

    for event, arguments in (
        ("open", (there, "w", os.O_WRONLY)),
        ("os.remove", (there, -1)),
        ("os.setxattr", (there, "user.x", b"", 0)),
        ("os.system", (b"true",)),
        ("os.kill", (os.getppid(), 9)),
        ("os.killpg", (1, 9)),
        ("socket.connect", (None, ("127.0.0.1", 9))),
        ("gc.get_objects", (-1,)),
        ("ctypes.dlopen", ("libc.so.6",)),
    ):
        with pytest.raises(PermissionError):
            hook(event, arguments)
    hook("open", (str(inside / "w"), "w", os.O_WRONLY))
    hook("open", (there, "r", os.O_RDONLY))


def test_what_trust_does_not_keep_out_is_said_before_code_is_run():
    """Where a person decides."""
    assert "restrains careless code, not hostile code" in WARNING
    assert "any code can read what you can read" in WARNING


@pytest.mark.slow
def test_trusted_code_sees_no_secrets_of_this_process(tmp_path, monkeypatch):
    """Its environment holds search paths alone, its home is a folder that goes."""
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    told = (
        "__import__('torch').tensor([*__import__('json').dumps({**__import__('os').environ,"
        " 'cwd': __import__('os').getcwd()}).encode()])"
    )
    path = tmp_path / "trap.pt"
    torch.save({"w": torch.ones(2, 3), "told": Trap(told)}, path)
    with unpickled(path) as result:
        text = bytes(load_file(result.path)["told"].tolist()).decode()
        assert result.network in ("none", "guarded")
        folder = str(result.path.parent)
        assert f'"HOME": "{folder}"' in text
        assert f'"cwd": "{folder}"' in text
    assert "PATH" in text
    assert "secret" not in text
    assert not Path(folder).exists()


@pytest.mark.slow
def test_a_pickle_that_misfits_is_called_by_its_own_name(tmp_path):
    """Not by that of the tensors that came out of it and are gone."""
    path = trap(tmp_path, "1")
    with pytest.raises(RadstartError, match="do not fit") as caught:
        converted(path, tmp_path / "out", backbone="test_resnet", trust=True)
    assert caught.value.where == str(path)
