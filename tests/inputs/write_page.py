"""Write docs/inputs.md: what radstart makes of every input, as its runs say it.

    python tests/inputs/write_page.py

runs every case of the tables. test_inputs.py runs them, too, and holds each to its row.
"""

import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from cases_read import READ  # noqa: E402
from cases_refused_data import REFUSED_DATA  # noqa: E402
from cases_refused_study import REFUSED_STUDY, can_mount  # noqa: E402
from cases_rejected import REJECTED  # noqa: E402
from input_case import run  # noqa: E402

from radstart.core.errors import one_line, short  # noqa: E402
from radstart.dataset import open_dataset  # noqa: E402

PAGE = HERE.parents[1] / "docs" / "inputs.md"
KINDS = {"Read correctly": READ, "Row rejected": REJECTED}
KINDS["Study refused"] = {**REFUSED_DATA, **REFUSED_STUDY}
HEAD = """# What becomes of your files

Every row below is a test: the input is made, `radstart compare DATA --out OUT --dry-run` is run on
it, and what it says stands here. `python tests/inputs/write_page.py` writes this page again. DATA
is never written to. A message is one line on stderr; its second half, the remedy, has a column of
its own here.
"""
WORDS = {
    "Read correctly": "These inputs are read as a person means them; nothing has to be done.",
    "Row rejected": (
        "The row is left out and listed with line, name, reason and remedy in "
        "`OUT/dataset/rejected.parquet` and in the report; the number of rejected rows and the "
        "first of them are printed. The study goes on unless more than 5 % of the rows are "
        "rejected."
    ),
    "Study refused": (
        "One line, exit code 2. OUT is as it was before, nothing half-written; where the data had "
        "been read by then, the whole dataset stays and the next call does not read it again."
    ),
}
COLUMNS = "| case | what happens | message | remedy |\n| --- | --- | --- | --- |"


def cases(kind):
    """Return the cases of a kind, group by group."""
    return [case for group in KINDS[kind].values() for case in group]


def texts(kind, case, work, outcome):
    """Return what happens, the message and the remedy of a case that was run."""
    if kind == "Read correctly":
        lines = [line for line in outcome.err.splitlines() if line.startswith("unlabelled")]
        return case.said, " ".join(lines), ""
    if kind == "Row rejected":
        reason, _, remedy = (
            open_dataset(work.out / "dataset").rejected["reason"][0].rpartition("; ")
        )
        n = len(case.lines)
        return "the row is rejected" if n == 1 else "both rows are rejected", reason, remedy
    happens = "refused; the dataset stays" if case.leaves else "refused"
    line = outcome.line.removeprefix("radstart: ")
    remedy = one_line(outcome.error.remedy) if outcome.error else "see " + line.split("; see ")[1]
    return happens, line.removesuffix(f"; {remedy}"), remedy


def row(kind, case, work, outcome):
    """Return the row of the page of a case that was run."""
    happens, message, remedy = texts(kind, case, work, outcome)
    return f"| {case.what} | {happens} | {_code(message)} | {_code(remedy)} |"


def _code(text):
    text = short(" ".join(text.split()), 400).replace("|", "\\|")
    return f"`{text}`" if text else ""


def page(rows):
    """Return the page; `rows` holds the row of every (kind, id of a case)."""
    parts = [HEAD]
    for kind, groups in KINDS.items():
        parts.append(f"## {kind}\n\n{WORDS[kind]}\n")
        for title, group in groups.items():
            lines = [rows[kind, case.id] for case in group]
            parts.append("\n".join([f"### {title}\n", COLUMNS, *lines, ""]))
    return "\n".join(parts)


def _rows():
    mountable = can_mount()
    for kind in KINDS:
        for case in cases(kind):
            if case.needs == "mount" and not mountable:
                sys.exit("this machine does not let me mount a small disk: the page needs one")
            with tempfile.TemporaryDirectory() as place:
                yield (kind, case.id), row(kind, case, *run(case, Path(place)))


if __name__ == "__main__":
    PAGE.write_text(page(dict(_rows())), encoding="utf-8")
    print(PAGE)
