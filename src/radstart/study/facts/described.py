"""What was asked, of whom, with what: the question, the data, the arms, the machine."""

import os
import platform
from dataclasses import asdict
from importlib.metadata import version
from itertools import product
from typing import Any

from radstart.dataset import count_duplicates
from radstart.stats import METRICS, PlannedDifference
from radstart.study.facts.strict import number
from radstart.study.prepare import Prepared
from radstart.study.seen import mark_of
from radstart.weights import TERMS, Convention, ancestry, convention_words, entries


def planned_record(planned: PlannedDifference, seeds: int) -> dict[str, Any]:
    """Return what the plan said could be shown, as the facts hold it."""
    shown = zip(("small", "larger"), (planned.difference, planned.difference_unsteady), strict=True)
    return {
        "detectable": [
            {"spread_over_seeds": spread, "seeds": seeds, "difference": number(difference)}
            for spread, difference in shown
        ],
        "assumptions": planned.assumptions,
    }


def question(prepared: Prepared) -> dict[str, Any]:
    """Return the question as it was asked, every default written out."""
    spec, classes = prepared.spec, prepared.dataset.classes
    metric = METRICS[spec.metric]
    recipe = {
        key: list(item) if isinstance(item, tuple) else item
        for key, item in asdict(prepared.recipe).items()
    }
    return {
        "title": f"Which starting weights for {prepared.dataset.name}?",
        "dataset": prepared.dataset.name,
        "target": prepared.dataset.target,
        "task": spec.task,
        "classes": list(classes),
        "positive": classes[-1] if len(classes) == 2 else None,
        "metric": {
            "id": metric.id,
            "name": metric.name,
            "higher_is_better": metric.higher_is_better,
        },
        "margin": spec.margin or None,
        "level": spec.level,
        "reference": spec.reference,
        "reference_policy": spec.policies[0],
        "arms": [arm.name for arm in spec.arm],
        "policies": list(spec.policies),
        "budgets": list(spec.budgets),
        "seeds": spec.seeds,
        "seed": spec.seed,
        "image_size": spec.image_size,
        "epochs": spec.epochs,
        "augmentation": prepared.augmentation.described(),
        "recipe": recipe,
    }


def data_counts(prepared: Prepared) -> dict[str, Any]:
    """Return how many images and units there are: parts, classes, budgets, duplicates."""
    dataset, units, parts = prepared.dataset, prepared.units, prepared.parts
    rows = dataset.rows
    labels = rows["label"].to_numpy(dtype=object)
    labelled = rows["label"].notna().to_numpy()
    groups, copies, across = count_duplicates(rows[labelled])
    listed = []
    for part in ("train", "validation", "test"):
        inside = parts.part == part
        names = dataset.classes or sorted({str(x) for x in labels[inside]})
        listed.append(
            {
                "part": part,
                "images": int(inside.sum()),
                "units": len(set(units.unit[inside])),
                "classes": [
                    {
                        "name": name,
                        "images": int((inside & (labels == name)).sum()),
                        "units": len(set(units.unit[inside & (labels == name)])),
                    }
                    for name in names
                ],
            }
        )
    drawn = []
    for budget, seed in product(prepared.spec.budgets, range(prepared.spec.seeds)):
        entry: dict[str, Any] = {"budget": budget, "seed": seed}
        for part in ("train", "validation"):
            chosen = prepared.drawn(budget, seed, part)
            entry[f"{part}_images"] = len(chosen)
            entry[f"{part}_units"] = len(set(units.unit[chosen]))
        drawn.append(entry)
    return {
        "n_images": len(rows),
        "n_labelled": int(labelled.sum()),
        "n_rejected": len(dataset.rejected),
        "unlabelled": int((~labelled).sum()),
        "unit": units.kind,
        "patients_known": units.patients_known,
        "n_units": len(set(units.unit[parts.part != ""])),
        "parts_from": parts.source,
        "budgets_from": parts.source if parts.budgets else "drawn",
        "parts": listed,
        "budgets": drawn,
        "duplicates": {
            "groups": groups,
            "images": copies,
            "across_patients": across,
        },
        "rejected": [
            {key: row[key] for key in ("line", "image", "reason")}
            for row in dataset.rejected.head(20).to_dict("records")
        ],
        "notes": list(parts.notes),
    }


def leakage(prepared: Prepared) -> dict[str, Any]:
    """Return what the audit found between the parts and what was done."""
    record = asdict(prepared.leakage)
    record["examples"] = [dict(example) for example in record["examples"]]
    return record


PLAIN = ("random", "file", "run")


def arm_record(prepared: Prepared, name: str) -> dict[str, Any]:
    """Return an arm's start, backbone, convention, receipt, and what its weights have seen."""
    arm = next(arm for arm in prepared.arms if arm.name == name)
    receipt = prepared.receipts[name]
    record = receipt.record() if receipt else None
    if record and receipt:
        record |= {"defaulted": len(receipt.defaulted), "dropped": len(receipt.dropped)}
        record["dropped_names"] = list(receipt.dropped)
    saw = list(arm.source.saw) if arm.source else []
    mark = mark_of(arm.notes)
    return {
        "name": name,
        "start": arm.spec.kind if arm.spec.kind in PLAIN else arm.spec.start,
        "backbone": arm.backbone.text(),
        "parameters": prepared.parameters[name],
        "convention": _convention_record(arm.convention),
        "saw": saw,
        "ancestors": sorted(ancestry(saw) - set(saw)),
        "catalog": catalog_record(arm.source.entry) if arm.source else None,
        "receipt": record,
        "marks": [mark] if mark else [],
        "notes": list(arm.notes),
    }


def _convention_record(convention: Convention) -> dict[str, Any]:
    record = convention.record()
    numbers = {key: record[key] for key in ("mean", "std", "order", "per_image")}
    return {
        **record,
        "words": convention_words(convention.name or numbers),
        "limits": list(convention.limits()),
    }


def catalog_record(name: str) -> dict[str, Any] | None:
    """Return what the catalog says of the weights beside the receipt, None for none of its own."""
    entry = next((entry for entry in entries() if entry.name == name), None)
    if entry is None:
        return None
    return {
        "title": entry.title,
        "terms": TERMS[entry.terms],
        "citation": entry.citation,
        "home": entry.home,
        "saw_note": entry.saw_note,
        "also": [convention_words(stated) for stated in entry.also],
        "notes": list(entry.notes),
    }


def environment(prepared: Prepared, minutes: float) -> dict[str, Any]:
    """Return machine, versions and numerics; `minutes` is the time of all trainings."""
    return {
        "machine": processor(),
        "system": platform.platform(terse=True),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "timm", "numpy", "scipy", "scikit-learn")},
        "numerics": prepared.numerics.record(),
        "minutes": minutes,
    }


def processor() -> str:
    """Return the processor's name."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.split(":")[1].strip() for line in file if line.startswith("model name")]
        return names[0]
    except (OSError, IndexError):
        return platform.processor() or platform.machine()
