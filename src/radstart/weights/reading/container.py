"""What a weights file is read into."""

from dataclasses import dataclass

from torch import Tensor

Tensors = dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class Container:
    """What was in a file.

    Attributes:
        tensors: the one dictionary of tensors, without the prefixes of wrappers; Keras's by
            "layer/weight" (`conv1_conv/kernel`), in its own axes, under Keras 2's names.
        path: where it stood, "" = the file is that dictionary; "state_dict", "a / b".
        prefix: removed from every name, e.g. "module.".
        beside: names of what else the file holds (optimizer, epoch, ...).
        version: of the format, as the file says ("Keras 2.4.0, tensorflow"); "" = it does not.
        taken: whether what was asked for by `take` is there.
    """

    tensors: Tensors
    path: str = ""
    prefix: str = ""
    beside: tuple[str, ...] = ()
    version: str = ""
    taken: bool = False
