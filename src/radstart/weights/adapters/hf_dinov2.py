"""DINOv2 in the names of transformers' Dinov2Model and Dinov2WithRegistersModel (RAD-DINO)."""

from radstart.weights.adapters.adapter import Adapter, Tensors
from radstart.weights.adapters.dinov2 import with_registers
from radstart.weights.adapters.renaming import joined, renamed, without_prefix

_LAYER = r"encoder\.layer\.(\d+)\."
_TABLE = (
    (r"embeddings\.(cls_token|register_tokens)", r"\1"),
    (r"embeddings\.position_embeddings", "pos_embed"),
    (r"embeddings\.patch_embeddings\.projection\.(\w+)", r"patch_embed.proj.\1"),
    (_LAYER + r"(norm[12]|mlp\.fc[12])\.(\w+)", r"blocks.\1.\2.\3"),
    (_LAYER + r"attention\.output\.dense\.(\w+)", r"blocks.\1.attn.proj.\2"),
    (_LAYER + r"layer_scale([12])\.lambda1", r"blocks.\1.ls\2.gamma"),
    (_LAYER + r"mlp\.weights_in\.(\w+)", r"blocks.\1.mlp.fc1.\2"),
    (_LAYER + r"mlp\.weights_out\.(\w+)", r"blocks.\1.mlp.fc2.\2"),
    (r"layernorm\.(\w+)", r"norm.\1"),
)
_QKV = tuple(_LAYER + rf"attention\.attention\.{part}\.(\w+)" for part in ("query", "key", "value"))


def matches(tensors: Tensors) -> bool:
    """Return whether names are transformers' for DINOv2, with or without a classifier's wrap."""
    names = _bare(tensors).keys()
    first = "encoder.layer.0."
    own = {first + "layer_scale1.lambda1", first + "attention.attention.query.weight"}
    return own | {"embeddings.position_embeddings"} <= names


def adapt(tensors: Tensors, backbone: str) -> Tensors:
    """Return the tensors under timm's names; query, key and value are joined in this order.

    Raises:
        RadstartError: registers in the file or in the network alone.
    """
    one = joined(_bare(tensors), _QKV, r"blocks.\1.attn.qkv.\2")
    return with_registers(renamed(one, _TABLE), backbone)


def _bare(tensors: Tensors) -> Tensors:
    return without_prefix(without_prefix(tensors, "dinov2."), "dinov2_with_registers.")


ADAPTER = Adapter(
    name="hf_dinov2",
    about="DINOv2 in transformers' names (RAD-DINO): query, key and value apart",
    matches=matches,
    adapt=adapt,
    remainder=("embeddings.mask_token", "classifier.*"),
)
