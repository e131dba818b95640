"""The convention detective on real files and images: it picks what is right, or cannot tell."""

from pathlib import Path

import pytest

from radstart.study import check_convention
from radstart.weights import Wanted, decided, network_of, warning
from radstart.weights.convention import named_convention
from radstart.weights.detective.first_layer import implied, remembered
from radstart.weights.detective.observed import remade

SHARED = Path(__file__).parents[2].parent / "shared"
WEIGHTS = SHARED / "weights"
FILES = {
    "torch": WEIGHTS / "mobilenetv1_025_imagenet_torch" / "mobilenetV1X0.25_pretrain.tar",
    "keras": WEIGHTS / "mobilenetv1_025_imagenet_keras_notop" / "mobilenet_2_5_224_tf_no_top.h5",
}
SIZE = 128  # their own is 224, at which this takes three times as long
TRUE = {
    "torch": {"scale": "imagenet", "order": "RGB", "activation": "leaky_relu_0.1",
              "pad_type": "symmetric"},
    "keras": {"scale": "-1to1", "order": "RGB", "activation": "relu6", "pad_type": "same"},
}  # fmt: skip

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(
        not WEIGHTS.is_dir(), reason="../shared/weights is absent: NOT TESTED on real files"
    ),
]


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Return a folder of scikit-image's coloured photographs."""
    import cv2

    data = pytest.importorskip("skimage.data", reason="scikit-image is absent: NOT TESTED")
    folder = tmp_path_factory.mktemp("photographs")
    pictures = {n: getattr(data, n)() for n in ("astronaut", "chelsea", "coffee", "rocket")}
    pictures["motorcycle"] = data.stereo_motorcycle()[0]
    for name, picture in pictures.items():
        cv2.imwrite(str(folder / f"{name}.png"), picture[..., ::-1].copy())
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_photographs_find_scale_order_and_activation(name, photographs):
    """Among more than eight candidates, although another convention is stated."""
    found = check_convention(
        Wanted(FILES[name], backbone="mobilenetv1_025", convention="0to1", image_size=SIZE),
        photographs,
        device="cpu",
    )
    picked = {a.question: a.picked for a in found.answers}

    assert found.tried >= 8
    assert picked | TRUE[name] == picked
    assert picked["bn_eps"] == ""
    assert found.best.candidate.scale == TRUE[name]["scale"]
    assert "0to1" in warning(found, found.stated)
    assert found.remade == ""


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
@pytest.mark.skipif(not (SHARED / "data").is_dir(), reason="../shared/data is absent: NOT TESTED")
def test_radiographs_are_never_wrong(name):
    """Right, or it says that it cannot tell: paediatric chests, from which ImageNet is far."""
    found = check_convention(
        Wanted(FILES[name], backbone="mobilenetv1_025", convention="0to1", image_size=SIZE),
        SHARED / "data" / "chest_xray_kermany", most=24, device="cpu",
    )  # fmt: skip

    assert found.best.gap > 0.3
    for answer in found.answers:
        if answer.question in TRUE[name]:
            assert answer.picked in ("", TRUE[name][answer.question])
            assert TRUE[name][answer.question] in answer.left
    assert found.answer("scale").picked == TRUE[name]["scale"]


@pytest.mark.parametrize("name", FILES)
def test_the_first_layer_remembers_imagenets_means(name):
    """To a fiftieth, from the file alone."""
    arm = decided(Wanted(FILES[name], backbone="mobilenetv1_025"))
    memory = remembered(network_of(arm, arm.backbone), 224, 3)
    own = implied(memory, named_convention(TRUE[name]["scale"], 224, ""))

    assert own.mean == pytest.approx((0.485, 0.456, 0.406), abs=0.02)
    assert own.like == "photographs"
    for other in ("0to1", "0to255", "caffe", "caffe-0to1"):
        assert implied(memory, named_convention(other, 224, "")).impossible


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["mobilenetv2_100_imagenet_tf2", "mobilenetv2_100_inat_bird_slim",
     "mobilenetv2_100_inat_insect_slim"],
)  # fmt: skip
def test_statistics_made_afterwards_are_noticed(name):
    """The files out of TFLite; they remember the pictures that their statistics were made on."""
    arm = decided(Wanted(WEIGHTS / name))
    model = network_of(arm, arm.backbone)
    signs = remade(model)
    own = implied(remembered(model, 224, 3), named_convention("-1to1", 224, ""))

    assert "in all 52 batch norms the weight is the root of variance + eps" in signs
    assert "all 52 counters of batches stand at 1" in signs
    assert own.mean == pytest.approx((0.474, 0.383, 0.355), abs=0.002)
    assert own.like == ""
