"""What readers give: what a file says of itself, and its images as values that mean something."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[Any]
Tags = Mapping[str, str | int | float | tuple[float, ...] | None]
"""By the names of the columns of a dataset's rows, and by those that only volumes need."""


class Unreadable(Exception):  # noqa: N818
    """A file, or an image of one, that cannot be used: the reason, and what mends it.

    Neither holds anything out of a header: no name, date, number or text of a patient.
    """

    def __init__(self, reason: str, remedy: str) -> None:
        """Keep both."""
        super().__init__(reason, remedy)
        self.reason, self.remedy = reason, remedy


@dataclass(frozen=True)
class Scan:
    """What a file says of itself, its pixels not decoded.

    Attributes:
        reader: the name of the reader, e.g. "dicom".
        images: number of 2-D images in it: frames or slices.
        tags: of the whole file. Identifiers are still plain: they leave memory only as hashes.
        each: of every image, where they differ: column -> values (images,).
        volume: whether the images are the slices of one volume, in order.
    """

    reader: str
    images: int
    tags: Tags
    each: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    volume: bool = False


@dataclass(frozen=True)
class Window:
    """A range of values that is shown.

    Attributes:
        name: e.g. "brain", or the header's own explanation where it is a known term; "" = none.
        center, width: in the frame's unit.
        function: "LINEAR", "LINEAR_EXACT" or "SIGMOID" (DICOM PS3.3 C.11.2.1).
    """

    name: str
    center: float
    width: float
    function: str = "LINEAR"


@dataclass(frozen=True, eq=False)
class Table:
    """A look-up table (DICOM PS3.3 C.11.1.1): value `first` gives `values[0]`, ends are held.

    Attributes:
        first: first value mapped.
        values: (N,) integers.
        bits: of an output value.
    """

    first: int
    values: NDArray[np.int64]
    bits: int


@dataclass(frozen=True, eq=False)
class Frame:
    """One image, decoded, in modality units: what a reader gives and `meaning` renders.

    Attributes:
        values: (H, W) integers or float32 after rescale or modality table, or (H, W, 3) uint8 RGB.
        index: of the image inside its file, from 0.
        unit: of the values: "HU", "" = not known.
        limits: (low, high) of what the stored bits can hold, in the same unit.
        windows: of the header, in its order.
        tables: VOI look-up tables of the header, in its order; on the values.
        inverted: low values are shown bright (MONOCHROME1, or Presentation LUT shape INVERSE).
        padding: (H, W) bool, where there is no image; None = everywhere is image.
        steps: what was done already, in words without any text of the header.
        mask: (H, W) uint8 label of every pixel, where the source has one.
        sample: (N,) values out of the whole volume that the image is a slice of: where no window is
            stated they tell what is black and white in all of its slices. None = the image alone.
    """

    values: Values
    index: int
    unit: str = ""
    limits: tuple[float, float] = (0.0, 255.0)
    windows: tuple[Window, ...] = ()
    tables: tuple[Table, ...] = ()
    inverted: bool = False
    padding: NDArray[np.bool_] | None = None
    steps: tuple[str, ...] = ()
    mask: NDArray[np.uint8] | None = None
    sample: Values | None = None
