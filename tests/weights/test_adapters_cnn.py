"""Convolutional networks' files: adapted names give the original network's features."""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import pytest
import torch
from standins import cnn
from standins.standin import randomised

from radstart.backbones import Backbone, build
from radstart.core.errors import RadstartError
from radstart.core.hashing import file_sha256
from radstart.weights.adapters import ADAPTERS, adapter_for
from radstart.weights.catalog import entries, find
from radstart.weights.convention import named_convention, stated_convention
from radstart.weights.load import container_of, fitted_backbone, load_whole
from radstart.weights.reading.files import Container
from radstart.weights.source import Source

pytestmark = pytest.mark.slow

ALL = (*cnn.CASES, *cnn.TRAININGS)
ORIGINS = {case.origin for case in cnn.CASES}


def name_of(case):
    return f"{case.origin}-{case.backbone}-{case.standin.verified}".replace(" ", "_")


def parameters(cases):
    return [
        pytest.param(c, id=name_of(c), marks=[pytest.mark.slow] if c.slow else []) for c in cases
    ]


def convention(channels):
    return named_convention("imagenet" if channels == 3 else "-1024to1024", 64, "a test")


def loaded(source, backbone, channels=3, switches=None):
    """Return the network with a file's tensors in it, and the receipt; or it is refused."""
    chosen = Backbone(backbone, switches or {})
    if switches is None:
        chosen = fitted_backbone(chosen, source)
    model = build(chosen, 0, channels=channels)
    _, receipt = load_whole(model, chosen, source, convention(channels))
    return model.eval(), receipt


@pytest.fixture
def in_memory(monkeypatch):
    """Return a function: tensors, origin -> a source that holds them, without a file."""

    def source(tensors, origin):
        monkeypatch.setattr("radstart.weights.load.read_container", lambda *_: Container(tensors))
        return Source(Path("in memory"), "", origin=origin)

    return source


@pytest.fixture
def refusal(in_memory):
    """Return a function: tensors, origin, backbone -> the words with which they are refused."""

    def words(tensors, origin, backbone, channels=3):
        source = in_memory(tensors, origin)
        chosen, model = empty(backbone, channels, origin)
        with pytest.raises(RadstartError) as caught:
            load_whole(model, chosen, source, convention(channels))
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return words


@lru_cache(maxsize=4)
def empty(backbone, channels, origin):
    """Return a network without values, which refused loads need not fill."""
    chosen = Backbone(backbone, dict(ADAPTERS[origin].switches(backbone)))
    with torch.device("meta"):
        return chosen, build(chosen, 0, channels=channels)


def apart(model, features, size=64, channels=3):
    """Return the largest difference as a share of the largest feature."""
    images = torch.randn(2, channels, size, size, generator=torch.Generator().manual_seed(5))
    with torch.inference_mode():
        ours, theirs = model(images), features(images)
    largest = theirs.abs().max()
    assert ours.shape == theirs.shape
    assert (theirs[0] - theirs[1]).abs().max() > 0.01 * largest  # features tell images apart
    return float((ours - theirs).abs().max() / largest)


@pytest.mark.parametrize("case", parameters(cnn.TRAININGS))
def test_a_file_is_recognised_and_gives_the_features_of_the_original(case, tmp_path):
    """Whole, by the loader, with the origin's switches; adapters leave the file's tensors alone.

    Files that the catalog has an entry for: test_weights_standins.py.
    """
    path, features = case.standin.write(tmp_path)
    source = Source(path, file_sha256(path), origin=case.origin)
    tensors = container_of(source).tensors
    before = {
        name: (t.data_ptr(), float(t.sum(dtype=torch.float64))) for name, t in tensors.items()
    }

    assert adapter_for(container_of(Source(path, source.sha256)).tensors).name == case.origin
    model, receipt = loaded(source, case.backbone, case.standin.channels)
    assert apart(model, features, case.standin.size, case.standin.channels) <= (
        case.standin.tolerance
    )
    assert receipt.origin == case.origin
    assert receipt.parameters_assigned == receipt.parameters_total
    assert before == {
        name: (t.data_ptr(), float(t.sum(dtype=torch.float64))) for name, t in tensors.items()
    }


@pytest.mark.parametrize("case", cnn.CASES, ids=name_of)
def test_the_catalog_says_the_same(case):
    """Origin, backbone, channels and switches of its entry."""
    entry = find(case.standin.entry)
    known = stated_convention(entry.convention, entry.size, "the catalog")

    assert (entry.origin, entry.backbone) == (case.origin, case.backbone)
    assert len(known.mean) == case.standin.channels
    adapter = ADAPTERS[case.origin]
    assert {**adapter.switches(case.backbone), **entry.switches} == adapter.switches(case.backbone)


def test_every_entry_of_these_origins_has_its_backbone_proved():
    """A file of another recipe needs no stand-in of its own: names and network are the same."""
    proved = {(case.origin, case.backbone) for case in cnn.CASES}
    asked = {(e.origin, e.backbone): e.name for e in entries() if e.origin in ORIGINS}

    assert {name for pair, name in asked.items() if pair not in proved} == set()


@pytest.mark.parametrize(
    "name",
    ["resnet18", "densenet121", "vgg16", "inception_v3", "efficientnet_b0", "convnext_tiny",
     "mobilenetv3_small_100", "swin_tiny_patch4_window7_224", "regnety_002", "test_resnet"],
)  # fmt: skip
def test_timms_own_names_are_claimed_by_nobody_else(name):
    """Also with the number of outputs by which another origin is told."""
    with torch.device("meta"):
        tensors = build(Backbone(name), cnn.CLASSES).state_dict()

    assert adapter_for(tensors).name == "timm"


@lru_cache(maxsize=4)
def original(name):
    """Return torchvision's network, for looking at."""
    return cnn.network(name)


def network_tensors(name):
    return dict(original(name).state_dict())


SCALED = [f"efficientnet_b{scale}" for scale in (0, 1, 2, 4)]
PAIRS = (
    ("efficientnet_b3", "efficientnet_b3"),
    ("mobilenet_v3_small", "mobilenetv3_small_100"),
    ("mobilenet_v3_large", "mobilenetv3_large_100"),
    *((name, name) for name in ("vgg16", "vgg16_bn", "inception_v3")),
    *(
        pytest.param(name, name, marks=pytest.mark.slow)
        for name in (*SCALED, "vgg11", "vgg13", "vgg19", "densenet161", "densenet169")
    ),
)


@pytest.mark.parametrize(("name", "timm"), PAIRS)
def test_every_tensor_of_torchvision_finds_its_place(name, timm):
    """Names and shapes, without values: all of the network's and no more but the allowed."""
    own = {} if not name.startswith(("vgg", "inception")) else {"init_weights": False}
    with torch.device("meta"):
        theirs = getattr(cnn.models, name)(weights=None, **own).state_dict()
        ours = build(Backbone(timm), 1000).state_dict()
    adapted = ADAPTERS["torchvision"].adapt(theirs, timm)

    over = {n for n in adapted if not n.startswith("AuxLogits.")} - ours.keys()
    assert {n: t.shape for n, t in ours.items()} == {n: adapted[n].shape for n in ours}
    assert over == set()


def test_tensors_are_renamed_not_copied():
    """Views, so that a receipt can follow them; a linear layer seen as a convolution too."""
    tensors = network_tensors("mobilenet_v3_small")
    adapted = ADAPTERS["torchvision"].adapt(tensors, "mobilenetv3_small_100")

    assert {t.data_ptr() for t in adapted.values()} == {t.data_ptr() for t in tensors.values()}
    assert adapted["conv_head.weight"].shape == (1024, 576, 1, 1)


@pytest.fixture
def difference(in_memory):
    """Return a function: how far the loaded network's features are from those of another."""

    def measure(tensors, origin, backbone, features, switches=None):
        model, _ = loaded(in_memory(tensors, origin), backbone, switches=switches)
        return apart(model, features)

    return measure


@pytest.mark.parametrize("size", ["small", "large"])
def test_mobilenetv3_without_its_eps_computes_something_else(size, difference):
    """The equality above can fail: no name and no shape tells of eps."""
    model = original(f"mobilenet_v3_{size}")
    tensors, name = dict(model.state_dict()), f"mobilenetv3_{size}_100"

    features = cnn.features(model)
    assert difference(tensors, "torchvision", name, features) < 1e-5
    assert difference(tensors, "torchvision", name, features, switches={}) > 1e-3


def test_efficientnet_of_tensorflow_is_not_torchvisions(refusal):
    """timm's tf_efficientnet has the same names and shapes, another padding and another eps."""
    said = refusal(network_tensors("efficientnet_b0"), "torchvision", "tf_efficientnet_b0")

    assert "unexpected features.0.0.weight" in said


@pytest.mark.slow
def test_vgg_is_torchvisions_up_to_its_own_size():
    """timm convolves where torchvision pools to 7 x 7: beyond 224 pixels they part."""
    model = cnn.network("vgg11", 5)
    ours = build(Backbone("vgg11"), 0)
    adapted = ADAPTERS["torchvision"].adapt(dict(model.state_dict()), "vgg11")
    ours.load_state_dict({n: t for n, t in adapted.items() if n in ours.state_dict()})

    assert apart(ours.eval(), cnn.features(model), 224) < 1e-5
    assert apart(ours, cnn.features(model), 288) > 1e-3


# RadImageNet


@lru_cache(maxsize=1)
def port():
    """Return the port's tensors and its network's features."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = randomised(cnn.lively(cnn.KerasResNet50()))
    return dict(model.state_dict()), torch.inference_mode()(model.forward)


def is_bias(name):
    return name.endswith((".0.bias", "conv1.bias", "conv2.bias", "conv3.bias"))


def test_biases_and_strides_of_the_port_matter(difference):
    """Without either the network is another one, though every tensor has its place."""
    tensors, features = port()
    without = {name: tensor for name, tensor in tensors.items() if not is_bias(name)}
    eps = {"bn_eps": 1.001e-5}

    assert len(tensors) - len(without) == 53
    assert adapter_for(without).name == "timm"  # nothing tells it from torchvision's
    assert difference(without, "radimagenet_port", "resnet50", features) > 1e-3
    assert difference(tensors, "radimagenet_port", "resnet50", features, switches=eps) > 1e-3


def test_the_port_has_keras_eps(difference):
    """Seen where a variance is nothing."""
    tensors = dict(port()[0]) | {"bn1.running_var": torch.zeros(64)}
    model = cnn.KerasResNet50().eval()
    model.load_state_dict(tensors)
    features = torch.inference_mode()(model.forward)
    strides = {"stride_in_first_conv": True}

    assert difference(tensors, "radimagenet_port", "resnet50", features) < 1e-5
    assert difference(tensors, "radimagenet_port", "resnet50", features, switches=strides) > 1e-4


def test_folding_changes_running_means_and_nothing_else():
    """norm(x + b) with mean m is norm(x) with mean m - b."""
    tensors = port()[0]
    folded = ADAPTERS["radimagenet_port"].adapt(tensors, "resnet50")

    means = [n for n in folded if n.endswith("running_mean")]
    assert len(means) == 53
    for name, tensor in folded.items():
        assert (tensor.data_ptr() == tensors[name].data_ptr()) == (name not in means)
    expected = tensors["layer2.0.downsample.1.running_mean"] - tensors["layer2.0.downsample.0.bias"]
    assert torch.equal(folded["layer2.0.downsample.1.running_mean"], expected)


def test_a_bias_without_a_norm_behind_it_is_not_folded(refusal):
    """It stays, and the load is refused."""
    tensors = dict(port()[0])
    del tensors["layer3.2.bn2.running_mean"]

    said = refusal(tensors, "radimagenet_port", "resnet50")
    assert "missing layer3.2.bn2.running_mean; unexpected layer3.2.conv2.bias" in said


def numbered(aux):
    """Return InceptionV3's tensors as RadImageNet's file names them, without values."""
    with torch.device("meta"):
        model = cnn.models.inception_v3(weights=None, init_weights=False)
        if not aux:
            model.AuxLogits = None
        holder = torch.nn.Module()
        holder.backbone = torch.nn.Sequential(*list(model.children())[:-1])
    return holder.state_dict()


def test_number_15_is_what_its_tensors_say():
    """The auxiliary classifier moves all layers behind it by one."""
    adapter = ADAPTERS["radimagenet_torch"]
    off, on = (adapter.adapt(numbered(aux), "inception_v3") for aux in (False, True))

    assert {n for n in on if not n.startswith("AuxLogits.")} == off.keys()
    assert "AuxLogits.fc.weight" in on
    assert off["Mixed_7a.branch7x7x3_1.conv.weight"].shape == (192, 768, 1, 1)
    assert {n: off[n].shape for n in off} == {n: on[n].shape for n in off}


@pytest.mark.parametrize(("name", "last"), [("resnet18", "fc"), ("densenet121", "classifier")])
def test_a_classifier_among_the_children_is_named_too(name, last):
    """Where the publisher cut one layer later than he said."""
    model = original(name)
    children = torch.nn.Sequential(*model.children()).state_dict()
    tensors = under("backbone.", children)

    assert adapter_for(tensors).name == "radimagenet_torch"
    adapted = ADAPTERS["radimagenet_torch"].adapt(tensors, name)
    assert adapted.keys() == model.state_dict().keys()
    assert f"{last}.weight" in adapted


def test_a_network_cut_too_early_is_refused(refusal):
    """Nine children are all of a ResNet, and half of InceptionV3."""
    kept = list(original("inception_v3").children())[:9]
    tensors = under("backbone.", torch.nn.Sequential(*kept).state_dict())

    said = refusal(tensors, "radimagenet_torch", "inception_v3")
    assert "missing Mixed_5d.branch1x1.conv.weight" in said
    assert "0 unexpected" in said


def test_layers_in_another_order_do_not_fit():
    """Two layers of one kind exchanged: the names go round, the shapes do not."""
    tensors = dict(numbered(aux=False))
    for name in [n for n in tensors if n.startswith("backbone.7.")]:
        other = name.replace("backbone.7.", "backbone.8.")
        tensors[name], tensors[other] = tensors[other], tensors[name]
    adapted = ADAPTERS["radimagenet_torch"].adapt(tensors, "inception_v3")

    with torch.device("meta"):
        own = build(Backbone("inception_v3"), 0).state_dict()
    assert own.keys() == adapted.keys()
    assert next(n for n in own if own[n].shape != adapted[n].shape).startswith("Mixed_5b.")


# RadiologyNET


def radiologynet(name, wrapper, classes=cnn.CLASSES):
    return dict(wrapper(cnn.network(name, classes)).state_dict())


def test_either_copy_alone_is_the_network():
    """The other adds nothing."""
    twice = radiologynet("densenet121", cnn.Twice)
    whole = {n: t for n, t in twice.items() if n.startswith("model.")}
    parts = {n: t for n, t in twice.items() if not n.startswith("model.")}

    adapted = [ADAPTERS["radiologynet"].adapt(t, "densenet121") for t in (twice, whole, parts)]
    assert len(twice) == 2 * len(adapted[0])
    for other in adapted[1:]:
        assert other.keys() == adapted[0].keys()
        assert all(torch.equal(other[n], t) for n, t in adapted[0].items())


def test_with_other_classes_the_generic_adapter_reads_the_same():
    """What tells RadiologyNET's ResNet from anybody's is its number of classes alone."""
    tensors = radiologynet("resnet18", cnn.Whole, 5)

    assert adapter_for(tensors).name == "ssl"
    ours, theirs = (ADAPTERS[n].adapt(tensors, "resnet18") for n in ("ssl", "radiologynet"))
    assert ours.keys() == theirs.keys()
    assert all(ours[n] is theirs[n] for n in ours)


# TorchXRayVision


def test_the_first_convolution_stays_grey_and_thresholds_are_left_out(tmp_path, refusal):
    """One channel in the file, one in the tensors; no other origin may leave thresholds over."""
    case = next(c for c in cnn.CASES if c.origin == "torchxrayvision")
    path, _ = case.standin.write(tmp_path)
    source = Source(path, "", origin=case.origin)
    tensors = container_of(source).tensors
    _, receipt = loaded(source, case.backbone, channels=1)

    adapted = ADAPTERS["torchxrayvision"].adapt(tensors, case.backbone)
    assert adapted["features.conv0.weight"].shape == (64, 1, 7, 7)
    assert receipt.dropped == ("classifier.bias", "classifier.weight", "op_threshs")
    assert "unexpected op_threshs" in refusal(tensors, "torchvision", case.backbone, channels=1)


def test_a_pickled_module_is_refused_by_the_reader(tmp_path):
    """As the release files are: the class would have to be imported and run."""
    with pytest.raises(RadstartError, match="pickled code"):
        container_of(Source(cnn.pickled_module(tmp_path), ""))


# training modules


def under(prefix, tensors):
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("student.", "teacher."),
        ("student.backbone.", "teacher.backbone."),
        ("student_backbone.", "teacher_backbone."),
        ("model.", "model_ema."),
    ],
)
def test_of_two_networks_none_is_chosen(one, other, refusal):
    """Student and teacher, a network and its average: the person names the one."""
    tensors = network_tensors("resnet18")
    both = under(one, tensors) | under(other, tensors)

    assert adapter_for(both).name == "ssl"
    said = refusal(both, "ssl", "resnet18")
    assert f"(got {one}*, {other}*)" in said
    assert f"--take {one.removesuffix('.')}" in said


def test_the_network_that_is_named_is_taken(tmp_path):
    """By the words before its names, as the refusal says it."""
    model = original("resnet18")
    student = {n: t + 1 for n, t in model.state_dict().items()}
    both = under("student.backbone.", student) | under("teacher.backbone.", model.state_dict())
    torch.save({"state_dict": both, "epoch": 3}, tmp_path / "last.ckpt")

    source = Source(tmp_path / "last.ckpt", "", origin="ssl")
    for take in ("teacher", "teacher.backbone"):
        ours, _ = loaded(replace(source, take=take), "resnet18")
        assert apart(ours, cnn.features(model)) < 1e-5
    assert container_of(replace(source, take="teacher")).beside == ("epoch", "student")
    with pytest.raises(RadstartError, match="several networks"):
        loaded(source, "resnet18")


def test_torchvisions_mobilenet_in_a_wrapper_is_refused(refusal):
    """It would be loaded with timm's eps."""
    tensors = under("backbone.", network_tensors("mobilenet_v3_small"))

    said = refusal(tensors, "ssl", "mobilenetv3_small_100")
    assert "another eps" in said
    assert "origin torchvision" in said


def test_a_name_inside_and_outside_the_wrapper_is_refused(refusal):
    """Neither overwrites the other."""
    tensors = network_tensors("resnet18")
    both = under("backbone.", tensors) | {"fc.weight": tensors["fc.weight"]}

    assert "inside and outside" in refusal(both, "ssl", "resnet18")


# refusals of all origins


def dropped_layer(tensors):
    del tensors[[n for n, t in tensors.items() if t.dim() == 4][5]]


def dropped_norm(tensors):
    del tensors[[n for n in tensors if n.endswith("running_var")][5]]


def junk(tensors):
    tensors["backbone.junk.weight"] = torch.ones(2, 2)


def unknown_prefix(tensors):
    for name in list(tensors):
        tensors[f"mystery.{name}"] = tensors.pop(name)


@lru_cache(maxsize=1)
def smallest(origin):
    """Return a backbone of an origin, its channels and the tensors of a whole file."""
    if origin == "radimagenet_port":
        return "resnet50", 3, port()[0]
    if origin == "radimagenet_torch":
        return (
            "densenet121",
            3,
            under("backbone.0.", dict(cnn.network("densenet121").features.state_dict())),
        )
    if origin == "radiologynet":
        return "resnet18", 3, radiologynet("resnet18", cnn.Whole)
    if origin == "torchxrayvision":
        grey = dict(cnn.grey("densenet121").state_dict())
        return "densenet121", 1, grey | {"op_threshs": torch.ones(18)}
    if origin == "ssl":
        return "resnet18", 3, under("model.backbone.", network_tensors("resnet18"))
    return "mobilenetv3_small_100", 3, network_tensors("mobilenet_v3_small")


@pytest.mark.parametrize("change", [dropped_layer, dropped_norm, junk, unknown_prefix])
@pytest.mark.parametrize("origin", sorted({c.origin for c in ALL}))
def test_what_is_not_whole_is_refused(origin, change, refusal):
    """A layer is missing, a tensor is over, all names are strange: stated or recognised."""
    backbone, channels, whole = smallest(origin)
    tensors = dict(whole)
    assert adapter_for(tensors).name == origin
    change(tensors)

    for name in dict.fromkeys((origin, adapter_for(tensors).name)):
        refusal(tensors, name, backbone, channels)


@pytest.mark.parametrize(
    ("origin", "name", "wrapper", "backbone"),
    [
        ("torchvision", "mobilenet_v3_small", cnn.Parts, "mobilenetv3_large_100"),
        ("torchvision", "efficientnet_b0", cnn.Parts, "efficientnet_b1"),
        ("torchvision", "efficientnet_b0", cnn.Parts, "mobilenetv3_small_100"),
        ("torchvision", "mobilenet_v3_small", cnn.Parts, "efficientnet_b0"),
        ("radiologynet", "resnet18", cnn.Whole, "resnet34"),
        ("radiologynet", "resnet34", cnn.Whole, "resnet18"),
        ("radiologynet", "resnet18", cnn.Whole, "resnet50"),
        ("radiologynet", "densenet121", cnn.Twice, "resnet18"),
        ("ssl", "resnet18", cnn.Whole, "resnet50"),
    ],
)
def test_another_backbone_is_refused(origin, name, wrapper, backbone, refusal):
    """A file of another depth or family."""
    tensors = dict(wrapper(original(name)).state_dict())

    assert "do not fit" in refusal(tensors, origin, backbone)


def test_the_equality_tells_one_network_from_another(difference):
    """Other values in one layer are seen."""
    model = original("resnet18")
    tensors = {n: t.clone() for n, t in model.state_dict().items()}
    features = cnn.features(model)

    assert difference(tensors, "torchvision", "resnet18", features) < 1e-5
    tensors["layer3.1.conv2.weight"] *= 1.01
    assert difference(tensors, "torchvision", "resnet18", features) > 1e-4
