"""Which column of a CSV means what."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

from radstart.core.errors import RadstartError, nearest, short
from radstart.ingest.csv_file import Table

RECOGNISED: Mapping[str, str] = {
    "image": "image",
    "label": "label",
    "patient": "patient_id",
    "exam": "exam_id",
    "split": "split",
    "fold": "fold",
    "sex": "sex",
    "age": "age",
    "site": "site",
}
_NEEDED = ("image", "label")
_GROUPS = ("patient", "exam")


@dataclass(frozen=True)
class Columns:
    """Names of columns: None takes the recognised name where the CSV has it, "" switches off."""

    image: str | None = None
    label: str | None = None
    patient: str | None = None
    exam: str | None = None
    split: str | None = None
    fold: str | None = None
    sex: str | None = None
    age: str | None = None
    site: str | None = None


def choose_columns(table: Table, columns: Columns) -> dict[str, str]:
    """Return the column of the CSV for each meaning that it has.

    Raises:
        RadstartError: a named or needed column is absent, a name stands twice in the header, or a
            patient or exam column with values is switched off.
    """
    chosen: dict[str, str] = {}
    for entry in fields(columns):
        meaning, wanted = entry.name, getattr(columns, entry.name)
        usual = _recognised(table, meaning)
        option = f"--{meaning}-column"
        if wanted == "":
            if meaning in _NEEDED:
                raise RadstartError("cannot be switched off", option, '""', "name a column")
            if meaning in _GROUPS and usual and any(table.column(usual)):
                raise RadstartError(
                    f"column {usual!r} groups images and cannot be switched off: images of one "
                    f"{meaning} would count as independent",
                    str(table.path),
                    f'{option} ""',
                    "leave the option out; if it is something else, rename it in the CSV",
                )
            continue
        name = wanted or usual
        if not name and meaning in _NEEDED:
            raise _absent(table, meaning, RECOGNISED[meaning])
        if not name:
            continue
        if name not in table.header:
            raise _absent(table, meaning, name)
        if table.header.count(name) > 1:
            raise RadstartError(
                "a column stands twice in the header",
                str(table.path),
                repr(name),
                "rename one of the two",
            )
        chosen[meaning] = name
    if chosen["image"] == chosen["label"]:
        raise RadstartError(
            "image and label are the same column",
            str(table.path),
            repr(chosen["label"]),
            "name another with --label-column",
        )
    return chosen


def _recognised(table: Table, meaning: str) -> str:
    """Return the usual name as the CSV spells it (any case), "" where it has none."""
    usual = RECOGNISED[meaning]
    if usual in table.header:
        return usual
    return next((name for name in table.header if name.lower() == usual), "")


def _absent(table: Table, meaning: str, name: str) -> RadstartError:
    return RadstartError(
        f"has no {meaning} column {short(name)!r}",
        str(table.path),
        f"{len(table.header)} columns",
        f"name one with --{meaning}-column: "
        + nearest(name, [column for column in table.header if column]),
    )
