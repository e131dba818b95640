"""Facts, arranged for the page: what stands beside what. No number is made here."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from radstart.core.errors import RadstartError
from radstart.report import figures, words
from radstart.report.cases import arrange_cases
from radstart.report.figures import Arm, Facts
from radstart.report.passports import arrange_passports
from radstart.report.tables import FOLDER, paper_tables
from radstart.report.template import template_of

SCHEMA = 1  # of facts.json; what is newer is refused
COMPARED = ("results", "comparisons", "policy_comparisons")
LISTS = ("warnings", "arms", "grid", "curves", "runs", "times", *COMPARED)
PAGES = (
    "page.html",
    "errors.html",
    "disagreements.html",
    "settling.html",
    "paste.html",
    "passports.html",
)
TABLES = ("question", "data", "leakage", "planned", "environment", "skipped")
FIRST = 12  # rows of a long list that are shown before a fold


def render(facts: dict[str, Any], pictures: Mapping[str, Any] | None = None) -> str:
    """Return the whole page, self-contained: no script, nothing loaded from anywhere.

    Args:
        facts: `facts.json` as read; absent or null parts are left out of the page.
        pictures: data URIs by case, of `pictures.json`; None = a page without images.

    Raises:
        RadstartError: the facts were written by a newer radstart.
    """
    schema = facts.get("schema")
    if isinstance(schema, int) and schema > SCHEMA:
        raise RadstartError(
            "facts of a newer radstart", "facts.json", f"schema {schema}", "update radstart"
        )
    return template_of("page.html", PAGES).render(arrange(facts, pictures or {})) + "\n"


def arrange(facts: Mapping[str, Any], pictures: Mapping[str, Any]) -> dict[str, Any]:
    """Return the template's values: the facts, their groups, figures and tables."""
    rows: dict[str, list[Facts]] = {name: list(facts.get(name) or []) for name in LISTS}
    parts = {name: dict(facts.get(name) or {}) for name in TABLES}
    question, answer = parts["question"], facts.get("answer")
    metric = dict(question.get("metric") or {})
    primary, contrasts, between = (
        [r for r in rows[name] if r.get("metric") in (metric.get("id"), None)] for name in COMPARED
    )
    measured = [r for name in ("results", "grid", "runs") for r in rows[name]]
    arms = _arms(question, rows["arms"], measured)
    policies = _union(question.get("policies"), (r.get("policy") for r in measured))
    budgets = sorted(_union(question.get("budgets"), (r.get("budget") for r in measured)))
    order = _order([arm.name for arm in arms], policies, budgets)
    for some in (primary, contrasts, between):
        some.sort(key=order)
    page = {
        **facts, **rows, **parts,
        "metric": metric,
        "metric_label": metric.get("name") or words.metric_name(metric.get("id", "metric")),
        "level": words.percent(question.get("level") or 0.95),
        "unit": words.UNITS.get(str(parts["data"].get("unit")), "units"),
        "arm_of": {arm.name: arm for arm in arms},
        "marks_of": {arm.get("name"): arm.get("marks") or [] for arm in rows["arms"]},
        "passports": arrange_passports(
            sorted(rows["arms"], key=lambda arm: order({"arm": arm.get("name")}))
        ),
        "policies": policies,
        "sentences": [answer] if isinstance(answer, str) else list(answer or []),
        "budgets": budgets,
        "primary": primary,
        "contrasts": contrasts,
        "references": _union([r.get("reference") for r in contrasts]),
        "between": between,
        "first": FIRST,
        "failed": [r for r in rows["runs"] if r.get("state") == "failed"],
        "finished": [r for r in rows["runs"] if r.get("state", "done") == "done"],
        "unconverged": [r for r in rows["runs"] if r.get("converged") is False],
    }  # fmt: skip
    page["verdicts"] = _matrix(contrasts, policies, arms)
    page["measured"] = _matrix(primary, policies, arms)
    page["secondary"] = _secondary(rows["results"], metric.get("id"), order)
    page["achieved"] = [_planned(row, parts["planned"]) for row in contrasts + between]
    page["convergence"] = _convergence(rows["runs"], arms)
    page["classes"] = _classes(parts["data"].get("parts") or [])
    page["test_part"] = next(
        (p for p in parts["data"].get("parts") or [] if p.get("part") == "test"), {}
    )
    page["undecided"] = [row for row in contrasts + between if row.get("settle")]
    page["papers"] = {"folder": FOLDER, "texts": paper_tables(facts)}
    return page | _figures(page, arms) | arrange_cases(page, facts, pictures)


def _union(*groups: Iterable[Any] | None) -> list[Any]:
    """Return every value once, in order of appearance."""
    return list(dict.fromkeys(v for group in groups for v in group or [] if v is not None))


def _arms(question: Facts, stated: Sequence[Facts], measured: Sequence[Facts]) -> list[Arm]:
    """Return the arms in the study's order, the reference first: it is the neutral colour."""
    names = _union(
        question.get("arms"), (a.get("name") for a in stated), (r.get("arm") for r in measured)
    )
    names = [str(name) for name in names]
    reference = question.get("reference")
    if reference in names:
        names.sort(key=lambda name: name != reference)
    return [Arm(name, index) for index, name in enumerate(names)]


def _order(
    arms: list[str], policies: list[Any], budgets: list[Any]
) -> Callable[[Facts], tuple[int, int, int]]:
    def place(values: list[Any], value: Any) -> int:
        return values.index(value) if value in values else len(values)

    def order(row: Facts) -> tuple[int, int, int]:
        return (
            place(policies, row.get("policy")),
            place(budgets, row.get("budget")),
            place(arms, row.get("arm")),
        )

    return order


def _matrix(
    rows: Sequence[Facts], policies: Sequence[Any], arms: Sequence[Arm]
) -> list[dict[str, Any]]:
    """Return one table per policy: arms down, budgets across, a row of the facts per cell."""
    tables = []
    for policy in policies:
        own = [r for r in rows if r.get("policy") == policy]
        across = _union([r.get("budget") for r in own])
        lines = [
            {
                "arm": arm,
                "cells": [
                    next((r for r in own if r["arm"] == arm.name and r["budget"] == b), None)
                    for b in across
                ],
            }
            for arm in arms
            if any(r.get("arm") == arm.name for r in own)
        ]
        if lines:
            tables.append({"policy": policy, "budgets": across, "rows": lines})
    return tables


def _secondary(
    results: Sequence[Facts], primary: Any, order: Callable[[Facts], tuple[int, int, int]]
) -> dict[str, Any]:
    """Return the other metrics: their ids, and one line per arm, policy and budget."""
    others = [r for r in results if r.get("metric") not in (primary, None)]
    cells: dict[tuple[Any, ...], dict[Any, Facts]] = {}
    for row in sorted(others, key=order):
        place = (row.get("arm"), row.get("policy"), row.get("budget"))
        cells.setdefault(place, {})[row["metric"]] = row
    metrics = _union([r["metric"] for r in others])
    lines = [
        {"arm": a, "policy": p, "budget": b, "cells": [found.get(m) for m in metrics]}
        for (a, p, b), found in cells.items()
    ]
    return {"metrics": metrics, "rows": lines}


def _planned(row: Facts, planned: Facts) -> dict[str, Any]:
    """Return a comparison beside the differences that the plan said it could show."""
    fitting = [
        entry
        for entry in planned.get("detectable") or []
        if entry.get("policy") in (None, row.get("policy"))
        and entry.get("budget") in (None, row.get("budget"))
    ]
    seeds = words.size(row.get("seeds"))
    same = [entry for entry in fitting if entry.get("seeds") == seeds] or fitting[:1]
    return {**row, "planned": _union([entry.get("difference") for entry in same])}


def _convergence(runs: Sequence[Facts], arms: Sequence[Arm]) -> list[dict[str, Any]]:
    """Return, where some did not, how many finished runs of each kind converged."""
    lines = []
    kinds = _union([(r.get("policy"), r.get("budget"), r.get("arm")) for r in runs])
    for policy, budget, name in kinds:
        own = [
            r
            for r in runs
            if (r.get("policy"), r.get("budget"), r.get("arm")) == (policy, budget, name)
            and r.get("state", "done") == "done"
        ]
        missed = [r.get("seed") for r in own if r.get("converged") is False]
        if missed:
            arm = next(arm for arm in arms if arm.name == name)
            lines.append(
                {"arm": arm, "policy": policy, "budget": budget, "runs": len(own), "seeds": missed}
            )
    return lines


def _classes(parts: Sequence[Facts]) -> list[dict[str, Any]]:
    """Return one line per class with its counts in every part."""
    names = _union(*([c.get("name") for c in p.get("classes") or []] for p in parts))
    return [
        {
            "name": name,
            "cells": [
                next((c for c in p.get("classes") or [] if c.get("name") == name), None)
                for p in parts
            ],
        }
        for name in names
    ]


def _figures(page: Mapping[str, Any], arms: Sequence[Arm]) -> dict[str, Any]:
    """Return every figure, grouped as the page shows them."""
    shown = set()
    primary = [r for r in page["primary"] if words.finite(r.get("value")) is not None]
    curves_of_budget = []
    if len({r.get("budget") for r in primary}) > 1:
        for policy in page["policies"]:
            own = [r for r in primary if r.get("policy") == policy]
            if own:
                figure = figures.budget_panel(own, primary, arms, page["metric_label"])
                curves_of_budget.append({"policy": policy, "figure": figure})
                shown |= {r["arm"] for r in own}
    converged = {r.get("run"): r.get("converged") for r in page["runs"]}
    curves = [
        {"converged": converged.get(c.get("run")), **c}
        for c in page["curves"]
        if c.get("chosen", True)
    ]
    margin = words.finite(page["question"].get("margin"))
    return {
        "budget_panels": curves_of_budget,
        "crowded": figures.crowded(primary),
        "values": _forest(primary, figures.value_scale(primary), page, None)
        if primary and not curves_of_budget
        else None,
        "forest": _forest(page["contrasts"], None, page, margin),
        "policy_forest": _forest(page["between"], None, page, margin),
        "grids": _panels(page["grid"], page, arms, figures.grid_panel, "setting"),
        "learning": _panels(curves, page, arms, figures.curve_panel),
        "legend_arms": [arm for arm in arms if not shown or arm.name in shown],
    }


def _forest(
    rows: Sequence[Facts],
    scale: figures.Scale | None,
    page: Mapping[str, Any],
    margin: float | None,
) -> dict[str, Any] | None:
    """Return the rows of a forest by policy, each with its strip, and the axis above them."""
    if not rows:
        return None
    keys = ("difference", "seed_differences") if scale is None else ("value", "seed_values")
    axis = figures.strip_axis(scale, with_sign=False) if scale else None
    scale = scale or figures.difference_scale(rows, margin)
    groups: dict[Any, list[dict[str, Any]]] = {}
    for row in rows:
        arm = page["arm_of"].get(row.get("arm")) or Arm(str(row.get("arm")), 0)
        line = {**row, "key": arm, "strip": figures.strip(row, scale, arm, *keys, margin)}
        groups.setdefault(row.get("policy"), []).append(line)
    cut = any(
        not scale.low <= end <= scale.high for end in figures.values_of(rows, ("ci_low", "ci_high"))
    )
    return {"groups": groups, "axis": axis or figures.strip_axis(scale), "cut": cut}


def _panels(
    rows: Sequence[Facts],
    page: Mapping[str, Any],
    arms: Sequence[Arm],
    draw: Callable[[Sequence[Facts], Sequence[Arm]], Markup],
    *also: str,
) -> list[dict[str, Any]]:
    """Return one panel per policy and budget that has rows."""
    found = []
    for policy in page["policies"]:
        for budget in page["budgets"]:
            own = [r for r in rows if (r.get("policy"), r.get("budget")) == (policy, budget)]
            for kind in _union([tuple(r.get(name) for name in also) for r in own]):
                some = [r for r in own if tuple(r.get(name) for name in also) == kind]
                found.append({"policy": policy, "budget": budget, "figure": draw(some, arms)})
    return found
