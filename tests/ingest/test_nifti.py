"""NIfTI volumes: every pixel stands where its affine says; nibabel is the referee."""

import gzip
import itertools
import struct
from contextlib import suppress
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radstart.ingest.frames import Unreadable
from radstart.ingest.masks import labels_of
from radstart.ingest.readers import nifti

RNG = np.random.default_rng(3)
DATA = Path(__file__).parents[2].parent / "shared/data/nifti_msd_hippocampus"


def saved(folder, values, affine=None, name="x.nii.gz", kind=nibabel.Nifti1Image, **fields):
    image = kind(values, np.eye(4) if affine is None else affine)
    for field, value in fields.items():
        image.header[field] = value
    nibabel.save(image, folder / name)
    return folder / name


def read(path):
    scan = nifti.scan(path)
    return scan, list(nifti.frames(path, range(scan.images)))


def proved(path):
    """Compare every pixel with nibabel's voxel at the same millimetre."""
    image = nibabel.load(path)
    theirs = np.asanyarray(image.dataobj)
    while theirs.ndim > 3:
        theirs = theirs[..., 0]
    theirs = theirs.reshape(theirs.shape + (1,) * (3 - theirs.ndim))
    back = np.linalg.inv(np.diag([-1, -1, 1, 1]) @ image.affine)
    scan, frames = read(path)
    right, down = np.array(scan.tags["orientation"]).reshape(2, 3)
    assert len(frames) == scan.images
    seen = 0
    for frame in frames:
        height, width = frame.values.shape
        assert (height, width) == (scan.tags["rows"], scan.tags["cols"])
        r, c = np.mgrid[:height, :width]
        mm = np.array(scan.each["position"][frame.index])[:, None, None]
        mm = mm + down[:, None, None] * r * scan.tags["spacing"][0]
        mm = mm + right[:, None, None] * c * scan.tags["spacing"][1]
        ijk = np.einsum("ij,jhw->ihw", back[:3, :3], mm) + back[:3, 3, None, None]
        assert np.abs(ijk - np.rint(ijk)).max() < 1e-3
        expected = theirs[tuple(np.rint(ijk).astype(int))]
        assert np.allclose(frame.values, expected, rtol=1e-6, atol=0)
        assert frame.limits[0] <= frame.values.min()
        assert frame.values.max() <= frame.limits[1] + 1e-3
        assert np.allclose(np.sort(frame.sample), np.sort(theirs.ravel()), rtol=1e-6, atol=0)
        seen += frame.values.size
    assert seen == theirs.size
    return scan, frames


@pytest.mark.parametrize("axes", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, 1), (-1, -1, 1), (1, -1, -1), (-1, -1, -1)])
@pytest.mark.parametrize("thick", [None, 0, 2])
def test_every_pixel_stands_where_the_affine_says(tmp_path, axes, signs, thick):
    sizes = [1.5, 1.5, 1.5]
    if thick is not None:
        sizes[thick] = 4.0
    affine = np.eye(4)
    affine[:3, :3] = np.diag(np.multiply(signs, sizes)) @ np.eye(3)[list(axes)]
    affine[:3, 3] = RNG.normal(0, 50, 3)
    values = RNG.integers(-500, 500, (4, 5, 6)).astype(np.int16)
    scan, frames = proved(saved(tmp_path, values, affine))
    assert scan.volume
    assert scan.reader == "nifti"
    assert scan.tags["view"] == {None: "axial", 0: "sagittal", 2: "axial"}[thick]
    assert f"{scan.tags['view']} slices" in frames[0].steps
    assert scan.tags["thickness"] == pytest.approx(4.0 if thick is not None else 1.5)


def test_a_radiologist_sees_the_right_on_the_left_and_the_front_above(tmp_path):
    values = np.zeros((3, 4, 5), np.int16)  # RAS: x to the right, y to the front, z to the top
    values[2] += 1  # right
    values[:, 3] += 10  # front
    values[:, :, 4] += 100  # top
    frames = read(saved(tmp_path, values))[1]
    assert len(frames) == 5
    assert frames[0].values[0, 0] == 11  # below first; right on the left, front above
    assert frames[4].values[-1, -1] == 100
    for thick, corner in ((0, 110), (1, 101)):  # sagittal: front left; coronal: right left
        affine = np.eye(4)
        affine[thick, thick] = 3
        pixels = read(saved(tmp_path, values, affine))[1][0].values
        last = {0: 1, 1: 10}[thick]
        assert pixels[0, 0] in (corner, corner + last)
        assert pixels[-1, -1] < 100


def test_oblique_volumes_too(tmp_path):
    turn = nibabel.eulerangles.euler2mat(0.3, -0.2, 0.4)
    affine = nibabel.affines.from_matvec(turn @ np.diag([0.9, 1.1, 3.0]), [5, -7, 11])
    proved(saved(tmp_path, RNG.normal(0, 9, (5, 6, 4)).astype(np.float32), affine))


@pytest.mark.parametrize("name", ["x.nii", "x.nii.gz"])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("dtype", ["<i2", ">i2", "<f4", ">f4", "u1", "<u2", "<f8", "<i4", "i1"])
def test_types_byte_orders_and_versions(tmp_path, name, kind, dtype):
    values = RNG.integers(0, 100, (3, 4, 5)).astype(dtype)
    header = kind.header_class(endianness=dtype[0] if dtype[0] in "<>" else "<")
    header.set_data_dtype(dtype)
    image = kind(values, np.diag([-1, 1, 2, 1]), header)
    nibabel.save(image, tmp_path / name)
    _, frames = proved(tmp_path / name)
    assert frames[0].values.dtype.isnative
    assert frames[0].values.dtype.kind == np.dtype(dtype).kind
    assert nifti.sniff((tmp_path / name).read_bytes()[:348]) == (name == "x.nii")


@pytest.mark.parametrize(
    ("slope", "intercept", "kind"), [(2.0, -1024.0, "i"), (0.5, 3.0, "f"), (0.0, 7.0, "i")]
)
def test_slope_and_intercept(tmp_path, slope, intercept, kind):
    path = saved(tmp_path, RNG.integers(0, 3000, (3, 4, 5)).astype(np.int16), name="x.nii")
    raw = bytearray(path.read_bytes())
    raw[112:120] = struct.pack("<ff", slope, intercept)
    path.write_bytes(raw)
    _, frames = proved(path)
    assert frames[0].values.dtype.kind == kind
    assert ("slope and intercept" in frames[0].steps) == (slope != 0)


def test_several_volumes_the_first_is_read_and_said(tmp_path):
    values = RNG.integers(0, 99, (3, 4, 5, 7)).astype(np.int16)
    _, frames = proved(saved(tmp_path, values))
    assert "the first of 7 volumes" in frames[0].steps
    with pytest.raises(Unreadable, match="vectors"):
        nifti.scan(saved(tmp_path, np.zeros((3, 4, 5, 1, 3), np.int16)))


def test_what_is_asked_for_in_what_order_it_is_asked(tmp_path):
    path = saved(tmp_path, RNG.integers(0, 99, (3, 4, 9)).astype(np.int16))
    whole = read(path)[1]
    some = list(nifti.frames(path, [7, 2]))
    assert [frame.index for frame in some] == [7, 2]
    assert np.array_equal(some[0].values, whole[7].values)
    with pytest.raises(Unreadable, match="fewer slices"):
        list(nifti.frames(path, [9]))


def test_colours_flat_images_windows_and_no_orientation(tmp_path):
    rgb = np.zeros((3, 4, 5), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    rgb["G"] = RNG.integers(0, 255, (3, 4, 5))
    _, frames = read(saved(tmp_path, rgb))
    assert frames[0].values.shape == (4, 3, 3)
    assert np.array_equal(frames[1].values[..., 1], rgb["G"][::-1, ::-1, 1].T)
    scan, _ = proved(saved(tmp_path, RNG.integers(0, 9, (6, 7)).astype(np.int16)))
    assert (scan.images, scan.volume) == (1, False)
    path = saved(tmp_path, np.arange(60, dtype=np.int16).reshape(3, 4, 5), cal_min=5, cal_max=25)
    (window,) = read(path)[1][0].windows
    assert (window.center, window.width, window.function) == (15, 20, "LINEAR_EXACT")
    bare = saved(tmp_path, np.arange(60, dtype=np.int16).reshape(3, 4, 5), name="bare.nii")
    raw = bytearray(bare.read_bytes())
    raw[252:256] = bytes(4)  # qform_code, sform_code
    bare.write_bytes(raw)
    scan, frames = read(bare)
    assert scan.tags["view"] is scan.tags["orientation"] is None
    assert frames[0].steps == ("slices as stored",)
    assert np.array_equal(frames[0].values, np.arange(60).reshape(3, 4, 5)[:, :, 0].T)


def test_the_sample_of_a_large_volume_is_spread_over_it(tmp_path):
    values = np.add.outer(np.arange(100) * 10, RNG.integers(0, 9, (100, 100))).astype(np.int16)
    frame = next(nifti.frames(saved(tmp_path, values, name="x.nii"), [3]))
    assert 100_000 < frame.sample.size <= 200_000
    for percent in (0.5, 50, 99.5):
        spread = np.percentile(frame.sample, percent) - np.percentile(values, percent)
        assert abs(spread) <= 10


# -- broken, and worse -----------------------------------------------------------------------------


def changed(path, at, value):
    raw = bytearray(path.read_bytes())
    raw[at : at + len(value)] = value
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize(
    ("at", "value", "reason"),
    [
        (40, struct.pack("<8h", 3, 30000, 30000, 1, 1, 1, 1, 1), "claims"),
        (40, struct.pack("<8h", 3, 3000, 3000, 30000, 1, 1, 1, 1), "shorter|hold|GiB"),
        (40, struct.pack("<8h", 3, 0, 4, 5, 1, 1, 1, 1), "without pixels"),
        (40, struct.pack("<8h", 3, -3, 4, 5, 1, 1, 1, 1), "without pixels"),
        (40, struct.pack("<8h", 9, 3, 4, 5, 1, 1, 1, 1), "dimensions|size"),
        (70, struct.pack("<h", 32), "no plain numbers"),  # complex
        (70, struct.pack("<h", 1536), "no plain numbers"),  # float128
        (70, struct.pack("<h", 999), "broken"),
        (108, struct.pack("<f", 1e9), "shorter|nowhere|hold"),
        (108, struct.pack("<f", float("nan")), "nowhere"),
        (108, struct.pack("<f", -5), "nowhere"),
        (112, struct.pack("<ff", 1, float("nan")), "intercept"),
        (344, b"ni1\0", "pair"),
        (344, b"abcd", "no NIfTI"),
        (0, struct.pack("<i", 77), "no known size|broken"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_claims_are_checked_before_anything_is_read(tmp_path, at, value, reason, packed):
    path = saved(tmp_path, np.ones((3, 4, 5), np.int16), name="x.nii")
    changed(path, at, value)
    if packed:
        path.write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(Unreadable, match=reason):
        read(path)


def test_a_gzip_bomb_is_never_unpacked(tmp_path):
    path = saved(tmp_path, np.ones((3, 4, 5), np.int16), name="x.nii")
    header = changed(path, 40, struct.pack("<8h", 3, 5000, 5000, 600, 1, 1, 1, 1)).read_bytes()
    path.write_bytes(gzip.compress(header + bytes(30 << 20)))
    with pytest.raises(Unreadable, match=r"GiB|hold"):
        read(path)
    good = saved(tmp_path, np.ones((3, 4, 5), np.int16), name="y.nii").read_bytes()
    path.write_bytes(gzip.compress(good + bytes(30 << 20)))  # what follows is not looked at
    assert len(read(path)[1]) == 5


def test_cut_off_and_glued_together(tmp_path):
    path = saved(tmp_path, RNG.integers(0, 999, (30, 40, 5)).astype(np.int16), name="x.nii")
    whole = path.read_bytes()
    for content in (
        whole[:-1],
        gzip.compress(whole[:-1]),
        gzip.compress(whole)[:-2000],
        whole[:300],
    ):
        path.write_bytes(content)
        with pytest.raises(Unreadable):
            read(path)
    path.write_bytes(gzip.compress(whole[:5000]) + gzip.compress(whole[5000:]))  # two members
    proved_path = path.rename(tmp_path / "x.nii.gz")
    proved(proved_path)
    path.write_bytes(b"")
    with pytest.raises(Unreadable, match="empty"):
        read(path)
    with pytest.raises(Unreadable, match="no such"):
        read(tmp_path / "none.nii")
    with pytest.raises(Unreadable, match="not a file"):
        read(tmp_path)


def test_large_volumes_are_unpacked_into_a_nameless_file(tmp_path, monkeypatch):
    monkeypatch.setattr("radstart.ingest.readers.unpack._HELD", 10)
    proved(saved(tmp_path, RNG.integers(0, 99, (3, 4, 5)).astype(np.int16)))


def test_no_words_of_a_header_in_a_reason(tmp_path, caplog, capfd):
    path = saved(tmp_path, np.ones((3, 4, 5), np.int16), name="x.nii", descrip=b"MEIER^HANS")
    for at in range(0, 348, 4):
        changed(path, at, b"\xff\x7fHA")
        said = ""
        try:
            read(path)
        except Unreadable as error:
            said = error.reason + error.remedy
        assert "HA" not in said
        assert "MEIER" not in said
        assert not caplog.records
        assert capfd.readouterr() == ("", "")
        saved(tmp_path, np.ones((3, 4, 5), np.int16), name="x.nii", descrip=b"MEIER^HANS")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    path = saved(folder, RNG.integers(0, 9, (3, 4, 5)).astype(np.int16), name="x.nii")
    return path.read_bytes(), folder / "fuzzed.nii"


@settings(deadline=None, max_examples=150)
@given(st.integers(0, 420), st.binary(min_size=1, max_size=8), st.booleans(), st.integers(0, 500))
def test_broken_headers_never_escape(small, at, garbage, packed, cut):
    content, path = small
    content = content[:at] + garbage + content[at + len(garbage) :]
    content = content[:cut] if cut < 200 else content
    path.write_bytes(gzip.compress(content) if packed else content)
    with suppress(Unreadable):
        for frame in read(path)[1]:
            assert frame.values.dtype.kind in "iuf"


# -- real --------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is absent: NOT TESTED on volumes")
def test_the_hippocampus_volumes_are_nibabels():
    table = pd.read_csv(DATA / "labels.csv")
    labelled = 0
    for row in table.itertuples():
        scan, frames = proved(DATA / row.image)
        assert scan.images == row.z
        assert frames[0].limits == pytest.approx((row.intensity_min, row.intensity_max))
        mask = DATA / f"labels/{Path(row.image).name}"
        if not mask.exists():
            assert row.patient_id == "hippocampus_118"
            continue
        labels = [labels_of(frame.values) for frame in nifti.frames(mask, range(row.z))]
        assert [label.shape for label in labels] == [frame.values.shape for frame in frames]
        assert sum((label == 1).sum() for label in labels) == row.anterior_voxels
        assert sum((label == 2).sum() for label in labels) == row.posterior_voxels
        labelled += 1
    assert labelled == 45
