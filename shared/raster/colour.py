"""Is a picture in colour? CT is not; but most exported slices are JPEGs with colour channels that hold none."""

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from shared.raster.decode import ImageBytes, RasterHeader
from shared.raster.png_chunks import still_png

_NEUTRAL = 16  # red, green and blue of grey may differ by this much: JPEG rounds them each for itself
_SHARE = 0.01  # of the pixels: a coloured mark or a line of text makes no picture in colour


def is_coloured(body: ImageBytes, header: RasterHeader) -> bool:
    """Whether more than 1 % of an image's pixels have a colour, judged at an eighth of its size.

    For bytes that were decoded whole before. It takes two thirds of the time of decoding them once more, so it is asked
    only where something else speaks against a chest slice.
    """
    if header.is_grey:
        return False
    if header.is_cmyk:
        return True  # printing inks: whatever it shows, it is no export of a scanner
    with header.turn():
        if header.kind == "jpeg":
            pixels = simplejpeg.decode_jpeg(body, "RGB", min_height=1, min_width=1, min_factor=8)
        else:
            pixels = cv2.imdecode(np.frombuffer(still_png(body).body, np.uint8), cv2.IMREAD_REDUCED_COLOR_8)
    return pixels is not None and _has_colour(np.asarray(pixels, np.uint8))


def _has_colour(pixels: NDArray[np.uint8]) -> bool:
    spread = pixels.max(axis=2).astype(np.int16) - pixels.min(axis=2)
    return float((spread > _NEUTRAL).mean()) > _SHARE
