"""Samples of more than eight bits → grey, by a window: which of their values become black, and which white."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

_GREYS = 256
_MOST_OF_8_BITS, _MOST_OF_12_BITS = 2**8 - 1, 2**12 - 1


class Window(BaseModel):
    """A window: level is its middle and width its extent, in the unit of the samples (Hounsfield units in DICOM).

    The linear function of DICOM (PS3.3, C.11.2.1.3.2 LINEAR_EXACT), cut into 256 equal steps: the high byte of 16 bits
    is the window of level 32768 and width 65536.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    level: float = Field(allow_inf_nan=False, ge=-1e6, le=1e6)
    width: float = Field(allow_inf_nan=False, ge=1, le=1e6)

    def apply(self, samples: NDArray[Any]) -> NDArray[np.uint8]:
        """Samples of any shape and numeric type → uint8 of the same shape; what lies outside is black or white."""
        steps = np.subtract(samples, self.level - self.width / 2, dtype=np.float32)
        steps *= _GREYS / self.width
        np.clip(steps, 0, _GREYS - 1, out=steps)
        grey: NDArray[np.uint8] = steps.astype(np.uint8)  # towards zero: the step that a sample is in
        return grey

    def grey_of(self, value: float) -> int:
        """The grey value that one sample becomes."""
        step = (value - self.level + self.width / 2) * _GREYS / self.width
        return min(max(math.floor(step), 0), _GREYS - 1)


LUNG_WINDOW = Window(level=-600, width=1500)
"""What lungs are read in, in Hounsfield units; always this one, whatever window a file recommends."""

WHOLE_16_BIT = Window(level=32768, width=65536)
"""Every value of a 16-bit image."""


def whole_range(most: int, significant_bits: int | None) -> Window | None:
    """Every value that 16-bit samples can have whose greatest is this; None where that cannot be told.

    significant_bits: what a PNG says of them. Its encoder should have scaled them up to 16 bits (PNG 3rd edition,
    12.4), and some do not: then none needs more bits.
    """
    if significant_bits is None:
        return None if _MOST_OF_8_BITS < most <= _MOST_OF_12_BITS else WHOLE_16_BIT
    if most >= 2**significant_bits:
        return WHOLE_16_BIT
    return Window(level=2 ** (significant_bits - 1), width=2**significant_bits)
