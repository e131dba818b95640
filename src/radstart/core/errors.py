"""The one error for the person at the keyboard.

Raised wherever the input, the files or the options are at fault; printed by the command line as
one line on stderr with exit code 2. Anything else that escapes is a bug and keeps its traceback.
"""

import difflib
from collections.abc import Iterable, Sequence

_SHOWN = 1000  # characters of a place, and of what was received there


class RadstartError(Exception):
    """What is wrong, where, what was received, and what to do about it.

    Args:
        what: the fault in a few words, without a final stop.
        where: file, line, column, option or key at fault.
        got: what was received there.
        remedy: what the person can do next.
    """

    def __init__(self, what: str, where: str = "", got: str = "", remedy: str = "") -> None:
        """Keep the four parts; constructible from one string alone."""
        super().__init__(what, where, got, remedy)
        self.what, self.where, self.got, self.remedy = what, where, got, remedy

    def __str__(self) -> str:
        """Return the one line that a person reads."""
        line = f"{short(self.where, _SHOWN)}: {self.what}" if self.where else self.what
        if self.got:
            line += f" (got {short(self.got, _SHOWN)})"
        if self.remedy:
            line += f"; {self.remedy}"
        return one_line(line)


def one_line(text: str) -> str:
    """Return a text on one line, "?" for what a terminal would not print as it stands."""
    return "".join(sign if sign.isprintable() else "?" for sign in " ".join(text.split()))


def short(text: str, most: int = 60) -> str:
    """Return a text of `most` characters at most: the middle of a longer one is left out."""
    if len(text) <= most:
        return text
    left = (most - 5) // 2
    return f"{text[:left]} ... {text[-left:]}"


def few(names: Sequence[str], most: int = 3, signs: int = 30) -> str:
    """Return the first `most` names, each of `signs` characters at most, and how many follow."""
    shown = ", ".join(short(name, signs) for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")


def nearest(name: str, known: Iterable[str]) -> str:
    """Return "did you mean ...? known: ..." for a name that is none of `known`.

    A long list is left out where there is something near.
    """
    known = [short(name) for name in known]
    name = short(name)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    meant = f"did you mean {' or '.join(close)}? " if close else ""
    if close and len(known) > 20:
        return meant.strip()
    return meant + "known: " + ", ".join(known[:20]) + (", ..." if len(known) > 20 else "")
