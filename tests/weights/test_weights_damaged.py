"""Files whose bytes were changed, and tensors that are no plain real numbers: one line, always."""

import random
import struct

import pytest
import torch
from safetensors.torch import load_file, save, save_file

from radstart import load_weights
from radstart.core.errors import RadstartError
from radstart.weights import Wanted, decided, network_of
from radstart.weights.inspecting.inventory import inventory_of
from radstart.weights.reading.files import read_container
from radstart.weights.reading.pickles import asked_globals

TENSORS = {"a.weight": torch.arange(60.0).view(6, 10), "a.bias": torch.ones(6)}


def torch_bytes(folder, zipped, content=None):
    path = folder / "w"
    torch.save(content or TENSORS, path, _use_new_zipfile_serialization=zipped)
    return path.read_bytes()


def header(text):
    return struct.pack("<Q", len(text)) + text + bytes(8)


HOSTILE = {
    "an end without end": header(b'{"a": {"dtype":"F32","shape":[2],"data_offsets":[0,Infinity]}}'),
    "an end of 1e999": header(b'{"a": {"dtype":"F32","shape":[2],"data_offsets":[0,1e999]}}'),
    "a text of 2^60 bytes": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 60) + b"x",
    "an empty stack": b"\x80\x02R.",
    "a name that is none": b"\x80\x04\x93.",
    "marks alone": b"\x80\x02((((t.",
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_bytes_made_to_mislead_are_refused(content, tmp_path):
    """Read, shown or asked what they would call."""
    path = tmp_path / "w.pth"
    path.write_bytes(content)

    with pytest.raises(RadstartError, match=r"not a readable weights file|a name that is"):
        read_container(path)
    with pytest.raises(RadstartError):
        inventory_of(path)
    assert isinstance(asked_globals(path), tuple)


def test_a_torch_zip_with_another_pickle_is_refused(tmp_path):
    """Its length and its list of contents are right."""
    import zipfile

    path = tmp_path / "w.pth"
    for program in (b"\x80\x02R.", HOSTILE["a text of 2^60 bytes"]):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("w/data.pkl", program)
            archive.writestr("w/version", "3\n")
        with pytest.raises(RadstartError):
            read_container(path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["torch zip", "torch legacy", "safetensors"])
def test_a_few_changed_bytes_are_read_or_refused_in_one_line(kind, tmp_path):
    """Whatever torch's reader makes of them."""
    whole = save(TENSORS) if kind == "safetensors" else torch_bytes(tmp_path, kind == "torch zip")
    draw, path = random.Random(7), tmp_path / "w.pth"
    refused = []
    for _ in range(120):
        changed = bytearray(whole)
        for _ in range(draw.randint(1, 10)):
            changed[draw.randrange(min(len(changed), 700))] = draw.randrange(256)
        path.write_bytes(bytes(changed))
        read_container.cache_clear()
        asked_globals(path)
        try:
            read_container(path)
        except RadstartError as error:
            refused.append(str(error))
    assert refused
    assert not any("\n" in line for line in refused)


NO_PLAIN = {
    "sparse": lambda t: t.to_sparse(),
    "meta": lambda t: t.to("meta"),
    "quantised": lambda t: torch.quantize_per_tensor(t, 0.1, 0, torch.qint8),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("change", NO_PLAIN.values(), ids=NO_PLAIN)
def test_tensors_that_are_no_plain_arrays_are_refused(change, tmp_path):
    """By whatever reads the file, before anything is copied."""
    path = tmp_path / "w.pth"
    torch.save({**TENSORS, "a.weight": change(TENSORS["a.weight"])}, path)

    for reader in (read_container, inventory_of):
        with pytest.raises(RadstartError, match=r"a\.weight|pickled code"):
            reader(path)


@pytest.mark.parametrize("dtype", [torch.int8, torch.bool, torch.complex64])
def test_another_kind_of_numbers_is_refused(dtype, weights, tmp_path):
    """torch would copy them, rounded, as truths, or without their imaginary parts."""
    tensors = load_file(weights / "model.safetensors")
    tensors["layer1.0.conv1.weight"] = tensors["layer1.0.conv1.weight"].to(dtype)
    torch.save(tensors, tmp_path / "w.pth")

    with pytest.raises(RadstartError, match=r"layer1.0.conv1.weight is .*, needs float32"):
        load_weights(tmp_path / "w.pth", backbone="test_resnet", image_size=64)


def test_numbers_beyond_float32_are_not_finite(weights, tmp_path):
    """In float64 they are; the network would hold infinity."""
    tensors = load_file(weights / "model.safetensors")
    tensors["layer1.0.conv1.weight"] = tensors["layer1.0.conv1.weight"].double() * 1e300
    save_file(tensors, tmp_path / "w.safetensors")

    with pytest.raises(RadstartError, match="not finite"):
        load_weights(tmp_path / "w.safetensors", backbone="test_resnet", image_size=64)


def test_the_receipt_says_what_is_odd_about_the_values(weights, tmp_path):
    """As `weights show` does: absurd variances, weights at their start."""
    tensors = load_file(weights / "model.safetensors")
    tensors["layer1.0.bn1.running_var"][0] = 1e30
    tensors["layer2.0.bn1.running_var"].zero_()
    tensors["layer1.0.conv2.weight"].zero_()
    tensors["fc.weight"].zero_()  # which is not loaded
    save_file(tensors, tmp_path / "w.safetensors")
    options = {"backbone": "test_resnet", "image_size": 64, "convention": "imagenet"}
    _, _, receipt = load_weights(tmp_path / "w.safetensors", **options)

    notes = [note for note in receipt.notes if "He's normal start" not in note]
    assert len(notes) == 3
    for word in (
        "all values are 0: 1 tensor, the first layer1.0.conv2.weight",
        "a variance above 1e+12: 1 tensor, the first layer1.0.bn1",
        "variances all below 1e-12: the network saw nothing: 1 tensor, the first layer2.0.bn1",
    ):
        assert any(note.startswith(word) for note in notes)


@pytest.mark.parametrize("size", [-5, 0, 1 << 20])
def test_a_size_that_no_image_has_is_refused(size, weights):
    """0 is not "as stated"."""
    with pytest.raises(RadstartError, match=r"--image-size: no size of an image \(got"):
        load_weights(weights, image_size=size)


@pytest.mark.parametrize("stated", [True, False])
def test_a_convention_of_other_channels_is_refused_for_that_reason(stated, weights):
    """Whether the weights state their own input or not; so is a number that no network has."""
    source = weights if stated else weights / "model.safetensors"
    with pytest.raises(RadstartError, match=r"--convention: .*channels .*these weights take 3"):
        load_weights(source, backbone="test_resnet", image_size=64, convention="-1024to1024")
    with pytest.raises(RadstartError, match=r"--channels: no number of channels \(got 2\)"):
        load_weights(source, backbone="test_resnet", image_size=64, channels=2)


def test_what_may_be_partial_is_so_for_every_network_that_is_tried(weights, tmp_path):
    """The detective builds networks of its own; the loader had let the same tensor pass."""
    tensors = load_file(weights / "model.safetensors")
    del tensors["layer1.0.conv1.weight"]
    save_file(tensors, tmp_path / "w.safetensors")
    arm = decided(
        Wanted(
            tmp_path / "w.safetensors", backbone="test_resnet", allow_partial=("layer1.0.conv1.*",)
        )
    )

    first, second = (network_of(arm, arm.backbone).state_dict() for _ in range(2))
    assert torch.equal(first["layer1.0.conv1.weight"], second["layer1.0.conv1.weight"])
    assert torch.equal(first["layer1.0.conv2.weight"], tensors["layer1.0.conv2.weight"])
