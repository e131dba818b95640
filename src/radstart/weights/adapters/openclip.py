"""open_clip's files whose image tower is a timm network under `visual.trunk.` (BiomedCLIP).

The projection into the space shared with texts (`visual.head.`) is no classifier: it is left
over, as the text tower is.
"""

from radstart.weights.adapters.adapter import Adapter, Tensors
from radstart.weights.adapters.renaming import without_prefix

_TRUNK = "visual.trunk."
TEXT = (
    *("text.*", "transformer.*", "token_embedding.*", "ln_final.*"),
    *("positional_embedding", "text_projection", "logit_scale", "logit_bias"),
)
"""The text tower and the temperature, in both of open_clip's layouts."""


def matches(tensors: Tensors) -> bool:
    """Return whether there is a trunk."""
    return any(name.startswith(_TRUNK) for name in tensors)


def adapt(tensors: Tensors, backbone: str) -> Tensors:
    """Take the trunk's tensors out of the tower: they have timm's names."""
    return without_prefix(tensors, _TRUNK)


ADAPTER = Adapter(
    name="openclip",
    about="open_clip with a timm image tower (BiomedCLIP): visual.trunk.*, a projection "
    "visual.head.* and a text tower",
    matches=matches,
    adapt=adapt,
    remainder=("visual.head.*", *TEXT),
)
