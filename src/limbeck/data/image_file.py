"""One image file, decoded by pillow."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from limbeck.errors import LimbeckError

if TYPE_CHECKING:
    from PIL.Image import Image

Mode = Literal["grey", "colour"]

# pillow goes by content, and would hand a renamed EPS file to Ghostscript, which runs it.
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF")
_GREY = ("1", "L", "LA")
_WITH_ALPHA = ("LA", "PA", "RGBA")


class DamagedImageError(Exception):
    """An image that cannot be decoded; the message names it and says why."""


def decoded_image(path: Path, mode: Mode | None, size: tuple[int, int] | None) -> npt.NDArray[np.uint8]:
    """One image as uint8, shape (height, width) where grey and (height, width, 3) in colour.

    A palette counts as colour. EXIF orientation is obeyed. What is transparent shows white, so that a drawing in
    black stays one. 16 bits are rounded to 8. Of an animation the first frame is taken.

    Args:
        path: the file.
        mode: to convert it to; None: its own.
        size: (height, width) to bring it to, whatever its proportions, by pillow's bilinear filter with antialiasing;
            None: its own.

    Raises:
        DamagedImageError: its content cannot be decoded.
        LimbeckError: it cannot be read, has too many pixels, or pixels that 8 bits cannot hold.
    """
    try:
        from PIL import Image, ImageOps, UnidentifiedImageError
    except ImportError:
        raise LimbeckError('reading images needs pillow: pip install "limbeck[data]"') from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=_FORMATS) as opened:
                opened.load()
                return _as_array(ImageOps.exif_transpose(opened), path, mode, size)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        found = str(error).split(",")[0]
        raise LimbeckError(
            f"{path} is larger than pillow thinks safe ({found}): make it smaller, or take it out"
        ) from None
    except (LimbeckError, MemoryError):
        raise
    except UnidentifiedImageError:
        raise DamagedImageError(
            f"{path} is no image, or damaged (its content is none of {', '.join(_FORMATS)})"
        ) from None
    except Exception as error:  # pillow's decoders each have their own exceptions for a bad file
        if isinstance(error, OSError) and error.errno is not None:
            raise LimbeckError(f"cannot read {path} ({error.strerror}): check the file and its permissions") from error
        raise DamagedImageError(f"{path} is damaged ({' '.join(str(error).split())[:120]})") from None


def _as_array(image: Image, path: Path, mode: Mode | None, size: tuple[int, int] | None) -> npt.NDArray[np.uint8]:
    from PIL import Image as Pillow

    own: Mode = "grey" if image.mode in _GREY or image.mode.startswith("I") else "colour"
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise LimbeckError(f"{path} has pixels of 32 bits, expected 8 or 16: save it with fewer, or as .npy")
        image = Pillow.fromarray(((values + 128) // 257).astype(np.uint8))
    elif image.mode == "F":
        raise LimbeckError(f"{path} has pixels that are fractions, expected 8 or 16 bits: save it so, or as .npy")
    elif image.mode in _WITH_ALPHA or "transparency" in image.info:
        ground = Pillow.new("RGBA", image.size, "white")
        ground.alpha_composite(image.convert("RGBA"))
        image = ground.convert("RGB")
    image = image.convert("L" if (mode or own) == "grey" else "RGB")
    if size is not None and image.size != size[::-1]:
        image = image.resize(size[::-1], Pillow.Resampling.BILINEAR)
    return np.asarray(image)
