"""A second call redoes nothing; more arms, policies, budgets, seeds extend; the rest is refused."""

import shutil

import pytest

import radstart
from conftest import snapshot
from radstart.core.files import read_json


@pytest.fixture
def copied(finished, tmp_path):
    """Return a copy of the finished study, times kept, to do something to."""
    return shutil.copytree(finished, tmp_path / "study")


@pytest.fixture
def ask(images, weights, quick):
    """Return a function that asks the finished study's question, with changes."""
    question = {
        "arms": [f"w=file:{weights}", "random", "moments:w"],
        "policies": ["full", "frozen"],
        "budgets": [0.5, 1.0],
        "seeds": 2,
        "image_size": 32,
        "epochs": 4,
        "numerics": "fp32",
    }
    return lambda out, **changes: radstart.compare(images, out=out, **(question | changes))


def files_of(folder):
    return {
        f"{part}/{name}": found
        for part in ("trials", "runs")
        for name, found in snapshot(folder / part).items()
    }


def test_a_second_call_leaves_every_finished_file_untouched(copied, ask, facts):
    """Bytes and times of trials/ and runs/ stay; so do the numbers of the facts."""
    before, data = files_of(copied), snapshot(copied / "dataset")
    study = ask(copied)

    assert files_of(copied) == before
    assert snapshot(copied / "dataset" / "pixels") == {
        name.removeprefix("pixels/"): found
        for name, found in data.items()
        if name.startswith("pixels/")
    }
    volatile = {"made", "environment"}
    assert {k: v for k, v in study.facts.items() if k not in volatile} == {
        k: v for k, v in facts.items() if k not in volatile
    }


def test_a_smaller_question_leaves_runs_alone_and_is_refused(copied, ask, weights):
    """Taking an arm or a seed away is another study."""
    before = snapshot(copied)

    with pytest.raises(radstart.RadstartError, match=r"another study.*seeds was 2, is 1"):
        ask(copied, seeds=1)
    with pytest.raises(radstart.RadstartError, match="arm: moments:w left out"):
        ask(copied, arms=[f"w=file:{weights}", "random"])
    with pytest.raises(radstart.RadstartError, match=r"budgets: 0\.5 left out"):
        ask(copied, budgets=[1.0])
    after = snapshot(copied)
    assert after == before


def test_an_extension_left_the_first_calls_runs_untouched(finished, facts):
    """One arm, policy, budget and seed first; then more of each, beside the old files."""
    first, now = files_of(finished.with_name("first")), files_of(finished)

    models = {
        name for name in first if name.startswith("trials/") and name.endswith(".safetensors")
    }
    assert not models  # trials keep no model once their study has an answer
    assert len(first) >= 2 * 5
    assert {name: now[name] for name in first} == first
    old = {name.split("/")[1] for name in first if name.startswith("runs/")}
    assert len(old) == 1
    assert old < {run["run"] for run in facts["runs"]}


@pytest.mark.slow
def test_more_seeds_extend(copied, ask, facts):
    """Only the new seed's runs are made; the old ones keep bytes and times."""
    before = files_of(copied)
    study = ask(copied, seeds=3)

    after = files_of(copied)
    assert {name: after[name] for name in before} == before
    new = {r["run"] for r in study.facts["runs"]} - {r["run"] for r in facts["runs"]}
    assert len(new) == len(study.facts["runs"]) - len(facts["runs"]) == 12
    assert {r["seed"] for r in study.facts["runs"] if r["run"] in new} == {2}
    assert {row["n_seeds"] for row in study.facts["results"]} == {3}


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("margin", 0.05, "margin was 0.02, is 0.05"),
        ("margin", None, "margin was 0.02, is 0.0"),
        ("image_size", 48, "image_size was 32, is 48"),
        ("seed", 1, "seed was 0, is 1"),
        ("epochs", 6, "epochs was 4, is 6"),
        ("metric", "brier", "metric was 'auroc', is 'brier'"),
        ("reference", "random", "reference was 'w', is 'random'"),
        ("leakage", "allow", "leakage was 'stop', is 'allow'"),
        ("flip", True, "flip was False, is True"),
        ("backbone", "test_vit", "backbone was '', is 'test_vit'"),
        ("patient_column", "patient_id", "data was .*patient_id"),
        ("test_fold", "3", "test_fold was '', is '3'"),
    ],
)
def test_any_other_change_is_refused_naming_the_key(copied, ask, key, value, said):
    """The key, what it was, what it is; nothing is written."""
    before = snapshot(copied)

    with pytest.raises(radstart.RadstartError, match=rf"another study.*{said}") as caught:
        ask(copied, **{key: value})
    assert "choose another --out" in str(caught.value)
    assert snapshot(copied) == before


def test_an_arm_with_other_weights_under_its_old_name_is_refused(copied, ask, other_weights):
    """A name stands for one start within a study."""
    other = other_weights("other", seed=9)

    with pytest.raises(radstart.RadstartError, match=r"arm.*: w left out or changed"):
        ask(copied, arms=[f"w=file:{other}", "random", "moments:w"])


@pytest.mark.slow
def test_a_run_that_was_cut_off_is_made_again_to_the_same_bytes(copied, ask, facts):
    """Without done.json a run is not finished: it comes out as it was."""
    run = next(r for r in facts["runs"] if r["policy"] == "full" and r["seed"] == 1)
    folders = [copied / part / run["run"] for part in ("trials", "runs")]
    wanted = {
        name: (folders[1] / name).read_bytes() for name in ("model.safetensors", "cases.parquet")
    }
    for folder in folders:
        shutil.rmtree(folder)
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"half")

    ask(copied)
    for name, content in wanted.items():
        assert (folders[1] / name).read_bytes() == content
    assert read_json(folders[1] / "done.json")["state"] == "done"


def test_a_folder_of_something_else_is_refused(tmp_path, ask):
    """--out is a study's folder, or an empty one."""
    (tmp_path / "thesis.txt").touch()

    with pytest.raises(radstart.RadstartError, match=r"holds something else.*empty --out"):
        ask(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} <= {"thesis.txt"}
