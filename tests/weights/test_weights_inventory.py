"""What `weights show FILE` says of a file: inventory, doubts, nearest backbones."""

import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from standins.standin import randomised

from radstart.backbones import Backbone, build, comparable, known_shapes, state_shapes
from radstart.core.errors import RadstartError
from radstart.weights.inspecting.doubts import doubts
from radstart.weights.inspecting.inventory import inventory_lines, inventory_of
from radstart.weights.inspecting.likeness import nearest_backbones
from radstart.weights.reading.pickles import asked_globals

SHARED = Path(__file__).parents[2].parent / "shared" / "weights"
real = [
    pytest.mark.real,
    pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/weights is absent: NOT TESTED"),
]


def trained(name, outputs=7):
    """Return tensors of a network whose values have left their start."""
    model = randomised(build(Backbone(name), outputs))
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= torch.exp(0.8 * torch.randn(parameter.shape, generator=draw))
    return {key: tensor.clone() for key, tensor in model.state_dict().items()}


def shown(tensors, folder, name="file.pt", **beside):
    torch.save({"state_dict": tensors, **beside} if beside else tensors, folder / name)
    found = inventory_of(folder / name)
    return found, "\n".join(inventory_lines(found))


def said(tensors):
    return {doubt.what: doubt.names for doubt in doubts(tensors)}


@pytest.mark.parametrize(
    "name",
    ["resnet18", "mobilenetv1_025", "densenet121", "vit_tiny_patch16_224", "beit_base_patch16_224"],
)
def test_the_table_of_shapes_is_that_of_the_installed_timm(name):
    """A backbone that changed its tensors would be named wrongly: make the table anew then."""
    (known,) = [known for known in known_shapes() if name in known.names]

    assert known.shapes == comparable(state_shapes(Backbone(name)).values())


def test_every_backbone_of_timm_is_in_the_table():
    """Whatever timm can build by its name is looked at."""
    import timm

    known = {name for one in known_shapes() for name in one.names}
    assert set(timm.list_models()) <= known


def test_a_file_is_told_with_container_prefix_stages_and_sizes(tmp_path):
    """Counts are those of the tensors; counters are no tensors of the network."""
    tensors = trained("test_resnet")
    wrapped = {f"module.{name}": tensor for name, tensor in tensors.items()}
    found, text = shown(wrapped, tmp_path, epoch=3, arch="vgg16")

    numbers = {k: t.numel() for k, t in tensors.items() if not k.endswith("num_batches_tracked")}
    assert (found.kind, found.held.path, found.held.prefix) == (
        "torch zip",
        "state_dict",
        "module.",
    )
    assert found.held.beside == ("arch", "epoch")
    assert sum(group.tensors for group in found.groups) == len(numbers)
    assert sum(group.numbers for group in found.groups) == sum(numbers.values())
    assert {"layer1", "layer4", "fc"} <= {group.name.split(".")[0] for group in found.groups}
    assert f"{sum(numbers.values()):,}" in text
    assert max(map(len, text.splitlines())) <= 80


def test_the_drawing_lists_every_tensor_when_asked(tmp_path):
    """Name, type and shape, one line each."""
    torch.save({"a.weight": torch.ones(2, 3), "a.bias": torch.zeros(2).half()}, tmp_path / "x.pt")
    lines = list(inventory_lines(inventory_of(tmp_path / "x.pt"), every=True))

    assert "  a.weight  float32   2x3" in lines
    assert "  a.bias    float16   2" in lines


@pytest.mark.slow
def test_a_network_is_recognised_among_all_names_whole_and_with_its_classifier(tmp_path):
    """timm's own names fit whole; what is lacking is named otherwise."""
    tensors = trained("resnet18")
    found, text = shown(tensors, tmp_path)
    assert (found.nearest[0].backbone, found.nearest[0].whole) == ("resnet18", True)
    assert found.nearest[0].classifier == ("fc.weight", "fc.bias")
    assert "looks like  resnet18: loads whole" in text

    del tensors["layer3.1.conv2.weight"]
    tensors["layer1.0.conv1.weight"] = torch.ones(64, 64, 5, 5)
    tensors["neck.weight"] = torch.ones(3, 5)
    found, text = shown(tensors, tmp_path)
    near = found.nearest[0]
    assert (near.backbone, near.whole) == ("resnet18", False)
    assert near.missing == ("layer3.1.conv2.weight",)
    assert near.misshapen == ("layer1.0.conv1.weight",)
    assert near.unexpected == ("neck.weight",)
    assert "1 missing: layer3.1.conv2.weight" in text


@pytest.mark.slow
def test_layouts_of_other_frameworks_are_near_by_shapes():
    """A kernel of 3, 3, in, out and a linear layer as 1x1 convolution count as the same."""
    tensors = {
        f"layer_{k}": tensor.permute(2, 3, 1, 0).contiguous() if tensor.dim() == 4 else tensor
        for k, tensor in enumerate(trained("resnet18").values())
    }
    tensors["layer_0/kernel"] = tensors.pop("layer_0")

    near = nearest_backbones(tensors)[0]
    assert near.backbone == "resnet18"
    assert near.fits == 0
    assert near.share > 0.98


@pytest.mark.slow
def test_nothing_is_near_a_network_of_another_kind(tmp_path):
    """A few shapes in common are no likeness."""
    torch.save({f"fc{k}.weight": torch.randn(64, 64) for k in range(9)}, tmp_path / "mlp.pt")
    found = inventory_of(tmp_path / "mlp.pt")

    assert found.nearest == ()
    assert "nothing at hand" in "\n".join(inventory_lines(found))


@pytest.mark.slow
def test_values_that_no_trained_network_has_are_named():
    """Not finite, constant, zero kernels, variances out of range: each with its tensors."""
    tensors = trained("test_resnet")
    assert said(tensors) == {}

    tensors["layer1.0.conv1.weight"][0, 0, 0, 0] = torch.nan
    tensors["layer1.0.conv2.weight"].fill_(0.5)
    tensors["layer2.0.conv1.weight"][3] = 0
    tensors["bn1.running_var"][0] = -1
    tensors["layer1.0.bn1.running_var"][0] = 6e4
    tensors["layer1.0.bn2.running_var"][0] = 1e-20
    found = said(tensors)
    assert found["holds values that are not finite"] == ("layer1.0.conv1.weight",)
    assert found["all values are 0.5"] == ("layer1.0.conv2.weight",)
    assert found["kernels or rows that are all zero"] == ("layer2.0.conv1.weight",)
    assert found["a variance below 0"] == ("bn1.running_var",)
    assert [w for w in found if "above 10000" in w]
    assert [w for w in found if "below 1e-12" in w]
    assert doubts(tensors)[0].serious


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224"])
def test_a_network_as_it_was_made_is_seen_through(name):
    """Most weights and every norm of a fresh network are at a known start."""
    state = build(Backbone(name), 5).state_dict()
    fresh = {n for what, names in said(state).items() if "never trained" in what for n in names}
    large = {n for n, t in state.items() if t.dim() > 1 and t.numel() > 10_000 and "embed" not in n}

    assert len(large - fresh) <= 0.1 * len(large)
    assert {n for n in state if "norm" in n and n.endswith("weight")} <= fresh


def test_a_layer_left_at_its_start_is_found_and_a_moved_one_is_not():
    """PyTorch's uniform start has an exact bound; a step of training breaks it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layer = torch.nn.Linear(40, 64)
    state = {f"film.{k}": v for k, v in layer.state_dict().items()}
    assert said(state) == {
        "never trained: PyTorch's uniform start": ("film.weight", "film.bias"),
    }

    draw = torch.Generator().manual_seed(0)
    moved = {k: v + 0.05 * torch.randn(v.shape, generator=draw) for k, v in state.items()}
    assert said(moved) == {}


class Trap:
    """Writes a file when unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (Path.touch, (Path(self.path),))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_is_not_executed_and_what_it_asks_for_is_named(tmp_path, zipped):
    """Opcodes are read: the globals stand in the one line of the refusal."""
    sprung, path = tmp_path / "sprung", tmp_path / "trap.pt"
    torch.save({"w": torch.ones(2), "x": Trap(sprung)}, path, _use_new_zipfile_serialization=zipped)

    assert "pathlib.PosixPath" in asked_globals(path)
    with pytest.raises(RadstartError, match=r"pickled code.*PosixPath.*convert FILE --trust"):
        inventory_of(path)
    assert not sprung.exists()


def test_plain_tensors_ask_for_nothing(tmp_path):
    """Storages, sizes and dictionaries are what weights_only gives."""
    plain = {"a": torch.ones(2).half(), "b": torch.nn.Parameter(torch.ones(3)), "n": 3}
    torch.save(plain, tmp_path / "new.pt")
    torch.save(plain, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    save_file({"a": torch.ones(2)}, tmp_path / "a.safetensors")

    for name in ("new.pt", "old.pt", "a.safetensors"):
        assert asked_globals(tmp_path / name) == ()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "text"),
    [
        pytest.param(f"{folder}/{name}", text, marks=real)
        for folder, name, text in (
            ("mobilenetv2_100_imagenet_tf2", "model.safetensors", "looks like  mobilenetv2_100"),
            ("mobilenetv2_100_inat_bird_slim", "model.safetensors", "classifier: none"),
            ("mobilenetv1_025_imagenet_torch", "mobilenetV1X0.25_pretrain.tar", "mobilenetv1_025"),
            ("boneage_cnn_rsna_torch", "torch_model.pt", "never trained: PyTorch's uniform start"),
            ("boneage_cnn_rsna_torch", "torch_model_male.pt", "first 5x5 from 1 channel"),
            ("resnet20_cifar10_torch", "resnet20-12fca82f.th", "a CIFAR ResNet-20"),
            (
                "mobilenetv1_025_imagenet_keras_notop",
                "mobilenet_2_5_224_tf_no_top.h5",
                "mobilenetv1_025: loads whole by keras's names",
            ),
        )
    ],
)
def test_real_files_are_shown(file, text):
    """Each in the container it really has, whatever its name says."""
    found = inventory_of(SHARED / file)
    lines = list(inventory_lines(found))

    assert text in " ".join(" ".join(lines).split()) or text in "\n".join(lines)
    assert max(map(len, lines)) <= 80
    untrained = [d.names for d in found.doubts if d.what.startswith("never trained")]
    film = tuple(f"film.{k}.{end}" for k in ("gamma", "beta") for end in ("weight", "bias"))
    assert untrained == ([film] if file.endswith("torch_model.pt") else [])
    near = [one.backbone for one in found.nearest[:1]]
    assert near == (["mobilenetv2_100"] if "v2" in file else ["mobilenetv1_025"] * ("v1" in file))


@pytest.mark.slow
@pytest.mark.parametrize("mark", [pytest.param(None, marks=real)])
def test_a_second_look_takes_less_than_a_second(mark):
    """Nothing of 1,400 networks is built but the few that are near."""
    path = SHARED / "mobilenetv2_100_imagenet_tf2" / "model.safetensors"
    inventory_of(path)

    started = time.monotonic()
    inventory_of(path)
    assert time.monotonic() - started < 3  # 0.3 s alone on the machine
