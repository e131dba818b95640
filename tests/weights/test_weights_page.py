"""docs/weights.md says of every family what the catalog and the stand-ins say."""

import pytest
from families_page import NOT_MEASURED, PAGE, key_of, page, read_measured
from standins.every import EVERY

pytestmark = pytest.mark.slow


def test_the_tables_are_those_of_the_catalog_and_the_stand_ins():
    """Run python tests/weights/families_page.py after a change."""
    assert PAGE.read_text(encoding="utf-8") == page()


def test_every_stand_in_was_measured():
    """Run python tests/weights/families_page.py --measure after a new one."""
    text = PAGE.read_text(encoding="utf-8")
    found = read_measured(text)

    assert NOT_MEASURED not in text
    assert list(found) == list(map(key_of, EVERY))
    assert all(float(value) <= 1e-5 for value in found.values())
