"""How slices were acquired, and what a version knows of that, for tests."""

import math
from typing import Any

import numpy as np

from shared.familiarity import Acquisition, FamiliarityRules, KnownCases
from shared.raster.decode import GreySlice
from shared.window import Window
from trainer.phantoms.scanner import scanner_of

MEDIASTINUM = Window(level=40, width=400)


def acquisition(contrast: float = 120.0, air: float = 40.0, grain: float = 10.0, **changes: Any) -> Acquisition:
    """A slice that is as grainy everywhere; a change replaces one measure."""
    grains = dict.fromkeys(("grain", "coarse_grain", "lung_grain", "coarse_lung_grain"), grain)
    return Acquisition(**{"contrast": contrast, "air": air, **grains, **changes})


def known(*cases: Acquisition, classes: tuple[int, ...] | None = None, **changes: Any) -> FamiliarityRules:
    """Rules of a version that has seen these cases; by default one of class 0. Spreads are 2 grey values and 10 %.

    Without changes, strangeness is distance in spreads over 3, unseen training slices have 0 to 1 of it evenly, and
    less than 1 in 100 is too little.
    """
    centres = tuple(tuple(one.coordinates().tolist()) for one in cases or (acquisition(),))
    of_cases = KnownCases(
        centres=centres, classes=classes or (0,) * len(centres), spread=(2.0, 2.0, *(math.log(1.1),) * 4)
    )
    fields = {"limit": 0.01, "acquisition_unit": 3.0, "texture_unit": 2.0, "levels": tuple(np.linspace(0, 1, 101))}
    return FamiliarityRules(**{"cases": of_cases, **fields, **changes})


def in_window(phantom: GreySlice, case_seed: int, window: Window) -> GreySlice:
    """The phantom of a case as it had been exported in another window; what its own has cut off stays lost."""
    scanner = scanner_of(case_seed)
    hounsfield = phantom.astype(np.float64) * (scanner.width_hu / 255) + scanner.level_hu - scanner.width_hu / 2
    return window.apply(hounsfield)
