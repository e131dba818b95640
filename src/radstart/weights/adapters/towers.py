"""Image towers beside a tower of texts: open_clip (BiomedCLIP), OpenAI's CLIP (CheXzero), MedCLIP.

Features are those before the projection into the space shared with texts (`visual.head.`,
`visual.proj`, MedCLIP's `fc` of 512 outputs without bias): that is no classifier, and it is left
over, as the text tower is.

OpenAI's ViTs have QuickGELU, x sigmoid(1.702 x). timm keeps two networks for each size, which
differ in nothing else: `..._clip_quickgelu_224` has it, `..._clip_224` has GELU and gets the
switch `activation`. Nothing in the tensors tells them apart. Towers of open_clip's own trainings
have these names too, some of them with GELU: state `activation = "gelu"` for those.
"""

from radstart.weights.adapters.adapter import Adapter
from radstart.weights.adapters.renaming import begins, having, renamed, renaming
from radstart.weights.reading.container import Tensors

_TEXT = (
    *("text.*", "transformer.*", "token_embedding.*", "ln_final.*"),
    *("positional_embedding", "text_projection", "logit_scale", "logit_bias"),
)
"""The text tower and the temperature, in both of open_clip's layouts."""

_BLOCK = r"visual\.transformer\.resblocks\.(\d+)\."
_CLASS, _POSITIONS = "visual.class_embedding", "visual.positional_embedding"
_CLIP = (
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


def _clip(tensors: Tensors, backbone: str) -> Tensors:
    """Rename the image tower; class token (D) and positions (N, D) get timm's leading axes."""
    shaped = dict(tensors)
    if _CLASS in shaped and shaped[_CLASS].dim() == 1:
        shaped[_CLASS] = shaped[_CLASS][None, None]
    if _POSITIONS in shaped and shaped[_POSITIONS].dim() == 2:
        shaped[_POSITIONS] = shaped[_POSITIONS][None]
    return renamed(shaped, _CLIP)


OPENCLIP = Adapter(
    name="openclip",
    about="open_clip with a timm image tower (BiomedCLIP): visual.trunk.*, a projection "
    "visual.head.* and a text tower",
    matches=lambda tensors: begins(tensors, "visual.trunk."),
    adapt=renaming((), "visual.trunk."),
    remainder=("visual.head.*", *_TEXT),
)
OPENAI_CLIP = Adapter(
    name="openai_clip",
    about="OpenAI's CLIP with a ViT (CheXzero): visual.transformer.resblocks.*, QuickGELU, a "
    "projection visual.proj and a text tower",
    matches=having(_CLASS, "visual.transformer.resblocks.0.attn.in_proj_weight"),
    adapt=_clip,
    remainder=("visual.proj", *_TEXT, "input_resolution", "context_length", "vocab_size"),
    switches=lambda backbone: {} if "quickgelu" in backbone else {"activation": "quick_gelu"},
)
MEDCLIP_RESNET = Adapter(
    name="medclip_resnet",
    about="MedCLIP's ResNet50: vision_model.model.*, its fc is a projection, a text tower",
    matches=having("conv1.weight", "layer1.0.conv1.weight", before=("vision_model.model.",)),
    adapt=renaming(((r"vision_model\.model\.(?!fc\.)(.+)", r"\1"),)),
    remainder=("vision_model.model.fc.weight", "text_model.*", "logit_scale"),
)
