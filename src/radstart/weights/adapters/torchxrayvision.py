"""TorchXRayVision's state dicts: DenseNet121 and ResNet50 with one input channel, 18 outputs.

The released DenseNet files are pickled modules, which are not loaded; their state dict is. The
buffer `op_threshs` (operating points of the 18 outputs) is no weight of the backbone. A ResNet's
state dict taken from the library's wrapper has `model.` before every name.
"""

from torch import Tensor

from radstart.weights.adapters import torchvision
from radstart.weights.adapters.adapter import Adapter, Tensors
from radstart.weights.adapters.renaming import without_prefix

PREFIX = "model."
OUTPUTS = 18
THRESHOLDS = "op_threshs"


def matches(tensors: Tensors) -> bool:
    """Return whether the first convolution is grey and there are thresholds or 18 outputs."""
    plain = _unwrapped(tensors)
    grey = any(_is_grey(plain.get(name)) for name in ("features.conv0.weight", "conv1.weight"))
    heads = [plain[name] for name in ("classifier.weight", "fc.weight") if name in plain]
    return grey and (THRESHOLDS in plain or any(len(head) == OUTPUTS for head in heads))


def adapt(tensors: Tensors, backbone: str) -> Tensors:
    """Return torchvision's names, which are timm's; the first convolution stays grey."""
    return torchvision.adapt(_unwrapped(tensors), backbone)


def _unwrapped(tensors: Tensors) -> Tensors:
    wrapped = all(name.startswith(PREFIX) for name in tensors)
    return without_prefix(tensors, PREFIX) if wrapped else tensors


def _is_grey(tensor: Tensor | None) -> bool:
    return tensor is not None and tensor.dim() == 4 and tensor.shape[1] == 1


ADAPTER = Adapter(
    name="torchxrayvision",
    about="TorchXRayVision's state dicts: one input channel, thresholds beside the weights",
    matches=matches,
    adapt=adapt,
    remainder=(THRESHOLDS,),
)
