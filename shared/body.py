"""The body on a slice: where it is, quickly (body_box) or exactly (find_body), and how bright its soft tissue is.

It is the largest connected area above Otsu's threshold (Otsu 1979, 10.1109/TSMC.1979.4310076), which follows the window
that the slice was exported with.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.box import Box
from shared.masks import Histogram, Mask, bright_part, filled, framed, histogram_of, largest_piece, opened, otsu
from shared.raster.decode import GreySlice

_QUICK_SIDE = 128  # body_box looks at an overview of this size: 0.2 ms instead of 3 on 512 x 512
_FLAT = 3  # an outer row or column whose grey values differ by no more than this is a border
_MIN_SIDE = 16  # borders are cut off down to this many rows and columns
_OVERVIEW_SIDE = 256
_MAX_SIDE = 640  # a larger body is shrunk to _SHRUNK_SIDE: no network sees more, and time stays bounded
_SHRUNK_SIDE = 512
_MARGIN = 0.05  # of the longer side: air around the coarse box, so that the skin is found whole
_MIN_SHARE = 0.05  # less of a mask than this is no body but noise or a corner of the table
_RING = (0.03, 0.10)  # of the window's mean side, twice: where air is looked for around the body
_MIN_RING = 0.02  # of the body: a smaller ring says nothing
_DARKEST = 0.002  # of the pixels, so that a few black ones are not taken for air
_PEAKED = np.array([1, 2, 3, 4, 3, 2, 1])  # smooths a histogram, and leaves one grey value where it is
_BLACK, _DARK = 4, 8  # grey values: black, and as dark as something else in spite of noise
_LOOK_SIDE = 128  # the body is shrunk so far to tell a narrow window: noise is gone then
_NEAR_AIR = 0.06  # of the way from air to soft tissue: what is darker is as dark as air
_NARROW_SHARE = 0.06  # of the body that is as dark as air, at least, in a narrow window
_AS_LUNGS = 0.2  # of the way from air to soft tissue: as dark as lungs in any window, and darker than fat in most
_NARROW_LUNGS = 0.6  # of what is so dark is as dark as air in a narrow window; in a lung window, windpipe and bubbles
_BRIDGE, _GAP = 1 / 45, 1 / 25  # of the box's mean side: bridges to the table that are cut, gaps in the skin that close


@dataclass(frozen=True)
class Body:
    """The box around a body, cut out."""

    grey: GreySlice
    """uint8 [h, w]: the slice within the box; 1 or more on the body, 0 around it."""
    box: Box
    """Where it was cut out of the slice; may reach beyond its edges."""
    tissue: float
    """Grey value of its soft tissue: the median of the brighter of Otsu's two halves."""
    air: int
    """Grey value of air: as it was given, or as it was found around the body."""
    is_narrow: bool = False
    """Whether the slice was exported in a window so narrow that lungs are as dark as air: mediastinum, abdomen."""


def body_box(grey: GreySlice) -> tuple[int, int, int, int]:
    """Bounding box (top, bottom, left, right; ends exclusive) of the body, without table and air.

    The whole slice where nothing is large enough to be a body.
    """
    height, width = grey.shape
    scale = min(1.0, _QUICK_SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    bright = bright_part(cv2.resize(grey, size, interpolation=cv2.INTER_AREA))
    # opening cuts the thin bridges between skin and table or blanket
    cut = cv2.morphologyEx(bright, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    left, top, box_width, box_height = cv2.boundingRect(largest_piece(np.asarray(cut, np.uint8), _MIN_SHARE))
    return (
        int(top * height / size[1]),
        min(height, -(-(top + box_height) * height // size[1])),
        int(left * width / size[0]),
        min(width, -(-(left + box_width) * width // size[0])),
    )


def find_body(grey: GreySlice, air: int | None) -> Body:
    """Cut the body out of a slice uint8 [h, w] of any size. air: its grey value; None where only the slice can tell.

    With all that it encloses: first coarsely, then within the coarse box by a threshold of the body's own pixels. Where
    nothing is large enough to be a body, the whole slice without its borders is taken for one. Everything is measured
    relative to the body and to the grey values inside it, never to the canvas: black, grey or white borders,
    letterboxes, the table and what lies on it change nothing of what is found.

    Where air is not given, it is looked for around the body. In a narrow window fat and skin are darker than Otsu's
    threshold and the body would fall apart: there it is all that is brighter than air.
    """
    trimmed, above, before = _without_borders(grey)
    overview = _overview(trimmed)
    narrow = _narrow_look(trimmed, overview) if air is None else None
    if narrow:
        air, threshold = narrow
        found = _find(trimmed, _coarse_body(trimmed, overview, threshold), air, threshold)
    else:
        found = _find(trimmed, _coarse_body(trimmed, overview), _darkest(overview) if air is None else air)
        air = _air_around(found) if air is None else air
    left, top, width, height = cv2.boundingRect(found.mask)
    cut = (slice(top, top + height), slice(left, left + width))
    around = Box(before + found.left, above + found.top, *found.size)
    return Body(
        grey=np.maximum(found.window[cut], 1) * found.mask[cut],
        box=around.part(found.window.shape, cut),
        tissue=found.tissue,
        air=air,
        is_narrow=narrow is not None,
    )


@dataclass(frozen=True)
class _Coarse:
    top: int
    left: int
    inside: GreySlice
    """The slice within the body's box."""
    mask: Mask
    """1 on the body, as large as its box."""


@dataclass(frozen=True)
class _Found:
    """A body in a window cut out around it, which may have been shrunk since: left, top and size are of the slice."""

    left: int
    top: int
    size: tuple[int, int]
    window: GreySlice
    is_real: Mask
    """0 where the window reaches beyond the slice."""
    mask: Mask
    tissue: float


def _find(trimmed: GreySlice, coarse: _Coarse, air: int, threshold: int | None = None) -> _Found:
    """The body exactly, by a threshold between it and air: Otsu's, of the coarse body's own pixels, or one given."""
    margin = int(_MARGIN * max(coarse.mask.shape)) + 1
    window = framed(coarse.inside, margin, air)
    is_real = np.zeros_like(window)
    # what surrounds the box in the slice is real, where there is any
    top, left = coarse.top - margin, coarse.left - margin
    bottom, right = top + window.shape[0], left + window.shape[1]
    rows = slice(max(0, top), min(trimmed.shape[0], bottom))
    columns = slice(max(0, left), min(trimmed.shape[1], right))
    place = (slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left))
    window[place], is_real[place] = trimmed[rows, columns], 1
    size = (window.shape[1], window.shape[0])
    if threshold is None:
        threshold = otsu(histogram_of(coarse.inside, coarse.mask))
    window, is_real = _shrunk(window), _shrunk(is_real)
    mask = _filled_body(window, threshold)
    return _Found(left, top, size, window, is_real, mask, _tissue(histogram_of(window, mask)))


def _narrow_look(trimmed: GreySlice, overview: GreySlice) -> tuple[int, int] | None:
    """Air's grey value, and the one above which the body begins in a narrow window.

    None where lungs are brighter than air, as in lung windows.
    """
    air, tissue = _darkest(overview), _tissue(histogram_of(overview))
    low = air + round(max(_DARK, _NEAR_AIR * (tissue - air)))
    coarse = _coarse_body(trimmed, overview, low)
    side = (_LOOK_SIDE, _LOOK_SIDE)
    inside = np.asarray(cv2.resize(coarse.mask, side, interpolation=cv2.INTER_NEAREST), np.uint8)
    smooth = cv2.resize(coarse.inside, side, interpolation=cv2.INTER_AREA)
    as_dark_as_air = cv2.countNonZero(_at_most(smooth, low) & inside)
    dark = cv2.countNonZero(_at_most(smooth, air + _AS_LUNGS * (tissue - air)) & inside)
    if as_dark_as_air < max(_NARROW_SHARE * cv2.countNonZero(inside), _NARROW_LUNGS * dark):
        return None
    return air, low


def _air_around(found: _Found) -> int:
    """The most frequent grey value in a ring around the body; where that is cut off or blackened, the darkest in it."""
    side = sum(found.window.shape) // 2
    apart = cv2.distanceTransform(1 - found.mask, cv2.DIST_L2, 3)
    near, far = (side * share / 2 for share in _RING)
    ring = np.asarray(cv2.inRange(apart, near, far), np.uint8) & found.is_real
    inside = np.cumsum(histogram_of(found.window, found.mask))
    darkest = int(np.searchsorted(inside, _DARKEST * inside[-1]))
    if cv2.countNonZero(ring) < _MIN_RING * cv2.countNonZero(found.mask):
        return darkest
    around = int(np.convolve(histogram_of(found.window, ring), _PEAKED, "same").argmax())
    is_blackened = around <= _BLACK and darkest > _BLACK + _DARK
    return darkest if is_blackened else around


def _at_most(grey: NDArray[Any], value: float) -> Mask:
    return np.asarray(grey <= value).view(np.uint8)


def _darkest(grey: GreySlice) -> int:
    count = np.cumsum(histogram_of(grey))
    return int(np.searchsorted(count, _DARKEST * count[-1]))


def _without_borders(grey: GreySlice) -> tuple[GreySlice, int, int]:
    """Cut off outer rows and columns of one grey value; thrice, because a border may have a border.

    With it come the numbers of rows above and of columns before that were cut off.
    """
    cut = [0, 0]
    for _ in range(3):
        before = grey.shape
        for axis in (1, 0):
            busy = np.flatnonzero(grey.max(axis) - grey.min(axis) > _FLAT)
            if len(busy) < _MIN_SIDE:
                return grey, cut[0], cut[1]
            kept = slice(int(busy[0]), int(busy[-1]) + 1)
            grey = grey[kept] if axis == 1 else grey[:, kept]
            cut[1 - axis] += kept.start
        if grey.shape == before:
            break
    return grey, cut[0], cut[1]


def _overview(grey: GreySlice) -> GreySlice:
    height, width = grey.shape
    scale = _OVERVIEW_SIDE / max(height, width)
    size = (max(8, round(width * scale)), max(8, round(height * scale)))
    return np.asarray(cv2.GaussianBlur(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), (0, 0), 1.0), np.uint8)


def _rough_body(overview: GreySlice, threshold: int | None) -> Mask:
    bright = bright_part(overview) if threshold is None else np.asarray(overview > threshold).view(np.uint8)
    return filled(largest_piece(opened(bright, 5), _MIN_SHARE), 9)  # lungs may open to the outside


def _coarse_body(grey: GreySlice, overview: GreySlice, threshold: int | None = None) -> _Coarse:
    """The body's box, and the body in it, by an overview: the table is gone, edges are rough."""
    height, width = grey.shape
    rough = _rough_body(overview, threshold)
    mask = np.asarray(cv2.resize(rough, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)
    left, top, box_width, box_height = cv2.boundingRect(mask)
    box = (slice(top, top + box_height), slice(left, left + box_width))
    return _Coarse(top, left, grey[box], mask[box])


def _filled_body(window: GreySlice, threshold: int) -> Mask:
    side = sum(window.shape) // 2
    bright = (cv2.GaussianBlur(window, (0, 0), 2.0) > threshold).astype(np.uint8)
    body = largest_piece(opened(bright, int(side * _BRIDGE) // 2 * 2 + 1), _MIN_SHARE)
    return filled(body, int(side * _GAP) // 2 * 2 + 1)


def _shrunk(window: GreySlice) -> GreySlice:
    longer = max(window.shape)
    if longer <= _MAX_SIDE:
        return window
    size = [max(1, round(side * _SHRUNK_SIDE / longer)) for side in window.shape[::-1]]
    return np.asarray(cv2.resize(window, size, interpolation=cv2.INTER_AREA), np.uint8)


def _tissue(histogram: Histogram) -> float:
    brighter = histogram.copy()
    brighter[: otsu(histogram) + 1] = 0
    if not brighter.any():
        brighter = histogram
    count = np.cumsum(brighter)
    return float(np.searchsorted(count, count[-1] / 2))
