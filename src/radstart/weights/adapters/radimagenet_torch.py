"""RadImageNet's official PyTorch files: ResNet50.pt, InceptionV3.pt, DenseNet121.pt.

They hold torchvision's networks as `Backbone.backbone = nn.Sequential(*children)`, so that names
are numbers: "backbone.4.0.conv1.weight". Convolutions have no biases and the strides are
torchvision's: whatever these files are, they are not the Keras networks of the paper.
"""

from radstart.weights.adapters import children, torchvision
from radstart.weights.adapters.adapter import Adapter, Tensors
from radstart.weights.adapters.renaming import without_prefix

PREFIX = "backbone."


def matches(tensors: Tensors) -> bool:
    """Return whether every name is "backbone." and a number."""
    return all(name.startswith(PREFIX) for name in tensors) and children.are_numbered(
        without_prefix(tensors, PREFIX)
    )


def adapt(tensors: Tensors, backbone: str) -> Tensors:
    """Give the layers their names."""
    return torchvision.adapt(children.named(without_prefix(tensors, PREFIX)), backbone)


ADAPTER = Adapter(
    name="radimagenet_torch",
    about="RadImageNet's official .pt files: torchvision's layers under numbers",
    matches=matches,
    adapt=adapt,
    remainder=("AuxLogits.*",),
)
