"""From sources to a dataset: list, scan, plan, read part by part, curate.

Whatever lies in the folder is whole: a call that was stopped goes on where it was, part by part,
and gives the same tables and pixels. `dataset.toml` is written last.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from radstart.core.claims import Claims
from radstart.core.errors import RadstartError
from radstart.core.files import os_reason, remove_leftovers, temporary_name
from radstart.core.hashing import digest
from radstart.core.progress import Progress
from radstart.dataset import MORE_SCHEMA, ROW_SCHEMA, TARGET, Dataset, open_dataset, save_dataset
from radstart.ingest.engine import Engine, run
from radstart.ingest.finish import columns_of, curate, read_parts, rows_of, unmatched
from radstart.ingest.listing import Rejected, printable
from radstart.ingest.meaning import Rendering
from radstart.ingest.plan import VERSION, Source, Wanted, part_tasks, scan_tasks
from radstart.ingest.privacy import Names
from radstart.ingest.slices import MASKED, arrange
from radstart.ingest.work import (
    SCAN_SCHEMA,
    PartTask,
    Recipe,
    ScanTask,
    is_done,
    read_part,
    scan_files,
)

WORK = "work"


@dataclass(frozen=True)
class Reading:
    """How files become images of a dataset.

    Attributes:
        rendering: how values become pixels.
        keep_depth: 16-bit pictures of plain image files stay as they are.
        max_side: longest side kept, in pixels; larger images are shrunk (AREA).
        slices: which slices of volumes: "all", "every N", "middle K" or "masked".
        engine: where the work runs.
        modality: of files that do not say their own; "" = not known.
    """

    rendering: Rendering = field(default_factory=Rendering)
    keep_depth: bool = True
    max_side: int = 512
    slices: str = "all"
    engine: Engine = field(default_factory=Engine)
    modality: str = ""

    def told(self) -> dict[str, Any]:
        """Return what changes the result, for `dataset.toml` and the fingerprint."""
        shown = vars(self.rendering)
        return {
            **{name: list(v) if isinstance(v, tuple) else v for name, v in shown.items()},
            "keep_depth": self.keep_depth, "max_side": self.max_side, "slices": self.slices,
            **({"modality": self.modality} if self.modality else {}),
        }  # fmt: skip


def fingerprint(source: Source, reading: Reading, names: Names, more: tuple[str, ...]) -> str:
    """Return a hash of the table, of every file's name, size and time, and how it is read."""
    files = [[printable(w.name), w.source, w.size, w.when, len(w.masks)] for w in source.wanted]
    how = [reading.told(), names.fingerprint, VERSION, *more]
    return digest([source.table, dict(source.columns), files, how], 32)


Checked = tuple[tuple[str, ...], pd.DataFrame, list[Rejected]]
Check = Callable[[pd.DataFrame, list[Rejected]], Checked]
"""Rows, rejected -> classes in order, rows, rejected; raises where they are unfit for their use."""


def build(
    out: Path, source: Source, reading: Reading, names: Names, check: Check, progress: Progress,
    more: tuple[str, ...] = (), replace: bool = False, tidy: bool = False,
) -> Dataset:  # fmt: skip
    """Make the dataset of a source in `out`, or open the one that is there already.

    Args:
        out: the dataset folder.
        source: what to read.
        reading: how.
        names: how identifiers are written.
        check: gives the classes.
        progress: shown while files are read.
        more: what else makes another dataset.
        replace: another dataset in `out` gives way.
        tidy: where it is refused, or cannot be written, nothing is left for a later call.

    Raises:
        RadstartError: another dataset lies in `out`, it cannot be written, or `check` refuses.
    """
    mark = fingerprint(source, reading, names, more)
    held = _held(out)
    if held is not None and held.facts.get("source") == mark:
        if (out / WORK).exists():  # of a call that was killed when all was written
            _clear(out)
            shutil.rmtree(out / WORK, ignore_errors=True)
        return held
    if held is not None and not replace:
        return _compared(held, source, reading, names, check, progress, more)
    made = [parent for parent in out.parents if not parent.exists()]
    claims = Claims(out / WORK / "claims")
    try:
        with claims.waiting("ingest"):
            held = _held(out)
            if held is None or held.facts.get("source") != mark:
                (out / "dataset.toml").unlink(missing_ok=True)  # of one that gives way
                shutil.rmtree(out / "cache", ignore_errors=True)
                _clear(out)
                with _tidied(out) if tidy else nullcontext():
                    _make(out, source, reading, names, check, mark, progress)
    except OSError as error:
        raise RadstartError(
            "cannot write the dataset",
            str(out),
            os_reason(error),
            "free space or choose another place",
        ) from error
    finally:
        _clear(out)
        with suppress(OSError, RadstartError):
            claims.close()
        if (out / "dataset.toml").exists():
            shutil.rmtree(out / WORK, ignore_errors=True)
        parts = out / "pixels", out / "masks"
        for folder in (*parts, out / WORK, out, *made):  # leave no empty ones; stops at one in use
            try:
                folder.rmdir()
            except FileNotFoundError:
                continue
            except OSError:
                if folder not in parts:
                    break
    return open_dataset(out)


def _clear(out: Path) -> None:
    """Remove what killed processes left half-written."""
    for folder in (out / WORK, out / "pixels", out / "masks", out):
        with suppress(OSError):
            remove_leftovers(folder)


@contextmanager
def _tidied(out: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, RadstartError):
        for path in out.glob("*"):
            if path.is_dir() and path.name != WORK:
                shutil.rmtree(path, ignore_errors=True)
            elif path.name == WORK:
                for part in path.glob("*.parquet"):
                    part.unlink(missing_ok=True)
            else:
                path.unlink(missing_ok=True)
        raise


def _compared(
    held: Dataset, source: Source, reading: Reading, names: Names, check: Check,
    progress: Progress, more: tuple[str, ...],
) -> Dataset:  # fmt: skip
    """Return the dataset that is there, if files of other names or times make no other one.

    Raises:
        RadstartError: they do.
    """
    beside = held.path.with_name(temporary_name(held.path.name))
    remove_leftovers(held.path.parent, held.path.name)
    try:
        made = build(beside, source, reading, names, check, progress, more, tidy=True)
        if (held.content, held.target, held.classes) == (made.content, made.target, made.classes):
            return held
        raise RadstartError(
            "holds a dataset made from other images, labels or columns (or they have changed)",
            str(held.path),
            f"{len(made)} images, target {made.target!r}, classes {', '.join(made.classes)}",
            "choose another --out, or delete this folder",
        )
    except RadstartError as error:
        error.where = error.where.replace(str(beside), str(held.path))
        raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _held(out: Path) -> Dataset | None:
    """Return the dataset in `out`, None where there is none yet.

    Raises:
        RadstartError: the folder holds something else.
    """
    try:
        if not (out / "dataset.toml").exists():
            if out.exists() and any(out.iterdir()) and not (out / WORK).is_dir():
                open_dataset(out)  # says that it is none
            return None
        return open_dataset(out)
    except OSError as error:
        raise RadstartError(
            "cannot be read", str(out), os_reason(error), "choose another --out"
        ) from error


def _make(
    out: Path, source: Source, reading: Reading, names: Names, check: Check, mark: str,
    progress: Progress,
) -> None:  # fmt: skip
    work = out / WORK
    images = _scanned(work, source.wanted, names, reading.engine, progress)
    refused = images["reason"].notna()
    rejected = [*source.rejected, *_rejected(images[refused], source.wanted)]
    arranged, notes = arrange(images[~refused], reading.slices)
    recipe = Recipe(
        reading.rendering, reading.keep_depth, reading.max_side, reading.slices == MASKED
    )
    tasks = part_tasks(out, work, arranged, source.wanted, recipe, reading.modality)
    todo = [task for task in tasks if not is_done(task)]
    total = sum(len(file.which) for task in tasks for file in task.files)
    with progress.task("reading images", total) as shown:
        shown.advance(total - sum(len(file.which) for task in todo for file in task.files))
        for _, count in run(reading.engine, read_part, todo):
            shown.advance(count)
    pictures, broken = read_parts([task.table for task in tasks])
    _check_there(broken, todo, source.wanted)
    rejected += _rejected(broken, source.wanted)
    rejected += unmatched(images[~refused], source, names)
    rows = rows_of(pictures, arranged, source, names)
    rows.loc[rows["modality"] == "", "modality"] = reading.modality
    curate(rows)
    classes, rows, rejected = check(rows, rejected)
    rejected.sort(key=lambda row: (row.line, row.image))
    save_dataset(
        out,
        name=source.name,
        target=source.target or ("label" if classes else ""),  # of files that hold their own
        classes=classes,
        rows=columns_of(rows, [*ROW_SCHEMA.names, *MORE_SCHEMA.names]
                        + [name for name in map(str, rows) if name.startswith(TARGET)]),
        rejected={
            "line": [row.line for row in rejected],
            "image": [names.told("image", row.image) for row in rejected],
            "reason": [f"{row.reason}; {row.remedy}" for row in rejected],
        },
        source=mark,
        columns=source.columns,
        how={**reading.told(), "key": names.fingerprint, "oldest": names.age(200), **notes},
    )  # fmt: skip
    kept = {task.shard.name for task in tasks}
    for folder in (out / "pixels", out / "masks"):
        for path in folder.glob("*.bin"):
            if path.name not in kept:
                path.unlink()


def _scanned(
    work: Path, wanted: Sequence[Wanted], names: Names, engine: Engine, progress: Progress
) -> pd.DataFrame:
    """Return one row per image of all files, or one with a reason."""
    tasks = scan_tasks(work, wanted, names)
    todo = [task for task in tasks if not is_done(task)]
    with progress.task("scanning files", len(wanted)) as shown:
        shown.advance(len(wanted) - sum(len(task.files) for task in todo))
        for _, count in run(engine, scan_files, todo):
            shown.advance(count)
    tables = [SCAN_SCHEMA.empty_table(), *(pq.read_table(task.table) for task in tasks)]
    images: pd.DataFrame = pa.concat_tables(tables).combine_chunks().to_pandas()
    _check_there(images[images["reason"].notna()], todo, wanted)
    return images


def _check_there(
    refused: pd.DataFrame, todo: Sequence[ScanTask | PartTask], wanted: Sequence[Wanted]
) -> None:
    """Refuse to go on without a source that went away, and forget what was refused of it.

    Raises:
        RadstartError: the folder of files that were refused is gone, or holds nothing any more.
    """
    roots = {int(item): _root(wanted[item]) for item in refused["item"].unique()}
    gone = {root for root in {*roots.values()} if _is_gone(root)}
    if not gone:
        return
    for task in todo:
        if any(roots.get(item) in gone for item in task.items()):
            task.table.unlink(missing_ok=True)
    raise RadstartError(
        "went away while it was read", min(gone), "no file lies there any more",
        "make it reachable; the same command continues",
    )  # fmt: skip


def _root(one: Wanted) -> str:
    """Return the folder of a file's source."""
    inside = one.path.endswith("/" + one.name)
    return one.path.removesuffix(one.name) if inside else os.path.dirname(one.path)


def _is_gone(folder: str) -> bool:
    try:
        with os.scandir(folder) as found:
            return next(found, None) is None
    except OSError:
        return True


def _rejected(rows: pd.DataFrame, wanted: Sequence[Wanted]) -> list[Rejected]:
    """Return a row per file and reason: of many images, with their number and the first of them."""
    found = []
    same = rows.groupby(["item", "reason", "remedy"], sort=False)["index"]
    for (item, reason, remedy), first, count in same.agg(["min", "size"]).itertuples():
        name = printable(wanted[item].name)
        name = f"{name}#{first:04d}" if first else name
        many = f" ({count} images)" if count > 1 else ""
        found.append(Rejected(wanted[item].line, name, f"{reason}{many}", remedy))
    return found
