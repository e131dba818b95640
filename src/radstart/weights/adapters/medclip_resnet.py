"""MedCLIP's ResNet50: torchvision's names under `vision_model.model.`, beside a text tower.

Its `fc` (512 outputs, no bias) is the projection into the space shared with texts, and no
classifier: it keeps its long name and is left over.
"""

from radstart.weights.adapters.adapter import Adapter, Tensors
from radstart.weights.adapters.renaming import renamed

_TOWER = "vision_model.model."
_TABLE = ((r"vision_model\.model\.(?!fc\.)(.+)", r"\1"),)


def matches(tensors: Tensors) -> bool:
    """Return whether the image tower is a ResNet."""
    return {_TOWER + "conv1.weight", _TOWER + "layer1.0.conv1.weight"} <= tensors.keys()


def adapt(tensors: Tensors, backbone: str) -> Tensors:
    """Take the ResNet out of the tower: it has timm's names."""
    return renamed(tensors, _TABLE)


ADAPTER = Adapter(
    name="medclip_resnet",
    about="MedCLIP's ResNet50: vision_model.model.*, its fc is a projection, a text tower",
    matches=matches,
    adapt=adapt,
    remainder=("vision_model.model.fc.weight", "text_model.*", "logit_scale"),
)
