"""Explanation → picture: the slice, coloured where the model looked, with a caption that says what it is not."""

import cv2
import numpy as np
from numpy.typing import NDArray

from service.explain.png import encode_png
from service.schemas import NOTE
from shared.box import Box
from shared.raster.decode import GreySlice

DEFAULT_OPACITY = 0.6
_BAND = 24  # pixels below the slice, for the caption
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_COLOURS = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, np.newaxis], cv2.COLORMAP_INFERNO)[:, 0, ::-1]
"""uint8 [256, 3], red first, as a PNG has them; OpenCV, which thinks blue comes first, does not look at their order."""


def draw_overlay(grey: GreySlice, grid: NDArray[np.float32], box: Box, opacity: float, comment: str) -> bytes:
    """A PNG in colour: the slice as it is displayed, and a band of 24 rows with a caption below it.

    grey: uint8 [h, w]. grid: float32 [rows, columns], 0 to 1, which lies in the box. Where it is 1, the colour covers
    the slice by opacity (0 to 1); where it is 0, the slice is as it was. A text chunk "Comment" has the caption and the
    comment.
    """
    levels = cv2.convertScaleAbs(on_slice(grid, box, grey.shape), alpha=255)
    # whole numbers throughout: less than half the time that floats take, and at most two grey values off
    cover = opacity * np.arange(256) / 255
    colours = np.rint(_COLOURS * cover[:, np.newaxis]).astype(np.uint8)[:, np.newaxis]
    dimmed = cv2.multiply(grey, cv2.LUT(levels, np.rint(255 * (1 - cover)).astype(np.uint8)), scale=1 / 255)
    blended = cv2.add(cv2.cvtColor(dimmed, cv2.COLOR_GRAY2BGR), cv2.applyColorMap(levels, colours))
    picture = cv2.copyMakeBorder(blended, 0, _BAND, 0, 0, cv2.BORDER_CONSTANT, value=(0, 0, 0))
    (width, _), _ = cv2.getTextSize(NOTE, _FONT, 1.0, 1)
    size = min(0.5, (picture.shape[1] - 8) / width)
    cv2.putText(picture, NOTE, (4, picture.shape[0] - 8), _FONT, size, (255, 255, 255), 1, cv2.LINE_AA)
    return encode_png(np.asarray(picture, np.uint8), f"{NOTE}; {comment}")


def on_slice(grid: NDArray[np.float32], box: Box, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """The grid, interpolated between the centres of its cells, for each pixel of a slice [h, w]; 0 beyond the grid."""
    rows, columns = grid.shape
    down = _shares(rows, box.top, box.height, shape[0])
    across = _shares(columns, box.left, box.width, shape[1])
    return np.asarray(down @ grid @ across.T, np.float32)


def _shares(cells: int, start: float, extent: float, pixels: int) -> NDArray[np.float32]:
    """How much of each cell each pixel along one axis gets, float32 [pixels, cells]: linear between their centres."""
    at = (np.arange(pixels, dtype=np.float32)[:, np.newaxis] + 0.5 - start) * (cells / extent) - 0.5
    return np.asarray(np.maximum(1 - np.abs(at - np.arange(cells)), 0), np.float32)
