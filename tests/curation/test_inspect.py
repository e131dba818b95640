"""Inspect on small made sets: what is planted is found, what is clean passes."""

import json

import cv2
import numpy as np
import pandas as pd
import pytest

from radstart.cli import main
from radstart.core.errors import RadstartError
from radstart.core.progress import Progress
from radstart.curation import inspect_dataset
from radstart.dataset import open_dataset
from radstart.ingest.engine import Engine
from radstart.ingest.pipeline import Reading, Source, build
from radstart.ingest.plan import Wanted
from radstart.ingest.privacy import Names
from radstart.report import write_inspection_page


def picture(seed, height=96, width=96):
    """Return a smooth random picture; pictures of two seeds hardly correlate."""
    rng = np.random.default_rng(seed)
    small = rng.integers(20, 235, (8, 8)).astype(np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def made(folder, entries, key=b"", name="set"):
    """Return the path of a dataset of (picture, label, patient, split[, mask])."""
    files = folder / f"{name} files"
    files.mkdir(parents=True)
    wanted = []
    for k, (image, label, patient, split, *mask) in enumerate(entries):
        path = files / f"{k:03d}.png"
        cv2.imwrite(str(path), image)
        masks = ()
        if mask and mask[0] is not None:
            masks = (str(files / f"{k:03d}.mask.png"),)
            cv2.imwrite(masks[0], mask[0])
        values = {"label": label, "patient": patient, "split": split}
        wanted.append(Wanted(str(path), path.name, 0, path.stat().st_size, 0, k + 2, values, masks))
    source = Source(tuple(wanted), (), name, "label")

    def check(rows, rejected):
        return tuple(sorted(set(rows["label"]) - {""})), rows, rejected

    reading = Reading(engine=Engine(workers=0))
    return build(folder / name, source, reading, Names(key), check, Progress()).path


def clean(n=40):
    parts = ["train", "train", "val", "test"]
    return [(picture(k), "ab"[k % 2], f"p{k // 2}", parts[k // 2 % 4]) for k in range(n)]


def facts_of(path, **options):
    inspect_dataset(path, **options)
    return json.loads((path / "inspect" / "facts.json").read_text(), parse_constant=pytest.fail)


def words(facts, kind):
    return [one["words"] for one in facts["findings"] if one["kind"] == kind]


@pytest.mark.slow
def test_a_clean_dataset_has_nothing_that_blocks(tmp_path):
    facts = facts_of(made(tmp_path, clean()))
    assert facts["blocking"] == facts["exact_duplicate_groups"] == []
    assert facts["label_conflicts"] == facts["units_in_several_parts"] == []
    assert facts["near_duplicate_groups"] == facts["giveaways"] == []
    assert facts["units"]["units"] == 20
    for one in facts["shortcuts"]:
        assert one["verdict"] in ("none", "slight", "cannot tell")


@pytest.mark.slow
def test_a_patient_and_a_picture_in_two_parts_block(tmp_path):
    entries = clean()
    entries[4] = (entries[4][0], "a", "p2", "train")  # p2 is in val: now in both
    entries[39] = (entries[0][0], "b", "p19", entries[39][3])  # p0's picture, in train and test
    path = made(tmp_path, entries)
    facts = facts_of(path)
    crossing = {one["unit"]: one for one in facts["units_in_several_parts"]}
    assert set(crossing) == {"p2", "p0"}
    assert crossing["p2"]["parts"] == {"train": 1, "val": 1}
    assert crossing["p2"]["kind"] == "patient"
    assert facts["exact_duplicate_groups"] == [["000.png", "039.png"]]
    assert facts["label_conflicts"] == [{"images": ["000.png", "039.png"], "labels": ["a", "b"]}]
    (copy,) = facts["duplicates_across_parts"]
    assert copy["parts"] == ["train", "test"]
    (several,) = facts["duplicates_under_several_patients"]
    assert several["patients"] == ["p0", "p19"]
    assert {one["kind"] for one in facts["blocking"]} == {
        "label_conflicts", "units_in_several_parts",
    }  # fmt: skip


@pytest.mark.slow
def test_blank_pictures_are_copies_of_nothing(tmp_path):
    black = np.zeros((96, 96), np.uint8)
    entries = clean()
    for k in (0, 7, 20):
        entries[k] = (black, *entries[k][1:])
    facts = facts_of(made(tmp_path, entries))
    assert facts["exact_duplicate_groups"] == [["000.png", "007.png", "020.png"]]
    assert facts["blocking"] == facts["label_conflicts"] == []
    assert facts["dropped"][0]["reason"] == "blank"


def test_a_split_file_is_audited(tmp_path):
    path = made(tmp_path, [(image, label, who, "") for image, label, who, _ in clean()])
    assert facts_of(path)["divisions"] == []
    rows = open_dataset(path).rows
    (path / "splits").mkdir()
    part = np.where(np.arange(len(rows)) % 2, "train", "test")  # every patient in both
    table = pd.DataFrame({"row": rows["row"], "image": rows["image"], "part": part,
                          "part_2": "train"})  # fmt: skip
    table.to_parquet(path / "splits" / "mine.parquet")
    facts = facts_of(path)
    (split,) = facts["divisions"]
    assert (split["division"], split["patients"]) == ("splits/mine", 20)
    assert words(facts, "units_in_several_parts")[0].startswith("20 patients stand in several")
    table.assign(row=table["row"] + 1).to_parquet(path / "splits" / "mine.parquet")
    with pytest.raises(RadstartError, match="split of another dataset"):
        inspect_dataset(path)


@pytest.mark.slow
def test_near_duplicates_of_two_parts_and_a_turned_copy_are_found(tmp_path):
    entries = clean()
    drawn = cv2.GaussianBlur(entries[0][0], (0, 0), 0.8)
    drawn[40:42, 40:42] = 255
    entries[39] = (drawn, "b", "p19", "test")
    turned = cv2.warpAffine(entries[5][0], cv2.getRotationMatrix2D((47.5, 47.5), 33, 1), (96, 96))
    entries[38] = (turned, *entries[38][1:])
    facts = facts_of(made(tmp_path, entries))
    assert facts["near_duplicate_groups"] == [["000.png", "039.png"]]
    (across,) = facts["near_duplicates"]["across_parts"]
    (pair,) = across["pairs"]
    assert (pair["images"], pair["between"]) == (["000.png", "039.png"], ["train", "test"])
    assert len(facts["near_duplicates"]["across_labels"]) == 1
    (copy,) = facts["turned_copies"]["examples"]
    assert copy["images"] == ["005.png", "038.png"]
    assert abs(copy["degrees"]) == pytest.approx(33, abs=4)
    assert not copy["mirrored"]


@pytest.mark.slow
def test_a_corner_that_tells_the_label_is_a_shortcut_and_a_giveaway(tmp_path):
    entries = []
    for image, label, patient, split in clean(60):
        image = image.copy()
        image[0, 0] = 77 if label == "a" else 10
        entries.append((image, label, patient + label, split))
    facts = facts_of(made(tmp_path, entries))
    corner = next(one for one in facts["shortcuts"] if one["family"] == "corner pixels")
    assert corner["verdict"] == "strong"
    assert corner["ci_low"] > 0.8
    told = {(one["property"], one["value"], one["class"]) for one in facts["giveaways"]}
    assert ("top left pixel", "77", "a") in told
    assert next(c for c in facts["classes"] if c["name"] == "a")["corner"] == {
        "value": 77, "share": 1.0,
    }  # fmt: skip


@pytest.mark.slow
def test_letters_are_suspected_and_noise_is_not(tmp_path):
    entries = clean(12)
    for k in range(12):
        image = (np.random.default_rng(k).normal(90, 12, (256, 256))).clip(0, 255).astype(np.uint8)
        image = cv2.GaussianBlur(image, (0, 0), 2)
        if k < 5:
            cv2.putText(image, "DOE JOHN", (20, 30), cv2.FONT_HERSHEY_SIMPLEX, 0.6, 255, 2)
        entries[k] = (image, *entries[k][1:])
    text = facts_of(made(tmp_path, entries))["privacy"]["suspected_text"]
    assert {one["image"] for one in text["examples"]} == {f"{k:03d}.png" for k in range(5)}
    left, top, _, bottom = text["examples"][0]["boxes"][0]
    assert left < 0.15
    assert top < 0.1 < bottom < 0.15


@pytest.mark.slow
def test_kept_names_and_dates_are_warned_of_and_not_repeated(tmp_path):
    entries = [(image, label, f"DOE^JOHN {k // 2}", split)
               for k, (image, label, _, split) in enumerate(clean())]  # fmt: skip
    facts = facts_of(made(tmp_path, entries))
    patient = facts["privacy"]["identifiers"]["columns"][0]
    assert (patient["column"], patient["like_names"]) == ("patient", 20)
    assert words(facts, "identifiers") == ["Column patient: 20 values look like names or dates."]
    path = made(tmp_path, entries, key=b"k" * 32, name="hashed")
    hashed = facts_of(path)
    patient = hashed["privacy"]["identifiers"]["columns"][0]
    assert (patient["hashed"], patient["like_names"]) == (20, 0)
    assert not words(hashed, "identifiers_kept")
    for file in (path / "inspect").iterdir():
        assert b"DOE" not in file.read_bytes()


@pytest.mark.slow
def test_masks_that_are_missing_or_empty(tmp_path):
    full, empty = np.zeros((96, 96), np.uint8), np.zeros((96, 96), np.uint8)
    full[20:40, 20:40] = 255
    entries = [(*one, full if one[1] == "a" else empty) for one in clean()]
    entries[3] = (*entries[3][:4], None)
    masks = facts_of(made(tmp_path, entries))["masks"]
    assert masks["missing"] == {
        "images": 1, "examples": ["003.png"], "files": ["003.png"], "n_files": 1,
    }  # fmt: skip
    assert [(one["name"], one["masks"], one["empty"]) for one in masks["by_label"]] == [
        ("a", 20, 0), ("b", 19, 19),
    ]  # fmt: skip


@pytest.mark.slow
def test_images_of_another_set_are_found_by_pixels_and_by_hashes(tmp_path):
    mine, theirs = clean(), [(picture(900 + k), "a", f"q{k}", "train") for k in range(10)]
    theirs[3] = (mine[10][0], "a", "q3", "train")
    blurred = cv2.GaussianBlur(mine[11][0], (0, 0), 1.0)
    theirs[4] = (blurred, "a", "q4", "train")
    path, other = made(tmp_path, mine), made(tmp_path, theirs, name="other")
    inspect_dataset(other)
    found = facts_of(path, against=other)["against"]
    assert (found["exact"]["images"], found["near"]["images"]) == (1, 1)
    assert found["exact"]["by_part"] == {"split column": {mine[10][3]: 1}}
    exact, near = found["matches"]
    assert (exact["image"], exact["other"]) == ("010.png", "003.png")
    assert (near["image"], near["other"], near["kind"]) == ("011.png", "004.png", "near")
    listed = facts_of(path, against=other / "inspect" / "hashes.txt")["against"]
    assert (listed["exact"]["images"], listed["perhaps"]["images"]) == (1, 1)
    assert [one["image"] for one in listed["matches"]] == ["010.png", "011.png"]
    assert facts_of(path)["against"] is None


def test_what_is_no_other_set_is_refused(tmp_path):
    path = made(tmp_path, clean())
    bad = tmp_path / "list.txt"
    bad.write_text("# fine\n0123456789abcdef\nnot a hash\n")
    for other, said in (
        (tmp_path / "absent", "is not there"), (bad, "line 3.*is no hash"), (tmp_path, "dataset"),
    ):  # fmt: skip
        with pytest.raises(RadstartError, match=said):
            inspect_dataset(path, other)
    with pytest.raises(RadstartError, match="radstart ingest"):
        inspect_dataset(tmp_path)


@pytest.mark.slow
def test_the_verb_writes_a_page_and_strict_says_so_by_its_exit_code(tmp_path, capsys):
    fine = made(tmp_path, clean())
    entries = clean()
    entries[39] = (entries[0][0], "b", "p19", entries[39][3])
    broken = made(tmp_path, entries, name="broken <b>")
    with pytest.raises(SystemExit) as ended:
        main(["inspect", str(fine), "--strict"])
    assert ended.value.code in (None, 0)
    for words_given, code in ((["--strict"], 1), ([], 0)):
        with pytest.raises(SystemExit) as ended:
            main(["inspect", str(broken), *words_given])
        assert (ended.value.code or 0) == code
    said = capsys.readouterr().out
    assert "blocking  1 picture stands under several labels (2 images)." in said
    page = (broken / "inspect" / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "broken &lt;b&gt;" in page
    assert "<b>" not in page.split("</style>")[1].split("<main>")[1].split("</h1>")[0]
    assert page.count("data:image/jpeg;base64,") > 20
    assert "http" not in page.replace("http-equiv", "")


@pytest.mark.slow
def test_a_page_without_images_and_of_empty_facts_is_written(tmp_path, capsys):
    path = made(tmp_path, clean())
    with pytest.raises(SystemExit):
        main(["inspect", str(path), "--no-images"])
    assert "data:image" not in (path / "inspect" / "report.html").read_text(encoding="utf-8")
    page = write_inspection_page({}, tmp_path / "empty.html")
    assert "What is wrong with this dataset?" in page.read_text(encoding="utf-8")


def texture(seed):
    """Return a random picture with structures of several sizes."""
    rng = np.random.default_rng(seed)
    image = sum(
        2.0 ** (k / 2) * cv2.GaussianBlur(rng.standard_normal((96, 96)), (0, 0), 2.0**k)
        for k in range(1, 5)
    )
    image = image - image.min()
    return np.rint(235 * image / image.max() + 10).astype(np.uint8)


def altered(image, how):
    if how == "cropped":
        return cv2.resize(np.ascontiguousarray(image[7:-7, 7:-7]), (96, 96))
    if how == "contrast":
        return np.rint(255 * (image / 255) ** 3).astype(np.uint8)
    return cv2.warpAffine(image, cv2.getRotationMatrix2D((47.5, 47.5), 5, 1), (96, 96))


def hidden(folder):
    """Return a dataset of 80 pictures, 3 altered copies among them, each of another patient."""
    entries = [
        (texture(k), "ab"[k % 2], f"p{k // 2}", ["train", "val", "test"][k // 2 % 3])
        for k in range(80)
    ]
    for k, how in ((77, "cropped"), (78, "contrast"), (79, "turned")):
        entries[k] = (altered(entries[k - 70][0], how), *entries[k][1:])
    entries[71] = (cv2.GaussianBlur(entries[1][0], (0, 0), 0.5), *entries[71][1:])
    entries[3] = (altered(entries[2][0], "contrast"), *entries[3][1:])  # of one patient
    return made(folder, entries)


@pytest.fixture
def seen(monkeypatch):
    """Let copies look to the network like what they are copies of, and made ones mostly so."""

    def features(dataset, arm, places, progress):
        rng = np.random.default_rng(0)
        own = rng.normal(size=(80, 64)).astype(np.float32) + 5  # all of one kind: one direction
        for k, of in ((77, 7), (78, 8), (79, 9), (71, 1), (3, 2)):
            own[k] = own[of] + rng.normal(size=64) * 0.3
        drawn = rng.permutation(len(places))[:20].reshape(4, 5)
        made = own[places[drawn]] + rng.normal(size=(4, 5, 64)) * 0.3
        made[3] = rng.normal(size=(5, 64)) + 5
        return own[places], made.reshape(20, 64).astype(np.float32), drawn

    monkeypatch.setattr("radstart.curation.featured._features", features)


@pytest.mark.slow
def test_features_find_copies_that_hashes_miss(tmp_path, weights, seen):
    path = hidden(tmp_path)
    plain = facts_of(path)
    assert plain["feature_copies"] is None
    assert plain["near_duplicate_groups"] == [["001.png", "071.png"]]
    assert (open_dataset(path).rows["near"] >= 0).sum() == 2  # nor does the perceptual hash
    facts = facts_of(path, features=f"net=file:{weights}")
    found = facts["feature_copies"]
    assert (found["arm"], found["size"], found["images"]) == ("net", 64, 80)
    pairs = [one["images"] for one in found["examples"] if one["suspected"]]
    copies = [["007.png", "077.png"], ["008.png", "078.png"], ["009.png", "079.png"]]
    assert sorted(pairs) == found["groups"] == copies  # not those known, nor of one patient
    assert (found["pairs"], found["across_parts"]) == (3, {"split column": 3})
    assert len(found["examples"]) == 12
    kinds = ["mirrored", "other contrast", "cropped to 85 %", "turned by 8°"]
    assert [(one["kind"], one["copies"], one["found"]) for one in found["made"]] == [
        *((kind, 5, 5) for kind in kinds[:3]), (kinds[3], 5, 0),
    ]  # fmt: skip
    (said,) = words(facts, "feature_copies")
    assert said.startswith("3 further groups of suspected copies by features of net (6 images).")
    assert "3 pairs of them in different parts" in said
    assert facts["blocking"] == []


@pytest.mark.slow
def test_features_are_kept_and_a_network_that_sees_nothing_suspects_nothing(tmp_path, weights):
    path = hidden(tmp_path)
    found = facts_of(path, features=f"net=file:{weights}")["feature_copies"]
    (kept,) = (path / "cache").glob("*.npy")
    assert np.load(kept).shape[0] == 80
    before = kept.stat().st_mtime_ns
    assert facts_of(path, features=f"net=file:{weights}")["feature_copies"] == found
    assert kept.stat().st_mtime_ns == before
    assert (found["threshold"], found["pairs"], len(found["examples"])) == (None, 0, 12)
    few = facts_of(made(tmp_path, clean(8), name="few"), features=f"net=file:{weights}")
    assert (few["feature_copies"]["threshold"], few["feature_copies"]["examples"]) == (None, [])


@pytest.mark.slow
def test_the_altered_copies_are_what_they_are_called():
    from radstart.curation.featured import ALTERED

    image = texture(0)
    mirrored, contrast, cropped, turned = (alter(image, 96) for alter in ALTERED.values())
    assert np.array_equal(mirrored[:, ::-1], image)
    assert (np.diff(contrast.ravel()[np.argsort(image.ravel())].astype(int)) >= 0).all()
    assert contrast.mean() < image.mean() - 10
    inner = cv2.resize(image, (113, 113))[8:104, 8:104].astype(int)
    assert np.abs(inner - cropped).mean() < 6 < 20 < np.abs(inner - image).mean()
    back = cv2.warpAffine(turned, cv2.getRotationMatrix2D((47.5, 47.5), -8, 1), (96, 96))
    assert np.abs(back.astype(int) - image)[20:76, 20:76].mean() < 3


@pytest.mark.slow
@pytest.mark.parametrize("start", ["random", "moments:x"])
def test_features_of_random_values_are_refused(tmp_path, start):
    path = made(tmp_path, clean(8))
    with pytest.raises(RadstartError, match="--features: features of random values"):
        inspect_dataset(path, features=start)
    assert not (path / "inspect").exists()


@pytest.mark.slow
def test_the_page_shows_what_features_found(tmp_path, weights, seen, capsys):
    path = hidden(tmp_path)
    with pytest.raises(SystemExit) as done:
        main(["inspect", str(path), "--features", f"net=file:{weights}"])
    assert done.value.code == 0
    assert "3 further groups of suspected copies by features of net" in capsys.readouterr().out
    page = (path / "inspect" / "report.html").read_text()
    part = page[page.index("Suspected: further copies") :]
    part = part[: part.index("</section>")]
    assert part.count("data:image/jpeg") >= 4
    assert "mirrored" in part
    assert ", suspected" in part
