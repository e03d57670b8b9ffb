"""What an answer loses when a part of the slice is blurred away: attention of models that cannot tell it themselves.

Occlusion (Zeiler & Fergus 2014, arXiv 1311.2901) with a blurred copy of the slice in place of a grey patch (Fong &
Vedaldi 2017, arXiv 1704.03296): a hard grey edge is itself a finding to a network that looks for edges.
"""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.imaging import SliceTensor

GRID_SIDE = 6
_REACH = 0.5  # cells: how far a patch reaches into its neighbours, so that nothing is halved by every patch
_BATCH = 4
_CERTAIN = 1e-6  # probabilities are kept this far from 0 and 1: rounding must not look like evidence

Infer = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def occlusion_grid(
    tensor: SliceTensor, probabilities: NDArray[np.float32], class_index: int, infer: Infer
) -> NDArray[np.float32]:
    """By how much each part of a slice lowers the log-odds of a class when it is blurred away.

    tensor: uint8 [H, W, 1], to which the model answers probabilities [C]; infer: uint8 [B, H, W, 1] → [B, C]. Returns
    float32 [GRID_SIDE, GRID_SIDE] over the tensor; a part that blurring leaves as it is costs no inference.
    """
    height, width, _ = tensor.shape
    blurred = cv2.GaussianBlur(tensor[:, :, 0], (0, 0), max(height, width) / GRID_SIDE / 2)[:, :, np.newaxis]
    cells, copies = [], []
    for row in range(GRID_SIDE):
        for column in range(GRID_SIDE):
            part = (_reach(row, height), _reach(column, width))
            if not np.array_equal(blurred[part], tensor[part]):
                copy = tensor.copy()
                copy[part] = blurred[part]
                cells.append((row, column))
                copies.append(copy)
    grid = np.zeros((GRID_SIDE, GRID_SIDE), np.float32)
    for start in range(0, len(copies), _BATCH):
        answers = infer(np.stack(copies[start : start + _BATCH]))
        for cell, answer in zip(cells[start:], answers, strict=False):
            grid[cell] = _log_odds(probabilities[class_index]) - _log_odds(answer[class_index])
    return grid


def _reach(cell: int, side: int) -> slice:
    step = side / GRID_SIDE
    return slice(max(0, round((cell - _REACH) * step)), min(side, round((cell + 1 + _REACH) * step)))


def _log_odds(probability: np.float32) -> float:
    kept = min(max(float(probability), _CERTAIN), 1 - _CERTAIN)
    return float(np.log(kept / (1 - kept)))
