"""Real weights: every file is whole in its network, or refused for its own reason."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from radstart import apply_convention, load_weights
from radstart.core.errors import RadstartError
from radstart.weights import inventory_of

WEIGHTS = Path(__file__).parents[2].parent / "shared" / "weights"

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not WEIGHTS.is_dir(), reason="../shared/weights is absent: NOT TESTED"),
]

MOBILENETS = ("imagenet_tf2", "inat_bird_slim", "inat_insect_slim")
V1 = "mobilenetv1_025_imagenet_torch/mobilenetV1X0.25_pretrain.tar"
KERAS = "mobilenetv1_025_imagenet_keras_notop/mobilenet_2_5_224_tf_no_top.h5"
CIFAR = "resnet20_cifar10_torch/resnet20-12fca82f.th"
BONE_AGE = tuple(
    f"boneage_cnn_rsna_torch/{name}.pt" for name in ("torch_model", "torch_model_male")
)
PROGRAMS = (
    "mobilenetv2_100_imagenet_tf2/tf2_mobilenet_v2_1.0_224_ptq.tflite",
    "mobilenetv2_100_inat_bird_slim/mobilenet_v2_1.0_224_inat_bird_quant.tflite",
    "mobilenetv2_100_inat_insect_slim/mobilenet_v2_1.0_224_inat_insect_quant.tflite",
)


def test_every_real_file_is_looked_at_here():
    """A new one has to be put into one of the tables above."""
    found = {
        str(path.relative_to(WEIGHTS))
        for path in WEIGHTS.rglob("*")
        if path.is_file() and path.suffix not in (".md", ".json", "")
    }
    folders = {f"mobilenetv2_100_{name}/model.safetensors" for name in MOBILENETS}
    assert found == folders | {V1, KERAS, CIFAR, *BONE_AGE, *PROGRAMS}


def refused(path, **options):
    """Return the one line with which a file is refused, without its path."""
    with pytest.raises(RadstartError) as caught:
        load_weights(WEIGHTS / path, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"{WEIGHTS / path}: ")


# --- whole ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MOBILENETS)
def test_mobilenetv2_by_its_folder(name):
    """Backbone, padding and input stand in config.json; nothing is left over or missing."""
    model, convention, receipt = load_weights(WEIGHTS / f"mobilenetv2_100_{name}")

    assert receipt.parameters_assigned == receipt.parameters_total == 2_223_872
    assert (receipt.assigned, receipt.counters, receipt.renamed) == (260, 52, 0)
    assert (receipt.defaulted, receipt.partial, receipt.notes) == ((), (), ())
    assert receipt.switches == {"pad_type": "same"}
    head = ("classifier.bias", "classifier.weight") if name == "imagenet_tf2" else ()
    assert receipt.dropped == head
    assert (convention.mean, convention.std) == ((0.5,) * 3, (0.5,) * 3)
    assert type(model.conv_stem).__name__ == "Conv2dSame"


def test_mobilenetv1_of_retinaface_is_recognised():
    """A legacy pickle called .tar, `module.`, an optimizer; a false `arch: resnet18`."""
    model, convention, receipt = load_weights(WEIGHTS / V1, backbone="mobilenetv1_025")

    assert (receipt.origin, receipt.container, receipt.prefix) == (
        "retinaface", "state_dict", "module.",
    )  # fmt: skip
    assert receipt.beside == ("arch", "best_acc1", "epoch", "optimizer")
    assert receipt.parameters_assigned == receipt.parameters_total == 213_072
    assert (receipt.assigned, receipt.renamed, receipt.counters) == (135, 135, 27)
    assert receipt.dropped == ("classifier.bias", "classifier.weight")
    assert receipt.switches == {"activation": "leaky_relu_0.1"}
    assert {type(m).__name__ for m in model.modules() if "ReLU" in type(m).__name__} == {
        "LeakyReLU"
    }
    assert convention.name == "imagenet"
    assert any("input convention assumed" in note for note in receipt.notes)
    assert "do not fit resnet18" in refused(V1, backbone="resnet18")


def test_mobilenetv1_of_keras_without_top():
    """Axes permuted, eps and padding of Keras; what it computes: test_adapters_keras.py."""
    _, _, receipt = load_weights(WEIGHTS / KERAS, backbone="mobilenetv1_025", convention="-1to1")

    assert receipt.origin == "keras"
    assert receipt.parameters_assigned == receipt.parameters_total == 213_072
    assert (receipt.assigned, receipt.reshaped) == (135, 27)
    assert len(receipt.defaulted) == 27  # num_batches_tracked
    assert receipt.switches == {"pad_type": "same", "bn_eps": 1e-3}
    assert "do not fit" in refused(KERAS, backbone="mobilenetv1_100")


# --- refused --------------------------------------------------------------------------------


def test_a_cifar_resnet_is_no_resnet18():
    """65 of its 97 names are ResNet18's, and not one shape."""
    tensors = set(inventory_of(WEIGHTS / CIFAR).held.tensors)
    said = refused(CIFAR, backbone="resnet18")

    assert len(tensors) == 97
    assert said.startswith(
        "weights do not fit resnet18: 35 of 120 tensors missing, 32 unexpected, 65 of another shape"
    )
    assert "conv1.weight is (16, 3, 3, 3), needs (64, 3, 7, 7)" in said
    assert "do not state their architecture" in refused(CIFAR)


@pytest.mark.parametrize("path", BONE_AGE)
def test_networks_without_an_architecture_here_are_refused(path):
    """Two regressors of bone age: no network of timm is theirs, whatever is named."""
    assert "do not state their architecture" in refused(path)
    for backbone in ("resnet18", "mobilenetv1_025", "vgg16"):
        assert f"do not fit {backbone}" in refused(path, backbone=backbone)
    found = inventory_of(WEIGHTS / path)
    assert len(found.held.tensors) == 36
    assert not any(near.whole for near in found.nearest)


@pytest.mark.parametrize("path", PROGRAMS)
def test_tflite_programs_are_refused(path):
    """Their norms are folded into the convolutions: no start for a training."""
    assert "TensorFlow Lite model: norms are folded" in refused(path, backbone="mobilenetv2_100")


# --- what they see --------------------------------------------------------------------------

NAMES = {
    281: "tabby", 282: "tiger cat", 285: "Egyptian cat", 286: "cougar", 287: "lynx",
    440: "beer bottle", 444: "bicycle-built-for-two", 447: "binoculars", 479: "car wheel",
    504: "coffee mug", 517: "crane", 518: "crash helmet", 535: "disk brake",
    540: "drilling platform", 562: "fountain", 593: "harmonica", 612: "jinrikisha",
    650: "microphone", 657: "missile", 665: "moped", 668: "mosque", 670: "motor scooter",
    671: "mountain bike", 682: "obelisk", 744: "projectile", 759: "reflex camera",
    809: "soup bowl", 812: "space shuttle", 862: "torch", 872: "tripod", 885: "velvet",
    925: "consomme", 960: "chocolate sauce", 966: "red wine", 967: "espresso", 968: "cup",
    969: "eggnog", 971: "bubble",
}  # fmt: skip
"""ImageNet's class numbers."""

SEEN = {
    V1: {
        "chelsea": "Egyptian cat .495, tiger cat .225, tabby .183, lynx .075, cougar .003",
        "coffee": "espresso .775, cup .056, consomme .041, soup bowl .031, coffee mug .022",
        "motorcycle": "moped .843, jinrikisha .050, motor scooter .039, mountain bike .028, "
        "bicycle-built-for-two .011",
        "rocket": "mosque .319, obelisk .169, space shuttle .145, missile .084, torch .036",
    },
    "mobilenetv2_100_imagenet_tf2": {
        "chelsea": "Egyptian cat .523, tiger cat .257, tabby .167, lynx .003, cougar .001",
        "coffee": "espresso .756, consomme .096, eggnog .008, chocolate sauce .008, "
        "coffee mug .004",
        "motorcycle": "motor scooter .438, moped .357, disk brake .098, car wheel .008, "
        "crash helmet .006",
        "rocket": "missile .525, projectile .179, drilling platform .028, crane .018, "
        "space shuttle .016",
        "hubble": "bubble .693, red wine .054, fountain .037, velvet .032, beer bottle .023",
        "camera": "tripod .985, binoculars .006, reflex camera .005, harmonica .000, "
        "microphone .000",
    },
}  # fmt: skip
"""Top five with their probabilities, as the files' SOURCE.md states them."""


@pytest.fixture(scope="module")
def photographs():
    """Return scikit-image's pictures: shorter side 256, bilinear (Pillow's), the centre 224."""
    from skimage import data

    own = {
        "chelsea": data.chelsea(), "coffee": data.coffee(), "rocket": data.rocket(),
        "motorcycle": data.stereo_motorcycle()[0], "hubble": data.hubble_deep_field(),
        "camera": data.camera(),
    }  # fmt: skip
    return {name: _centre(pixels) for name, pixels in own.items()}


def _centre(pixels):
    image = Image.fromarray(pixels).convert("RGB")
    scale = 256 / min(image.size)
    image = image.resize([round(side * scale) for side in image.size], Image.Resampling.BILINEAR)
    left, top = ((side - 224) // 2 for side in image.size)
    return torch.from_numpy(np.array(image.crop((left, top, left + 224, top + 224))))[None]


def top_five(model, convention, pixels):
    with torch.inference_mode():
        shares, classes = model(apply_convention(convention, pixels)).softmax(1)[0].topk(5)
    named = zip(classes.tolist(), shares.tolist(), strict=True)
    return ", ".join(f"{NAMES.get(k, k)} {share:.3f}".replace(" 0.", " .") for k, share in named)


@pytest.mark.slow
@pytest.mark.parametrize("file", SEEN)
def test_imagenet_files_see_what_their_source_says(file, photographs):
    """Names and printed digits, with the classifier kept and the convention that goes with it."""
    options = {"backbone": "mobilenetv1_025"} if file == V1 else {}
    model, convention, receipt = load_weights(WEIGHTS / file, head=True, **options)

    assert "classifier kept" in receipt.head
    for name, said in SEEN[file].items():
        assert top_five(model, convention, photographs[name]) == said
    wrong, other, _ = load_weights(WEIGHTS / file, head=True, convention="0to1", **options)
    chelsea = SEEN[file]["chelsea"]
    assert top_five(wrong, other, photographs["chelsea"]) != chelsea  # the input matters
