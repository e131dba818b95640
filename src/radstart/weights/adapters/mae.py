"""Masked autoencoders (medical MAE): the encoder of a ViT, or of a U-Net over DenseNet121."""

from radstart.weights.adapters.adapter import Adapter, Tensors
from radstart.weights.adapters.renaming import without_prefix

_ENCODER = "model.encoder."


def matches(tensors: Tensors) -> bool:
    """Return whether there is a decoder beside a ViT's or a U-Net's encoder."""
    vit = {"decoder_embed.weight", "mask_token", "pos_embed", "blocks.0.norm1.weight"}
    unet = any(name.startswith("model.decoder.") for name in tensors)
    return vit <= tensors.keys() or (unet and any(n.startswith(_ENCODER) for n in tensors))


def adapt(tensors: Tensors, backbone: str) -> Tensors:
    """Return the tensors; a ViT's encoder has timm's names, a U-Net's loses its prefix.

    The trained norm stays `norm`, after which the class token is the image's feature. The
    original's fine-tuning pools patches instead and starts a fresh `fc_norm`: a network with
    one is refused by the loader, since no tensor of the file belongs there.
    """
    return without_prefix(tensors, _ENCODER)


ADAPTER = Adapter(
    name="mae",
    about="masked autoencoders: ViT encoder beside `decoder_*`, or `model.encoder.` of a U-Net",
    matches=matches,
    adapt=adapt,
    remainder=(
        "mask_token",
        "decoder_*",
        "model.decoder.*",
        "model.segmentation_head.*",
    ),
)
