"""What a folder of slices looks like before any preparation: sizes, where the body lies, grey values, noise."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.classes import ClassSet
from shared.imaging import body_box
from shared.raster.decode import GreySlice
from trainer.data.balance import Labels
from trainer.data.dataset import FolderIndex, SkippedFile, file_name
from trainer.data.input_pipeline import read_files
from trainer.data.similarity import Thumbnails, thumbnail

MEASURES = (
    "image width", "image height", "body left", "body top", "body width", "body height",
    "mean grey", "darkest grey", "median grey", "brightest grey", "noise",
)  # fmt: skip
"""Pixels for the first six, grey values for the others; darkest and brightest are the 1 and 99 % percentiles."""

_NOISE_KERNEL = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)


@dataclass(frozen=True)
class ImageMeasures:
    """One row for each slice that can be read; fields as in Dataset, and measures float64 [n, 11]."""

    labels: Labels
    digests: tuple[str, ...]
    files: tuple[str, ...]
    thumbnails: Thumbnails
    measures: NDArray[np.float64]
    classes: ClassSet
    skipped: tuple[SkippedFile, ...]
    ignored_folders: tuple[str, ...]
    patients: tuple[str | None, ...] = ()

    def measure(self, *names: str) -> NDArray[np.float64]:
        """Columns of the measures, float64 [n, names]."""
        return self.measures[:, [MEASURES.index(name) for name in names]]


def measure_folder(index: FolderIndex, threads: int | None = None) -> ImageMeasures:
    """Read and measure every file; shows progress. Raises ClassWithoutSlices."""
    kept, skipped = [], []
    for outcome in read_files(index, lambda decoded: (thumbnail(decoded.grey), measure(decoded.grey)), threads):
        if isinstance(outcome, SkippedFile):
            skipped.append(outcome)
        else:
            kept.append(outcome)
    return ImageMeasures(
        labels=np.array([one.file.label for one in kept], np.int64),
        digests=tuple(one.digest for one in kept),
        files=tuple(file_name(one.file.path, index.folder) for one in kept),
        thumbnails=np.stack([one.seen[0] for one in kept]),
        measures=np.stack([one.seen[1] for one in kept]),
        classes=index.classes,
        skipped=tuple(skipped),
        ignored_folders=index.ignored_folders,
        patients=tuple(one.patient for one in kept),
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
