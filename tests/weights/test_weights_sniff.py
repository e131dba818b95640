"""A file is what its bytes are, whatever it is called; where it states its end, that is held."""

import gzip
import io
import pickle
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from radstart.core.errors import RadstartError
from radstart.weights.reading.sniff import damage_of, kind_of

SHARED = Path(__file__).parents[2].parent / "shared" / "weights"
TENSORS = {"a.weight": torch.arange(600.0), "a.bias": torch.ones(3)}


def tar_of(file):
    with tarfile.open(file, "w") as archive:
        entry = tarfile.TarInfo("a.pth")
        entry.size = 5
        archive.addfile(entry, io.BytesIO(b"12345"))


def script(file):
    """Write what torch.jit.save does, as far as its names go."""
    with zipfile.ZipFile(file, "w") as archive:
        for name in ("net/data.pkl", "net/code/a.py", "net/constants.pkl", "net/version"):
            archive.writestr(name, "1")


def plain_zip(file):
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("deep/er/data.pkl", "1")


def hdf5(version, stated, user=0):
    """Return the superblock of an HDF5 file that says that it ends at `stated`."""
    head = b"\x89HDF\r\n\x1a\n" + bytes([version])
    if version < 2:
        head += bytes([0, 0, 0, 0, 8, 8, 0]) + struct.pack("<HHI", 4, 16, 0)
        head += bytes(4) if version else b""
    else:
        head += bytes([8, 8, 0])
    head += struct.pack("<QQQQ", 0, 2**64 - 1, stated, 2**64 - 1)
    return bytes(user) + head + bytes(stated - len(head))


WRITTEN = {
    "empty": lambda f: f.write_bytes(b""),
    "safetensors": lambda f: save_file(TENSORS, f),
    "torch zip": lambda f: torch.save(TENSORS, f),
    "torch legacy": lambda f: torch.save(TENSORS, f, _use_new_zipfile_serialization=False),
    "torchscript": script,
    "pickle": lambda f: f.write_bytes(pickle.dumps({"a": np.ones(3)})),
    "numpy npz": lambda f: f.write_bytes(npz()),
    "zip": plain_zip,
    "tar": tar_of,
    "gzip": lambda f: f.write_bytes(gzip.compress(b"1")),
    "hdf5": lambda f: f.write_bytes(hdf5(0, 900)),
    "tflite": lambda f: f.write_bytes(b"\x1c\0\0\0TFL3" + bytes(50)),
    "onnx": lambda f: f.write_bytes(b"\x08\x08\x12\x07pytorch\x1a\x052.9.0"),
    "html": lambda f: f.write_bytes(b"\xef\xbb\xbf \n<!-- x -->\n<!DOCTYPE HTML><html><head>"),
    "lfs pointer": lambda f: f.write_bytes(
        b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 3\n"
    ),
    "unknown": lambda f: f.write_bytes(bytes(range(100, 250)) * 9),
}


def npz():
    buffer = io.BytesIO()
    np.savez(buffer, a=np.ones(3), b=np.ones(2))
    return buffer.getvalue()


@pytest.mark.parametrize("kind", WRITTEN)
@pytest.mark.parametrize("name", ["w.pth", "w.tar", "w.safetensors", "w"])
def test_the_bytes_say_what_a_file_is_and_its_name_does_not(tmp_path, kind, name):
    """Each kind, as its own writer makes it, under four names."""
    path = tmp_path / name
    WRITTEN[kind](path)

    assert kind_of(path) == kind


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_legacy_torch_files_of_every_protocol_are_told_from_other_pickles(tmp_path, protocol):
    """Torch's magic number is what tells them."""
    torch.save(
        TENSORS,
        tmp_path / "a",
        pickle_protocol=protocol,
        _use_new_zipfile_serialization=False,
    )
    (tmp_path / "b").write_bytes(pickle.dumps([1], protocol=protocol))

    assert kind_of(tmp_path / "a") == "torch legacy"
    assert kind_of(tmp_path / "b") == "pickle"


@pytest.mark.parametrize("version", [0, 1, 2, 3])
def test_an_hdf5_file_that_ends_early_is_damaged(tmp_path, version):
    """Its superblock states where it ends, in each of the four layouts."""
    path = tmp_path / "w.h5"
    path.write_bytes(hdf5(version, 900))
    assert (kind_of(path), damage_of(path)) == ("hdf5", "")

    path.write_bytes(hdf5(version, 900)[:899])
    assert damage_of(path) == "899 bytes where its hdf5 header states 900"

    path.write_bytes(hdf5(version, 900)[:20])
    assert damage_of(path) == "the hdf5 header is damaged"

    path.write_bytes(hdf5(version, 900, user=512))
    assert kind_of(path) == "hdf5"


@pytest.mark.parametrize("kind", ["safetensors", "torch zip", "torchscript", "numpy npz", "zip"])
def test_what_states_its_own_end_is_whole_or_damaged(tmp_path, kind):
    """Whole: nothing is said. Cut by one byte, in the middle, behind its head: each is found."""
    path = tmp_path / "w"
    WRITTEN[kind](path)
    whole = path.read_bytes()
    assert damage_of(path) == ""

    for length in (len(whole) - 1, len(whole) // 2, 40):
        path.write_bytes(whole[:length])
        assert damage_of(path) != ""


def test_a_safetensors_file_has_nothing_behind_its_end_and_a_header_that_can_be_read(tmp_path):
    """The format forbids bytes that no tensor owns."""
    path = tmp_path / "w"
    save_file(TENSORS, path)
    whole = path.read_bytes()
    path.write_bytes(whole + b"x")
    assert damage_of(path) == (
        f"{len(whole) + 1} bytes where its safetensors header states {len(whole)}"
    )

    path.write_bytes(struct.pack("<Q", 9) + b'{"a":{}} ' + bytes(10))
    assert damage_of(path) == "the safetensors header is damaged"

    path.write_bytes(struct.pack("<Q", 9) + b"{" + b"[" * 8)
    assert damage_of(path) == "the safetensors header is damaged"


def test_formats_that_state_no_end_are_not_judged(tmp_path):
    """Nothing is claimed of them; an empty file is damaged in every format."""
    (tmp_path / "a").write_bytes(b"\x80\x02]q\x00.")
    (tmp_path / "b").write_bytes(b"")

    assert damage_of(tmp_path / "a") == ""
    assert damage_of(tmp_path / "b") == "an empty file"


def test_what_cannot_be_read_is_one_line(tmp_path):
    """A folder, and nothing at all."""
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(RadstartError, match="cannot read"):
            kind_of(path)


@pytest.mark.real
@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/weights is absent: NOT TESTED")
def test_the_real_files_are_what_their_sources_say():
    """A legacy pickle called .tar and .th, torch zips, safetensors, HDF5, TFLite."""
    known = {
        "mobilenetV1X0.25_pretrain.tar": "torch legacy",
        "resnet20-12fca82f.th": "torch legacy",
        "torch_model.pt": "torch zip",
        "torch_model_male.pt": "torch zip",
        "mobilenet_2_5_224_tf_no_top.h5": "hdf5",
    }
    found = {path.name: path for path in SHARED.rglob("*") if path.is_file()}

    for name, kind in known.items():
        assert kind_of(found[name]) == kind
    for path in found.values():
        assert damage_of(path) == ""
        if path.suffix == ".tflite":
            assert kind_of(path) == "tflite"
        if path.suffix == ".safetensors":
            assert kind_of(path) == "safetensors"
