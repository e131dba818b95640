"""NumPy's files: what numpy.save wrote comes back, and nothing else is believed."""

import io
import pickle
import struct
import zipfile
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radstart.ingest.frames import Unreadable
from radstart.ingest.readers import arrays

RNG = np.random.default_rng(5)


def read(path, which=None):
    scan = arrays.scan(path)
    return scan, list(arrays.frames(path, range(scan.images) if which is None else which))


def saved(folder, array, name="x.npy", **options):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    np.save(folder / name, array, **options)
    return folder / name


def header(shape, descr="|u1", fortran=False, version=1):
    text = f"{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}"
    text = text.ljust(117) + "\n"
    size = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + size + text.encode()


# -- NPY -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2", "<i2", "<i4", "<i8", "<f4", ">f8", "<f2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_images_and_stacks(tmp_path, dtype, order):
    stack = np.asarray(RNG.integers(0, 99, (4, 5, 6)).astype(dtype), order=order)
    scan, frames = read(saved(tmp_path, stack))
    assert (scan.reader, scan.images, scan.volume) == ("arrays", 4, True)
    assert (scan.tags["rows"], scan.tags["cols"]) == (5, 6)
    assert all(
        np.array_equal(frame.values, plane) for frame, plane in zip(frames, stack, strict=True)
    )
    assert frames[0].values.dtype.isnative
    assert frames[0].values.dtype.kind == np.dtype(dtype).kind
    assert frames[0].values.dtype != np.float64
    assert np.array_equal(np.sort(frames[1].sample), np.sort(stack.ravel()))
    low, high = frames[2].limits
    assert low <= stack.min()
    assert stack.max() <= high
    scan, (frame,) = read(saved(tmp_path, stack[0]))
    assert not scan.volume
    assert frame.sample is None
    assert np.array_equal(frame.values, stack[0])


def test_colours_bits_alpha_and_several_volumes(tmp_path):
    rgb = RNG.integers(0, 256, (7, 8, 3), dtype=np.uint8)
    assert np.array_equal(read(saved(tmp_path, rgb))[1][0].values, rgb)
    rgba = RNG.integers(0, 256, (2, 7, 8, 4), dtype=np.uint8)
    frames = read(saved(tmp_path, rgba))[1]
    assert np.array_equal(frames[1].values, rgba[1, ..., :3])
    assert frames[1].steps == ("alpha dropped",)
    bits = RNG.random((7, 8)) < 0.5
    frame = read(saved(tmp_path, bits))[1][0]
    assert np.array_equal(frame.values, bits * 255)
    volumes = RNG.integers(0, 9, (2, 3, 4, 5)).astype(np.int16)
    scan, frames = read(saved(tmp_path, volumes))
    assert (scan.images, scan.volume) == (6, False)
    assert scan.each["series"] == ["0", "0", "0", "1", "1", "1"]
    assert scan.each["instance"] == [0, 1, 2, 0, 1, 2]
    assert np.array_equal(frames[4].values, volumes[1, 1])
    grey = RNG.integers(0, 9, (3, 7, 8, 1)).astype(np.uint8)
    assert np.array_equal(read(saved(tmp_path, grey))[1][2].values, grey[2, ..., 0])


def test_exam_volumes_of_mrnet(tmp_path):
    stack = RNG.integers(0, 256, (9, 16, 16), dtype=np.uint8)
    path = saved(tmp_path, stack, "valid/sagittal/1130.npy")
    scan, frames = read(path, [8, 3])
    assert scan.volume
    assert scan.tags["exam"] == "1130"
    assert scan.tags["view"] == "sagittal"
    assert scan.tags["split"] == "validation"
    assert [frame.index for frame in frames] == [8, 3]
    assert np.array_equal(frames[0].values, stack[8])
    assert frames[0].limits == (0, 255)
    assert "split" not in arrays.scan(saved(tmp_path, stack, "mri/axial/7.npy")).tags
    assert "exam" not in arrays.scan(saved(tmp_path, stack, "train/7.npy")).tags


# -- NPZ -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("colours", [False, True])
def test_medmnist(tmp_path, save, colours):
    shape = (28, 28, 3) if colours else (28, 28)
    images = {
        p: RNG.integers(0, 256, (n, *shape), dtype=np.uint8)
        for p, n in (("train", 7), ("val", 3), ("test", 4))
    }
    labels = {p: RNG.integers(0, 9, (len(part), 1)) for p, part in images.items()}
    held = {f"{p}_images": part for p, part in images.items()}
    held |= {f"{p}_labels": part for p, part in labels.items()}
    save(tmp_path / "x.npz", **held)
    scan, frames = read(tmp_path / "x.npz")
    assert (scan.images, scan.volume, scan.tags["rows"]) == (14, False, 28)
    assert scan.each["split"] == ["train"] * 7 + ["validation"] * 3 + ["test"] * 4
    assert scan.each["label"] == [str(v) for v in np.concatenate([*labels.values()]).ravel()]
    whole = np.concatenate([*images.values()])
    assert all(
        np.array_equal(frame.values, image) for frame, image in zip(frames, whole, strict=True)
    )
    some = read(tmp_path / "x.npz", [2, 5, 9, 8, 13, 0])[1]
    assert [frame.index for frame in some] == [2, 5, 9, 8, 13, 0]
    assert all(np.array_equal(frame.values, whole[frame.index]) for frame in some)
    with pytest.raises(Unreadable, match="fewer"):
        read(tmp_path / "x.npz", [14])


def test_medmnist_with_findings_volumes_and_other_names(tmp_path):
    images, findings = RNG.integers(0, 256, (5, 9, 9), dtype=np.uint8), RNG.integers(0, 2, (5, 3))
    np.savez(tmp_path / "m.npz", train_images=images, train_labels=findings)
    scan = arrays.scan(tmp_path / "m.npz")
    assert scan.each["findings"] == [tuple(map(float, row)) for row in findings.tolist()]
    volumes = RNG.integers(0, 256, (2, 4, 6, 5), dtype=np.uint8)
    np.savez(tmp_path / "v.npz", test_images=volumes, test_labels=np.array([[7], [8]]))
    scan, frames = read(tmp_path / "v.npz")
    assert scan.each["label"] == ["7"] * 4 + ["8"] * 4
    assert scan.each["series"] == ["0"] * 4 + ["1"] * 4
    assert np.array_equal(frames[5].values, volumes[1, 1])
    np.savez(tmp_path / "i.npz", images=images, labels=np.arange(5))
    scan = arrays.scan(tmp_path / "i.npz")
    assert scan.each == {"label": ["0", "1", "2", "3", "4"]}
    np.savez(tmp_path / "one.npz", anything=np.asfortranarray(images))
    assert np.array_equal(read(tmp_path / "one.npz")[1][3].values, images[3])
    np.savez(tmp_path / "two.npz", a=images, b=images)
    with pytest.raises(Unreadable, match="names say nothing"):
        read(tmp_path / "two.npz")
    np.savez(tmp_path / "l.npz", train_images=images, train_labels=np.arange(4))
    with pytest.raises(Unreadable, match="as many labels"):
        read(tmp_path / "l.npz")


# -- broken, and worse -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (header("(60000, 60000)"), "claims"),
        (header("(5, 600, 600)"), "shorter"),
        (header("(99999999999999999999999, 2, 2)"), "claims"),
        (header("(0, 5)"), "without pixels"),
        (header("(5,)"), "dimensions"),
        (header("()"), "dimensions"),
        (header("(1, 2, 3, 4, 5, 6)"), "dimensions"),
        (header("(2, 2)", "|O"), "no plain numbers"),
        (header("(2, 2)", "|O8"), "no plain numbers"),
        (header("(2, 2)", "<c8"), "no plain numbers"),
        (header("(2, 2)", "<U4"), "no plain numbers"),
        (header("(2, 2)", "<M8[s]"), "no plain numbers"),
        (header("(2, 2)", "<f16"), "no plain numbers"),
        (header("__import__('os')"), "no plain numbers"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + b" " * 100, "header"),
        (b"\x93NUMPY\x01\x00\x76\x00", "no array"),
        (b"\x93NUMPY", "no array|header"),
        (b"something", "no array"),
        (b"", "empty"),
        (b"PK\x03\x04nothing", "archive"),
    ],
)
def test_claims_are_checked_before_anything_is_read(tmp_path, content, reason):
    path = tmp_path / "x.npy"
    path.write_bytes(content)
    with pytest.raises(Unreadable, match=reason):
        read(path)


def test_nothing_is_unpickled(tmp_path):
    class Bad:
        def __reduce__(self):
            return (exec, ("raise SystemExit('unpickled')",))

    path = saved(tmp_path, np.array([[Bad()]], object), allow_pickle=True)
    with pytest.raises(Unreadable, match="no plain numbers"):
        read(path)
    np.savez(tmp_path / "x.npz", train_images=np.array([[[Bad()]]], object))
    with pytest.raises(Unreadable, match="no plain numbers"):
        read(tmp_path / "x.npz")
    images = np.zeros((1, 2, 2), np.uint8)
    np.savez(tmp_path / "y.npz", train_images=images, train_labels=np.array([Bad()], object))
    with pytest.raises(Unreadable, match="no plain numbers"):
        read(tmp_path / "y.npz")
    path.write_bytes(pickle.dumps(Bad()))
    with pytest.raises(Unreadable, match="no array"):
        read(path)


def zipped(path, entries, **options):
    with zipfile.ZipFile(path, "w", **{"compression": zipfile.ZIP_DEFLATED, **options}) as file:
        for name, content in entries.items():
            file.writestr(name, content)
    return path


def test_zip_bombs(tmp_path):
    path = tmp_path / "x.npz"
    # a header that claims less, or more, than the entry unpacks to
    for shape in ("(9, 28, 28)", "(90000, 280, 280)"):
        zipped(path, {"train_images.npy": header(shape) + bytes(1 << 24)})
        with pytest.raises(Unreadable, match=r"not as long|claims"):
            read(path)
    # a directory that claims more than deflate can pack
    zipped(path, {"train_images.npy": header("(30, 28, 28)") + bytes(30 * 784)})
    raw = bytearray(path.read_bytes())
    at = raw.rfind(b"PK\x01\x02")
    raw[at + 24 : at + 28] = struct.pack("<I", 2**31)
    path.write_bytes(raw)
    with pytest.raises(Unreadable, match="hold"):
        read(path)
    zipped(path, {f"{i}.npy": b"" for i in range(1001)})
    with pytest.raises(Unreadable, match="no arrays"):
        read(path)
    zipped(path, {"x.npy": header("(2, 2)") + bytes(4)}, compression=zipfile.ZIP_LZMA)
    with pytest.raises(Unreadable, match="packed in a way"):
        read(path)
    zipped(path, {"readme.txt": b"hello"})
    with pytest.raises(Unreadable, match="names say nothing"):
        read(path)


def test_a_large_npz_is_read_an_image_at_a_time(tmp_path):
    import tracemalloc

    images = np.zeros((400, 300, 300), np.uint8)
    images[:, 0, 0] = np.arange(400) % 256
    np.savez_compressed(tmp_path / "x.npz", train_images=images)
    tracemalloc.start()
    seen = [frame.values[0, 0] for frame in arrays.frames(tmp_path / "x.npz", range(0, 400, 40))]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seen == [i % 256 for i in range(0, 400, 40)]
    assert peak < 12e6  # of 36 million bytes


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    path = tmp_path_factory.mktemp("small") / "fuzzed"
    stack = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    npy, npz, packed = io.BytesIO(), io.BytesIO(), io.BytesIO()
    np.save(npy, stack)
    np.savez(npz, train_images=stack, train_labels=np.arange(3))
    np.savez_compressed(packed, train_images=stack, train_labels=np.arange(3))
    return path, [npy.getvalue(), npz.getvalue(), packed.getvalue()]


@settings(deadline=None, max_examples=250)
@given(st.integers(0, 2), st.floats(0, 1), st.binary(min_size=1, max_size=9), st.booleans())
def test_broken_files_never_escape(small, which, where, garbage, cut):
    path, contents = small
    content = contents[which]
    at = int(where * len(content))
    path.write_bytes(content[:at] if cut else content[:at] + garbage + content[at + 4 :])
    with suppress(Unreadable):
        for frame in read(path)[1]:
            assert frame.values.ndim in (2, 3)
