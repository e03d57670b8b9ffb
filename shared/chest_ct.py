"""Does a picture look like a CT slice of the chest? Cheap checks, on what the network sees.

A chest slice has grey values of two kinds, a body that lies in air, and lungs in it: large dark areas that the body
encloses. The checks look at the tensor and not at the file: the body was cut out for that already, and a tensor is
small. They cannot tell a chest from a ring that somebody drew like one; how far its features are from those of chest
slices can (the model's output chest_distance).
"""

import math
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from shared.imaging import SliceTensor
from shared.masks import Mask, bright_part, filled, largest_piece

Check = Literal["colour", "contrast", "body", "tissue", "lungs", "distance"]
"""What can speak against a chest slice."""

_OVERVIEW_SIDE = 64
_SHRUNKEN_SIDE = 112
_GAP = 5  # in the overview, which closes
_FLOODED = 2  # neither 0 nor 1
_LUNG_SHARE = 0.015  # of the body: what is dark and smaller is a bronchus, or between letters
_PLENTY = 0.07  # of the body: no limit asks more of the lungs


@dataclass(frozen=True)
class ChestFigures:
    """What was measured on one slice. Grey 0 is the mean of its darker pixels, 1 that of its brighter ones (Otsu)."""

    contrast: float = 0.0
    """Between the two means, in grey values of the tensor."""
    separation: float = 0.0
    """Share of the variance of grey values that lies between the darker and the brighter ones, 0 to 1."""
    body: float = 1.0
    """Share of the box around the body that the body fills, with all it encloses: an ellipse fills 0.79."""
    aspect: float = 1.0
    """Width of that box by its height: people lie on their back."""
    air: float = 1.0
    """Mean around the body: near 0, as dark as the lungs, or darker."""
    tissue: float = 1.0
    """Standard deviation of the brighter part of the body."""
    lungs: float = 0.0
    """Share of the body that is dark and enclosed by it, in pieces of 1.5 % of it and more."""


class ImageLimits(BaseModel):
    """What a chest slice measures at least and at most; the defaults leave room around every slice of IQ-OTH/NCCD."""

    model_config = ConfigDict(frozen=True)

    min_contrast: float = Field(default=40.0, ge=0, le=255)
    min_separation: float = Field(default=0.81, ge=0, le=1)
    body: tuple[float, float] = (0.62, 0.93)
    aspect: tuple[float, float] = (1.05, 2.6)
    max_air: float = 0.1
    max_tissue: float = 0.22
    lungs: tuple[float, float] = (0.055, 0.55)

    def doubts(self, figures: ChestFigures) -> tuple[Check, ...]:
        """The checks that a slice does not pass. Where nothing can be told apart, nothing else is looked for."""
        if figures.contrast < self.min_contrast or figures.separation < self.min_separation:
            return ("contrast",)
        doubts: list[Check] = []
        is_shaped = _within(figures.body, self.body) and _within(figures.aspect, self.aspect)
        if not is_shaped or figures.air > self.max_air:
            doubts.append("body")
        if figures.tissue > self.max_tissue:
            doubts.append("tissue")
        if not _within(figures.lungs, self.lungs):
            doubts.append("lungs")
        return tuple(doubts)


ANY_FIELD = ImageLimits(body=(0.62, 1.0), aspect=(1.0, 2.6), max_air=1.0, max_tissue=0.25, lungs=(0.055, 0.6))
"""What a chest slice keeps to where its field of view may cut the body; a distance in features refuses the rest."""

NARROW = ImageLimits(
    min_separation=0.78, body=(0.62, 1.0), aspect=(1.0, 2.6), max_air=1.0, max_tissue=0.3, lungs=(0.05, 0.7)
)
"""The same in a narrow window, which shows fat and muscle apart: soft tissue is less even there."""

SURE = ImageLimits(
    min_separation=0.85, body=(0.64, 0.92), aspect=(1.1, 2.5), max_air=0.06, max_tissue=0.2, lungs=(0.07, 0.5)
)
"""What nearly every chest slice keeps to, and little else: nothing more is asked about it."""


class ChestGate(BaseModel):
    """What a version refuses: part of its manifest."""

    model_config = ConfigDict(frozen=True)

    image_limits: ImageLimits | None = ImageLimits()
    """None where the training slices themselves do not keep to any limits that mean something."""
    narrow_limits: ImageLimits | None = None
    """Those of slices in a narrow window (shared.body.Body.is_narrow); None where they are the same."""
    max_distance: float | None = Field(default=None, gt=0)
    """Largest chest_distance of a chest slice; None where the model has no such output, or has seen no patient."""
    figures: dict[str, JsonValue] = {}
    """How many unseen training slices these limits refuse, and the like; for people."""

    def is_too_far(self, chest_distance: float) -> bool:
        """By the model's output; one that is no number is too far."""
        return self.max_distance is not None and not chest_distance <= self.max_distance

    def limits_in(self, *, is_narrow: bool) -> ImageLimits | None:
        """What a slice in such a window must keep to; None where its looks decide nothing."""
        return (self.narrow_limits if is_narrow else None) or self.image_limits


DEFAULT_GATE = ChestGate()
"""For versions that were published before there were limits in the manifest: the image checks alone."""


def look_at(tensor: SliceTensor) -> ChestFigures:
    """Measure uint8 [H, W, 1], as shared.imaging.to_tensor() gives it, in 0.15 to 0.3 ms."""
    grey = _without_padding(_shrunk(tensor[:, :, 0]))
    overview = cv2.resize(grey, (_OVERVIEW_SIDE, _OVERVIEW_SIDE), interpolation=cv2.INTER_LINEAR)
    bright = bright_part(overview)
    count = cv2.countNonZero(bright)
    share = count / bright.size
    if share in (0.0, 1.0):
        return ChestFigures()
    mean, deviation = (float(value[0, 0]) for value in cv2.meanStdDev(overview))
    brighter = cv2.mean(overview, bright)[0]
    darker = (mean - share * brighter) / (1 - share)
    contrast = brighter - darker
    body = filled(_largest(bright, count), _GAP)
    _, _, width, height = cv2.boundingRect(body)
    area = cv2.countNonZero(body)
    return ChestFigures(
        contrast=contrast,
        separation=share * (1 - share) * (contrast / deviation) ** 2,
        body=area / (width * height),
        aspect=width * grey.shape[1] / (height * grey.shape[0]),
        air=(cv2.mean(overview, 1 - body)[0] - darker) / contrast if area < body.size else 1.0,
        tissue=float(cv2.meanStdDev(overview, mask=body & bright)[1][0, 0]) / contrast,
        lungs=_in_large_pieces(body & (1 - bright), area) / area,
    )


def _within(value: float, limits: tuple[float, float]) -> bool:
    return limits[0] <= value <= limits[1]


def _shrunk(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """By a whole number, to 112 or more: that is ten times as fast as by any other."""
    height, width = grey.shape
    factor = max(1, min(height, width) // _SHRUNKEN_SIDE)
    return np.asarray(cv2.resize(grey, (width // factor, height // factor), interpolation=cv2.INTER_AREA), np.uint8)


def _without_padding(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Padding to a square is black, and would pass for air around a body."""
    left, top, width, height = cv2.boundingRect(grey)
    return grey[top : top + height, left : left + width] if width else grey


def _largest(mask: Mask, count: int) -> Mask:
    """The largest connected piece of a mask with so many pixels.

    What the middle row meets first is most of it on nearly every chest slice, and then no other needs to be looked for.
    """
    middle = _OVERVIEW_SIDE // 2
    first = int(mask[middle].argmax())
    flooded = mask.copy()
    if mask[middle, first] and 2 * cv2.floodFill(flooded, None, (first, middle), (_FLOODED,))[0] > count:
        return np.asarray(flooded == _FLOODED).view(np.uint8)
    return largest_piece(mask)


def _in_large_pieces(mask: Mask, body_area: int) -> int:
    """Pixels of the mask in connected pieces of 1.5 % of the body and more.

    A piece that holds a square of that area is large, and squares are found five times as fast as pieces: where they
    are plenty, every pixel of the mask is counted, as no limit then hangs on the small pieces.
    """
    at_least = _LUNG_SHARE * body_area
    side = math.ceil(math.sqrt(at_least))
    wide = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((side, side), np.uint8))
    if cv2.countNonZero(wide) >= _PLENTY * body_area:
        return cv2.countNonZero(mask)
    _, labels = cv2.connectedComponents(mask, connectivity=4, ltype=cv2.CV_16U)
    areas = np.bincount(labels.ravel())[1:]
    return int(areas[areas >= at_least].sum())
