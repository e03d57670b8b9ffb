"""Slices of a narrow window, such as the mediastinum's: the body is found whole, and grey means the same.

Phantoms are exported in a lung window; from their scanner's level and width they are rendered in another one.
"""

import cv2
import numpy as np
import pytest

from shared.body import Body, find_body
from shared.imaging import PreprocessingSpec, to_tensor
from shared.window import Window
from tests.support.acquisitions import MEDIASTINUM, in_window
from trainer.phantoms.phantom import draw_phantom

ANCHORED = PreprocessingSpec(crop="body-mask", intensity="anchored")
SEEDS = (1, 2, 4, 5)


def edges(body: Body) -> tuple[float, ...]:
    return (body.box.left, body.box.top, body.box.left + body.box.width, body.box.top + body.box.height)


@pytest.mark.parametrize("window", [MEDIASTINUM, Window(level=30, width=450)])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_body_is_found_whole(seed: int, window: Window) -> None:
    """With skin and fat, which are darker than Otsu's threshold: its box is the lung window's, to 2 % of the slice."""
    grey = draw_phantom(seed % 3, seed, 8)
    body, narrow = find_body(grey, None), find_body(in_window(grey, seed, window), None)
    assert narrow.is_narrow
    np.testing.assert_allclose(edges(narrow), edges(body), atol=0.02 * 512)
    assert np.count_nonzero(narrow.grey) == pytest.approx(np.count_nonzero(body.grey), rel=0.05)


@pytest.mark.parametrize("window", [None, Window(level=-600, width=1500), Window(level=-300, width=2000)])
@pytest.mark.parametrize("seed", SEEDS)
def test_wider_windows_are_not_narrow(seed: int, window: Window | None) -> None:
    """Lungs are brighter than air there; windpipe and bronchi, which are not, are too small to be taken for lungs."""
    grey = draw_phantom(seed % 3, seed, 8)
    assert not find_body(grey if window is None else in_window(grey, seed, window), None).is_narrow


def test_where_air_is_known_nothing_is_guessed() -> None:
    """DICOM says where air is: no second look is taken."""
    grey = in_window(draw_phantom(0, 1, 8), 1, MEDIASTINUM)
    assert not find_body(grey, 0).is_narrow


@pytest.mark.parametrize("seed", [1, 4, 5])
def test_soft_tissue_has_the_grey_of_the_lung_window(seed: int) -> None:
    """400 HU across all grey values put 45 HU where it is in slices of a lung window; lungs are as black as air."""
    grey = draw_phantom(0, seed, 8)
    lung, narrow = to_tensor(grey, ANCHORED), to_tensor(in_window(grey, seed, MEDIASTINUM), ANCHORED)
    is_tissue, is_lung = np.abs(lung.astype(int) - 222) <= 8, (lung > 5) & (lung < 60)
    assert np.median(narrow[is_tissue]) == pytest.approx(222, abs=8)
    assert np.median(narrow[is_lung]) == 0


def test_a_narrow_window_shows_as_many_hounsfield_units_as_it_does() -> None:
    """Fat at -90 HU lies 135 HU below soft tissue in the tensor, not 135 times what air to tissue would make of it."""
    picture = np.zeros((256, 256), np.uint8)
    for axes, hounsfield in (((116, 92), -90.0), ((104, 80), 45.0)):
        cv2.ellipse(picture, (128, 128), axes, 0, 0, 360, int(MEDIASTINUM.grey_of(hounsfield)), -1)
    for side in (-50, 50):
        cv2.ellipse(picture, (128 + side, 128), (34, 56), 0, 0, 360, 0, -1)
    assert find_body(picture, None).is_narrow
    tensor = to_tensor(picture, ANCHORED)[:, :, 0]
    fat, tissue = int(tensor[112, 10]), int(tensor[112, 112])
    assert tissue == pytest.approx(222, abs=1)
    assert tissue - fat == pytest.approx(135 * 255 / 1200, abs=2)
