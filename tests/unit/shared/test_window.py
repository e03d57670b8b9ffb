"""Samples → grey."""

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from shared.window import LUNG_WINDOW, WHOLE_16_BIT, Window


def test_a_window_is_cut_into_256_equal_steps() -> None:
    """Level is the middle; half the width below it is the last black, half above it the first that is all white."""
    window = Window(level=0, width=256)
    samples = np.array([-1000, -129, -128, -127, -1, 0, 1, 127, 128, 1000], np.int16)
    assert window.apply(samples).tolist() == [0, 0, 0, 1, 127, 128, 129, 255, 255, 255]


def test_the_whole_of_16_bits_is_their_high_byte() -> None:
    """So a 16-bit PNG is seen as it always was."""
    samples = np.arange(65536, dtype=np.uint16)
    assert np.array_equal(WHOLE_16_BIT.apply(samples), (samples >> 8).astype(np.uint8))


@pytest.mark.parametrize("value", [-5000, -1350, -1000, -600, 45, 149, 150, 5000])
def test_the_grey_of_one_value_is_that_of_the_picture(value: int) -> None:
    """grey_of() and apply() agree."""
    assert LUNG_WINDOW.grey_of(value) == LUNG_WINDOW.apply(np.array([value], np.int16))[0]


@pytest.mark.parametrize("fields", [{"width": 0}, {"level": float("nan")}, {"width": float("inf")}, {"level": 1e9}])
def test_a_window_that_shows_nothing_is_refused(fields: dict[str, Any]) -> None:
    """No width, no number, beyond all samples."""
    with pytest.raises(ValidationError):
        Window.model_validate({"level": 0, "width": 100} | fields)
