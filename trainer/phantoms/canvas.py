"""Where a phantom is drawn: millimetres in, Hounsfield units on pixels out."""

import cv2
import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
"""float64 [n, 2]: x and y, in mm unless said otherwise."""
Mask = NDArray[np.bool_]
"""bool [side, side]."""

_SUBPIXEL_BITS = 4  # OpenCV takes coordinates in 1/16 pixel


class Canvas:
    """One slice in Hounsfield units, float32 [side, side], at first all air."""

    def __init__(self, side: int, field_mm: float, centre_mm: tuple[float, float], tilt_deg: float) -> None:
        """centre_mm: where the origin lies, from the middle of the field. tilt_deg: how far the patient is turned."""
        self.side, self.pixels_per_mm = side, side / field_mm
        cos, sin = np.cos(np.radians(tilt_deg)), np.sin(np.radians(tilt_deg))
        self._turn = np.array([[cos, sin], [-sin, cos]]) * self.pixels_per_mm
        self._origin = np.array(centre_mm) * self.pixels_per_mm + side / 2
        self.hounsfield = np.full((side, side), -1000, np.float32)

    def to_pixels(self, points: Points) -> Points:
        """Points float64 [n, 2] in mm → pixels, x and y."""
        return np.asarray(points @ self._turn + self._origin, np.float64)

    def to_mm(self, pixels: Points) -> Points:
        """Points float64 [n, 2] in pixels, x and y → mm."""
        return np.asarray((pixels - self._origin) @ np.linalg.inv(self._turn), np.float64)

    def fill(self, outline: Points, value: float) -> None:
        """Fill a polygon, points [n, 2] in mm, with Hounsfield units."""
        cv2.fillPoly(self.hounsfield, [self._fixed_point(outline)], value, shift=_SUBPIXEL_BITS)

    def fill_mask(self, mask: NDArray[np.uint8], outline: Points, value: int) -> None:
        """Fill a polygon in a mask, uint8 [side, side], with softened edges where value is 255."""
        line = cv2.LINE_AA if value == 255 else cv2.LINE_8  # noqa: PLR2004 - shares of a pixel, not marks
        cv2.fillPoly(mask, [self._fixed_point(outline)], value, line, _SUBPIXEL_BITS)

    def stroke(self, line: Points, width_mm: float, value: float) -> None:
        """Draw an open line through points [n, 2] in mm, of a width in mm, in Hounsfield units."""
        width = max(1, round(width_mm * self.pixels_per_mm))
        cv2.polylines(
            self.hounsfield,
            [self._fixed_point(line)],
            isClosed=False,
            color=value,
            thickness=width,
            shift=_SUBPIXEL_BITS,
        )

    def _fixed_point(self, points: Points) -> NDArray[np.int32]:
        return np.asarray(np.rint(self.to_pixels(points) * 2**_SUBPIXEL_BITS), np.int32)


def ellipse(x: float, y: float, half_x: float, half_y: float) -> Points:
    """Outline of an ellipse about (x, y) in 48 points, float64 [48, 2], mm."""
    angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    return np.stack([x + half_x * np.cos(angles), y + half_y * np.sin(angles)], axis=1)
