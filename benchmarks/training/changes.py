"""Changes that say nothing of disease, made to a grey slice before it is prepared: by scanner, viewer or file.

Each takes uint8 [h, w] and gives uint8 of the same size, unless the change is one of size. Grey values are those of an
export that shows about 1,200 to 1,500 HU, so that 10 grey values are 50 to 60 HU.
"""

from collections.abc import Callable

import cv2
import numpy as np

from shared.body import find_body
from shared.raster.decode import GreySlice
from trainer.data import views

Change = Callable[[GreySlice], GreySlice]

_BORDER = 40  # pixels on each side
_CONTRAST = 35.0  # grey values: about 180 HU, what contrast medium adds to blood


def _noise(deviation: float) -> Change:
    """White noise, the same for equal slices."""
    return lambda grey: views.noisy(grey, deviation, np.random.default_rng(int(grey.sum())))


def _border(value: int) -> Change:
    return lambda grey: np.pad(grey, _BORDER, constant_values=value)


def _letterbox(grey: GreySlice) -> GreySlice:
    """Shown on a canvas of 16 to 9, the slice itself as it is: the picture's aspect ratio is another one."""
    width = round(grey.shape[0] * 16 / 9)
    side = max(0, width - grey.shape[1])
    return np.pad(grey, ((0, 0), (side // 2, side - side // 2)))


def _jpeg(grey: GreySlice) -> GreySlice:
    _, encoded = cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, 50])
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE), np.uint8)


CHANGES: dict[str, Change] = {
    "unchanged": lambda grey: grey,
    "border, black": _border(0),
    "border, grey": _border(128),
    "border, white": _border(255),
    "letterbox 16:9": _letterbox,
    "table erased": lambda grey: views.around(grey, find_body(grey, None).air),
    "pixels 1.2 times as wide": lambda grey: views.resized(grey, 1.2, 1.0),
    "pixels 0.85 times as wide": lambda grey: views.resized(grey, 0.85, 1.0),
    "window 0.8 times as wide": lambda grey: views.stretched(grey, 1 / 0.8, 0),
    "window 1.25 times as wide": lambda grey: views.stretched(grey, 0.8, 0),
    "level 20 grey values down": lambda grey: views.stretched(grey, 1.0, 20),
    "blur, 1 pixel": lambda grey: views.blurred(grey, 1.0),
    "sharpen": lambda grey: views.sharpened(grey, 1.0),
    "noise, 4 grey values": _noise(4.0),
    "noise, 8 grey values": _noise(8.0),
    "vessels brighter": lambda grey: views.contrasted(grey, _CONTRAST),
    "JPEG quality 50": _jpeg,
    "three quarters the size": lambda grey: views.resized(grey, 0.75, 0.75),
}
