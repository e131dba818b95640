"""Real images: what the published sets' own faults must look like here."""

from pathlib import Path

import pytest

from radstart.core.errors import RadstartError
from radstart.dataset import (
    PARTS,
    assign_parts,
    audit,
    count_duplicates,
    find_units,
    resolve,
    text,
    working_copy,
)
from radstart.ingest import Columns, ingest_folder

DATA = Path(__file__).parents[2].parent / "shared" / "data"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.real,
    pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is absent: NOT TESTED on images"),
]


def read(tmp_path, name, **options):
    out = tmp_path / name
    dataset = ingest_folder(DATA / name, out, labels=Path("labels.csv"), **options)
    units = find_units(dataset.rows, near=False)
    return dataset, units, assign_parts(dataset.rows, units, seed=0)


def test_chest_x_rays_stop_at_170_patient_numbers(tmp_path):
    columns = Columns(label="binary")
    dataset, units, parts = read(tmp_path, "chest_xray_kermany", columns=columns)
    assert (len(dataset), len(dataset.rejected)) == (1193, 0)
    assert dataset.classes == ("normal", "pneumonia")
    assert (units.kind, units.patients_known, len(set(units.unit))) == ("patient", True, 530)
    assert units.joined == (("NORMAL2-IM-0095", "NORMAL2-IM-0096"),)
    assert count_duplicates(dataset.rows) == (30, 62, 1)
    found = audit(dataset.rows, units, parts)
    assert (found.patients, found.units, found.images, found.contents) == (170, 170, 777, 0)
    with pytest.raises(RadstartError, match=r"170 patient numbers.*line 112 .*person100"):
        resolve(dataset.rows, units, parts, found, "stop", 0)
    redrawn, _ = resolve(dataset.rows, units, parts, found, "regroup", 0)
    assert audit(dataset.rows, units, redrawn).units == 0
    before, after = ([int((p.part == n).sum()) for n in PARTS] for p in (parts, redrawn))
    assert after == pytest.approx(before, abs=6)
    dropped, record = resolve(dataset.rows, units, parts, found, "drop", 0)
    assert audit(dataset.rows, units, dropped).units == 0
    assert (dropped.part == "test").sum() == (parts.part == "test").sum() == 440
    assert record.dropped == ((parts.part != "") & (dropped.part == "")).sum() > 0


def test_the_patient_column_cannot_be_switched_off(tmp_path):
    with pytest.raises(RadstartError, match="patient_id"):
        read(tmp_path, "chest_xray_kermany", columns=Columns(label="binary", patient=""))
    other = Columns(label="binary", patient="patient_id_by_label")
    dataset, units, parts = read(tmp_path, "chest_xray_kermany", columns=other)
    assert audit(dataset.rows, units, parts).units == 0


def test_brain_tumours_keep_whole_folds_and_patients_are_unknown(tmp_path):
    dataset, units, parts = read(tmp_path, "brain_tumor_cheng")
    assert (len(dataset), units.kind, units.patients_known) == (3064, "duplicate group", False)
    fold = text(dataset.rows, "fold")
    assert parts.source == "folds"
    assert set(fold[parts.part == "test"]) == {"5"}
    assert set(fold[parts.part == "validation"]) == {"4"}
    assert [(parts.part == name).sum() for name in PARTS] == [1787, 613, 664]
    assert audit(dataset.rows, units, parts).units == 0
    assert working_copy(dataset, 64).shape == (3064, 64, 64)


def test_one_ultrasound_image_under_two_labels_is_refused_twice(tmp_path):
    dataset, units, parts = read(tmp_path, "breast_us_busi")
    rejected = dataset.rejected
    assert rejected["image"].tolist() == ["images/benign_433.jpg", "images/malignant_145.jpg"]
    assert set(rejected["reason"]) == {
        f"the same picture under two labels: line {rejected['line'][0]} (benign) "
        f"and line {rejected['line'][1]} (malignant); correct the wrong one"
    }
    assert (len(dataset), parts.source, units.patients_known) == (778, "drawn", False)


def test_knee_duplicates_stop(tmp_path):
    with pytest.raises(RadstartError) as caught:
        read(tmp_path, "knee_xray_osteoporosis")
    assert "116 of 548" in str(caught.value)
    assert "124 identical pictures stand in more than one split" in str(caught.value)
    assert not list(tmp_path.iterdir())
    dataset, units, parts = read(tmp_path, "knee_xray_osteoporosis", max_rejected=0.5)
    found = audit(dataset.rows, units, parts)
    assert (len(dataset), found.contents, found.patients) == (432, 102, 0)
    with pytest.raises(RadstartError, match="102 identical images stand in more than one part"):
        resolve(dataset.rows, units, parts, found, "stop", 0)


def test_body_parts_are_drawn_and_stratified(tmp_path):
    dataset, units, parts = read(tmp_path, "mednist")
    assert (parts.source, len(dataset.classes)) == ("drawn", 6)
    label = text(dataset.rows, "label")
    for name in dataset.classes:
        for part, share in zip(PARTS, (0.75, 0.10, 0.15), strict=True):
            n = ((label == name) & (parts.part == part)).sum()
            assert n == pytest.approx(share * (label == name).sum(), abs=2)
    assert audit(dataset.rows, units, parts).units == 0
