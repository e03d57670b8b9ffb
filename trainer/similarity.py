"""How alike slices are: the correlation of whole frames, shrunk to 64 x 64 pixels.

Neighbouring slices of one patient correlate at 0.95 to 0.99 this way, copies of one slice at 1.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.raster import GreySlice
from trainer.balance import Indices

THUMBNAIL_SIDE = 64

Thumbnails = NDArray[np.uint8]
"""uint8 [n, 64, 64]: whole frames, not cropped, each side shrunk by itself."""


@dataclass(frozen=True)
class Pairs:
    """Pairs of slices, first < second in each; ordered by first, then second."""

    first: Indices
    second: Indices
    correlation: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.first)

    def where(self, is_kept: NDArray[np.bool_]) -> "Pairs":
        """The pairs that a mask bool [len] keeps."""
        return Pairs(self.first[is_kept], self.second[is_kept], self.correlation[is_kept])


def thumbnail(grey: GreySlice) -> NDArray[np.uint8]:
    """uint8 [h, w] → uint8 [64, 64], by area interpolation."""
    return np.asarray(cv2.resize(grey, (THUMBNAIL_SIDE, THUMBNAIL_SIDE), interpolation=cv2.INTER_AREA), np.uint8)


def similar_pairs(thumbnails: Thumbnails, above: float, rows_at_once: int = 1024) -> Pairs:
    """Every pair whose correlation (Pearson's r over the pixels) is above the bound. A blank slice resembles none.

    rows_at_once bounds the memory: 1,024 of the n x n correlations take 80 MB at 20,000 slices.
    """
    vectors = _unit_vectors(thumbnails)
    found = []
    for start in range(0, len(vectors), rows_at_once):
        block = vectors[start : start + rows_at_once] @ vectors.T
        rows, columns = np.nonzero(block > above)
        is_later = columns > rows + start
        rows, columns = rows[is_later], columns[is_later]
        found.append((rows + start, columns, block[rows, columns]))
    if not found:
        return Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
    return Pairs(*(np.concatenate(part) for part in zip(*found, strict=True)))


def neighbour_correlations(thumbnails: Thumbnails, order: Indices) -> NDArray[np.float32]:
    """float32 [len(order) - 1]: correlation of each slice with the next one in the order."""
    vectors = _unit_vectors(thumbnails[order])
    return np.asarray((vectors[:-1] * vectors[1:]).sum(axis=1), np.float32)


def _unit_vectors(thumbnails: Thumbnails) -> NDArray[np.float32]:
    """[n, pixels], mean 0 and length 1, so that a product is a correlation; a blank slice becomes 0."""
    vectors = thumbnails.reshape(-1, THUMBNAIL_SIDE**2).astype(np.float32)
    vectors -= vectors.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, np.float32(1e-6)), np.float32)
