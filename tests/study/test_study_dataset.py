"""A study of a dataset is that of its folder: the same parts, the same numbers; its files stay."""

import csv

import pandas as pd
import pytest
import tomli_w

import radstart
from radstart.core.errors import RadstartError
from radstart.core.files import read_json, read_toml


def tree(folder):
    return {
        path.relative_to(folder): path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def compare(weights):
    def ask(data, out, **more):
        return radstart.compare(
            data, out=out, arms=[f"w=file:{weights}", "random"], policies=["frozen"], seeds=1,
            image_size=32, numerics="fp32", **more,
        )  # fmt: skip

    return ask


@pytest.fixture
def dataset(images, tmp_path):
    return radstart.ingest(
        images, labels="labels.csv", out=tmp_path / "dataset", keep_ids=True, workers=1
    )


@pytest.mark.slow
def test_a_dataset_gives_what_its_folder_gives(images, dataset, compare, tmp_path):
    before = tree(dataset.path)
    compare(images, tmp_path / "a")
    compare(dataset.path, tmp_path / "b")

    first, second = (read_json(tmp_path / name / "facts.json") for name in "ab")
    assert first["results"] == second["results"]
    assert first["data"] == second["data"]
    assert tree(dataset.path) == before
    assert (tmp_path / "b" / "dataset" / "pixels").is_symlink()


@pytest.mark.slow
def test_a_second_call_goes_on_and_another_dataset_is_refused(images, dataset, compare, tmp_path):
    compare(dataset.path, tmp_path / "study")
    done = tree(tmp_path / "study" / "runs")
    compare(dataset.path, tmp_path / "study")
    assert tree(tmp_path / "study" / "runs") == done

    with (images / "labels.csv").open(encoding="utf-8") as file:
        rows = list(csv.reader(file))
    (tmp_path / "fewer.csv").write_text("\n".join(map(",".join, rows[:-9])), encoding="utf-8")
    for path in sorted(dataset.path.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    radstart.ingest(
        images, labels=tmp_path / "fewer.csv", out=dataset.path, keep_ids=True, workers=1
    )
    with pytest.raises(RadstartError, match="other images, labels or columns"):
        compare(dataset.path, tmp_path / "study")


@pytest.mark.slow
def test_dropped_rows_take_no_part(images, dataset, compare, tmp_path):
    path = dataset.path / "rows.parquet"
    rows = pd.read_parquet(path)
    rows.loc[::5, "keep"] = False
    rows.to_parquet(path)
    compare(dataset.path, tmp_path / "study")

    facts = read_json(tmp_path / "study" / "facts.json")
    assert facts["data"]["n_images"] == int(rows["keep"].sum())
    cases = {
        case
        for run in (tmp_path / "study" / "runs").iterdir()
        for case in pd.read_parquet(run / "cases.parquet")["case"]
    }
    assert cases <= set(rows["image"][rows["keep"]])


@pytest.mark.slow
def test_columns_are_chosen_when_it_is_ingested(dataset, compare, images, tmp_path):
    with pytest.raises(RadstartError, match="chosen already"):
        compare(dataset.path, tmp_path / "study", label_column="label")
    bare = radstart.ingest(images, out=tmp_path / "bare", keep_ids=True, workers=1)
    with pytest.raises(RadstartError, match="has no labels"):
        compare(bare.path, tmp_path / "study")


def cases_of(study, part):
    """Return the images that the study's runs scored in a part, the same in every run."""
    found = {
        frozenset(table["case"][table["part"] == part])
        for run in (study / "runs").iterdir()
        for table in [pd.read_parquet(run / "cases.parquet")]
    }
    (images,) = found
    return images


@pytest.mark.slow
def test_the_parts_of_a_study_are_those_of_the_split_that_is_named(dataset, compare, tmp_path):
    split = radstart.split(dataset.path, seed=3, name="mine").rows
    compare(dataset.path, tmp_path / "study", split="mine")
    for part in ("validation", "test"):
        assert cases_of(tmp_path / "study", part) == set(split["image"][split["part"] == part])
    table = pd.read_parquet(tmp_path / "study" / "dataset" / "splits" / "study.parquet")
    assert table["part"].tolist() == split["part"].tolist()
    facts = read_json(tmp_path / "study" / "facts.json")
    assert facts["data"]["parts_from"] == "splits/mine"
    assert facts["leakage"]["units"] == 0
    assert "The parts are those of splits/mine" in facts["methods"]
    assert "The parts were those of splits/mine." in (tmp_path / "study/report.html").read_text()


@pytest.mark.slow
def test_folds_and_budgets_of_a_repeat(dataset, compare, tmp_path):
    options = {"folds": 4, "repeats": 2, "budgets": (0.5,), "name": "cv"}
    split = radstart.split(dataset.path, **options).rows
    out = tmp_path / "study"
    ask = {"split": "cv:2", "validation_fold": "2", "budgets": [0.5, 1.0]}
    facts = compare(dataset.path, out, **ask).facts
    fold = split["fold_2"]
    assert cases_of_runs(out, 1.0) == set(split["image"][fold.isin([2, 4])])
    used = set(split["image"][(fold == 2) & split["budget_0.5_2"] | (fold == 4)])
    assert cases_of_runs(out, 0.5) == used
    assert facts["data"]["parts_from"] == facts["data"]["budgets_from"] == "splits/cv:2"
    (half, _) = facts["data"]["budgets"]
    assert half["train_images"] == int((fold.isin([1, 3]) & split["budget_0.5_2"]).sum())
    assert "the same for every seed" in facts["methods"]
    with pytest.raises(RadstartError, match=r"marks other budgets \(got 0.3\); use 0.5 or 1"):
        compare(dataset.path, tmp_path / "other", split="cv", budgets=[0.3])


def cases_of_runs(study, budget):
    (table,) = (
        pd.read_parquet(run / "cases.parquet")
        for run in (study / "runs").iterdir()
        if (done := read_json(run / "done.json"))["budget"] == budget and done["arm"] == "w"
    )
    return set(table["case"])


@pytest.mark.slow
def test_a_split_without_validation_leaves_the_test_part_as_it_is(dataset, compare, tmp_path):
    split = radstart.split(dataset.path, shares=(0.8, 0.2), name="two").rows
    facts = compare(dataset.path, tmp_path / "study", split="two").facts
    test = cases_of(tmp_path / "study", "test")
    assert test == set(split["image"][split["part"] == "test"])
    assert cases_of(tmp_path / "study", "validation") < set(split["image"]) - test
    assert any("taken from training" in note for note in facts["data"]["notes"])


@pytest.mark.slow
def test_a_split_that_leaks_stops_the_study(dataset, compare, tmp_path):
    made = radstart.split(dataset.path, name="mine")
    table = made.rows
    moved = table["unit"].eq(table["unit"][table["part"] == "train"].mode()[0]).idxmax()
    table.loc[moved, "part"] = "test"
    table.to_parquet(made.path)
    with pytest.raises(RadstartError, match="1 patient number stands in more than one part"):
        compare(dataset.path, tmp_path / "study", split="mine")
    facts = compare(dataset.path, tmp_path / "study", split="mine", leakage="drop").facts
    test = set(table["image"][table["part"] == "test"])
    assert cases_of(tmp_path / "study", "test") == test
    assert facts["leakage"]["dropped"] > 0


@pytest.mark.slow
def test_a_study_of_a_split_goes_on_from_its_file_and_refuses_one_drawn_anew(
    dataset, compare, tmp_path
):
    out, made = tmp_path / "study", radstart.split(dataset.path, name="mine")
    compare(dataset.path, out, split="mine")
    assert read_toml(out / "study.toml")["data"][0]["split"] == "mine"
    compare(dataset.path, out, split="mine")
    with pytest.raises(RadstartError, match="data was split 'mine', is split ''"):
        compare(dataset.path, out)
    for path in (made.path, made.path.with_suffix(".toml")):
        path.unlink()
    with pytest.raises(RadstartError, match="no such split"):
        compare(dataset.path, out, split="mine")
    radstart.split(dataset.path, name="mine", seed=1)
    with pytest.raises(RadstartError, match="has changed since the study began"):
        compare(dataset.path, out, split="mine")


REFUSED = [
    ({"split": "mime"}, r"no such split \(got 'mime'\); did you mean mine\? known: cv, mine"),
    ({"split": "cv:3"}, r"--split cv: no such repeat \(got 3\).*known: 1, 2"),
    ({"split": "mine", "split_column": "split"}, "--split-column: the parts come from --split"),
    ({"split": "mine", "fold_column": ""}, "--fold-column: the parts come from --split"),
    ({"split": "mine", "test_fold": "2"}, "--test-fold: splits/mine has parts, not folds"),
    ({"split": "mine", "validation_fold": "2"}, "--validation-fold: splits/mine has parts"),
    ({"split": "cv", "test_fold": "9"}, r"--test-fold: no such fold.*known: 1, 2, 3, 4"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("options", "said"), REFUSED)
def test_what_does_not_go_with_a_split_is_refused(dataset, compare, tmp_path, options, said):
    radstart.split(dataset.path, name="mine")
    radstart.split(dataset.path, name="cv", folds=4, repeats=2)
    with pytest.raises(RadstartError, match=said):
        compare(dataset.path, tmp_path / "study", **options)


@pytest.mark.slow
def test_a_split_of_what_the_dataset_was_is_refused(images, dataset, compare, tmp_path):
    made = radstart.split(dataset.path, name="mine")
    facts = read_toml(dataset.path / "dataset.toml")
    (dataset.path / "dataset.toml").write_text(tomli_w.dumps({**facts, "content": "0" * 32}))
    with pytest.raises(RadstartError, match="is a split of other images, labels or groups"):
        compare(dataset.path, tmp_path / "study", split="mine")
    assert not (tmp_path / "study").exists()
    with pytest.raises(RadstartError, match="folder of images, which has no splits"):
        compare(images, tmp_path / "study", split="mine")
    assert made.path.is_file()


@pytest.mark.slow
def test_split_names_the_command_that_uses_it(cli, dataset, tmp_path):
    code, out, _ = cli("split", dataset.path, "--name", "mine")
    last = out.splitlines()[-1]
    assert (code, last.partition("radstart ")[0]) == (0, "next: ")
    words = last.split("radstart ")[1].replace("random,imagenet", "random").split()
    words[-1] = str(tmp_path / "study")
    more = ["--backbone", "test_resnet", "--policies", "frozen", "--seeds", "1", "--dry-run"]
    code, _, err = cli(*words, *more, "--image-size", "32", "--numerics", "fp32")
    assert (code, "(splits/mine)" in err) == (0, True)
