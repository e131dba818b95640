"""Every number of facts.json follows from the runs' case tables."""

import base64
import io
import math
import re
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn import metrics as referee
from sklearn.calibration import calibration_curve

import radstart
from radstart.core.files import read_json, read_toml
from radstart.stats import interval, needed, needed_equal, paired_difference, power
from radstart.study.answers import warnings
from radstart.study.facts.described import catalog_record
from radstart.study.methods import methods

LEVEL, MARGIN, ALPHA = 0.95, 0.02, 0.05


def ece(labels, scores):
    """Return the gap of each of 15 bins, weighted by its share of cases."""
    observed, said = calibration_curve(labels, scores, n_bins=15)
    counts = np.histogram(np.clip(np.ceil(scores * 15) - 1, 0, 14), bins=np.arange(16) - 0.5)[0]
    return float(np.sum(counts[counts > 0] * np.abs(observed - said)) / len(labels))


def decided(of):
    return lambda labels, scores: of(labels, (scores > 0.5).astype(int))


METRICS = {
    "auroc": referee.roc_auc_score,
    "average_precision": referee.average_precision_score,
    "accuracy": decided(referee.accuracy_score),
    "balanced_accuracy": decided(referee.balanced_accuracy_score),
    "weighted_recall": decided(lambda y, s: referee.recall_score(y, s, average="weighted")),
    "f1": decided(referee.f1_score),
    "brier": referee.brier_score_loss,
    "ece": ece,
}


@pytest.fixture(scope="module")
def cells(finished, facts):
    """Return scores by (arm, policy, budget) and seed, labels and units, from cases.parquet."""
    found = {}
    for run in facts["runs"]:
        table = pd.read_parquet(finished / "runs" / run["run"] / "cases.parquet")
        test = table[table["part"] == "test"].sort_values("case")
        cell = found.setdefault((run["arm"], run["policy"], run["budget"]), {})
        cell[run["seed"]] = (
            test["score_nodule"].to_numpy(),
            (test["target"] == "nodule").to_numpy().astype(int),
            test["unit"].to_numpy(),
        )
    return found


def stacked(cell):
    scores = np.stack([cell[seed][0] for seed in sorted(cell)])
    return scores, cell[0][1], cell[0][2]


def same(got, expected):
    """Tell whether two numbers agree; null stands for what is undefined."""
    if got is None:
        return expected is None or math.isnan(expected)
    return got == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_the_study_has_every_run_of_its_grid(facts):
    """arms x policies x budgets x seeds, each once, all finished."""
    keys = [(r["arm"], r["policy"], r["budget"], r["seed"]) for r in facts["runs"]]

    wanted = product(("w", "random", "moments:w"), ("full", "frozen"), (1.0, 0.5), (0, 1))
    assert sorted(keys) == sorted(wanted)
    assert {run["state"] for run in facts["runs"]} == {"done"}
    assert len({run["run"] for run in facts["runs"]}) == len(keys)


def test_case_tables_hold_the_parts_as_they_were_split(finished, facts, table):
    """One row per case of validation and test, with patient, unit, target and all scores."""
    split = pd.read_parquet(finished / "dataset" / "splits" / "study.parquet")
    given = {row["image"]: row for row in table}
    parts = {
        part: set(split.loc[split["part"] == part, "image"]) for part in ("test", "validation")
    }
    for run in facts["runs"]:
        cases = pd.read_parquet(finished / "runs" / run["run"] / "cases.parquet")
        assert list(cases["case"]) == sorted(cases["case"])
        assert not cases["case"].duplicated().any()
        assert set(cases.loc[cases["part"] == "test", "case"]) == parts["test"]
        validated = set(cases.loc[cases["part"] == "validation", "case"])
        assert validated <= parts["validation"]
        assert (validated == parts["validation"]) == (run["budget"] == 1.0)
        for row in cases.to_dict("records"):
            assert row["target"] == given[row["case"]]["label"]
            assert row["patient"] == given[row["case"]]["patient_id"]
        np.testing.assert_allclose(cases["score_normal"] + cases["score_nodule"], 1, atol=1e-9)


def test_values_of_runs_are_scikit_learns(facts, cells):
    """Every metric of every run."""
    for run in facts["runs"]:
        scores, labels, _ = cells[run["arm"], run["policy"], run["budget"]][run["seed"]]
        assert run["values"].keys() == METRICS.keys()
        for name, value in run["values"].items():
            assert value == pytest.approx(METRICS[name](labels, scores), abs=1e-9), name


def test_results_are_means_over_seeds_with_their_intervals(facts, cells):
    """Value, limits, degrees of freedom, spread over seeds and counts of every cell."""
    assert len(facts["results"]) == len(cells) * len(METRICS)
    for row in facts["results"]:
        scores, labels, units = stacked(cells[row["arm"], row["policy"], row["budget"]])
        each = [METRICS[row["metric"]](labels, one) for one in scores]
        expected = interval(scores, labels, units, row["metric"], LEVEL)
        assert row["value"] == pytest.approx(np.mean(each), abs=1e-9)
        assert row["seed_values"] == pytest.approx(each, abs=1e-9)
        assert row["seed_sd"] == pytest.approx(np.std(each, ddof=1), abs=1e-9)
        for key in ("ci_low", "ci_high", "df", "seed_sd_net"):
            assert same(row[key], getattr(expected, key)), key
        assert row["n_seeds"] == 2
        assert (row["n_cases"], row["n_units"]) == (len(labels), len(set(units)))


def holm(p_values):
    """Step down: the smallest p times m, the next times m - 1, never falling, at most 1."""
    adjusted, largest = {}, 0.0
    for step, k in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, p_values[k] * (len(p_values) - step)))
        adjusted[k] = largest
    return [adjusted[k] for k in range(len(p_values))]


def pairs_of(kind):
    arms, budgets = ("w", "random", "moments:w"), (1.0, 0.5)
    if kind == "comparisons":
        return [
            ((arm, policy, budget), ("w", policy, budget))
            for arm, policy, budget in product(arms[1:], ("full", "frozen"), budgets)
        ]
    return [((arm, "frozen", b), (arm, "full", b)) for arm, b in product(arms, budgets)]


@pytest.mark.parametrize("kind", ["comparisons", "policy_comparisons"])
def test_comparisons_are_recomputed_with_holm_and_verdicts(facts, cells, kind):
    """Difference, limits, p, Holm's p, equivalence, shares, verdict and qualifiers of a family."""
    pairs, rows = pairs_of(kind), facts[kind]
    second = "reference" if kind == "comparisons" else "reference_policy"
    assert [(r["arm"], r["policy"], r["budget"]) for r in rows] == [a for a, _ in pairs]
    assert [r[second] for r in rows] == [b[0 if kind == "comparisons" else 1] for _, b in pairs]
    converged = {}
    for run in facts["runs"]:
        key = (run["arm"], run["policy"], run["budget"])
        converged[key] = converged.get(key, True) and run["converged"]

    found = []
    for a, b in pairs:
        one, labels, units = stacked(cells[a])
        two, again, _ = stacked(cells[b])
        assert np.array_equal(labels, again)
        found.append(paired_difference(one, two, labels, units, "auroc", LEVEL))
    adjusted = holm([d.p for d in found])
    for row, (a, b), d, p in zip(rows, pairs, found, adjusted, strict=True):
        values = [
            METRICS["auroc"](labels, x) - METRICS["auroc"](labels, y)
            for x, y in zip(stacked(cells[a])[0], stacked(cells[b])[0], strict=True)
        ]
        assert row["metric"] == "auroc"
        assert row["seed_differences"] == pytest.approx(values, abs=1e-9)
        assert row["difference"] == pytest.approx(np.mean(values), abs=1e-9)
        assert row["seed_sd"] == pytest.approx(np.std(values, ddof=1), abs=1e-9)
        for key in ("ci_low", "ci_high", "df", "p", "share_seeds", "share_patients"):
            assert same(row[key], getattr(d, key)), key
        assert row["p_adjusted"] == pytest.approx(p, rel=1e-9)
        assert same(row["p_equivalence"], d.p_equivalence(MARGIN))
        assert (row["family"], row["seeds"], row["seeds_dropped"]) == (len(pairs), 2, 0)
        assert row["n_units"] == d.n_units

        stuck = not (converged[a] and converged[b])
        said = "cannot_tell" if row["p_equivalence"] >= ALPHA else "practically_equal"
        if p < ALPHA and not stuck:
            said = "better" if row["difference"] > 0 else "worse"
        assert row["verdict"] == said
        assert ("not converged" in row["qualifiers"]) == stuck
        assert "patients unknown" not in row["qualifiers"]
    assert len({round(row["difference"], 6) for row in rows}) > 2


def test_counts_of_the_data_are_those_of_the_split(finished, facts, table):
    """Images, units and classes of every part, from the CSV and the split that was written."""
    split = pd.read_parquet(finished / "dataset" / "splits" / "study.parquet")
    frame = split.merge(pd.DataFrame(table), on="image")
    data = facts["data"]

    assert (data["n_images"], data["n_labelled"], data["n_rejected"]) == (len(table), len(table), 0)
    assert (data["unit"], data["patients_known"], data["parts_from"]) == ("patient", True, "drawn")
    assert data["n_units"] == frame["patient_id"].nunique() == 50
    for part in data["parts"]:
        some = frame[frame["part"] == part["part"]]
        assert (part["images"], part["units"]) == (len(some), some["patient_id"].nunique())
        for entry in part["classes"]:
            of = some[some["label"] == entry["name"]]
            assert (entry["images"], entry["units"]) == (len(of), of["patient_id"].nunique())
    assert sum(part["images"] for part in data["parts"]) == len(table)


def test_the_grid_shows_every_setting_and_the_smallest_loss_was_chosen(finished, facts):
    """Rates on seed 0's draw and penalties; the chosen one is what the runs of the cell used."""
    for (arm, policy, budget), rows in pd.DataFrame(facts["grid"]).groupby(
        ["arm", "policy", "budget"]
    ):
        chosen = rows[rows["chosen"]]
        assert len(chosen) == 1
        assert chosen["validation_loss"].item() == rows["validation_loss"].min()
        runs = [
            r
            for r in facts["runs"]
            if (r["arm"], r["policy"], r["budget"]) == (arm, policy, budget)
        ]
        if policy == "full":
            assert set(rows["value"]) == {1e-3, 3e-3}
            assert {run["lr"] for run in runs} == {chosen["value"].item()}
            assert {run["penalty"] for run in runs} == {None}
        else:
            assert next(r for r in runs if r["seed"] == 0)["penalty"] == chosen["value"].item()
            assert {run["lr"] for run in runs} == {None}


def test_validation_losses_and_metrics_of_the_grid_follow_from_the_trials(finished, facts):
    """The trial's validation scores give its loss and its AUROC."""
    trials = {}
    for folder in (finished / "trials").iterdir():
        spec = read_toml(folder / "spec.toml")
        trials[spec["arm"], spec["policy"], spec["budget"], spec["seed"], spec["lr"]] = folder
    for row in facts["grid"]:
        if row["setting"] == "lr":
            folder = trials[row["arm"], row["policy"], row["budget"], 0, row["value"]]
            cases = pd.read_parquet(folder / "cases.parquet")
            assert set(cases["part"]) == {"validation"}
            labels = (cases["target"] == "nodule").to_numpy().astype(int)
            scores = cases[["score_normal", "score_nodule"]].to_numpy()
            loss = referee.log_loss(labels, scores)
            assert row["validation_loss"] == pytest.approx(loss, abs=1e-5)
            auroc = referee.roc_auc_score(labels, scores[:, 1])
            assert row["validation_metric"] == pytest.approx(auroc, abs=1e-9)


def test_the_winning_trial_is_seed_0s_run(finished, facts):
    """It is not trained again: the same validation scores and history."""
    for run in facts["runs"]:
        if run["seed"] == 0 and run["policy"] == "full":
            one, two = finished / "trials" / run["run"], finished / "runs" / run["run"]
            assert (one / "history.parquet").read_bytes() == (two / "history.parquet").read_bytes()
            mine = pd.read_parquet(two / "cases.parquet")
            mine = mine[mine["part"] == "validation"].reset_index(drop=True)
            pd.testing.assert_frame_equal(mine, pd.read_parquet(one / "cases.parquet"))


def test_results_parquet_and_open_study_hold_the_same_numbers(finished, facts):
    """One row per run and metric, then one per cell and metric."""
    study = radstart.open_study(finished)
    runs = study.results[study.results["run"].notna()]
    cells = study.results[study.results["run"].isna()]

    assert study.facts == facts
    assert len(runs) == len(facts["runs"]) * len(METRICS)
    for run in facts["runs"]:
        mine = runs[runs["run"] == run["run"]].set_index("metric")["value"]
        assert mine.to_dict() == pytest.approx(run["values"])
    assert cells["value"].tolist() == pytest.approx([r["value"] for r in facts["results"]])
    assert len(study.comparisons) == len(facts["comparisons"])
    assert len(study.policy_comparisons) == len(facts["policy_comparisons"])
    some = study.cases(facts["runs"][0]["run"])
    assert {"case", "patient", "unit", "part", "target", "score_nodule"} <= set(some.columns)


def test_the_answer_is_two_sentences_and_the_report_shows_it(finished, facts):
    """They stand on the page, which holds no link outwards."""
    page = (finished / "report.html").read_text(encoding="utf-8")

    assert len(facts["answer"]) == 2
    for sentence in facts["answer"]:
        assert sentence.split(" (")[0] in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_a_folder_without_a_finished_study_is_refused(tmp_path):
    """What is missing is said in one line."""
    with pytest.raises(radstart.RadstartError, match="no study here"):
        radstart.open_study(tmp_path)
    (tmp_path / "study.toml").touch()
    with pytest.raises(radstart.RadstartError, match=r"not finished.*same --out"):
        radstart.open_study(tmp_path)


def test_confusion_tables_are_scikit_learns(facts, cells):
    """Counts summed over seeds, their mean per seed, and the shares of each true class."""
    assert [(r["arm"], r["policy"], r["budget"]) for r in facts["confusion"]] == list(cells)
    for row in facts["confusion"]:
        scores, labels, _ = stacked(cells[row["arm"], row["policy"], row["budget"]])
        each = [referee.confusion_matrix(labels, one > 0.5, labels=[0, 1]) for one in scores]
        assert row["seeds"] == 2
        assert row["counts"] == np.sum(each, axis=0).tolist()
        np.testing.assert_allclose(row["per_seed"], np.mean(each, axis=0))
        shares = referee.confusion_matrix(
            np.tile(labels, 2), np.concatenate(scores) > 0.5, normalize="true"
        )
        np.testing.assert_allclose(row["shares"], shares)


def test_calibration_bins_are_those_of_pandas_and_scikit_learn(facts, cells):
    """Equal counts over the runs of a cell, 20 cases a bin and run; limits around what was seen."""
    assert [(r["arm"], r["policy"], r["budget"]) for r in facts["calibration"]] == list(cells)
    for row in facts["calibration"]:
        scores, labels, units = stacked(cells[row["arm"], row["policy"], row["budget"]])
        most = max(1, len(labels) // 20)
        frame = pd.DataFrame(
            {"said": scores.ravel(), "true": np.tile(labels, 2), "unit": np.tile(units, 2)}
        )
        observed, said = calibration_curve(
            frame["true"], frame["said"], n_bins=most, strategy="quantile"
        )
        bins = row["bins"]
        assert row["of"] == "positive class"
        assert [b["observed"] for b in bins] == pytest.approx(observed)
        assert [b["predicted"] for b in bins] == pytest.approx(said)
        for (_, some), found in zip(
            frame.groupby(pd.qcut(frame["said"], most, duplicates="drop"), observed=True),
            bins,
            strict=True,
        ):
            assert found["n"] == len(some)
            assert (found["low"], found["high"]) == (some["said"].min(), some["said"].max())
            given = interval(
                some["true"].to_numpy(float)[None], np.ones(len(some)), some["unit"], "accuracy"
            )
            assert same(found["ci_low"], given.ci_low)
            assert found["ci_low"] is None or found["ci_low"] <= found["observed"]


def test_the_arms_disagree_most_where_the_facts_say(finished, facts, cells):
    """The widest spread of the mean score of the true class, recomputed case by case."""
    found = facts["disagreements"]
    assert (found["policy"], found["budget"]) == ("full", 1.0)
    rows = []
    for arm in facts["question"]["arms"]:
        for run in facts["runs"]:
            if (run["arm"], run["policy"], run["budget"]) == (arm, "full", 1.0):
                table = pd.read_parquet(finished / "runs" / run["run"] / "cases.parquet")
                table = table[table["part"] == "test"]
                rows += [
                    (case["case"], case["target"], arm, case[f"score_{case['target']}"])
                    for case in table.to_dict("records")
                ]
    frame = pd.DataFrame(rows, columns=["case", "target", "arm", "score"])
    mean = frame.groupby(["case", "arm"])["score"].mean().unstack()
    spread = (mean.max(axis=1) - mean.min(axis=1)).sort_values(ascending=False)

    assert found["n_cases"] == len(mean)
    assert found["decided_differently"] == int(((mean > 0.5).nunique(axis=1) > 1).sum())
    assert len(found["cases"]) == 12
    assert [case["spread"] for case in found["cases"]] == pytest.approx(spread[:12].tolist())
    target = frame.groupby("case")["target"].first()
    for case in found["cases"]:
        assert case["target"] == target[case["case"]]
        for one in case["scores"]:
            assert one["score"] == pytest.approx(mean.loc[case["case"], one["arm"]])
            assert (one["predicted"] == case["target"]) == (one["score"] > 0.5)


def test_pictures_are_the_cases_as_the_network_got_them(finished, facts, images):
    """In a file of their own, small, and of the image that is named."""
    pictures = read_json(finished / "pictures.json")["pictures"]

    assert set(pictures) == {case["case"] for case in facts["disagreements"]["cases"]}
    for name, picture in pictures.items():
        kind, _, data = picture.partition(",")
        assert kind == "data:image/jpeg;base64"
        shown = Image.open(io.BytesIO(base64.b64decode(data)))
        with Image.open(images / name) as original:
            assert shown.size == original.size == (32, 32)
            gap = np.asarray(shown.convert("L"), int) - np.asarray(original.convert("L"), int)
        assert np.abs(gap).mean() < 6
    assert "base64" not in (finished / "facts.json").read_text(encoding="utf-8")


def test_times_are_those_of_the_folders(finished, facts):
    """Trials that lost and runs, by arm and policy, from done.json; nothing counted twice."""
    done = {
        kind: {f.name: read_json(f / "done.json") for f in (finished / kind).iterdir()}
        for kind in ("trials", "runs")
    }
    lost = {name: one for name, one in done["trials"].items() if name not in done["runs"]}
    assert len(facts["times"]) == 6
    for row in facts["times"]:

        def mine(some, row=row):
            return [
                d for d in some.values() if (d["arm"], d["policy"]) == (row["arm"], row["policy"])
            ]

        assert (row["trials"], row["runs"]) == (len(mine(lost)), len(mine(done["runs"])))
        seconds = [sum(d["seconds"] for d in mine(some)) for some in (lost, done["runs"])]
        assert [row["trial_minutes"], row["run_minutes"]] == pytest.approx(np.divide(seconds, 60))
        assert row["minutes"] == pytest.approx(sum(seconds) / 60)
        assert (row["images_per_second"] is None) == (row["policy"] == "frozen")
    total = sum(row["minutes"] for row in facts["times"])
    assert facts["environment"]["minutes"] == pytest.approx(total, abs=0.051)


def test_what_would_settle_a_comparison_follows_from_its_own_variance(facts, cells):
    """Seeds and units suffice just so, for a difference of the margin and for none; words agree."""
    for kind in ("comparisons", "policy_comparisons"):
        for row, (a, b) in zip(facts[kind], pairs_of(kind), strict=True):
            settle = row["settle"]
            assert (settle is None) == (row["verdict"] != "cannot_tell")
            if settle is None:
                continue
            assert settle["short"]
            assert settle["words"]
            if settle["margin"] is None:
                assert "not converged" in row["qualifiers"]
                continue
            one, labels, units = stacked(cells[a])
            d = paired_difference(one, stacked(cells[b])[0], labels, units, "auroc", LEVEL)
            level = 1 - ALPHA / row["family"]
            assert settle["differs"] == vars(needed(d, MARGIN, 0.8, level))
            assert settle["equal"] == vars(needed_equal(d, MARGIN, 0.8))
            for key in ("seeds", "units"):
                each = settle["differs"][key], settle["equal"][key]
                assert settle[key] == (None if None in each else max(each))
                said = settle["words"]
                assert not settle[key] or f"{settle[key]:,} " in said or "large enough" in said
            if settle["both"]:
                seeds, units = settle["both"]["seeds"], settle["both"]["units"]
                assert settle["seeds"] is settle["units"] is None
                assert power(d, MARGIN, seeds, units, level) >= 0.8
                assert f"{seeds} seeds with {units:,} patients" in settle["words"]


def test_the_methods_name_what_was_done(facts):
    """Data, starts, recipe, rates, seeds, families, margin, versions: each with its number."""
    text, data = facts["methods"], facts["data"]
    assert len(text.split("\n\n")) == 5
    test = next(part for part in data["parts"] if part["part"] == "test")
    for said in (
        f"{data['n_labelled']} labelled images of 50 patients", f"Test: {test['images']} images of",
        "reference is w", "moments:w: random values with each tensor's mean and variance of w",
        "test_resnet", "batches of 32", "(0.001, 0.003)", "linear probe", "2 seeds",
        "margin of 0.02",
        "8 comparisons of starts", "6 comparisons of policies", "Holm", "Obuchowski-Rockette",
        f"torch {facts['environment']['torch']}", "50 % and 100 % of the units",
    ):  # fmt: skip
        assert said in text, said


def test_an_arms_passport_is_in_the_facts(facts):
    """Each tensor counted once, how it is fed, in keys that the design names."""
    arms = {arm["name"]: arm for arm in facts["arms"]}
    own, moments = arms["w"]["receipt"], arms["moments:w"]["receipt"]
    for receipt, kinds in ((own, ["as named", "dropped"]), (moments, ["redrawn", "dropped"])):
        assert [share["kind"] for share in receipt["shares"]] == kinds
        assert receipt["shares"][0]["parameters"] == arms["w"]["parameters"]
        assert receipt["shares"][0]["tensors"] == receipt["assigned"]
        assert receipt["shares"][1]["tensors"] == len(receipt["dropped_names"]) == 2
    assert arms["random"]["receipt"] is None
    assert arms["w"]["convention"]["words"] == "RGB 0..1 minus 0.4 0.5 0.6, divided by 0.2 0.25 0.3"
    assert arms["w"]["convention"]["limits"] == pytest.approx([-2, 3])
    assert all(arm["catalog"] is None and arm["marks"] == [] for arm in facts["arms"])

    design = (Path(__file__).parents[2] / "docs" / "design.md").read_text(encoding="utf-8")
    stated = design.partition("arms          [")[2].partition("planned       {")[0]
    known = set(re.findall(r"\w+", stated))
    for record in (arms["w"], arms["w"]["convention"], own, own["shares"][0]):
        assert set(record) <= known


def test_catalog_and_licence_stand_in_facts_and_methods(facts):
    """The entry, what to cite, the licence; nothing of a card's entry that the catalog lacks."""
    record = catalog_record("radimagenet/resnet50")
    assert record["citation"].startswith("Mei X.")
    assert record["terms"].startswith("no licence is stated")
    assert "caffe: BGR 0..255 minus 103.939, 116.779, 123.68" in record["also"]
    assert catalog_record("gone/by-now") is None
    assert catalog_record("") is None

    arm = facts["arms"][0]
    receipt = {**arm["receipt"], "entry": "radimagenet/resnet50", "licence": "by request"}
    changed = {**arm, "receipt": receipt, "catalog": record}
    text = methods({**facts, "arms": [changed, *facts["arms"][1:]]})
    assert "w: the published weights radimagenet/resnet50 (Mei X. et al." in text
    assert "licence: by request; " in text
    from_hub = {**changed, "start": "hub:me/net"}
    text = methods({**facts, "arms": [from_hub, *facts["arms"][1:]]})
    assert "w: me/net of the Hugging Face hub (catalog entry radimagenet/resnet50; Mei X." in text


def test_arms_in_part_are_a_warning(facts):
    """With how many tensors, and the first of them."""
    arm = facts["arms"][0]
    receipt = {**arm["receipt"], "partial": ["layer4.weight", "layer4.bias"]}
    changed = {**facts, "arms": [{**arm, "receipt": receipt}, *facts["arms"][1:]]}
    said = [line for line in warnings(changed, []) if line not in warnings(facts, [])]
    assert said == [
        "w was loaded in part: 2 tensors were let pass, the first layer4.weight. Its figures are "
        "not those of these weights."
    ]
