"""Confusion, calibration and disagreement, arranged for the page. No number is made here."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from radstart.report import diagrams
from radstart.report.figures import Arm, Facts

MOST = 2500  # entries of confusion tables in folds; what is more stays in facts.json
PANEL = 60  # as many entries as a diagram weighs
PICTURE = re.compile(r"data:image/(jpeg|png);base64,[A-Za-z0-9+/=]+")


def arrange_cases(
    page: Mapping[str, Any], facts: Mapping[str, Any], pictures: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the values of the sections on cases.

    Args:
        page: what `arrange` has put together so far.
        facts: facts.json.
        pictures: data URIs by case; what is none is left out.
    """
    first = _main_cell(page)
    confusion, fewer_tables = _folded(_by_cell(facts.get("confusion"), page), first)
    calibration, fewer_panels = _folded(_by_cell(facts.get("calibration"), page), first)
    metrics = {
        (r.get("arm"), r.get("policy"), r.get("budget"), r.get("metric")): r
        for r in page["results"]
    }
    for group in [calibration["main"], *calibration["rest"]] if calibration else []:
        for row in group["rows"]:
            row["figure"] = diagrams.reliability_panel(row, row["key"], _axis(page, row))
            row["summary"] = [
                found
                for metric in ("ece", "brier")
                if (found := metrics.get((row["arm"], row["policy"], row["budget"], metric)))
            ]
    return {
        "confusion": confusion,
        "calibration": calibration,
        "left_out": max(fewer_tables, fewer_panels),
        "disagreements": _disagreements(facts.get("disagreements"), page, pictures),
        "class_names": page["question"].get("classes") or [],
    }


def _main_cell(page: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return the reference policy and the largest budget."""
    policies, budgets = page["policies"], page["budgets"]
    policy = page["question"].get("reference_policy") or (policies[0] if policies else None)
    return policy, budgets[-1] if budgets else None


def _by_cell(rows: Sequence[Facts] | None, page: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one group per policy and budget, arms in the page's order."""
    groups = []
    for policy in page["policies"]:
        for budget in page["budgets"]:
            own = [
                {**row, "key": arm}
                for arm in page["arm_of"].values()
                for row in rows or []
                if (row.get("arm"), row.get("policy"), row.get("budget"))
                == (arm.name, policy, budget)
            ]
            if own:
                groups.append({"policy": policy, "budget": budget, "rows": own})
    return groups


def _folded(
    groups: list[dict[str, Any]], first: tuple[Any, Any]
) -> tuple[dict[str, Any] | None, int]:
    """Return the group that is shown and those in folds, and how many are left out."""
    if not groups:
        return None, 0
    main = next((g for g in groups if (g["policy"], g["budget"]) == first), groups[-1])
    rest, entries = [], 0
    for group in groups:
        if group is not main:
            entries += sum(len(row.get("counts") or []) ** 2 or PANEL for row in group["rows"])
            if entries <= MOST:
                rest.append(group)
    return {"main": main, "rest": rest}, len(groups) - 1 - len(rest)


def _axis(page: Mapping[str, Any], row: Facts) -> str:
    positive = page["question"].get("positive")
    if row.get("of") == "positive class" and positive:
        name = str(positive)
        return f"predicted: {name if len(name) < 24 else name[:22] + '…'}"
    return "score of the predicted class"


def _disagreements(
    found: Facts | None, page: Mapping[str, Any], pictures: Mapping[str, Any]
) -> dict[str, Any] | None:
    if not found or not found.get("cases"):
        return None
    cases = []
    for case in found["cases"]:
        scores = []
        for one in case.get("scores") or []:
            arm = page["arm_of"].get(one.get("arm")) or Arm(str(one.get("arm")), 0)
            strip = diagrams.score_strip(one.get("score"), arm)
            scores.append({**one, "key": arm, "strip": strip})
        picture = pictures.get(str(case.get("case")))
        shown = picture if isinstance(picture, str) and PICTURE.fullmatch(picture) else None
        cases.append({**case, "scores": scores, "picture": shown})
    return {**found, "cases": cases, "pictured": any(case["picture"] for case in cases)}
