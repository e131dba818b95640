"""docs/detective.md shows what `python benchmarks/detective.py` prints, nothing by hand."""

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location(
        "detective_bench", ROOT / "benchmarks" / "detective.py"
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_page_shows_the_kept_results(bench):
    """`python benchmarks/detective.py --write` after a new measurement."""
    assert bench.page_with(bench.tables()) == bench.PAGE.read_text(encoding="utf-8")


def test_a_pick_is_right_or_wrong_and_an_open_answer_keeps_the_truth_or_not(bench):
    """An answer that leaves the truth out is no better than a wrong one."""
    answer = {"picked": "", "left": ["a", "b"], "true": "a"}

    assert bench.verdict(answer) == "open"
    assert bench.verdict({**answer, "true": "c"}) == "excluded"
    assert bench.verdict({**answer, "picked": "a"}) == "right"
    assert bench.verdict({**answer, "picked": "b"}) == "wrong"
