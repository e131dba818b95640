"""Segment Anything's image encoder: SAM and MedSAM, LVM-Med, transformers' and mmpretrain's names.

The encoder computes at 1024 pixels: 64 x 64 positions, relative positions of 127 steps in the
blocks that see the whole image, windows of 14 x 14 in the others. timm's `samvit_base_patch16` is
the same network there, but for the constant of its layer norms, which is switched to SAM's 1e-6.
The network is built for the file's grid, and keeps the file's tables. It takes images of any
multiple of 16; at other sizes both tables are resampled at every call, the positions bicubically
with antialias, the relative ones linearly, and the receipt says so. Of these SAM's own code does
the second and refuses the first: at other sizes no original exists to be equal to.
Features are the mean of the neck's 256 channels.

LVM-Med's authors train and load their encoder with relative positions alone
(`use_abs_pos = False`), so timm's network is told to have none, and the file is bound to no size;
their classifiers sit before the neck. LVM-Med's ResNet50 has timm's names.

A file of mmdet's trainer (UltraSam) holds the encoder under `backbone.` beside prompt encoder,
decoder and mask head; it is pickled with objects of mmengine, so it must be converted once.
"""

from collections.abc import Mapping

from radstart.backbones import Switch
from radstart.weights.adapters.adapter import Adapter
from radstart.weights.adapters.renaming import having, renaming

_OWN = ("blocks.0.attn.rel_pos_h", "blocks.0.mlp.lin1.weight", "neck.0.weight")
_LAYER = r"layers\.(\d+)\."
_NAMES = ((r"blocks\.(\d+)\.mlp\.lin([12])\.(\w+)", r"blocks.\1.mlp.fc\2.\3"),)
_SHARED = (
    (r"patch_embed\.projection\.(\w+)", r"patch_embed.proj.\1"),
    (_LAYER + r"(attn\..+)", r"blocks.\1.\2"),
)
_TRANSFORMERS = (
    *_SHARED,
    (_LAYER + r"layer_norm([12])\.(\w+)", r"blocks.\1.norm\2.\3"),
    (_LAYER + r"mlp\.lin([12])\.(\w+)", r"blocks.\1.mlp.fc\2.\3"),
    (r"neck\.conv1\.weight", "neck.0.weight"),
    (r"neck\.layer_norm1\.(\w+)", r"neck.1.\1"),
    (r"neck\.conv2\.weight", "neck.2.weight"),
    (r"neck\.layer_norm2\.(\w+)", r"neck.3.\1"),
)
_MMPRETRAIN = (
    *_SHARED,
    (_LAYER + r"ln([12])\.(\w+)", r"blocks.\1.norm\2.\3"),
    (_LAYER + r"ffn\.layers\.0\.0\.(\w+)", r"blocks.\1.mlp.fc1.\2"),
    (_LAYER + r"ffn\.layers\.1\.(\w+)", r"blocks.\1.mlp.fc2.\2"),
    (r"channel_reduction\.(\d)\.(\w+)", r"neck.\1.\2"),
)


def switches(backbone: str) -> Mapping[str, Switch]:
    """Return the constant of SAM's layer norms; timm has 1e-5."""
    return {"ln_eps": 1e-6}


SAM = Adapter(
    name="sam",
    about="Segment Anything (SAM, MedSAM): image_encoder.*, prompt encoder and mask decoder",
    matches=lambda t: having(*_OWN, before=("image_encoder.",))(t) or having(*_OWN, "pos_embed")(t),
    adapt=renaming(_NAMES, "image_encoder."),
    remainder=("prompt_encoder.*", "mask_decoder.*"),
    switches=switches,
)
LVM_MED = Adapter(
    name="lvm_med",
    about="LVM-Med's ViT-B: SAM's image encoder alone, without a position embedding",
    matches=lambda t: having(*_OWN)(t) and "pos_embed" not in t,
    adapt=SAM.adapt,
    switches=lambda backbone: {**switches(backbone), "use_abs_pos": False},
)
HF_SAM = Adapter(
    name="hf_sam",
    about="Segment Anything in transformers' names: vision_encoder.*, prompt encoder and decoder",
    matches=having(
        *("layers.0.attn.rel_pos_h", "layers.0.mlp.lin1.weight", "neck.layer_norm1.weight"),
        before=("vision_encoder.",),
    ),
    adapt=renaming(_TRANSFORMERS, "vision_encoder."),
    remainder=("prompt_encoder.*", "mask_decoder.*", "shared_image_embedding.*"),
    switches=switches,
)
MMDET_SAM = Adapter(
    name="mmdet_sam",
    about="Segment Anything in mmpretrain's names (UltraSam): backbone.layers.*, prompt encoder, "
    "decoder and mask head",
    matches=having(
        *("layers.0.attn.rel_pos_h", "layers.0.ffn.layers.0.0.weight"), before=("backbone.", "")
    ),
    adapt=renaming(_MMPRETRAIN, "backbone."),
    remainder=("prompt_encoder.*", "decoder.*", "bbox_head.*"),
    switches=switches,
)
