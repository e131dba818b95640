"""Other names for the same tensors, by tables of patterns."""

import re
from collections.abc import Callable, Iterable, Sequence

import torch

from radstart.core.errors import RadstartError
from radstart.weights.reading.container import Tensors

Table = Sequence[tuple[str, str]]


def having(*names: str, before: Sequence[str] = ("",)) -> Callable[[Tensors], bool]:
    """Return an adapter's `matches`: all of these names are there, behind one of `before`."""
    return lambda tensors: any(all(prefix + n in tensors for n in names) for prefix in before)


def begins(tensors: Tensors, *prefixes: str) -> bool:
    """Return whether a name begins with one of the prefixes."""
    return any(name.startswith(prefixes) for name in tensors)


def renaming(table: Table, *prefixes: str) -> Callable[[Tensors, str], Tensors]:
    """Return an adapter's `adapt`: prefixes are removed in turn, then names follow a table."""

    def adapt(tensors: Tensors, backbone: str) -> Tensors:
        for prefix in prefixes:
            tensors = without_prefix(tensors, prefix)
        return renamed(tensors, table)

    return adapt


def renamed(tensors: Tensors, table: Table) -> Tensors:
    r"""Return the same tensors; the first pattern that matches a whole name gives the new one.

    Args:
        tensors: by their old names.
        table: (regular expression, replacement with `\1` for its groups); names that none
            matches stay.

    Raises:
        RadstartError: two tensors would get one name.
    """
    rules = [(re.compile(pattern), new) for pattern, new in table]

    def name(old: str) -> str:
        matched = ((rule.fullmatch(old), new) for rule, new in rules)
        return next((match.expand(new) for match, new in matched if match), old)

    return renamed_by(tensors, name)


def renamed_by(tensors: Tensors, name: Callable[[str], str]) -> Tensors:
    """Return the same tensors under the names that a function gives.

    Raises:
        RadstartError: two tensors would get one name.
    """
    found: Tensors = {}
    for old, tensor in tensors.items():
        new = name(old)
        if new in found:
            raise RadstartError("two tensors of the file are one in the network", new, old)
        found[new] = tensor
    return found


def without_prefix(tensors: Tensors, prefix: str) -> Tensors:
    """Return the tensors; the prefix is removed from the names that begin with it.

    Raises:
        RadstartError: a name is there with and without the prefix.
    """
    return renamed_by(tensors, lambda name: name.removeprefix(prefix))


def joined(tensors: Tensors, parts: Iterable[str], whole: str) -> Tensors:
    r"""Return the tensors, those of `parts` joined along their first axis under `whole`.

    Args:
        tensors: by name.
        parts: patterns of names, in the order of joining; each has the same groups.
        whole: the name of what is joined, with `\1` for a group. Where not every part is there,
            none is touched.
    """
    first, *others = [re.compile(pattern) for pattern in parts]
    taken: dict[str, dict[str, str]] = {}  # whole -> pattern -> name
    for name in tensors:
        for rule in (first, *others):
            if match := rule.fullmatch(name):
                taken.setdefault(match.expand(whole), {})[rule.pattern] = name
    result = dict(tensors)
    for target, names in taken.items():
        if len(names) == 1 + len(others):
            pieces = [result.pop(names[rule.pattern]) for rule in (first, *others)]
            result[target] = torch.cat(pieces)
    return result
