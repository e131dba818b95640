"""No choice depends on the test part; budgets are nested; seeds are shared by all arms."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch

import radstart
from conftest import prepared_again
from radstart.training import Batches
from radstart.training.batches import batch_at


def split_of(patient):
    return {0: "test", 1: "validation"}.get(int(patient[1:]) // 2 % 5, "train")


@pytest.fixture
def twins(tmp_path, table, images, weights, write_labels, quick):
    """Return two finished studies whose data differ in the labels of the test part alone."""
    studies = []
    for name, turn in (("as_is", False), ("turned", True)):
        rows = [dict(row, split=split_of(row["patient_id"])) for row in table]
        for row in rows:
            if turn and row["split"] == "test":
                row["label"] = {"normal": "nodule", "nodule": "normal"}[row["label"]]
        studies.append(
            radstart.compare(
                images,
                labels=write_labels(rows, f"{name}.csv"),
                out=tmp_path / name,
                arms=[f"w=file:{weights}", "moments:w"],
                budgets=[0.6],
                seeds=2,
                image_size=32,
                epochs=2,
                numerics="fp32",
            )
        )
    return studies


@pytest.mark.slow
def test_labels_of_the_test_part_change_no_choice(twins):
    """Same rates, penalties, trials, models (to the byte) and validation scores; other results."""
    one, two = twins
    key = ["arm", "policy", "budget", "seed"]
    a, b = (study.runs.set_index(key).sort_index() for study in twins)

    assert a.index.equals(b.index)
    assert len(a) == 8
    for column in ("lr", "penalty", "converged", "steps", "state"):
        pd.testing.assert_series_equal(a[column], b[column])
    assert one.facts["grid"] == two.facts["grid"]
    kept = ("step", "train_loss", "validation_loss", "rate")
    for x, y in zip(one.facts["curves"], two.facts["curves"], strict=True):
        assert [x[name] for name in kept] == [y[name] for name in kept]
    changed = 0
    for name in a.index:
        folders = one.path / "runs" / a["run"][name], two.path / "runs" / b["run"][name]
        models = [(folder / "model.safetensors").read_bytes() for folder in folders]
        assert models[0] == models[1]
        cases = [pd.read_parquet(folder / "cases.parquet") for folder in folders]
        pd.testing.assert_frame_equal(
            cases[0].drop(columns="target"), cases[1].drop(columns="target")
        )
        differ = cases[0]["target"] != cases[1]["target"]
        assert (differ == (cases[0]["part"] == "test")).all()
        changed += differ.sum()
    assert changed > 0
    turned = {r["arm"]: 0 for r in one.facts["results"]}
    for x, y in zip(one.facts["results"], two.facts["results"], strict=True):
        if x["metric"] == "auroc":
            assert x["value"] == pytest.approx(1 - y["value"])
            turned[x["arm"]] += 1
    assert set(turned.values()) == {2}


@pytest.mark.slow
def test_the_test_part_is_not_read_before_every_choice_is_made(
    tmp_path, images, weights, quick, monkeypatch
):
    """While rates are chosen, nothing asks for the test rows' labels or pixels."""
    from radstart.features import forward
    from radstart.study import compare as thread

    events, test = [], set()
    done = thread.do

    def do(prepared, job, *rest):
        test.update(prepared.test_rows().tolist())
        events.append(job.kind)
        done(prepared, job, *rest)

    def seen(module, convention, pixels, rows, *rest):
        if test & set(np.asarray(rows).tolist()):
            events.append("test rows")
        return forward(module, convention, pixels, rows, *rest)

    monkeypatch.setattr(thread, "do", do)
    monkeypatch.setattr("radstart.study.runs.forward", seen)
    monkeypatch.setattr("radstart.training.finetune.forward", seen)
    radstart.compare(
        images, out=tmp_path / "s", arms=[f"w=file:{weights}"], policies=["full"],
        budgets=[0.6, 1.0], seeds=2, image_size=32, epochs=1, numerics="fp32",
    )  # fmt: skip
    assert events == ["training"] * 6 + ["scores", "test rows"] * 4


@pytest.fixture(scope="module")
def prepared(finished):
    """Return the finished study, prepared again."""
    return prepared_again(finished)


@pytest.mark.parametrize("part", ["train", "validation"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_budgets_are_nested_in_training_and_in_validation(prepared, part, seed):
    """A larger budget has every row of a smaller one, whole units, and 1 is the whole part."""
    drawn = [set(prepared.drawn(budget, seed, part).tolist()) for budget in (0.3, 0.5, 0.8, 1.0)]

    assert all(small < large for small, large in pairwise(drawn))
    assert drawn[-1] == set(np.flatnonzero(prepared.parts.part == part).tolist())
    units = prepared.units.unit
    for rows in drawn:
        inside = set(units[list(rows)])
        whole = {k for k in drawn[-1] if units[k] in inside}
        assert whole == rows


def test_a_budget_is_a_share_of_the_units_of_both_parts(prepared, facts):
    """Half of the units of training and half of those of validation; the facts say how many."""
    for entry in facts["data"]["budgets"]:
        for part in ("train", "validation"):
            rows = prepared.drawn(entry["budget"], entry["seed"], part)
            all_units = len(set(prepared.units.unit[prepared.parts.part == part]))
            n_units = len(set(prepared.units.unit[rows]))
            assert entry[f"{part}_images"] == len(rows)
            assert entry[f"{part}_units"] == n_units
            assert n_units == pytest.approx(entry["budget"] * all_units, abs=0.5)


def test_seeds_draw_other_units(prepared):
    """A budget below 1 is another draw for every seed; the same seed always the same."""
    one, two = (set(prepared.drawn(0.5, seed, "train").tolist()) for seed in (0, 1))

    assert one != two
    assert one == set(prepared.drawn(0.5, 0, "train").tolist())


def test_seeds_are_shared_by_all_arms(prepared, finished, facts):
    """Seed s of every arm validates on the same rows and sees the same batches in order."""
    seen = {}
    for run in facts["runs"]:
        cases = pd.read_parquet(finished / "runs" / run["run"] / "cases.parquet")
        rows = tuple(cases.loc[cases["part"] == "validation", "case"])
        seen.setdefault((run["budget"], run["seed"]), set()).add(rows)
    assert all(len(rows) == 1 for rows in seen.values())
    assert len({next(iter(rows)) for key, rows in seen.items() if key[0] == 0.5}) == 2

    batches = [
        Batches(
            prepared.pixels(arm),
            prepared.targets,
            prepared.drawn(0.5, 1, "train"),
            16,
            prepared.augmentation,
            prepared.run_seed(1),
        )
        for arm in prepared.arms
    ]
    for step in (0, 1, 5):
        first, *others = [batch_at(one, step) for one in batches]
        for pixels, targets in others:
            assert torch.equal(pixels, first[0])
            assert torch.equal(targets, first[1])
