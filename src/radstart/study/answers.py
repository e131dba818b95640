"""Words for the facts: the answer in two sentences, the warnings."""

from collections import Counter
from typing import Any

from radstart.study.fed import FED
from radstart.study.seen import MAY_HAVE, SAW
from radstart.weights import HEAD_KEPT

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


def _tensors(names: list[str]) -> str:
    return "one tensor was" if len(names) == 1 else f"{len(names)} tensors were"


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
    listed += [
        f"{arm['name']} {note}."
        for arm in facts["arms"]
        for note in arm["notes"]
        if note.startswith((SAW, MAY_HAVE, HEAD_KEPT, FED))
    ]
    for arm in facts["arms"]:
        if partial := (arm["receipt"] or {}).get("partial"):
            listed.append(
                f"{arm['name']} was loaded in part: {_tensors(partial)} let pass, the first "
                f"{partial[0]}. Its figures are not those of these weights."
            )
    return listed + edges
