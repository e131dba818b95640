"""docs/design.md's recipes hold: a metric and a task of one's own run from labels to report."""

import csv

import numpy as np
import pytest

import radstart
from radstart.report import write_report
from radstart.stats import METRICS, Metric, interval
from radstart.study import DataSpec, StudySpec, checked, run_study
from radstart.training import TASKS, Probe, Task
from radstart.weights import parse_arm


def _hits(scores, labels):
    said = (scores > 0.3).astype(float)
    return np.stack([said * labels, labels.astype(float)], axis=1)


RECALL = Metric(
    "recall_at_03",
    "recall at 0.3",
    True,
    "sums",
    probabilities=True,
    cases=_hits,
    total=lambda total: total[..., 0] / total[..., 1],
)


@pytest.mark.slow
def test_a_metric_of_ones_own_runs_from_cases_to_the_report(
    monkeypatch, quick, images, weights, tmp_path
):
    """One entry of METRICS is all: value, interval, comparison, verdict, page."""
    monkeypatch.setitem(METRICS, RECALL.id, RECALL)

    study = radstart.compare(
        images, out=tmp_path / "s", arms=[f"w=file:{weights}", "random"], policies=["frozen"],
        metric=RECALL.id, seeds=2, image_size=32, numerics="fp32",
    )  # fmt: skip
    rows = [row for row in study.facts["results"] if row["metric"] == RECALL.id]
    assert len(rows) == 2
    for row in rows:
        runs = [r for r in study.facts["runs"] if r["arm"] == row["arm"]]
        values = []
        for run in runs:
            cases = study.cases(run["run"])
            ill = cases[(cases["part"] == "test") & (cases["target"] == "nodule")]
            values.append((ill["score_nodule"] > 0.3).mean())
        assert row["value"] == pytest.approx(np.mean(values))
    assert study.facts["question"]["metric"]["name"] == "recall at 0.3"
    assert {row["metric"] for row in study.facts["comparisons"]} == {RECALL.id}
    assert "recall at 0.3" in (tmp_path / "s" / "report.html").read_text(encoding="utf-8")


def _numbers(labels, classes):
    return np.array([np.nan if label is None else float(label) for label in labels], np.float32)


def _ridge(features, targets, penalty):
    centre = targets.mean()
    gram = features.T @ features / len(features) + penalty * np.eye(features.shape[1])
    weight = np.linalg.solve(gram, features.T @ (targets - centre) / len(features))
    return Probe(weight[:, None], np.array([centre]), True)


def _scored(table, classes):
    truth = np.array([float(label) for label in table["target"]])
    return np.abs(table["prediction"] - truth), None


NUMBER = Task(
    name="number",
    metrics=("mean",),
    outputs=lambda classes: 1,
    encode=_numbers,
    loss=lambda outputs, targets: ((outputs[:, 0] - targets) ** 2).mean(),
    probe=_ridge,
    columns=lambda outputs, classes: {"prediction": np.asarray(outputs)[:, 0].astype(float)},
    scored=_scored,
)


def _study_of_numbers(tmp_path, images, table, weights, values):
    rows = [
        {"image": r["image"], "label": value, "patient_id": r["patient_id"]}
        for r, value in zip(table, values, strict=True)
    ]
    with (tmp_path / "numbers.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    spec = StudySpec(
        DataSpec(str(images), str(tmp_path / "numbers.csv")),
        (parse_arm(f"w=file:{weights}"), parse_arm("random")),
        seeds=2,
        task="number",
        image_size=32,
        epochs=1,
    )
    done = run_study(checked(spec), tmp_path / "s", numerics="fp32")
    write_report(done.folder)
    return radstart.open_study(done.folder)


@pytest.mark.xfail(
    strict=True,
    raises=radstart.RadstartError,
    reason="parts and budgets need every value of the label in every part, whatever the task",
)
def test_a_number_that_is_different_for_every_patient_can_be_a_target(
    monkeypatch, quick, images, table, weights, tmp_path
):
    """Ages, volumes, scores: the label column holds as many values as patients."""
    monkeypatch.setitem(TASKS, "number", NUMBER)

    study = _study_of_numbers(
        tmp_path, images, table, weights, [f"{int(r['patient_id'][1:]) * 1.7:.1f}" for r in table]
    )
    assert {run["state"] for run in study.facts["runs"]} == {"done"}


def _few_values(table):
    return [str(int(row["patient_id"][1:]) % 4 + 10 * (row["label"] == "nodule")) for row in table]


@pytest.mark.slow
def test_a_task_of_ones_own_runs_from_labels_to_the_report(
    monkeypatch, quick, images, table, weights, tmp_path
):
    """One file and one line of TASKS: a number is regressed, trained, probed, scored, compared."""
    monkeypatch.setitem(TASKS, "number", NUMBER)
    study = _study_of_numbers(tmp_path, images, table, weights, _few_values(table))

    facts = study.facts
    assert {run["state"] for run in facts["runs"]} == {"done"}
    assert len(facts["results"]) == 4
    for row in facts["results"]:
        runs = [r for r in facts["runs"] if (r["arm"], r["policy"]) == (row["arm"], row["policy"])]
        errors = []
        for run in runs:
            cases = study.cases(run["run"])
            cases = cases[cases["part"] == "test"]
            errors.append((cases["prediction"] - cases["target"].astype(float)).abs())
        expected = interval(np.stack(errors), None, cases["unit"], "mean")
        assert row["value"] == pytest.approx(expected.value)
        assert row["ci_low"] == pytest.approx(expected.ci_low)
    assert len(facts["comparisons"]) == 2
    assert (tmp_path / "s" / "report.html").is_file()
