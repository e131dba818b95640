"""The sections on cases: confusion, calibration, disagreement with its pictures, time, plans."""

import re
from pathlib import Path
from typing import Any

import facts_example
import pytest
from test_report import Page, rendered

from radstart.core.files import write_json
from radstart.report import render, words, write_report


def of_tag(page: Page, tag: str) -> list[dict[str, str | None]]:
    return [attributes for name, attributes in page.tags if name == tag]


@pytest.mark.parametrize("name", ["normal", "one_arm", "large"])
def test_confusion_of_the_main_cell_is_in_the_open_and_the_others_in_folds(name: str) -> None:
    facts, text, page = rendered(name)
    question = facts["question"]
    main = (question["reference_policy"], max(question["budgets"]))
    section = text[text.index('<section id="errors">') :]
    in_the_open = re.sub(r"<details.*?</details>", "", section, flags=re.DOTALL)
    for row in facts["confusion"]:
        if (row["policy"], row["budget"]) == main:
            for counts, shares in zip(row["per_seed"], row["shares"], strict=True):
                for count, share in zip(counts, shares, strict=True):
                    shown = f"{words.mean_count(count)}<small>{words.percent(share, 0)}</small>"
                    assert shown in in_the_open
    tables = len(re.findall(r'<table class="heat', section))
    assert (tables == len(facts["confusion"])) == ("further combinations" not in page.text)
    assert tables == len(facts["confusion"]) or name == "large"
    assert "Counts are of images, not of patients" in page.text


def test_two_classes_say_where_the_line_is_drawn() -> None:
    assert "pneumonia where its score is above 0.5" in rendered("normal")[2].text
    assert "above 0.5" not in rendered("large")[2].text


def test_calibration_has_a_panel_per_arm_with_its_error_and_bins() -> None:
    facts, text, page = rendered("normal")
    panels = [
        a["aria-label"] for a in of_tag(page, "svg") if "came true" in str(a.get("aria-label"))
    ]
    assert len(panels) == len(facts["calibration"])
    assert text.count('class="ideal"') == len(panels)
    for row in facts["results"]:
        if row["metric"] == "ece":
            shown = f"{words.number(row['value'])} {words.interval(row['ci_low'], row['ci_high'])}"
            assert f"Calibration error {shown}" in page.text
    assert "predicted: pneumonia" in page.text
    assert "10 of about 187" in page.text


def test_cases_on_which_arms_disagree_with_and_without_pictures() -> None:
    facts = facts_example.normal()
    shown, hidden = Page(render(facts, facts_example.pictures(facts))), Page(render(facts))
    for page in (shown, hidden):
        for case in facts["disagreements"]["cases"]:
            assert case["case"] in page.text
            for one in case["scores"]:
                assert words.number(one["score"], 2) in page.text
        assert "On 61 of the 624 images the arms decide differently" in page.text
    assert len(of_tag(shown, "img")) == 12
    assert all(str(a["src"]).startswith("data:image/jpeg;base64,") for a in of_tag(shown, "img"))
    assert "This page contains images" in shown.text
    assert of_tag(hidden, "img") == []
    assert "contains images" not in hidden.text
    policies = [
        str(a["content"]) for page in (shown, hidden) for a in of_tag(page, "meta")
        if a.get("http-equiv")
    ]  # fmt: skip
    assert ["img-src data:" in policy for policy in policies] == [True, False]


@pytest.mark.slow
@pytest.mark.parametrize(
    "picture",
    ["http://example.org/a.png", "data:text/html,<script>", 'data:image/png;base64,"onload=', 3],
)
def test_what_is_no_picture_is_not_shown(picture: Any) -> None:
    facts = facts_example.normal()
    page = Page(render(facts, dict.fromkeys(facts_example.pictures(facts), picture)))
    assert of_tag(page, "img") == []


def test_no_images_leaves_them_out(cli: Any, tmp_path: Path) -> None:
    facts = facts_example.normal()
    write_json(tmp_path / "facts.json", facts)
    write_json(tmp_path / "pictures.json", {"schema": 1, "pictures": facts_example.pictures(facts)})
    write_report(tmp_path)
    assert "<img" in (tmp_path / "report.html").read_text(encoding="utf-8")
    code, out, _ = cli("report", tmp_path, "--no-images")
    assert (code, out) == (0, f"report: {tmp_path / 'report.html'}\n")
    assert "<img" not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_time_of_every_arm() -> None:
    facts, _, page = rendered("normal")
    for row in facts["times"]:
        shown = f"{row['policy']} {row['trials']} {words.minutes(row['trial_minutes'])}"
        assert f"{shown} {row['runs']} {words.minutes(row['run_minutes'])}" in page.text
    assert [words.minutes(m) for m in (0, 0.034, 8.99, 61.2)] == ["0", "0.03", "9.0", "61"]


def test_undecided_comparisons_say_what_would_settle_them() -> None:
    facts, _, page = rendered("normal")
    undecided = [row for row in facts["comparisons"] + facts["policy_comparisons"] if row["settle"]]
    assert undecided
    for row in undecided:
        assert row["verdict"] == "cannot_tell"
        assert row["settle"]["short"] in page.text
        assert row["settle"]["words"] in page.text
    assert "no number suffices" in page.text


def test_facts_of_before_have_no_such_sections() -> None:
    page = rendered("before")[2]
    for said in ("Where runs err", "Where arms disagree", "What would settle", "Images/s"):
        assert said not in page.text


def test_pages_stay_light() -> None:
    facts = facts_example.large()
    assert len(render(facts, facts_example.pictures(facts)).encode()) < 2_000_000
