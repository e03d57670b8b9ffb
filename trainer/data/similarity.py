"""How alike slices are: the correlation of whole frames, shrunk to 64 x 64 pixels.

Neighbouring slices of one patient correlate at 0.95 to 0.99 this way, copies of one slice at 1.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.raster.decode import GreySlice
from trainer.data.balance import Indices
from trainer.progress import with_progress
from trainer.terminal import counted

THUMBNAIL_SIDE = 64
MAX_COMPARISONS = 500_000_000
"""Each of 31,600 slices with every other one: half a minute to a minute on two cores. Of more, not all are compared."""
MAX_ALIKE = 100
"""Pairs that a slice may bring in: where all slices are alike, n x n pairs would take all memory."""

Thumbnails = NDArray[np.uint8]
"""uint8 [n, 64, 64]: whole frames, not cropped, each side shrunk by itself."""


@dataclass(frozen=True)
class Pairs:
    """Pairs of slices, first < second in each; ordered by first, then second."""

    first: Indices
    second: Indices
    correlation: NDArray[np.float32]
    left_out: tuple[str, ...] = ()
    """What was not compared, or not kept: a sentence each."""

    def __len__(self) -> int:
        return len(self.first)

    def where(self, kept: NDArray[np.bool_] | Indices) -> "Pairs":
        """The pairs that a mask bool [len] keeps, or those at positions int64 [m], in their order."""
        return Pairs(self.first[kept], self.second[kept], self.correlation[kept], self.left_out)


def thumbnail(grey: GreySlice) -> NDArray[np.uint8]:
    """uint8 [h, w] → uint8 [64, 64], by area interpolation."""
    return np.asarray(cv2.resize(grey, (THUMBNAIL_SIDE, THUMBNAIL_SIDE), interpolation=cv2.INTER_AREA), np.uint8)


def similar_pairs(
    thumbnails: Thumbnails,
    above: float,
    rows_at_once: int = 1024,
    *,
    max_comparisons: int = MAX_COMPARISONS,
    max_alike: int = MAX_ALIKE,
) -> Pairs:
    """Every pair whose correlation (Pearson's r over the pixels) is above the bound; shows progress.

    A blank slice resembles none. Where all pairs would be more than max_comparisons, each slice is compared with as
    many as that allows of those that follow it; of a slice with more than max_alike such pairs, the most alike are
    kept. Both are said in left_out. rows_at_once bounds the memory: 1,024 x n correlations take 80 MB at 20,000 slices.
    """
    count, vectors = len(thumbnails), _unit_vectors(thumbnails)
    reach = count if count * (count - 1) // 2 <= max_comparisons else max(1, max_comparisons // count)
    found, crowded = [], 0
    for start in with_progress(range(0, count, rows_at_once), count, "Comparing slices", step=rows_at_once):
        rows = vectors[start : start + rows_at_once]
        correlations = rows @ vectors[start : start + len(rows) + reach].T
        is_kept = np.tril(np.triu(correlations > above, 1), reach)  # later ones, within reach
        for row in np.flatnonzero(is_kept.sum(axis=1) > max_alike):
            crowded += 1
            alike = np.flatnonzero(is_kept[row])
            is_kept[row, alike[np.argsort(-correlations[row, alike], kind="stable")[max_alike:]]] = False
        one, other = np.nonzero(is_kept)
        found.append((one + start, other + start, correlations[one, other]))
    if not found:
        return Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
    left_out = []
    if reach < count:
        left_out.append(
            f"Of {counted(count, 'slice')} each was compared with the {reach} that follow it in the order of the files "
            "alone: alike slices further apart were not found."
        )
    if crowded:
        left_out.append(f"Of each of {crowded} slices with more than {max_alike} alike ones, {max_alike} were counted.")
    first, second, correlation = (np.concatenate(part) for part in zip(*found, strict=True))
    return Pairs(first, second, correlation, tuple(left_out))


def neighbour_correlations(thumbnails: Thumbnails, order: Indices) -> NDArray[np.float32]:
    """float32 [len(order) - 1]: correlation of each slice with the next one in the order."""
    vectors = _unit_vectors(thumbnails[order])
    return np.asarray((vectors[:-1] * vectors[1:]).sum(axis=1), np.float32)


def _unit_vectors(thumbnails: Thumbnails) -> NDArray[np.float32]:
    """[n, pixels], mean 0 and length 1, so that a product is a correlation; a blank slice becomes 0."""
    vectors = thumbnails.reshape(-1, THUMBNAIL_SIDE**2).astype(np.float32)
    vectors -= vectors.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors /= np.maximum(lengths, np.float32(1e-6))
    return vectors
