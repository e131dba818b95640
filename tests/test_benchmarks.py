"""The pages' tables of speeds are what `python benchmarks/table.py` prints."""

import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def table():
    spec = importlib.util.spec_from_file_location("table", ROOT / "benchmarks" / "table.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_pages_show_the_kept_results(table):
    """`python benchmarks/table.py --write` after a new measurement."""
    for page, text in ((table.README, table.table()), (table.SPEED, table.profile())):
        assert table.page_with(page, text) == page.read_text(encoding="utf-8")


def test_every_benchmark_has_kept_results_with_machine_and_date(table):
    """One file each; a target says whether it is met."""
    for name in table.NAMES:
        assert (ROOT / "benchmarks" / f"{name}.py").is_file()
        kept = json.loads((table.HERE / "results" / f"{name}.json").read_text(encoding="utf-8"))
        assert {"processor", "cores", "instructions", "python", "torch"} <= set(kept["machine"])
        assert len(kept["date"]) == 10
        assert all((row["met"] is None) == (not row["wanted"]) for row in kept["rows"])
