"""Whichever write finds the disk full: one line, nothing half-written, the next call goes on."""

import errno
from contextlib import nullcontext

import pytest
from cases_refused_study import can_mount, failing, on_a_disk
from input_case import Case, Work, call, run, tree

from radstart.core.files import read_json
from radstart.dataset import open_dataset

pytestmark = pytest.mark.slow


def check_refusal(work, outcome):
    """One line; OUT is absent or holds a whole dataset alone."""
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == f"{outcome.line}\n"
    assert "No space left on device" in outcome.line
    assert "free space or choose" in outcome.line
    left = {name.split("/")[0] for name in outcome.after} - {"."}
    assert left in (set(), {"dataset"})
    assert not [name for name in outcome.after if name.endswith(".tmp")]
    return bool(left)


def test_every_write_of_a_dry_run(tmp_path):
    """The first `after` files can be written, the next one cannot: until there is none left."""
    whole = []
    for after in range(100):

        def make(work, after=after):
            work.during = failing("fsync", errno.ENOSPC, work.out, after)

        work, outcome = run(Case("full", "full", make), tmp_path / str(after))
        if outcome.code == 0:
            break
        whole.append(check_refusal(work, outcome))
        if whole[-1]:
            open_dataset(work.out / "dataset")
    assert len(whole) > 8
    assert whole == sorted(whole)
    assert not whole[0]
    assert whole[-1]


@pytest.mark.skipif(not can_mount(), reason="no file system can be mounted: NOT TESTED on a disk")
def test_every_size_of_a_disk(tmp_path):
    """4 kB, 8 kB, ...: refused until a dry run has room."""
    for pages in range(1, 64):
        size = f"size={4 * pages}k"
        case = Case("full", "full", lambda work, size=size: on_a_disk(work, size))
        work, outcome = run(case, tmp_path / str(pages))
        if outcome.code == 0:
            break
        check_refusal(work, outcome)
    assert pages > 4
    assert outcome.code == 0


def test_a_study_whose_disk_runs_full_is_continued_by_the_same_command(tmp_path):
    """No file of it is half-written; continued, it has the numbers of an undisturbed one."""

    def study(name, patch):
        work = Work(tmp_path / name)
        work.data.mkdir(parents=True)
        work.fill()
        work.finish()
        words = [word for word in work.command() if word != "--dry-run"]
        with patch(work):
            code, _, err, _ = call(words)
        return work, words, code, err

    def full(after):
        return lambda work: failing("fsync", errno.ENOSPC, work.out, after)

    work, _, code, err = study("undisturbed", lambda work: nullcontext())
    assert code == 0, err
    wanted = read_json(work.out / "facts.json")["results"]
    stopped = 0
    for after in range(10, 60, 4):
        work, words, code, err = study(f"full{after}", full(after))
        if code == 0:
            break
        stopped += 1
        lines = [line for line in err.splitlines() if line.startswith("radstart: ")]
        assert (code, lines) == (2, err.splitlines()[-1:])
        assert "No space left on device" in lines[0]
        assert not [name for name in tree(work.out) if name.endswith(".tmp")]
        code, _, err, _ = call(words)
        assert code == 0, err
        assert read_json(work.out / "facts.json")["results"] == wanted
    assert stopped >= 3
