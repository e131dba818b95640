"""Runs that fail, contrasts that are confounded: what a study may and may not say."""

import pytest
from safetensors.torch import load_file, save_file

import radstart
from radstart.core.files import read_json


@pytest.fixture
def broken(other_weights):
    """Return weights whose first kernel is so large that nothing finite comes out."""
    folder = other_weights("broken")
    tensors = load_file(folder / "model.safetensors")
    tensors["conv1.0.weight"][:] = 3e38
    save_file(tensors, folder / "model.safetensors")
    return folder


@pytest.mark.slow
def test_failed_runs_are_listed_and_the_others_go_on(cli, images, weights, broken, tmp_path, quick):
    """Exit 1; the reasons stand in output, facts and report; a second call says so too."""
    words = [
        *("compare", images, "--out", tmp_path / "s", "--numerics", "fp32", "--seeds", "2"),
        *("--arms", f"w=file:{weights},bad=file:{broken}", "--image-size", "32", "--epochs", "1"),
    ]
    code, out, err = cli(*words)
    facts = read_json(tmp_path / "s" / "facts.json")

    assert (code, "Traceback" in err) == (1, False)
    state = {(r["arm"], r["state"]) for r in facts["runs"]}
    assert state == {("w", "done"), ("bad", "failed")}
    reasons = {r["policy"]: r["reason"] for r in facts["runs"] if r["arm"] == "bad"}
    assert "features are not finite" in reasons["frozen"]
    assert "the loss is not a number" in reasons["full"]
    batch = load_file(tmp_path / "s" / reasons["full"].partition("its batch is ")[2])
    assert batch["pixels"].shape[1:] == (32, 32)
    assert len(batch["pixels"]) == len(batch["targets"]) > 1
    assert sum(line.startswith("failed: bad, ") for line in out.splitlines()) == 4
    assert {row["arm"] for row in facts["results"]} == {"w"}
    for row in facts["comparisons"]:
        assert (row["arm"], row["verdict"], row["difference"]) == ("bad", "cannot_tell", None)
        assert "no finished runs" in row["qualifiers"]
    assert any("4 of 8 runs failed" in text for text in facts["warnings"])
    assert "not finite" in (tmp_path / "s" / "report.html").read_text(encoding="utf-8")
    assert cli(*words)[0] == 1


@pytest.mark.slow
def test_arms_of_different_backbones_are_confounded_and_get_no_better_or_worse(
    images, weights, other_weights, tmp_path, quick, monkeypatch
):
    """Even where the p-value is tiny; the same arms' policies stay comparable."""
    monkeypatch.setattr("radstart.study.facts.comparisons.holm", lambda p: [1e-9] * len(p))
    other = other_weights("other", backbone="test_efficientnet")

    study = radstart.compare(
        images, out=tmp_path / "s", arms=[f"w=file:{weights}", f"o=file:{other}", "random"],
        policies=["frozen"], seeds=2, image_size=32, numerics="fp32",
    )  # fmt: skip
    rows = {row["arm"]: row for row in study.facts["comparisons"]}
    assert "confounded" in rows["o"]["qualifiers"]
    assert rows["o"]["verdict"] not in ("better", "worse")
    assert "confounded" not in rows["random"]["qualifiers"]
    assert rows["random"]["verdict"] in ("better", "worse")
    assert any("confounded" in text for text in study.facts["warnings"])
    backbones = {arm["name"]: arm["backbone"] for arm in study.facts["arms"]}
    assert backbones == {"w": "test_resnet", "o": "test_efficientnet", "random": "test_resnet"}


@pytest.mark.slow
def test_one_arm_with_one_seed_has_intervals_and_no_comparisons(images, weights, tmp_path, quick):
    """A valid study, and it says what it does not cover."""
    study = radstart.compare(
        images, out=tmp_path / "s", arms=[f"w=file:{weights}"], policies=["frozen"], seeds=1,
        image_size=32, numerics="fp32",
    )  # fmt: skip
    facts = study.facts

    assert facts["comparisons"] == facts["policy_comparisons"] == []
    assert all(row["seed_sd"] is None for row in facts["results"])
    assert all("one trained model" in row["note"] for row in facts["results"])
    assert any("One seed" in text for text in facts["warnings"])
    assert facts["answer"][0].startswith("w (frozen, all of the data) reaches AUROC ")
