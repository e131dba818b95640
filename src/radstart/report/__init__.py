"""The page of a study: `report.html` out of `facts.json`. Computes nothing.

Other rooms use `render` and `write_report`.
"""

from pathlib import Path
from typing import Any

from radstart.core.errors import RadstartError
from radstart.core.files import read_json, write_text
from radstart.report.comparison import write_comparison
from radstart.report.page import render

__all__ = ["render", "write_comparison", "write_report"]


def write_report(study: Path) -> Path:
    """Write STUDY/report.html from STUDY/facts.json, whole or not at all, and return its path.

    Raises:
        RadstartError: no facts, or facts of a newer radstart.
    """
    source = Path(study) / "facts.json"
    if not source.is_file():
        raise RadstartError(
            "no facts to report", str(source), remedy="give a study's folder, or run the study"
        )
    facts: Any = read_json(source)
    if not isinstance(facts, dict):
        raise RadstartError("not the facts of a study", str(source), type(facts).__name__)
    target = source.with_name("report.html")
    write_text(target, render(facts))
    return target
