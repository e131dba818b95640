"""CSV as people write it."""

import csv
import io
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radstart.core.errors import RadstartError
from radstart.ingest.columns import Columns, choose_columns
from radstart.ingest.csv_file import headed, read_csv

HEADER = ["image", "label", "note"]


@pytest.fixture
def write(tmp_path):
    def write_bytes(content):
        path = tmp_path / "labels.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write_bytes


cell = st.text(
    st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=("Cs",)), max_size=8
)
bytes_cell = st.text(st.characters(codec="latin-1", exclude_characters="\0"), max_size=8)


def render(rows, delimiter, ending):
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter, lineterminator=ending, quoting=csv.QUOTE_ALL)
    writer.writerows([HEADER, *rows])
    return out.getvalue()


@settings(deadline=None, max_examples=80)
@given(
    st.lists(st.tuples(st.just("a.png"), cell, cell), min_size=1, max_size=6),
    st.sampled_from(",;\t"),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_every_dialect_comes_back(tmp_path_factory, rows, delimiter, ending, encoding):
    path = tmp_path_factory.mktemp("csv") / "labels.csv"
    text = render(rows, delimiter, ending)
    path.write_bytes(text.encode(encoding))
    table = read_csv(path, frozenset(HEADER))
    assert table.header == tuple(HEADER)
    assert list(table.records) == rows
    before = [render(rows[:k], delimiter, ending) for k in range(len(rows))]
    lines = [len(io.StringIO(part, newline="").readlines()) + 1 for part in before]
    assert list(table.lines) == lines


@settings(deadline=None)
@given(st.lists(st.tuples(st.just("a.png"), bytes_cell, st.just("é")), min_size=1, max_size=4))
def test_latin_1(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("csv") / "labels.csv"
    path.write_bytes(render(rows, ";", "\r\n").encode("latin-1"))
    try:
        path.read_bytes().decode()
    except UnicodeDecodeError:
        assert list(read_csv(path, frozenset(HEADER)).records) == rows


def test_lines_count_blank_lines_and_line_breaks_in_quotes(write):
    table = read_csv(write('image,label\n\na.png,x\n"b\n.png",y\n,,\nc.png,x\n'))
    assert table.lines == (3, 4, 7)


def test_empty_values_and_extra_cells(write):
    table = read_csv(write("image,label\na,NaN\nb, x \nc\nd,1,2\ne,y,,\n"))
    assert table.column("label") == ["", "x", "", "1", "y"]
    assert table.faults == ("", "", "", "3 cells where the header has 2", "")


@settings(deadline=None, max_examples=150)
@given(st.binary(max_size=120))
def test_any_bytes_end_in_a_table_or_one_line(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("csv") / "labels.csv"
    path.write_bytes(b"image,label\n" + content)
    with suppress(RadstartError):
        read_csv(path, frozenset(HEADER))


def columns_of(write, text, **names):
    return choose_columns(read_csv(write(text)), Columns(**names))


def test_columns_recognised_named_and_switched_off(write):
    text = "Image,label,grade,patient_id,split\na,x,1,,train\n"
    assert columns_of(write, text) == {
        "image": "Image",
        "label": "label",
        "patient": "patient_id",
        "split": "split",
    }
    chosen = columns_of(write, text, label="grade", split="", patient="")
    assert chosen == {"image": "Image", "label": "grade"}


@pytest.mark.parametrize(
    ("first", "header"),
    [
        ("0000,1", ("image", "label")),
        ("train/i01.png,normal", ("image", "label")),
        ("img.name,diagn.", ("img.name", "diagn.")),
        ("image,1", ("image", "1")),
        ("0000,1,2", ("0000", "1", "2")),
    ],
)
def test_a_first_row_that_is_no_header(tmp_path, first, header):
    (tmp_path / "t.csv").write_text(f"{first}\n0001,0{',3' * (len(header) - 2)}\n")
    table = headed(read_csv(tmp_path / "t.csv"), lambda name: name == "image")
    assert table.header == header
    assert table.lines == ((1, 2) if header == ("image", "label") else (2,))
