"""OpenAI's CLIP with a ViT as its image tower (CheXzero).

Its activation is QuickGELU, x sigmoid(1.702 x). timm keeps two networks for each size, which
differ in nothing else: `..._clip_quickgelu_224` has it, `..._clip_224` has GELU and gets the
switch `activation`. Nothing in the tensors tells them apart. Towers of open_clip's own trainings
have these names too, some of them with GELU: state `activation = "gelu"` for those.

Features are those before `visual.proj`, the projection into the space shared with texts, which
is no classifier: it is left over, as the text tower is.
"""

from collections.abc import Mapping

from radstart.backbones import Switch
from radstart.weights.adapters.adapter import Adapter, Tensors
from radstart.weights.adapters.openclip import TEXT
from radstart.weights.adapters.renaming import renamed

_BLOCK = r"visual\.transformer\.resblocks\.(\d+)\."
_CLASS, _POSITIONS = "visual.class_embedding", "visual.positional_embedding"
_TABLE = (
    (r"visual\.class_embedding", "cls_token"),
    (r"visual\.positional_embedding", "pos_embed"),
    (r"visual\.conv1\.weight", "patch_embed.proj.weight"),
    (r"visual\.ln_pre\.(\w+)", r"norm_pre.\1"),
    (r"visual\.ln_post\.(\w+)", r"norm.\1"),
    (_BLOCK + r"ln_([12])\.(\w+)", r"blocks.\1.norm\2.\3"),
    (_BLOCK + r"attn\.in_proj_(\w+)", r"blocks.\1.attn.qkv.\2"),
    (_BLOCK + r"attn\.out_proj\.(\w+)", r"blocks.\1.attn.proj.\2"),
    (_BLOCK + r"mlp\.c_fc\.(\w+)", r"blocks.\1.mlp.fc1.\2"),
    (_BLOCK + r"mlp\.c_proj\.(\w+)", r"blocks.\1.mlp.fc2.\2"),
)


def matches(tensors: Tensors) -> bool:
    """Return whether the image tower is CLIP's own ViT."""
    return {_CLASS, "visual.transformer.resblocks.0.attn.in_proj_weight"} <= tensors.keys()


def adapt(tensors: Tensors, backbone: str) -> Tensors:
    """Rename the image tower; class token (D) and positions (N, D) get timm's leading axes."""
    shaped = dict(tensors)
    if _CLASS in shaped and shaped[_CLASS].dim() == 1:
        shaped[_CLASS] = shaped[_CLASS][None, None]
    if _POSITIONS in shaped and shaped[_POSITIONS].dim() == 2:
        shaped[_POSITIONS] = shaped[_POSITIONS][None]
    return renamed(shaped, _TABLE)


def switches(backbone: str) -> Mapping[str, Switch]:
    """Return QuickGELU where timm's network of this name has another activation."""
    return {} if "quickgelu" in backbone else {"activation": "quick_gelu"}


ADAPTER = Adapter(
    name="openai_clip",
    about="OpenAI's CLIP with a ViT (CheXzero): visual.transformer.resblocks.*, QuickGELU, a "
    "projection visual.proj and a text tower",
    matches=matches,
    adapt=adapt,
    remainder=("visual.proj", *TEXT, "input_resolution", "context_length", "vocab_size"),
    switches=switches,
)
