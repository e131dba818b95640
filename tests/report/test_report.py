"""The page of a study: complete, self-contained, escaped, and silent where facts are absent."""

import copy
import json
import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import facts_example
import pytest

from radstart.core.errors import RadstartError
from radstart.core.files import write_json
from radstart.report import render, words, write_report
from radstart.report.figures import Scale
from radstart.report.tables import paper_tables

VOID = {"meta", "br", "hr", "img", "link", "input"}


class Page(HTMLParser):
    """Tags, attributes and text; fails on a tag that is not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.words.append(data)


@cache
def rendered(name: str) -> tuple[dict[str, Any], str, Page]:
    """Return a case's facts, its page and the page read; made once."""
    facts = facts_example.CASES[name]()
    text = render(facts)
    return facts, text, Page(text)


every_case = pytest.mark.parametrize("name", sorted(facts_example.CASES))


@every_case
def test_renders_every_shape_as_well_formed_html(name: str) -> None:
    facts, _, page = rendered(name)
    json.dumps(facts, allow_nan=False)
    assert "Undefined" not in page.text
    assert not re.search(r"\b(None|nan|inf|NaN)\b(?!\.)", page.text.replace("None.", ""))
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    used = {str(a["href"]) for tag, a in page.tags if tag in ("a", "use")}
    files = {f"tables/{name}" for name in paper_tables(facts)}
    assert used <= {f"#{i}" for i in ids} | files
    assert files <= used


def test_facts_are_left_alone_and_the_page_repeats() -> None:
    facts = facts_example.doubtful()
    before = copy.deepcopy(facts)
    assert render(facts) == render(facts)
    assert facts == before


@every_case
def test_loads_nothing_and_runs_nothing(name: str) -> None:
    _, text, page = rendered(name)
    assert "http:" not in text
    assert "https:" not in text
    assert "url(" not in text
    assert "@import" not in text
    for tag, attributes in page.tags:
        assert tag not in {"script", "link", "img", "iframe", "object", "embed", "base"}
        assert not {"src", "srcset", "data", "action"} & set(attributes)
        assert str(attributes.get("href", "#")).startswith(("#", "tables/"))
        assert not any(name.startswith("on") for name in attributes)


def test_hostile_names_are_text() -> None:
    facts = facts_example.normal()
    hostile = "<script>alert('x')</script>\"><img src=x onerror=y>"
    text = json.dumps(facts).replace("imagenet", json.dumps(hostile)[1:-1])
    facts = json.loads(text)
    facts["question"]["title"] = facts["answer"] = facts["methods"] = hostile
    facts["warnings"] = [hostile]
    facts["data"]["rejected"][0] |= {"image": hostile, "reason": hostile}
    page = Page(render(facts))
    assert not {"script", "img"} & {tag for tag, _ in page.tags}
    assert hostile in page.text


@pytest.mark.parametrize("name", ["normal", "doubtful", "large"])
def test_every_comparison_stands_on_the_page(name: str) -> None:
    facts, _, page = rendered(name)
    text = page.text
    for row in facts["comparisons"] + facts["policy_comparisons"]:
        shown = (
            f"{words.signed(row['difference'])} "
            f"{words.signed_interval(row['ci_low'], row['ci_high'])} "
            f"{words.probability(row['p_adjusted'])}"
        )
        p = words.probability(row["p_adjusted"])
        shown = shown.removesuffix(p) + f"p {p}"  # "p" is said on narrow screens
        verdict = words.verdict_words(row["verdict"], row["qualifiers"])
        after = text[text.index(" ".join(shown.split())) + len(shown) :][:120]
        assert verdict in text
        assert after.split()[1:3] == verdict.split()[:2] or verdict in after
    for row in facts["results"]:
        assert words.number(row["value"]) in text
    assert all(warning in text for warning in facts["warnings"])
    assert facts["answer"] in text


def test_says_what_is_doubtful() -> None:
    text = rendered("doubtful")[2].text
    for said in (
        "Patients are unknown", "70–90 %", "8–30 %", "leakage allowed", "not converged",
        "confounded", "loss was not finite at step 140", "1 dropped", "arrowhead",
        "Units stand on both sides",
    ):  # fmt: skip
        assert said in text, said
    assert "not new sites or training pools" in text


def test_one_arm_has_intervals_and_no_verdicts() -> None:
    page = rendered("one_arm")[2]
    assert "Paired differences" not in page.text
    assert "Nothing was compared" in page.text
    assert "given this one trained model" in page.text


@pytest.mark.slow
@pytest.mark.parametrize("absent", [None, "gone"])
def test_missing_parts_are_left_out(absent: str | None) -> None:
    whole = facts_example.make(budgets=(1.0,), seeds=2)
    for name in whole:
        facts = dict(whole)
        if absent is None:
            facts[name] = None
        else:
            del facts[name]
        Page(render(facts))
    assert "No results yet" in Page(render({"schema": 1})).text


def test_null_numbers_are_dashes_with_their_note() -> None:
    facts = facts_example.normal()
    for row in facts["results"]:
        row |= {"ci_low": None, "ci_high": None, "df": None, "seed_sd": None,
                "note": "fewer than 2 patients with a class"}  # fmt: skip
    for row in facts["comparisons"] + facts["policy_comparisons"]:
        row |= dict.fromkeys(
            ("ci_low", "ci_high", "p", "p_adjusted", "df", "share_seeds", "share_patients"), None
        )
        row |= {"verdict": "cannot_tell", "seed_differences": None, "detectable": None}
    facts["results"][0]["value"] = None
    text = Page(render(facts)).text
    assert "no interval" in text
    assert "fewer than 2 patients with a class" in text


def test_lower_is_better_and_a_margin_that_was_not_set() -> None:
    facts = facts_example.normal()
    facts["question"]["metric"] = {"id": "brier", "name": "Brier score", "higher_is_better": False}
    facts["question"]["margin"] = None
    for row in facts["comparisons"]:
        row["metric"] = "brier"
    text = Page(render(facts)).text
    assert "lower is better" in text
    assert "Left of zero favours the arm" in text
    assert "Margin" not in text


def test_receipts_with_names_or_counts() -> None:
    facts = facts_example.normal()
    facts["arms"][2]["receipt"]["assigned"] = ["conv_stem.weight", "bn1.weight"]
    assert "conv_stem.weight, bn1.weight" in Page(render(facts)).text


def test_an_answer_in_sentences_and_a_plan_of_two_differences() -> None:
    facts = facts_example.normal()
    facts["answer"] = ["One sentence.", "And another."]
    facts["planned"]["detectable"] = [
        {"seeds": 3, "spread_over_seeds": spread, "difference": difference}
        for spread, difference in (("small", 0.034), ("larger", 0.061))
    ]
    text = Page(render(facts)).text
    assert "One sentence. And another." in text
    assert "0.034 to 0.061" in text
    assert "larger 0.061" in text


def test_every_seed_is_a_point_and_a_number() -> None:
    facts, text, page = rendered("normal")
    seeds = sum(len(r["seed_values"]) for r in facts["results"] if r["metric"] == "auroc")
    seeds += sum(len(r["seed_differences"]) for r in facts["comparisons"])
    seeds += sum(len(r["seed_differences"]) for r in facts["policy_comparisons"])
    assert text.count('class="seed ') == seeds
    for row in facts["comparisons"]:
        assert ", ".join(map(words.signed, row["seed_differences"])) in page.text


def test_arms_keep_one_colour_and_shape() -> None:
    facts, text, _ = rendered("large")
    pairs = set(re.findall(r'<use href="#(s\d)"[^>]*class="mark(?: hollow)? (a\d)"', text))
    assert len(pairs) == len(facts["arms"])


def test_write_report(tmp_path: Path) -> None:
    write_json(tmp_path / "facts.json", facts_example.normal())
    path = write_report(tmp_path)
    assert path == tmp_path / "report.html"
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["facts.json", "report.html", "tables"]
    assert sorted(p.name for p in (tmp_path / "tables").iterdir()) == [
        "comparisons.csv", "comparisons.tex", "methods.txt", "results.csv", "results.tex"
    ]  # fmt: skip


def test_refuses_what_it_cannot_read(tmp_path: Path) -> None:
    with pytest.raises(RadstartError, match="no facts"):
        write_report(tmp_path)
    write_json(tmp_path / "facts.json", [])
    with pytest.raises(RadstartError, match="not the facts"):
        write_report(tmp_path)
    with pytest.raises(RadstartError, match="newer"):
        render({"schema": 99})


def test_numbers() -> None:
    assert words.signed(-0.0123) == "\u22120.012"
    assert words.signed(0.0123) == "+0.012"
    assert words.signed(-0.0001) == words.signed(0.0001) == "0.000"
    assert words.probability(0.0004).replace("\u00a0", " ") == "< 0.001"
    assert words.number(None) == words.number(float("nan")) == "–"
    assert words.budget(0.1) == words.percent(0.1) == "10\u00a0%"
    assert words.percent(0.025) == "2.5\u00a0%"
    assert words.budget(50) == "50 per class"
    assert [words.setting(v) for v in (3e-5, 0.003, 100.0, None)] == ["3e-5", "0.003", "100", "–"]
    assert words.million(2_226_434) == "2.23\u00a0M"


@pytest.mark.parametrize(
    ("low", "high", "log"),
    [(0.5, 1.0, False), (0.97, 0.971, False), (-0.4, 0.3, False), (0.2, 40, True), (1, 1, False),
     (1e-6, 1e6, True)],
)  # fmt: skip
def test_ticks_are_few_and_inside(low: float, high: float, log: bool) -> None:
    scale = Scale(low, high, 0, 100, log)
    ticks = scale.ticks(5)
    assert 1 <= len(ticks) <= 5
    assert all(low <= tick <= high for tick in ticks)
    assert all(0 <= scale(tick) <= 100 for tick in ticks)
