"""Errors, whole files, hashes, named random streams, progress."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from radstart.core import errors, files, hashing, progress, random
from radstart.core.errors import RadstartError, nearest


def test_an_error_is_one_line_of_what_where_got_and_remedy():
    """A person reads one line, whatever line breaks the parts hold."""
    error = RadstartError("is\nout of range", "seeds", "0", "use 1\n to 1000")

    assert str(error) == "seeds: is out of range (got 0); use 1 to 1000"
    assert str(RadstartError("no arm")) == "no arm"


def test_an_error_keeps_its_parts_when_made_from_its_arguments():
    """It can be raised again from its `args`, as worker threads and pickles do."""
    error = RadstartError("a", "b", "c", "d")

    again = type(error)(*error.args)
    assert (again.what, again.where, again.got, again.remedy) == ("a", "b", "c", "d")
    assert str(again) == str(error)


def test_nearest_names_what_is_close_and_what_is_known():
    """A misspelt name is answered with the right one; twenty known names at most are listed."""
    assert nearest("rnadom", ["random", "file"]) == "did you mean random? known: random, file"
    assert nearest("zzz", ["random"]) == "known: random"
    assert errors.nearest("x", map(str, range(30))).endswith("19, ...")


def test_a_file_is_whole_or_absent(tmp_path):
    """An error while writing leaves the old bytes and no temporary file."""
    path = tmp_path / "deep" / "file.txt"
    files.write_text(path, "old")

    def broken():
        with files.whole_file(path) as temporary:
            temporary.write_text("half")
            raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        broken()
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_a_place_that_cannot_be_written_is_the_persons_error(tmp_path):
    """A folder below a file is refused in one line that names it."""
    (tmp_path / "file").touch()

    with pytest.raises(RadstartError, match=r"file/x\.txt: cannot write .*free space"):
        files.write_text(tmp_path / "file" / "x.txt", "")


def test_json_is_strict(tmp_path):
    """NaN is refused when writing, and nothing is left behind."""
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(tmp_path / "a.json", {"x": math.nan})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("read", [files.read_json, files.read_toml])
@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"{ ="])
def test_unreadable_files_are_the_persons_error(tmp_path, read, content):
    """Absent, no UTF-8 or broken: one line with the path."""
    path = tmp_path / "a.file"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(RadstartError, match=r"a\.file: cannot read"):
        read(path)


def test_toml_leaves_out_what_is_none(tmp_path):
    """None disappears at every depth; everything else comes back."""
    files.write_toml(tmp_path / "a.toml", {"a": None, "b": [{"c": None, "d": 1}], "e": (1.5, 2)})

    assert files.read_toml(tmp_path / "a.toml") == {"b": [{"d": 1}], "e": [1.5, 2]}


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), values, min_size=2))
def test_a_digest_is_free_of_the_order_of_keys(value):
    """The same content gives the same digest of the length asked for."""
    turned = dict(reversed(value.items()))

    assert hashing.digest(value) == hashing.digest(turned)
    assert len(hashing.digest(value, 20)) == 20
    assert hashing.digest(value) != hashing.digest([value])


def test_random_streams_differ_by_seed_purpose_and_index():
    """Every stream is its own, and the same one each time; NumPy's global state is left alone."""
    before = np.random.get_state()[1].copy()  # noqa: NPY002 - the global state is what is checked
    names = [(0, "a"), (1, "a"), (0, "b"), (0, "a", 1), (0, "a", 2), (0, "a", 1, 2)]
    drawn = [random.stream(*name).random() for name in names]

    assert len(set(drawn)) == len(names)
    assert drawn == [random.stream(*name).random() for name in names]
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002


@given(st.integers(0, 10**9), st.text(), st.integers(0, 10**6))
def test_a_stream_seed_fits_into_63_bits(seed, purpose, index):
    """torch and NumPy both take it."""
    assert 0 <= random.stream_seed(seed, purpose, index) < 2**63


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (89, "89 s"), (720, "12 min"), (5399, "1 h 30 min"), (11100, "3 h 05 min")],
)
def test_durations_read_like_durations(seconds, text):
    """Seconds, minutes, or hours and minutes."""
    assert progress.duration(seconds) == text


def test_progress_is_silent_unless_shown_and_plain_without_a_terminal(capsys, monkeypatch):
    """The library prints nothing; the command line's lines carry share and time left."""
    with progress.Progress().task("quiet", 4) as task:
        task.advance(2, "half")
    progress.Progress().line("quiet")
    assert capsys.readouterr() == ("", "")

    monkeypatch.setattr(progress, "PLAIN_SECONDS", 0.0)
    with progress.Progress(shown=True).task("loud", 4) as task:
        task.advance(2, "half")
        task.at(3, 6)
        assert (task.done, task.total) == (3, 6)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("loud  50%")
    assert "half" in err
