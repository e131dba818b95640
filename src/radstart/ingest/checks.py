"""What makes rows contradict each other, and what makes a source unfit."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radstart.core.errors import RadstartError, nearest, short
from radstart.dataset import natural
from radstart.ingest.listing import Listing, Record, Rejected

_CORRECT = "correct the wrong one"
_ABSENT = frozenset(
    {"normal", "negative", "no", "none", "healthy", "benign", "0", "false", "control", "absent"}
)


def without_repeats(records: Iterable[Record]) -> tuple[list[Record], list[Rejected]]:
    """Keep one row of each image; two labels for one path refuse all of its rows."""
    by_image: dict[str, list[Record]] = {}
    for record in records:
        by_image.setdefault(record.image, []).append(record)
    kept: list[Record] = []
    rejected: list[Rejected] = []
    for image, rows in by_image.items():
        first: dict[str, Record] = {}
        for row in rows:
            first.setdefault(row.values["label"], row)
        named = [row for label, row in first.items() if label]
        if len(named) > 1:
            reason = "one image under two labels: " + " and ".join(map(_labelled, named[:2]))
            rejected += [Rejected(row.line, image, reason, _CORRECT) for row in rows]
            continue
        keep = named[0] if named else rows[0]
        kept.append(keep)
        reason = f"the image stands in {keep.place} already"
        remedy = "take one of the two out"
        rejected += [Rejected(row.line, image, reason, remedy) for row in rows if row is not keep]
    return kept, rejected


def contradicting(rows: pd.DataFrame) -> tuple[NDArray[np.bool_], list[Rejected]]:
    """Return which rows stay, (N,) bool, and why a picture's that stands under two labels do not.

    Args:
        rows: columns line, name (the user's own), label, content.
    """
    keep = np.ones(len(rows), bool)
    rejected: list[Rejected] = []
    labelled = rows[rows["label"] != ""]
    for _, group in labelled.groupby("content", sort=False):
        if group["label"].nunique() < 2:
            continue
        group = group.sort_values(["line", "name"])
        first = group.drop_duplicates("label")
        for place, row in group.iterrows():
            keep[int(place)] = False  # type: ignore[call-overload]
            other = first[first["label"] != row["label"]].iloc[0]
            pair = sorted((row, other), key=lambda one: (one["line"], one["name"]))
            said = " and ".join(_shown(one["line"], one["name"], one["label"]) for one in pair)
            why = f"the same picture under two labels: {said}"
            rejected.append(Rejected(int(row["line"]), str(row["name"]), why, _CORRECT))
    return keep, rejected


def _labelled(record: Record) -> str:
    return _shown(record.line, record.image, record.values["label"])


def _shown(line: int, name: str, label: str) -> str:
    return f"{f'line {line}' if line else name} ({label})"


def too_many(
    rejected: Sequence[Rejected],
    listing: Listing,
    rows: pd.DataFrame,
    limit: float,
) -> RadstartError:
    """Return the error that says how many rows were rejected, why, and which was the first.

    Args:
        rejected: what was refused, in order.
        listing: of the source.
        rows: what was read: columns content, split.
        limit: the largest share.
    """
    kinds = Counter(re.split("[:(]", row.reason)[0].strip() for row in rejected)
    listed = ", ".join(f"{n} x {kind}" for kind, n in kinds.most_common(4))
    first = rejected[0]
    named = short(first.image.strip(), 120) or "(no name)"
    place = (f"line {first.line} " if first.line else "") + named
    split = rows[rows["split"] != ""]
    crossing = int((split["split"].str.lower().groupby(split["content"]).nunique() > 1).sum())
    also = f"; also {crossing} identical pictures stand in more than one split" if crossing else ""
    return RadstartError(
        f"too many rows are rejected: {len(rejected)} of {listing.total}, {limit:.0%} is the most",
        listing.where,
        f"{listed}, first {place}: {first.reason}{also}",
        "correct these rows or take them out",
    )


def class_order(
    labels: set[str], target: str, where: str, count: int, positive: str | None
) -> tuple[str, ...]:
    """Return the classes in order; of two, the positive one last.

    Args:
        labels: all that there are, "" among them or not.
        target: name of the label column, for messages.
        where: of what, for messages.
        count: of rows, for messages.
        positive: the one that is asked for.

    Raises:
        RadstartError: fewer than two classes, or `positive` is none of two.
    """
    names = sorted(labels - {""}, key=lambda name: (natural(name), name))
    if len(names) < 2:
        raise RadstartError(
            f"the label column {target!r} has {'one value' if names else 'no values'}",
            where,
            repr(short(names[0])) if names else f"{count} rows without a label",
            "name another with --label-column",
        )
    if positive is not None and (positive not in names or len(names) != 2):
        raise RadstartError(
            "is none of two classes", "--positive", repr(positive), nearest(positive, names)
        )
    if len(names) == 2:
        absent = [name for name in names if name.lower() in _ABSENT]
        if positive is None and len(absent) == 1:
            positive = next(name for name in names if name != absent[0])
        last = positive or names[1]
        names = [name for name in names if name != last] + [last]
    return tuple(names)
