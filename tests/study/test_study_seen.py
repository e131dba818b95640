"""An arm that was trained on what it is tested on stops the study, or every table says so."""

import functools

import pandas as pd
import pytest

import radstart
from conftest import QUICK, made_once, snapshot
from radstart.core.errors import RadstartError
from radstart.core.files import read_json, read_toml, write_toml
from radstart.study.seen import MAY_HAVE, SAW
from radstart.training import Recipe

SMALL = {"policies": ["frozen"], "seeds": 1, "image_size": 32, "numerics": "fp32"}


def first_images(table, of_all):
    """Return the rows of each patient's first image, and those of the others."""
    first = list({row["patient_id"]: row for row in reversed(table)}.values())
    return first if of_all else [row for row in table if row not in first]


@pytest.fixture(scope="module")
def run(tmp_path_factory, images, weights):
    """Return a finished full run of another study of the same images."""

    def make(folder):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("radstart.study.prepare.Recipe", functools.partial(Recipe, **QUICK))
            radstart.compare(
                images, out=folder, arms=[f"w=file:{weights}"], epochs=1,
                **SMALL | {"policies": ["full"]},
            )  # fmt: skip

    (found,) = (made_once(tmp_path_factory, "seen", make) / "runs").iterdir()
    return found


def refused(*words, **options):
    """Return the one line of a refusal."""
    with pytest.raises(RadstartError) as error:
        radstart.compare(*words, **options)
    return str(error.value)


@pytest.mark.slow
def test_weights_that_saw_what_the_test_images_are_from_stop_the_study(
    shelf, cli, images, tmp_path
):
    """RSNA pneumonia is made from ChestX-ray14: the ancestor counts; nothing is trained."""
    words = ("compare", images, "--out", tmp_path / "s", "--arms")
    words += ("random,chest,imagenet,moments:chest",)
    words += ("--policies", "frozen", "--seeds", "1", "--image-size", "32", "--numerics", "fp32")
    code, out, err = cli(*words, "--known-as", "RSNA-pneumonia")

    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert (
        "arms: were trained on what they would be tested on: chest: rsna-pneumonia is made" in err
    )
    assert "made from chestx-ray14, which these weights were trained on" in err
    assert "--seen mark" in err
    assert "imagenet:" not in err
    assert not (tmp_path / "s" / "study.toml").exists()
    assert not (tmp_path / "s" / "runs").exists()

    code, _, err = cli(*words, "--known-as", "rsna-pneumonia", "--seen", "mark")
    assert code == 0, err
    facts = read_json(tmp_path / "s" / "facts.json")
    marks = {row["arm"]: SAW in row["qualifiers"] for row in facts["comparisons"]}
    assert marks == {"chest": True, "imagenet": False, "moments:chest": False}
    assert any(w.startswith(f"chest {SAW}: rsna-pneumonia is made") for w in facts["warnings"])
    page = (tmp_path / "s" / "report.html").read_text(encoding="utf-8")
    assert f"chest {SAW}: rsna-pneumonia is made from chestx-ray14" in page
    assert SAW in (tmp_path / "s" / "tables" / "comparisons.csv").read_text()


@pytest.mark.slow
def test_the_name_of_the_folder_is_a_guess_that_marks_and_never_stops(shelf, images, tmp_path):
    """`images` is an alias of a set in this catalog; what marks may be asked otherwise later."""
    ask = functools.partial(
        radstart.compare, images, out=tmp_path / "s", arms=["random", "chest"], **SMALL
    )
    facts = ask(seen="stop").facts
    (row,) = facts["comparisons"]
    assert MAY_HAVE in row["qualifiers"]
    assert SAW not in row["qualifiers"]
    (warning,) = [w for w in facts["warnings"] if w.startswith("chest")]
    assert warning == (
        f"chest {MAY_HAVE}: their folder is called images, and if they are chestx-ray14: these "
        "weights were trained on chestx-ray14."
    )

    before = snapshot(tmp_path / "s" / "runs")
    assert "--seen mark" in refused(
        images, out=tmp_path / "s", arms=["random", "chest"], known_as="chestx-ray14", **SMALL
    )
    facts = ask(seen="mark", known_as="chestx-ray14").facts
    assert SAW in facts["comparisons"][0]["qualifiers"]
    facts = ask(known_as="imagenet-1k").facts  # not that set after all: nothing was seen
    assert facts["comparisons"][0]["qualifiers"] == [q for q in row["qualifiers"] if q != MAY_HAVE]
    assert snapshot(tmp_path / "s" / "runs") == before


def test_an_unknown_set_is_answered_with_the_nearest(cli, images, tmp_path):
    """Before anything is read; the sets are listed."""
    words = ("compare", images, "--out", tmp_path / "s", "--backbone", "test_resnet")
    code, _, err = cli(*words, "--known-as", "rsna-pneumonai")
    assert code == 2
    assert "known_as: no such public set in the catalog (got rsna-pneumonai)" in err
    assert "did you mean rsna-pneumonia" in err
    assert not (tmp_path / "s").exists()

    listed = cli("weights", "list", "--sets")[1]
    assert "rsna-pneumonia            RSNA Pneumonia Detection Challenge 2018; made from" in listed
    assert max(map(len, listed.splitlines())) <= 79


@pytest.mark.slow
def test_a_run_of_another_study_is_held_against_the_images_themselves(run, images, tmp_path):
    """Another split of the same images: some of its training images are this study's test."""
    again = {"arms": [f"r=run:{run}"], "seed": 1, **SMALL}
    line = refused(images, out=tmp_path / "s", **again)

    study = run.parents[1] / "dataset"
    rows = pd.read_parquet(study / "rows.parquet")
    parts = pd.read_parquet(study / "splits" / "study.parquet")["part"]
    ours = radstart.compare(images, out=tmp_path / "s", seen="mark", **again)
    own = ours.path / "dataset" / "splits" / "study.parquet"
    test = pd.read_parquet(own).query("part == 'test'")["image"]
    trained = set(rows["image"][parts.isin(["train", "validation"]).to_numpy()])
    count = sum(name in trained for name in test)
    assert count > 0
    assert (
        f"r: this run was trained on {count} of the {len(test)} test images and images of" in line
    )
    assert any(
        w.startswith(f"r {SAW}: this run was trained on {count}") for w in ours.facts["warnings"]
    )


@pytest.mark.slow
@pytest.mark.parametrize("form", ["file:{run}", "file:{run}/model.safetensors"])
def test_a_run_that_is_given_as_a_file_is_known_all_the_same(run, images, tmp_path, form):
    """By what stands beside it."""
    arm = f"r={form.format(run=run)}"
    line = refused(images, out=tmp_path / "s", arms=[arm], seed=1, backbone="test_resnet", **SMALL)

    assert "r: this run was trained on" in line


@pytest.mark.slow
def test_the_same_split_has_seen_nothing(run, images, tmp_path):
    """A run may be trained on, on the very parts that it was trained on."""
    study = radstart.compare(images, out=tmp_path / "s", arms=[f"r=run:{run}"], **SMALL)

    assert not any("test images" in line for line in study.facts["warnings"])


@pytest.mark.slow
def test_other_images_of_the_same_patients_count(run, images, table, write_labels, tmp_path, quick):
    """One folder, two lists without a common image."""
    one, two = (write_labels(first_images(table, k), f"{k}.csv") for k in (True, False))
    study = radstart.compare(
        images, labels=one, out=tmp_path / "a", arms=["random"], backbone="test_resnet", epochs=1,
        **SMALL | {"policies": ["full"]},
    )  # fmt: skip
    (found,) = (study.path / "runs").iterdir()
    line = refused(images, labels=two, out=tmp_path / "b", arms=[f"r=run:{found}"], seed=1, **SMALL)

    assert "r: this run was trained on images of" in line
    assert "of the test patients" in line
    assert "test images" not in line


@pytest.mark.slow
def test_runs_that_a_run_started_from_are_asked_in_turn(run, images, weights, tmp_path):
    """Training on keeps what was seen, also where the study in between saw other images."""
    other = tmp_path / "other" / "runs" / "0123456789ab"
    other.mkdir(parents=True)
    stated = read_toml(run / "receipt.toml")
    write_toml(other / "receipt.toml", {**stated, "start": f"run:{run}", "saw": ["busi"]})
    (other / "model.safetensors").write_bytes((run / "model.safetensors").read_bytes())
    ask = {"arms": [f"r=run:{other}"], "seed": 1, **SMALL}

    line = refused(images, out=tmp_path / "s", **ask)
    assert f"r: run {run.name}, which it started from, was trained on" in line
    line = refused(images, out=tmp_path / "s", known_as="breastmnist", **ask)
    assert "breastmnist is made from busi, which these weights were trained on" in line


@pytest.mark.slow
def test_a_run_carries_what_its_start_has_seen_and_what_it_was_trained_on(
    shelf, images, tmp_path, quick
):
    """Into its receipt, and from there into the next study."""
    study = radstart.compare(
        images, out=tmp_path / "a", arms=["imagenet"], known_as="rsna-pneumonia", epochs=1,
        **SMALL | {"policies": ["full"]},
    )  # fmt: skip
    (run,) = (study.path / "runs").iterdir()
    assert read_toml(run / "receipt.toml")["saw"] == ["imagenet-1k", "rsna-pneumonia"]

    facts = radstart.compare(
        images, out=tmp_path / "b", arms=[f"r=run:{run}"], known_as="chestx-ray14", seen="mark",
        **SMALL,
    ).facts  # fmt: skip
    assert facts["arms"][0]["saw"] == ["imagenet-1k", "rsna-pneumonia"]
    assert "made from chestx-ray14" in " ".join(facts["warnings"])
