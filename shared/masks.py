"""Masks of a picture: what is bright, the largest piece of it, with all that it encloses."""

import functools
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Histogram = NDArray[np.float64]
"""float64 [256]: how many pixels have each grey value."""

Mask = NDArray[np.uint8]
"""uint8 [h, w] of 0 and 1."""

_FLOODED = 2  # neither 0 nor 1


def otsu(histogram: Histogram) -> int:
    """The grey value up to which pixels belong to the darker class, by the largest variance between the two."""
    count, values = np.cumsum(histogram), np.arange(len(histogram))
    total, moment = count[-1], np.cumsum(histogram * values)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (moment * total - moment[-1] * count) ** 2 / (count * (total - count))
    return int(np.argmax(np.nan_to_num(between, posinf=0)))


def bright_part(grey: NDArray[Any]) -> Mask:
    """What is above Otsu's threshold of a picture, uint8 [h, w]."""
    return np.asarray(cv2.threshold(grey, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)[1], np.uint8)


def largest_piece(mask: Mask, min_share: float = 0.0) -> Mask:
    """The largest connected piece of a mask; all of the picture where that covers a smaller share of it."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4, ltype=cv2.CV_16U)
    areas = stats[1:, cv2.CC_STAT_AREA]  # row 0 is the background
    if not len(areas) or areas.max() < min_share * mask.size:
        return np.ones_like(mask)
    return np.asarray(labels == 1 + int(np.argmax(areas))).view(np.uint8)


def filled(mask: Mask, gap: int) -> Mask:
    """A mask with all that it encloses: what cannot be reached from outside, also through gaps up to so many pixels."""
    wide = cv2.morphologyEx(framed(mask, gap, 0), cv2.MORPH_CLOSE, disc(gap))
    cv2.floodFill(wide, None, (0, 0), _FLOODED)
    return np.asarray(wide[gap:-gap, gap:-gap] != _FLOODED).view(np.uint8)


def opened(mask: Mask, diameter: int) -> Mask:
    """Without what is thinner than a disc of so many pixels."""
    return np.asarray(cv2.morphologyEx(mask, cv2.MORPH_OPEN, disc(diameter)), np.uint8)


def framed(image: NDArray[np.uint8], width: int, value: int) -> NDArray[np.uint8]:
    """With so many pixels of one value on each side."""
    return np.asarray(cv2.copyMakeBorder(image, *(width,) * 4, cv2.BORDER_CONSTANT, value=(value,)), np.uint8)


def histogram_of(grey: NDArray[np.uint8], mask: Mask | None = None) -> Histogram:
    """Of all pixels, or of those of a mask."""
    counted: Any = cv2.calcHist([grey], [0], mask, [256], [0, 256])
    return np.asarray(counted, np.float64).ravel()


@functools.cache
def disc(diameter: int) -> Mask:
    """A disc of so many pixels, for morphology; the same one at each call."""
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (diameter, diameter)), np.uint8)
