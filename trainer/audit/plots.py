"""The pictures of an audit, as PNG bytes: contact sheets, and measures against class."""

import cv2
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from trainer.data.balance import Indices
from trainer.data.cases import natural_key
from trainer.data.dataset import Slices
from trainer.data.image_measures import columns
from trainer.data.similarity import THUMBNAIL_SIDE, Pairs
from trainer.plotting import make_plain, png_of

_COLUMNS = 16
_MAX_ON_SHEET = 48
_GAP = 2
_INKS = ("#3b6ea8", "#d1702f", "#5a8f3c", "#8a5aa8", "#a8863b", "#3ba89a")


def contact_sheet(slices: Slices, rows: Indices) -> bytes:
    """PNG of the thumbnails of rows int64 [m] in the order of their files; of more than 48, 48 evenly spread ones."""
    ordered = np.array(sorted(rows.tolist(), key=lambda row: natural_key(slices.files[row])))
    if len(ordered) > _MAX_ON_SHEET:
        ordered = ordered[np.linspace(0, len(ordered) - 1, _MAX_ON_SHEET).round().astype(int)]
    return _png(_tiled(slices.thumbnails[ordered], _COLUMNS))


def pair_sheet(slices: Slices, pairs: Pairs, count: int = 16) -> bytes:
    """PNG of the first pairs' thumbnails, the two slices of a pair one above the other."""
    shown = np.concatenate([pairs.first[:count], pairs.second[:count]])
    return _png(_tiled(slices.thumbnails[shown], min(count, len(pairs))))


def geometry_figure(slices: Slices) -> bytes:
    """PNG of the size of the image and position and size of the body, in pixels, a point for each slice."""
    figure = Figure(figsize=(12, 4), layout="constrained")
    for axes, (x, y) in zip(
        figure.subplots(1, 3),
        (("image width", "image height"), ("body left", "body top"), ("body width", "body height")),
        strict=True,
    ):
        for label, name, ink in _classes(slices):
            points = columns(slices.measures, x, y)[slices.labels == label]
            axes.plot(*points.T, "o", markersize=3, alpha=0.4, color=ink, label=name, markeredgewidth=0)
        axes.set(xlabel=f"{x}, pixels", ylabel=f"{y}, pixels")
        make_plain(axes)
    figure.axes[0].legend(frameon=False, fontsize=8)
    return png_of(figure)


def intensity_figure(slices: Slices) -> bytes:
    """PNG of the grey values and noise of each class: median, quartiles, and 5 to 95 %."""
    measures = ("mean grey", "darkest grey", "median grey", "brightest grey", "noise", "soft tissue noise")
    figure = Figure(figsize=(12, 3.4), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(measures)), measures, strict=True):
        of_class = [columns(slices.measures, name)[slices.labels == label, 0] for label, _, _ in _classes(slices)]
        boxes = axes.boxplot(of_class, whis=(5, 95), showfliers=False, patch_artist=True, widths=0.6)
        for box, (_, _, ink) in zip(boxes["boxes"], _classes(slices), strict=True):
            box.set(facecolor=ink, alpha=0.6)
        names = [class_name.split()[0] for _, class_name, _ in _classes(slices)]
        axes.set_xticks(range(1, len(names) + 1), names, rotation=30, fontsize=8)
        axes.set_title(name, fontsize=10)
        if "noise" in name:  # kernels differ by factors
            axes.set_yscale("symlog", linthresh=1)
            axes.set_ylim(bottom=0)
        make_plain(axes)
    return png_of(figure)


def _classes(slices: Slices) -> list[tuple[int, str, str]]:
    return [(label, name, _INKS[label % len(_INKS)]) for label, name in enumerate(slices.classes.names)]


def _tiled(thumbnails: NDArray[np.uint8], columns: int) -> NDArray[np.uint8]:
    """uint8 [n, 64, 64] → one picture, white between them."""
    columns = min(columns, len(thumbnails))
    lines = -(-len(thumbnails) // columns)
    step = THUMBNAIL_SIDE + _GAP
    sheet = np.full((lines * step - _GAP, columns * step - _GAP), 255, np.uint8)
    for number, small in enumerate(thumbnails):
        top, left = number // columns * step, number % columns * step
        sheet[top : top + THUMBNAIL_SIDE, left : left + THUMBNAIL_SIDE] = small
    return sheet


def _png(picture: NDArray[np.uint8]) -> bytes:
    return cv2.imencode(".png", picture)[1].tobytes()
