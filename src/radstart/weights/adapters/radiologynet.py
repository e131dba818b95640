"""RadiologyNET's checkpoints: `model_state` beside an optimizer's state; ten of torchvision's nets.

ResNets and InceptionV3 stand under `model.`; EfficientNets, MobileNetV3 and VGG16 are written
part by part; DenseNet121 is written twice, as its parts and whole. Its InceptionV3 was built with
the auxiliary classifier.
"""

from torch import Tensor, equal

from radstart.core.errors import RadstartError
from radstart.weights.adapters import torchvision
from radstart.weights.adapters.adapter import Adapter, Tensors

PREFIX = "model."
CLASSES = 36  # pseudo-labels of the pretraining
CLASSIFIERS = ("model.fc", "classifier.1", "classifier.3", "classifier.6")


def matches(tensors: Tensors) -> bool:
    """Return whether tensors are written twice, or end in RadiologyNET's number of classes."""
    if not all(name.startswith((PREFIX, "features.", "classifier.")) for name in tensors):
        return False
    if "features.conv0.weight" in tensors:
        return f"{PREFIX}features.conv0.weight" in tensors
    last = [tensors[f"{name}.weight"] for name in CLASSIFIERS if f"{name}.weight" in tensors]
    return bool(last) and last[-1].dim() == 2 and len(last[-1]) == CLASSES


def adapt(tensors: Tensors, backbone: str) -> Tensors:
    """Take one copy of each tensor, without the prefix, under timm's name.

    Raises:
        RadstartError: two copies differ.
    """
    single: Tensors = {}
    for name, tensor in tensors.items():
        plain = name.removeprefix(PREFIX)
        if plain in single and not _same(single[plain], tensor):
            raise RadstartError(
                "the two copies of a tensor differ: which one was trained is not known",
                "names in the file",
                f"{plain} and {PREFIX}{plain}",
                "fetch the file again",
            )
        single.setdefault(plain, tensor)
    return torchvision.adapt(single, backbone)


def _same(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and equal(one, other)


ADAPTER = Adapter(
    name="radiologynet",
    about="RadiologyNET's model_state: torchvision's networks under model., DenseNet121 twice",
    matches=matches,
    adapt=adapt,
    remainder=("AuxLogits.*",),
    switches=torchvision.switches,
    take="model_state",
)
