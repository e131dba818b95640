"""Leakage stops a study; what is allowed or lacking marks every verdict."""

import shutil

import pandas as pd
import pytest

from radstart.core.files import read_json

NAMES = {"train": "train", "validation": "val", "test": "test"}


@pytest.fixture
def leaking(tmp_path, images, table):
    """Return (folder, CSV lines): a given split, no patients, one picture in train and in test."""
    folder = tmp_path / "data"
    shutil.copytree(images / "images", folder / "images")
    rows = []
    for k, row in enumerate(table):
        part = "test" if k % 4 == 0 else "val" if k % 4 == 1 else "train"
        rows.append([row["image"], row["label"], part])
    first = next(row for row in rows if row[2] == "test" and row[1] == "nodule")
    twin = next(row for row in rows if row[2] == "train" and row[1] == "nodule")
    shutil.copyfile(folder / first[0], folder / twin[0])
    lines = ["image,label,split", *(",".join(row) for row in rows)]
    (folder / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder, rows.index(first) + 2, rows.index(twin) + 2


@pytest.fixture
def ask(cli, leaking, weights, tmp_path, quick):
    """Return a function that asks for a frozen study of the leaking data."""

    def run(*options):
        return cli(
            *("compare", leaking[0], "--out", tmp_path / "study", "--arms"),
            *(f"w=file:{weights},random", "--policies", "frozen", "--seeds", "2"),
            *("--image-size", "32", "--numerics", "fp32", *options),
        )

    return run


def test_a_picture_in_two_parts_without_any_patient_id_stops_the_study(ask, leaking, tmp_path):
    """Exit 2, one line with both lines of the CSV and the three remedies; no study is left."""
    code, out, err = ask()

    lines = [line for line in err.splitlines() if line.startswith("radstart:")]
    assert (code, out, len(lines)) == (2, "", 1)
    assert err.splitlines()[-1] == lines[0]
    assert "1 identical image stands in more than one part, 2 images in all" in lines[0]
    for line in leaking[1:]:
        assert f"line {line} images/" in lines[0]
    for remedy in ("--leakage=regroup", "--leakage=drop", "--leakage=allow"):
        assert remedy in lines[0]
    left = {path.name for path in (tmp_path / "study").iterdir()}
    assert left <= {"dataset"}


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["regroup", "drop", "allow"])
def test_each_remedy_works_and_the_facts_say_what_it_cost(ask, leaking, tmp_path, policy):
    """regroup redraws, drop shortens training, allow marks every verdict."""
    assert ask()[0] == 2
    code, out, _ = ask("--leakage", policy)
    assert code == 0
    assert "report: " in out

    facts = read_json(tmp_path / "study" / "facts.json")
    leakage, data = facts["leakage"], facts["data"]
    assert (leakage["policy"], leakage["units"], leakage["images"]) == (policy, 1, 2)
    assert {e["line"] for e in leakage["examples"]} == set(leaking[1:])
    assert leakage["consequence"] in " ".join(facts["warnings"])
    split = pd.read_parquet(tmp_path / "study" / "dataset" / "splits" / "study.parquet")
    crossing = split[split["part"] != ""].groupby("unit")["part"].nunique().max()
    verdicts = facts["comparisons"] + facts["policy_comparisons"]
    assert verdicts
    assert all("patients unknown" in row["qualifiers"] for row in verdicts)
    assert not data["patients_known"]
    assert all(("leakage allowed" in r["qualifiers"]) == (policy == "allow") for r in verdicts)
    assert crossing == (2 if policy == "allow" else 1)
    assert leakage["dropped"] == (1 if policy == "drop" else 0)
    assert data["parts_from"] == ("regrouped" if policy == "regroup" else "split column")
    page = (tmp_path / "study" / "report.html").read_text(encoding="utf-8")
    assert "patients unknown" in page.lower()
    assert ("leakage allowed" in page) == (policy == "allow")


def test_a_misspelt_remedy_writes_nothing(ask, leaking, tmp_path):
    """A misspelt policy is answered with the nearest; nothing is written."""
    code, _, err = ask("--leakage", "regrup")

    assert code == 2
    assert "did you mean regroup?" in err
    assert not (tmp_path / "study").exists()
