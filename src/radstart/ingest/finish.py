"""From the tables of scans and parts to the rows of a dataset, curated: nothing is thrown away."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from radstart.dataset import TARGET, similar_hashes
from radstart.ingest.folders import said_by
from radstart.ingest.listing import Rejected, printable
from radstart.ingest.plan import Source, Wanted
from radstart.ingest.privacy import Names
from radstart.ingest.work import PART_SCHEMA

NEAR = 3  # bits in which the perceptual hashes of near-duplicates may differ
BLANK = 1.0 / 255  # of the full range: the spread of an image without content
FEW_LEVELS = 4
_HASHED = ("patient", "exam", "series", "site")
_TABLE = ("label", *_HASHED, "sex", "split", "fold", "modality", "anatomy", "view", "laterality")


def read_parts(tables: Sequence[Path]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the pictures of all parts, with their shard, and the images that gave none."""
    read = [PART_SCHEMA.empty_table(), *map(pq.read_table, tables)]
    found = pa.concat_tables(read).combine_chunks().to_pandas()
    found["shard"] = np.repeat(np.arange(len(read)) - 1, [len(table) for table in read])
    refused = found["reason"].notna()
    return found[~refused].reset_index(drop=True), found[refused].reset_index(drop=True)


def rows_of(
    pictures: pd.DataFrame, images: pd.DataFrame, source: Source, names: Names
) -> pd.DataFrame:
    """Return the rows of a dataset, in the order of the pictures.

    Values of the user's table lead; what it leaves empty comes from the file, then its folders.

    Args:
        pictures: of `read_parts`.
        images: of the scan: one row per item and index.
        source: files, by item, with what the table says of them.
        names: how identifiers of the table are written; those of the scan are hashes already.
    """
    rows = pictures.merge(
        images.drop(columns=["reason", "remedy"]), on=["item", "index"], how="left",
        validate="many_to_one",
    )  # fmt: skip
    told, which = _told(rows, source, names)
    for name in _TABLE:
        kind = name if name in _HASHED else ""
        cells = [names.told(kind, v.get(name, "")) if kind else v.get(name, "") for _, v in told]
        given = np.array(cells, object)[which]
        if name == "anatomy":
            rows["anatomy_from"] = np.where(given == "", rows["anatomy_from"], "table")
        if name in rows:
            scanned = rows[name].fillna("").astype(object).to_numpy()
            given = np.where(given == "", scanned, given)
        rows[name] = given
    ages = np.array([names.age(_years(v.get("age", ""))) for _, v in told], float)[which]
    rows["age"] = np.where(np.isnan(ages), rows["age"].astype(float), ages)
    for name in source.targets:
        values = [_number(v.get(f"{TARGET}{name}", "")) for _, v in told]
        rows[f"{TARGET}{name}"] = np.array(values, float)[which]
    for name, held in _findings(rows["findings"]).items():
        rows[name] = rows[name].fillna(pd.Series(held)) if name in rows else held
    rows["line"] = np.array([line for line, _ in told])[which]
    items = rows["item"].to_numpy(np.int64)
    rows["name"] = np.array([printable(w.name) for w in source.wanted], object)[items]
    by_folder = [said_by(wanted.name.rpartition("/")[0]) for wanted in source.wanted]
    for name in ("modality", "anatomy"):
        said = np.array([one.get(name, "") for one in by_folder], object)[items]
        lacks = ((rows[name] == "") & (said != "")).to_numpy(bool)
        rows.loc[lacks, name] = said[lacks]
        if name == "anatomy":
            rows.loc[lacks, "anatomy_from"] = "folder"
    rows["image"] = _image_names(rows, source.wanted, names)
    rows["origin"] = rows["kind"]
    rows["frame"] = rows["index"]
    rows["row"] = np.arange(len(rows))
    return rows


def _told(
    rows: pd.DataFrame, source: Source, names: Names
) -> tuple[list[tuple[int, Mapping[str, str]]], NDArray[np.int64]]:
    """Return lines of the table with their values, and which of them each row takes."""
    by, keyed = source.keyed
    if not by:
        return [(w.line, w.values) for w in source.wanted], rows["item"].to_numpy(np.int64)
    place = {names.of(by, key): k for k, key in enumerate(keyed, start=1)}
    which = [place.get(key, 0) for key in rows[by].fillna("")]
    return [(0, {}), *keyed.values()], np.array(which, np.int64)


def _findings(cells: "pd.Series[Any]") -> Mapping[str, NDArray[np.float64]]:
    """Return the findings that files hold: label_0, label_1, ...; NaN = none, or -1 (uncertain)."""
    known = np.flatnonzero(cells.notna())
    width = max((len(cells.iloc[row]) for row in known), default=0)
    out = np.full((len(cells), width), np.nan)
    for row in known:
        out[row, : len(cells.iloc[row])] = cells.iloc[row]
    out[out == -1] = np.nan
    return {f"{TARGET}label_{k}": out[:, k] for k in range(width)}


def unmatched(images: pd.DataFrame, source: Source, names: Names) -> list[Rejected]:
    """Return the rows of a table, joined by a key of headers, that speak of no image."""
    by, keyed = source.keyed
    seen = set(images[by]) if by else set()
    return [
        Rejected(line, "", f"no image of this {by}", "check it, or add its images")
        for key, (line, _) in keyed.items() if names.of(by, key) not in seen
    ]  # fmt: skip


def _number(text: str) -> float:
    """Return a finding or a number; NaN = empty, not a number, or -1 (uncertain)."""
    try:
        value = float(text)
    except ValueError:
        return float("nan")
    return value if np.isfinite(value) and value != -1 else float("nan")


def _years(text: str) -> float:
    """Return an age as a table or a header writes it: 41, 41.5, 041Y, 018M; NaN = unknown."""
    text = text.strip().upper()
    unit = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}.get(text[-1:], 0.0)
    try:
        years = float(text[:-1]) * unit if unit else float(text)
    except ValueError:
        return float("nan")
    return years if 0 <= years <= 130 else float("nan")


def _image_names(rows: pd.DataFrame, wanted: Sequence[Wanted], names: Names) -> NDArray[np.object_]:
    """Return a name for every picture: its file's, with frame and window where it has several."""
    several = len({one.source for one in wanted}) > 1
    base = [names.told("image", f"{w.source}/{w.name}" if several else w.name) for w in wanted]
    frames = rows.groupby("item")["index"].transform("nunique").to_numpy()
    frames = np.maximum(frames, rows["in_volume"].to_numpy(bool) * 2)
    pictures = rows.groupby(["item", "index"])["item"].transform("size").to_numpy()
    found = []
    for item, index, frame, window, n, k in zip(
        rows["item"], rows["index"], frames, rows["window"].fillna(""), pictures,
        rows.groupby(["item", "index"]).cumcount(), strict=True,
    ):  # fmt: skip
        name = base[item].encode(errors="replace").decode()
        if frame > 1 or index > 0:
            name += f"#{index:04d}"
        found.append(f"{name}@{window or k}" if n > 1 else name)
    return np.array(found, object)


def curate(rows: pd.DataFrame) -> None:
    """Set `keep`, `drop` and `near`, in place; the first reason that holds is written down."""
    top = np.where(rows["dtype"] == "uint16", 65535.0, 255.0)
    kinds = rows["image_type"].fillna("").str.upper().str.split("\\")
    checks = (
        ("blank", rows["spread"].to_numpy() <= BLANK * top),
        ("low diversity", rows["levels"].to_numpy() <= FEW_LEVELS),
        ("localiser", np.array(["LOCALIZER" in k for k in kinds], bool)),
        ("secondary capture", np.array(["SECONDARY" in k[1:2] for k in kinds], bool)),
        ("burned-in text, by its header", (rows["burned_in"] == "YES").to_numpy(bool)),
        ("one picture under several labels", _conflicting(rows)),
    )
    drop = np.full(len(rows), "", object)
    for reason, holds in checks:
        drop = np.where((drop == "") & holds, reason, drop)
    rows["drop"], rows["keep"] = drop, drop == ""
    known = rows["phash"].notna().to_numpy()
    codes = [int(code, 16) for code in rows["phash"].fillna("0")]
    rows["near"] = similar_hashes(np.array(codes, np.uint64), known, NEAR).group


def _conflicting(rows: pd.DataFrame) -> NDArray[np.bool_]:
    """Return which labelled rows show a picture that stands under another label, too."""
    labelled = (rows["label"] != "").to_numpy(bool)
    counts = rows[labelled].groupby("content")["label"].nunique()
    conflicts = set(counts[counts > 1].index)
    return labelled & rows["content"].isin(conflicts).to_numpy(bool)


def columns_of(rows: pd.DataFrame, names: Sequence[str]) -> Mapping[str, Any]:
    """Return columns for `save_dataset`."""
    return {name: rows[name].array for name in names if name in rows}
