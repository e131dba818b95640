"""Keras's files are read as they are meant, and never beyond what they hold."""

import io
import time
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from radstart.core.errors import RadstartError
from radstart.weights.reading.hdf5 import Group, read_tree
from radstart.weights.reading.keras_files import is_keras, read_keras

SHARED = Path(__file__).parents[2].parent / "shared" / "weights"
real = [
    pytest.mark.real,
    pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/weights is absent: NOT TESTED"),
]
KERNEL = np.random.default_rng(0).normal(size=(3, 3, 2, 4)).astype(np.float32)
BIAS = np.arange(4, dtype=np.float32)


def layered(path, datasets, attributes=(), within=""):
    """Write {name: array} below a group, with what makes it Keras's."""
    with h5py.File(path, "w") as file:
        root = file.create_group(within) if within else file
        root.attrs["layer_names"] = np.array([b"conv"])
        for name, value in dict(attributes).items():
            root.attrs[name] = value
        for name, value in datasets.items():
            root[name] = value
    return path


@pytest.fixture
def plain(tmp_path):
    """Return a weight file of two layers as Keras 2 writes it."""
    both = {"conv/conv/kernel:0": KERNEL, "conv/conv/bias:0": BIAS, "norm/norm/beta:0": BIAS}
    said = {"keras_version": "2.4.0", "backend": b"tensorflow"}
    return layered(tmp_path / "plain.h5", both, said)


def as_h5py_reads(path):
    """Return {path of the dataset: array} and {path of the group: names of attributes}."""
    arrays, attributes = {}, {}
    with h5py.File(path) as file:
        attributes[""] = set(file.attrs)

        def note(name, item):
            if isinstance(item, h5py.Dataset):
                arrays[name] = item[()]
            else:
                attributes[name] = set(item.attrs)

        file.visititems(note)
    return arrays, attributes


def as_we_read(path):
    arrays, attributes = {}, {}

    def note(member, place):
        if isinstance(member, Group):
            attributes["/".join(place)] = set(member.attributes)
            for name, inner in member.members.items():
                note(inner, (*place, name))
        else:
            arrays["/".join(place)] = member

    note(read_tree(np.fromfile(path, np.uint8), str(path)), ())
    return arrays, attributes


def assert_same(path):
    ours, theirs = as_we_read(path), as_h5py_reads(path)
    assert ours[1] == theirs[1]
    assert list(ours[0]) == list(theirs[0])
    for name, values in theirs[0].items():
        assert ours[0][name].dtype == np.asarray(values).dtype
        np.testing.assert_array_equal(ours[0][name], values)


def test_a_tree_is_read_as_h5py_reads_it(tmp_path):
    """Hundreds of members, every kind of number, empty and scalar arrays, long names."""
    kinds = ["<f4", ">f4", "<f2", ">f8", "<i4", ">i8", "u1", "<u2", "i1", "<u8"]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for k in range(700):  # more than one node of the tree of names
            file[f"group_{k % 30}/inner/array_{k}"] = np.arange(k % 5).astype(kinds[k % 10])
        file["scalar"] = np.float32(3.5)
        file["n" * 200] = np.zeros((2, 0, 3))
        file["deep"] = KERNEL
        for k in range(40):  # headers that go on elsewhere
            file.attrs[f"note {k}"] = f"é{k}" * 20
        compact = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        compact.set_layout(h5py.h5d.COMPACT)
        space = h5py.h5s.create_simple((3,))
        data = h5py.h5d.create(file.id, b"compact", h5py.h5t.NATIVE_FLOAT, space, compact)
        data.write(h5py.h5s.ALL, h5py.h5s.ALL, np.arange(3, dtype=np.float32))

    assert_same(tmp_path / "a.h5")
    tree = read_tree(np.fromfile(tmp_path / "a.h5", np.uint8), "a.h5")
    assert tree.attributes["note 7"] == "é7" * 20
    assert len(tree.members) == 30 + 4


@pytest.mark.parametrize("mark", [pytest.param(None, marks=real)])
def test_the_real_file_is_read_as_h5py_reads_it(mark):
    """A file of Keras 2.0.4."""
    path = SHARED / "mobilenetv1_025_imagenet_keras_notop" / "mobilenet_2_5_224_tf_no_top.h5"
    found = read_keras(path)

    assert_same(path)
    assert len(found.tensors) == 135
    assert (found.path, found.version, found.beside) == ("", "Keras 2.0.4, tensorflow", ())
    assert found.tensors["conv_dw_10/depthwise_kernel"].shape == (3, 3, 128, 1)


def test_a_keras_2_file_by_layer_and_weight(plain):
    """The repeated layer and ":0" go; the values are the file's, in one piece of memory."""
    found = read_keras(plain)

    assert sorted(found.tensors) == ["conv/bias", "conv/kernel", "norm/beta"]
    assert torch.equal(found.tensors["conv/kernel"], torch.from_numpy(KERNEL))
    assert torch.equal(found.tensors["norm/beta"], torch.from_numpy(BIAS))
    assert found.version == "Keras 2.4.0, tensorflow"
    places = [tensor.data_ptr() for tensor in found.tensors.values()]
    assert max(places) - min(places) < plain.stat().st_size
    found.tensors["conv/bias"].add_(1)  # of its own memory, not of the file's
    assert torch.equal(read_keras(plain).tensors["conv/bias"], torch.from_numpy(BIAS))


def test_a_whole_model_without_its_optimizer(tmp_path):
    """`model_weights` is taken; what stands beside it is named."""
    path = layered(tmp_path / "a.h5", {"conv/conv/kernel:0": KERNEL}, within="model_weights")
    with h5py.File(path, "a") as file:
        file["optimizer_weights/adam/conv_kernel"] = KERNEL

    found = read_keras(path)
    assert sorted(found.tensors) == ["conv/kernel"]
    assert (found.path, found.beside) == ("model_weights", ("optimizer_weights",))


@pytest.mark.parametrize(
    ("stored", "meant"),
    [
        ("conv/conv_1/kernel:0", "conv/kernel"),  # built a second time in one process
        ("conv/sequential/conv/kernel", "conv/kernel"),  # Keras 3's whole models
        ("net/conv1_conv/kernel:0", "conv1_conv/kernel"),  # a model inside the model
        ("block1_conv1/block1_conv1_W_1:0", "block1_conv1/kernel"),  # Keras 1
        ("bn_conv1/bn_conv1_running_std:0", "bn_conv1/moving_variance"),
        ("conv/kernel:0", "conv/kernel"),
        ("conv/odd_name:0", "conv/odd_name"),
    ],
)
def test_names_of_other_versions(tmp_path, stored, meant):
    """A scope may carry a number, layers may stand inside a model, Keras 1 has other names."""
    path = layered(tmp_path / "a.h5", {stored: KERNEL})
    assert list(read_keras(path).tensors) == [meant]


def test_layers_inside_a_model_keep_their_own_names(tmp_path):
    """As where a backbone is one layer of a model with a head."""
    names = ["net/conv1_conv/kernel:0", "net/conv1_bn/beta:0", "dense/dense/kernel:0"]
    path = layered(tmp_path / "a.h5", dict.fromkeys(names, BIAS))
    assert set(read_keras(path).tensors) == {"conv1_conv/kernel", "conv1_bn/beta", "dense/kernel"}


def test_two_layers_of_one_name_are_refused(tmp_path):
    """Two backbones in one model: neither is preferred."""
    path = layered(
        tmp_path / "a.h5", dict.fromkeys(["one/conv/kernel:0", "two/conv/kernel:0"], 1.0)
    )
    with pytest.raises(RadstartError, match=r"a\.h5: several layers of one name .got conv/kernel"):
        read_keras(path)


def keras3(path, classes, named=True):
    """Write layers by class as Keras 3 does: {class_N: (layer, [arrays])}."""
    with h5py.File(path, "w") as file:
        for group, (layer, arrays) in classes.items():
            inner = file.create_group(f"layers/{group}/vars")
            if named:
                inner.attrs["name"] = layer
            for k, values in enumerate(arrays):
                inner[str(k)] = values
        file.create_group("vars").attrs["name"] = "model"
    return path


LAYERS = {
    "conv2d_3": ("stem_conv", [KERNEL, BIAS]),
    "depthwise_conv2d": ("dw", [KERNEL]),
    "batch_normalization": ("bn", [BIAS, BIAS + 1, BIAS + 2, BIAS + 3]),
    "batch_normalization_1": ("bn_1", [BIAS, BIAS + 1, BIAS + 2]),
    "functional/layers/dense": ("head", [KERNEL[0, 0], BIAS]),
}


def test_a_keras_3_file_by_the_names_beside_its_numbers(tmp_path):
    """Numbers become names where nothing can be missing between them, and stay where it can."""
    found = read_keras(keras3(tmp_path / "a.weights.h5", LAYERS))

    assert sorted(found.tensors) == [
        *("bn/beta", "bn/gamma", "bn/moving_mean", "bn/moving_variance"),
        *("bn_1/0", "bn_1/1", "bn_1/2"),
        *("dw/kernel", "head/bias", "head/kernel", "stem_conv/bias", "stem_conv/kernel"),
    ]
    assert torch.equal(found.tensors["bn/moving_variance"], torch.from_numpy(BIAS + 3))
    assert (found.path, found.version) == ("layers", "Keras 3")


def test_a_keras_3_file_without_names_is_refused(tmp_path):
    """Older versions of Keras 3 number all layers of a class."""
    path = keras3(tmp_path / "a.weights.h5", LAYERS, named=False)
    with pytest.raises(RadstartError, match=r"does not name its layers .*model\.save"):
        read_keras(path)


def archive(path, blob, kind=zipfile.ZIP_STORED, name="model.weights.h5"):
    with zipfile.ZipFile(path, "w", kind) as file:
        file.writestr("config.json", "{}")
        file.writestr(name, blob)
    return path


def test_a_keras_archive(tmp_path):
    """The HDF5 file inside is read as it stands there; other archives are not Keras's."""
    blob = keras3(tmp_path / "a.weights.h5", LAYERS).read_bytes()
    path = archive(tmp_path / "a.keras", blob)

    assert is_keras(path)
    plain, packed = read_keras(tmp_path / "a.weights.h5"), read_keras(path)
    assert packed.tensors.keys() == plain.tensors.keys()
    assert all(torch.equal(packed.tensors[k], plain.tensors[k]) for k in plain.tensors)
    assert not is_keras(archive(tmp_path / "b.zip", blob, name="other.h5"))
    assert is_keras(tmp_path / "a.weights.h5")


def soft(file, folder):
    file["conv/conv/kernel:0"] = h5py.SoftLink("/elsewhere")


def external(file, folder):
    with h5py.File(folder / "other.h5", "w") as other:
        other["x"] = KERNEL
    file["conv/conv/kernel:0"] = h5py.ExternalLink("other.h5", "x")


def raw_file(file, folder):
    (folder / "secret").write_bytes(bytes(16))
    here = [(str(folder / "secret"), 0, 16)]
    file.create_dataset("conv/conv/kernel:0", (4,), np.float32, external=here)


def virtual(file, folder):
    layout = h5py.VirtualLayout((4,), np.float32)
    layout[:] = h5py.VirtualSource("other.h5", "x", (4,))
    file.create_virtual_dataset("conv/conv/kernel:0", layout)


def never_written(file, folder):
    file.create_dataset("conv/conv/kernel:0", (2**20, 2**20), np.float32)


def chunks_never_written(file, folder):
    file.create_dataset("conv/conv/kernel:0", (2**20, 2**20), np.float32, chunks=(64, 64))


def compressed(file, folder):
    file.create_dataset("conv/conv/kernel:0", data=np.zeros(10**6), compression="gzip")


def references(file, folder):
    file.create_dataset("conv/conv/kernel:0", data=file.ref, dtype=h5py.ref_dtype)


def texts(file, folder):
    file.create_dataset("conv/conv/kernel:0", data=["a", "b"])


def compound(file, folder):
    file["conv/conv/kernel:0"] = np.zeros(3, [("a", "f4"), ("b", "f4")])


def odd_floats(file, folder):
    kind = h5py.h5t.IEEE_F32LE.copy()
    kind.set_ebias(100)
    data = h5py.h5d.create(
        file.create_group("conv").id, b"kernel:0", kind, h5py.h5s.create_simple((4,))
    )
    data.write(h5py.h5s.ALL, h5py.h5s.ALL, np.ones(4, np.float32))


def no_array(file, folder):
    file.create_dataset("conv/conv/kernel:0", data=h5py.Empty("f4"))


def named_type(file, folder):
    file["conv/conv/kernel:0"] = np.dtype("f4")


def cycle(file, folder):
    group = file.create_group("conv")
    group["conv"] = group


def twice(file, folder):
    file["conv/conv/kernel:0"] = KERNEL
    file["other/other/kernel:0"] = file["conv/conv/kernel:0"]


def deep(file, folder):
    file["/".join(["g"] * 40)] = KERNEL


def theano(file, folder):
    file.attrs["backend"] = "theano"
    file["conv/conv/kernel:0"] = KERNEL


def array_for_a_layer(file, folder):
    file["conv"] = KERNEL


def empty(file, folder):
    file.create_group("conv")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (soft, "links to another place"),
        (external, "newer generation|links to another place"),
        (raw_file, "keeps its numbers in other files"),
        (virtual, "in one piece|newer generation"),
        (never_written, "declares more numbers than it holds .*1048576 x 1048576"),
        (chunks_never_written, "in one piece"),
        (compressed, "compressed numbers"),
        (references, "something other than numbers"),
        (texts, "something other than numbers"),
        (compound, "something other than numbers"),
        (odd_floats, "something other than numbers"),
        (no_array, "in one piece"),
        (named_type, "neither a group nor an array"),
        (cycle, "two ways to byte"),
        (twice, "two ways to byte"),
        (deep, "groups too deep"),
        (theano, "Theano's kernels are rotated"),
        (array_for_a_layer, "not a layout of Keras's"),
        (empty, "no weights in it"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_is_not_plainly_there_is_refused(tmp_path, make, said):
    """One line, at once, and nothing of what the file claims is allocated or opened."""
    path = tmp_path / "hostile.h5"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = np.array([b"conv"])
        make(file, tmp_path)

    began = time.perf_counter()
    with pytest.raises(RadstartError, match=rf"hostile\.h5: .*({said})") as caught:
        read_keras(path)
    assert time.perf_counter() - began < 5
    assert "\n" not in str(caught.value)


def test_arrays_that_share_their_bytes_are_refused(tmp_path):
    """Many names for one array would grow by conversion: big-endian numbers are copied."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = np.array([b"conv"])
        for k in range(40):
            file[f"c{k}/c{k}/kernel:0"] = np.arange(5000, dtype=">f4") if not k else np.zeros(2)
        first = file["c0/c0/kernel:0"].id.get_offset()
    blob = path.read_bytes()
    with h5py.File(path) as file:
        places = [file[f"c{k}/c{k}/kernel:0"].id.get_offset() for k in range(1, 40)]
    for at in places:  # each small one's header is led to the large one's numbers
        own, there = at.to_bytes(8, "little"), first.to_bytes(8, "little")
        blob = blob.replace(own + (16).to_bytes(8, "little"), there + (20000).to_bytes(8, "little"))
    shape, large = ((n).to_bytes(8, "little") * 2 for n in (2, 2500))
    assert blob.count(b"\x01\x01\x01" + bytes(5) + shape) == 39
    blob = blob.replace(b"\x01\x01\x01" + bytes(5) + shape, b"\x01\x01\x01" + bytes(5) + large)
    path.write_bytes(blob)
    with pytest.raises(RadstartError, match="declares more numbers than the file can hold"):
        read_keras(path)


def test_files_of_newer_generations_are_refused(tmp_path):
    """With the remedy."""
    with h5py.File(tmp_path / "a.h5", "w", libver="latest") as file:
        file["conv/conv/kernel:0"] = KERNEL
    with pytest.raises(RadstartError, match=r"newer generation .*load it in Keras and save it"):
        read_keras(tmp_path / "a.h5")


@pytest.mark.parametrize("blob", [b"", b"PK\x03\x04 no", b"\x89HDF\r\n\x1a\n", b"text" * 100])
def test_what_is_no_keras_file_is_refused(tmp_path, blob):
    """In one line, with the file's name; folders and absent files too."""
    (tmp_path / "a.h5").write_bytes(blob)
    for path in (tmp_path / "a.h5", tmp_path, tmp_path / "absent.h5"):
        with pytest.raises(RadstartError, match=path.name) as caught:
            read_keras(path)
        assert "\n" not in str(caught.value)


def test_other_hdf5_files_are_refused(tmp_path):
    """Tables, images: not Keras's."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["table"] = np.zeros(3)
    with pytest.raises(RadstartError, match=r"no weights of Keras's .got groups table"):
        read_keras(tmp_path / "a.h5")


@pytest.mark.parametrize("share", [0.999, 0.9, 0.5, 0.1, 0.01])
def test_a_file_that_is_cut_short_is_refused(plain, share):
    """Its header says how long it is."""
    blob = plain.read_bytes()
    plain.write_bytes(blob[: int(len(blob) * share)])
    with pytest.raises(RadstartError, match=r"cut short|damaged"):
        read_keras(plain)


def test_archives_that_lie_are_refused(tmp_path):
    """Compressed members are not unpacked, whatever they would become."""
    bomb = archive(tmp_path / "bomb.keras", bytes(10**7), zipfile.ZIP_DEFLATED)
    with pytest.raises(RadstartError, match="compressed weights in this archive"):
        read_keras(bomb)

    inner = io.BytesIO()
    with h5py.File(inner, "w") as file:
        file.create_group("layers")
    blob = bytearray(archive(tmp_path / "a.keras", inner.getvalue()).read_bytes())
    at = blob.find(inner.getvalue()[:64])
    blob[at + 200] ^= 255
    (tmp_path / "a.keras").write_bytes(blob)
    with pytest.raises(RadstartError, match=r"a\.keras: damaged archive"):
        read_keras(tmp_path / "a.keras")


def damaged(blob, seed):
    """Return the bytes with up to five of them changed, mostly in headers, sometimes cut."""
    draw = np.random.default_rng(seed)
    changed = bytearray(blob)
    for _ in range(int(draw.integers(1, 6))):
        at = int(draw.integers(0, len(blob) if draw.random() < 0.3 else 6000))
        changed[at] = int(draw.choice([0, 1, 255, draw.integers(0, 256)]))
    return changed[: int(draw.integers(1, len(blob)))] if draw.random() < 0.1 else changed


@pytest.mark.parametrize("kind", ["keras2", "keras3"])
def test_damaged_files_give_tensors_or_one_error(tmp_path, plain, kind):
    """None escapes as another error, hangs, or holds more than its bytes."""
    keras3(tmp_path / "a.weights.h5", LAYERS)
    blob = (plain if kind == "keras2" else tmp_path / "a.weights.h5").read_bytes()
    path, refused, longest = tmp_path / "damaged.h5", 0, 0
    for seed in range(150):
        path.write_bytes(damaged(blob, seed))
        began = time.perf_counter()
        try:
            tensors = read_keras(path).tensors
        except RadstartError as error:
            refused += 1
            longest = max(longest, len(str(error)))
        else:
            assert sum(t.numel() * t.element_size() for t in tensors.values()) <= len(blob)
        assert time.perf_counter() - began < 5
    assert 10 < refused < 140
    assert longest < 3000
