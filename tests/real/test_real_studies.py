"""Small versions of both studies on real images, through the command line."""

import functools
from pathlib import Path

import pandas as pd
import pytest

from radstart.core.files import read_json
from radstart.training import Recipe

SHARED = Path(__file__).parents[2].parent / "shared"
WEIGHTS = SHARED / "weights" / "mobilenetv2_100_imagenet_tf2"
ARMS = ("random", "moments:imagenet", "imagenet")

pytestmark = [
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.skipif(
        not (SHARED / "data").is_dir() or not WEIGHTS.is_dir(),
        reason="../shared/data or ../shared/weights is absent: NOT TESTED on images",
    ),
]


@pytest.fixture
def ask(cli, tmp_path):
    """Return a function that runs `compare` on a shared set, small, into tmp_path / study."""

    def run(name, *options):
        return cli(
            *("compare", SHARED / "data" / name, "--labels", "labels.csv"),
            *("--arms", f"random,moments:imagenet,imagenet=file:{WEIGHTS}"),
            *("--policies", "full,frozen", "--seeds", "2", "--image-size", "32"),
            *("--epochs", "1", "--numerics", "fp32", "--out", tmp_path / "study", *options),
        )

    return run


def recipe(*grid):
    """Return a recipe that stops at the second look that is no better: minutes less."""
    soon = {"check_steps": 4, "plateau_checks": 1, "final_checks": 1}
    return functools.partial(Recipe, grid=grid, grid_growth=0, **soon)


def check(study, budgets):
    """Check what holds of both studies; return their facts."""
    facts = read_json(study / "facts.json")
    question = facts["question"]
    assert (question["arms"], question["policies"]) == (list(ARMS), ["full", "frozen"])
    assert (question["budgets"], question["seeds"], question["image_size"]) == (budgets, 2, 32)
    assert (question["reference"], question["metric"]["id"]) == ("random", "auroc")
    n_cells = len(ARMS) * 2 * len(budgets)
    assert len(facts["runs"]) == 2 * n_cells
    assert {run["state"] for run in facts["runs"]} == {"done"}
    assert len(facts["results"]) == 8 * n_cells
    assert all(0 <= row["value"] <= 2 for row in facts["results"])
    aurocs = [row for row in facts["results"] if row["metric"] == "auroc"]
    assert all(row["ci_low"] < row["value"] < row["ci_high"] for row in aurocs)
    assert len(facts["comparisons"]) == 2 * 2 * len(budgets)
    assert len(facts["policy_comparisons"]) == len(ARMS) * len(budgets)
    for row in facts["comparisons"] + facts["policy_comparisons"]:
        assert row["verdict"] in ("better", "worse", "practically_equal", "cannot_tell")
        assert row["p"] <= row["p_adjusted"] <= 1
    assert len(facts["answer"]) == 2

    arms = {arm["name"]: arm for arm in facts["arms"]}
    assert {arm["backbone"] for arm in arms.values()} == {"mobilenetv2_100 (pad_type=same)"}
    assert arms["imagenet"]["convention"]["mean"] == [0.5] * 3
    assert arms["moments:imagenet"]["convention"] == arms["imagenet"]["convention"]
    assert arms["random"]["convention"]["mean"] != [0.5] * 3
    receipt = arms["imagenet"]["receipt"]
    assert receipt["parameters_assigned"] == receipt["parameters_total"] == 2_223_872
    assert receipt["dropped"] == 2
    for run in facts["runs"]:
        folder = study / "runs" / run["run"]
        assert (folder / "model.safetensors").is_file()
        cases = pd.read_parquet(folder / "cases.parquet")
        assert set(cases["part"]) == {"validation", "test"}
    assert (study / "results.parquet").is_file()
    return facts


def parts(facts):
    return {part["part"]: part["images"] for part in facts["data"]["parts"]}


def test_chest_x_rays_stop_at_the_given_split_and_then_run_regrouped(ask, tmp_path, monkeypatch):
    """170 patient numbers stand in two parts; regrouped by patient the study runs to a report."""
    monkeypatch.setattr("radstart.study.prepare.Recipe", recipe(3e-4, 1e-3))
    words = "chest_xray_kermany", "--label-column", "binary", "--budgets", "0.2"
    code, out, err = ask(*words)
    assert (code, out) == (2, "")
    assert "170 patient numbers stand in more than one part" in err.splitlines()[-1]
    assert not (tmp_path / "study" / "study.toml").exists()

    code, out, err = ask(*words, "--leakage=regroup")
    assert code == 0, err
    assert out.splitlines()[-1] == f"report: {tmp_path / 'study' / 'report.html'}"
    facts = check(tmp_path / "study", [0.2])
    data, leakage = facts["data"], facts["leakage"]
    assert facts["question"]["positive"] == "pneumonia"
    assert (data["unit"], data["patients_known"]) == ("patient", True)
    assert data["parts_from"] == "regrouped"
    assert (data["n_images"], data["n_units"]) == (1193, 530)
    assert parts(facts)["test"] == pytest.approx(440, abs=6)
    assert (leakage["policy"], leakage["units"], leakage["patients"]) == ("regroup", 170, 170)
    assert any("not comparable" in text for text in facts["warnings"])
    verdicts = facts["comparisons"] + facts["policy_comparisons"]
    assert not any("patients unknown" in row["qualifiers"] for row in verdicts)
    page = (tmp_path / "study" / "report.html").read_text(encoding="utf-8")
    assert "170" in page
    assert "not comparable" in page


def test_brain_tumours_run_on_whole_folds_and_every_verdict_says_patients_unknown(
    ask, tmp_path, monkeypatch
):
    """Three classes, folds 4 and 5, no patients: the tables, the verdicts and the page say so."""
    monkeypatch.setattr("radstart.study.prepare.Recipe", recipe(1e-3))
    code, _, err = ask("brain_tumor_cheng", "--budgets", "0.05")
    assert code == 0, err

    facts = check(tmp_path / "study", [0.05])
    data = facts["data"]
    assert facts["question"]["classes"] == ["glioma", "meningioma", "pituitary"]
    assert facts["question"]["positive"] is None
    assert (data["parts_from"], data["patients_known"]) == ("folds", False)
    assert parts(facts) == {"train": 1787, "validation": 613, "test": 664}
    for row in facts["comparisons"] + facts["policy_comparisons"]:
        assert "patients unknown" in row["qualifiers"]
    assert any("Patients are unknown" in text for text in facts["warnings"])
    cases = pd.read_parquet(tmp_path / "study" / "runs" / facts["runs"][0]["run"] / "cases.parquet")
    assert {"score_glioma", "score_meningioma", "score_pituitary"} <= set(cases.columns)
    page = (tmp_path / "study" / "report.html").read_text(encoding="utf-8")
    assert "patients unknown" in page
    assert "70-90" in page or "70–90" in page
