"""Stopped by a person or a batch system: one line, exit code 130, whatever typer makes of it."""

import os
import signal
import subprocess
import sys

import pytest


def test_what_begins_anew_does_not_say_that_it_continues(cli, weights, tmp_path, monkeypatch):
    """A folder of weights is there whole or not at all."""

    def stop(*words, **options):
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr("radstart.weights.writing.convert.save_file", stop)
    code, out, err = cli("weights", "convert", weights, "--out", tmp_path / "w")
    assert (code, out) == (130, "")
    assert err.splitlines()[-1] == "radstart: stopped; nothing was written"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_is_one_line_that_says_how_to_go_on(cli, images, weights, tmp_path, quick, number):
    """Nothing is left claimed, and the same command ends what was begun."""
    from radstart.study import jobs

    words = [
        *("compare", images, "--out", tmp_path / "s", "--arms", f"w=file:{weights}"),
        *("--policies", "full", "--seeds", "1", "--image-size", "32", "--epochs", "1"),
        *("--numerics", "fp32"),
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs, "train_trial", lambda *_: os.kill(os.getpid(), number))
        code, out, err = cli(*words)

    assert (code, out) == (130, "")
    assert err.splitlines()[-1] == "radstart: stopped; the same command continues"
    assert not (tmp_path / "s" / "claims").exists()
    assert cli(*words)[0] == 0


@pytest.mark.slow
def test_nobody_needs_to_listen(tmp_path):
    """With its output closed, as services start what they start, an ingest does its work."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("no image")
    words = ["ingest", tmp_path / "in", "--out", tmp_path / "out", "--key", tmp_path / "key"]
    run = [sys.executable, "-m", "radstart.cli", *words, "--workers", "1"]
    done = subprocess.run(["sh", "-c", 'exec "$@" >&- 2>&-', "sh", *run], check=False)
    assert done.returncode == 0
    assert (tmp_path / "out" / "dataset.toml").is_file()
