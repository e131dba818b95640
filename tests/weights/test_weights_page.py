"""docs/weights.md says of every family what the catalog and the stand-ins say."""

from families_page import PAGE, page


def test_the_table_of_families_is_that_of_the_catalog():
    """Run python tests/weights/families_page.py after a change."""
    assert PAGE.read_text(encoding="utf-8") == page()
