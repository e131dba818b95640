"""How the report writes numbers and names: one place, so that a page never mixes styles."""

import math
from collections.abc import Mapping, Sized
from typing import Any

MINUS, NONE, SPACE = "\u2212", "\u2013", "\u00a0"

VERDICTS = {  # verdict -> (sign, words): never told by colour alone
    "better": ("\u25b2", "better"),
    "worse": ("\u25bc", "worse"),
    "practically_equal": ("\u2248", "practically equal"),
    "cannot_tell": ("?", "cannot tell"),
}
METRICS = {
    "auroc": "AUROC",
    "average_precision": "Average precision",
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "weighted_recall": "Weighted recall",
    "f1": "F1",
    "brier": "Brier score",
    "ece": "Calibration error",
}
UNITS = {
    "patient": "patients",
    "exam": "exams",
    "series": "series",
    "duplicate group": "duplicate groups",
}
PARTS = {
    "split column": "given by the split column",
    "folds": "whole folds",
    "drawn": "drawn by unit",
    "regrouped": "redrawn by unit in the old proportions",
}
STARTS = {
    "random": "random values, drawn anew for every seed",
    "file": "a weights file",
    "run": "the weights of an earlier run",
}
SETTINGS = {"lr": "learning rate", "penalty": "penalty"}


def finite(value: Any) -> float | None:
    """Return `value` where it is a finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def size(value: Any) -> int | None:
    """Return how many: a whole number stands for itself, a list for its length."""
    if isinstance(value, int):
        return value
    return len(value) if isinstance(value, Sized) and not isinstance(value, str) else None


def number(value: Any, digits: int = 3) -> str:
    """Return "0.853"; a dash for what is undefined."""
    known = finite(value)
    if known is None:
        return NONE
    text = f"{abs(known):.{digits}f}"
    return (MINUS if known < 0 and float(text) else "") + text


def signed(value: Any, digits: int = 3) -> str:
    """Return "+0.043" or "-0.043" with a true minus sign; zero has no sign."""
    text = number(value, digits)
    known = finite(value)
    return "+" + text if known is not None and known > 0 and float(text) else text


def interval(low: Any, high: Any) -> str:
    """Return "[0.812, 0.894]", or "no interval"."""
    if finite(low) is None or finite(high) is None:
        return "no interval"
    return f"[{number(low)}, {number(high)}]"


def signed_interval(low: Any, high: Any) -> str:
    """Return "[+0.012, +0.094]", or "no interval"."""
    if finite(low) is None or finite(high) is None:
        return "no interval"
    return f"[{signed(low)}, {signed(high)}]"


def probability(value: Any) -> str:
    """Return a p-value: "< 0.001", "0.034"."""
    known = finite(value)
    return f"<{SPACE}0.001" if known is not None and known < 0.001 else number(value)


def percent(value: Any, digits: int = 1) -> str:
    """Return a share as "34 %"; one below 10 % keeps up to `digits` decimals."""
    known = finite(value)
    if known is None:
        return NONE
    hundred = 100 * known
    digits = 0 if hundred >= 10 or abs(hundred - round(hundred)) < 1e-9 else digits
    return number(hundred, digits) + SPACE + "%"


def budget(value: Any) -> str:
    """Return a budget: a share of the labelled units, or cases per class where above one."""
    known = finite(value)
    if known is None:
        return str(value)
    return percent(known) if known <= 1 else f"{known:g} per class"


def count(value: Any) -> str:
    """Return "12,345"."""
    known = finite(value)
    return NONE if known is None else f"{known:,.0f}".replace("-", MINUS)


def million(value: Any) -> str:
    """Return a number of parameters: "2.23 M", "640 k"."""
    known = finite(value)
    if known is None:
        return NONE
    if known >= 1e6:
        return f"{known / 1e6:.3g}{SPACE}M" if known < 1e9 else f"{known / 1e9:.3g}{SPACE}G"
    return f"{known / 1e3:.3g}{SPACE}k" if known >= 1e4 else f"{known:,.0f}"


def minutes(value: Any) -> str:
    """Return minutes: "0.03", "8.9", "43", two digits or whole."""
    known = finite(value)
    if known is None:
        return NONE
    return number(known, 0 if known >= 10 or known == 0 else 1 if known >= 1 else 2)


def mean_count(value: Any) -> str:
    """Return a mean of counts: "12", "12.3", "1,204"."""
    known = finite(value)
    if known is None:
        return NONE
    return count(known) if known >= 100 or known == int(known) else number(known, 1)


def setting(value: Any) -> str:
    """Return a learning rate or penalty: "0.003", "3e-5"."""
    known = finite(value)
    if known is None:
        return NONE
    if known == 0 or 1e-4 <= abs(known) < 1e5:
        return f"{known:.6g}".replace("-", MINUS)
    mantissa, _, exponent = f"{known:.3g}".partition("e")
    return f"{mantissa}e{int(exponent)}"


def plural(value: Any, word: str, words: str = "") -> str:
    """Return "1 image", "12 images"."""
    return f"{count(value)} {word if value == 1 else words or word + 's'}"


def text(value: Any) -> str:
    """Return any plain value in words: lists by commas, mappings as "name value"."""
    if value is None or value == "":
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return setting(value)
    if isinstance(value, int):
        return count(value) if abs(value) >= 10_000 else number(value, 0)
    if isinstance(value, Mapping):
        return "; ".join(f"{label(name)} {text(item)}" for name, item in value.items()) or NONE
    if isinstance(value, list | tuple):
        return ", ".join(text(item) for item in value) or NONE
    return str(value)


def label(name: Any) -> str:
    """Return a key as words."""
    return str(name).replace("_", " ")


def metric_name(name: Any) -> str:
    """Return a metric's name for a table head."""
    return METRICS.get(str(name), label(name).capitalize())


def verdict_words(verdict: Any, qualifiers: Any = ()) -> str:
    """Return "better", "worse, but within the margin", "cannot tell"."""
    words = VERDICTS.get(str(verdict), ("", label(verdict)))[1]
    return words + (", but within the margin" if "within the margin" in (qualifiers or ()) else "")


def verdict_sign(verdict: Any) -> str:
    """Return the sign that stands before a verdict's words."""
    return VERDICTS.get(str(verdict), ("?", ""))[0]


def qualifiers_left(qualifiers: Any, marks: Any = ()) -> list[str]:
    """Return the qualifiers that neither the verdict's words nor the arm's own marks say."""
    said = ("within the margin", *(marks or ()))
    return [str(item) for item in qualifiers or () if item not in said]


def parts_from(value: Any) -> str:
    """Return where the parts came from, in words."""
    return PARTS.get(str(value), f"those of {value}")


def between(value: Any) -> str:
    """Return a range "0 to 1" of a list of two, else the value in words."""
    pair = isinstance(value, list | tuple) and len(value) == 2
    return f"{text(value[0])} to {text(value[1])}" if pair else text(value)


def brief(value: Any) -> str:
    """Return a number, or numbers, with four digits: "0.485", "-2.118, 2.64"."""
    if isinstance(value, list | tuple):
        shown = [brief(item) for item in value]
        return ", ".join(shown if len(set(shown)) > 1 else shown[:1]) or NONE
    known = finite(value)
    return NONE if known is None else f"{known + 0.0:.4g}".replace("-", MINUS)


def start(value: Any) -> str:
    """Return where an arm's values come from: "the weights of an earlier run"."""
    kind, _, rest = str(value or "").partition(":")
    if kind == "moments" and rest:
        return f"random values with each tensor’s mean and variance of {rest}"
    if kind == "hub" and rest:
        return f"{rest} of the Hugging Face hub"
    return STARTS.get(str(value), text(value))


def sentence(value: Any) -> str:
    """Return words as a sentence."""
    shown = text(value)
    return shown[:1].upper() + shown[1:] + ("" if shown.endswith(".") else ".")
