"""PNG, JPEG, BMP, TIFF, static GIF and WebP, as grey or RGB pixels.

Files are not trusted: the formats are a fixed list, the size is checked before the pixels are
decoded, and whatever goes wrong inside the decoder is a reason, not a crash.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from radstart.ingest.frames import Frame, Scan, Unreadable
from radstart.ingest.readers.sniff import check_plain

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif", ".webp"})
_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "GIF", "WEBP")
MAX_PIXELS = 100_000_000
_SAVE = "save it as PNG, JPEG, BMP, TIFF, GIF or WebP"
_AGAIN = "fetch it again"
_DEPTH = "save it with 8 or 16 bits"

Pixels = NDArray[np.uint8] | NDArray[np.uint16]


def scan(path: Path) -> Scan:
    """Return the size and the number of pages, the pixels not decoded.

    Raises:
        Unreadable: missing, empty, no image, animated, or too many pixels.
    """
    with _opened(path) as image:
        return Scan("raster", _pages(image), {"rows": image.height, "cols": image.width})


def frames(path: Path, which: Sequence[int]) -> Iterator[Frame]:
    """Yield pages as `read_raster` decodes them: values as they are stored.

    Raises:
        Unreadable: as `read_raster`; a page that is not there.
    """
    with _opened(path) as image:
        for index in which:
            if index >= _pages(image):
                raise Unreadable("has fewer pages", "fetch it again")
            if index != image.tell():
                image.seek(index)
            _check(image)
            values = _canonical(_pixels(image))
            top = 65535.0 if values.dtype == np.uint16 else 255.0
            yield Frame(values, index, limits=(0.0, top))


def read_raster(path: Path) -> Pixels:
    """Decode an image at its own size: the only page of a file.

    EXIF orientation is applied; palettes, CMYK and YCbCr become RGB; an alpha channel is dropped,
    the colours under it are kept; 1-bit becomes 0 and 255; 16-bit grey stays uint16. RGB with
    three equal channels becomes grey.

    Warnings of Pillow must be silenced by the caller (once, outside of threads).

    Returns:
        (H, W) uint8 or uint16, or (H, W, 3) uint8; C order.

    Raises:
        Unreadable: missing, empty, no image, truncated, animated, too many pixels, or floats.
    """
    with _opened(path) as image:
        if (pages := _pages(image)) > 1:
            raise _too_many_pages(pages)
        return _canonical(_pixels(image))


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open an image, checked; whatever goes wrong in the block is a reason."""
    try:
        check_plain(path)
        with Image.open(path, formats=_FORMATS) as image:
            _check(image)
            yield image
    except (Unreadable, GeneratorExit, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise _too_large(_number_in(str(error))) from error
    except UnidentifiedImageError as error:
        raise Unreadable("not an image that can be read", _SAVE) from error
    except OSError as error:
        if error.strerror:  # the disk's, not the decoder's
            raise Unreadable(f"cannot be read: {error.strerror}", "make it readable") from error
        raise Unreadable("cut off or broken", _AGAIN) from error  # its words may quote a header
    except Exception as error:  # decoders raise anything on broken files
        raise Unreadable(f"broken ({type(error).__name__})", _AGAIN) from error


def _pages(image: Image.Image) -> int:
    """Return how many images a file holds: pages of a TIFF file, else 1.

    Raises:
        Unreadable: animated.
    """
    count = getattr(image, "n_frames", 1)
    if image.format == "MPO":  # the first is the photograph
        return 1
    if count > 1 and image.format != "TIFF":
        raise _too_many_pages(count)
    return count


def _check(image: Image.Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise _too_large(f"{image.width} x {image.height}")


def _too_many_pages(count: int) -> Unreadable:
    return Unreadable(
        f"animated or of many pages ({count} frames)", "save the frame that counts by itself"
    )


def _number_in(text: str) -> str:
    found = re.search("[0-9]+", text)
    return found[0] if found else "too many"


def _too_large(claimed: object) -> Unreadable:
    limit = f"more than {MAX_PIXELS // 10**6} million"
    return Unreadable(f"claims {claimed} pixels, {limit}", "save it smaller")


def _pixels(image: Image.Image) -> Pixels:
    image.load()
    turned = ImageOps.exif_transpose(image)
    mode = turned.mode
    if mode.startswith("I"):
        values = np.asarray(turned)
        if values.min() < 0 or values.max() > 65535:
            raise Unreadable("whole numbers outside of 0 to 65535", _DEPTH)
        values = values.astype(np.uint16)
        # WhiteIsZero of TIFF: Pillow turns it round for 8 bits only
        return ~values if _white_is_zero(image) else values
    if mode == "F":
        raise Unreadable("floating-point pixels", _DEPTH)
    if mode in ("1", "L", "LA", "La"):
        return np.asarray(turned.convert("L") if mode == "1" else turned.getchannel(0), np.uint8)
    if mode in ("P", "PA"):
        turned = turned.convert("RGBA")
    elif mode not in ("RGB", "RGBA", "RGBX", "RGBa"):
        turned = turned.convert("RGB")
    return np.asarray(turned, np.uint8)[..., :3]


def _white_is_zero(image: Image.Image) -> bool:
    return image.format == "TIFF" and getattr(image, "tag_v2", {}).get(262) == 0


def _canonical(pixels: Pixels) -> Pixels:
    if pixels.ndim == 3:
        first = pixels[..., 0]
        if np.array_equal(first, pixels[..., 1]) and np.array_equal(first, pixels[..., 2]):
            pixels = first
    return pixels.copy(order="C")
