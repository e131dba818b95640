"""Paired differences of one declared family on the primary metric, with their verdicts."""

import math
from itertools import product
from typing import Any

from radstart.stats import (
    METRICS,
    PairedDifference,
    holm,
    paired_difference,
    smallest_difference,
    verdict,
)
from radstart.study.cells import Cell, Key
from radstart.study.facts.settling import settling
from radstart.study.facts.strict import ALPHA, number
from radstart.study.prepare import Prepared
from radstart.study.seen import mark_of
from radstart.training import POLICIES
from radstart.weights import HEAD_KEPT


def arm_pairs(prepared: Prepared) -> list[tuple[Key, Key]]:
    """Return every arm beside the reference, at each policy and budget."""
    spec = prepared.spec
    return [
        ((arm.name, policy, budget), (spec.reference, policy, budget))
        for arm, policy, budget in product(spec.arm, spec.policies, spec.budgets)
        if arm.name != spec.reference
    ]


def policy_pairs(prepared: Prepared) -> list[tuple[Key, Key]]:
    """Return every policy beside the first one, for each arm and budget."""
    spec = prepared.spec
    return [
        ((arm.name, policy, budget), (arm.name, spec.policies[0], budget))
        for arm, policy, budget in product(spec.arm, spec.policies[1:], spec.budgets)
    ]


def compared(
    prepared: Prepared, cells: dict[Key, Cell], pairs: list[tuple[Key, Key]]
) -> list[tuple[Key, Key, dict[str, Any]]]:
    """Return one declared family of paired differences on the primary metric, with verdicts."""
    spec = prepared.spec
    found: list[tuple[Key, Key, PairedDifference | None]] = []
    for a, b in pairs:
        shared = sorted(set(cells[a].scores) & set(cells[b].scores)) if (
            a in cells and b in cells
        ) else []  # fmt: skip
        found.append(
            (
                a,
                b,
                paired_difference(
                    cells[a].stacked(shared),
                    cells[b].stacked(shared),
                    cells[a].labels,
                    cells[a].units,
                    spec.metric,
                    spec.level,
                )
                if shared
                else None,
            )
        )
    adjusted = holm([d.p if d else math.nan for *_, d in found])
    return [
        (a, b, _comparison(prepared, cells, a, b, d, float(p), len(pairs)))
        for (a, b, d), p in zip(found, adjusted, strict=True)
    ]


def _comparison(
    prepared: Prepared,
    cells: dict[Key, Cell],
    a: Key,
    b: Key,
    found: PairedDifference | None,
    p_adjusted: float,
    family: int,
) -> dict[str, Any]:
    spec = prepared.spec
    qualifiers = [] if prepared.units.patients_known else ["patients unknown"]
    notes = {arm.name: arm.notes for arm in prepared.arms}
    if prepared.leakage.policy == "allow" and prepared.leakage.units:
        qualifiers.append("leakage allowed")
    if mark := mark_of((*notes[a[0]], *notes[b[0]])):
        qualifiers.append(mark)
    trained = [name for name, policy, _ in (a, b) if not POLICIES[policy].probe]
    if any(note.startswith(HEAD_KEPT) for name in trained for note in notes[name]):
        qualifiers.append(HEAD_KEPT)
    if found is None:
        return {**dict.fromkeys(_COMPARISON), "metric": spec.metric, "family": family,
                "verdict": "cannot_tell", "qualifiers": ["no finished runs", *qualifiers],
                "seed_differences": [], "seeds": 0,
                "settle": settling(None, [], family, spec.margin, prepared.units.kind)}  # fmt: skip
    equal = found.p_equivalence(spec.margin) if spec.margin else math.nan
    direction = METRICS[spec.metric].higher_is_better
    said, also = verdict(found.difference, p_adjusted, equal, direction, ALPHA)
    backbone = {arm.name: arm.backbone for arm in prepared.arms}
    barred = []
    if backbone[a[0]] != backbone[b[0]]:
        barred.append("confounded")
    if not (cells[a].converged and cells[b].converged):
        barred.append("not converged")
    if barred and said in ("better", "worse"):
        said, also = "cannot_tell", ()
    qualifiers = [*also, *barred, *qualifiers]
    if found.n_seeds == 1:
        qualifiers.append("one trained model")
    if any("fewer than 10" in note for note in found.notes):
        qualifiers.append("few units")
    dropped = len(set(cells[a].scores) ^ set(cells[b].scores))
    return {
        "metric": spec.metric,
        "difference": number(found.difference),
        "ci_low": number(found.ci_low),
        "ci_high": number(found.ci_high),
        "df": number(found.df),
        "p": number(found.p),
        "p_adjusted": number(p_adjusted),
        "p_equivalence": number(equal),
        "family": family,
        "verdict": said,
        "qualifiers": qualifiers,
        "share_seeds": number(found.share_seeds),
        "share_patients": number(found.share_patients),
        "seed_differences": [number(x) for x in found.seed_differences],
        "seed_sd": number(found.seed_sd_difference),
        "seed_sd_net": number(found.seed_sd_difference_net),
        "seeds": found.n_seeds,
        "seeds_dropped": dropped,
        "n_units": found.n_units,
        "detectable": _detectable(found),
        "settle": settling(found, barred, family, spec.margin, prepared.units.kind)
        if said == "cannot_tell"
        else None,
        "note": "; ".join(found.notes) or None,
    }


_COMPARISON = (
    "metric", "difference", "ci_low", "ci_high", "df", "p", "p_adjusted", "p_equivalence",
    "family", "verdict", "qualifiers", "share_seeds", "share_patients", "seed_differences",
    "seed_sd", "seed_sd_net", "seeds", "seeds_dropped", "n_units", "detectable", "settle", "note",
)  # fmt: skip


def _detectable(found: PairedDifference) -> float | None:
    """Return the smallest difference that this very design shows with 80 % power, if defined."""
    if found.n_seeds < 2 or not math.isfinite(found.p) or found.identical:
        return None
    smallest = smallest_difference(found, found.n_seeds, found.n_units)
    return number(smallest) if smallest < found.upper else None  # else: none at all
