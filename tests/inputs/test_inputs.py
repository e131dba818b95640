"""Every input of the tables is read correctly, its row rejected, or the study refused.

docs/inputs.md shows what each of these runs says.
"""

import pytest
from cases_refused_study import can_mount
from input_case import IMAGES, run
from write_page import COLUMNS, KINDS, PAGE, cases, page, row

from radstart.dataset import open_dataset

CAN_MOUNT = can_mount()


FAST = 8  # of so many cases one is in the fast suite


def of(kind):
    return pytest.mark.parametrize(
        "case",
        [
            pytest.param(case, id=case.id, marks=[pytest.mark.slow] if k % FAST else [])
            for k, case in enumerate(cases(kind))
        ],
    )


@pytest.fixture(scope="session")
def page_lines():
    return PAGE.read_text(encoding="utf-8").splitlines()


@pytest.fixture
def result(case, tmp_path, page_lines, request):
    """Run the case; whatever its kind, DATA is as it was and nothing half-written is left."""
    if case.needs == "mount" and not CAN_MOUNT:
        pytest.skip("no file system can be mounted here: NOT TESTED on a real disk")
    work, outcome = run(case, tmp_path)
    assert outcome.data_after == outcome.data_before
    assert not [name for name in outcome.after if name.endswith(".tmp")]
    kind = request.function.kind
    yield work, outcome
    assert row(kind, case, work, outcome) in page_lines, "run python tests/inputs/write_page.py"


def test_the_page_has_every_case_in_its_place(page_lines):
    """One row for each case, none for anything else; words and headings as they are written."""
    template = page(
        {(kind, case.id): f"{kind} {case.id}" for kind in KINDS for case in cases(kind)}
    )
    named = {f"{kind} {c.id}": f"| {c.what} | " for kind in KINDS for c in cases(kind)}

    lines = template.splitlines()
    assert len(lines) == len(page_lines)
    for wanted, found in zip(lines, page_lines, strict=True):
        assert found.startswith(named[wanted]) if wanted in named else found == wanted
    assert len(named) == sum(len(cases(kind)) for kind in KINDS)
    assert page_lines.count(COLUMNS.splitlines()[0]) == sum(map(len, KINDS.values()))


@of("Read correctly")
def test_it_is_read(case, result):
    """Exit code 0, no row rejected, and what was stored is what was meant."""
    work, outcome = result
    assert outcome.code == 0, outcome.err
    dataset = open_dataset(work.out / "dataset")

    assert dataset.rejected.empty
    case.check(work, dataset)


@of("Row rejected")
def test_its_row_is_rejected_and_the_study_goes_on(case, result):
    """Exit code 0; line, name, reason and remedy are listed; every other row is there."""
    work, outcome = result
    assert outcome.code == 0, outcome.err
    dataset = open_dataset(work.out / "dataset")

    rejected = dataset.rejected
    assert rejected["line"].tolist() == list(case.lines)
    for reason in rejected["reason"]:
        assert case.said in reason
        assert case.remedy in reason.rpartition("; ")[2]
    kept = IMAGES - len(case.lines) + 1
    assert len(dataset) == kept
    said = [line for line in outcome.err.splitlines() if line.startswith("rejected ")]
    assert len(said) == 1
    assert f"{len(case.lines)} of {kept + len(case.lines)} rows" in said[0]


@of("Study refused")
def test_the_study_is_refused(case, result):
    """Exit code 2, one line with place, value and remedy, OUT as it was but for a whole dataset."""
    work, outcome = result

    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == f"{outcome.line}\n"
    assert outcome.line.startswith("radstart: ")
    assert case.said in outcome.line
    assert case.remedy
    if outcome.error:
        assert outcome.error.where
        assert case.remedy in outcome.error.remedy
    else:
        assert case.remedy in outcome.line
    new = {name: what for name, what in outcome.after.items() if name not in outcome.before}
    assert {name.split("/")[0] for name in new} - {"."} == set(case.leaves)
    assert {name: outcome.after[name] for name in outcome.before} == outcome.before
    if case.leaves:
        open_dataset(work.out / "dataset")
    else:
        assert outcome.after == outcome.before


test_it_is_read.kind = "Read correctly"
test_its_row_is_rejected_and_the_study_goes_on.kind = "Row rejected"
test_the_study_is_refused.kind = "Study refused"
