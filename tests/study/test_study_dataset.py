"""A study of a dataset is that of its folder: the same parts, the same numbers; its files stay."""

import csv

import pandas as pd
import pytest

import radstart
from radstart.core.errors import RadstartError
from radstart.core.files import read_json


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


def test_a_dataset_gives_what_its_folder_gives(images, dataset, compare, tmp_path):
    before = tree(dataset.path)
    compare(images, tmp_path / "a")
    compare(dataset.path, tmp_path / "b")

    first, second = (read_json(tmp_path / name / "facts.json") for name in "ab")
    assert first["results"] == second["results"]
    assert first["data"] == second["data"]
    assert tree(dataset.path) == before
    assert (tmp_path / "b" / "dataset" / "pixels").is_symlink()


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


def test_columns_are_chosen_when_it_is_ingested(dataset, compare, images, tmp_path):
    with pytest.raises(RadstartError, match="chosen already"):
        compare(dataset.path, tmp_path / "study", label_column="label")
    bare = radstart.ingest(images, out=tmp_path / "bare", keep_ids=True, workers=1)
    with pytest.raises(RadstartError, match="has no labels"):
        compare(bare.path, tmp_path / "study")
