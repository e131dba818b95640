"""Passports on the page: how whole a load was, and everything that its receipt says."""

import copy
import csv
import io
import re
from typing import Any

import facts_example
import pytest
from test_report import Page

from radstart.report import render, words
from radstart.report.passports import KINDS, arrange_passports
from radstart.report.tables import paper_tables
from radstart.weights.receipt import Share

SAW = "saw the test images"
FACTS = facts_example.passports()
TEXT = render(FACTS)
ARMS = {arm["name"]: arm for arm in FACTS["arms"]}
WRITTEN = re.findall(r'<article class="passport">.*?</article>', TEXT, re.S)
ARTICLES = dict(zip(ARMS, WRITTEN, strict=True))


def shown(name: str) -> str:
    """Return the text of an arm's passport."""
    return Page(ARTICLES[name]).text


def widths(article: str) -> list[tuple[str, int]]:
    """Return (class, parameters) of the pieces of a passport's bar."""
    found = re.findall(r'<i class="load ([a-z-]+)" style="flex-grow:(\d+)">', article)
    return [(look, int(number)) for look, number in found]


@pytest.mark.parametrize("name", list(ARMS)[1:])
def test_the_bar_has_a_piece_for_every_share_as_long_as_its_parameters(name: str) -> None:
    shares = ARMS[name]["receipt"]["shares"]
    pieces = [(KINDS[share["kind"]][0], share["parameters"]) for share in shares]
    assert widths(ARTICLES[name]) == pieces
    own = sum(s["parameters"] for s in shares if s["place"] == "backbone")
    groups = re.findall(r'<span class="of-(\w+)" style="flex-grow:(\d+)">', ARTICLES[name])
    assert groups[0] == ("backbone", str(own))
    for share in shares:  # the legend says it without colours
        tensors = words.plural(share["tensors"], "tensor")
        said = f"{words.count(share['parameters'])} in {tensors} {KINDS[share['kind']][1]}"
        assert said in shown(name)
        assert f"{words.count(share['parameters'])} {KINDS[share['kind']][1]}" in ARTICLES[name]


def test_every_kind_has_its_own_look_and_its_own_words(request: pytest.FixtureRequest) -> None:
    css = (request.config.rootpath / "src/radstart/report/page.css").read_text(encoding="utf-8")
    documented = re.findall(r'"([a-z ]+)"', (Share.__doc__ or "").partition("place:")[0])
    assert set(KINDS) == set(documented)
    assert len({look for look, _ in KINDS.values()}) == len({said for _, said in KINDS.values()})
    fills = [re.findall(rf"\.load\.{look} {{([^}}]*)}}", css) for look, _ in KINDS.values()]
    patterns = [fill[0] if fill else "plain" for fill in fills]
    assert len(set(patterns)) == len(KINDS)


@pytest.mark.parametrize(
    ("name", "state", "said"),
    [
        ("random", "no weights file", "Random values"),
        ("chest/swin", "loaded whole", "All 23,144,382 parameters of the backbone are the file’s."),
        ("part (partial norm* strange*)", "loaded in part", "23,144,382 of 23,508,032 parameters"),
        ("moments:chest/swin", "redrawn", "each tensor’s mean and variance of chest/swin."),
        ("mine", "loaded whole", "All 12,345,678 parameters"),
    ],
)
def test_a_passport_says_at_once_how_whole_the_load_was(name: str, state: str, said: str) -> None:
    badge = re.search(r'<span class="badge[^>]*>.*?</span> ([^<]*)</span>', ARTICLES[name])
    assert badge
    assert badge[1] == state
    assert said in shown(name)


def test_everything_that_the_receipt_says_is_there() -> None:
    text = shown("chest/swin")
    for said in (
        "0a1b" * 16, "epoch_300.pth", "chest/swin", "CC BY-NC 4.0", "not for commercial use",
        "Trained on rsna-pneumonia (made from chestx-ray14) Its sets differ.",
        "state_dict.teacher", "module. (removed)", "hf_swin", "epoch, optimizer",
        "ln_eps 1e-6", "act_layer quick_gelu", "3 channels to grey, exact", "14 x 14 in the file",
        "Classifier new", "Size 256 px", "1, grey", "one channel 0..1 minus 0.449",
        "Values −1.987 to 2.438", "Mean 0.449", "SD 0.226", "catalog, chest/swin; one channel",
        "0to1: RGB, 0..1, no mean and std", "caffe: BGR", "decoder.8.weight", "Doe J.",
        "The file of 2023 is another one.", f"{SAW}: chest is made from rsna-pneumonia",
    ):  # fmt: skip
        assert said in text, said
    assert "Let pass" not in text
    assert "norm.weight, strange.bias" in shown("part (partial norm* strange*)")
    assert "classifier kept" in shown("mine")
    assert "Licence not stated" in shown("mine")
    assert "the weights of an earlier run" in shown("mine")


def test_arms_left_out_stand_with_their_reasons_before_any_result() -> None:
    before, _, after = TEXT.partition("Asked for and left out")
    assert after
    assert 'class="matrix"' not in before
    for name, reason in FACTS["skipped"].items():
        assert f"<dt>{name}</dt><dd>{reason}</dd>" in after
    facts = {**FACTS, "skipped": {}}
    assert "left out" not in render(facts).partition("What was compared")[0]


def test_an_arm_that_saw_the_test_images_is_marked_wherever_its_name_stands() -> None:
    names = re.findall(r'<span class="arm">(.*?)</span></span>(?!</span>)', TEXT, re.S)
    hers = [name for name in names if "chest/swin" in name and "moments" not in name]
    assert len(hers) > 20
    assert all(SAW in name for name in hers)
    others = [name for name in names if name not in hers and "(partial" not in name]
    assert not any(SAW in name for name in others)
    legends = re.findall(r'<ul class="legend".*?</ul>', TEXT, re.S)
    assert legends
    assert all(SAW in legend and "(partial norm*" in legend for legend in legends)


def test_a_mark_is_said_once_a_row_and_kept_where_the_reference_has_it() -> None:
    assert words.qualifiers_left([SAW, "few units"], [SAW]) == ["few units"]
    facts = copy.deepcopy(FACTS)
    facts["arms"][1]["marks"] = []
    facts["arms"][0]["marks"] = [SAW]
    for name in ("comparisons", "policy_comparisons"):
        for row in facts[name]:
            row["qualifiers"] = [SAW] if name == "comparisons" else []
    text = render(facts)
    assert text.count(f'<span class="qualifier">{SAW}</span>') == 2 * len(facts["comparisons"])


def test_tables_for_a_paper_mark_arms_too() -> None:
    texts = paper_tables(FACTS)
    rows = list(csv.DictReader(io.StringIO(texts["results.csv"])))
    assert {row["arm"] for row in rows if row["marks"] == SAW} == {"chest/swin"}
    assert {row["marks"] for row in rows if row["arm"] != "chest/swin"} == {""}
    assert f"chest/swin, {SAW} &" in texts["results.tex"]
    assert "part (partial norm* strange*) &" in texts["results.tex"]


def test_facts_without_shares_have_words_and_no_picture() -> None:
    old = facts_example.normal()
    (_, _, known) = arrange_passports(old["arms"])
    assert known["bar"] is None
    assert known["state"] is None
    text = render(old)
    assert 'class="loads"' not in text
    assert "Each bar" not in text
    assert "not stated" not in text  # nobody asked
    assert "2,223,872 of 2,226,434 parameters of the backbone are the file’s." in text


def test_hostile_words_of_a_receipt_are_text() -> None:
    facts: dict[str, Any] = copy.deepcopy(FACTS)
    hostile = '"><script>x</script>'
    arm = facts["arms"][1]
    arm["receipt"] |= {"file": hostile, "switches": {hostile: hostile}, "container": hostile}
    arm["catalog"] |= {"also": [hostile], "notes": [hostile]}
    arm["marks"], facts["skipped"] = [hostile], {hostile: hostile}
    page = Page(render(facts))
    assert "script" not in {tag for tag, _ in page.tags}
    assert page.text.count(hostile) > 10
