"""From values with a meaning to a picture: window or table, inversion, padding, depth and shape.

The order is DICOM's (PS3.3 C.11.2, C.11.6): modality values come in; then the VOI table or the
window, then the presentation's inversion, then padding pixels become black. What was done to a
picture stands in its `steps`.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from radstart.core.errors import RadstartError, nearest
from radstart.ingest.frames import Frame, Table, Unreadable, Values, Window

PRESETS: Mapping[str, Window] = MappingProxyType(
    {
        "brain": Window("brain", 40, 80),
        "subdural": Window("subdural", 75, 215),
        "bone": Window("bone", 400, 1800),
        "lung": Window("lung", -600, 1500),
        "mediastinum": Window("mediastinum", 50, 350),
        "abdomen": Window("abdomen", 50, 400),
    }
)
"""Usual windows of CT, in Hounsfield units."""

SHAPES = ("pad", "squash", "equalise", "none")
_CHANNELS = 3
_TOP = 65535

Pixels = NDArray[np.uint8] | NDArray[np.uint16]


@dataclass(frozen=True)
class Rendering:
    """How values become pictures.

    Attributes:
        windows: each "first" (the header's first table, else its first window), "all" (every table
            and window of the header), or the name of a preset. A preset needs Hounsfield units.
        stack: up to three windows become the channels of one picture instead of pictures of their
            own. Two windows: the last one is repeated. More than three: the rest is left out.
        depth: bits of a picture: 8 shows a window; 16 keeps the whole stored range, no window
            (values that were stored with 8 bits stay uint8).
        percentiles: shown from black to white where a header has no window (%, 8 bits only): those
            of the image, or of the whole volume that a file holds; pixels that are 8 bits already
            are taken as they are.
        shape: steps after that, in this order: "pad" to a square with black, "squash" to a square
            of the longest side, "equalise" the histogram (8 bits, grey only), "none".
    """

    windows: tuple[str, ...] = ("first",)
    stack: bool = False
    depth: Literal[8, 16] = 8
    percentiles: tuple[float, float] = (0.5, 99.5)
    shape: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot be done.

        Raises:
            RadstartError: a name is unknown, or two wishes contradict each other.
        """
        _known("window", self.windows, ("first", "all", *PRESETS))
        _known("shape", self.shape, SHAPES)
        if not self.windows:
            raise RadstartError("names no window", "windows", "", "name one, e.g. first")
        if self.depth not in (8, 16):
            raise RadstartError("is not a depth", "depth", str(self.depth), "choose 8 or 16")
        low, high = self.percentiles
        if not 0 <= low < high <= 100:
            got = f"{low:g}, {high:g}"
            remedy = "two rising numbers from 0 to 100"
            raise RadstartError("are out of range", "percentiles", got, remedy)
        if {"pad", "squash"} <= set(self.shape):
            got = ", ".join(self.shape)
            raise RadstartError("contradict each other", "shape", got, "choose pad or squash")
        if self.depth == 16 and (self.stack or self.windows != ("first",)):
            raise RadstartError(
                "cannot be chosen with 16 bits, which keep the whole range",
                "windows",
                ", ".join(self.windows),
                "choose the window when you train, or 8 bits",
            )
        if self.depth == 16 and "equalise" in self.shape:
            raise RadstartError(
                "would lose the values that 16 bits keep", "equalise", "", "choose 8 bits"
            )


def _known(where: str, names: Iterable[str], known: tuple[str, ...]) -> None:
    for name in names:
        if name not in known:
            raise RadstartError("is not known", where, name, nearest(name, known))


@dataclass(frozen=True, eq=False)
class Picture:
    """What is stored.

    Attributes:
        pixels: (H, W) or (H, W, 3) uint8, or (H, W) uint16 with depth 16; C order.
        window: name, "center/width", "table 1", "percentiles 0.5-99.5", or "" = none; of stacked
            windows all, joined by " + ".
        steps: everything that was done, in order.
        scale, offset: value = pixel * scale + offset, of 16-bit pictures. A negative scale says
            that low values are shown bright. None = the values cannot be had back.
    """

    pixels: Pixels
    window: str
    steps: tuple[str, ...]
    scale: float | None = None
    offset: float | None = None


@dataclass(frozen=True)
class _Look:
    """One way to show a frame: a window, a table, or neither (as it stands)."""

    name: str
    step: str
    how: Window | Table | None


def render(frame: Frame, rendering: Rendering) -> tuple[Picture, ...]:
    """Return the pictures of one frame, one per window asked for (one in all when stacked).

    Args:
        frame: modality values, as a reader gives them; colours pass through.
        rendering: how.

    Raises:
        Unreadable: a preset was asked for and the values are not Hounsfield units, or the image
            is empty.
    """
    values = frame.values
    if values.size == 0:
        raise Unreadable("an image without pixels", "leave it out")
    if values.ndim == 3:
        return (_shaped(values, "", (*frame.steps, "colours kept"), rendering, None),)
    padding, extra = _outside(frame)
    done = (*frame.steps, *extra)
    if rendering.depth == 16:
        return (_whole_range(values, frame, padding, done, rendering),)
    looks = _looks(frame, padding, rendering)
    flips = ("inverted",) if frame.inverted else ()
    shown = [_shown(values, look.how, frame, padding) for look in looks]
    if not rendering.stack or len(looks) == 1:
        return tuple(
            _shaped(pixels, look.name, (*done, look.step, *flips), rendering, padding)
            for pixels, look in zip(shown, looks, strict=True)
        )
    channels = list(range(min(len(looks), _CHANNELS)))
    channels += channels[-1:] * (_CHANNELS - len(channels))
    steps = [*done, *(looks[i].step for i in dict.fromkeys(channels)), *flips, "stacked"]
    if len(looks) > _CHANNELS:
        steps.append(f"windows left out: {len(looks) - _CHANNELS}")
    name = " + ".join(looks[i].name for i in dict.fromkeys(channels))
    pixels = np.stack([shown[i] for i in channels], axis=-1)
    return (_shaped(pixels, name, tuple(steps), rendering, padding),)


def windowed(values: Values, window: Window) -> NDArray[np.floating]:
    """Return values under a window, from 0 (black) to 1 (white).

    The formulas are those of DICOM PS3.3 C.11.2.1.2.1 (LINEAR: a window of width 1 is a
    threshold), C.11.2.1.3.1 (SIGMOID) and C.11.2.1.3.2 (LINEAR_EXACT).

    Args:
        values: any shape.
        window: one that is `valid`.

    Returns:
        float64, or float32 for float32 values.
    """
    center, width = float(window.center), float(window.width)
    x = values if values.dtype == np.float32 else np.asarray(values, np.float64)
    if window.function == "SIGMOID":
        power = np.clip(-4 * (x - center) / width, -80, 80)  # within what exp() can hold
        return np.asarray(1 / (1 + np.exp(power)), x.dtype)
    if window.function == "LINEAR":
        center, width = center - 0.5, width - 1
    if width == 0:
        return np.asarray(x > center, x.dtype)
    out = x - center
    out *= 1 / width
    out += 0.5
    return np.clip(out, 0, 1, out=out)


def valid(window: Window) -> bool:
    """Return whether a window says what is shown: finite, wide enough, of a known function."""
    if not (np.isfinite(window.center) and np.isfinite(window.width)):
        return False
    if window.function == "LINEAR":
        return window.width >= 1
    return window.function in ("LINEAR_EXACT", "SIGMOID") and window.width > 0


def render_mask(mask: NDArray[np.uint8], rendering: Rendering) -> NDArray[np.uint8]:
    """Return a mask padded or squashed as its picture was: (H, W) labels stay labels."""
    for name in rendering.shape:
        if name == "pad":
            mask = _padded(mask)
        elif name == "squash":
            mask = _squashed(mask, cv2.INTER_NEAREST_EXACT)
    return np.ascontiguousarray(mask)


def _outside(frame: Frame) -> tuple[NDArray[np.bool_] | None, tuple[str, ...]]:
    """Return where there is no image or no number, and the steps that this means."""
    padding, steps = frame.padding, []
    if padding is not None and not padding.any():
        padding = None
    if padding is not None:
        steps.append("padding black")
    if frame.values.dtype.kind == "f" and not (finite := np.isfinite(frame.values)).all():
        steps.append("what is no number black")
        padding = ~finite if padding is None else padding | ~finite
    return padding, tuple(steps)


def _looks(frame: Frame, padding: NDArray[np.bool_] | None, rendering: Rendering) -> list[_Look]:
    """Return the ways to show a frame that were asked for, each once."""
    header = [
        _Look(f"table {i + 1}", f"VOI table {i + 1}", table)
        for i, table in enumerate(frame.tables)
        if len(table.values) and 1 <= table.bits <= 32
    ]
    header += [
        _Look(_named(window), f"window {_text(window)}", window)
        for window in frame.windows
        if valid(window)
    ]
    looks: list[_Look] = []
    for name in rendering.windows:
        if name in PRESETS:
            if frame.unit != "HU":
                raise Unreadable(
                    f"the window {name} needs Hounsfield units, and this image states none",
                    "say --modality CT if these are CT volumes (NIfTI, NRRD, NPY); for all else, "
                    "and for pixels of 8 bits, choose the window first or all",
                )
            looks.append(_Look(name, f"window {name} {_text(PRESETS[name])}", PRESETS[name]))
        elif header:
            looks += header[:1] if name == "first" else header
        else:
            looks.append(_fallback(frame, padding, rendering))
    unique: dict[object, _Look] = {}
    for look in looks:
        how = look.how
        same = (how.center, how.width, how.function) if isinstance(how, Window) else id(how)
        unique.setdefault(same, look)
    return list(unique.values())


def _fallback(frame: Frame, padding: NDArray[np.bool_] | None, rendering: Rendering) -> _Look:
    """Return how to show a frame whose header has no window."""
    if _small(frame):
        return _Look("", "8 bits as they are", None)
    sample = frame.sample
    if sample is not None and sample.dtype.kind == "f":
        sample = sample[np.isfinite(sample)]
    if sample is not None and sample.size:
        low, high = _percentiles(sample, None, rendering.percentiles)
    else:
        sample = None
        low, high = _percentiles(frame.values, padding, rendering.percentiles)
    bounds = "-".join(f"{bound:g}" for bound in rendering.percentiles)
    name = f"percentiles {bounds}"
    step = f"{name}{' of the volume' if sample is not None else ''}: {low:g} to {high:g}"
    width = high - low
    if not width > 0:
        return _Look(name, step + ", one value only", Window("", low + 0.5, 1, "LINEAR_EXACT"))
    return _Look(name, step, Window("", low + width / 2, width, "LINEAR_EXACT"))


def _small(frame: Frame) -> bool:
    """Return whether the values are 8 bits as they stand."""
    if frame.limits != (0, 255) or frame.values.dtype.kind not in "iu":
        return False
    return frame.values.dtype == np.uint8 or bool(
        frame.values.min() >= 0 and frame.values.max() <= 255
    )


def _named(window: Window) -> str:
    return window.name or f"{window.center:g}/{window.width:g}"


def _text(window: Window) -> str:
    return f"{window.center:g}/{window.width:g} {window.function}"


def _shown(
    values: Values, how: Window | Table | None, frame: Frame, padding: NDArray[np.bool_] | None
) -> NDArray[np.uint8]:
    """Return (H, W) uint8: values under a window or table, inverted, padding black."""
    low, high = (int(values.min()), int(values.max())) if values.dtype.kind in "iu" else (0, 0)
    if values.dtype.kind in "iu" and high - low < values.size:
        # every value that occurs is shown once, then looked up: exact, and fast
        shown = np.arange(low, high + 1)
        pixels = _looked_up(values, low, _levels(shown, how, frame.inverted))
    else:
        pixels = _levels(values, how, frame.inverted)
    if padding is not None:
        pixels[padding] = 0
    return pixels


def _looked_up(values: Values, low: int, levels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the level of every whole number, of which the least has the first level."""
    if values.dtype.itemsize != 2:
        return levels.take(values if low == 0 else np.subtract(values, low, dtype=np.intp))
    table = np.zeros(1 << 16, np.uint8)
    table[np.arange(low, low + len(levels)) & 0xFFFF] = levels  # the sign is in the highest bit
    places = np.ascontiguousarray(values).view(np.uint16)
    with suppress(cv2.error):  # before its version 5 it looks up no 16 bits
        return cv2.LUT(places, table).astype(np.uint8, copy=False)
    return table.take(places)


def _levels(values: Values, how: Window | Table | None, inverted: bool) -> NDArray[np.uint8]:
    level: NDArray[np.floating]
    if how is None:
        level = np.clip(values, 0, 255).astype(np.float64)
    elif isinstance(how, Window):
        with np.errstate(invalid="ignore"):  # what is no number is padding
            level = windowed(values, how)
        level *= 255
    else:
        top = 2**how.bits - 1
        whole = np.nan_to_num(np.rint(values.astype(np.float64)))
        index = np.clip(whole - how.first, 0, len(how.values) - 1).astype(np.intp)
        level = np.clip(how.values, 0, top).take(index) * (255 / top)
    if inverted:
        np.subtract(255, level, out=level)
    with np.errstate(invalid="ignore"):
        pixels: NDArray[np.uint8] = np.rint(level, out=level).astype(np.uint8)
    return pixels


def _percentiles(
    values: Values, padding: NDArray[np.bool_] | None, percentiles: tuple[float, float]
) -> tuple[float, float]:
    """Return two percentiles of the pixels that are image, or their range if those are equal."""
    inside = values.ravel() if padding is None else values[~padding]
    if inside.size == 0:
        return 0.0, 0.0
    least, most = inside.min(), inside.max()
    if inside.dtype.kind in "iu" and int(most) - int(least) < max(inside.size, _TOP):
        low, high = _counted(inside, int(least), percentiles)
    else:
        low, high = _sorted(inside, percentiles)
    return (low, high) if high > low else (float(least), float(most))


def _counted(inside: Values, least: int, percentiles: tuple[float, float]) -> tuple[float, float]:
    """Return what np.percentile gives, by counting: (N,) integers of a small range."""
    counts = np.bincount(np.subtract(inside, least, dtype=np.intp)).cumsum()
    ends = []
    for percent in percentiles:
        rank = percent / 100 * (inside.size - 1)
        first, second = np.searchsorted(counts, [int(rank), np.ceil(rank)], side="right")
        ends.append(least + first + (second - first) * (rank - int(rank)))
    return float(ends[0]), float(ends[1])


def _sorted(inside: Values, percentiles: tuple[float, float]) -> tuple[float, float]:
    """Return what np.percentile gives; sorting is faster than selecting several ranks."""
    rising = np.sort(inside)
    ends = []
    for percent in percentiles:
        rank = percent / 100 * (rising.size - 1)
        first, second = float(rising[int(rank)]), float(rising[int(np.ceil(rank))])
        ends.append(first + (second - first) * (rank - int(rank)))
    return ends[0], ends[1]


def _whole_range(
    values: Values,
    frame: Frame,
    padding: NDArray[np.bool_] | None,
    done: tuple[str, ...],
    rendering: Rendering,
) -> Picture:
    """Return the 16-bit picture of a frame: a straight line from its range to 0 ... 65535.

    Whole numbers keep their steps of 1 wherever their range allows it.
    """
    inside = values if padding is None else values[~padding]
    least, most = (inside.min(), inside.max()) if inside.size else (0, 0)
    low, high = frame.limits
    whole = values.dtype.kind in "iu"
    stated = low <= least and most <= high and 0 < high - low < np.inf
    if not stated or (whole and high - low > _TOP):
        low, high = float(least), float(most)
    small = _small(frame)
    exact = whole and float(low).is_integer() and high - low <= _TOP
    scale: float = 1.0 if exact else ((high - low) / _TOP or 1.0)
    words = "16 bits exact" if exact else "16 bits linear"
    words = "8 bits as they are" if small else words + ("" if stated else ", range of the image")
    offset = float(low)
    if frame.inverted:
        offset, scale = float(high), -scale
    kind = np.uint8 if small else np.uint16
    if exact and not (padding is not None or frame.inverted):
        pixels = np.subtract(values, int(low), dtype=np.int64).astype(kind)
    else:
        with np.errstate(invalid="ignore"):
            level = (values.astype(np.float64) - offset) / scale
        if padding is not None:
            level[padding] = 0
        pixels = np.rint(np.clip(level, 0, np.iinfo(kind).max)).astype(kind)
    steps = (*done, words, *(("inverted",) if frame.inverted else ()))
    return _shaped(pixels, "", steps, rendering, padding, float(scale), offset)


def _shaped(
    pixels: Values,
    window: str,
    steps: tuple[str, ...],
    rendering: Rendering,
    padding: NDArray[np.bool_] | None,
    scale: float | None = None,
    offset: float | None = None,
) -> Picture:
    """Return the picture after the steps of `shape`."""
    words = list(steps)
    for name in rendering.shape:
        height, width = pixels.shape[:2]
        if name == "equalise" and pixels.ndim == 2:
            pixels = _equalised(pixels, padding)
            words.append("equalise")
        elif name == "pad" and height != width:
            pixels = _padded(pixels)
            padding = None if padding is None else _padded(padding.view(np.uint8)).view(np.bool_)
            words.append("pad")
        elif name == "squash" and height != width:
            pixels = _squashed(pixels, cv2.INTER_LINEAR)
            if padding is not None:
                small = padding.view(np.uint8)
                padding = _squashed(small, cv2.INTER_NEAREST_EXACT).view(np.bool_)
            words.append("squash")
    return Picture(np.ascontiguousarray(pixels), window, tuple(words), scale, offset)


def _padded(pixels: Values) -> Values:
    height, width = pixels.shape[:2]
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    out = np.zeros((side, side, *pixels.shape[2:]), pixels.dtype)
    out[top : top + height, left : left + width] = pixels
    return out


def _squashed(pixels: Values, interpolation: int) -> Values:
    side = max(pixels.shape[:2])
    return np.asarray(cv2.resize(pixels, (side, side), interpolation=interpolation))


def _equalised(pixels: Values, padding: NDArray[np.bool_] | None) -> Values:
    """Return (H, W) uint8 whose levels are used evenly; padding does not count and stays black."""
    inside = pixels.ravel() if padding is None else pixels[~padding]
    counts = np.bincount(inside, minlength=256).cumsum()
    if not counts[-1] or not (used := counts[counts > 0])[-1] > used[0]:
        return pixels
    lookup = np.rint(np.clip((counts - used[0]) / (used[-1] - used[0]), 0, 1) * 255)
    out: Values = lookup.astype(np.uint8).take(pixels)
    if padding is not None:
        out[padding] = 0
    return out
