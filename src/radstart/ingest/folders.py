"""What the folders of an image say of it: its class and split, its modality and region."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import PurePosixPath
from types import MappingProxyType

from radstart.dataset import part_of_split
from radstart.ingest.anatomy import region
from radstart.ingest.listing import printable
from radstart.ingest.privacy import known_modality
from radstart.ingest.readers import SUFFIXES

MODALITIES = frozenset({"CT", "MR", "MRI", "US", "CR", "DX", "XR", "MG", "PT", "NM", "RF", "XA"})
_PLAIN = frozenset({"images", "image", "imgs", "img", "png", "jpg", "jpeg", "dicom", "dcm"})
_SHORT: Mapping[str, str] = MappingProxyType(
    {"af": "ankle+foot", "gb": "abdomen", "cbd": "abdomen", "ivc": "abdomen", "aorta": "abdomen",
     "portal_vein": "abdomen", "fibroid": "pelvis"}
)  # fmt: skip
"""RadImageNet's words for regions that mean something else, or nothing, elsewhere."""


_IMAGES = _PLAIN | {"imagestr"}
_MASKS = frozenset(
    {"mask", "masks", "segmentation", "segmentations", "label", "labels", "labelstr"}
)
_OF_MASK = re.compile(r"[ _-]+(mask|seg|segmentation)([ _-]?\d+)?$", re.IGNORECASE)
_SHORT_END = re.compile(r"[ _-]+[A-Za-z0-9]{1,2}$")  # of a second mask: _b, _2
_SUFFIXES = (*SUFFIXES, ".npy", ".nii", ".nii.gz", ".nrrd", ".mha", ".mhd")


@lru_cache(maxsize=4096)
def said_by(folder: str) -> Mapping[str, str]:
    """Return modality and anatomy of MODALITY/REGION/... folders (RadImageNet's); {} = none."""
    parts = PurePosixPath(folder).parts
    place = next((k for k, part in enumerate(parts) if part.upper() in MODALITIES), None)
    if place is None:
        return {}
    found = {"modality": known_modality(parts[place]) or ""}
    below = parts[place + 1] if place + 1 < len(parts) else ""
    named = _SHORT.get(below.lower()) or region({"body_part": below})[0]
    return found | ({"anatomy": named} if named else {})


def classes_of(paths: Sequence[str]) -> list[dict[str, str]]:
    """Return the label and the split that the folders of each path say; {} where none does.

    Folders that all share, and those that only say that images lie in them, do not count. Where
    all that are then outermost are splits (train, val, test), they are the split. The outermost
    that is left is the class: what lies below (patients, series) is not looked at. Below a folder
    named by a modality (RadImageNet's layout) all levels from there on are the class:
    MR__knee__normal, US__gb.

    Args:
        paths: with /.
    """
    levels = [PurePosixPath(path).parts[:-1] for path in paths]
    levels = [tuple(name for name in one if name.lower() not in _PLAIN) for one in levels]
    levels = _without_shared(levels)
    splits = [""] * len(levels)
    tops = {one[0] for one in levels if one}
    if tops and all(part_of_split(name) for name in tops):
        splits = [one[0] if one else "" for one in levels]
        levels = _without_shared([one[1:] for one in levels])
    found = []
    for one, split in zip(levels, splits, strict=True):
        label = one[0] if one else ""
        if label.upper() in MODALITIES:
            label = "__".join(one)
        values = {"label": printable(label), "split": split}
        found.append({name: value for name, value in values.items() if value})
    return found


def masks_beside(paths: Sequence[str]) -> dict[int, tuple[int, ...]]:
    """Return image -> its masks, as places in `paths`.

    A mask is called like its image with _mask, _seg or _segmentation (and a number) behind, or lies
    in a folder masks, segmentations or labels, where that of its image is called images, or not; a
    second one there may have a number or a letter behind.
    """
    images: dict[tuple[str, ...], int] = {}
    masks: list[tuple[tuple[str, ...], int]] = []
    for place, path in enumerate(paths):
        *folders, name = path.split("/")
        suffix = next((end for end in _SUFFIXES[::-1] if name.lower().endswith(end)), "")
        if not suffix:
            continue
        stem = name[: -len(suffix)]
        short = _OF_MASK.sub("", stem)
        key = (*(one for one in folders if one.lower() not in _IMAGES | _MASKS), short)
        if short != stem or any(one.lower() in _MASKS for one in folders):
            masks.append((key, place))
        else:
            images.setdefault(key, place)
    found: dict[int, tuple[int, ...]] = {}
    for key, place in masks:
        alike = (key, (*key[:-1], _SHORT_END.sub("", key[-1])))
        image = next((images[one] for one in alike if one in images), None)
        if image is not None:
            found[image] = (*found.get(image, ()), place)
    return found


def _without_shared(levels: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Return folders without the outermost that all have; files that lie right in those: none."""
    depth = 0
    inside = [one for one in levels if one]
    while len(tops := {one[depth] for one in inside}) == 1 and tops.pop().upper() not in MODALITIES:
        below = [one for one in inside if len(one) > depth + 1]
        if not below:
            break
        inside, depth = below, depth + 1
    return [one[depth:] for one in levels]
