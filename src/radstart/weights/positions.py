"""Position embeddings: which input size a file's are for, and what becomes of them at another.

A table of absolute positions (ViT, EVA, SAM) is kept as the file has it, and resampled at each
forward to the patches of the image at hand; the network is built so that the table fits. Tables
of relative positions (Swin, BEiT, SAM) fit or are refused.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from radstart.backbones import Backbone, Switch, build
from radstart.core.errors import RadstartError

_RELATIVE = ("relative_position_bias_table", "rel_pos_h", "rel_pos_w")


@dataclass(frozen=True)
class Positions:
    """What a network asks of images and of tables of positions.

    Attributes:
        patch: side of a patch, pixels; 0 = it has no patches of one size.
        kernel: shape of the convolution that embeds patches, () = it has another stem.
        grid: patches along one side at the size it is built for.
        fixed: whether it takes images of that size alone.
        rows: shape of `pos_embed`, () = it has none.
        prefix: rows of `pos_embed` before those of patches (class token, registers).
        relative: shape of every table of relative positions by name.
    """

    patch: int = 0
    kernel: tuple[int, ...] = ()
    grid: int = 0
    fixed: bool = False
    rows: tuple[int, ...] = ()
    prefix: int = 0
    relative: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


def fitted_size(tensors: Mapping[str, Tensor], backbone: Backbone) -> int | None:
    """Return the `img_size` that a file's absolute positions ask for, None = the default one.

    Args:
        tensors: under timm's names.
        backbone: with its switches.

    Raises:
        RadstartError: positions of no square grid, or relative positions of another size.
    """
    size = _absolute_size(tensors, positions_of(backbone))
    if size is not None:
        backbone = Backbone(backbone.name, {**backbone.switches, "img_size": size})
    for name, shape in positions_of(backbone).relative.items():
        if name in tensors and tensors[name].shape[0] != shape[0]:
            raise RadstartError(
                f"relative positions of another size than those of {backbone.text()}",
                name,
                f"windows of {_window(name, tensors[name].shape[0])} patches, "
                f"needs {_window(name, shape[0])}",
                "name the backbone, or the img_size, of these windows",
            )
    return size


def _absolute_size(tensors: Mapping[str, Tensor], asked: Positions) -> int | None:
    table, kernel = tensors.get("pos_embed"), tensors.get("patch_embed.proj.weight")
    if table is None or not asked.grid or table.dim() != len(asked.rows):
        return None
    if kernel is not None and kernel.shape[2:] != asked.kernel[2:]:
        return None  # another network: the kernel itself is refused, with its shape
    tokens = table.shape[1] - asked.prefix if table.dim() == 3 else table.shape[1] ** 2
    side = math.isqrt(max(0, tokens))
    if tokens < 1 or side**2 != tokens:
        raise RadstartError(
            "position embeddings of no square grid",
            "pos_embed",
            f"{table.shape[1]} rows, {asked.prefix} of them for the class token and registers",
            "name a backbone with the file's number of registers",
        )
    return None if side == asked.grid else side * asked.patch


def _window(name: str, rows: int) -> int:
    """Return the side of the window that a table's number of rows is for."""
    if not name.endswith(_RELATIVE[0]):
        return (rows + 1) // 2
    return (math.isqrt(rows) + 1) // 2  # three rows of BEiT's class token change nothing here


def for_size(backbone: Backbone, size: int) -> Backbone:
    """Return the backbone for images of `size` pixels: some networks (Swin, BEiT) take one alone.

    Raises:
        RadstartError: the network does not take images of this size.
    """
    asked = positions_of(backbone)
    if asked.fixed and size != asked.patch * asked.grid:
        backbone = Backbone(backbone.name, {**backbone.switches, "img_size": size})
    positions_text(backbone, size)
    return backbone


def positions_text(backbone: Backbone, size: int, model: nn.Module | None = None) -> str:
    """Return, for the receipt, what becomes of position embeddings at `size` pixels; "" = none.

    Args:
        backbone: as built, `img_size` among its switches where the file asked for one.
        size: of the images, pixels.
        model: that network, where it is built already.

    Raises:
        RadstartError: the network does not take images of this size.
    """
    asked = _read(model) if model is not None else positions_of(backbone)
    if not asked.grid:
        return ""
    built, needed = asked.patch * asked.grid, size // asked.patch
    if size % asked.patch:
        near = [n * asked.patch for n in (needed, needed + 1) if n]
        raise RadstartError(
            f"{backbone.name} has patches of {asked.patch} pixels",
            "image size",
            str(size),
            f"give a multiple of it, such as {' or '.join(map(str, near))}",
        )
    if asked.fixed and size != built:
        raise RadstartError(
            f"{backbone.name} takes images of {built} pixels alone",
            "image size",
            str(size),
            f"give {built}, or the switch img_size={size}",
        )
    if not asked.rows:
        return ""
    kept = f"{asked.grid} x {asked.grid} ({built} px) as in the file"
    if needed == asked.grid:
        return kept
    tables = " (relative ones: linear)" if asked.relative else ""
    return f"{kept}; resampled at each image to {needed} x {needed}, bicubic, antialias{tables}"


def positions_of(backbone: Backbone) -> Positions:
    """Return what a network asks of images and of tables of positions."""
    return _positions_of(backbone.name, tuple(sorted(backbone.switches.items())))


@cache
def _positions_of(name: str, switches: tuple[tuple[str, Switch], ...]) -> Positions:
    with torch.device("meta"):
        return _read(build(Backbone(name, dict(switches)), 0))


def _read(model: nn.Module) -> Positions:
    shapes = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    relative = {key: shape for key, shape in shapes.items() if key.endswith(_RELATIVE)}
    embed: Any = getattr(model, "patch_embed", None)
    grid, size = getattr(embed, "grid_size", None), getattr(embed, "img_size", None)
    if grid is None or size is None:
        return Positions(relative=relative)
    rows = shapes.get("pos_embed", ())
    return Positions(
        patch=size[0] // grid[0],
        kernel=shapes.get("patch_embed.proj.weight", ()),
        grid=grid[0],
        fixed=bool(getattr(embed, "strict_img_size", True)),
        rows=rows,
        prefix=rows[1] - math.prod(grid) if len(rows) == 3 else 0,
        relative=relative,
    )
