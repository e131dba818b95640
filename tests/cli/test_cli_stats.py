"""`radstart stats compare`: predictions of one's own, joined on cases, over patients and seeds."""

import csv

import numpy as np
import pandas as pd
import pytest

import radstart
from radstart.stats import paired_difference


def predictions(seed=0, n=60, seeds=1, classes=2, lift=1.0):
    """Return a table: case, patient, seed, label and scores; two cases of each patient."""
    rng = np.random.default_rng(seed)
    truth = np.random.default_rng(99).integers(0, classes, n)
    rows = []
    for s in range(seeds):
        logits = rng.normal(size=(n, classes)) + lift * np.eye(classes)[truth]
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        for k in range(n):
            row = {"case": f"c{k:03d}", "patient": f"p{k // 2}", "seed": str(s)}
            row["label"] = "abc"[truth[k]] if classes > 2 else str(truth[k])
            if classes == 2:
                row["score"] = p[k, 1]
            else:
                row |= {f"score_{'abc'[c]}": p[k, c] for c in range(classes)}
            rows.append(row)
    return rows


def cube(rows, columns):
    table = pd.DataFrame(rows)
    blocks = [b.sort_values("case")[columns].to_numpy(float) for _, b in table.groupby("seed")]
    return np.stack(blocks)


@pytest.fixture
def write(tmp_path):
    def write(name, rows):
        with (tmp_path / name).open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        return tmp_path / name

    return write


JOIN = ["--patient-column", "patient", "--case-column", "case", "--seed-column", "seed"]


def expected(a, b, columns, metric="auroc"):
    one = pd.DataFrame(a).query("seed == '0'").sort_values("case")
    labels = one["label"].map({"0": 0, "1": 1, "a": 0, "b": 1, "c": 2}).to_numpy()
    return paired_difference(cube(a, columns), cube(b, columns), labels, one["patient"], metric)


def printed(out):
    """Return difference, limits and p of the line "a - b"."""
    line = next(line for line in out.splitlines() if line.startswith("a - b"))
    words = line.replace("[", "").replace("]", "").replace(",", "").split()
    return [float(words[k]) for k in (3, 6, 7, 9)]


@pytest.mark.parametrize(("classes", "columns"), [(2, "score"), (3, None)])
@pytest.mark.parametrize("metric", ["auroc", "brier"])
def test_the_printed_difference_is_paired_differences(cli, write, classes, columns, metric):
    """Two and three classes, three seeds, rows in any order: value, limits, p and a verdict."""
    a, b = (predictions(s, seeds=3, classes=classes, lift=2 - 1.6 * s) for s in (0, 1))
    shuffled = [b[k] for k in np.random.default_rng(0).permutation(len(b))]
    columns = columns or ["score_a", "score_b", "score_c"]

    code, out, err = cli(
        *("stats", "compare", write("a.csv", a), write("b.csv", shuffled), *JOIN),
        *("--metric", metric),
    )
    found = expected(a, b, columns, metric)
    assert (code, err) == (0, "")
    wanted = [found.difference, found.ci_low, found.ci_high, found.p]
    assert printed(out) == pytest.approx(wanted, abs=6e-5, rel=1e-3)
    assert "verdict: a is better" in out
    assert "60 cases, 30 units, 3 seeds" in out
    assert "patients unknown" not in out.lower()


def test_without_patients_the_verdict_is_marked_and_the_cost_is_said(cli, write):
    """Each case then counts as a patient of its own."""
    kept = ("case", "label", "score")
    tables = [[{name: row[name] for name in kept} for row in predictions(s)] for s in (0, 1)]
    paths = [write(f"{s}.csv", table) for s, table in enumerate(tables)]

    code, out, _ = cli("stats", "compare", *paths, "--case-column", "case")
    assert code == 0
    verdict = next(line for line in out.splitlines() if line.startswith("verdict"))
    assert "patients unknown" in verdict
    assert "60 units" in out
    assert "Nominal 95 % intervals then cover 70-90 %" in out


def test_usual_column_names_are_taken_without_being_named(cli, write):
    """patient, case and seed of both tables are used as if they had been named."""
    paths = [write(f"{s}.csv", predictions(s, seeds=2)) for s in (0, 1)]

    named, found = (cli("stats", "compare", *paths, *words) for words in (JOIN, []))
    assert named[:2] == found[:2]
    assert "60 cases, 30 units, 2 seeds" in found[1]


def test_without_a_case_column_rows_are_joined_by_place(cli, write):
    """The same rows in the same order."""
    a, b = predictions(0), predictions(1)
    bare = [[{k: v for k, v in row.items() if k != "case"} for row in rows] for rows in (a, b)]
    paths = [write(f"{k}.csv", rows) for k, rows in enumerate(bare)]
    by_place = cli("stats", "compare", *paths, *JOIN[:2])
    by_case = cli("stats", "compare", write("a.csv", a), write("b.csv", b), *JOIN[:4])

    assert by_place[:2] == by_case[:2]


def test_the_same_predictions_are_practically_equal(cli, write):
    """No difference, p 1."""
    path = write("a.csv", predictions(0, seeds=2))

    code, out, _ = cli("stats", "compare", path, path, *JOIN)
    assert code == 0
    assert printed(out) == [0, 0, 0, 1]
    assert "verdict: practically equal" in out


def test_a_seed_of_one_table_only_is_left_out_with_a_note(cli, write):
    """Seeds are matched by their names."""
    a, b = predictions(0, seeds=3), predictions(1, seeds=2)

    _, out, _ = cli("stats", "compare", write("a.csv", a), write("b.csv", b), *JOIN)
    found = expected([r for r in a if r["seed"] != "2"], b, "score")
    assert printed(out)[0] == pytest.approx(found.difference, abs=6e-5)
    assert "2 seeds" in out
    assert "1 seeds stand in one table only" in out


def test_out_writes_a_table_and_a_figure(cli, write, tmp_path):
    """comparison.csv holds the printed numbers; comparison.svg is one."""
    a, b = predictions(0, seeds=2), predictions(1, seeds=2)
    out = tmp_path / "made" / "here"

    code, said, _ = cli(
        "stats", "compare", write("a.csv", a), write("b.csv", b), *JOIN, "--out", out
    )
    table = pd.read_csv(out / "comparison.csv").set_index("name")
    found = expected(a, b, "score")
    assert code == 0
    assert f"wrote {out / 'comparison.csv'}" in said
    assert list(table.index) == ["a", "b", "a - b"]
    assert table.loc["a - b", "value"] == pytest.approx(found.difference)
    assert table.loc["a - b", "p"] == pytest.approx(found.p)
    assert table.loc["a", "value"] == pytest.approx(found.value_a)
    assert (out / "comparison.svg").read_text(encoding="utf-8").startswith("<?xml")
    assert {path.name for path in out.iterdir()} == {"comparison.csv", "comparison.svg"}


def drop(rows, k):
    return rows[:k] + rows[k + 1 :]


def with_value(rows, k, **changes):
    return [*rows[:k], rows[k] | changes, *rows[k + 1 :]]


A = predictions(0)


@pytest.mark.parametrize(
    ("b", "options", "said"),
    [
        (drop(A, 3), [], "tables differ in their cases"),
        (with_value(A, 3, case="c999"), [], "tables differ in their cases"),
        (with_value(A, 3, label=str(1 - int(A[3]["label"]))), [], "tables differ in their labels"),
        (with_value(A, 3, patient="p99"), [], "tables differ in their patients"),
        (with_value(A, 3, score="high"), [], "b.csv: line 5, column score: not a number"),
        (with_value(A, 3, label=""), [], "b.csv: line 5: empty label"),
        (with_value(A, 3, case="c002"), [], "a case stands twice in one seed"),
        ([r | {"label": "0"} for r in A], [], "label"),
        ([{k: v for k, v in r.items() if k != "score"} for r in A], [], "b.csv: no scores"),
        ([r | {"seed": "9"} for r in A], [], "no seed in common"),
        (A, ["--label-column", "lable"], "did you mean label?"),
        (A, ["--patient-column", "patients"], "did you mean patient?"),
        (A, ["--metric", "aurok"], "did you mean auroc?"),
        (A, ["--level", "2"], "level"),
        (A, ["--margin", "-1"], "margin"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_tables_that_do_not_fit_are_refused_in_one_line(cli, write, b, options, said):
    """The table, the line or the option is named."""
    words = ["stats", "compare", write("a.csv", A), write("b.csv", b), *JOIN, *options]
    code, out, err = cli(*words)

    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert said in err


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe\x00", b"case,label,score\n"])
def test_what_is_no_table_is_refused_in_one_line(cli, write, tmp_path, content):
    """Absent, empty, binary, without rows."""
    path = tmp_path / "odd.csv"
    if content is not None:
        path.write_bytes(content)

    code, _, err = cli("stats", "compare", write("a.csv", A), path)
    assert code == 2
    assert len(err.splitlines()) == 1
    assert "odd.csv" in err


def test_an_out_that_cannot_be_written_is_one_line(cli, write, tmp_path):
    """Below a regular file."""
    (tmp_path / "file").touch()
    path = write("a.csv", A)

    code, _, err = cli("stats", "compare", path, path, "--out", tmp_path / "file" / "x")
    assert code == 2
    assert len(err.splitlines()) == 1
    assert "cannot write" in err


def test_the_python_door_gives_the_same_object():
    """`radstart.stats.paired_difference` and `radstart.stats.interval`, as documented."""
    a, b = predictions(0, seeds=2), predictions(1, seeds=2)
    labels = [int(r["label"]) for r in a[:60]]
    patients = [r["patient"] for r in a[:60]]

    found = radstart.stats.paired_difference(cube(a, "score"), cube(b, "score"), labels, patients)
    for name in ("difference", "ci_low", "ci_high", "p", "df", "share_seeds", "share_patients"):
        assert np.isfinite(getattr(found, name)), name
    one = radstart.stats.interval(cube(a, "score"), labels, patients)
    assert one.ci_low < one.value < one.ci_high
    mean = radstart.stats.interval(cube(a, "score"), None, patients, metric="mean")
    assert mean.value == pytest.approx(cube(a, "score").mean())
