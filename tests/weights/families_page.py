"""The table of docs/weights.md: every family of the catalog, whether it loads, how that is proved.

    python tests/weights/families_page.py

Each stand-in is a test (test_weights_standins.py): the loader's network gives the original's
features within 1e-5 of the largest one. A test holds the page to the catalog and the stand-ins.
"""

import sys
from collections import Counter
from pathlib import Path

HERE = Path(__file__).parent
if __name__ == "__main__":
    sys.path[:0] = [str(HERE), str(HERE.parent)]

from standins.every import EVERY  # noqa: E402

from radstart.weights.catalog import Family, families  # noqa: E402

PAGE = HERE.parents[1] / "docs" / "weights.md"
BEGIN, END = "<!-- families -->", "<!-- /families -->"
SAID = {"yes": "loadable", "steps": "needs steps", "no": "not loadable"}


def table() -> str:
    """Return one row per family."""
    rows = [
        "| family | files | licence, terms | stated input | proved against | stand-ins |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    rows += [row(family) for family in families()]
    return "\n".join(rows)


def row(family: Family) -> str:
    """Return a family's row."""
    counts = Counter(entry.loadable for entry in family.entries)
    files = ", ".join(f"{counts[key]} {SAID[key]}" for key in SAID if counts[key])
    licences = sorted({entry.licence for entry in family.entries})
    terms = sorted({entry.terms for entry in family.entries if entry.terms})
    inputs = sorted({stated(entry.convention) for entry in family.entries if entry.convention})
    own = [standin for standin in EVERY if standin.entry.partition("/")[0] == family.name]
    originals = list(dict.fromkeys(standin.verified for standin in own))
    more = f"; and {len(originals) - 4} more" if len(originals) > 4 else ""
    proved = "; ".join(originals[:4]) + more or reason(family)
    cells = (
        f"{family.name}: {family.title}",
        files,
        "; ".join(licences) + (f" ({', '.join(terms)})" if terms else ""),
        ", ".join(inputs) or "-",
        proved,
        str(len(own)),
    )
    return "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |"


def stated(convention: object) -> str:
    """Return a convention's name, or that it has numbers of its own."""
    return convention if isinstance(convention, str) else "own mean and std"


def reason(family: Family) -> str:
    """Return why there is nothing to prove."""
    whys = dict.fromkeys(entry.why for entry in family.entries if entry.why)
    return "not loaded: " + " ".join(whys) if whys else "nothing"


def page() -> str:
    """Return the page with the table of today's catalog."""
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{table()}\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
