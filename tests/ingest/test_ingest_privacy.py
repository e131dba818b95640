"""No name, date, number or identifier of a header, a file's name or a table leaves an ingest."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from dicom_files import encoded
from planted import patient, plant, told_below, told_in, word, write

from radstart.dataset import open_dataset
from radstart.ingest.folder import ingest_folder
from radstart.ingest.privacy import Names
from radstart.ingest.work import PART_SCHEMA, SCAN_SCHEMA, ScanTask, scan_files
from radstart.ingest.workers import _plain


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return plant(tmp_path_factory.mktemp("source") / "archive")


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Return a folder in which everything is written that a process writes by itself."""
    folder = tmp_path / "home"
    (folder / "tmp").mkdir(parents=True)
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(folder))
    monkeypatch.setenv("TMPDIR", str(folder / "tmp"))
    return folder


@pytest.fixture
def ingest(cli, tmp_path, home, archive):
    """Return a function (words) that runs `radstart ingest`; nothing planted may be printed."""

    def run(*words, sources=(archive,), out="out", shown=()):
        code, said, err = cli(
            "ingest", *sources, "--out", tmp_path / out, "--workers", 1, *words
        )  # fmt: skip
        printed = said + err
        for text in shown:  # the user's own table's, in messages
            printed = printed.replace(text, "")
        assert not told_in(printed)
        return code, said + err

    return run


@pytest.mark.slow
def test_nothing_planted_is_written_or_printed(ingest, tmp_path, home, archive):
    code, said = ingest()
    assert code == 0, said
    assert (home / "radstart" / "ingest.key").stat().st_mode & 0o777 == 0o600
    assert told_below(tmp_path) == []
    dataset = open_dataset(tmp_path / "out")
    rows = dataset.rows
    assert rows["patient"].nunique() >= 3
    assert {"nifti", "dicom", "raster", "nrrd", "arrays"} == set(rows["origin"])
    assert len(dataset.rejected) > 15

    same, _ = ingest(out="again")
    ingest("--key", tmp_path / "other.key", out="other")
    again, other = (open_dataset(tmp_path / name).rows for name in ("again", "other"))
    assert same == 0
    hashed = ["image", "patient", "exam", "series", "site"]
    pd.testing.assert_frame_equal(rows[hashed], again[hashed])
    for name in hashed:
        assert not set(rows[name].dropna()) & set(other[name].dropna())
    refused = [set(open_dataset(tmp_path / name).rejected["image"]) for name in ("out", "other")]
    assert not refused[0] & refused[1]
    assert told_below(tmp_path) == []
    assert rows["content"].tolist() == other["content"].tolist()


@pytest.mark.slow
def test_what_is_kept_is_kept_on_request_only(ingest, tmp_path, home):
    code, _ = ingest("--keep-ids", out="kept")
    assert code == 0
    rows = open_dataset(tmp_path / "kept").rows
    assert {word("PID0"), word("PID1")} <= set(rows["patient"])
    assert rows["image"].str.contains("ZQMARK").sum() > 5
    assert not (home / "radstart").exists()
    kept = {said.split(": ")[0] for said in told_below(tmp_path)}
    assert kept == {"rows.parquet", "rejected.parquet"}
    told = " ".join(told_below(tmp_path))
    for never in ("Meier^", "Street", "Doctor", "19530417", "7741826", "PRIVATE", "overlay"):
        assert never not in told


def joined(tmp_path, archive, by):
    """Write a table of files or of patients."""
    lines = ["id,diagnosis,PatientID,site"] if by == "file" else ["PatientID,diagnosis"]
    if by == "file":
        names = sorted(p.relative_to(archive).as_posix() for p in archive.rglob("ZQMARKMeier*"))
        lines += [f"{n},{'ab'[k % 2]},{word(f'CSV{k}')},{word('CSVSITE')}"
                  for k, n in enumerate(names)]  # fmt: skip
        lines += [f"{word('absent')}.dcm,a,{word('CSVX')},", f"{names[0]},b,,"]
    else:
        lines += [f"{word('PID0')},a", f"{word('PID1')},b", f"{word('PID1')},a", f"{word('P')},b"]
    table = tmp_path.parent / f"{by}.csv"
    table.write_text("\n".join(lines))
    return table


@pytest.mark.slow
@pytest.mark.parametrize("by", ["file", "patient"])
def test_a_table_s_names_and_ids_are_hashed(ingest, tmp_path, home, archive, by):
    table = joined(tmp_path, archive, by)
    code, said = ingest("--labels", table)
    assert code == 0, said
    dataset = open_dataset(tmp_path / "out")
    assert (dataset.rows["label"] == "a").any()
    assert (dataset.rows["label"] == "b").any()
    assert (dataset.rejected["line"] > 0).any()
    assert told_below(tmp_path) == []


@pytest.mark.parametrize(
    "words",
    [
        ("--labels", "{table}", "--column", "label=nothing"),
        ("--labels", "{table}", "--number", "nothing"),
        ("--labels", "{unfit}"),
        ("--slices", "none"),
        ("--windows", "nothing"),
        ("--key", "{table}"),
        ("--engine", "cloud"),
        ("--memory", "0"),
    ],
)
def test_a_refused_call_names_nobody(ingest, tmp_path, home, archive, words):
    unfit = tmp_path.parent / "unfit.csv"
    unfit.write_text("a,b\n1,2\n")
    named = {"table": joined(tmp_path, archive, "patient"), "unfit": unfit}
    code, said = ingest(*(word.format(**named) for word in words))
    assert code == 2
    assert len(said.splitlines()[-1:]) == 1
    assert told_below(tmp_path) == []


@pytest.mark.slow
def test_another_dataset_in_out_names_nobody(ingest, tmp_path, home, archive):
    assert ingest(sources=[archive / "broken"])[0] == 0
    code, said = ingest(sources=[archive / word("others")], shown=[word("others")])
    assert code == 2
    assert "holds a dataset made from other images" in said
    assert told_below(tmp_path) == []


KILLED = """
import os, signal, sys
import radstart.ingest.pipeline as pipeline
pipeline.save_dataset = lambda *given, **named: os.kill(os.getpid(), signal.SIGKILL)
from radstart.cli import main
main(sys.argv[1:])
"""


@pytest.mark.slow
def test_what_a_killed_ingest_leaves_names_nobody(tmp_path, home, archive):
    words = ["ingest", str(archive), "--out", str(tmp_path / "out"), "--workers", "1"]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not told_in(done.stdout + done.stderr)
    assert sorted((tmp_path / "out" / "work").glob("*.parquet"))
    assert told_below(tmp_path) == []


def test_what_a_broken_reader_says_is_not_told(tmp_path, monkeypatch):
    """Others' exceptions quote what they could not read."""

    def fails(path, kind):
        raise KeyError(word("value"))

    monkeypatch.setattr("radstart.ingest.work.scan_of", fails)
    file = tmp_path / "a.png"
    file.write_bytes(b"\x89PNG\r\n\x1a\n")
    task = ScanTask(tmp_path / "scan.parquet", "key", ((0, str(file)),), Names(b"k" * 32))
    scan_files(task, {}, lambda place: None)
    rows = pd.read_parquet(task.table)
    assert rows["reason"].tolist() == ["its reader fails (KeyError)"]
    try:
        raise ValueError(word("value"))
    except ValueError as error:
        told = str(_plain(error))
    assert "ValueError" in told
    assert "test_ingest_privacy" in told
    assert word("value") not in told.replace('word("value")', "")


def test_the_search_finds_what_is_planted(archive, tmp_path):
    """The test of the tests: every part of the archive holds something."""
    assert len(told_below(archive)) > 60
    table = pd.DataFrame({"a": [word("x")] * 3})
    table.to_parquet(tmp_path / "a.parquet", compression="zstd")
    assert told_below(tmp_path)
    assert {"patient", "reason"} <= {*SCAN_SCHEMA.names, *PART_SCHEMA.names}
    assert os.sep in str(Path(archive))


@pytest.mark.slow
def test_a_study_of_a_folder_keeps_the_table_s_names_and_no_header_s(tmp_path, home):
    folder = tmp_path / "images"
    lines = ["image,label"]
    for k in range(6):
        name = f"scan{k}.dcm"
        write(folder / name, encoded(patient(k // 2)))
        lines.append(f"{name},{'ab'[k // 2 % 2]}")
    (folder / "labels.csv").write_text("\n".join(lines))
    made = ingest_folder(folder, tmp_path / "study" / "dataset", labels=Path("labels.csv"))
    assert told_below(tmp_path / "study") == []
    assert set(made.rows["image"]) == {f"scan{k}.dcm" for k in range(6)}
    assert made.rows["patient"].nunique() == 3
    assert set(made.rows["patient"]) == {
        Names(bytes.fromhex((home / "radstart" / "ingest.key").read_text())).of(
            "patient", word(f"PID{k}")
        )
        for k in range(3)
    }

    (folder / "labels.csv").write_text(
        "\n".join(["image,label,patient_id", *(f"{row},P{k}" for k, row in enumerate(lines[1:]))])
    )
    made = ingest_folder(folder, tmp_path / "study2", labels=Path("labels.csv"))
    assert set(made.rows["patient"]) == {f"P{k}" for k in range(6)}
    assert told_below(tmp_path / "study2") == []
