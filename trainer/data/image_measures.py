"""What a folder of slices looks like before any preparation: sizes, where the body lies, grey values, noise."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.body import body_box
from shared.raster.decode import GreySlice
from trainer.data.dataset import FolderIndex, Slices
from trainer.data.input_pipeline import read_files

MEASURES = (
    "image width", "image height", "body left", "body top", "body width", "body height",
    "mean grey", "darkest grey", "median grey", "brightest grey", "noise",
)  # fmt: skip
"""Pixels for the first six, grey values for the others; darkest and brightest are the 1 and 99 % percentiles."""

_NOISE_KERNEL = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)


@dataclass(frozen=True, kw_only=True)
class ImageMeasures(Slices):
    """Slices that can be read. measures: float64 [n, 11], columns as in MEASURES."""

    measures: NDArray[np.float64]
    ignored_folders: tuple[str, ...]

    def columns(self, *names: str) -> NDArray[np.float64]:
        """Columns of the measures by name, float64 [n, names]."""
        return self.measures[:, [MEASURES.index(name) for name in names]]


def measure_folder(index: FolderIndex, threads: int | None = None) -> ImageMeasures:
    """Read and measure every file; shows progress. Raises ClassWithoutSlices."""
    read = read_files(index, lambda decoded: measure(decoded.grey), threads)
    return ImageMeasures(
        **read.fields(),
        measures=np.stack([one.seen for one in read.whole]),
        ignored_folders=index.ignored_folders,
    )


def measure(grey: GreySlice) -> NDArray[np.float64]:
    """MEASURES of one slice, uint8 [h, w] → float64 [11].

    noise: standard deviation of the grain that no edge explains (Immerkaer 1996, 10.1006/cviu.1996.0060); it tells
    scanners and reconstruction kernels apart.
    """
    height, width = grey.shape
    top, bottom, left, right = body_box(grey)
    grain = cv2.filter2D(grey, cv2.CV_32F, _NOISE_KERNEL)[1:-1, 1:-1]
    noise = float(np.sqrt(np.pi / 2) / 6 * np.abs(grain).mean())
    darkest, median, brightest = np.percentile(grey, [1, 50, 99])
    frame = (width, height, left, top, right - left, bottom - top)
    return np.array([*frame, grey.mean(), darkest, median, brightest, noise], np.float64)
