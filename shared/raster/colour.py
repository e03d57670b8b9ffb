"""Is a picture in colour? CT is not; but most exported slices are JPEGs with colour channels that hold none."""

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from shared.raster.decode import ImageBytes, RasterLimits, read_header
from shared.raster.png_chunks import SIGNATURE, still_png

_JPEG = b"\xff\xd8\xff"
_ANY_SIZE = RasterLimits(max_pixels=2**64, min_side=0)  # what was decoded before was within its limits
_NEUTRAL = 16  # red, green and blue of grey may differ by this much: JPEG rounds them each for itself
_SHARE = 0.01  # of the pixels: a coloured mark or a line of text makes no picture in colour
_GREY_PNG = (0, 4)  # colour types: grey; grey and alpha (PNG 3rd edition, 11.2.1)


def is_coloured(body: ImageBytes) -> bool:
    """Whether more than 1 % of an image's pixels have a colour, judged at an eighth of its size.

    For bytes that were decoded whole before; what is neither JPEG nor PNG is grey. It takes two thirds of the time of
    decoding them once more, so it is asked only where something else speaks against a chest slice.
    """
    if body.startswith(SIGNATURE):
        if body[25] in _GREY_PNG:
            return False
        with read_header(body, _ANY_SIZE).turn():
            pixels = cv2.imdecode(np.frombuffer(still_png(body).body, np.uint8), cv2.IMREAD_REDUCED_COLOR_8)
        return pixels is not None and _has_colour(np.asarray(pixels, np.uint8))
    if not body.startswith(_JPEG):
        return False
    _, _, colourspace, _ = simplejpeg.decode_jpeg_header(body)
    if colourspace == "Gray":
        return False
    if colourspace in ("CMYK", "YCCK"):
        return True  # printing inks: whatever it shows, it is no export of a scanner
    with read_header(body, _ANY_SIZE).turn():
        pixels = simplejpeg.decode_jpeg(body, "RGB", min_height=1, min_width=1, min_factor=8)
    return _has_colour(pixels)


def _has_colour(pixels: NDArray[np.uint8]) -> bool:
    spread = pixels.max(axis=2).astype(np.int16) - pixels.min(axis=2)
    return float((spread > _NEUTRAL).mean()) > _SHARE
