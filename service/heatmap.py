"""Explanation → picture: the slice, coloured where the model looked, with a caption that says what it is not."""

import struct
import zlib

import cv2
import numpy as np
from numpy.typing import NDArray

from service.explain import NOTE, Explanation
from service.gate import warning_of
from shared.box import Box

_BAND = 24  # pixels below the slice, for the caption
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_FAST = (
    cv2.IMWRITE_PNG_COMPRESSION, 1,
    cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE,
    cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_SUB,
)  # fmt: skip
"""10 ms for 512 x 512 where a filter chosen for each row takes 18, and no larger."""
_AFTER_HEADER = 33  # bytes of a PNG: its signature and IHDR


def draw_overlay(explanation: Explanation, opacity: float) -> bytes:
    """A PNG in colour: the slice as it is displayed, and a band of 24 rows with a caption below it.

    Where the grid is 1, the colour covers the slice by opacity (0 to 1); where it is 0, the slice is as it was. A text
    chunk "Comment" repeats the caption, and what speaks against a chest slice.
    """
    grey = explanation.grey
    weights = on_slice(explanation.grid, explanation.box, grey.shape)
    colours = cv2.applyColorMap(np.asarray(np.rint(weights * 255), np.uint8), cv2.COLORMAP_INFERNO)
    weights *= opacity
    slice_ = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
    blended = cv2.blendLinear(colours, slice_, weights, 1 - weights)
    picture = cv2.copyMakeBorder(blended, 0, _BAND, 0, 0, cv2.BORDER_CONSTANT, value=(0, 0, 0))
    (width, _), _ = cv2.getTextSize(NOTE, _FONT, 1.0, 1)
    size = min(0.5, (picture.shape[1] - 8) / width)
    cv2.putText(picture, NOTE, (4, picture.shape[0] - 8), _FONT, size, (255, 255, 255), 1, cv2.LINE_AA)
    png = cv2.imencode(".png", picture, _FAST)[1].tobytes()
    made = f"{explanation.class_name}, {explanation.method}, model version {explanation.model.version}"
    comment = "; ".join([NOTE, made, *warning_of(explanation.predicted.doubts)])
    return png[:_AFTER_HEADER] + _text_chunk("Comment", comment) + png[_AFTER_HEADER:]


def on_slice(grid: NDArray[np.float32], box: Box, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """The grid, interpolated between the centres of its cells, for each pixel of a slice [h, w]; 0 beyond the grid."""
    rows, columns = grid.shape
    across, down = columns / box.width, rows / box.height
    to_grid = np.array(
        [[across, 0, (0.5 - box.left) * across - 0.5], [0, down, (0.5 - box.top) * down - 0.5]], np.float64
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(grid, to_grid, (shape[1], shape[0]), flags=flags), np.float32)


def _text_chunk(keyword: str, text: str) -> bytes:
    """PNG 3rd edition, 11.3.3.2: Latin-1; what that cannot write becomes a question mark."""
    content = b"tEXt" + keyword.encode("latin-1") + b"\0" + text.encode("latin-1", "replace")
    return struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))
