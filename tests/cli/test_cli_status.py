"""radstart status: who is at work, what is finished, what happened last; nothing is changed."""

import json
import re
import shutil

from conftest import snapshot
from radstart.core.claims import Claims
from radstart.core.processes import machine


def test_status_tells_the_living_from_the_dead_and_changes_nothing(cli, finished, tmp_path):
    """24 of 24 runs, one process at work, one dead, the last event of the log."""
    study = shutil.copytree(finished, tmp_path / "study")
    claims = Claims(study / "claims")
    claims.take("facts")
    gone = {"machine": machine(), "host": "here", "pid": 2**22 + 1, "start": "1"}
    (study / "claims" / "preparation.1").write_text(json.dumps(gone))
    before = snapshot(study)

    code, out, err = cli("status", study, "--last", "1")
    words = " ".join(out.split())
    assert (code, err) == (0, "")
    assert "finished 24 of 24 runs" in words
    assert f"process {claims.owner('facts')['pid']} on" in words
    assert re.search(r"last sign of life \d+ s ago: facts", words)
    assert f"process {2**22 + 1} on here, dead, to be taken over" in words
    assert words.count(" log ") == 1
    assert all(len(line) < 80 for line in out.splitlines())
    assert snapshot(study) == before
    claims.close()


def test_status_of_no_study_is_one_line(cli, tmp_path):
    """Exit 2, and what to give instead."""
    code, out, err = cli("status", tmp_path)

    assert (code, out) == (2, "")
    assert "no study here" in err
    assert len(err.splitlines()) == 1
