"""Passports: what each arm starts from and what its load did, arranged for the page."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from radstart.report import words
from radstart.report.figures import Facts, join, tag

KINDS = {  # kind of a receipt's share -> (class of page.css, words): never told by colour alone
    "as named": ("as-named", "as named in the file"),
    "renamed": ("renamed", "renamed"),
    "reshaped": ("reshaped", "of another shape or order of axes"),
    "computed": ("computed", "computed from the file’s"),
    "redrawn": ("redrawn", "redrawn: mean and variance alone are the file’s"),
    "fresh": ("fresh", "not the file’s: fresh values"),
    "dropped": ("dropped", "in the file alone: not of the backbone"),
    "left out": ("left-out", "in the file alone: let pass"),
}
STATES = {  # state -> (verdict whose colours it has, sign, words)
    "whole": ("better", "✓", "loaded whole"),
    "part": ("worse", "!", "loaded in part"),
    "redrawn": ("cannot_tell", "~", "redrawn"),
    "none": ("cannot_tell", "–", "no weights file"),
}


def arrange_passports(arms: Iterable[Facts]) -> list[dict[str, Any]]:
    """Return one passport per arm: its facts, how whole the load was, and its picture.

    Args:
        arms: `arms` of facts.json, in the page's order. Facts without shares get no picture.
    """
    found = []
    for arm in arms:
        receipt = arm.get("receipt") or {}
        shares = [
            {**share, "look": KINDS[share["kind"]][0], "words": KINDS[share["kind"]][1]}
            for share in receipt.get("shares") or []
            if share.get("kind") in KINDS
        ]
        state = _state(receipt, shares)
        found.append(
            {
                "arm": arm,
                "receipt": receipt,
                "catalog": arm.get("catalog") or {},
                "convention": arm.get("convention") or {},
                "state": dict(zip(("look", "sign", "words"), STATES[state], strict=True))
                if state
                else None,
                "said": _said(state, arm, receipt),
                "shares": shares,
                "bar": load_bar(shares) if shares else None,
            }
        )
    return found


def _state(receipt: Facts, shares: Sequence[Facts]) -> str:
    """Return a key of STATES, "" where the facts do not tell."""
    if not receipt:
        return "none"
    if any(share["kind"] == "redrawn" for share in shares):
        return "redrawn"
    if receipt.get("partial"):
        return "part"
    assigned, total = receipt.get("parameters_assigned"), receipt.get("parameters_total")
    return "whole" if total and assigned == total else ""


def _said(state: str, arm: Facts, receipt: Facts) -> str:
    """Return in a sentence how much of the backbone is the file's."""
    total = receipt.get("parameters_total")
    if state in ("none", "redrawn"):
        return words.sentence(words.start(arm.get("start")))
    if not total:
        return ""
    if state == "whole":
        return f"All {words.count(total)} parameters of the backbone are the file’s."
    assigned = words.count(receipt.get("parameters_assigned"))
    return f"{assigned} of {words.count(total)} parameters of the backbone are the file’s."


def load_bar(shares: Sequence[Mapping[str, Any]]) -> Markup:
    """Return a bar by parameters: the backbone, and behind a gap what the file holds beside it.

    Args:
        shares: of a receipt, each with its `look`, a class of page.css.
    """
    groups = []
    for place in ("backbone", "file"):
        own = [share for share in shares if share.get("place") == place]
        numbers = [words.finite(share.get("parameters")) or 0.0 for share in own]
        if sum(numbers):
            parts = [
                tag("i", class_=f"load {share['look']}", style=f"flex-grow:{number:.0f}")
                for share, number in zip(own, numbers, strict=True)
                if number
            ]
            style = f"flex-grow:{sum(numbers):.0f}"
            groups.append(tag("span", join(parts), class_=f"of-{place}", style=style))
    spoken = "; ".join(
        f"{words.count(share.get('parameters'))} {share.get('words', '')}" for share in shares
    )
    return tag("div", join(groups), class_="loads", role="img", aria_label=f"Parameters: {spoken}.")
