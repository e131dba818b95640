"""PNG, JPEG, BMP, TIFF, static GIF and WebP, as grey or RGB pixels.

Files are not trusted: the formats are a fixed list, the size is checked before the pixels are
decoded, and whatever goes wrong inside the decoder is a reason, not a crash.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif", ".webp"})
_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "GIF", "WEBP")
MAX_PIXELS = 100_000_000

Pixels = NDArray[np.uint8] | NDArray[np.uint16]


class Unreadable(Exception):  # noqa: N818
    """A file that is no image for us; the message is the reason."""


def read_raster(path: Path) -> Pixels:
    """Decode an image at its own size.

    EXIF orientation is applied; palettes, CMYK and YCbCr become RGB; an alpha channel is dropped,
    the colours under it are kept; 1-bit becomes 0 and 255; 16-bit grey stays uint16. RGB with
    three equal channels becomes grey.

    Warnings of Pillow must be silenced by the caller (once, outside of threads).

    Returns:
        (H, W) uint8 or uint16, or (H, W, 3) uint8; C order.

    Raises:
        Unreadable: missing, empty, no image, truncated, animated, too many pixels, or floats.
    """
    try:
        if not path.is_file():
            raise Unreadable("no such file" if not path.exists() else "not a file")
        if path.stat().st_size == 0:
            raise Unreadable("an empty file (0 bytes)")
        with Image.open(path, formats=_FORMATS) as image:
            _check(image)
            return _canonical(_pixels(image))
    except Unreadable:
        raise
    except Image.DecompressionBombError as error:
        raise Unreadable(f"claims more than {MAX_PIXELS // 10**6} million pixels") from error
    except UnidentifiedImageError as error:
        raise Unreadable("not an image that can be read") from error
    except OSError as error:
        raise Unreadable(error.strerror or str(error) or "cannot be read") from error
    except Exception as error:  # decoders raise anything on broken files
        raise Unreadable(f"broken: {type(error).__name__} {error}") from error


def _check(image: Image.Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        limit = f"more than {MAX_PIXELS // 10**6} million pixels"
        raise Unreadable(f"claims {image.width} x {image.height} pixels, {limit}")
    if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
        raise Unreadable(f"animated or of many pages ({getattr(image, 'n_frames', 0)} frames)")


def _pixels(image: Image.Image) -> Pixels:
    image.load()
    turned = ImageOps.exif_transpose(image)
    mode = turned.mode
    if mode.startswith("I"):
        values = np.asarray(turned)
        if values.min() < 0 or values.max() > 65535:
            raise Unreadable("whole numbers outside of 0 to 65535")
        return values.astype(np.uint16)
    if mode == "F":
        raise Unreadable("floating-point pixels")
    if mode in ("1", "L", "LA", "La"):
        return np.asarray(turned.convert("L") if mode == "1" else turned.getchannel(0), np.uint8)
    if mode in ("P", "PA"):
        turned = turned.convert("RGBA")
    elif mode not in ("RGB", "RGBA", "RGBX", "RGBa"):
        turned = turned.convert("RGB")
    return np.asarray(turned, np.uint8)[..., :3]


def _canonical(pixels: Pixels) -> Pixels:
    if pixels.ndim == 3:
        first = pixels[..., 0]
        if np.array_equal(first, pixels[..., 1]) and np.array_equal(first, pixels[..., 2]):
            pixels = first
    return pixels.copy(order="C")
