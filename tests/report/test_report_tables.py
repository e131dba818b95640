"""Tables for a paper: CSV that reads back, LaTeX that is whole and escaped."""

import csv
import io
import json
import re
import shutil
import subprocess
from pathlib import Path

import facts_example
import pytest

from radstart.report.tables import escape_tex, paper_tables

HOSTILE = r"50% & $x_1$ #1 {a}~b^2 \input{evil} <b>|"


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def hostile() -> dict[str, object]:
    """Return facts whose arm, policy and class names are full of specials."""
    text = json.dumps(facts_example.normal())
    for name in ("imagenet", "frozen", "pneumonia"):
        text = text.replace(name, json.dumps(f"{name} {HOSTILE}")[1:-1])
    facts: dict[str, object] = json.loads(text)
    return facts


def test_csv_holds_every_result_and_comparison() -> None:
    facts = facts_example.normal()
    texts = paper_tables(facts)
    results, pairs = rows_of(texts["results.csv"]), rows_of(texts["comparisons.csv"])

    assert len(results) == len(facts["results"])
    for row, found in zip(facts["results"], results, strict=True):
        for key in ("value", "ci_low", "ci_high", "seed_sd"):
            assert float(found[key]) == pytest.approx(row[key], rel=1e-5)
        for key in ("arm", "policy", "metric", "n_units"):
            assert found[key] == str(row[key])
        assert (found["unit"], found["level"]) == ("patient", "0.95")
    wanted = facts["comparisons"] + facts["policy_comparisons"]
    assert [float(p["difference"]) for p in pairs] == pytest.approx(
        [row["difference"] for row in wanted], rel=1e-5
    )
    assert [p["verdict"] for p in pairs] == [row["verdict"] for row in wanted]
    assert {p["margin"] for p in pairs} == {"0.02"}
    assert texts["methods.txt"] == facts["methods"] + "\n"


def test_names_with_specials_survive_csv() -> None:
    arms = {row["arm"] for row in rows_of(paper_tables(hostile())["results.csv"])}  # type: ignore[arg-type]
    assert f"imagenet {HOSTILE}" in arms


@pytest.mark.parametrize("case", sorted(facts_example.CASES))
def test_latex_is_whole(case: str) -> None:
    """As many cells as columns, environments closed, nothing unescaped, every row there."""
    for name, text in paper_tables(facts_example.CASES[case]()).items():
        if name.endswith(".tex"):
            check_latex(text)


def check_latex(text: str) -> None:
    begun, ended = (re.findall(rf"\\{word}{{(\w+)}}", text) for word in ("begin", "end"))
    assert begun == ["table", "tabular"] == ended[::-1]
    for rule in ("toprule", "bottomrule"):
        assert text.count(rf"\{rule}") == 1
    columns = len(re.search(r"begin{tabular}{(\w+)}", text)[1])  # type: ignore[index]
    inside = text[text.index(r"\toprule") : text.index(r"\bottomrule")]
    for line in inside.splitlines():
        if line.endswith(r"\\") and "multicolumn" not in line:
            assert len(re.findall(r"(?<!\\)&", line)) == columns - 1, line
    plain = re.sub(r"\\[%&#_${}]|\\\\", "", text.split("\n", 1)[1])
    assert not re.search(r"[%#~^_](?![^{]*})", plain.replace("~", ""))
    assert plain.count("$") % 2 == 0
    assert plain.count("{") == plain.count("}")
    assert plain.isascii()


def test_latex_of_names_with_specials() -> None:
    texts = paper_tables(hostile())  # type: ignore[arg-type]
    for name in ("results.tex", "comparisons.tex"):
        check_latex(texts[name])
        assert escape_tex(f"imagenet {HOSTILE}") in texts[name]
        assert r"\input" not in texts[name]


def test_latex_says_when_patients_are_unknown() -> None:
    for name, text in paper_tables(facts_example.doubtful()).items():
        if name.endswith(".tex"):
            assert "Patients unknown: intervals are too narrow." in text


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("pdflatex"), reason="pdflatex is absent: NOT COMPILED")
def test_latex_compiles(tmp_path: Path) -> None:
    texts = paper_tables(hostile())  # type: ignore[arg-type]
    tables = [text for name, text in texts.items() if name.endswith(".tex")]
    page = [r"\documentclass{article}", r"\usepackage{booktabs}", r"\begin{document}", *tables]
    (tmp_path / "paper.tex").write_text("\n".join([*page, r"\end{document}"]), encoding="utf-8")
    words = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "paper"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "paper.pdf").stat().st_size > 1000
