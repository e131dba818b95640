"""What makes rows contradict each other, and what makes a source unfit."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from radstart.core.errors import RadstartError, nearest, short
from radstart.dataset import natural
from radstart.ingest.listing import Listing, Record, Rejected

_CORRECT = "correct the wrong one"
_ABSENT = frozenset(
    {"normal", "negative", "no", "none", "healthy", "benign", "0", "false", "control", "absent"}
)


@dataclass(frozen=True)
class Stored:
    """A decoded image, already stored: BLAKE2b of its native pixels, its place and shape."""

    content: str
    shard: int
    offset: int
    height: int
    width: int
    channels: int
    dtype: str


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


def without_contradictions(
    records: Iterable[Record], images: Mapping[str, Stored]
) -> tuple[list[Record], list[Rejected]]:
    """Refuse all labelled rows of a picture that stands under two labels."""
    first: dict[str, dict[str, Record]] = {}
    for record in sorted(records, key=lambda record: (record.line, record.image)):
        if label := record.values["label"]:
            first.setdefault(images[record.image].content, {}).setdefault(label, record)
    kept: list[Record] = []
    rejected: list[Rejected] = []
    for record in records:
        of_label = first.get(images[record.image].content, {})
        label = record.values["label"]
        if not label or len(of_label) < 2:
            kept.append(record)
            continue
        other = next(row for name, row in of_label.items() if name != label)
        pair = sorted((record, other), key=lambda row: (row.line, row.image))
        reason = "the same picture under two labels: " + " and ".join(map(_labelled, pair))
        rejected.append(Rejected(record.line, record.image, reason, _CORRECT))
    return kept, rejected


def _labelled(record: Record) -> str:
    return f"{record.place} ({record.values['label']})"


def too_many(
    rejected: Sequence[Rejected],
    listing: Listing,
    records: list[Record],
    images: Mapping[str, Stored],
    limit: float,
) -> RadstartError:
    """Return the error that says how many rows were rejected, why, and which was the first."""
    kinds = Counter(re.split("[:(]", row.reason)[0].strip() for row in rejected)
    listed = ", ".join(f"{n} x {kind}" for kind, n in kinds.most_common(4))
    first = rejected[0]
    named = short(first.image.strip(), 120) or "(no name)"
    place = (f"line {first.line} " if first.line else "") + named
    splits: dict[str, set[str]] = {}
    for record in listing.records:
        if record.image in images and record.values.get("split"):
            content = images[record.image].content
            splits.setdefault(content, set()).add(record.values["split"].lower())
    crossing = sum(len(names) > 1 for names in splits.values())
    also = f"; also {crossing} identical pictures stand in more than one split" if crossing else ""
    return RadstartError(
        f"too many rows are rejected: {len(rejected)} of {listing.total}, {limit:.0%} is the most",
        listing.where,
        f"{listed}, first {place}: {first.reason}{also}",
        "correct these rows or take them out",
    )


def class_order(labels: set[str], listing: Listing, positive: str | None) -> tuple[str, ...]:
    """Return the classes in order; of two, the positive one last.

    Raises:
        RadstartError: fewer than two classes, or `positive` is none of two.
    """
    names = sorted(labels - {""}, key=lambda name: (natural(name), name))
    if len(names) < 2:
        raise RadstartError(
            f"the label column {listing.target!r} has {'one value' if names else 'no values'}",
            listing.where,
            repr(short(names[0])) if names else f"{len(listing.records)} rows without a label",
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
