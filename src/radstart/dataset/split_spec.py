"""How a dataset is split: one value, the same from the command line and from Python."""

import re
import shlex
from dataclasses import dataclass, fields

import numpy as np

from radstart.core.errors import RadstartError, nearest

UNITS = ("auto", "patient", "exam", "series", "image")
PARTS_OF = {2: ("train", "test"), 3: ("train", "validation", "test")}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True)
class SplitSpec:
    """How a dataset is split.

    Attributes:
        name: of the split; letters, digits, ".", "_" and "-".
        shares: of the images, for train, validation and test, or train and test; of any sum.
        folds: number of folds instead of parts; 0 = parts.
        repeats: how often it is drawn anew, each time with other units.
        unit: what may not be divided. "auto" is the strongest that is known of each row; another
            name states what it must be, and is refused where the data say otherwise.
        group_column: column of which every value stays on one side, beside units; "" = none.
        stratify: columns whose values are shared out alike; None = `label` and all findings.
        budgets: shares of the units that columns `budget_...` mark, nested; above 0, below 1.
        seed: of every draw.
    """

    name: str = "split"
    shares: tuple[float, ...] = (0.7, 0.15, 0.15)
    folds: int = 0
    repeats: int = 1
    unit: str = "auto"
    group_column: str = ""
    stratify: tuple[str, ...] | None = None
    budgets: tuple[float, ...] = ()
    seed: int = 0


def check_spec(spec: SplitSpec) -> None:
    """Refuse what is out of range.

    Raises:
        RadstartError: names the option.
    """
    if spec.unit not in UNITS:
        raise RadstartError("unknown unit", "--unit", repr(spec.unit), nearest(spec.unit, UNITS))
    asked = sum(spec.shares)
    budgets = spec.budgets
    for fine, option, got, remedy in (
        (_NAME.fullmatch(spec.name), "--name", repr(spec.name), "use letters, digits, . _ -"),
        (len(spec.shares) in PARTS_OF, "--shares", _shown(spec.shares), "two or three of them"),
        (all(0 < s < asked < np.inf for s in spec.shares), "--shares", _shown(spec.shares),
         "for instance 0.7,0.15,0.15"),
        (spec.folds == 0 or 2 <= spec.folds <= 100, "--folds", str(spec.folds),
         "2 to 100, 0 = parts"),
        (1 <= spec.repeats <= 1000, "--repeats", str(spec.repeats), "1 to 1000"),
        (all(0 < b < 1 for b in budgets) and len(set(budgets)) == len(budgets), "--budgets",
         _shown(budgets), "different ones above 0 and below 1"),
        (0 <= spec.seed < 2**63, "--seed", str(spec.seed), "0 or above"),
    ):  # fmt: skip
        if not fine:
            raise RadstartError("out of range", option, got, remedy)


def _shown(values: tuple[float, ...]) -> str:
    return ",".join(f"{value:g}" for value in values) or "nothing"


def command(spec: SplitSpec) -> str:
    """Return the command that makes a split, with the options that are not the usual ones."""
    words = ["radstart split DATASET"]
    for entry in fields(spec):
        value = getattr(spec, entry.name)
        if value != entry.default and not (entry.name == "shares" and spec.folds):
            shown = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            words.append(f"--{entry.name.replace('_', '-')} {shlex.quote(shown)}")
    return " ".join(words)
