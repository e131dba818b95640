"""`radstart ingest` of many files: time against files, memory over time, and beside bare decoding.

    python benchmarks/ingest.py [--files 100000] [--turns 5]     measure, keep the results
    python benchmarks/ingest.py --write                          picture and table into the docs

The archive is made in a temporary folder (about 1.3 GB for 100,000 files) and removed afterwards:
single DICOM slices of 64 x 64, 16 bits, each with headers, identifiers and pixels of its own, 40
slices a series, 2 series a patient. It is ingested at an eighth, a quarter, a half and the whole of
its size by the command line. Memory is the resident set of every process, sampled twice a second.
Time is that of the processor, all processes together, so that a busy machine changes little; the
clock's is kept beside it. Uncompressed CT of 512 x 512 is held against `pixel_array` of pydicom,
and against the picture that an ingest stores, made with pydicom's own functions and written to a
file; all on one core, in turns. What the ingest does besides: tags of a row, hashes, statistics.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom import Dataset, FileMetaDataset, dcmwrite
from pydicom.pixels import apply_modality_lut, apply_windowing
from pydicom.uid import ExplicitVRLittleEndian

from side_by_side import Row, figure, keep, paired_ratio

HERE = Path(__file__).parent
PAGE, PICTURE = HERE.parent / "docs" / "ingest.md", HERE.parent / "docs" / "images" / "ingest.svg"
KEPT = HERE / "results" / "ingest.json"
BEGIN, END = "<!-- ingest -->", "<!-- /ingest -->"
SHARES = (8, 4, 2, 1)
SIDE, SERIES = 64, 40
CT_SIDE, CT_FILES = 512, 240
ROOM = 30_000  # bytes of disk for each file, those of the datasets included
GB = 1 << 30


def slice_of(side: int, **changes: Any) -> Dataset:
    """Return a CT slice with the usual elements."""
    ds = Dataset()
    given = {
        "SpecificCharacterSet": "ISO_IR 100", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"], "Modality": "CT",
        "Manufacturer": "RADSTART", "SeriesDescription": "Chest", "PatientSex": "F",
        "PatientAge": "041Y", "BodyPartExamined": "CHEST", "SliceThickness": "2.5",
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "PixelSpacing": [0.7, 0.7],
        "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "Rows": side,
        "Columns": side, "BitsAllocated": 16, "BitsStored": 12, "HighBit": 11,
        "PixelRepresentation": 0, "RescaleIntercept": "-1024", "RescaleSlope": "1",
        "WindowCenter": "40", "WindowWidth": "400", **changes,
    }  # fmt: skip
    for name, value in given.items():
        setattr(ds, name, value)
    return ds


def encoded(ds: Dataset, pixels: bytes) -> bytes:
    """Return the bytes of a file."""
    ds.add_new(0x7FE00010, "OW", pixels)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    out = BytesIO()
    dcmwrite(out, ds, enforce_file_format=True)
    return out.getvalue()


def body(side: int, rng: np.random.Generator) -> NDArray[np.uint16]:
    """Return something that is bright inside and dark outside, with grain."""
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    centre = rng.uniform(-0.3, 0.3, (6, 2))
    size = rng.uniform(0.05, 0.6, 6)
    shape = sum(
        np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / s)
        for (cx, cy), s in zip(centre, size, strict=True)
    )
    grain = rng.normal(0, 20, (side, side))
    return (900 + 300 * np.asarray(shape) + grain).clip(0, 4095).astype(np.uint16)


def write_archive(folder: Path, count: int) -> None:
    """Write `count` slices, in folders by eighths; identifiers are replaced in ready bytes."""
    rng = np.random.default_rng(0)
    keys = {"SOPInstanceUID": "1.2.826.0.1.1.{:012d}", "SeriesInstanceUID": "1.2.826.0.1.2.{:012d}",
            "StudyInstanceUID": "1.2.826.0.1.3.{:012d}", "PatientID": "P{:015d}"}  # fmt: skip
    marks = {name: form.format(10**11 + k) for k, (name, form) in enumerate(keys.items())}
    place = "{:016.2f}"
    empty = slice_of(SIDE, **marks, ImagePositionPatient=["0", "0", "7777777777777777"],
                     InstanceNumber="55555555")  # fmt: skip
    whole = encoded(empty, bytes(2 * SIDE * SIDE))
    head = whole[: -2 * SIDE * SIDE]
    shapes = [body(SIDE, rng) for _ in range(200)]
    for eighth in range(8):
        (folder / str(eighth)).mkdir(parents=True)
    for k in range(count):
        values = {"SOPInstanceUID": k, "SeriesInstanceUID": k // SERIES,
                  "StudyInstanceUID": k // SERIES, "PatientID": k // (2 * SERIES)}  # fmt: skip
        made = head
        for name, value in values.items():
            made = made.replace(marks[name].encode(), keys[name].format(value).encode())
        made = made.replace(b"7777777777777777", place.format(2.5 * (k % SERIES)).encode())
        made = made.replace(b"55555555", f"{k % SERIES:08d}".encode())
        pixels = np.roll(shapes[k % 200], (k // 200 * 7, k // 200 * 3), (0, 1)) + (k % 13)
        (folder / str(8 * k // count) / f"{k:07d}.dcm").write_bytes(made + pixels.tobytes())


@dataclass
class Watch:
    """What was seen of a running ingest.

    Attributes:
        memory: (seconds, bytes of the largest process) over time.
        largest: bytes of the first process, and of the largest of the others.
        done: (seconds of the processor, parts that lie there) over time.
    """

    memory: list[tuple[float, int]]
    largest: list[int]
    done: list[tuple[float, int]]


def ingested(sources: list[Path], out: Path, key: Path, workers: int) -> tuple[Any, Watch]:
    """Ingest by the command line; return seconds by the clock and the processor, and the watch."""
    words = [sys.executable, "-m", "radstart.cli", "ingest", *map(str, sources), "--out", str(out),
             "--key", str(key), "--workers", str(workers)]  # fmt: skip
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    watch, end = Watch([], [0, 0], []), threading.Event()
    thread = threading.Thread(target=_look, args=(process.pid, out / "work", watch, end))
    thread.start()
    _, said = process.communicate()
    wall = time.perf_counter() - started
    end.set()
    thread.join()
    if process.returncode:
        raise SystemExit(said.decode())
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall": wall, "cpu": cpu}, watch


def _look(pid: int, work: Path, watch: Watch, end: threading.Event) -> None:
    started = time.perf_counter()
    tick = os.sysconf("SC_CLK_TCK")
    spent: dict[int, float] = {}
    while not end.wait(0.5):
        sizes = {}
        for one in (pid, *_children(pid)):
            try:
                stat = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            sizes[one] = int(stat[21]) * os.sysconf("SC_PAGE_SIZE")
            spent[one] = (int(stat[11]) + int(stat[12])) / tick
        if not sizes:
            continue
        others = [size for one, size in sizes.items() if one != pid]
        watch.largest[0] = max(watch.largest[0], sizes.get(pid, 0))
        watch.largest[1] = max(watch.largest[1], *others, 0)
        watch.memory.append((time.perf_counter() - started, max(sizes.values())))
        parts = sum(1 for path in work.glob("part-*.parquet"))
        watch.done.append((sum(spent.values()), parts))


def _children(pid: int) -> list[int]:
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def line(x: list[float], y: list[float]) -> dict[str, float]:
    """Return the least-squares line through points, and R^2."""
    slope, at_zero = np.polyfit(x, y, 1)
    rest = np.asarray(y) - (slope * np.asarray(x) + at_zero)
    share = 1 - (rest @ rest) / float(((np.asarray(y) - np.mean(y)) ** 2).sum())
    return {"slope": float(slope), "at_zero": float(at_zero), "r2": float(share)}


def growth(folder: Path, count: int, workers: int) -> dict[str, Any]:
    """Return what ingests of growing parts of one archive cost."""
    archive = folder / "archive"
    write_archive(archive, count)
    runs = []
    for share in SHARES:
        sources = [archive / str(eighth) for eighth in range(8 // share)]
        out = folder / "out"
        seconds, watch = ingested(sources, out, folder / "key", workers)
        files = sum(len(os.listdir(source)) for source in sources)
        rows = _rows(out)
        if rows != files:
            raise SystemExit(f"{files} files gave {rows} images")
        shutil.rmtree(out)
        step = max(1, len(watch.memory) // 200)
        runs.append({
            "files": files, "seconds": seconds,
            "memory": {"first": watch.largest[0], "workers": watch.largest[1]},
            "over_time": watch.memory[::step], "parts": watch.done[::step],
        })  # fmt: skip
        print(f"{files:,} files: {seconds['cpu']:.0f} s of the processor", file=sys.stderr)
    files = [float(run["files"]) for run in runs]
    reading = [(cpu, parts) for cpu, parts in watch.done if parts]
    return {
        "workers": workers,
        "runs": runs,
        "line": line(files, [run["seconds"]["cpu"] for run in runs]),
        "line_inside": line([float(p) for _, p in reading], [cpu for cpu, _ in reading]),
    }


def _rows(out: Path) -> int:
    import pyarrow.parquet as pq

    return int(pq.read_metadata(out / "rows.parquet").num_rows)


def beside_decoding(folder: Path, turns: int) -> dict[str, Any]:
    """Return seconds of one core for an ingest of CT, less its start, and for bare decoding.

    The ingest of as many files less is taken off, so that what starts once does not count.
    """
    rng = np.random.default_rng(1)
    few, many = folder / "few", folder / "many"
    for k in range(CT_FILES + 4):
        at = few if k < 4 else many
        at.mkdir(parents=True, exist_ok=True)
        ds = slice_of(
            CT_SIDE, SOPInstanceUID=f"1.2.{k}", SeriesInstanceUID="1.3", StudyInstanceUID="1.4",
            PatientID="P1", ImagePositionPatient=[0, 0, k], InstanceNumber=str(k),
        )  # fmt: skip
        (at / f"{k:04d}.dcm").write_bytes(encoded(ds, body(CT_SIDE, rng).tobytes()))
    paths = sorted(many.iterdir())
    seconds: dict[str, list[float]] = {"ingest": [], "decode": [], "picture": []}
    for turn in range(turns + 1):
        spent = []
        for source in (few, many):
            found, _ = ingested([source], folder / "ct", folder / "key", 1)
            shutil.rmtree(folder / "ct")
            spent.append(found["cpu"])
        decode = _timed(lambda: [pydicom.dcmread(path).pixel_array for path in paths])
        picture = _timed(lambda: _pictures(paths, folder / "pictures"))
        if turn:
            seconds["ingest"].append(spent[1] - spent[0])
            seconds["decode"].append(decode)
            seconds["picture"].append(picture)
    ratios = {name: paired_ratio(seconds["ingest"], seconds[name]) for name in seconds}
    return {"files": len(paths), "side": CT_SIDE, "seconds": seconds, "ratios": ratios}


def _timed(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def _pictures(paths: list[Path], out: Path) -> None:
    """Write the pictures that an ingest stores, with pydicom's functions alone."""
    with out.open("wb") as file:
        for path in paths:
            ds = pydicom.dcmread(path)
            units = apply_modality_lut(ds.pixel_array, ds)
            shown = apply_windowing(units, ds)
            low, high = shown.min(), shown.max()
            file.write(((shown - low) * (255 / (high - low))).round().astype(np.uint8).data)
        file.flush()
        os.fsync(file.fileno())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    if given.write:
        write()
        return
    with tempfile.TemporaryDirectory() as name:
        free = shutil.disk_usage(name).free
        if free < given.files * ROOM:
            raise SystemExit(f"needs {given.files * ROOM / GB:.0f} GB, has {free / GB:.0f}")
        beside = beside_decoding(Path(name), given.turns)
        print(f"beside decoding: {beside['ratios']}", file=sys.stderr)
        grown = growth(Path(name), given.files, given.workers)
    last = grown["runs"][-1]
    most = max(last["memory"].values()) / GB
    per = 1e3 * grown["line"]["slope"]
    rows = [
        Row(
            f"Ingest of {last['files']:,} DICOM files, ms of a core per file", figure(per),
            "a straight line through 1/8, 1/4, 1/2 and all of them",
            f"R² {grown['line']['r2']:.4f}", f"largest process {most:.2f} GB",
            "a straight line (R² > 0.99), under 1.5 GB",
            grown["line"]["r2"] > 0.99 and most < 1.5,
        ),
        *(
            Row(
                "Ingest of uncompressed CT, 512 px, ms of a core per file",
                figure(1e3 * float(np.median(beside["seconds"]["ingest"])) / beside["files"]),
                peer, figure(1e3 * float(np.median(beside["seconds"][name])) / beside["files"]),
                f"{beside['ratios'][name]:.2f}x", wanted,
                beside["ratios"][name] <= 1.5 if wanted else None,
            )
            for name, peer, wanted in (
                ("decode", "pydicom's pixel_array alone, nothing written", "at most 1.5x"),
                ("picture", "the same picture with pydicom's functions, written to a file", ""),
            )
        ),
    ]  # fmt: skip
    keep("ingest", rows, {"growth": grown, "beside_decoding": beside})


def write() -> None:
    """Draw the picture and put the table into the page, out of the kept results."""
    kept = json.loads(KEPT.read_text("utf-8"))
    PICTURE.write_text(picture(kept["details"]["growth"]), encoding="utf-8")
    before, rest = PAGE.read_text("utf-8").split(BEGIN)
    after = rest.split(END)[1]
    PAGE.write_text(f"{before}{BEGIN}\n{table(kept)}\n{END}{after}", encoding="utf-8")


def table(kept: dict[str, Any]) -> str:
    """Return the table of the page, as Markdown."""
    grown = kept["details"]["growth"]
    lines = [
        "| files | processor, s | per file, ms | clock, s | first process, GB | a worker, GB |",
        "| --- " * 6 + "|",
    ]
    for run in grown["runs"]:
        seconds, memory, files = run["seconds"], run["memory"], run["files"]
        lines.append(
            f"| {files:,} | {seconds['cpu']:.0f} | {1e3 * seconds['cpu'] / files:.2f} "
            f"| {seconds['wall']:.0f} | {memory['first'] / GB:.2f} | {memory['workers'] / GB:.2f} |"
        )
    beside, fit = kept["details"]["beside_decoding"], grown["line"]
    return "\n".join([
        *lines, "",
        f"A straight line: {1e3 * fit['slope']:.2f} ms a file after {fit['at_zero']:.1f} s, "
        f"R² {fit['r2']:.4f}. Uncompressed CT of 512 x 512 takes "
        f"{beside['ratios']['decode']:.2f} times as long as bare decoding with pydicom, and "
        f"{beside['ratios']['picture']:.2f} times as long as making and writing the same pictures "
        f"with pydicom's functions (one core, {beside['files']} files, what starts once taken "
        f"off). {kept['machine']['processor']}, {grown['workers']} workers, {kept['date']}.",
    ])  # fmt: skip


def picture(grown: dict[str, Any]) -> str:
    """Return the curve as SVG: seconds of the processor against files, memory over time."""
    os.environ.setdefault("MPLBACKEND", "agg")
    import matplotlib.pyplot as plt

    plt.rcParams |= {"svg.hashsalt": "radstart", "svg.fonttype": "none", "font.size": 9}
    figures, (left, right) = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
    runs, fit = grown["runs"], grown["line"]
    files = np.array([run["files"] for run in runs])
    left.plot(files, [run["seconds"]["cpu"] for run in runs], "o", color="#0b6e99")
    ends = np.array([0, files.max()])
    left.plot(ends, fit["slope"] * ends + fit["at_zero"], color="#0b6e99", lw=1)
    left.set(xlabel="files", ylabel="seconds of the processor", ylim=(0, None), xlim=(0, None))
    left.set_title(f"R² {fit['r2']:.4f}")
    for run in runs:
        seconds, sizes = np.array(run["over_time"]).T
        right.plot(seconds / seconds.max(), sizes / GB, lw=1, label=f"{run['files']:,} files")
    right.axhline(1.5, color="#b00020", ls="--", lw=1)
    right.set(xlabel="share of the ingest", ylabel="largest process, GB", ylim=(0, 1.6))
    right.legend(frameon=False)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    out = BytesIO()
    figures.savefig(out, format="svg", metadata={"Date": None})
    plt.close(figures)
    return "\n".join(text.rstrip() for text in out.getvalue().decode().splitlines()) + "\n"


if __name__ == "__main__":
    main()
