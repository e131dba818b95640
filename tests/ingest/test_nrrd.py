"""NRRD and MetaImage: every pixel stands where the header says; pynrrd writes NRRD."""

import gzip
import os
import re
import zlib
from contextlib import suppress

import nrrd as pynrrd
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radstart.ingest.frames import Unreadable
from radstart.ingest.readers import nrrd

RNG = np.random.default_rng(4)
TURN = {
    "left-posterior-superior": (1, 1, 1),
    "RAS": (-1, -1, 1),
    "left-anterior-superior": (1, -1, 1),
}
OBLIQUE = np.array([[0.9, 0.05, 0.1], [-0.06, 1.1, 0.2], [-0.1, -0.3, 3.0]])  # columns: i, j, k


def read(path):
    scan = nrrd.scan(path)
    return scan, list(nrrd.frames(path, range(scan.images)))


def proved(path, voxels, affine):
    """Compare every pixel with the voxel at the same millimetre: affine to left, back, top."""
    scan, frames = read(path)
    back = np.linalg.inv(affine)
    right, down = np.array(scan.tags["orientation"]).reshape(2, 3)
    seen = 0
    for frame in frames:
        height, width = frame.values.shape[:2]
        r, c = np.mgrid[:height, :width]
        mm = np.array(scan.each["position"][frame.index])[:, None, None]
        mm = mm + down[:, None, None] * r * scan.tags["spacing"][0]
        mm = mm + right[:, None, None] * c * scan.tags["spacing"][1]
        ijk = np.einsum("ij,jhw->ihw", back[:3, :3], mm) + back[:3, 3, None, None]
        assert np.abs(ijk - np.rint(ijk)).max() < 1e-3
        assert np.array_equal(frame.values, voxels[tuple(np.rint(ijk).astype(int))])
        seen += height * width
    assert seen == voxels[..., 0].size if voxels.ndim == 4 else seen == voxels.size
    return scan, frames


def square(matrix, origin=(3, -4, 5)):
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = matrix, origin
    return affine


# -- NRRD ----------------------------------------------------------------------------------------


def write_nrrd(path, voxels, space="left-posterior-superior", detached=False, **fields):
    header = {
        "space": space,
        "space directions": OBLIQUE.T,
        "space origin": (3, -4, 5),
        "encoding": "raw",
        **fields,
    }
    pynrrd.write(str(path), voxels, header, detached_header=detached)
    return path


@pytest.mark.parametrize("space", list(TURN))
@pytest.mark.parametrize("encoding", ["raw", "gzip"])
@pytest.mark.parametrize("dtype", ["u1", "<i2", ">i2", "<u2", "<f4", ">f8", "<i4", "<i8"])
def test_nrrd_of_every_kind(tmp_path, space, encoding, dtype):
    voxels = RNG.integers(0, 99, (4, 5, 6)).astype(dtype)
    path = write_nrrd(tmp_path / "x.nrrd", voxels, space, encoding=encoding)
    assert nrrd.sniff(path.read_bytes()[:348])
    assert np.array_equal(pynrrd.read(str(path))[0], voxels)
    scan, frames = proved(path, voxels, np.diag([*TURN[space], 1]) @ square(OBLIQUE))
    assert (scan.reader, scan.volume, scan.tags["view"]) == ("nrrd", True, "axial")
    assert frames[0].values.dtype.isnative


def test_nrrd_beside_its_data(tmp_path):
    voxels = RNG.integers(0, 99, (4, 5, 6)).astype(np.int16)
    for encoding in ("raw", "gzip"):
        path = write_nrrd(tmp_path / f"{encoding}.nhdr", voxels, detached=True, encoding=encoding)
        assert len(list(tmp_path.glob(f"{encoding}*"))) == 2
        proved(path, voxels, square(OBLIQUE))
    text = (tmp_path / "raw.nhdr").read_text()
    raw = next(p for p in tmp_path.glob("raw.*") if p.suffix != ".nhdr")
    (tmp_path / "late.bin").write_bytes(b"head" + raw.read_bytes())
    late = re.sub("data file: .*", "byte skip: -1\ndata file: ./late.bin", text)
    (tmp_path / "late.nhdr").write_text(late)
    proved(tmp_path / "late.nhdr", voxels, square(OBLIQUE))


def test_nrrd_colours_time_and_no_space(tmp_path):
    rgb = RNG.integers(0, 255, (3, 4, 5, 6)).astype(np.uint8)
    directions = np.vstack([np.full(3, np.nan), OBLIQUE.T])
    fields = {"space directions": directions, "kinds": ["RGB-color", *["domain"] * 3]}
    path = write_nrrd(tmp_path / "c.nrrd", rgb, **fields)
    proved(path, np.moveaxis(rgb, 0, -1), square(OBLIQUE))
    pynrrd.write(str(tmp_path / "t.nrrd"), RNG.integers(0, 9, (4, 5, 6, 3)).astype(np.int16))
    scan, frames = read(tmp_path / "t.nrrd")
    assert (scan.images, scan.tags["view"]) == (6, None)
    assert frames[0].steps == ("slices as stored", "the first of 3 volumes")
    flat = RNG.integers(0, 9, (4, 5)).astype(np.int16)
    pynrrd.write(str(tmp_path / "f.nrrd"), flat, {"spacings": [0.5, 0.7]})
    scan, frames = read(tmp_path / "f.nrrd")
    assert np.array_equal(frames[0].values, flat.T)
    assert (scan.tags["spacing"], scan.volume) == ((0.7, 0.5), False)


# -- MetaImage -------------------------------------------------------------------------------------


def write_meta(path, voxels, packed=False, data="LOCAL", **fields):
    names = {"u1": "UCHAR", "i2": "SHORT", "u2": "USHORT", "f4": "FLOAT", "f8": "DOUBLE"}
    sizes = np.linalg.norm(OBLIQUE, axis=0)
    matrix = (OBLIQUE / sizes).T.ravel()
    content = voxels.tobytes("F")
    content = zlib.compress(content) if packed else content
    header = {
        "ObjectType": "Image",
        "NDims": voxels.ndim,
        "BinaryData": True,
        "BinaryDataByteOrderMSB": voxels.dtype.byteorder == ">",
        "CompressedData": packed,
        "TransformMatrix": " ".join(map(repr, matrix.tolist())),
        "Offset": "3 -4 5",
        "ElementSpacing": " ".join(map(repr, sizes.tolist())),
        "DimSize": " ".join(map(str, voxels.shape)),
        "ElementType": "MET_" + names[voxels.dtype.str[1:]],
        **fields,
        "ElementDataFile": data,
    }
    text = "".join(f"{name} = {value}\n" for name, value in header.items() if value is not None)
    path.write_bytes(text.encode() + (content if data == "LOCAL" else b""))
    return path, content


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dtype", ["u1", "<i2", ">i2", "<u2", "<f4", ">f8"])
def test_metaimages_of_every_kind(tmp_path, packed, dtype):
    voxels = RNG.integers(0, 99, (4, 5, 6)).astype(dtype)
    path, _ = write_meta(tmp_path / "x.mha", voxels, packed)
    assert nrrd.sniff(path.read_bytes()[:348])
    scan, _ = proved(path, voxels, square(OBLIQUE))
    assert scan.tags["view"] == "axial"


@pytest.mark.parametrize("packed", [False, True])
def test_metaimage_beside_its_data(tmp_path, packed):
    voxels = RNG.integers(0, 99, (4, 5, 6)).astype(np.int16)
    path, content = write_meta(tmp_path / "x.mhd", voxels, packed, "x.raw")
    (tmp_path / "x.raw").write_bytes(content)
    proved(path, voxels, square(OBLIQUE))
    if not packed:
        path, content = write_meta(tmp_path / "y.mhd", voxels, False, "y.raw", HeaderSize=-1)
        (tmp_path / "y.raw").write_bytes(b"abcdefg" + content)
        proved(path, voxels, square(OBLIQUE))


def test_metaimage_colours_and_no_matrix(tmp_path):
    rgb = RNG.integers(0, 255, (3, 4, 5, 6)).astype(np.uint8)
    path, _ = write_meta(
        tmp_path / "c.mha", rgb, NDims=3, DimSize="4 5 6", ElementNumberOfChannels=3
    )
    proved(path, np.moveaxis(rgb, 0, -1), square(OBLIQUE))
    voxels = RNG.integers(0, 9, (4, 5, 6)).astype(np.int16)
    path, _ = write_meta(tmp_path / "n.mha", voxels, TransformMatrix=None)
    scan, frames = read(path)
    assert scan.tags["orientation"] is None
    assert np.array_equal(frames[2].values, voxels[:, :, 2].T)


# -- broken, and worse -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["../out.raw", "/etc/passwd", "sub/x.raw", "..", "", "a\\b", "link"]
)
def test_no_data_file_outside_of_the_folder(tmp_path, name):
    (tmp_path / "in/sub").mkdir(parents=True)
    (tmp_path / "in/sub/x.raw").write_bytes(bytes(500))
    (tmp_path / "out.raw").write_bytes(bytes(500))
    os.symlink(tmp_path / "out.raw", tmp_path / "in/link")
    voxels = np.zeros((4, 5, 6), np.int16)
    path, _ = write_meta(tmp_path / "in/x.mhd", voxels, False, name)
    with pytest.raises(Unreadable, match=r"folder|link|missing") as caught:
        read(path)
    assert "out.raw" not in str(caught.value)
    header = "NRRD0004\ntype: short\ndimension: 3\nsizes: 4 5 6\nendian: little\nencoding: raw\n"
    (tmp_path / "in/x.nhdr").write_text(header + f"data file: {name}\n")
    with pytest.raises(Unreadable):
        read(tmp_path / "in/x.nhdr")


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("sizes: 4 5 6", "sizes: 4 5", "too few"),
        ("sizes: 4 5 6", "sizes: 40 50 60", "shorter"),
        ("sizes: 4 5 6", "sizes: 99999 99999 6", "claims"),
        ("sizes: 4 5 6", "sizes: 4 5 999999999999999999999", "claims"),
        ("sizes: 4 5 6", "sizes: 4 5 -6", "without pixels"),
        ("sizes: 4 5 6", "sizes: 4 5 x", "broken"),
        ("dimension: 3", "dimension: 16", "dimensions"),
        ("type: int16", "type: block", "no plain numbers"),
        ("encoding: raw", "encoding: ascii", "packed"),
        ("encoding: raw", "encoding: bz2", "packed"),
        ("encoding: raw", "encoding: gzip", "broken|ends"),
        ("endian: little", "endian: middle", "byte order"),
        ("endian: little", "byte skip: 9\nendian: little", "shorter"),
        ("endian: little", "line skip: 9\nendian: little", "skip"),
        ("endian: little", "byte skip: -9\nendian: little", "skip"),
        ("space origin: (3,-4,5)", "space origin: (3,HANS)", "too few"),
        ("encoding: raw\n", "", "without"),
    ],
)
def test_claims_of_nrrd_are_checked(tmp_path, old, new, reason):
    path = write_nrrd(tmp_path / "x.nrrd", np.ones((4, 5, 6), np.int16))
    content = path.read_bytes().replace(b"type: short", b"type: int16")
    content = re.sub(rb"space origin: .*", b"space origin: (3,-4,5)", content)
    assert old.encode() in content
    path.write_bytes(content.replace(old.encode(), new.encode()))
    with pytest.raises(Unreadable, match=reason) as caught:
        read(path)
    assert "HANS" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"DimSize": "4 5"}, "too few"),
        ({"DimSize": "4 5 600"}, "shorter"),
        ({"DimSize": "70000 70000 6"}, "claims"),
        ({"ElementType": "MET_OTHER"}, "no plain"),
        ({"BinaryData": "False"}, "text"),
        ({"NDims": 7}, "dimensions"),
        ({"ElementNumberOfChannels": 6}, "vectors"),
        ({"ElementSpacing": "1 1"}, "too few"),
        ({"CompressedData": "True"}, "broken"),
        ({"DimSize": None}, "broken"),
    ],
)
def test_claims_of_metaimages_are_checked(tmp_path, fields, reason):
    path, _ = write_meta(tmp_path / "x.mha", np.ones((4, 5, 6), np.int16), **fields)
    with pytest.raises(Unreadable, match=reason):
        read(path)


def test_bombs_and_endless_headers(tmp_path):
    path, _ = write_meta(tmp_path / "x.mha", np.ones((4, 5, 6), np.int16), DimSize="2000 2000 900")
    path.write_bytes(path.read_bytes().replace(b"CompressedData = False", b"CompressedData = True"))
    with pytest.raises(Unreadable, match="GiB"):
        read(path)
    path.write_bytes(b"ObjectType = Image\n" * 200_000)
    with pytest.raises(Unreadable, match="ElementDataFile"):
        read(path)
    path.write_bytes(b"NRRD0004\n" + b"a: b\n" * 300_000)
    with pytest.raises(Unreadable, match="without"):
        read(path)
    path.write_bytes(b"something else")
    with pytest.raises(Unreadable, match="neither"):
        read(path)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    voxels = np.arange(120, dtype=np.int16).reshape(4, 5, 6)
    meta = write_meta(folder / "x.mha", voxels, True)[0].read_bytes()
    return folder / "fuzzed", [write_nrrd(folder / "x.nrrd", voxels).read_bytes(), meta]


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 1), st.floats(0, 1), st.binary(min_size=1, max_size=9), st.booleans())
def test_broken_files_never_escape(small, which, where, garbage, cut):
    path, contents = small
    content = contents[which]
    at = int(where * len(content))
    path.write_bytes(content[:at] if cut else content[:at] + garbage + content[at + 4 :])
    with suppress(Unreadable):
        for frame in read(path)[1]:
            assert frame.values.ndim in (2, 3)


def test_gzip_after_gzip(tmp_path):
    voxels = RNG.integers(0, 99, (4, 5, 6)).astype(np.int16)
    path = write_nrrd(tmp_path / "x.nrrd", voxels)
    head, _, data = path.read_bytes().partition(b"\n\n")
    head = head.replace(b"encoding: raw", b"encoding: gzip") + b"\n\n"
    path.write_bytes(head + gzip.compress(data[:50]) + gzip.compress(data[50:]))
    proved(path, voxels, square(OBLIQUE))
