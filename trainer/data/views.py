"""Views of a slice: how other scanners, kernels, viewers and exports would have shown the same patient.

They say nothing of disease. `acquired` changes what a scan may differ in although it is shown alike; `shown` changes
what an export may do with it. Each takes a grey slice, uint8 [h, w], and a generator, and gives uint8 of any size.
"""

from collections.abc import Callable

import cv2
import numpy as np

from shared.body import Body, find_body
from shared.raster.decode import GreySlice

_AIR_HU, _TISSUE_HU = -1000, 45


def blurred(grey: GreySlice, sigma: float) -> GreySlice:
    """As a smoother kernel, or thicker slices, would show it; sigma in pixels."""
    return np.asarray(cv2.GaussianBlur(grey, (0, 0), sigma), np.uint8)


def sharpened(grey: GreySlice, amount: float) -> GreySlice:
    """Unsharp mask of radius 1: a sharper kernel's edges and grain."""
    return np.asarray(cv2.addWeighted(grey, 1 + amount, cv2.GaussianBlur(grey, (0, 0), 1.0), -amount, 0), np.uint8)


def noisy(grey: GreySlice, deviation: float, random: np.random.Generator, grain: float = 0.0) -> GreySlice:
    """With Gaussian noise of that many grey values; grain: its blur in pixels, 0 is white noise."""
    noise = random.normal(0, 1, grey.shape).astype(np.float32)
    if grain:
        noise = np.asarray(cv2.GaussianBlur(noise, (0, 0), grain))
        noise /= noise.std()
    return np.clip(grey + deviation * noise, 0, 255).round().astype(np.uint8)


def resized(grey: GreySlice, across: float, down: float) -> GreySlice:
    """Stretched or squeezed by these factors."""
    area = min(across, down) < 1
    return np.asarray(
        cv2.resize(grey, None, fx=across, fy=down, interpolation=cv2.INTER_AREA if area else cv2.INTER_LINEAR), np.uint8
    )


def stretched(grey: GreySlice, gain: float, offset: float) -> GreySlice:
    """Grey values about the middle one, multiplied and shifted: a slightly different window."""
    table = np.clip((np.arange(256) - 127.5) * gain + 127.5 + offset, 0, 255).round().astype(np.uint8)
    return np.asarray(cv2.LUT(grey, table), np.uint8)


def windowed(grey: GreySlice, level: float, width: float, random: np.random.Generator) -> GreySlice:
    """In another window, in Hounsfield units by the slice's own air and soft tissue.

    Noise of half a grey value of the slice fills the steps between its few greys: a real export has all of them.
    """
    body = find_body(grey, None)
    unit = (_TISSUE_HU - _AIR_HU) / max(body.tissue - body.air, 1)
    fine = grey.astype(np.float32) + random.uniform(-0.5, 0.5, grey.shape).astype(np.float32)
    hounsfield = (fine - body.air) * unit + _AIR_HU
    return np.asarray(np.clip((hounsfield - level + width / 2) * (256 / width), 0, 255), np.uint8)


def contrasted(grey: GreySlice, gain: float) -> GreySlice:
    """With blood that many grey values brighter, as contrast medium makes it: soft tissue within the lungs' hull.

    Crude: muscle and lymph nodes between the lungs brighten, too; bone, which is brighter already, does not.
    """
    found = find_body(grey, None)
    is_body = grey > (found.tissue + found.air) / 2
    dark = (_inside(found, grey.shape) & ~is_body).astype(np.uint8)
    opened = cv2.morphologyEx(dark, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    if not opened.any():
        return grey
    hull = np.zeros_like(grey)
    cv2.fillConvexPoly(hull, cv2.convexHull(cv2.findNonZero(opened)), 1)
    is_blood = (hull > 0) & is_body & (grey < found.tissue + 30)
    added = np.asarray(cv2.GaussianBlur(is_blood.astype(np.float32), (0, 0), 1.0)) * gain
    return np.clip(grey + added, 0, 255).round().astype(np.uint8)


def cut(grey: GreySlice, share: float) -> GreySlice:
    """The middle of the body, so small a field of view that its rim is lost; share: of the body's box that is left."""
    box = find_body(grey, None).box
    width, height = (round(share * side) for side in (box.width, box.height))
    left = max(0, round(box.left + (box.width - width) / 2))
    top = max(0, round(box.top + (box.height - height) / 2))
    return grey[top : top + height, left : left + width]


def in_circle(grey: GreySlice, share: float, outside: int) -> GreySlice:
    """Grey of one value outside of a circle about the body, of so many times its box's longer half."""
    box = find_body(grey, None).box
    rows, columns = np.ogrid[: grey.shape[0], : grey.shape[1]]
    radius = share * max(box.width, box.height) / 2
    is_out = (columns - box.left - box.width / 2) ** 2 + (rows - box.top - box.height / 2) ** 2 > radius**2
    return np.asarray(np.where(is_out, np.uint8(outside), grey), np.uint8)


def around(grey: GreySlice, outside: int) -> GreySlice:
    """With one grey value in place of air, table and all that is around the body."""
    return np.asarray(np.where(_inside(find_body(grey, None), grey.shape), grey, np.uint8(outside)), np.uint8)


def _inside(body: Body, shape: tuple[int, ...]) -> np.ndarray:
    inside = np.zeros(shape, np.bool_)
    left, top = round(body.box.left), round(body.box.top)
    right, bottom = round(body.box.left + body.box.width), round(body.box.top + body.box.height)
    mask = cv2.resize((body.grey > 0).astype(np.uint8), (right - left, bottom - top), interpolation=cv2.INTER_NEAREST)
    rows, columns = slice(max(0, top), min(shape[0], bottom)), slice(max(0, left), min(shape[1], right))
    inside[rows, columns] = mask[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] > 0
    return inside


_Step = Callable[[GreySlice, np.random.Generator], GreySlice]

_ACQUISITION: tuple[_Step, ...] = (
    lambda grey, random: blurred(grey, random.uniform(0.4, 1.4)),
    lambda grey, random: sharpened(grey, random.uniform(0.3, 1.3)),
    lambda grey, random: noisy(grey, random.uniform(2, 10), random, random.choice((0.0, 0.7))),
    lambda grey, random: resized(grey, *(random.uniform(0.6, 1.2) * random.uniform(0.95, 1.05, 2))),
    lambda grey, random: stretched(grey, random.uniform(0.78, 1.3), random.uniform(-12, 12)),
    lambda grey, random: contrasted(grey, random.uniform(10, 40)),
    lambda grey, random: cut(grey, random.uniform(0.9, 1.0)),
)
_MOST_STEPS = 3


def acquired(grey: GreySlice, random: np.random.Generator) -> GreySlice:
    """As another scan of the same patient might look: one to three of kernel, noise, size, window, contrast, field."""
    count = random.integers(1, _MOST_STEPS + 1)
    for number in np.sort(random.choice(len(_ACQUISITION), count, replace=False)):
        grey = _ACQUISITION[number](grey, random)
    return grey


_WINDOWS: tuple[tuple[tuple[float, float], tuple[float, float]], ...] = (
    ((20, 70), (320, 460)),
    ((20, 70), (320, 460)),
    ((-750, -400), (1000, 2000)),
    ((200, 500), (1500, 2500)),
    ((-200, 0), (800, 2000)),
)
"""Ranges of level and width in Hounsfield units: mediastinum (twice), lung, bone, and what shows all."""
_OUTSIDE: tuple[_Step, ...] = (
    lambda grey, random: grey,  # noqa: ARG005 - as it is
    lambda grey, random: in_circle(grey, random.uniform(0.95, 1.2), int(random.choice((0, 0, 64, 128)))),
    lambda grey, random: around(grey, int(random.choice((0, 0, 64, 100)))),
    lambda grey, random: cut(grey, random.uniform(0.8, 1.0)),
    lambda grey, random: np.pad(grey, random.integers(1, 80), constant_values=random.choice((0, 0, 64, 128, 255))),
)


def shown(grey: GreySlice, random: np.random.Generator) -> GreySlice:
    """As another hospital might export it: any window and surroundings, noise, another size."""
    level, width = _WINDOWS[random.integers(len(_WINDOWS))]
    grey = resized(grey, *[random.uniform(0.45, 1.1)] * 2) if random.random() < 0.5 else grey  # noqa: PLR2004
    grey = blurred(grey, random.uniform(0.4, 1.2)) if random.random() < 0.3 else grey  # noqa: PLR2004
    if random.random() < 0.4:  # noqa: PLR2004
        grey = noisy(grey, random.uniform(1, 10), random, random.choice((0.0, 0.7)))
    grey = windowed(grey, random.uniform(*level), random.uniform(*width), random)
    return _OUTSIDE[random.integers(len(_OUTSIDE))](grey, random)


ACQUIRED, SHOWN = "acquired", "shown"
VIEWS: dict[str, Callable[[GreySlice, np.random.Generator], GreySlice]] = {ACQUIRED: acquired, SHOWN: shown}
"""What a dataset may hold of each slice besides the slice itself, by name."""
