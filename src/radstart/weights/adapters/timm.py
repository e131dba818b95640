"""timm's own names, old and new."""

from radstart.weights.adapters.adapter import Adapter, Tensors


def matches(tensors: Tensors) -> bool:
    """Return true: what no other origin claims is taken to have timm's names."""
    return True


def adapt(tensors: Tensors, backbone: str) -> Tensors:
    """Return the tensors as they are."""
    return dict(tensors)


ADAPTER = Adapter(
    name="timm",
    about="timm's names (torchvision's ResNets, DenseNets and InceptionV3 share them)",
    matches=matches,
    adapt=adapt,
)
