"""Changes that say nothing of disease, made to a grey slice before it is prepared: by scanner, viewer or file.

Each takes uint8 [h, w] and gives uint8 of the same size, unless the change is one of size. Grey values are those of an
export that shows about 1,200 to 1,500 HU, so that 10 grey values are 50 to 60 HU.
"""

from collections.abc import Callable

import cv2
import numpy as np

from shared.body import find_body
from shared.imaging import PreprocessingSpec
from shared.raster.decode import GreySlice

Change = Callable[[GreySlice], GreySlice]

_BORDER = 40  # pixels on each side
_AIR = PreprocessingSpec().air_grey
_CONTRAST = 35.0  # grey values: about 180 HU, what contrast medium adds to blood


def _linear(gain: float, offset: float) -> Change:
    """Grey values about the middle one, multiplied, and shifted: what another window's width and level do."""
    table = np.clip((np.arange(256) - 127.5) * gain + 127.5 + offset, 0, 255).round().astype(np.uint8)
    return lambda grey: np.asarray(cv2.LUT(grey, table), np.uint8)


def _blur(sigma: float) -> Change:
    return lambda grey: np.asarray(cv2.GaussianBlur(grey, (0, 0), sigma), np.uint8)


def _sharpen(grey: GreySlice) -> GreySlice:
    """Unsharp mask: a sharper kernel's edges and noise."""
    return np.asarray(cv2.addWeighted(grey, 2.0, cv2.GaussianBlur(grey, (0, 0), 1.0), -1.0, 0), np.uint8)


def _noise(deviation: float) -> Change:
    """White noise, the same for equal slices."""

    def add(grey: GreySlice) -> GreySlice:
        random = np.random.default_rng(int(grey.sum()))
        return np.clip(grey + random.normal(0, deviation, grey.shape), 0, 255).round().astype(np.uint8)

    return add


def _vessels(grey: GreySlice) -> GreySlice:
    """Soft tissue within the convex hull of the lungs brightened: heart, great vessels and those in the lungs.

    Crude: muscle and lymph nodes between the lungs brighten, too; bone, which is brighter already, does not.
    """
    tissue = find_body(grey, _AIR).tissue
    body = grey > (tissue + _AIR) / 2
    _, inside = _filled(body)
    dark = (inside & ~body).astype(np.uint8)
    opened = cv2.morphologyEx(dark, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    if not opened.any():
        return grey
    points = cv2.findNonZero(opened)
    hull = np.zeros_like(grey)
    cv2.fillConvexPoly(hull, cv2.convexHull(points), 1)
    is_blood = (hull > 0) & body & (grey < tissue + 30)
    gain = cv2.GaussianBlur(is_blood.astype(np.float32), (0, 0), 1.0) * _CONTRAST
    return np.clip(grey + gain, 0, 255).round().astype(np.uint8)


def _filled(body: np.ndarray) -> tuple[int, np.ndarray]:
    """The largest connected area and all that it encloses."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(body.astype(np.uint8), connectivity=4)
    if len(stats) < 2:  # nothing but background
        return 0, np.zeros_like(body)
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    outlines, _ = cv2.findContours((labels == largest).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros(body.shape, np.uint8)
    cv2.drawContours(filled, outlines, -1, 1, cv2.FILLED)
    return largest, filled > 0


def _border(value: int) -> Change:
    return lambda grey: np.pad(grey, _BORDER, constant_values=value)


def _letterbox(grey: GreySlice) -> GreySlice:
    """Shown on a canvas of 16 to 9, the slice itself as it is: the picture's aspect ratio is another one."""
    width = round(grey.shape[0] * 16 / 9)
    side = max(0, width - grey.shape[1])
    return np.pad(grey, ((0, 0), (side // 2, side - side // 2)))


def _erase_table(grey: GreySlice) -> GreySlice:
    """Air around the body in place of the table and what lies on it."""
    body = grey > (find_body(grey, _AIR).tissue + _AIR) / 2
    _, inside = _filled(body)
    kept = cv2.dilate(inside.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    return np.where(kept, grey, np.minimum(grey, _AIR)).astype(np.uint8)


def _resized(across: float, down: float) -> Change:
    """Pixels stretched or squeezed: the patient's shape is another one."""
    return lambda grey: np.asarray(
        cv2.resize(
            grey, None, fx=across, fy=down, interpolation=cv2.INTER_AREA if min(across, down) < 1 else cv2.INTER_LINEAR
        ),
        np.uint8,
    )


def _jpeg(grey: GreySlice) -> GreySlice:
    _, encoded = cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, 50])
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE), np.uint8)


CHANGES: dict[str, Change] = {
    "unchanged": lambda grey: grey,
    "border, black": _border(0),
    "border, grey": _border(128),
    "border, white": _border(255),
    "letterbox 16:9": _letterbox,
    "table erased": _erase_table,
    "pixels 1.2 times as wide": _resized(1.2, 1.0),
    "pixels 0.85 times as wide": _resized(0.85, 1.0),
    "window 0.8 times as wide": _linear(1 / 0.8, 0),
    "window 1.25 times as wide": _linear(0.8, 0),
    "level 20 grey values down": _linear(1.0, 20),
    "blur, 1 pixel": _blur(1.0),
    "sharpen": _sharpen,
    "noise, 4 grey values": _noise(4.0),
    "noise, 8 grey values": _noise(8.0),
    "vessels brighter": _vessels,
    "JPEG quality 50": _jpeg,
    "three quarters the size": _resized(0.75, 0.75),
}
