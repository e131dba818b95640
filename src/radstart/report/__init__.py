"""The page of a study, `report.html`, and its tables, out of `facts.json`. Computes nothing.

Other rooms use `render`, `write_report`, `write_comparison`, `write_detection_page` and
`write_inspection_page`.
"""

from pathlib import Path
from typing import Any

from radstart.core.errors import RadstartError
from radstart.core.files import read_json, remove_leftovers, write_text
from radstart.report.comparison import write_comparison
from radstart.report.detection import write_detection_page
from radstart.report.inspection import write_inspection_page
from radstart.report.page import render
from radstart.report.tables import FOLDER, paper_tables

__all__ = [
    "render",
    "write_comparison",
    "write_detection_page",
    "write_inspection_page",
    "write_report",
]


def write_report(study: Path, images: bool = True) -> Path:
    """Write STUDY/report.html and STUDY/tables out of facts.json; return the page's path.

    Each file is written whole or not at all.

    Args:
        study: the study's folder.
        images: show the pictures of pictures.json, where it is there.

    Raises:
        RadstartError: no facts, or facts of a newer radstart.
    """
    source = Path(study) / "facts.json"
    if not source.is_file():
        raise RadstartError(
            "no facts to report", str(source), remedy="give a study's folder, or run the study"
        )
    facts = _read(source)
    beside = source.with_name("pictures.json")
    pictures = _read(beside).get("pictures") if images and beside.is_file() else None
    page = render(facts, pictures if isinstance(pictures, dict) else None)
    for folder in (source.parent, source.with_name(FOLDER)):
        remove_leftovers(folder)
    for name, text in paper_tables(facts).items():
        write_text(source.with_name(FOLDER) / name, text)
    target = source.with_name("report.html")
    write_text(target, page)
    return target


def _read(path: Path) -> dict[str, Any]:
    found: Any = read_json(path)
    if not isinstance(found, dict):
        raise RadstartError("not the facts of a study", str(path), type(found).__name__)
    return found
