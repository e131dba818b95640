"""Tensors into a network, whole or not at all, with a receipt."""

from dataclasses import asdict, dataclass
from pathlib import Path

from torch import Tensor, nn

from radstart.backbones import Backbone, classifier_keys
from radstart.core.errors import RadstartError


@dataclass(frozen=True)
class Receipt:
    """What a load did.

    Attributes:
        file: name of the weights file.
        sha256: its hash.
        assigned: tensors copied into the network.
        defaulted: names that the file lacks and that hold no trained value
            (`num_batches_tracked` alone).
        dropped: classifier tensors of the file, left out on purpose.
        parameters_assigned: numbers in the assigned trainable tensors.
        parameters_total: numbers in all trainable tensors of the backbone.
        notes: what else a reader must know.
    """

    file: str
    sha256: str
    assigned: int
    renamed: int
    defaulted: tuple[str, ...]
    dropped: tuple[str, ...]
    parameters_assigned: int
    parameters_total: int
    notes: tuple[str, ...] = ()

    def record(self) -> dict[str, object]:
        """Return the receipt as TOML and JSON state it."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(self).items()
        }


def load_whole(
    model: nn.Module, backbone: Backbone, tensors: dict[str, Tensor], path: Path, sha256: str
) -> Receipt:
    """Copy `tensors` into the backbone of `model`; its own classifier stays as it is.

    Only classifier tensors may be left over in the file, and only `num_batches_tracked` may be
    missing from it; shapes must be equal.

    Raises:
        RadstartError: anything else is missing, unexpected or of another shape; `model` is then
            unchanged.
    """
    head = classifier_keys(backbone)
    own = {name: tensor for name, tensor in model.state_dict().items() if name not in head}
    dropped = tuple(sorted(name for name in tensors if name in head))
    given = {name: tensor for name, tensor in tensors.items() if name not in head}
    missing = [n for n in own if n not in given and not n.endswith("num_batches_tracked")]
    unexpected = [name for name in given if name not in own]
    shapes = [n for n in own if n in given and own[n].shape != given[n].shape]
    if missing or unexpected or shapes:
        first = [f"missing {missing[0]}"] if missing else []
        first += [f"unexpected {unexpected[0]}"] if unexpected else []
        first += [
            f"{name} is {tuple(given[name].shape)}, needs {tuple(own[name].shape)}"
            for name in shapes[:1]
        ]
        raise RadstartError(
            f"weights do not fit {backbone.text()}: {len(missing)} of {len(own)} tensors missing, "
            f"{len(unexpected)} unexpected, {len(shapes)} of another shape",
            str(path),
            "; ".join(first),
            "name the right --backbone; nothing was loaded",
        )
    for name, tensor in own.items():
        if name in given:
            tensor.copy_(given[name])
    trained = {name: p.numel() for name, p in model.named_parameters() if name not in head}
    return Receipt(
        file=path.name,
        sha256=sha256,
        assigned=sum(name in given for name in own),
        renamed=0,
        defaulted=tuple(name for name in own if name not in given),
        dropped=dropped,
        parameters_assigned=sum(count for name, count in trained.items() if name in given),
        parameters_total=sum(trained.values()),
    )
