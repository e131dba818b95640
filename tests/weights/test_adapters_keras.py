"""Keras Applications' files: adapted names give the features that Keras itself computes."""

import functools
import shutil
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from standins import keras_nets
from standins.keras_nets import CASES, features_of, network, weights_of, write_keras2

import radstart
from radstart.core.errors import RadstartError
from radstart.weights.adapters import ADAPTERS, adapter_for, keras
from radstart.weights.catalog import entries, find
from radstart.weights.convention import Convention, apply_convention
from radstart.weights.reading.keras_files import read_keras

pytestmark = pytest.mark.slow

SHARED = Path(__file__).parents[2].parent / "shared" / "weights"
FILE = SHARED / "mobilenetv1_025_imagenet_keras_notop" / "mobilenet_2_5_224_tf_no_top.h5"
real = [
    pytest.mark.real,
    pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/weights is absent: NOT TESTED"),
]
RESNET, INCEPTION, MOBILENET = (
    next(case for case in CASES if case.name == name)
    for name in ("ResNet50", "InceptionV3", "MobileNet")
)


@pytest.fixture(scope="session")
def stand_in(tmp_path_factory):
    """Yield a function: case -> (path, features of the original), the shared ones written once.

    Their files are large: they are removed in the end.
    """
    folder = tmp_path_factory.mktemp("keras")

    @functools.cache
    def written(backbone):
        case = next(c for c in CASES if c.backbone == backbone)
        return case.write(folder)

    yield lambda case: written(case.backbone)
    shutil.rmtree(folder)


def images(size, count=2, channels=3):
    return torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(5))


def apart(ours, theirs, size):
    """Return the largest difference as a share of the largest feature."""
    shown = images(size)
    with torch.inference_mode():
        mine, original = ours(shown), theirs(shown)
    largest = original.abs().max()
    assert mine.shape == original.shape
    assert (original[0] - original[1]).abs().max() > 0.01 * largest  # features tell images apart
    return float((mine - original).abs().max() / largest)


def cases(wanted=CASES):
    marks = {True: [pytest.mark.slow], False: []}
    return [pytest.param(c, id=c.backbone, marks=marks[c.slow]) for c in wanted]


@pytest.mark.parametrize("case", cases([c for c in CASES if c is RESNET or not c.entry]))
def test_a_file_without_top_gives_the_features_of_keras(case, stand_in, tmp_path):
    """Recognised by its names, whole, with the switches of Keras's function.

    The published files that the catalog has an entry for: test_weights_standins.py.
    """
    shared = case in (RESNET, INCEPTION, MOBILENET)
    path, features = stand_in(case) if shared else case.write(tmp_path)
    assert adapter_for(read_keras(path).tensors).name == "keras"
    if case.entry:
        model, _, receipt = radstart.load_weights(case.entry, file=path)
    else:
        model, _, receipt = radstart.load_weights(
            path, backbone=case.backbone, switches=case.switches, convention="-1to1"
        )

    if not shared:
        path.unlink()
    assert apart(model, features, case.size) <= 1e-5
    assert (receipt.origin, receipt.entry) == ("keras", case.entry)
    assert receipt.parameters_assigned == receipt.parameters_total
    assert "the file says: Keras 2.4.0, tensorflow" in receipt.notes


@pytest.mark.parametrize("case", [c for c in CASES if c.entry], ids=lambda case: case.backbone)
def test_the_catalog_says_the_same(case):
    """The published file's name, and no switch but the origin's."""
    entry, adapter = find(case.entry), ADAPTERS["keras"]
    assert (entry.origin, entry.backbone, entry.file) == ("keras", case.backbone, case.file)
    assert {**adapter.switches(case.backbone), **entry.switches} == adapter.switches(case.backbone)


def test_every_entry_of_this_origin_is_proved():
    """No entry without its stand-in."""
    proved = {case.entry for case in CASES}
    assert {entry.name for entry in entries() if entry.origin == "keras"} <= proved
    assert {case.backbone for case in CASES} == set(keras.FAMILIES)


TOPS = ("mobilenetv1_025", "resnet50", "densenet121", "mobilenetv2_100", "inception_v3",
        "inception_resnet_v2", "tf_efficientnet_b0")  # fmt: skip


@pytest.mark.parametrize(
    "backbone",
    [pytest.param(b, marks=[pytest.mark.slow] if b != TOPS[0] else []) for b in TOPS],
)
def test_a_trained_top_may_be_kept(backbone, tmp_path):
    """Its scores are Keras's, before the softmax."""
    case = next(c for c in CASES if c.backbone == backbone)
    model = network(case.name, case.size, top=True, **case.options)
    path = write_keras2(tmp_path / "top.h5", weights_of(model))
    ours = radstart.load_weights(path, backbone=backbone, head=True)

    scores = keras_nets.own_range(model, features_of(model))
    assert apart(ours.model, scores, case.size) <= 1e-5
    dropped = radstart.load_weights(path, backbone=backbone).receipt.dropped
    path.unlink()
    assert len([name for name in dropped if not name.startswith("normalization")]) == 2


@pytest.mark.slow
def test_vggs_hidden_layers_take_the_maps_in_keras_order(tmp_path):
    """With its top, timm's features are the second hidden layer's."""
    model = network("VGG16", 224, top=True)
    path = write_keras2(tmp_path / "vgg.h5", weights_of(model))
    ours = radstart.load_weights(path, backbone="vgg16")
    with pytest.raises(RadstartError, match="4 unexpected"):
        radstart.load_weights(path, backbone="vgg16", switches={"pre_logits": False})
    path.unlink()

    assert apart(ours.model, features_of(model, "fc2"), 224) <= 1e-5


def test_the_first_hidden_layer_is_a_window_over_rows_columns_and_channels():
    """Keras flattens maps with the channels last."""
    maps = torch.randn(2, 3, 7, 7, generator=torch.Generator().manual_seed(0))
    kernel = torch.randn(7 * 7 * 3, 5, generator=torch.Generator().manual_seed(1))
    adapted = keras.adapt({"fc1/kernel": kernel}, "vgg16")["pre_logits.fc1.weight"]

    flat = maps.permute(0, 2, 3, 1).reshape(2, -1) @ kernel
    torch.testing.assert_close(torch.nn.functional.conv2d(maps, adapted)[:, :, 0, 0], flat)
    assert adapted.data_ptr() == kernel.data_ptr()


def test_vgg_without_top_needs_its_switch(tmp_path):
    """timm's VGG has hidden layers that such a file lacks: refused, by name."""
    names = {f"block{b}_conv{c}" for b, n in enumerate((2, 2, 3, 3, 3), 1) for c in range(1, n + 1)}
    weights = {name: [("kernel", np.ones((1, 1, 1, 1), np.float32))] for name in names}
    path = write_keras2(tmp_path / "vgg.h5", weights)
    with pytest.raises(RadstartError, match=r"do not fit vgg16.*missing"):
        radstart.load_weights(path, backbone="vgg16", switches={"mlp_ratio": 0.01})


# what a wrong load would look like


def altered(path, folder, change):
    """Return a copy of a file after change(file); the test removes it."""
    copy = shutil.copy(path, folder / "altered.h5")
    with h5py.File(copy, "a") as file:
        change(file)
    return Path(copy)


@pytest.mark.parametrize(
    ("case", "without"),
    [
        (RESNET, "stride_in_first_conv"),
        pytest.param(INCEPTION, "pool_count", marks=pytest.mark.slow),
        (MOBILENET, "pad_type"),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_without_a_switch_the_features_are_others(case, without, stand_in):
    """No tensor says so: nothing but the comparison shows it."""
    path, features = stand_in(case)
    off = {"stride_in_first_conv": False, "pool_count": "all", "pad_type": ""}[without]
    wrong = radstart.load_weights(path, backbone=case.backbone, switches={without: off}).model
    assert apart(wrong, features, case.size) > 0.01


def test_the_constants_of_batch_norms_are_keras(stand_in):
    """timm's own gives other features."""
    path, features = stand_in(MOBILENET)
    model = radstart.load_weights(path, backbone="mobilenetv1_025").model
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert {norm.eps for norm in norms} == {1e-3}
    for norm in norms:
        norm.eps = 1e-5
    assert apart(model, features, 64) > 1e-4


def test_biases_of_convolutions_go_into_the_running_means(stand_in, tmp_path):
    """Exactly; a file without them gives other features, and nothing else is computed."""
    path, features = stand_in(RESNET)
    given = read_keras(path).tensors
    adapted = keras.adapt(given, "resnet50")
    made = {name for name, t in adapted.items() if not any(t is g for g in given.values())
            and t.data_ptr() not in {g.data_ptr() for g in given.values()}}  # fmt: skip

    assert made == {name for name in adapted if name.endswith("running_mean")}
    assert len(made) == 53
    for keras_name, timm_name in (("conv1", "bn1"), ("conv3_block1_0", "layer2.0.downsample.1"),
                                  ("conv5_block3_3", "layer4.2.bn3")):  # fmt: skip
        mean, bias = given[f"{keras_name}_bn/moving_mean"], given[f"{keras_name}_conv/bias"]
        assert torch.equal(adapted[f"{timm_name}.running_mean"], mean - bias)
        assert bias.abs().max() > 0.1

    def forget(file):
        for layer in [name for name in file if name.endswith("_conv")]:
            del file[f"{layer}/{layer}/bias:0"]

    changed = altered(path, tmp_path, forget)
    unbiased = radstart.load_weights(changed, backbone="resnet50").model
    changed.unlink()
    assert apart(unbiased, features, 64) > 0.01


def numbered(first, skipped=()):
    """Return InceptionV3's numbered tensors, each of one number: its rank in the definition."""
    numbers = [n for n in range(first, first + 94 + len(skipped)) if n not in skipped]
    tensors = {}
    for rank, number in sorted(enumerate(numbers), key=lambda pair: str(pair[1])):  # as HDF5 does
        end = f"_{number}" if number else ""
        tensors[f"conv2d{end}/kernel"] = torch.full((1, 1, 1, 1), float(rank))
        for weight in ("beta", "moving_mean", "moving_variance"):
            tensors[f"batch_normalization{end}/{weight}"] = torch.full((1,), float(rank))
    return tensors


@pytest.mark.parametrize(
    ("first", "skipped"), [(0, ()), (1, ()), (5, (9, 41)), (94, ()), (95, (100,)), (1000, ())]
)
def test_numbered_layers_follow_the_definition_wherever_their_numbers_begin(first, skipped):
    """In numbers, not in letters: conv2d_100 comes behind conv2d_99."""
    adapted = keras.adapt(numbered(first, skipped), "inception_v3")

    assert len(adapted) == 94 * 5
    known = {0: "Conv2d_1a_3x3", 5: "Mixed_5b.branch1x1", 26: "Mixed_6a.branch3x3",
             93: "Mixed_7c.branch_pool"}  # fmt: skip
    for rank, module in known.items():
        for name in ("conv.weight", "bn.bias", "bn.running_mean", "bn.running_var"):
            assert adapted[f"{module}.{name}"].item() == rank
        assert adapted[f"{module}.bn.weight"].item() == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.pop("conv2d_100/kernel"), "93 layers conv2d_N, needs 94"),
        (lambda t: t.update({"conv2d_5/kernel": torch.ones(1)}), "95 layers conv2d_N, needs 94"),
        (lambda t: t.update({"batch_normalization/beta": torch.ones(1)}), "95 layers batch_norm"),
    ],
    ids=["fewer", "more", "another norm"],
)
def test_another_number_of_numbered_layers_is_refused(change, said):
    """A head with layers of its own kind shifts nothing."""
    tensors = numbered(94)
    change(tensors)
    with pytest.raises(RadstartError, match=said):
        keras.adapt(tensors, "inception_v3")


@pytest.mark.slow
def test_scales_that_keras_has_not_are_ones_and_said(stand_in):
    """InceptionV3's batch norms have an offset only."""
    path, _ = stand_in(INCEPTION)
    _, _, receipt = radstart.load_weights(path, backbone="inception_v3")

    given = read_keras(path).tensors
    assert not [name for name in given if name.endswith("gamma")]
    assert {"conv2d_94/kernel", "conv2d_187/kernel"} <= given.keys()
    assert receipt.computed == 94
    assert any("94 scales are ones" in note for note in receipt.notes)


def drop(name):
    return lambda file: file.__delitem__(name)


def put(name, like):
    return lambda file: file.create_dataset(name, data=file[like][()])


def turned(name):
    def change(file):
        values = file[name][()]
        del file[name]
        file[name] = values.transpose(3, 2, 0, 1)

    return change


MEAN = "conv3_block2_2_bn/conv3_block2_2_bn/moving_mean:0"
CONV = "conv_pw_5/conv_pw_5/kernel:0"


@pytest.mark.parametrize(
    ("case", "change", "said"),
    [
        (RESNET, drop(MEAN), "1 unexpected.*conv3_block2_2_conv/bias"),
        (RESNET, put("conv3_block9_2_bn/conv3_block9_2_bn/beta:0", "conv1_bn/conv1_bn/beta:0"),
         r"unexpected layer2\.8\.bn2\.bias"),
        (MOBILENET, drop("conv_pw_5_bn"), r"missing blocks\.2\.1\.bn2"),
        (MOBILENET, drop(CONV), r"missing blocks\.2\.1\.conv_pw\.weight"),
        (MOBILENET, drop("conv_dw_13"), r"missing blocks\.4\.1\.conv_dw\.weight"),
        (MOBILENET, put("mystery/mystery/kernel:0", CONV), "unexpected mystery/kernel"),
        (MOBILENET, put("conv_dw_14/conv_dw_14/kernel:0", CONV), "unexpected conv_dw_14/kernel"),
        (MOBILENET, turned(CONV), r"1 of another shape.*blocks\.2\.1\.conv_pw\.weight"),
        (MOBILENET, put("conv_pw_1/conv_pw_1/bias:0", "conv_pw_1_bn/conv_pw_1_bn/beta:0"),
         r"unexpected blocks\.0\.0\.conv_pw\.bias"),
    ],
    ids=["mean", "deeper", "norm", "kernel", "dw", "unknown", "longer", "axes", "bias"],
)  # fmt: skip
def test_what_is_not_keras_network_is_refused(case, change, said, stand_in, tmp_path):
    """A layer missing, one too many, other axes, a bias that nothing takes in."""
    path = altered(stand_in(case)[0], tmp_path, change)
    with pytest.raises(RadstartError, match=said) as caught:
        radstart.load_weights(path, backbone=case.backbone)
    path.unlink()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("case", "backbone"),
    [(RESNET, "resnet101"), (RESNET, "inception_v3"), (MOBILENET, "mobilenetv1_100"),
     (MOBILENET, "mobilenetv2_100")],
    ids=lambda value: getattr(value, "backbone", value),
)  # fmt: skip
def test_other_networks_are_refused(case, backbone, stand_in):
    """Another depth, another family, another width."""
    with pytest.raises(RadstartError, match=rf"(do not fit|not the layers of) {backbone}"):
        radstart.load_weights(stand_in(case)[0], backbone=backbone)


def test_a_backbone_that_keras_applications_lacks_is_refused(stand_in):
    """timm's resnet34 has no sibling there."""
    with pytest.raises(RadstartError, match=r"no network of Keras Applications .got resnet34"):
        radstart.load_weights(stand_in(MOBILENET)[0], backbone="resnet34")


def test_keras_names_are_claimed_and_no_others():
    """A slash alone is not Keras's."""
    ones = torch.ones(1)
    assert adapter_for({"conv/kernel": ones, "bn/beta": ones}).name == "keras"
    for names in (("conv1.weight", "bn/beta"), ("a/b", "c/d"), ("kernel",), ()):
        assert not keras.matches(dict.fromkeys(names, ones))


def test_where_sides_become_odd_mobilenet_v1_pads_otherwise(stand_in):
    """What `FAMILIES` says of it: equal at multiples of 32 pixels, and there alone."""
    path, _ = stand_in(MOBILENET)
    ours = radstart.load_weights(path, backbone="mobilenetv1_025").model
    for size, equal in ((96, True), (80, False)):
        model = network("MobileNet", size, alpha=0.25)
        assert (apart(ours, features_of(model), size) <= 1e-5) == equal


# files that Keras itself writes and reads


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """Return a folder of one network in every layout that Keras 3 writes, and its features."""
    folder = tmp_path_factory.mktemp("saved")
    model = network("MobileNet", 64, alpha=0.25)
    package = keras_nets.keras()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nested = package.Sequential(
            [package.Input((64, 64, 3)), model, package.layers.Dense(3)], name="mine"
        )
        nested.compile("adam", "mse")
        for network_, name in ((model, "plain"), (nested, "nested")):
            network_.save(folder / f"{name}.h5")
            network_.save(folder / f"{name}.keras")
            network_.save_weights(folder / f"{name}.weights.h5")
    return folder, features_of(model)


@pytest.mark.parametrize(
    "name", [f"{n}.{kind}" for n in ("plain", "nested") for kind in ("h5", "keras", "weights.h5")]
)
def test_what_keras_3_saves_is_read(saved, name):
    """Whole models, archives, weights; alone, or as one layer below a head."""
    folder, features = saved
    ours = radstart.load_weights(folder / name, backbone="mobilenetv1_025")

    assert apart(ours.model, features, 64) <= 1e-5
    assert len(ours.receipt.dropped) == (2 if name.startswith("nested") else 0)
    assert any("Keras 3" in note for note in ours.receipt.notes)


@pytest.mark.slow
def test_inceptions_numbered_variables_of_keras_3_are_known(tmp_path):
    """Its batch norms have three of them, and the definition says which."""
    model = network("InceptionV3", 96)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save_weights(tmp_path / "a.weights.h5")
    ours = radstart.load_weights(tmp_path / "a.weights.h5", backbone="inception_v3")
    assert apart(ours.model, features_of(model), 96) <= 1e-5


@pytest.mark.parametrize("mark", [pytest.param(None, marks=real)])
def test_the_real_file_gives_the_features_that_keras_gives(mark):
    """Keras's own reader puts the same file into Keras's own network."""
    model = network("MobileNet", 224, alpha=0.25)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.load_weights(FILE)
    ours = radstart.load_weights(FILE, backbone="mobilenetv1_025", convention="-1to1")

    assert apart(ours.model, features_of(model), 224) <= 1e-5
    assert ours.receipt.assigned == 135
    assert ours.receipt.parameters_assigned == ours.receipt.parameters_total == 213072
    assert ours.receipt.switches == {"pad_type": "same", "bn_eps": 1e-3}
    assert "the file says: Keras 2.0.4, tensorflow" in ours.receipt.notes


@pytest.mark.slow
def test_efficientnets_own_first_layers_are_a_convention(tmp_path):
    """x / 255, mean and variance stand in the file; they are dropped, and are mean and std."""
    model = network("EfficientNetB0", 64)
    weights = weights_of(model)
    path = write_keras2(tmp_path / "b0.h5", weights)
    ours, _, receipt = radstart.load_weights(path, backbone="tf_efficientnet_b0")
    mean, variance = (dict(weights["normalization"])[name] for name in ("mean", "variance"))
    said = Convention(64, tuple(map(float, mean)), tuple(map(float, np.sqrt(variance))), "a test")

    pixels = torch.randint(0, 256, (2, 64, 64, 3), generator=torch.Generator().manual_seed(0))
    theirs = features_of(model)(pixels.permute(0, 3, 1, 2).float())
    with torch.inference_mode():
        mine = ours(apply_convention(said, pixels.to(torch.uint8)))
    assert (mine - theirs).abs().max() <= 1e-5 * theirs.abs().max()
    assert sorted(receipt.dropped) == [
        "normalization/count", "normalization/mean", "normalization/variance",
    ]  # fmt: skip
