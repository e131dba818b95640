"""Made-up facts, seeded: what a study could write. The numbers are consistent, not real."""

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

from radstart.core.hashing import digest
from radstart.core.random import stream

METRICS = {
    "auroc": 0.0,
    "average_precision": -0.03,
    "accuracy": -0.06,
    "balanced_accuracy": -0.07,
    "weighted_recall": -0.06,
    "f1": -0.08,
    "brier": None,
    "ece": None,
}
STARTS = {
    "random": ("random values", None, -0.06),
    "moments": ("each tensor's mean and variance of imagenet, none of its values", None, -0.035),
    "imagenet": ("weights of ImageNet-1k (supervised)", "imagenet/model.safetensors", 0.0),
}


def make(
    arms: tuple[str, ...] = ("random", "moments", "imagenet"),
    policies: tuple[str, ...] = ("full", "frozen"),
    budgets: tuple[float, ...] = (0.1, 1.0),
    seeds: int = 3,
    classes: tuple[str, ...] = ("normal", "pneumonia"),
    patients: bool = True,
    leakage: str = "regroup",
    converged: float = 1.0,
    title: str = "Which start for pneumonia on paediatric chest radiographs?",
    dataset: str = "chest_xray",
) -> dict[str, Any]:
    """Return facts of a study of this shape; `converged` is the share of runs that do."""
    rng = stream(7, "facts", *arms, *policies, seeds, len(budgets))
    reference = arms[0]
    effect = {a: STARTS.get(a, ("", "", 0.0))[2] + 0.01 * max(0, i - 2) for i, a in enumerate(arms)}
    rows: dict[str, list[dict[str, Any]]] = {
        name: [] for name in ("results", "comparisons", "policy_comparisons", "grid", "curves")
    }
    rows["runs"] = []
    values: dict[tuple[str, str, float], np.ndarray] = {}
    common = rng.normal(0, 0.006, seeds)
    for policy in policies:
        for budget in budgets:
            for arm in arms:
                key = (arm, policy, budget)
                level = 0.93 + 0.05 * np.log10(budget) / 1.0 + effect[arm] * (1 - 0.5 * budget)
                level -= 0.06 if policy == "frozen" and arm != "imagenet" else 0.01
                values[key] = np.clip(level + common + rng.normal(0, 0.006, seeds), 0.5, 0.999)
                _tuning(rng, rows, key, values[key], converged)
                _results(rng, rows, key, values[key], patients)
    m = (len(arms) - 1) * len(policies) * len(budgets)
    marked = [] if patients else ["patients unknown"]
    marked += ["leakage allowed"] if leakage == "allow" else []
    bad = {(r["arm"], r["policy"], r["budget"]) for r in rows["runs"] if not r["converged"]}
    for policy in policies:
        for budget in budgets:
            for arm in arms:
                one = values[arm, policy, budget]
                key = {"arm": arm, "policy": policy, "budget": budget, "metric": "auroc"}
                if arm != reference:
                    stuck = (arm, policy, budget) in bad
                    row = _contrast(rng, one - values[reference, policy, budget], m, marked, stuck)
                    rows["comparisons"].append({**key, "reference": reference, **row})
                if policy != policies[0]:
                    row = _contrast(rng, one - values[arm, policies[0], budget], m, marked, False)
                    rows["policy_comparisons"].append(
                        {**key, "reference_policy": policies[0], **row}
                    )
    warnings = []
    if not patients:
        warnings.append(
            "Patients are unknown: duplicate groups were resampled instead. Nominal 95 % intervals"
            " then cover 70–90 %, and false alarms come in 8–30 % of comparisons."
        )
    if bad:
        warnings.append(
            f"{sum(not r['converged'] for r in rows['runs'])} runs met the step limit before they"
            " converged; their contrasts can be neither better nor worse."
        )
    return {
        "schema": 1,
        "radstart": "0.1.0",
        "study": "b3f1c29a7d04",
        "made": "2026-03-02T14:08:51+00:00",
        "answer": _answer(arms, rows["comparisons"]),
        "warnings": warnings,
        "question": {
            "title": title,
            "dataset": dataset,
            "target": "label",
            "task": "classification",
            "classes": list(classes),
            "positive": classes[-1] if len(classes) == 2 else None,
            "metric": {"id": "auroc", "name": "AUROC", "higher_is_better": True},
            "margin": 0.02,
            "level": 0.95,
            "reference": reference,
            "reference_policy": policies[0],
            "arms": list(arms),
            "policies": list(policies),
            "budgets": list(budgets),
            "seeds": seeds,
            "image_size": 96,
            "epochs": 30,
            "augmentation": ["rotation up to 7 degrees", "zoom 0.9 to 1.1", "no flip"],
            "recipe": {
                "optimizer": "AdamW",
                "weight_decay": 0.05,
                "batch_size": 64,
                "warmup": 0.05,
                "patience": 4,
                "drops": [0.1, 0.01],
                "label_smoothing": 0.0,
            },
        },
        "data": _data(rng, classes, patients, budgets, seeds),
        "leakage": {
            "policy": leakage,
            "units": 170,
            "images": 812,
            "dropped": 0,
            "examples": [
                {
                    "line": 18 + 7 * i,
                    "image": f"train/PNEUMONIA/person{30 + i}_bacteria_{147 + i}.jpeg",
                    "part": "train and test",
                    "unit": f"person{30 + i}",
                }
                for i in range(5)
            ],
            "consequence": "All parts were redrawn by unit in the old proportions: the figures are"
            " not comparable with published ones."
            if leakage == "regroup"
            else "Units stand on both sides of the split: every verdict is marked.",
        },
        "arms": [_arm(arm) for arm in arms],
        "planned": {
            "detectable": [
                {"seeds": seeds, "difference": 0.034},
                {"seeds": 10, "difference": 0.021},
            ],
            "assumptions": "Assumed: AUROC .90 against .85, seed SD .015, half of it shared.",
        },
        **rows,
        **_cases(rng, rows, classes, arms, policies, budgets, seeds),
        "environment": {
            "machine": "x86_64",
            "cores": 2,
            "python": "3.11.9",
            "torch": "2.13.0",
            "timm": "1.0.20",
            "numerics": {"dtype": "float32", "threads": 2},
            "minutes": 41.3,
        },
        "methods": "Patient jackknife plus the between-seed variance of the paired difference"
        " (Obuchowski-Rockette), modified Satterthwaite t, logit ellipse; seeds share the draw of"
        " the budget, the order and the augmentation. Holm over one family; equivalence by two"
        " one-sided tests.",
    }


def _tuning(
    rng: np.random.Generator,
    rows: dict[str, list[dict[str, Any]]],
    key: tuple[str, str, float],
    values: np.ndarray,
    converged: float,
) -> None:
    arm, policy, budget = key
    frozen = policy == "frozen"
    tried = (0.01, 1.0, 100.0) if frozen else (1e-4, 3e-4, 1e-3, 3e-3)
    losses = [
        float(0.3 + 2 * (1 - values[0]) + 0.05 * (i - 1) ** 2 + rng.normal(0, 0.01))
        for i in range(len(tried))
    ]
    best = int(np.argmin(losses))
    where = {"arm": arm, "policy": policy, "budget": budget}
    for i, (value, loss) in enumerate(zip(tried, losses, strict=True)):
        broken = arm == "moments" and i == len(tried) - 1 and not frozen
        rows["grid"].append(
            {
                **where,
                "setting": "penalty" if frozen else "lr",
                "value": value,
                "validation_loss": None if broken else loss,
                "validation_metric": None if broken else float(values[0] - 0.02 * abs(i - best)),
                "converged": not broken and rng.random() < 0.9,
                "chosen": i == best,
            }
        )
    for seed, value in enumerate(values):
        run = digest([arm, policy, budget, seed])
        done = frozen or bool(rng.random() < converged)
        rows["runs"].append(
            {
                **where,
                "run": run,
                "seed": seed,
                "lr": None if frozen else tried[best],
                "penalty": tried[best] if frozen else None,
                "converged": done,
                "steps": 600,
                "seconds": 81.5,
                "state": "done",
                "reason": None,
                "values": {"auroc": float(value)},
            }
        )
        if not frozen:
            n = 28
            step = [20 * (i + 1) for i in range(n)]
            rate = [tried[best] * (1 if i < 15 else 0.1 if i < 22 else 0.01) for i in range(n)]
            low = 0.3 + 2 * (1 - value)
            noise = rng.normal(0, 0.02, n) * np.array([r / tried[best] for r in rate]) ** 0.5
            drop = np.array([0.0 if i < 15 else -0.03 for i in range(n)])
            loss = low + 0.5 * np.exp(-np.arange(n) / 4.0) + noise + drop
            rows["curves"].append(
                {
                    **where,
                    "run": run,
                    "seed": seed,
                    "lr": tried[best],
                    "chosen": True,
                    "step": step,
                    "train_loss": [float(v) for v in loss * 0.9],
                    "validation_loss": [float(v) for v in loss],
                    "rate": rate,
                }
            )


def _results(
    rng: np.random.Generator,
    rows: dict[str, list[dict[str, Any]]],
    key: tuple[str, str, float],
    values: np.ndarray,
    patients: bool,
) -> None:
    arm, policy, budget = key
    for metric, shift in METRICS.items():
        shown = values + shift if shift is not None else (1 - values) * 0.9
        mean = float(shown.mean())
        half = float(0.018 + 0.12 * (1 - values.mean()) + 0.01 * rng.random())
        rows["results"].append(
            {
                "arm": arm,
                "policy": policy,
                "budget": budget,
                "metric": metric,
                "value": mean,
                "ci_low": max(0.0, mean - 1.2 * half),
                "ci_high": min(1.0, mean + half),
                "df": 14.9,
                "seed_values": [float(v) for v in shown],
                "seed_sd": float(shown.std(ddof=1)) if len(values) > 1 else None,
                "seed_sd_net": 0.004 if len(values) > 1 else None,
                "n_seeds": len(values),
                "n_cases": 624,
                "n_units": 390 if patients else 611,
                "note": None if len(values) > 1 else "given this one trained model",
            }
        )


def _contrast(
    rng: np.random.Generator, differences: np.ndarray, m: int, marked: list[str], stuck: bool
) -> dict[str, Any]:
    d = float(differences.mean())
    half = float(0.014 + 0.012 * rng.random())
    p = float(np.exp(-3 * (d / half) ** 2))
    adjusted, inside = min(1.0, m * p), abs(d) + 0.85 * half < 0.02
    verdict = "cannot_tell"
    qualifiers = list(marked)
    if stuck:
        qualifiers.append("not converged")
    elif adjusted < 0.05:
        verdict = "better" if d > 0 else "worse"
        qualifiers = (["within the margin"] if inside else []) + qualifiers
    elif inside:
        verdict = "practically_equal"
    share = float(rng.random() * 0.8)
    n = len(differences)
    return {
        "difference": d,
        "ci_low": d - half,
        "ci_high": d + half,
        "df": 2.8 if n == 2 else 11.4,
        "p": p,
        "p_adjusted": adjusted,
        "p_equivalence": 0.012 if inside else 0.41,
        "family": m,
        "verdict": verdict,
        "qualifiers": qualifiers,
        "share_seeds": share,
        "share_patients": 1 - share,
        "seed_differences": [float(v) for v in differences],
        "seeds": list(range(n)),
        "seeds_dropped": [],
        "n_units": 390,
        "detectable": 1.5 * half,
        "settle": _settle(d) if verdict == "cannot_tell" else None,
    }


def _settle(difference: float) -> dict[str, Any]:
    kinds = [(9, 1204), (None, 2310), (41, None), (None, None)]
    seeds, units = kinds[int(abs(difference) * 1e6) % 4]
    each = {"seeds": seeds, "units": units}
    said = f"{seeds or 'no'} seeds, {units or 'no'} patients"
    return {
        "margin": 0.02,
        "power": 0.8,
        "level": 0.99375,
        "differs": each,
        "equal": each,
        **each,
        "both": None if seeds or units else {"seeds": 20, "units": 1903},
        "least_by_seeds": 0.031,
        "least_by_units": 0.044,
        "short": said,
        "words": f"With these 390 patients or these seeds: {said}.",
    }


def _answer(arms: tuple[str, ...], rows: list[dict[str, Any]]) -> str:
    if not rows:
        return (
            f"{arms[0]} reached an AUROC of 0.87 to 0.93 on new patients of this source. "
            "One arm alone: nothing was compared."
        )
    won = sum(r["verdict"] == "better" for r in rows)
    return (
        f"Starting from {arms[-1]} is better than {arms[0]} in {won} of {len(rows)} comparisons,"
        f" most clearly with few labels (AUROC +0.043 at 10 %). For the others this study cannot"
        f" tell a difference, or shows that it is within ±0.020."
    )


def _cases(
    rng: np.random.Generator,
    rows: dict[str, list[dict[str, Any]]],
    classes: tuple[str, ...],
    arms: tuple[str, ...],
    policies: tuple[str, ...],
    budgets: tuple[float, ...],
    seeds: int,
) -> dict[str, Any]:
    """Return confusion, calibration, disagreements and times of a study of this shape."""
    n = len(classes)
    cells = [
        {"arm": a, "policy": p, "budget": b, "seeds": seeds}
        for p in policies for b in budgets for a in arms
    ]  # fmt: skip
    confusion, calibration = [], []
    for cell in cells:
        counts = rng.integers(0, 40, (n, n)) + 200 * np.eye(n, dtype=int)
        shares = counts / counts.sum(axis=1, keepdims=True)
        confusion.append(
            {
                **cell,
                "counts": counts.tolist(),
                "per_seed": (counts / seeds).tolist(),
                "shares": shares.tolist(),
            }
        )
        centres = np.sort(rng.random(10))
        calibration.append(
            {
                **cell,
                "of": "positive class" if n == 2 else "predicted class",
                "bins": [
                    {
                        "n": 187,
                        "low": max(0.0, float(x) - 0.03),
                        "high": min(1.0, float(x) + 0.03),
                        "predicted": float(x),
                        "observed": float(x) ** 1.2,
                        "ci_low": max(0.0, float(x) ** 1.2 - 0.08),
                        "ci_high": min(1.0, float(x) ** 1.2 + 0.08),
                    }
                    for x in centres
                ],
            }
        )
    cases = [
        {
            "case": f"test/exam_{17 * k:05d}/frontal_view_{k}.png",
            "target": classes[k % n],
            "spread": 0.9 - 0.02 * k,
            "scores": [
                {"arm": a, "score": float(s), "predicted": classes[int(rng.integers(n))]}
                for a, s in zip(arms, rng.random(len(arms)), strict=True)
            ],
        }
        for k in range(12)
    ]
    return {
        "confusion": confusion,
        "calibration": calibration,
        "disagreements": {
            "policy": policies[0],
            "budget": max(budgets),
            "n_cases": 624,
            "decided_differently": 61,
            "cases": cases,
        }
        if len(arms) > 1
        else None,
        "times": [
            {
                "arm": a,
                "policy": p,
                "trials": 0 if p == "frozen" else 4,
                "trial_minutes": 0.0 if p == "frozen" else 5.4,
                "runs": seeds * len(budgets),
                "run_minutes": 8.15,
                "minutes": 8.15 if p == "frozen" else 13.55,
                "images_per_second": None if p == "frozen" else 132.4,
            }
            for a in arms
            for p in policies
        ],
    }


def pictures(facts: dict[str, Any]) -> dict[str, str]:
    """Return a grey picture for every case on which arms disagree."""
    file = io.BytesIO()
    Image.fromarray(np.full((96, 96), 90, np.uint8)).save(file, "JPEG")
    uri = "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
    return {case["case"]: uri for case in facts["disagreements"]["cases"]}


def before() -> dict[str, Any]:
    """Return facts as they were written before cases, times and plans were among them."""
    facts = make()
    for name in ("confusion", "calibration", "disagreements", "times"):
        del facts[name]
    for row in facts["comparisons"] + facts["policy_comparisons"]:
        del row["settle"]
    return facts


def _arm(name: str) -> dict[str, Any]:
    start, file, _ = STARTS.get(name, ("weights of a file", f"{name}.safetensors", 0.0))
    receipt = {
        "file": file,
        "sha256": "9f2c" * 16,
        "assigned": 312,
        "renamed": 0,
        "defaulted": ["classifier.weight", "classifier.bias"],
        "dropped": ["classifier.weight", "classifier.bias"],
        "parameters_assigned": 2_223_872,
        "parameters_total": 2_226_434,
        "notes": ["The classifier of the source was dropped."],
    }
    return {
        "name": name,
        "start": start,
        "backbone": "mobilenetv2_100",
        "parameters": 2_226_434,
        "convention": {
            "size": 96,
            "mean": [0.485, 0.456, 0.406],
            "std": [0.229, 0.224, 0.225],
            "channels": 3,
            "range": [0.0, 1.0],
            "source": "config.json",
        },
        "receipt": receipt if file else None,
        "notes": [],
    }


def _data(
    rng: np.random.Generator,
    classes: tuple[str, ...],
    patients: bool,
    budgets: tuple[float, ...],
    seeds: int,
) -> dict[str, Any]:
    parts = []
    for part, images in (("train", 4400), ("validation", 580), ("test", 624)):
        share = rng.dirichlet(np.full(len(classes), 4.0))
        counts = [round(images * s) for s in share]
        parts.append(
            {
                "part": part,
                "images": sum(counts),
                "units": int(sum(counts) * 0.62),
                "classes": [
                    {"name": c, "images": n, "units": int(n * 0.62)}
                    for c, n in zip(classes, counts, strict=True)
                ],
            }
        )
    return {
        "n_images": 5856,
        "n_labelled": 5604,
        "n_rejected": 17,
        "unit": "patient" if patients else "duplicate group",
        "patients_known": patients,
        "n_units": 3474,
        "parts_from": "regrouped",
        "parts": parts,
        "budgets": [
            {
                "budget": b,
                "seed": s,
                "train_images": int(4400 * b) + s,
                "train_units": int(2700 * b),
                "validation_images": int(580 * b),
                "validation_units": int(360 * b),
            }
            for b in budgets
            for s in range(seeds)
        ],
        "duplicates": {"groups": 29, "images": 61, "across_patients": 3},
        "rejected": [
            {
                "line": 120 + 31 * i,
                "image": f"train/NORMAL/IM-{100 + i:04d}-0001.jpeg",
                "reason": "truncated file" if i % 2 else "not an image",
            }
            for i in range(17)
        ],
        "unlabelled": 252,
    }


def normal() -> dict[str, Any]:
    """Return three arms, two policies, two budgets, three seeds; patients known."""
    return make()


def doubtful() -> dict[str, Any]:
    """Return the same with patients unknown, leakage allowed and runs that did not converge."""
    facts = make(patients=False, leakage="allow", converged=0.7)
    facts["runs"][4] |= {"state": "failed", "reason": "loss was not finite at step 140"}
    facts["comparisons"][0] |= {"qualifiers": ["confounded", "patients unknown"]}
    facts["comparisons"][1] |= {
        "ci_low": -0.4,
        "ci_high": 0.5,
        "df": 2.1,
        "seeds_dropped": [2],
        "verdict": "cannot_tell",
    }
    return facts


def one_arm() -> dict[str, Any]:
    """Return one arm, one policy, one budget, one seed: intervals and no comparisons."""
    return make(arms=("imagenet",), policies=("full",), budgets=(1.0,), seeds=1)


def one_budget() -> dict[str, Any]:
    """Return three arms at one budget: a dot plot stands for the curves."""
    return make(budgets=(1.0,), policies=("full", "frozen"), seeds=5)


def large() -> dict[str, Any]:
    """Return 6 arms x 3 policies x 5 budgets x 10 seeds, 14 classes, long names."""
    arms = (
        "random",
        "moments",
        "imagenet",
        "radimagenet-densenet121-notop-2022-official-release",
        "dinov2-vits14-continued-on-own-archive",
        "run:pretrained-2026-02",
    )
    classes = (
        "Atelectasis",
        "Cardiomegaly",
        "Consolidation",
        "Edema",
        "Effusion",
        "Emphysema",
        "Enlarged cardiomediastinum and widened superior mediastinal silhouette",
        "Fibrosis",
        "Hernia",
        "Infiltration",
        "Mass",
        "No finding",
        "Nodule",
        "Pleural thickening",
    )
    return make(
        arms=arms,
        policies=("full", "frozen", "last-stage"),
        classes=classes,
        seeds=10,
        budgets=(0.01, 0.05, 0.1, 0.25, 1.0),
        converged=0.97,
        dataset="a_rather_long_dataset_name_from_a_multi_centre_archive_2009_2024",
        title="Six starts, three ways of fine-tuning and five amounts of labels on"
        " fourteen findings of frontal chest radiographs",
    )


def no_results() -> dict[str, Any]:
    """Return a study before its first run."""
    facts = make()
    for name in ("results", "comparisons", "policy_comparisons", "grid", "curves", "runs"):
        facts[name] = []
    facts |= {"confusion": [], "calibration": [], "disagreements": None, "times": []}
    facts["answer"] = None
    return facts


SHARES = {  # every kind that a receipt knows -> (place, tensors, parameters)
    "as named": ("backbone", 61, 12_345_678),
    "renamed": ("backbone", 48, 7_000_123),
    "reshaped": ("backbone", 13, 2_750_004),
    "computed": ("backbone", 12, 1_048_577),
    "fresh": ("backbone", 2, 363_650),
    "dropped": ("file", 9, 6_400_321),
    "left out": ("file", 1, 12_003),
}


def passport(name: str, entry: str, shares: tuple[str, ...], **changed: Any) -> dict[str, Any]:
    """Return an arm of the catalog whose load did what `shares` says."""
    kept = [
        {"kind": kind, "place": place, "tensors": tensors, "parameters": parameters}
        for kind, (place, tensors, parameters) in SHARES.items()
        if kind in shares
    ]
    own = [share for share in kept if share["place"] == "backbone"]
    fresh = [share for share in own if share["kind"] == "fresh"]
    receipt = {
        "file": "epoch_300.pth", "sha256": "0a1b" * 16, "entry": entry, "origin": "hf_swin",
        "licence": "CC BY-NC 4.0", "container": "state_dict.teacher", "prefix": "module.",
        "beside": ["epoch", "optimizer"], "switches": {"ln_eps": 1e-6, "act_layer": "quick_gelu"},
        "assigned": sum(share["tensors"] for share in own if share not in fresh),
        "renamed": 61, "reshaped": 13, "computed": 12, "counters": 0, "defaulted": 0,
        "dropped": 9, "dropped_names": [f"decoder.{k}.weight" for k in range(9)],
        "partial": ["norm.weight", "strange.bias"] if fresh else [],
        "parameters_total": sum(share["parameters"] for share in own),
        "parameters_assigned": sum(s["parameters"] for s in own if s not in fresh),
        "shares": kept, "stem": "3 channels to grey, exact: kernels summed with std folded in",
        "positions": "14 x 14 in the file, resized to 16 x 16 at each image", "head": "",
        "notes": [],
    }  # fmt: skip
    convention = {
        "name": "", "size": 256, "mean": [0.449], "std": [0.226], "channels": 1, "order": "grey",
        "per_image": "", "range": "0..255 / 255, then (x - mean) / std",
        "source": f"catalog, {entry}; one channel", "limits": [-1.98673, 2.43805],
        "words": "one channel 0..1 minus 0.449, divided by 0.226",
    }  # fmt: skip
    catalog = {
        "title": "Weights of a paper", "terms": "not for commercial use",
        "citation": "Doe J. et al. On weights. 2024", "home": "", "saw_note": "Its sets differ.",
        "also": ["0to1: RGB, 0..1, no mean and std", "caffe: BGR 0..255 minus 103.9"],
        "notes": ["The file of 2023 is another one."],
    }  # fmt: skip
    arm = {
        "name": name, "start": entry, "backbone": "swin_tiny(ln_eps=1e-06)",
        "parameters": receipt["parameters_total"], "convention": convention,
        "saw": ["rsna-pneumonia"], "ancestors": ["chestx-ray14"], "catalog": catalog,
        "receipt": receipt, "marks": [], "notes": [],
    }  # fmt: skip
    return {**arm, **changed}


def passports() -> dict[str, Any]:
    """Return arms whose loads did every kind of thing, one that saw the test images, two absent."""
    loaded = ("as named", "renamed", "reshaped", "computed", "dropped")
    names = ("random", "chest/swin", "part (partial norm* strange*)", "moments:chest/swin", "mine")
    facts = make(arms=names, budgets=(0.1, 1.0), seeds=2)
    saw = "saw the test images"
    chest = passport(
        names[1], "chest/swin", loaded, marks=[saw],
        notes=[f"{saw}: chest is made from rsna-pneumonia, which these weights were trained on"],
    )  # fmt: skip
    part = passport(names[2], "chest/swin", tuple(SHARES))
    moments = passport(names[3], "chest/swin", ("dropped",), start=names[3])
    total = chest["receipt"]["parameters_total"]
    redrawn = {"kind": "redrawn", "place": "backbone", "tensors": 134, "parameters": total}
    moments["receipt"] |= {
        "shares": [redrawn, *moments["receipt"]["shares"]],
        "parameters_total": total, "parameters_assigned": total,
    }  # fmt: skip
    mine = passport(names[4], "", ("as named",), start="run", catalog=None, saw=[], ancestors=[])
    mine["receipt"] |= {
        "entry": "", "licence": "", "container": "", "prefix": "", "beside": [], "switches": {},
        "dropped_names": [], "dropped": 0, "renamed": 0, "reshaped": 0, "computed": 0,
        "head": "classifier kept, rows in the order of the classes", "stem": "", "positions": "",
    }  # fmt: skip
    facts["arms"] = [_arm("random"), chest, part, moments, mine]
    facts["skipped"] = {
        "radimagenet": "radimagenet/resnet50 has to be got by hand; radstart weights get "
        "radimagenet/resnet50 --from FILE",
        "far": "hub:me/net: no connection",
    }
    for row in facts["comparisons"] + facts["policy_comparisons"]:
        if row["arm"] == names[1]:
            row["qualifiers"] = [*row["qualifiers"], saw]
    return facts


CASES = {
    "normal": normal,
    "doubtful": doubtful,
    "one_arm": one_arm,
    "one_budget": one_budget,
    "large": large,
    "no_results": no_results,
    "before": before,
    "passports": passports,
}
