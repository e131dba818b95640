"""Inspect on the real sets: every fault that their SOURCE.md measured, and its figure."""

import csv
import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from radstart.core.files import read_json
from radstart.core.progress import Progress
from radstart.curation import inspect_dataset
from radstart.ingest.engine import Engine
from radstart.ingest.pipeline import Reading, Source, build
from radstart.ingest.plan import Wanted
from radstart.ingest.privacy import Names

DATA = Path(__file__).parents[2].parent / "shared" / "data"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.real,
    pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is absent: NOT TESTED on images"),
]
COLUMNS = {"label": "label", "patient": "patient_id", "split": "split", "fold": "fold"}


def ingested(folder, name, image="image", mask=None, targets=(), **columns):
    """Make the dataset of a set, keeping every row, contradictory ones too."""
    with (DATA / name / "labels.csv").open(encoding="utf-8") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row[image])
    wanted = []
    for line, row in enumerate(rows, 2):
        path = DATA / name / row[image]
        values = {m: row.get(c) or "" for m, c in {**COLUMNS, **columns}.items()}
        values |= {f"target.{name}": row[name] for name in targets}
        masks = (
            tuple(str(DATA / name / m) for m in (row[mask] or "").split(";") if m) if mask else ()
        )
        size = path.stat().st_size
        wanted.append(Wanted(str(path), row[image], 0, size, 0, line, values, masks))
    source = Source(tuple(wanted), (), name, "label", targets=tuple(targets))

    def check(rows, rejected):
        return tuple(sorted(set(rows["label"]) - {""})), rows, rejected

    reading = Reading(engine=Engine(workers=0))
    return build(folder / name, source, reading, Names(b""), check, Progress()).path


def facts_of(folder, name, **options):
    path = ingested(folder, name, **options)
    found = inspect_dataset(path)
    facts = read_json(path / "inspect" / "facts.json")
    assert facts["blocking"] == found.blocking
    return facts


MOBILENET = DATA.parent / "weights" / "mobilenetv2_100_imagenet_tf2"


@pytest.mark.skipif(not MOBILENET.is_dir(), reason="the ImageNet weights are absent: NOT TESTED")
def test_copies_that_no_hash_finds_are_found_by_features(tmp_path):
    """Chest radiographs, two of them hidden again: with another contrast, and cropped."""
    files = tmp_path / "files"
    shutil.copytree(DATA / "chest_covid_findings" / "images", files)
    names = sorted(path.name for path in files.iterdir())[:200]
    for path in files.iterdir():
        if path.name not in names:
            path.unlink()
    first, second = (cv2.imread(str(files / n), cv2.IMREAD_GRAYSCALE) for n in names[120:123:2])
    copies = [np.uint8(255 * (first / 255) ** 2.2), second[12:-12, 12:-12]]
    for k, copy in enumerate(copies):
        cv2.imwrite(str(files / f"copy{k}.png"), copy)
    with (DATA / "chest_covid_findings" / "labels.csv").open(encoding="utf-8") as file:
        patient = {Path(row["image"]).name: row["patient_id"] for row in csv.DictReader(file)}
    wanted = []
    for path in sorted(files.iterdir()):
        values = {"label": "x", "patient": patient.get(path.name) or path.name}
        wanted.append(Wanted(str(path), path.name, 0, path.stat().st_size, 0, 0, values))
    source = Source(tuple(wanted), (), "set", "label")
    reading = Reading(engine=Engine(workers=0))
    path = build(
        tmp_path / "set", source, reading, Names(b""), lambda *tables: (("x",), *tables), Progress()
    ).path
    facts = inspect_dataset(path, features=f"file:{MOBILENET}").facts
    hidden = [{names[120], "copy0.png"}, {names[122], "copy1.png"}]
    assert not any(set(own) in hidden for own in facts["near_duplicate_groups"])
    rows = pd.read_parquet(path / "rows.parquet").set_index("image")["near"]
    assert (rows[["copy0.png", "copy1.png"]] == -1).all()
    found = facts["feature_copies"]
    suspected = [set(one["images"]) for one in found["examples"] if one["suspected"]]
    assert all(pair in suspected for pair in hidden)
    assert len(suspected) <= 6
    assert [one["found"] for one in found["made"][:2]] == [11, 11]  # mirrored, other contrast


def blocking(facts):
    return {one["kind"] for one in facts["blocking"]}


def near(facts, correlation):
    return next(
        one for one in facts["near_duplicates"]["counts"] if one["correlation"] == correlation
    )


def probe(facts, family, question="label"):
    return next(
        one for one in facts["shortcuts"] if (one["family"], one["question"]) == (family, question)
    )


def images_in(groups):
    return sum(len(group) for group in groups)


def test_chest_x_rays_170_patients_in_both_parts_and_30_duplicate_groups(tmp_path):
    facts = facts_of(tmp_path, "chest_xray_kermany")
    (split,) = facts["divisions"]
    assert (split["patients"], split["units"], split["images"], split["contents"]) == (
        *(170, 170, 777), 0,
    )  # fmt: skip
    assert len(facts["units_in_several_parts"]) == 170
    assert {one["kind"] for one in facts["units_in_several_parts"]} == {"patient"}
    groups = facts["exact_duplicate_groups"]
    assert (len(groups), images_in(groups)) == (30, 62)
    assert sorted(map(len, groups)) == [2] * 28 + [3] * 2
    assert facts["label_conflicts"] == facts["duplicates_across_parts"] == []
    (pair,) = facts["duplicates_under_several_patients"]
    assert sorted(pair["patients"]) == ["NORMAL2-IM-0095", "NORMAL2-IM-0096"]
    assert near(facts, 0.98)["across_parts"] == {"split column": 0}  # the highest is 0.974
    assert blocking(facts) == {"units_in_several_parts"}


def test_numbers_joined_with_the_aetiology_do_not_stand_in_both_parts(tmp_path):
    facts = facts_of(tmp_path, "chest_xray_kermany", patient="patient_id_by_label")
    assert facts["units_in_several_parts"] == facts["blocking"] == []


def test_chest_findings_30_patients_in_several_parts_pair_by_pair(tmp_path):
    names = ["atelectasis", "cardiomegaly", "effusion", "infiltration", "no_finding"]
    facts = facts_of(tmp_path, "chest_multilabel", targets=names)
    (split,) = facts["divisions"]
    assert (split["patients"], split["images"]) == (30, 309)
    pairs = {frozenset(one["parts"]): one["units"] for one in split["pairs"]}
    assert pairs == {
        frozenset({"train", "test"}): 8,
        frozenset({"train", "valid"}): 15,
        frozenset({"valid", "test"}): 9,
    }
    assert facts["units"]["units"] == 264
    assert facts["exact_duplicate_groups"] == []
    assert facts["contradictory_findings"]["images"] == 0
    assert {one["name"] for one in facts["targets"]} == set(names)


def test_one_ultrasound_picture_under_two_labels_and_73_near_pairs(tmp_path):
    facts = facts_of(tmp_path, "breast_us_busi", mask="mask")
    (conflict,) = facts["label_conflicts"]
    assert [Path(name).stem for name in conflict["images"]] == ["benign_433", "malignant_145"]
    assert conflict["labels"] == ["benign", "malignant"]
    assert blocking(facts) == {"label_conflicts"}
    assert len(facts["exact_duplicate_groups"]) == 1
    # The source counts the identical pair among its 73 pairs, 52 groups, 117 images and 5 across.
    close = near(facts, 0.995)
    assert close["pairs"] + 1 == pytest.approx(73, abs=2)
    assert close["groups"] + 1 == pytest.approx(52, abs=2)
    assert close["images"] + 2 == pytest.approx(117, abs=3)
    crossing = {
        frozenset(Path(name).stem for name in one["images"])
        for one in facts["near_duplicates"]["across_labels"]
    }
    assert crossing == {
        frozenset({"benign_131", "malignant_051"}), frozenset({"benign_399", "malignant_093"}),
        frozenset({"benign_042", "malignant_051"}), frozenset({"benign_437", "normal_034"}),
    }  # fmt: skip
    masks = {one["name"]: (one["masks"], one["empty"]) for one in facts["masks"]["by_label"]}
    assert masks == {"benign": (437, 0), "malignant": (210, 0), "normal": (133, 133)}
    assert facts["masks"]["missing"]["images"] == 0
    text = {one["name"]: one["suspected"] for one in facts["privacy"]["suspected_text"]["by_label"]}
    assert text["benign"] + text["malignant"] > 60  # callipers, "RT UOQ", in lesion images
    assert text["normal"] <= 5
    assert not facts["units"]["known"]


def test_brain_tumours_do_not_leak_over_folds(tmp_path):
    facts = facts_of(tmp_path, "brain_tumor_cheng", mask="mask")
    assert {one["name"]: one["images"] for one in facts["classes"]} == {
        "meningioma": 708, "glioma": 1426, "pituitary": 930,
    }  # fmt: skip
    (folds,) = facts["divisions"]
    assert [part["images"] for part in folds["parts"]] == [570, 655, 562, 613, 664]
    assert facts["units_in_several_parts"] == facts["blocking"] == []
    assert facts["exact_duplicate_groups"] == []
    # Thumbnails of another size and filter: 327, 80 and 6 pairs there, 6, 1 and 0 across folds.
    assert near(facts, 0.97)["pairs"] == pytest.approx(327, rel=0.15)
    assert near(facts, 0.97)["across_parts"]["fold column"] == pytest.approx(6, abs=2)
    assert near(facts, 0.98)["pairs"] == pytest.approx(80, rel=0.15)
    assert near(facts, 0.98)["across_parts"]["fold column"] <= 1
    assert near(facts, 0.99)["pairs"] == 6
    assert near(facts, 0.99)["across_parts"]["fold column"] == 0
    assert all(one["across_labels"] == 0 for one in facts["near_duplicates"]["counts"])
    assert [one["empty"] for one in facts["masks"]["by_label"]] == [0, 0, 0]


def test_bone_ages_are_heaped_at_six_months(tmp_path):
    facts = facts_of(tmp_path, "bone_age_hand", label="", targets=["bone_age_months"])
    (age,) = facts["targets"]
    assert (age["low"], age["high"], age["median"], age["distinct"]) == (12, 228, 132, 63)
    assert (round(age["mean"], 1), round(age["sd"], 1)) == (125.2, 45.7)
    assert (age["heap"]["step"], age["heap"]["images"]) == (6, 594)
    assert facts["exact_duplicate_groups"] == []
    assert facts["privacy"]["suspected_text"]["images"] > 80  # initials of technologists


def test_covid_pictures_under_two_patients(tmp_path):
    facts = facts_of(tmp_path, "chest_covid_findings")
    groups = facts["exact_duplicate_groups"]
    assert (len(groups), images_in(groups)) == (6, 12)
    several = {frozenset(one["patients"]) for one in facts["duplicates_under_several_patients"]}
    assert several == {frozenset({"285", "339"}), frozenset({"287", "340"})}
    assert len(facts["duplicates_under_several_patients"]) == 5
    assert facts["label_conflicts"] == []
    labels = facts["patients_with_several_labels"]
    assert {one["patient"] for one in labels["examples"]} == {
        "117", "178", "173", "223", "252", "270",
    }  # fmt: skip
    assert facts["dataset"]["labelled"] == 318


def test_226_lung_mask_images_are_in_the_findings_set_also_by_hashes_alone(tmp_path):
    masks = ingested(tmp_path, "chest_lung_masks", mask="mask")
    findings = ingested(tmp_path, "chest_covid_findings")
    inspect_dataset(findings)
    by_pixels = inspect_dataset(masks, findings)
    found = by_pixels.facts["against"]
    assert (found["exact"]["images"], found["near"]["images"]) == (226, 0)
    assert {one["kind"] for one in by_pixels.blocking} == {"in_other_exact"}
    assert by_pixels.facts["masks"]["missing"]["images"] == 0
    listed = inspect_dataset(masks, findings / "inspect" / "hashes.txt").facts["against"]
    assert (listed["exact"]["images"], listed["perhaps"]["images"]) == (226, 0)


def test_knees_a_disaster_on_purpose(tmp_path):
    facts = facts_of(tmp_path, "knee_xray_osteoporosis")
    groups = facts["exact_duplicate_groups"]
    assert (len(groups), images_in(groups)) == (193, 478)
    (split,) = facts["divisions"]
    assert (split["contents"], split["units"]) == (124, 124)
    assert len(facts["units_in_several_parts"]) == len(facts["duplicates_across_parts"]) == 124
    assert len(facts["label_conflicts"]) == 25
    assert blocking(facts) == {"label_conflicts", "units_in_several_parts"}
    names = {
        name for one in facts["turned_copies"]["examples"] for name in one["images"]
        if "_aug_" in name
    }  # fmt: skip
    assert len(names) >= 33  # of 70; about half are found


def test_lung_ct_42_pairs_and_a_shape_that_tells_malignant(tmp_path):
    facts = facts_of(tmp_path, "lung_ct_iqothnccd")
    groups = facts["exact_duplicate_groups"]
    assert (len(groups), images_in(groups)) == (42, 84)
    kinds = [Path(group[0]).stem.split("_")[0] for group in groups]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "benign": 17, "malignant": 14, "normal": 11,
    }  # fmt: skip
    assert facts["label_conflicts"] == []
    assert {one["name"]: one["not_square"] for one in facts["classes"]} == {
        "benign": 0, "malignant": 60, "normal": 1,
    }  # fmt: skip
    shape = next(one for one in facts["giveaways"] if one["property"] == "shape")
    assert (shape["value"], shape["class"]) == ("wide", "malignant")
    assert (shape["of_class"], shape["units"]) == (60, 61)
    assert probe(facts, "size and shape")["ci_low"] > 0.5
    assert not facts["units"]["known"]


def test_mednist_corner_pixels_tell_the_class(tmp_path):
    facts = facts_of(tmp_path, "mednist")
    groups = [sorted(Path(name).stem for name in one) for one in facts["exact_duplicate_groups"]]
    assert sorted(groups) == [
        ["001727", "001743"], ["001834", "001978"], ["002065", "005773", "006769", "009762"],
    ]  # fmt: skip
    corner = {one["name"]: one["corner"] for one in facts["classes"]}
    for name, value, share in (
        ("AbdomenCT", 101, 1.00), ("BreastMRI", 0, 0.99), ("CXR", 0, 0.35),
        ("ChestCT", 126, 1.00), ("Hand", 0, 0.08), ("HeadCT", 25, 1.00),
    ):  # fmt: skip
        assert (corner[name]["value"], corner[name]["share"]) == (
            value, pytest.approx(share, abs=0.006),
        )  # fmt: skip
    found = probe(facts, "corner pixels")
    assert found["verdict"] == "strong"
    assert found["auroc"] > 0.98
    told = {one["class"] for one in facts["giveaways"] if one["property"] == "top left pixel"}
    assert told >= {"AbdomenCT", "ChestCT", "HeadCT"}
    assert facts["label_conflicts"] == facts["blocking"] == []


def test_the_hippocampus_without_a_label_is_named(tmp_path):
    facts = facts_of(
        tmp_path, "nifti_msd_hippocampus", label="", mask="label", split="", patient="patient_id"
    )
    missing = facts["masks"]["missing"]
    assert missing["n_files"] == 1
    assert "hippocampus_118" in missing["files"][0]
    assert facts["units"]["units"] == 46


def test_the_patient_of_two_series_is_one_unit(tmp_path):
    facts = facts_of(tmp_path, "dicom_mr_tcia_brain", image="file", label="")
    assert facts["units"]["units"] == 4
    assert facts["exact_duplicate_groups"] == []
    assert facts["units"]["known"]
