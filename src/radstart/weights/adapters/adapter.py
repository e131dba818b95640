"""What an adapter is: one origin's names, layouts and switches, as plain functions."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from radstart.backbones import Switch
from radstart.weights.reading.container import Tensors


@dataclass(frozen=True)
class Adapter:
    """How the tensors of one origin become those of timm's network.

    Attributes:
        name: key of ADAPTERS; the `origin` of catalog entries, cards and receipts.
        about: the layout in one line, for docs and `weights show`.
        matches: whether tensors of a file (out of their container, without wrappers' prefixes)
            are in this layout; decided by names and shapes, never by what a file says of itself.
        adapt: (tensors, timm name of the backbone) -> tensors under timm's names. Pure: the given
            ones are not changed. Renamed and permuted tensors are views, so that the receipt can
            follow them; what is computed (folded biases, joined q, k, v) is new. Names it does
            not know are left as they are: dropping is the loader's.
        remainder: globs of adapted names that this origin may leave over (heads, decoders,
            auxiliary classifiers): all else that is left over is refused.
        switches: what the origin's network needs beside its tensors, by timm name.
        take: the entry to choose where a file holds several dictionaries of tensors, "" = none.
    """

    name: str
    about: str
    matches: Callable[[Tensors], bool]
    adapt: Callable[[Tensors, str], Tensors]
    remainder: tuple[str, ...] = ()
    switches: Callable[[str], Mapping[str, Switch]] = lambda backbone: {}
    take: str = ""
