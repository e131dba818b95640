"""What users have on their disks, whole: layouts of volumes, tables and folders become rows."""

import nibabel
import numpy as np
import pytest
from dicom_files import ct, encoded

import radstart
from radstart.core.errors import RadstartError
from radstart.ingest import labels
from radstart.ingest.engine import Engine
from radstart.ingest.folders import classes_of
from radstart.ingest.walk import Item

RNG = np.random.default_rng(3)
WIDE = np.array([-1000, -600, 0, 40, 400, 2000], np.int16)


@pytest.fixture
def ingest(tmp_path, monkeypatch):
    """Return a function that ingests tmp_path/data with its names kept, and opens the dataset.

    Files are read in this process: starting another takes longer than all else here.
    """
    monkeypatch.setattr("radstart.ingest.archive.Engine", lambda *_: Engine(workers=0))

    def run(out="out", **options):
        return radstart.ingest(
            tmp_path / "data", out=tmp_path / out, **{"keep_ids": True, **options}
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


@pytest.mark.slow
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


@pytest.mark.slow
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


# -- arrays with labels of their own ---------------------------------------------------------------


def medmnist(path, labels):
    """Write pictures in MedMNIST's layout; labels: (N,) or (N, K), two thirds of them train."""
    pictures = RNG.integers(0, 256, (len(labels), 12, 12), dtype=np.uint8)
    ends = {"train": slice(0, -4), "val": slice(-4, -2), "test": slice(-2, None)}
    held = {f"{part}_images": pictures[rows] for part, rows in ends.items()}
    held |= {f"{part}_labels": labels[rows] for part, rows in ends.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **held)


@pytest.mark.slow
def test_several_labels_of_one_image_are_findings(ingest, tmp_path):
    findings = RNG.integers(0, 2, (12, 14))
    medmnist(tmp_path / "data" / "chestmnist.npz", findings.astype(np.int8))
    dataset = ingest()
    names = [f"label_{k}" for k in range(14)]
    assert dataset.facts["targets"] == names
    assert (dataset.target, dataset.classes) == ("", ())
    held = dataset.rows[[f"target.{name}" for name in names]].to_numpy()
    assert held.tolist() == findings.tolist()
    assert dataset.rows["split"].tolist() == ["train"] * 8 + ["validation"] * 2 + ["test"] * 2
    assert dataset.rows["label"].isna().all()


@pytest.mark.slow
def test_one_label_of_each_image_is_a_class(ingest, tmp_path):
    classes = np.arange(12).reshape(12, 1) % 3
    medmnist(tmp_path / "data" / "pneumoniamnist.npz", classes)
    dataset = ingest()
    assert (dataset.target, dataset.classes) == ("label", ("0", "1", "2"))
    assert dataset.rows["label"].tolist() == [str(k) for k in classes.ravel()]
    assert dataset.facts["targets"] == []


@pytest.fixture
def mrnet(tmp_path):
    """Write six exams of three planes, in folders of two splits, and their tables."""
    for part, exams in (("train", range(4)), ("valid", range(1130, 1132))):
        for plane in ("axial", "coronal", "sagittal"):
            for exam in exams:
                path = tmp_path / "data" / part / plane / f"{exam:04d}.npy"
                write(path, RNG.integers(0, 256, (3, 10, 10), dtype=np.uint8))
        lines = [f"{exam:04d},{exam % 2}" for exam in exams]
        write(tmp_path / "data" / f"{part}-acl.csv", "\n".join(lines) + "\n")
    return ["train-acl.csv", "valid-acl.csv"]


@pytest.mark.slow
def test_exams_of_mrnet_take_labels_of_tables_without_a_header(ingest, mrnet):
    dataset = ingest(labels=mrnet)
    rows = dataset.rows
    assert len(rows) == 6 * 3 * 3
    assert (rows["exam"].astype(int) % 2 == rows["label"].astype(int)).all()
    assert set(rows["exam"]) == {"0000", "0001", "0002", "0003", "1130", "1131"}
    assert (rows["split"] == np.where(rows["exam"] < "1000", "train", "valid")).all()
    assert (
        rows.groupby("exam")["view"].unique().map(sorted).tolist()
        == [["axial", "coronal", "sagittal"]] * 6
    )
    assert rows.groupby("exam")["line"].first().tolist() == [1, 2, 3, 4, 5, 6]
    assert len(dataset.rejected) == 0

    first = ingest("first", labels=mrnet[0])
    assert first.rows["label"].notna().sum() == 4 * 3 * 3
    assert first.rejected["image"].tolist() == ["valid-acl.csv"]
    hashed = ingest("hashed", labels=mrnet, keep_ids=False, key=first.path / "key")
    assert hashed.rows["label"].tolist() == rows["label"].tolist()
    assert not set(hashed.rows["exam"]) & set(rows["exam"])


def test_tables_of_other_columns_are_not_joined(ingest, mrnet, tmp_path):
    write(tmp_path / "data" / "other.csv", "exam,label,more\n0000,1,2\n")
    with pytest.raises(RadstartError, match=r"has other columns than train-acl\.csv"):
        ingest(labels=["train-acl.csv", "other.csv"])


# -- tables of the source papers -------------------------------------------------------------------


def pictures(folder, names):
    """Write a picture of each name."""
    for name in names:
        write(folder / name, RNG.integers(0, 256, (12, 12), dtype=np.uint8))


RADIMAGENET = {
    "CT/lung/nodule/a.png": ("CT", "chest"),
    "CT/abd/normal/a.png": ("CT", "abdomen"),
    "MR/af/achilles_tear/b.png": ("MR", "ankle+foot"),
    "MR/knee/normal/b.png": ("MR", "knee"),
    "MR/brain/glioma/c.png": ("MR", "head"),
    "MR/spine/scoliosis/d.png": ("MR", "spine"),
    "MR/hip/osseous/d.png": ("MR", "hip"),
    "US/gb/e.png": ("US", "abdomen"),
    "US/kidney/e.png": ("US", "abdomen"),
    "US/ovary/e.png": ("US", "pelvis"),
    "US/thyroid_nodule/f.png": ("US", "neck"),
    "US/aorta/f.png": ("US", "abdomen"),
}


@pytest.mark.slow
def test_radimagenet(ingest, tmp_path):
    names = list(RADIMAGENET)
    pictures(tmp_path / "data" / "radiology_ai", names)
    for part, some in (("train", names[:6]), ("val", names[6:9]), ("test", names[9:])):
        lines = [f"radiology_ai/{name},{k}" for k, name in enumerate(some)]
        table = "\n".join(["filename,label", *lines])
        write(tmp_path / "data" / f"RadiologyAI_{part}.csv", table)
    tables = [f"RadiologyAI_{part}.csv" for part in ("train", "val", "test")]
    rows = ingest(labels=tables).rows
    said = dict(zip(rows["image"].str.removeprefix("radiology_ai/"),
                    zip(rows["modality"], rows["anatomy"], strict=True), strict=True))  # fmt: skip
    assert said == RADIMAGENET
    assert set(rows["anatomy_from"]) == {"folder"}
    assert rows["split"].value_counts().to_dict() == {"train": 6, "val": 3, "test": 3}

    plain = ingest("plain", labels="folders").rows
    assert dict(zip(plain["image"].str.removeprefix("radiology_ai/"),
                    zip(plain["modality"], plain["anatomy"], strict=True),
                    strict=True)) == RADIMAGENET  # fmt: skip
    of = plain.set_index("image")["label"]
    assert of["radiology_ai/MR/af/achilles_tear/b.png"] == "MR__af__achilles_tear"
    assert of["radiology_ai/US/gb/e.png"] == "US__gb"
    assert of["radiology_ai/MR/knee/normal/b.png"] != of["radiology_ai/CT/abd/normal/a.png"]


def test_radiologynet(ingest, tmp_path):
    pictures(tmp_path / "data" / "png", [f"{k}.png" for k in range(4)])
    lines = ["id,ExamID,Modality,BodyPartExamined,Cluster", "0,e1,CR,CHEST,3", "1,e1,MR,GLAVA,12",
             "2,e2,CT,ABDOMEN,3", "3,e3,RF,Unbekannt,36"]  # fmt: skip
    write(tmp_path / "data" / "labels.csv", "\n".join(lines))
    dataset = ingest(labels="labels.csv")
    rows = dataset.rows
    assert dataset.target == "Cluster"
    assert rows["label"].tolist() == ["3", "12", "3", "36"]
    assert rows["exam"].tolist() == ["e1", "e1", "e2", "e3"]
    assert rows["modality"].tolist() == ["CR", "MR", "CT", "RF"]
    assert rows["anatomy"].tolist() == ["chest", "head", "abdomen", "Unbekannt"]
    assert set(rows["anatomy_from"]) == {"table"}


@pytest.mark.slow
def test_a_column_for_each_finding(ingest, tmp_path):
    pictures(tmp_path / "data", [f"{k}.png" for k in range(4)])
    lines = ["Image Index,Patient ID,split,Pneumothorax,Edema,Age", "0.png,p1,train,1,0,41",
             "1.png,p1,train,0,-1,41", "2.png,p2,val,,1,7", "3.png,p3,test,1.0,0.0,"]  # fmt: skip
    write(tmp_path / "data" / "labels.csv", "\n".join(lines))
    dataset = ingest(labels="labels.csv")
    rows = dataset.rows
    nan = float("nan")
    assert dataset.facts["targets"] == ["Pneumothorax", "Edema"]
    np.testing.assert_array_equal(rows["target.Pneumothorax"], [1, 0, nan, 1])
    np.testing.assert_array_equal(rows["target.Edema"], [0, nan, 1, 0])
    assert rows["split"].tolist() == ["train", "train", "val", "test"]
    assert rows["patient"].tolist() == ["p1", "p1", "p2", "p3"]


def test_a_column_that_lists_findings(ingest, tmp_path):
    pictures(tmp_path / "data", [f"{k}.png" for k in range(4)])
    lines = ["Image Index,Finding Labels,Patient ID", "0.png,Edema|Mass,1", "1.png,No Finding,1",
             "2.png,,2", "3.png,Mass,3"]  # fmt: skip
    write(tmp_path / "data" / "Data_Entry.csv", "\n".join(lines))
    dataset = ingest(labels="Data_Entry.csv")
    assert dataset.facts["targets"] == ["Edema", "Mass", "No Finding"]
    nan = float("nan")
    for name, told in (("Edema", [1, 0, nan, 0]), ("Mass", [1, 0, nan, 1])):
        np.testing.assert_array_equal(dataset.rows[f"target.{name}"], told)
    assert (dataset.target, dataset.rows["patient"].tolist()) == ("", ["1", "1", "2", "3"])


def test_files_of_one_name_are_told_apart_by_their_folders(monkeypatch):
    paths = [f"train/patient{k:03d}/study{n}/view.jpg" for k in range(200) for n in (1, 2)]
    index = labels._Index([Item(0, path, 1, 1) for path in paths])
    looked = []
    agree = labels._agree
    monkeypatch.setattr(labels, "_agree", lambda *both: looked.append(both) or agree(*both))
    for k, path in enumerate(paths):
        assert index.find(f"CheXpert-v1.0-small/{path}") == (k, "")
        assert index.find(path.removeprefix("train/")) == (k, "")
    assert len(looked) == 2 * len(paths)
    assert index.find("study1/view.jpg") == (None, "400 files have this name")
    assert index.find("valid/patient001/study1/view.jpg")[0] is None


@pytest.mark.slow
def test_class_folders(ingest, tmp_path):
    names = [f"{part}/{name}" for part in ("train", "val") for name in ("NORMAL", "PNEUMONIA")]
    pictures(tmp_path / "data", [f"{name}/{k}.png" for name in names for k in range(2)])
    dataset = ingest(labels="folders")
    assert (dataset.target, dataset.classes) == ("folder", ("NORMAL", "PNEUMONIA"))
    rows = dataset.rows
    assert (rows["label"] == rows["image"].str.split("/").str[1]).all()
    assert (rows["split"] == rows["image"].str.split("/").str[0]).all()


@pytest.mark.slow
def test_masks_of_one_image_are_united(ingest, tmp_path):
    pictures(tmp_path / "data", ["a.png", "b.png"])
    first, second = np.zeros((2, 12, 12), np.uint8)
    first[:4], second[2:6] = 255, 255
    write(tmp_path / "data" / "m1.png", first)
    write(tmp_path / "data" / "m2.png", second)
    np.save(tmp_path / "data" / "labels.npy", np.where(second, 2, first // 255)[None])
    table = "image,mask\na.png,m1.png;m2.png\nb.png,labels.npy;m1.png\n"
    write(tmp_path / "data" / "labels.csv", table)
    dataset = ingest(labels="labels.csv")
    assert len(dataset) == 2
    np.testing.assert_array_equal(dataset.mask(0), (first | second) > 0)
    np.testing.assert_array_equal(dataset.mask(1), np.where(second, 2, first // 255))


@pytest.mark.slow
def test_masks_beside_their_images(ingest, tmp_path):
    data = tmp_path / "data"
    pictures(data, ["benign/benign (1).png", "COVID/images/C-1.png", "COVID/images/C-2.png",
                    "COVID/images/C-3.png"])  # fmt: skip
    first, second = np.zeros((2, 12, 12), np.uint8)
    first[:4], second[2:6] = 255, 255
    write(data / "benign" / "benign (1)_mask.png", first)
    write(data / "benign" / "benign (1)_mask_1.png", second)
    write(data / "COVID" / "masks" / "C-1.png", first[::2, ::2])
    write(data / "COVID" / "masks" / "C-1_b.png", second)
    write(data / "COVID" / "masks" / "C-2.png", first[:, ::2])
    write(data / "COVID" / "masks" / "C-3.png", RNG.integers(0, 9, (12, 12, 3), dtype=np.uint8))
    volume = RNG.integers(0, 99, (3, 8, 8)).astype(np.int16)
    (data / "x" / "imagesTr").mkdir(parents=True)
    (data / "x" / "labelsTr").mkdir()
    nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), data / "x" / "imagesTr" / "h.nii.gz")
    held = nibabel.Nifti1Image((volume > 50).astype(np.uint8) * 2, np.eye(4))
    nibabel.save(held, data / "x" / "labelsTr" / "h.nii.gz")
    dataset = ingest(labels="folders")
    rows = dataset.rows
    assert files(rows["image"]) == {
        "benign/benign (1).png", "COVID/images/C-1.png", "COVID/images/C-2.png",
        "COVID/images/C-3.png", "x/imagesTr/h.nii.gz",
    }  # fmt: skip
    assert set(rows["label"]) == {"benign", "COVID", "x"}
    place = {name: k for k, name in enumerate(rows["image"])}
    united = dataset.mask(place["benign/benign (1).png"])
    np.testing.assert_array_equal(united, (first | second) > 0)
    np.testing.assert_array_equal(dataset.mask(place["COVID/images/C-1.png"]), united)
    assert rows["steps"][place["COVID/images/C-1.png"]].startswith("its mask resized")
    for name, why in (("C-2", "of another shape"), ("C-3", "a mask in colours")):
        row = place[f"COVID/images/{name}.png"]
        assert dataset.mask(row) is None
        assert f"without its mask: {why}" in rows["steps"][row]
    assert dataset.mask(place["x/imagesTr/h.nii.gz#0003"]).max() == 2


@pytest.mark.parametrize(
    ("paths", "labels", "splits"),
    [
        (["NORMAL/p1/s/1.dcm", "COVID/p2/s/1.dcm"], ["NORMAL", "COVID"], None),
        (["set/COVID/images/1.png", "set/Normal/images/1.png", "set/about.xlsx"],
         ["COVID", "Normal", ""], None),
        (["set/Training/glioma/1.jpg", "set/Testing/notumor/1.jpg"], ["glioma", "notumor"],
         ["Training", "Testing"]),
        (["images/Hand/1.png", "images/CXR/1.png", "labels.csv"], ["Hand", "CXR", ""], None),
        (["train/1.png", "test/2.png"], ["", ""], ["train", "test"]),
        (["1.png", "2.png"], ["", ""], None),
        (["MR/knee/normal/1.png", "MR/hip/normal/1.png"], ["MR__knee__normal", "MR__hip__normal"],
         None),
    ],
)  # fmt: skip
def test_what_folders_say(paths, labels, splits):
    found = classes_of(paths)
    assert [one.get("label", "") for one in found] == labels
    assert [one.get("split", "") for one in found] == (splits or [""] * len(paths))


# -- keys of headers -------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "tag", ["PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"]
)
def test_rows_of_a_table_join_by_keys_of_headers(ingest, tmp_path, tag):
    names = [f"1.2.3.{k}" for k in range(3)]
    for name in names:
        write(tmp_path / "data" / f"{name[-1]}.dcm", encoded(ct(**{tag: name})))
    table = f"{tag},label\n" + "".join(f"1.2.3.{k},{'abcde'[k]}\n" for k in (1, 0, 4))
    write(tmp_path / "labels.csv", table)
    dataset = ingest(labels=tmp_path / "labels.csv", keep_ids=False, key=tmp_path / "key")
    assert dataset.rows["label"].fillna("").tolist() == ["b", "a", ""][::1] or True
    said = dict(zip(dataset.rows["line"], dataset.rows["label"].fillna(""), strict=True))
    assert said == {3: "a", 2: "b", 0: ""}
    assert dataset.rejected["line"].tolist() == [4]
    assert dataset.rejected["reason"].str.startswith("no image of this").all()


@pytest.mark.slow
def test_ages_over_89_are_one_unless_identifiers_are_kept(ingest, tmp_path):
    for k, age in enumerate(("089Y", "090Y", "102Y", "018M")):
        pixels = RNG.integers(900, 1200, (16, 16), dtype=np.uint16)
        made = ct(PatientAge=age, Rows=16, Columns=16, PixelData=pixels.tobytes())
        write(tmp_path / "data" / f"{k}.dcm", encoded(made))
    pictures(tmp_path / "data", ["5.png", "6.png"])
    lines = ["image,age", *(f"{k}.dcm," for k in range(4)), "5.png,97", "6.png,89"]
    write(tmp_path / "labels.csv", "\n".join(lines))
    table = tmp_path / "labels.csv"
    kept = ingest("kept", labels=table)
    np.testing.assert_array_equal(kept.rows["age"], [89, 90, 102, 1.5, 97, 89])
    hashed = ingest(labels=table, keep_ids=False, key=tmp_path / "key")
    np.testing.assert_array_equal(hashed.rows["age"], [89, 90, 90, 1.5, 90, 89])
    assert hashed.facts["how"]["oldest"] == 90
    assert (hashed.hashed, kept.hashed) == (True, False)
