"""What users have on their disks, whole: layouts of volumes, tables and folders become rows."""

import nibabel
import numpy as np
import pytest
from dicom_files import ct, encoded

import radstart
from radstart.core.errors import RadstartError

RNG = np.random.default_rng(3)
WIDE = np.array([-1000, -600, 0, 40, 400, 2000], np.int16)


@pytest.fixture
def ingest(tmp_path):
    """Return a function that ingests tmp_path/data with its names kept, and opens the dataset."""

    def run(out="out", **options):
        return radstart.ingest(
            tmp_path / "data", out=tmp_path / out, **{"keep_ids": True, "workers": 1, **options}
        )

    return run


def write(path, content):
    """Write bytes, text, or an array as its name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, str):
        path.write_text(content, encoding="utf-8")
    elif isinstance(content, bytes):
        path.write_bytes(content)
    elif path.suffix == ".npy":
        np.save(path, content)
    else:
        from PIL import Image

        Image.fromarray(content).save(path)


# -- Hounsfield units that a file does not state ---------------------------------------------------


@pytest.fixture
def volumes(tmp_path):
    """Write one CT volume in every format that does not say so, and what is no volume of values."""
    data = tmp_path / "data"
    data.mkdir()
    stack = RNG.choice(WIDE, (3, 16, 18)).astype(np.int16)
    write(data / "a.npy", stack)
    write(data / "float.npy", stack.astype(np.float32))
    nibabel.save(nibabel.Nifti1Image(stack, np.eye(4)), data / "a.nii.gz")
    size = "DimSize = 18 16 3\nElementType = MET_SHORT\nElementDataFile = LOCAL\n"
    write(data / "a.mha", f"ObjectType = Image\nNDims = 3\n{size}".encode() + stack.tobytes())
    write(data / "bytes.npy", (stack % 256).astype(np.uint8))
    write(data / "a.png", (stack[0] % 256).astype(np.uint8))
    write(data / "deep.png", (stack[0] + 1000).astype(np.uint16))
    write(data / "said.dcm", encoded(ct(Modality="MR")))
    write(data / "silent.dcm", encoded(ct(Modality=None, RescaleType=None)))
    return stack


def files(images):
    return {name.partition("#")[0] for name in images}


def test_a_modality_that_no_file_says_makes_hounsfield_units(ingest, volumes):
    plain = ingest("plain", windows=["lung"])
    assert len(plain) == 0
    refused = plain.rejected
    assert refused["reason"].str.contains("needs Hounsfield units.*--modality CT").all()
    assert len(refused) == 9

    dataset = ingest(windows=["lung"], modality="ct")
    rows = dataset.rows.set_index("image")
    assert files(rows.index) == {"a.npy", "float.npy", "a.nii.gz", "a.mha", "silent.dcm"}
    assert files(dataset.rejected["image"]) == {"bytes.npy", "said.dcm", "a.png", "deep.png"}
    assert set(rows["modality"]) == {"CT"}
    shown = np.rint(np.clip((volumes[0] + 600.5) / 1499 + 0.5, 0, 1) * 255)
    for name in ("a.npy#0000", "float.npy#0000"):
        assert rows.loc[name, "window"] == "lung"
        assert rows.loc[name, "steps"].startswith("taken as Hounsfield units; window lung -600/15")
        assert np.abs(dataset.pixels(int(rows.loc[name, "row"])) - shown).max() <= 1
    assert dataset.facts["how"]["modality"] == "CT"


def test_a_file_says_it_before_its_row_and_its_row_before_the_flag(ingest, volumes, tmp_path):
    lines = ["image,modality", "a.npy,CT", "float.npy,MRI", "said.dcm,CT", "a.nii.gz,"]
    write(tmp_path / "labels.csv", "\n".join(lines))
    options = {"labels": tmp_path / "labels.csv", "windows": ["bone"]}
    assert files(ingest("told", **options).rows["image"]) == {"a.npy"}
    both = ingest("both", modality="CT", **options)
    assert files(both.rows["image"]) == {"a.npy", "a.nii.gz"}
    assert files(both.rejected["image"]) == {"float.npy", "said.dcm"}
    first = ingest("first", labels=tmp_path / "labels.csv", modality="US").rows
    said = first.set_index("image")["modality"]
    names = ["a.npy#0000", "float.npy#0000", "a.nii.gz#0000"]
    assert said[names].tolist() == ["CT", "MR", "US"]
    with pytest.raises(RadstartError, match="is no modality"):
        ingest("none", modality="strange")
