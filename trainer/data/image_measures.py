"""What a folder of slices looks like before any preparation: sizes, where the body lies, grey values, noise."""

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.body import body_box
from shared.familiarity import Acquisition
from shared.raster.decode import GreySlice

MEASURES = (
    "image width", "image height", "body left", "body top", "body width", "body height",
    "mean grey", "darkest grey", "median grey", "brightest grey", "noise", "soft tissue noise",
)  # fmt: skip
"""Pixels for the first six, Hounsfield units for the last, grey values for the others; darkest and brightest are the 1
and 99 % percentiles."""

_NOISE_KERNEL = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)


def columns(measures: NDArray[np.float64], *names: str) -> NDArray[np.float64]:
    """Columns of measures float64 [n, 12] by name, float64 [n, names]."""
    return measures[:, [MEASURES.index(name) for name in names]]


def measure(grey: GreySlice, acquisition: Acquisition) -> NDArray[np.float64]:
    """MEASURES of one slice, uint8 [h, w] → float64 [12].

    noise: standard deviation of the grain that no edge explains (Immerkaer 1996, 10.1006/cviu.1996.0060); it tells
    scanners and reconstruction kernels apart. That of soft tissue is the acquisition's, and 0 where it has none.
    """
    height, width = grey.shape
    top, bottom, left, right = body_box(grey)
    grain = cv2.filter2D(grey, cv2.CV_32F, _NOISE_KERNEL)[1:-1, 1:-1]
    noise = float(np.sqrt(np.pi / 2) / 6 * np.abs(grain).mean())
    darkest, median, brightest = np.percentile(grey, [1, 50, 99])
    frame = (width, height, left, top, right - left, bottom - top)
    of_tissue = np.nan_to_num(acquisition.grain)
    return np.array([*frame, grey.mean(), darkest, median, brightest, noise, of_tissue], np.float64)
