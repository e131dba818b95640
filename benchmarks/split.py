"""Splitting five million rows: read, split by patient, stratified, audited and written.

The rows are generated: a million patients, three million exams, twelve labels, one picture in a
hundred there twice, fingerprints and file names of the usual length. Beside it stands a loop over
units in Python on a hundredth of them, its time multiplied: scikit-learn's StratifiedGroupKFold.

python benchmarks/split.py [--rows 5000000]
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from radstart.core.files import write_toml
from side_by_side import Row, figure, keep, timed

GIB = 2**30
SPLIT = """
import resource, sys, time, radstart
started, spent = time.perf_counter(), time.process_time()
made = radstart.split(sys.argv[1], folds=5)
print(time.perf_counter() - started, time.process_time() - spent)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
assert set(made.audit["in_several_parts"].values()) <= {0}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5_000_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        unit, label = generate(Path(folder), given.rows)
        done = subprocess.run(
            [sys.executable, "-c", SPLIT, folder], check=True, capture_output=True, text=True
        )
    seconds, processor, peak = (float(word) for word in done.stdout.split())
    some = unit < unit.max() // 100
    theirs = 100 * timed(lambda: peer(unit[some], label[some]))
    rows = [
        Row(
            f"split {given.rows:,} rows by patient into 5 folds: read, deal, audit, write, s",
            figure(seconds),
            "StratifiedGroupKFold, dealing alone (1 % timed)",
            figure(theirs),
            f"{theirs / seconds:.1f}x",
            "under 10 s",
            seconds < 10,
        ),
        Row(
            "its memory at the most, GiB",
            figure(peak / GIB),
            "",
            "",
            f"{figure(processor)} s of processor time",
            "under 2 GB",
            peak < 2e9,
        ),
    ]
    details = {"seconds": seconds, "processor_seconds": processor, "peak_bytes": peak}
    keep("split", rows, details)


def peer(unit: NDArray[np.int64], label: NDArray[np.int64]) -> None:
    """Deal with scikit-learn."""
    from sklearn.model_selection import StratifiedGroupKFold

    folds = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    for _ in folds.split(np.zeros(len(unit)), label, unit):
        pass


def generate(folder: Path, n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Write a dataset's rows.parquet and dataset.toml; return patients and labels as numbers."""
    rng = np.random.default_rng(0)
    exam = np.sort(rng.integers(0, 3 * n // 5, n))
    patient = exam // 3
    own = rng.choice(12, n // 5 + 1, p=rng.dirichlet(np.full(12, 2.0)))[patient]
    label = np.where(rng.random(n) < 0.8, own, rng.integers(0, 12, n))
    content = digits(rng, n, 32)
    twice = rng.integers(1, n, n // 100)
    content[twice] = content[twice - 1]
    row = np.arange(n)
    number = pc.utf8_lpad(pa.array(row).cast(pa.string()), 9, "0")
    columns = {
        "row": pa.array(row),
        "image": pc.binary_join_element_wise("archive/images", number, "/"),
        "line": pa.array(row + 2),
        "label": strings([f"class {k}" for k in range(12)], label, rng.random(n) < 0.05),
        "patient": texts(digits(rng, n // 5 + 1, 16)).take(pa.array(patient)),
        "exam": texts(digits(rng, 3 * n // 5, 16)).take(pa.array(exam)),
        "site": strings([f"site {k}" for k in range(9)], patient % 9, np.zeros(n, bool)),
        "content": texts(content),
    }
    pq.write_table(pa.table(columns), folder / "rows.parquet")
    write_toml(folder / "dataset.toml", {"schema": 1, "name": "generated", "content": "none"})
    return patient, label


def digits(rng: np.random.Generator, n: int, size: int) -> NDArray[np.uint8]:
    """Return n hexadecimal numbers as letters, (n, size)."""
    return np.frombuffer(b"0123456789abcdef", np.uint8)[rng.integers(0, 16, (n, size), np.uint8)]


def texts(letters: NDArray[np.uint8]) -> pa.Array:
    """Return rows of letters as an Arrow array of texts."""
    n, size = letters.shape
    ends = np.arange(n + 1, dtype=np.int32) * np.int32(size)
    return pa.StringArray.from_buffers(n, pa.py_buffer(ends), pa.py_buffer(letters.copy()))


def strings(names: list[str], code: NDArray[np.int64], empty: NDArray[np.bool_]) -> pa.Array:
    """Return names by their codes, null where empty."""
    return pa.array(names).take(pa.array(code, mask=empty))


if __name__ == "__main__":
    main()
