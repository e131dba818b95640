"""What the facts of a dataset say, in words, and what of it forbids training on it as it is."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from radstart.curation.counts import FEW
from radstart.curation.shortcuts import worst

Facts = Mapping[str, Any]
SMALL = 6  # classes named


def find(facts: Facts) -> list[dict[str, Any]]:
    """Return findings, the gravest first: level "blocking", "warning" or "note", kind, words.

    Blocking are faults that are certain and that a person can mend: one picture under several
    labels, units on both sides of a split, images of another set that must not share any.
    """
    order = {"blocking": 0, "warning": 1, "note": 2}
    found = [
        dict(zip(("level", "kind", "count", "words"), one, strict=True))
        for part in (_certain, _copied, _learnt, _people, _odd, _masks)
        for one in part(facts)
    ]
    return sorted(found, key=lambda one: order[one["level"]])


Finding = tuple[str, str, int, str]


def _n(count: int, one: str, many: str = "") -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def _named(division: str) -> str:
    return division if division.startswith("splits/") else f"the {division}"


def _certain(facts: Facts) -> Iterator[Finding]:
    conflicts = facts["label_conflicts"]
    if conflicts:
        images = sum(len(one["images"]) for one in conflicts)
        stands = "stands" if len(conflicts) == 1 else "stand"
        said = f"{_n(len(conflicts), 'picture')} {stands} under several labels ({images} images)."
        yield "blocking", "label_conflicts", len(conflicts), said
    for one in facts["divisions"]:
        if one["units"]:
            counted = []
            if one["patients"]:
                counted.append(_n(one["patients"], "patient"))
            if one["contents"]:
                counted.append(_n(one["contents"], "identical picture"))
            rest = one["units"]
            said = " and ".join(counted) or _n(rest, "unit")
            stands = "stands" if said.startswith("1 ") and len(counted) < 2 else "stand"
            words = f"{said} {stands} in several parts of {_named(one['division'])} "
            words += f"({one['images']:,} images in all)."
            yield "blocking", "units_in_several_parts", rest, words
    against = facts["against"]
    if against:
        for kind, level in (("exact", "blocking"), ("near", "blocking"), ("perhaps", "warning")):
            count = against[kind]["images"]
            how = {"exact": "stand", "near": "have a near-duplicate", "perhaps": "may stand"}[kind]
            if count:
                words = f"{_n(count, 'image')} {how} in {against['other']}."
                yield level, f"in_other_{kind}", count, words
        if not sum(against[kind]["images"] for kind in ("exact", "near", "perhaps")):
            yield "note", "in_other_none", 0, f"No image was found in {against['other']}."


def _copied(facts: Facts) -> Iterator[Finding]:
    groups = facts["exact_duplicate_groups"]
    if groups:
        images = sum(map(len, groups))
        words = f"{_n(len(groups), 'group')} of identical pictures ({images:,} images)."
        yield "warning", "exact_duplicates", len(groups), words
    several = facts["duplicates_under_several_patients"]
    if several:
        words = f"{_n(len(several), 'picture')} under several patients: which one is it of?"
        yield "warning", "duplicates_under_several_patients", len(several), words
    near = facts["near_duplicates"]
    if near["across_labels"]:
        n = len(near["across_labels"])
        words = f"{_n(n, 'pair')} of nearly identical pictures under different labels."
        yield "warning", "near_duplicates_across_labels", n, words
    for one in near["across_parts"]:
        others = [pair for pair in one["pairs"] if not pair["same_unit"]]
        if others:
            words = f"{_n(len(others), 'pair')} of nearly identical pictures in different parts "
            words += f"of {_named(one['division'])}, beside what is named above."
            yield "warning", "near_duplicates_across_parts", len(others), words
    groups = facts["near_duplicate_groups"]
    if groups:
        words = f"{_n(len(groups), 'group')} of nearly identical pictures "
        words += f"({sum(map(len, groups)):,} images)."
        yield "note", "near_duplicates", len(groups), words
    turned = facts["turned_copies"]
    if turned["pairs"]:
        words = f"{_n(turned['images'], 'image')} look like turned or mirrored copies of others."
        crossing = max(turned["across_parts"].values(), default=0)
        if crossing:
            words += f" {_n(crossing, 'pair')} of them in different parts."
        yield "warning" if crossing else "note", "turned_copies", turned["images"], words
    features = facts["feature_copies"]
    if features and features["groups"]:
        groups = features["groups"]
        words = f"{_n(len(groups), 'further group')} of suspected copies by features of "
        words += f"{features['arm']} ({sum(map(len, groups)):,} images)."
        crossing = max(features["across_parts"].values(), default=0)
        words += f" {_n(crossing, 'pair')} of them in different parts." if crossing else ""
        yield "warning" if crossing else "note", "feature_copies", len(groups), words
    labels = facts["patients_with_several_labels"]
    if labels["patients"]:
        has, whose = ("has", "its") if labels["patients"] == 1 else ("have", "their")
        words = f"{_n(labels['patients'], 'patient')} {has} images under different labels: "
        words += f"a course over time, or {whose} labels are mistaken."
        yield "note", "patients_with_several_labels", labels["patients"], words
    count = facts["contradictory_findings"]["images"]
    if count:
        words = f"{_n(count, 'image')} said to be without finding have one."
        yield "warning", "contradictory_findings", count, words


def _learnt(facts: Facts) -> Iterator[Finding]:
    telling = worst(facts["shortcuts"])
    named: dict[str, Facts] = {}
    for one in telling:
        named.setdefault(one["family"], one)
    for one in named.values():
        what = "the label" if one["question"] == "label" else one["question"]
        words = f"From {one['family']} alone {what} is told: AUROC {one['auroc']:.2f} "
        words += f"[{one['ci_low']:.2f}, {one['ci_high']:.2f}], chance is 0.50."
        if not facts["units"]["known"]:
            words += " Patients are not known: a part of it may be patients recognised."
        yield "warning", "shortcut", 1, words
    given: dict[tuple[str, str], Sequence[Facts]] = {}
    for one in facts["giveaways"]:
        key = (one["property"], one["question"])
        given[key] = [*given.get(key, []), one]
    for (name, question), own in given.items():
        first = own[0]
        what = "" if question == "label" else f" of {question}"
        words = f"{name.capitalize()} {first['value']}: {first['of_class']:,} of "
        words += (
            f"{first['units']:,} are {first['class']}{what}, {100 * first['expected']:.0f} % are "
        )
        words += "expected" + (f" (and {len(own) - 1} more values)." if len(own) > 1 else ".")
        yield "warning", "giveaway", len(own), words


def _people(facts: Facts) -> Iterator[Finding]:
    if not facts["units"]["known"]:
        words = "Patients are not known for every labelled image: a split may put images of one "
        words += "patient on both sides."
        yield "warning", "patients_unknown", facts["dataset"]["images"], words
    private = facts["privacy"]
    count = private["suspected_text"]["images"]
    if count:
        words = f"{_n(count, 'image')} with marks that look like text: look at them before images "
        words += "leave the house. Others may have some, too."
        yield "warning", "suspected_text", count, words
    ids = private["identifiers"]
    for one in ids["columns"]:
        n = one["like_names"] + one["like_dates"]
        if n:
            words = f"Column {one['column']}: {_n(n, 'value')} look like names or dates."
            yield "warning", "identifiers", n, words
    if ids["kept"]:
        yield (
            "note",
            "identifiers_kept",
            1,
            ("Identifiers stand in this dataset as they came, not as hashes."),
        )
    small = facts["small_cells"]
    if small:
        kind = facts["units"]["kind"] if facts["units"]["known"] else "unit"
        named = "; ".join(one["name"] for one in small[:SMALL])
        named += f" and {len(small) - SMALL} more" if len(small) > SMALL else ""
        words = f"{_n(len(small), 'class', 'classes')} of fewer than {FEW} {kind}s: {named}. "
        words += "Single persons may be told by them, and no split can hold them."
        yield "warning", "small_cells", len(small), words


def _odd(facts: Facts) -> Iterator[Finding]:
    for one in facts["dropped"]:
        words = f"{_n(one['images'], 'image')} left out at ingest: {one['reason']}."
        yield "note", "dropped", one["images"], words
    if facts["dataset"]["rejected"]:
        n = facts["dataset"]["rejected"]
        yield "note", "rejected", n, f"{_n(n, 'file')} rejected at ingest: see rejected.parquet."
    if facts["outliers"]["images"]:
        n = facts["outliers"]["images"]
        yield "note", "outliers", n, f"{_n(n, 'image')} unlike the others in simple figures."
    said = {"near_blank": "nearly blank", "inverted": "inverted", "turned": "turned"}
    for kind, what in said.items():
        n = len(facts["suspects"][kind])
        if n:
            words = f"{_n(n, 'image')} suspected to be {what}."
            yield ("note" if kind == "near_blank" else "warning"), kind, n, words
    for one in facts["targets"]:
        if one["kind"] == "number" and one["heap"]:
            heap = one["heap"]
            words = (
                f"{one['name']}: {heap['images']:,} of {one['known']:,} values are multiples of "
            )
            words += f"{heap['step']}, {one['distinct']:,} distinct values."
            yield "note", "heaped_target", heap["images"], words


def _masks(facts: Facts) -> Iterator[Finding]:
    masks = facts["masks"]
    if not masks:
        return
    missing = masks["missing"]
    if missing["images"]:
        words = f"{_n(missing['images'], 'image')} without a mask where others have one"
        files = missing["n_files"]
        words += f", in {_n(files, 'file')}." if files and files != missing["images"] else "."
        yield "warning", "masks_missing", missing["images"], words
    for one in masks["by_label"]:
        if one["empty"] and one["empty"] == one["masks"]:
            words = f"Every mask of {one['name']} is empty ({one['empty']:,})."
            yield "note", "masks_empty", one["empty"], words
        elif one["empty"]:
            words = f"{_n(one['empty'], 'mask')} of {one['name']} "
            words += "is empty." if one["empty"] == 1 else "are empty."
            yield "note", "masks_empty", one["empty"], words
