"""The methods text: how a study was done, out of its facts, to paste into a paper."""

from typing import Any

PARTS = {
    "split column": "followed the given split",
    "folds": "are whole folds",
    "drawn": "were drawn by unit, stratified by class",
    "regrouped": "were drawn again by unit in the proportions of the given split",
}
STARTS = {
    "random": "random values, drawn anew for every seed",
    "file": "a weights file",
    "run": "the weights of an earlier training",
}
PACKAGES = ("torch", "timm", "numpy", "scipy", "scikit-learn")


def methods(facts: dict[str, Any]) -> str:
    """Return the text: paragraphs on data, starts, training, statistics and software."""
    paragraphs = (
        _data(facts),
        _starts(facts),
        _training(facts),
        _statistics(facts),
        _software(facts),
    )
    return "\n\n".join(" ".join(sentences) for sentences in paragraphs)


def counted(number: int, word: str) -> str:
    """Return "1 image", "2,000 images"."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def listed(words: list[str]) -> str:
    """Return "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _units(number: int, data: dict[str, Any]) -> str:
    return counted(number, "unit" if data["unit"] == "mixed" else data["unit"])


def _data(facts: dict[str, Any]) -> list[str]:
    question, data, leakage = facts["question"], facts["data"], facts["leakage"]
    said = [
        f"Data. {question['dataset']}: {counted(data['n_labelled'], 'labelled image')} of "
        f"{_units(data['n_units'], data)}, target {question['target']} ({question['task']})."
    ]
    for part in data["parts"]:
        classes = "; ".join(f"{c['name']} {c['images']:,}" for c in part["classes"][:20])
        more = "; ..." if len(part["classes"]) > 20 else ""
        said.append(
            f"{part['part'].capitalize()}: {counted(part['images'], 'image')} of "
            f"{_units(part['units'], data)} ({classes}{more})."
        )
    unit = "unit" if data["unit"] == "mixed" else data["unit"]
    source = data["parts_from"]
    said.append(
        f"The parts {PARTS.get(source, f'are those of {source}')}; the {unit} is what is "
        "kept in one part and resampled, and images of identical pixels count as one unit."
    )
    if not data["patients_known"]:
        said.append("Patients are unknown, so that intervals are too narrow.")
    if leakage["units"]:
        said.append(
            f"{_units(leakage['units'], data)} ({counted(leakage['images'], 'image')}) stood in "
            f"two parts. {leakage['consequence']}"
        )
    if question["budgets"] != [1.0]:
        shares = listed([f"{100 * b:g} %" for b in sorted(question["budgets"])])
        drawn = data.get("budgets_from", "drawn") == "drawn"
        said.append(
            f"Budgets are {shares} of the units of the training and the validation part, "
            f"{'drawn by seed' if drawn else 'the same for every seed'}, smaller ones inside "
            "larger ones; the test part is always whole."
        )
    return said


def _starts(facts: dict[str, Any]) -> list[str]:
    arms = facts["arms"]
    networks = [f"{arm['backbone']}, {arm['parameters']:,} parameters" for arm in arms]
    same = len(set(networks)) == 1
    said = [f"Starts. The reference is {facts['question']['reference']}."]
    kept = [arm["name"] for arm in arms if (arm["receipt"] or {}).get("head")]
    classifier = "The classifier is new" + (
        f" but for {listed(kept)}, which brought a trained one for the same classes (frozen "
        "backbones got a new one all the same)." if kept else " for every arm."
    )  # fmt: skip
    if same:
        said.append(f"The backbone is {networks[0]} without its classifier.")
    said.append(classifier)
    for arm, network in zip(arms, networks, strict=True):
        convention = arm["convention"]
        order = f", {convention['order']}" if convention.get("order") == "BGR" else ""
        stretched = ", each image stretched to 0..1" if convention.get("per_image") else ""
        said.append(
            f"{arm['name']}: {_start(arm)}{'' if same else f'; {network}'}; input "
            f"{convention['size']} px{order}{stretched}, mean {_triple(convention['mean'])}, SD "
            f"{_triple(convention['std'])} ({convention['source']})."
        )
    said += [f"{name} was asked for and left out." for name in facts.get("skipped") or {}]
    return said


def _start(arm: dict[str, Any]) -> str:
    """Return where an arm's weights come from, and what of them was loaded."""
    start, receipt = STARTS.get(arm["start"], arm["start"]), arm["receipt"]
    if start.startswith("moments:"):
        start = f"random values with each tensor's mean and variance of {start[8:]}"
    elif start.startswith("hub:"):
        start = f"{start[4:]} of the Hugging Face hub"
    elif receipt and receipt.get("entry"):
        start = f"the published weights {receipt['entry']}"
    if not receipt or not receipt.get("sha256"):
        return str(start)
    known, catalog = receipt.get("entry") or "", arm.get("catalog") or {}
    partial = len(receipt.get("partial") or ())
    said = [
        f"catalog entry {known}" if known and known not in start else "",
        catalog.get("citation") or "",
        receipt["file"],
        f"SHA-256 {receipt['sha256'][:12]}...",
        f"licence: {receipt['licence']}" if receipt.get("licence") else "",
        f"{receipt['parameters_assigned']:,} of {receipt['parameters_total']:,} parameters loaded",
        f"{counted(partial, 'tensor')} let pass" if partial else "",
    ]
    return f"{start} ({'; '.join(filter(None, said))})"


def _triple(values: list[float]) -> str:
    """Return "0.5" where the channels agree, else "0.485/0.456/0.406"."""
    return "/".join(dict.fromkeys(f"{value:.3g}" for value in values))


def _training(facts: dict[str, Any]) -> list[str]:
    question, recipe = facts["question"], facts["question"]["recipe"]
    settings = {row["setting"] for row in facts["grid"]}
    augmented = ", ".join(question["augmentation"]) or "none"
    said = [
        f"Training. Policies: {listed(question['policies'])}. Augmentation of training images: "
        f"{augmented}."
    ]
    if "lr" in settings or not settings:
        said.append(
            f"Every arm was trained with one recipe: AdamW, batches of {recipe['batch_size']}, "
            f"weight decay {recipe['weight_decay']:g}, gradient norm at most {recipe['clip']:g}, "
            f"{recipe['warmup_steps']} steps of warm-up, a moving average of the weights "
            f"({recipe['average']:g} a step), in the arm's own input convention. "
            f"{_rates(facts)} The rate stayed up "
            f"until the validation loss had not improved in {recipe['plateau_checks']} looks, then "
            f"fell to {recipe['decay']:g} of it from the best state, and training stopped after "
            f"{recipe['final_checks']} further looks without improvement; runs that met the limit "
            f"of {recipe['epochs']} epochs first are called not converged."
        )
    if "penalty" in settings or not settings:
        said.append(
            "Frozen backbones got a ridge-penalised linear probe fitted to convergence, its "
            "penalty chosen on validation for every run."
        )
    seeds = question["seeds"]
    said.append(
        "One seed per arm, policy and budget." if seeds == 1 else
        f"{seeds} seeds per arm, policy and budget, shared: seed s of every arm shares the draw of "
        "the budget, the data order and the augmentation."
    )  # fmt: skip
    runs = facts["runs"]
    stuck = sum(run["state"] == "done" and not run["converged"] for run in runs)
    failed = sum(run["state"] == "failed" for run in runs)
    if stuck or failed:
        said.append(f"Of {len(runs)} runs {failed} failed and {stuck} did not converge.")
    said.append("The test part was read once, after all choices.")
    return said


def _rates(facts: dict[str, Any]) -> str:
    """Return how the learning rates came about: chosen per arm, or one for all."""
    recipe = facts["question"]["recipe"]
    tried = sorted({row["value"] for row in facts["grid"] if row["setting"] == "lr"})
    first, growth = recipe.get("grid") or tried, recipe.get("grid_growth", 1)
    if len(first) == 1 and not growth:
        return (
            f"All arms, policies and budgets were trained with one shared learning rate, "
            f"{first[0]:g}: nothing was chosen, and an arm that another rate suits better is at a "
            "disadvantage."
        )
    grid = f" ({', '.join(f'{rate:g}' for rate in tried)})" if tried else ""
    grown = " that grew for all arms alike where an edge won" if growth else ", the same for all"
    return (
        "The learning rate was chosen per arm, policy and budget by the validation loss on seed "
        f"0's draw, from one grid{grid}{grown}."
    )


def _statistics(facts: dict[str, Any]) -> list[str]:
    question, metric = facts["question"], facts["question"]["metric"]
    several = len(question["classes"]) > 2
    direction = "higher" if metric["higher_is_better"] else "lower"
    level = f"{100 * question['level']:g} %"
    over = ", macro-averaged one class against the rest" if several and metric["id"] in (
        "auroc", "average_precision"
    ) else ""  # fmt: skip
    said = [
        f"Statistics. The primary metric is {metric['name']}{over} ({direction} is better), "
        f"the mean over seeds, with {level} intervals over units and seeds: patient jackknife + "
        "between-seed variance of the paired difference (Obuchowski-Rockette), modified "
        "Satterthwaite t, logit ellipse; seeds are crossed with arms."
    ]
    families = [
        f"{rows[0]['family']} comparisons of {what}"
        for what, rows in (
            ("starts with the reference", facts["comparisons"]),
            ("policies within a start", facts["policy_comparisons"]),
        )
        if rows
    ]
    if families:
        said.append(
            "Two-sided p-values are Holm-adjusted over "
            + listed(families)
            + (", each a family of its own" if len(families) > 1 else "")
            + "; better and worse mean an adjusted p below 0.05."
        )
        if question["margin"]:
            said.append(
                f"Practically equal means two one-sided tests against a margin of "
                f"{question['margin']:g}, fixed beforehand, at 0.05, not adjusted; everything else "
                "is undecided."
            )
        said.append("Secondary metrics carry no tests.")
    said.append(
        "Intervals cover new patients of this source and new seeds, not new sites or training "
        "pools."
    )
    return said


def _software(facts: dict[str, Any]) -> list[str]:
    found = facts["environment"]
    numerics = found.get("numerics") or {}
    versions = [f"{name} {found[name]}" for name in PACKAGES if found.get(name)]
    said = (
        f"Software. radstart {facts['radstart']}, Python {found['python']}, {', '.join(versions)}"
    )
    how = [str(numerics[key]) for key in ("dtype", "device") if numerics.get(key)]
    return [f"{said}; {', '.join([*how, str(found['machine'])])}."]
