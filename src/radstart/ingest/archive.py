"""`radstart ingest`: any mix of files, with or without a table, becomes a dataset."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import wrap
from typing import Literal

import pandas as pd

from radstart.core.errors import RadstartError, short
from radstart.core.hashing import digest
from radstart.core.progress import Progress
from radstart.dataset import Dataset, natural, part_of_split
from radstart.ingest.csv_file import Table, headed, joined, read_csv
from radstart.ingest.engine import ENGINES, Engine
from radstart.ingest.folders import classes_of, masks_beside
from radstart.ingest.labels import NAMES, plain, tell
from radstart.ingest.listing import Rejected, printable
from radstart.ingest.meaning import Rendering
from radstart.ingest.pipeline import Checked, Reading, build
from radstart.ingest.plan import Source, Wanted
from radstart.ingest.privacy import Names, known_modality, read_key
from radstart.ingest.slices import MASKED
from radstart.ingest.volumes import choose
from radstart.ingest.walk import Item, walk
from radstart.ingest.workers import Limits

FOLDERS = "folders"


@dataclass(frozen=True)
class IngestSpec:
    """What is read, and how.

    Attributes:
        sources: folders or files.
        out: the dataset folder; must not lie inside of a source.
        labels: CSVs of the same columns, as they stand or inside the first source; "folders" = the
            class folder in which an image lies is its label; () = none.
        columns: meaning (see `radstart.ingest.labels.NAMES`) -> column of the CSV; "" = take none.
        numbers: columns of the CSV that are numbers to predict.
        all_files: with a table that names files, also read those that it does not name.
        rendering: windows, depth, shape.
        max_side: longest side kept, in pixels.
        slices: of volumes: "all", "every N", "middle K", "masked".
        modality: of files that do not say their own, and of which no row of a table says it.
        keep_ids: identifiers and names are kept as they are.
        key: file of the secret that hides identifiers; None = the user's own.
        workers: processes; 0 = one per core.
        engine: "local" or "ray".
        seconds: that one image may take.
        memory: GB that a worker process may take.
    """

    sources: tuple[Path, ...]
    out: Path
    labels: tuple[str, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    numbers: tuple[str, ...] = ()
    all_files: bool = False
    rendering: Rendering = field(default_factory=Rendering)
    max_side: int = 512
    slices: str = "all"
    modality: str = ""
    keep_ids: bool = False
    key: Path | None = None
    workers: int = 0
    engine: str = "local"
    seconds: float = 60.0
    memory: float = 6.0


def ingest(spec: IngestSpec, progress: Progress | None = None) -> Dataset:
    """Make a dataset of any mix of files; what cannot be read is a row of rejected.parquet.

    A call that was stopped goes on where it was. Sources are never written to.

    Raises:
        RadstartError: bad options, an absent source, a table that fits nothing, another dataset in
            `out`, or nothing can be written.
    """
    progress = progress or Progress()
    _check_spec(spec)
    names = Names(b"") if spec.keep_ids else read_key(spec.key)
    items = walk(spec.sources, spec.out)
    progress.line(f"found       {len(items):,} files")
    if not spec.labels and any(item.path.lower().endswith(".csv") for item in items):
        progress.line("table       a CSV lies there and is not read: name it with --labels")
    table = _table(spec)
    source = _source(spec, items, table)
    engine = Engine(
        spec.engine,
        spec.workers or os.cpu_count() or 1,
        Limits(seconds=spec.seconds, memory=int(spec.memory * (1 << 30))),
    )
    reading = Reading(
        rendering=spec.rendering,
        keep_depth=spec.rendering.windows == ("first",) and not spec.rendering.shape,
        max_side=spec.max_side,
        slices=spec.slices,
        modality=known_modality(spec.modality) or "",
        engine=engine,
    )
    return build(spec.out, source, reading, names, _checked, progress)


def ingest_sources(
    *sources: str | Path,
    out: str | Path,
    labels: str | Path | Sequence[str | Path] = (),
    columns: Mapping[str, str] | None = None,
    numbers: Sequence[str] = (),
    all_files: bool = False,
    windows: Sequence[str] = ("first",),
    stack: bool = False,
    depth: Literal[8, 16] = 8,
    shape: Sequence[str] = (),
    max_side: int = 512,
    slices: str = "all",
    modality: str = "",
    keep_ids: bool = False,
    key: str | Path | None = None,
    workers: int = 0,
    engine: str = "local",
    progress: bool = False,
) -> Dataset:
    """Make a dataset of any mix of files, as `radstart ingest` does.

    The options are those of the command line (`radstart ingest --help`), under the same names;
    `columns` maps a meaning to a column of the table.

    Returns: the dataset: `.rows` is a data frame, `.pixels(row)` an array, `.mask(row)` its mask.
    Raises: RadstartError, anything that a person can mend.
    """
    spec = IngestSpec(
        sources=tuple(map(Path, sources)),
        out=Path(out),
        labels=_names(labels),
        columns=dict(columns or {}),
        numbers=tuple(numbers),
        all_files=all_files,
        rendering=Rendering(windows=tuple(windows), stack=stack, depth=depth, shape=tuple(shape)),
        max_side=max_side,
        slices=slices,
        modality=modality,
        keep_ids=keep_ids,
        key=Path(key) if key else None,
        workers=workers,
        engine=engine,
    )
    return ingest(spec, Progress(progress))


def _names(labels: str | Path | Sequence[str | Path]) -> tuple[str, ...]:
    several = [labels] if isinstance(labels, str | Path) else labels
    return tuple(str(name) for name in several if str(name))


def _checked(rows: pd.DataFrame, rejected: list[Rejected]) -> Checked:
    classes = sorted(set(rows["label"]) - {""}, key=lambda name: (natural(name), name))
    return tuple(classes), rows, rejected


def _check_spec(spec: IngestSpec) -> None:
    if not spec.sources:
        raise RadstartError("names no source", "", "", "name a folder or a file")
    if spec.engine not in ENGINES:
        raise RadstartError("is not known", "--engine", spec.engine, "choose local or ray")
    if spec.max_side < 8:
        raise RadstartError("is out of range", "--max-side", str(spec.max_side), "at least 8")
    if spec.seconds <= 0 or spec.memory < 1 or spec.workers < 0:
        raise RadstartError(
            "is out of range", "--seconds, --memory or --workers",
            f"{spec.seconds:g}, {spec.memory:g}, {spec.workers}", "above 0, at least 1, at least 0",
        )  # fmt: skip
    if spec.modality and not known_modality(spec.modality):
        raise RadstartError(
            "is no modality", "--modality", short(spec.modality),
            "a term of DICOM: CT, MR, US, CR, DX, MG, PT, NM, RF, XA, ...",
        )  # fmt: skip
    choose(1, "all" if spec.slices == MASKED else spec.slices)
    for meaning in spec.columns:
        if meaning not in NAMES:
            raise RadstartError("is no meaning of a column", meaning, "", ", ".join(NAMES))
    out = Path(os.path.realpath(spec.out))
    for path in spec.sources:
        if path.is_dir() and out == Path(os.path.realpath(path)):
            raise RadstartError(
                "is a source, which is never written to", str(spec.out), "", "choose another --out"
            )


def _table(spec: IngestSpec) -> Table | None:
    if spec.labels in ((), (FOLDERS,)):
        if spec.numbers or spec.columns:
            raise RadstartError("needs a table", "a column", "", "name it with --labels")
        return None
    expected = frozenset(name for names in NAMES.values() for name in names)
    tables = [
        headed(read_csv(path, expected), lambda name: plain(name) in expected)
        for path in _label_paths(spec)
    ]
    return joined(tables, [_split_of(table.path.stem) for table in tables])


def _label_paths(spec: IngestSpec) -> list[Path]:
    """Return where the tables are: as named, or inside the first source."""
    inside = [spec.sources[0] / name for name in spec.labels]
    return [
        there if not Path(name).exists() and there.exists() else Path(name)
        for name, there in zip(spec.labels, inside, strict=True)
    ]


def _split_of(name: str) -> str:
    """Return the only word of a table's name that means a part: train, val, test, ..."""
    found = [word for word in re.split("[^a-z]+", name.lower()) if part_of_split(word)]
    return found[0] if len(found) == 1 else ""


def _source(spec: IngestSpec, items: Sequence[Item], table: Table | None) -> Source:
    """Return the files that are read, with what the table says of them."""
    listed = [item for item in items if not item.reason]
    rejected = [Rejected(0, printable(i.path), i.reason, i.remedy) for i in items if i.reason]
    named_by = spec.sources[0] if spec.keep_ids else spec.out  # a folder may be named by a patient
    name = printable(named_by.resolve().name)
    if table is None:
        folders = bool(spec.labels)
        several = len(spec.sources) > 1
        top = [spec.sources[i.source].resolve().name + "/" if several else "" for i in listed]
        paths = [above + item.path for above, item in zip(top, listed, strict=True)]
        said = classes_of(paths) if folders else [{} for _ in listed]
        beside = masks_beside(paths)
        taken = {mask for masks in beside.values() for mask in masks}
        wanted = [
            _wanted(spec, item, said[k], 0, [listed[mask] for mask in beside.get(k, ())])
            for k, item in enumerate(listed) if k not in taken
        ]  # fmt: skip
        return Source(tuple(wanted), tuple(rejected), name, "folder" if folders else "")
    own = {os.path.realpath(path) for path in _label_paths(spec)}
    listed = [item for item in listed if os.path.realpath(_path(spec, item)) not in own]
    told = tell(table, listed, spec.columns, spec.numbers)
    beside = {} if "mask" in told.columns else masks_beside([item.path for item in listed])
    beside = {k: tuple(m for m in masks if m not in told.files) for k, masks in beside.items()}
    taken = {m for masks in (*told.masks.values(), *beside.values()) for m in masks}
    wanted = []
    for number, item in enumerate(listed):
        line = told.files.get(number, 0)
        if number in taken or (told.by == "file" and not line and not spec.all_files):
            continue
        masks = [listed[mask] for mask in told.masks.get(line, beside.get(number, ()))]
        wanted.append(_wanted(spec, item, told.values.get(line, {}), line, masks))
    keyed = {key: (line, told.values[line]) for key, line in told.keys.items()}
    return Source(
        wanted=tuple(wanted),
        rejected=(*rejected, *told.rejected),
        name=name,
        target=told.columns.get("label", ""),
        columns=told.columns,
        table=digest([table.content.hex(), sorted(spec.columns.items()), spec.numbers], 32),
        targets=told.targets,
        keyed=("" if told.by == "file" else told.by, keyed),
    )


def _path(spec: IngestSpec, item: Item) -> str:
    source = spec.sources[item.source]
    return os.path.join(source if os.path.isdir(source) else source.parent, item.path)


def _wanted(
    spec: IngestSpec,
    item: Item,
    values: Mapping[str, str],
    line: int = 0,
    masks: Sequence[Item] = (),
) -> Wanted:
    return Wanted(
        _path(spec, item), item.path, item.source, item.size, item.when, line, values,
        tuple(_path(spec, mask) for mask in masks),
    )  # fmt: skip


def dataset_lines(dataset: Dataset) -> list[str]:
    """Return what a dataset is, in a few lines: counts, what was left out and why, what is next."""
    rows = dataset.rows
    lines = [f"dataset     {dataset.path}: {len(rows):,} images"]
    groups = [
        (name, int(rows[name].nunique()))
        for name in ("patient", "exam", "series")
        if rows[name].notna().any()
    ]
    if groups:
        said = ", ".join(f"{n:,} {name}{'' if name == 'series' else 's'}" for name, n in groups)
        lines.append(f"groups      {said}")
    for name in ("modality", "anatomy"):
        counts = rows[name].value_counts()
        if len(counts):
            lines.append(f"{name:<11} " + _counted(counts))
    targets = dataset.facts.get("targets")
    if columns := dataset.facts.get("columns"):
        used = [f"{meaning} = {column}" for meaning, column in columns.items()]
        lines.append(f"{'table':<11} {', '.join(used)}")
    if dataset.target:
        counts = rows["label"].value_counts()
        none = int(rows["label"].isna().sum())
        lines.append(f"{'labels':<11} {_counted(counts)}" + (f"; {none:,} have none" * bool(none)))
    elif columns and not targets and "mask" not in columns:
        lines.append("labels      none: name a column, --column label=NAME or --number NAME")
    if targets:
        lines.append(f"{'targets':<11} {', '.join(targets)}")
    if masked := int((rows["mask_offset"] >= 0).sum()):
        lines.append(f"masks       of {masked:,} images")
    dropped = rows[~rows["keep"]]
    if len(dropped):
        lines.append("left out    " + _counted(dropped["drop"].value_counts()) + " (keep = false)")
    near = rows["near"]
    if (near >= 0).any():
        count = f"{int((near >= 0).sum()):,} images in {near[near >= 0].nunique():,} groups"
        lines.append(f"alike       {count} of duplicates and near-duplicates")
    if len(dataset.rejected):
        kinds = dataset.rejected["reason"].str.partition(";")[0].str.partition(":")[0]
        said = f"rejected    {len(dataset.rejected):,}: " + _counted(kinds.value_counts(), "; ")
        lines.append(f"{said}; each with its reason in {dataset.path / 'rejected.parquet'}")
    lines.append(f"next        radstart inspect {dataset.path}")
    return [part for line in lines for part in wrap(line, 79, subsequent_indent=" " * 12,
                                                    break_long_words=False)]  # fmt: skip


def _counted(counts: "pd.Series[int]", comma: str = ", ", most: int = 8) -> str:
    shown = [f"{n:,} {name}" for name, n in counts.iloc[:most].items()]
    more = [f"{len(counts) - most} more kinds"] if len(counts) > most else []
    return comma.join(shown + more)
