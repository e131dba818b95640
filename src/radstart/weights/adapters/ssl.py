"""A backbone inside somebody's training module: Lightning, solo-learn, Lightly, MoCo, BYOL, VISSL.

The backbone stands under words that name its role ("model.backbone."), heads of the pretraining
and the slow copy that some methods keep beside it. Exactly one backbone is taken: where a file
holds two that could both be meant (student and teacher, a network and its average), none is.
"""

from radstart.core.errors import RadstartError
from radstart.weights.adapters import children, torchvision
from radstart.weights.adapters.adapter import Adapter
from radstart.weights.reading.container import Tensors

WRAPPERS = frozenset(
    (
        *("model", "net", "network", "backbone", "encoder", "trunk", "base_model", "base_encoder"),
        *("feature_extractor", "encoder_q", "online_encoder", "online_network", "_feature_blocks"),
        *("student", "teacher", "student_backbone", "teacher_backbone"),
        *("student_model", "teacher_model", "model_ema", "ema_model", "ema", "average_model"),
    )
)
"""Words before the names of a backbone's tensors."""

HEADS = (
    *("projector", "projection_head", "predictor", "prediction_head", "prototypes"),
    *("decoder", "segmentation_head", "student_head", "teacher_head"),
)
COPIES = (
    *("momentum_backbone", "momentum_projector", "momentum_predictor", "momentum_classifier"),
    *("backbone_momentum", "projection_head_momentum", "encoder_k", "momentum_encoder"),
    *("target_encoder", "target_network", "target_projector"),
)
SIDE = (
    *HEADS,
    *COPIES,
    *("classifier", "online_classifier", "head", "criterion", "loss", "loss_fn"),
    *("queue", "queue_ptr", "mask_token"),
)
"""What a training keeps beside the backbone, slow copies included: allowed to be left over."""


def matches(tensors: Tensors) -> bool:
    """Return whether there is a network under words that name its role."""
    networks = _networks(tensors)
    return bool(networks) and all(
        prefix or children.are_numbered(inside) for prefix, inside in networks.items()
    )


def adapt(tensors: Tensors, backbone: str) -> Tensors:
    """Take the one network out of its wrapper; all else keeps its names.

    Raises:
        RadstartError: two networks, or one that needs switches which the wrapper's names hide.
    """
    networks = _networks(tensors)
    if len(networks) > 1:
        raise RadstartError(
            "several networks in one file: which one is meant is not known",
            "names in the file",
            ", ".join(f"{prefix}*" for prefix in sorted(networks)),
            f"name the one to take: --take {min(networks).removesuffix('.')}",
        )
    if not networks:
        return dict(tensors)
    ((prefix, inside),) = networks.items()
    if children.are_numbered(inside):
        inside = children.named(inside)
    if torchvision.matches(inside) and torchvision.switches(backbone):
        raise RadstartError(
            f"torchvision's {backbone} in a wrapper: its batch norms have another eps than timm's",
            f"{prefix}*",
            remedy=f"save its state dict without {prefix} and load it with origin torchvision",
        )
    inside = torchvision.adapt(inside, backbone)
    beside = {name: t for name, t in tensors.items() if _prefix(name) != prefix}
    for name in beside.keys() & inside.keys():
        raise RadstartError(
            "one name inside and outside the wrapper", "names in the file", name,
            f"save what is under {prefix} on its own",
        )  # fmt: skip
    return inside | beside


def _networks(tensors: Tensors) -> dict[str, Tensors]:
    """Return what stands under each prefix, where that has convolutions and is no side network."""
    groups: dict[str, Tensors] = {}
    for name, tensor in tensors.items():
        prefix = _prefix(name)
        groups.setdefault(prefix, {})[name.removeprefix(prefix)] = tensor
    return {
        prefix: group
        for prefix, group in groups.items()
        if any(t.dim() == 4 and n.partition(".")[0] not in SIDE for n, t in group.items())
    }


def _prefix(name: str) -> str:
    """Return the words before a tensor's own name: "model.backbone." or ""."""
    words = name.split(".")
    count = 0
    while count < len(words) - 1 and words[count] in WRAPPERS:
        count += 1
    return "".join(f"{word}." for word in words[:count])


SSL = Adapter(
    name="ssl",
    about="a backbone under a training module's words (model., backbone., student., ...), "
    "with or without the heads of its pretraining",
    matches=matches,
    adapt=adapt,
    remainder=(
        "AuxLogits.*",
        "fc.[0-9]*",  # an MLP in the place of the classifier
        *SIDE,
        *(f"{word}.*" for word in SIDE),
        *(f"*.{word}.*" for word in HEADS),
    ),
)
