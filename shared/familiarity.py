"""Is a chest slice like those that a version was trained on? A score, its limit, and what is unlike, in words.

A slice is strange where no training case was acquired and shown like it, or where the network's features lie far from
those of training slices. The score is a conformal p-value (Vovk et al. 2005, 10.1007/b106715): the share of training
slices, each judged as a new one, that are at least as strange. So about the limit's share of
new slices of the same kind is called unfamiliar, whatever the version saw.
"""

import math
from dataclasses import KW_ONLY, dataclass, fields
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from shared.body import Body, find_body
from shared.dicom.known_tags import KnownTags
from shared.dicom.scan_tags import ScanTags
from shared.imaging import Placed
from shared.raster.decode import GreySlice

_TISSUE_HU = 1045  # from air to soft tissue
_SOFT, _DARK = 0.08, 0.45  # of the way between air and soft tissue: around the one, and up from the other
_FEWEST = 200  # pixels, below which their grain is not known
_AT_THAT_NOISE = (0.8, 1.25)  # of a slice's grain: cases that are as noisy
_FEW_CASES = 3


@dataclass(frozen=True, slots=True)
class Acquisition:
    """How a slice was acquired and shown, as far as it shows. Grain is a standard deviation in Hounsfield units, of
    what is finer than a pixel or two: kernel, thickness and dose decide about it. NaN where it cannot be measured.
    """

    contrast: float
    """Grey values from air to soft tissue, as the slice was exported: the window's width decides about it."""
    air: float
    """Grey value of air: the window's level, too."""
    grain: float
    """Of soft tissue, up to one pixel."""
    coarse_grain: float
    """Of soft tissue, from one pixel to two."""
    lung_grain: float
    coarse_lung_grain: float
    _: KW_ONLY
    is_narrow: bool = False
    """Whether its window is so narrow that lungs are as dark as air; the chest gate asks."""
    tags: ScanTags | None = None
    """What a DICOM file says of it; None for exported images."""

    def coordinates(self) -> NDArray[np.float64]:
        """float64 [6]: in which slices are compared; grain by its logarithm, as it multiplies."""
        contrast, air, *grain = (getattr(self, name) for name in _WORDS)
        return np.array([contrast, air, *np.log(np.maximum(grain, 0.5))], np.float64)


_WORDS = {
    "contrast": ("Air and soft tissue are {} distinct", "less", "more", "grey values"),
    "air": ("Air is {}", "darker", "brighter", "grey values"),
    "grain": ("Soft tissue is {}", "smoother", "noisier", "HU of grain"),
    "coarse_grain": ("Soft tissue has {} coarse grain", "less", "more", "HU"),
    "lung_grain": ("The lungs are {}", "smoother", "noisier", "HU of grain"),
    "coarse_lung_grain": ("The lungs have {} coarse grain", "less", "more", "HU"),
}
_NO_CASE = "No training case was acquired and shown like this: its window, sharpness and noise do not occur together."
UNKNOWN_TAG = 1e9
"""Strangeness of a slice with a decisive tag that is unknown: beyond all that is measured."""
_TEXTURE = "To the model's own features, the slice is unlike those that it was trained on."


@dataclass(frozen=True, slots=True)
class Familiarity:
    """What is said of one slice."""

    score: float
    limit: float
    is_familiar: bool
    reasons: tuple[str, ...]


class KnownCases(BaseModel):
    """Where training cases lie among all acquisitions: by some of their slices, which stand for the others."""

    model_config = ConfigDict(frozen=True)

    centres: tuple[tuple[float, ...], ...] = Field(min_length=1)
    """Coordinates of these slices."""
    classes: tuple[int, ...]
    """Index of the class of each."""
    case_of: tuple[int, ...] = ()
    """Number of the case of each; empty where each is a case of its own."""
    spread: tuple[float, ...]
    """How far slices lie from the middle of their case, in each coordinate: 90 % of them within 1.645 spreads."""

    @cached_property
    def points(self) -> NDArray[np.float64]:
        """The centres, float64 [m, 6]: made once, as every answer asks for them."""
        return np.asarray(self.centres, np.float64)

    def count(self, is_meant: NDArray[np.bool_] | None = None) -> int:
        """How many cases there are, or have one of the centres that are meant, bool [m]."""
        cases = np.asarray(self.case_of or range(len(self.centres)))
        return len(np.unique(cases if is_meant is None else cases[is_meant]))

    def distance(self, coordinates: NDArray[np.float64]) -> float:
        """To the nearest of them, in spreads: 0 and more; what was not measured is left out."""
        known = np.isfinite(coordinates)
        apart = (self.points[:, known] - coordinates[known]) / np.asarray(self.spread)[known]
        return float(np.sqrt((apart**2).sum(axis=1).min()))


class FamiliarityRules(BaseModel):
    """What a version knows: part of its manifest."""

    model_config = ConfigDict(frozen=True)

    limit: float = Field(gt=0, lt=1)
    """Scores below it are unfamiliar."""
    cases: KnownCases
    acquisition_unit: float = Field(gt=0)
    texture_unit: float = Field(gt=0)
    """What hardly any unseen training slice exceeds: the unit in which distances are compared. texture is the model's
    output familiarity_distance."""
    levels: tuple[float, ...] = Field(min_length=2)
    """Strangeness of unseen training slices at equally spaced shares of them, from the least to the most."""
    tags: KnownTags = KnownTags()
    figures: dict[str, JsonValue] = {}
    """How many unseen slices are unfamiliar, and the like; for people."""

    def judge(self, acquisition: Acquisition, texture: float | None) -> Familiarity:
        """Of one slice. texture: the model's familiarity_distance, where it has that output."""
        coordinates = acquisition.coordinates()
        by_acquisition, by_texture = self.strangeness(coordinates, texture)
        unknown = self.tags.unknown(acquisition.tags)
        by_tags = UNKNOWN_TAG if unknown.keys() & self.tags.decisive else 0.0
        score = self.score(max(by_acquisition, by_texture, by_tags))
        if score >= self.limit:
            return Familiarity(score, self.limit, is_familiar=True, reasons=())
        reasons = []
        if self.score(by_acquisition) < self.limit:
            reasons = self._outside(acquisition, coordinates) or [_NO_CASE]
        if self.score(by_texture) < self.limit:
            reasons.append(_TEXTURE)
        reasons += unknown.values()
        return Familiarity(score, self.limit, is_familiar=False, reasons=tuple(reasons))

    def strangeness(self, coordinates: NDArray[np.float64], texture: float | None) -> tuple[float, float]:
        """Of how a slice was acquired and of its texture, each around 1 at most for what is known."""
        far = math.inf if texture is not None and math.isnan(texture) else texture or 0.0
        return self.cases.distance(coordinates) / self.acquisition_unit, far / self.texture_unit

    def score(self, strangeness: float) -> float:
        """Share of unseen training slices that are at least so strange, 0 to 1."""
        return float(np.mean(np.asarray(self.levels) >= strangeness))

    def few_cases(self, acquisition: Acquisition, class_name: str, class_index: int) -> str | None:
        """What a reader of "not this class" must know where hardly a case of it was as noisy; None elsewhere."""
        if not np.isfinite(acquisition.grain):
            return None
        column = [field.name for field in fields(Acquisition)].index("grain")
        low, high = (math.log(max(acquisition.grain, 0.5) * share) for share in _AT_THAT_NOISE)
        grain, classes = self.cases.points[:, column], np.asarray(self.cases.classes)
        count = self.cases.count((classes == class_index) & (grain >= low) & (grain <= high))
        if count >= _FEW_CASES:
            return None
        cases = ("no case", "1 case", "2 cases")[count]
        return (
            f"It is not called {class_name}, but at its noise ({acquisition.grain:.0f} HU) the model was trained on "
            f"{cases} of {class_name}: that rests on little."
        )

    def _outside(self, acquisition: Acquisition, coordinates: NDArray[np.float64]) -> list[str]:
        """A sentence for each measure that lies beyond those of all cases."""
        centres, spread, reasons = self.cases.points, np.asarray(self.cases.spread), []
        for number, (name, (sentence, below, above, unit)) in enumerate(_WORDS.items()):
            low, high = centres[:, number].min() - spread[number], centres[:, number].max() + spread[number]
            if low <= coordinates[number] <= high or not np.isfinite(coordinates[number]):
                continue
            least, most = (math.exp(end) if "grain" in name else end for end in (low, high))
            how = sentence.format(below if coordinates[number] < low else above)
            value = getattr(acquisition, name)
            reasons.append(f"{how} than in every training case: {value:.0f} {unit}, there {least:.0f} to {most:.0f}.")
        return reasons


def acquisition_of(grey: GreySlice, placed: Placed, air: int | None, tags: ScanTags | None = None) -> Acquisition:
    """Measure a slice uint8 [h, w] that shared.imaging.place() has placed, in some milliseconds; air as there.

    tags: what its file says.
    """
    body: Body = placed.body or find_body(grey, air)
    contrast, height = body.tissue - body.air, len(body.grey)
    middle = body.grey[height // 4 : -(-3 * height // 4)]  # has lungs and soft tissue, for half of the time
    unit, cut = _TISSUE_HU / max(contrast, 1.0), middle.astype(np.float32)
    smooth = cv2.GaussianBlur(cut, (0, 0), 2.0)
    inside = np.asarray(middle > 0).view(np.uint8)
    soft = cv2.inRange(smooth, body.tissue - _SOFT * contrast, body.tissue + _SOFT * contrast)
    dark = cv2.inRange(smooth, 0.0, body.air + _DARK * contrast)
    soft = np.asarray(cv2.erode(np.asarray(soft, np.uint8) & inside, np.ones((7, 7), np.uint8)), np.uint8)
    dark = np.asarray(cv2.erode(np.asarray(dark, np.uint8) & inside, np.ones((5, 5), np.uint8)), np.uint8)
    once = cv2.GaussianBlur(cut, (0, 0), 1.0)
    grain, coarse_grain, lung_grain, coarse_lung_grain = (
        _deviation(band, mask) * unit for mask in (soft, dark) for band in (cut - once, once - smooth)
    )
    return Acquisition(
        contrast=float(contrast),
        air=float(body.air),
        grain=grain,
        coarse_grain=coarse_grain,
        lung_grain=lung_grain,
        coarse_lung_grain=coarse_lung_grain,
        is_narrow=body.is_narrow,
        tags=tags,
    )


def _deviation(band: NDArray[np.float32], mask: NDArray[Any]) -> float:
    if cv2.countNonZero(mask) < _FEWEST:
        return math.nan
    return float(cv2.meanStdDev(band, mask=mask)[1][0, 0])
