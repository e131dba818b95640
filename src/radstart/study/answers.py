"""Words for the facts: the answer in two sentences, the warnings, the methods paragraph."""

from collections import Counter
from typing import Any

WORDS = {
    "better": "better",
    "worse": "worse",
    "practically_equal": "practically equal",
    "cannot_tell": "undecided",
}
PATIENTS_UNKNOWN = (
    "Patients are unknown: images are resampled as if each were a patient of its own. Nominal "
    "95 % intervals then cover 70-90 %, and false alarms rise from 5 % to 8-30 %."
)


def signed(value: float) -> str:
    """Return a difference with its sign, three decimals."""
    return f"{value:+.3f}".replace("-", "−")


def share(budget: float) -> str:
    """Return "all of the data" or "10 % of the data"."""
    return "all of the data" if budget == 1 else f"{100 * budget:g} % of the data"


def answer(facts: dict[str, Any]) -> list[str]:
    """Return two sentences: what was shown of the starts, and of the rest."""
    question = facts["question"]
    metric, comparisons = question["metric"]["name"], facts["comparisons"]
    if not facts["results"]:
        return ["No run has finished.", "There is no answer yet."]
    if not comparisons:
        primary = [r for r in facts["results"] if r["metric"] == question["metric"]["id"]]
        best = max(primary, key=lambda r: (r["policy"] == question["policies"][0], r["budget"]))
        first = f"{best['arm']} ({best['policy']}, {share(best['budget'])}) reaches {metric} "
        first += f"{best['value']:.3f}"
        if best["ci_low"] is not None:
            first += f" [{best['ci_low']:.3f}, {best['ci_high']:.3f}]"
        return [first + ".", "One arm alone: there are intervals, and no comparison of starts."]
    said = [
        _of_arm(arm, [row for row in comparisons if row["arm"] == arm])
        for arm in dict.fromkeys(row["arm"] for row in comparisons)
    ]
    first = f"Against {question['reference']} ({metric}): " + "; ".join(said) + "."
    rest = []
    for policy in dict.fromkeys(row["policy"] for row in facts["policy_comparisons"]):
        rows = [row for row in facts["policy_comparisons"] if row["policy"] == policy]
        rest.append(f"{policy} against {rows[0]['reference_policy']} is {_counted(rows)}")
    limits = [row["detectable"] for row in comparisons if row["detectable"] is not None]
    if limits and any(row["verdict"] == "cannot_tell" for row in comparisons):
        span = f"{min(limits):.2g}" + (f" to {max(limits):.2g}" if len(limits) > 1 else "")
        rest.append(
            f"between starts this study shows differences from about {span} upwards (80 % power)"
        )
    second = "; ".join(rest) or "every comparison has a verdict"
    return [first, second[0].upper() + second[1:] + "."]


def _of_arm(arm: str, rows: list[dict[str, Any]]) -> str:
    said = f"{arm} is {_counted(rows)}"
    clear = [row for row in rows if row["verdict"] in ("better", "worse")]
    if not clear:
        return said
    top = max(clear, key=lambda row: abs(row["difference"]))
    which = "" if len(clear) == 1 else "largest: "
    return (
        f"{said} ({which}{signed(top['difference'])} [{signed(top['ci_low'])}, "
        f"{signed(top['ci_high'])}], {top['policy']}, {share(top['budget'])})"
    )


def _counted(rows: list[dict[str, Any]]) -> str:
    """Return "better in 3 of 4 comparisons and undecided in 1"."""
    counts = Counter(row["verdict"] for row in rows)
    if len(rows) == 1:
        return WORDS[rows[0]["verdict"]]
    named = [f"{WORDS[key]} in {counts[key]}" for key in WORDS if counts[key]]
    named[0] += f" of {len(rows)} comparisons"
    return ", ".join(named[:-1]) + (" and " if len(named) > 1 else "") + named[-1]


def warnings(facts: dict[str, Any], edges: list[str]) -> list[str]:
    """Return what a reader must know before believing the answer."""
    data, leakage, runs = facts["data"], facts["leakage"], facts["runs"]
    listed = []
    if not data["patients_known"]:
        listed.append(PATIENTS_UNKNOWN)
    if leakage["units"]:
        listed.append(
            f"{leakage['units']} units ({leakage['images']} images) stood in two parts. "
            + leakage["consequence"]
        )
    stuck = [run for run in runs if run["state"] == "done" and not run["converged"]]
    if stuck:
        cells = Counter(f"{r['arm']}, {r['policy']}, {share(r['budget'])}" for r in stuck)
        listed.append(
            f"{len(stuck)} of {len(runs)} runs met the step limit before they had converged "
            f"({'; '.join(f'{cell}: {count}' for cell, count in cells.items())}): their contrasts "
            "cannot be better or worse."
        )
    failed = [run for run in runs if run["state"] == "failed"]
    if failed:
        listed.append(f"{len(failed)} of {len(runs)} runs failed; first: {failed[0]['reason']}.")
    if any("confounded" in row["qualifiers"] for row in facts["comparisons"]):
        listed.append(
            "Arms with different backbones are compared: such contrasts are confounded and get no "
            "better or worse."
        )
    if facts["question"]["seeds"] == 1:
        listed.append("One seed: intervals hold for these trained models, not for the recipe.")
    low = [r for r in facts["comparisons"] if r["df"] is not None and r["df"] < 4]
    if low:
        listed.append(
            f"{len(low)} comparisons rest on fewer than 4 degrees of freedom: more seeds would "
            "narrow them."
        )
    return listed + edges


def methods(facts: dict[str, Any]) -> str:
    """Return the paragraph on how it was done."""
    question, data = facts["question"], facts["data"]
    recipe = question["recipe"]
    source = {
        "split column": "the given split",
        "folds": "whole folds",
        "drawn": "a draw by unit, stratified by class",
        "regrouped": "a new draw by unit in the proportions of the given split",
    }.get(data["parts_from"], data["parts_from"])
    unit = data["unit"] + ("" if data["patients_known"] else " (patients unknown)")
    return (
        f"Parts came from {source}; the sampling unit is the {unit}. Every arm was trained with "
        f"one recipe (AdamW, batches of {recipe['batch_size']}, weight decay "
        f"{recipe['weight_decay']:g}, gradient norm at most {recipe['clip']:g}) in its own input "
        "convention and at its own learning rate, chosen per arm, policy and budget by the "
        "validation loss on seed 0's draw from one grid that grew for all arms alike where an "
        "edge won. The rate stayed up until the validation loss had not improved in "
        f"{recipe['plateau_checks']} looks, then fell to {recipe['decay']:g} of it from the best "
        f"state, and training stopped after {recipe['final_checks']} further looks without "
        "improvement; runs that met the step limit first are called not converged. Frozen "
        "backbones got a ridge-penalised linear probe fitted to convergence, its penalty chosen "
        "on validation. Seeds are shared: seed s of every arm shares the draw of the budget, the "
        "data order and the augmentation, hence the crossed form: patient jackknife + "
        "between-seed variance of the paired difference (Obuchowski-Rockette), modified "
        "Satterthwaite t, logit ellipse. p-values of the primary metric are Holm-adjusted over "
        "arms x policies x budgets, those of policies over a family of their own; practical "
        "equality is two one-sided tests against the margin, not adjusted. Intervals cover new "
        "patients of this source and new seeds, not new sites or training pools. The test part "
        "was read once, after all choices."
    )
