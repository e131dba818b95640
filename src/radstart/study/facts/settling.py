"""What would settle a "cannot tell": how many seeds, how many patients, or why neither.

"Settled" has one meaning here: with a chance of 80 % a verdict comes, whether the arms truly
differ by the margin (Holm's p below 0.05) or not at all (both equivalence tests below 0.05). The
difference that was observed is not used: power at an observed difference says no more than its p
(Hoenig & Heisey, Am Stat 55 (2001) 19).
"""

import math
from typing import Any

from radstart.stats import Needed, PairedDifference, needed, needed_equal, smallest_difference
from radstart.study.facts.strict import ALPHA, number

POWER = 0.8
MANY_SEEDS, MANY_UNITS = 1_000, 10_000_000  # "however many"
TOGETHER = (5, 10, 20, 50, 100, 200, 500)  # seeds that are tried where neither alone suffices


def settling(
    found: PairedDifference | None,
    barred: list[str],
    family: int,
    margin: float,
    unit: str,
) -> dict[str, Any]:
    """Return what would settle an undecided comparison: numbers, and what they say in words.

    Args:
        found: the comparison, None where no runs have finished.
        barred: `confounded`, `not converged`: no number of seeds or patients lifts them.
        family: how many comparisons Holm's adjustment runs over. Its first step asks p < 0.05 /
            family, so numbers for that level suffice whatever the others say.
        margin: the smallest difference that matters; 0 where none was fixed.
        unit: what patients are called here, in the singular.
    """
    if found is None:
        return _without("no finished runs", "No runs of both sides have finished.")
    why = _no_plan(found, barred, margin)
    if why:
        return _without(*why)
    level = 1 - ALPHA / family
    differs, equal = needed(found, margin, POWER, level), needed_equal(found, margin, POWER)
    either = _either(differs, equal)
    both = None
    if either.seeds is None and either.units is None:
        both = _together(found, margin, level)
    numbers = {
        "margin": margin,
        "power": POWER,
        "level": level,
        "differs": vars(differs),
        "equal": vars(equal),
        "seeds": either.seeds,
        "units": either.units,
        "both": both,
        "least_by_seeds": number(smallest_difference(found, MANY_SEEDS, level=level)),
        "least_by_units": number(smallest_difference(found, units=MANY_UNITS, level=level)),
    }
    return {**numbers, **_words(found, numbers, unit)}


_NUMBERS = (
    "margin", "power", "level", "differs", "equal", "seeds", "units", "both",
    "least_by_seeds", "least_by_units",
)  # fmt: skip


def _without(short: str, words: str) -> dict[str, Any]:
    return {**dict.fromkeys(_NUMBERS), "short": short, "words": words}


def _no_plan(found: PairedDifference, barred: list[str], margin: float) -> tuple[str, str] | None:
    """Return why no number can be given, short and long, or None."""
    if "confounded" in barred:
        return (
            "numbers cannot settle it",
            "The backbones differ: no number of seeds or patients makes this better or worse.",
        )
    if "not converged" in barred:
        return (
            "numbers cannot settle it",
            "Runs met the step limit: no number settles it before they converge.",
        )
    if not math.isfinite(found.p):
        return "no interval", "No interval, hence no plan: too few units with a class."
    if not margin:
        return (
            "no margin was fixed",
            "Without a margin nothing says which difference matters, hence no plan.",
        )
    if found.n_seeds < 2:
        return (
            "first: more than one seed",
            "One seed tells nothing of the spread over seeds: run two or more, then plan.",
        )
    return None


def _either(differs: Needed, equal: Needed) -> Needed:
    """Return what suffices whether the arms differ by the margin or not at all."""

    def larger(a: int | None, b: int | None) -> int | None:
        return None if a is None or b is None else max(a, b)

    return Needed(larger(differs.seeds, equal.seeds), larger(differs.units, equal.units))


def _together(found: PairedDifference, margin: float, level: float) -> dict[str, int] | None:
    """Return the pair of seeds and units with the smallest product, of the seeds in TOGETHER."""
    pairs = []
    for seeds in TOGETHER:
        differs = needed(found, margin, POWER, level, seeds)
        units = _either(differs, needed_equal(found, margin, POWER, seeds=seeds)).units
        if units is not None and seeds > found.n_seeds:
            pairs.append((seeds * units, seeds, units))
    return {"seeds": min(pairs)[1], "units": min(pairs)[2]} if pairs else None


def _words(found: PairedDifference, numbers: dict[str, Any], unit: str) -> dict[str, str]:
    """Return the numbers as a short phrase and as sentences."""
    seeds, units, both = numbers["seeds"], numbers["units"], numbers["both"]
    many = "units" if unit == "mixed" else f"{unit}s"
    here = f"with these {found.n_units:,} {many}", f"with these {found.n_seeds} seeds"
    if (seeds or MANY_SEEDS) <= found.n_seeds:
        return {
            "short": "large enough; perhaps between none and the margin",
            "words": "This design is large enough for either answer (80 %). A true difference "
            "between none and the margin can stay undecided at any size.",
        }
    said = []
    if seeds is not None:
        said.append(f"{here[0].capitalize()}, {seeds:,} seeds would settle it.")
    if units is not None:
        said.append(f"{here[1].capitalize()}, {units:,} {many} would settle it.")
    for alone, of, least in (
        (seeds, "seeds", numbers["least_by_seeds"]),
        (units, many, numbers["least_by_units"]),
    ):
        if alone is None:
            fixed = here[0] if of == "seeds" else here[1]
            limit = "."
            if least is not None and least > numbers["margin"]:
                limit = f": {fixed}, differences below {least:.2g} stay hidden."
            said.append(f"More {of} alone never settle it{limit}")
    if seeds is not None and units is not None:
        short = f"{seeds:,} seeds or {units:,} {many} would settle it"
    elif seeds is not None:
        short = f"{seeds:,} seeds would settle it; {many} alone never"
    elif units is not None:
        short = f"{units:,} {many} would settle it; seeds alone never"
    elif both:
        short = f"needs both: {both['seeds']:,} seeds and {both['units']:,} {many}"
        said.append(f"Both together would: for instance {both['seeds']:,} seeds with "
                    f"{both['units']:,} {many}.")  # fmt: skip
    else:
        short = "out of reach of seeds and " + many
        said.append(f"Nor do {TOGETHER[-1]} seeds with any number of {many}.")
    return {"short": short, "words": " ".join(said)}
