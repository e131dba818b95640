"""A case: one input, how it is made, what `radstart compare ... --dry-run` has to say to it.

The tables of cases_*.py hold the cases; test_inputs.py holds each to what it states, and
write_page.py writes docs/inputs.md from the same runs.
"""

import contextlib
import csv
import io
import os
import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from PIL import Image

from radstart.core.errors import RadstartError

BACKBONE = "test_resnet"
IMAGES = 40  # of the source that every case begins with: 20 patients of two images, a or b each


@dataclass
class Work:
    """The place of one case: DATA with labels.csv, OUT, and the words of the command.

    `rows` is written to DATA/labels.csv when the case has been made, unless `labels` (bytes) or
    `folders` (no CSV) says otherwise. `during` holds while the command runs.
    """

    place: Path
    rows: list[list[str]] = field(default_factory=list)
    options: list[object] = field(default_factory=list)
    words: list[object] | None = None
    labels: bytes | None = None
    folders: bool = False
    folder: str = "OUT"
    during: AbstractContextManager[object] = field(default_factory=nullcontext)
    random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(1))

    @property
    def data(self) -> Path:
        return self.place / "DATA"

    @property
    def out(self) -> Path:
        return self.place / self.folder

    def noise(self, *shape: int, dtype: Any = np.uint8, top: int = 256) -> Any:
        """Return pixels that no other picture of this case has."""
        return self.random.integers(0, top, shape or (12, 10)).astype(dtype)

    def picture(self, name: str, pixels: Any = None, **options: object) -> str:
        """Save pixels (or a PIL image) under DATA; return its name."""
        path = self.data / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = self.noise() if pixels is None else pixels
        image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
        image.save(path, **options)
        return name

    def row(self, name: str, label: str = "a", patient: str = "p new") -> None:
        """Add a line to labels.csv."""
        self.rows.append([name, label, patient])

    def fill(self) -> None:
        """Make the images and rows that every case begins with."""
        self.rows = [["image", "label", "patient_id"]]
        for k in range(IMAGES):
            self.row(self.picture(f"i{k:02d}.png"), "ab"[k % 2], f"p{k // 2:02d}")

    def relabel(self, column: int, value: Callable[[int], str]) -> None:
        """Set a column of every row."""
        for k, row in enumerate(self.rows[1:]):
            row[column] = value(k)

    def add_column(self, name: str, value: Callable[[int], str]) -> None:
        """Add a column to every row."""
        self.rows[0].append(name)
        for k, row in enumerate(self.rows[1:]):
            row.append(value(k))

    def rendered(self, delimiter: str = ",", ending: str = "\n") -> str:
        """Return the rows as a CSV."""
        out = io.StringIO(newline="")
        csv.writer(out, delimiter=delimiter, lineterminator=ending).writerows(self.rows)
        return out.getvalue()

    def question(self, text: str = "", data: str = "", arm: str = "") -> None:
        """Ask by a study.toml instead of by options."""
        self.place.joinpath("question.toml").write_text(
            f"backbone = '{BACKBONE}'\n{text}\n[[data]]\npath = 'DATA'\nlabels = 'labels.csv'\n"
            f"{data}\n[[arm]]\nstart = 'random'\n{arm}\n",
            encoding="utf-8",
        )
        self.words = ["compare", self.place / "question.toml", "--out", self.out]

    def finish(self) -> None:
        """Write the CSV and whatever else the command reads."""
        if not self.folders and self.data.is_dir():
            content = self.rendered().encode() if self.labels is None else self.labels
            (self.data / "labels.csv").write_bytes(content)
        self.place.joinpath("numerics.toml").write_text(
            "dtype = 'float32'\nmemory_format = 'contiguous'\nthreads = 1\n"
            "instructions = ''\ndevice = 'cpu'\ntrain_rate = 1.0\nevaluation_rate = 1.0\n"
        )

    def command(self) -> list[str]:
        """Return the words of the command line."""
        words = self.words or [
            *("compare", self.data, "--out", self.out, "--backbone", BACKBONE),
            *("--image-size", "32", "--seeds", "1", "--policies", "frozen"),
        ]
        numerics = self.place / "numerics.toml"
        return [*map(str, [*words, "--numerics", numerics, "--dry-run", *self.options])]


@dataclass(frozen=True)
class Case:
    """One input.

    Attributes:
        id: short name, unique in its table.
        what: the input in words, as the page shows it.
        make: changes a filled `Work` into the input.
        said: read: what becomes of it, in words; rejected and refused: a part of the message.
        remedy: a part of what the message tells the person to do ("" for what is read).
        check: read: called with (Work, Dataset) to hold what was stored against the input.
        lines: rejected: the lines of the CSV (0: class folders) that are in rejected.parquet.
        leaves: refused: what stands in OUT afterwards that did not stand there before; a dataset
            is whole and is not read again by the next call.
        empty: the case begins without images.
        needs: what the machine must be able to do ("mount"), else the case is skipped.
    """

    id: str
    what: str
    make: Callable[[Work], object]
    said: str = ""
    remedy: str = ""
    check: Callable[[Work, Any], object] | None = None
    lines: Sequence[int] = ()
    leaves: tuple[str, ...] = ()
    empty: bool = False
    needs: str = ""


@dataclass(frozen=True)
class Outcome:
    """What a call did; texts name places as DATA and OUT."""

    code: int
    out: str
    err: str
    error: RadstartError | None
    before: dict[str, tuple[object, ...]]
    after: dict[str, tuple[object, ...]]
    data_before: dict[str, tuple[object, ...]]
    data_after: dict[str, tuple[object, ...]]

    @property
    def line(self) -> str:
        """The last line on stderr."""
        return self.err.splitlines()[-1]


def tree(folder: Path) -> dict[str, tuple[object, ...]]:
    """Return what stands at and below a path: kind, bytes and time of every name."""
    if not os.path.lexists(folder):
        return {}
    found: dict[str, tuple[object, ...]] = {}
    for path in [folder, *sorted(folder.rglob("*"))]:
        status = path.lstat()
        name = os.fsencode(os.path.relpath(path, folder)).decode(errors="replace")
        if path.is_symlink():
            found[name] = ("link", os.readlink(path))
        elif path.is_file():
            found[name] = ("file", path.read_bytes(), status.st_mtime_ns)
        else:
            found[name] = ("folder",)
    return found


def call(words: Sequence[str]) -> tuple[int, str, str, RadstartError | None]:
    """Run the command line here; return code, stdout, stderr and the error behind the line."""
    from radstart.cli import main

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(list(words))
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
            cause = end.__context__
    error = cause if isinstance(cause, RadstartError) else None
    return code, out.getvalue(), err.getvalue(), error


def _unsynced(_: int) -> None:
    """Stand in for os.fsync: what a power cut leaves is not the matter here, and disks are slow."""


@mock.patch.object(os, "fsync", _unsynced)
def run(case: Case, place: Path) -> tuple[Work, Outcome]:
    """Make the input in `place` and run the command on it."""
    work = Work(place.resolve())
    work.data.mkdir(parents=True)
    if not case.empty:
        work.fill()
    case.make(work)
    work.finish()
    with work.during:
        before, data_before = tree(work.out), tree(work.data)
        code, out, err, error = call(work.command())
        after, data_after = tree(work.out), tree(work.data)
    named = [re.sub(r"\s+", " ", str(work.place)) + "/", str(work.place)]
    for name in named:
        out, err = out.replace(name, ""), err.replace(name, "")
    return work, Outcome(code, out, err, error, before, after, data_before, data_after)
