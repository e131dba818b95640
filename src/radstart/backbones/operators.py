"""Let timm import beside a torch whose torchvision operators do not load.

timm imports torchvision, and torchvision's import registers fake kernels for two compiled
operators. Where its binary was built for another torch, these do not exist and the import fails
("operator torchvision::nms does not exist"). radstart calls neither, so their names are declared
here, once, before the import. The library object must stay alive.
"""

import torch

_DECLARED: list[torch.library.Library] = []
_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


def declare_torchvision_operators() -> None:
    """Declare `torchvision::nms` and `torchvision::qnms` unless torchvision brings them."""
    if _DECLARED:
        return
    try:
        import torchvision  # type: ignore[import-untyped,unused-ignore]  # noqa: F401
    except (ImportError, RuntimeError):
        library = torch.library.Library("torchvision", "DEF")
        for schema in _SCHEMAS.values():
            library.define(schema)
        _DECLARED.append(library)
