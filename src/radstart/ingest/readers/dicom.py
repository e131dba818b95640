"""DICOM: decoded frames in modality units, with what a header says of how to show them."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from radstart.ingest.frames import Frame, Unreadable, Values
from radstart.ingest.readers.dicom_palette import coloured
from radstart.ingest.readers.dicom_pixels import reader
from radstart.ingest.readers.dicom_source import Source, broken, opened, quiet
from radstart.ingest.readers.dicom_tables import (
    ignored,
    inverted,
    padding_of,
    rescale_of,
    rescaled,
    voi_tables,
    windows_of,
)


def frames(path: Path, which: Sequence[int]) -> Iterator[Frame]:
    """Decode frames, one at a time, in the order asked for.

    Grey values come after rescale or modality table, colours as RGB of 8 bits; neither window,
    VOI table nor inversion is applied. Padding is found in the stored values.

    Args:
        path: of the file.
        which: indices of frames, from 0.

    Raises:
        Unreadable: no DICOM, no pixel data, of a kind not served, cut off or broken.
    """
    with opened(path) as source:
        decode = reader(source)
        left = ignored(source.header)
        for index in which:
            stored = decode(index)
            with quiet():
                try:
                    if stored.ndim == 3 or source.layout.photometric == "PALETTE COLOR":
                        frame = _colour(source, stored, index, left)
                    else:
                        frame = _grey(source, stored, index, left)
                except Unreadable:
                    raise
                except Exception as error:  # headers hold anything
                    raise broken("what its values mean cannot be read", error) from None
            yield frame


def _grey(source: Source, stored: Values, index: int, left: tuple[str, ...]) -> Frame:
    header, layout, big = source.header, source.layout, _big(source)
    padding, unpadded = padding_of(header, stored, layout)
    rescale = rescale_of(header, index, layout, big)
    values, limits = rescaled(stored, rescale, layout)
    windows, fewer = windows_of(header, index, stored.dtype.kind == "f")
    tables, missing = voi_tables(header, layout.signed or limits[0] < 0, big)
    return Frame(
        values=values,
        index=index,
        unit=rescale.unit,
        limits=limits,
        windows=windows,
        tables=tables,
        inverted=inverted(header, layout),
        padding=padding,
        steps=(*rescale.steps, *unpadded, *fewer, *missing, *left),
    )


def _colour(source: Source, stored: Values, index: int, left: tuple[str, ...]) -> Frame:
    layout = source.layout
    if layout.photometric == "PALETTE COLOR":
        values = coloured(stored, source.header, layout.signed, _big(source))
        steps = ["palette to RGB"]
    else:
        values, steps = _eight_bits(stored, source)
    return Frame(values=values, index=index, steps=(*steps, *left))


def _eight_bits(stored: Values, source: Source) -> tuple[NDArray[np.uint8], list[str]]:
    layout = source.layout
    if source.keyword != "PixelData" or layout.signed:
        raise Unreadable("colours that are floating-point or signed", "export it as RGB")
    steps = ["YBR to RGB"] if layout.photometric.startswith("YBR") else []
    if stored.dtype == np.uint8:
        return stored, steps
    shift = max(0, layout.stored - 8)
    return (stored >> shift).astype(np.uint8), [*steps, "colours to 8 bits"]


def _big(source: Source) -> bool:
    return source.header.original_encoding[1] is False
