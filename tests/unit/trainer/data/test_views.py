"""Views of a slice: each does what its name says, the same for equal seeds."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from shared.classes import LUNG_CT_CLASSES
from shared.imaging import PreprocessingSpec, to_tensor
from shared.raster.decode import GreySlice
from trainer.data import views
from trainer.data.dataset import AS_IS, index_folder
from trainer.data.input_pipeline import read_dataset
from trainer.data.views import ACQUIRED, SHOWN, VIEWS
from trainer.phantoms.phantom import draw_phantom

AIR, LUNG, TISSUE = 43, 70, 170
SMALL = PreprocessingSpec(height=48, width=48, crop="body-mask", intensity="anchored")


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def chest() -> GreySlice:
    """uint8 [300, 400]: a body of grey 170 with two lungs of 70 in air of 43, ellipse of 300 x 220 about (200, 150)."""
    picture = np.full((300, 400), AIR, np.uint8)
    cv2.ellipse(picture, (200, 150), (150, 110), 0, 0, 360, TISSUE, -1)
    for side in (-70, 70):
        cv2.ellipse(picture, (200 + side, 150), (50, 75), 0, 0, 360, LUNG, -1)
    return picture


def roughness(grey: GreySlice) -> float:
    return float(cv2.Laplacian(grey, cv2.CV_64F).std())


# --- one by one -------------------------------------------------------------------------------------------------------


def test_blurred_is_smoother_and_sharpened_is_rougher() -> None:
    """The more, the more; means stay."""
    grey = draw_phantom(0, 1, 8, side=256)
    blurred, sharpened = ([view(grey, amount) for amount in (1.3, 0.5)] for view in (views.blurred, views.sharpened))
    steps = [*blurred, grey, *reversed(sharpened)]
    rough = [roughness(one) for one in steps]
    assert rough == sorted(rough)
    assert all(one.mean() == pytest.approx(grey.mean(), abs=2) for one in steps)


@pytest.mark.parametrize("grain", [0.0, 0.7])
def test_noise_is_as_strong_as_it_says(grain: float) -> None:
    """So many grey values of standard deviation; with grain, neighbours are alike."""
    noise = views.noisy(np.full((200, 200), 128, np.uint8), 8.0, generator(), grain).astype(float) - 128
    assert noise.std() == pytest.approx(8, rel=0.03)
    assert noise.mean() == pytest.approx(0, abs=0.3)
    alike = np.corrcoef(noise[:, 1:].ravel(), noise[:, :-1].ravel())[0, 1]
    assert (alike > 0.2) == bool(grain)


def test_resized_has_the_size_it_says() -> None:
    """Across and down apart."""
    assert views.resized(chest(), 0.5, 1.2).shape == (360, 200)


def test_stretched_turns_about_the_middle_grey() -> None:
    """Twice the gain doubles the way from there, an offset shifts, and what leaves the range is cut off."""
    ramp = np.arange(256, dtype=np.uint8)[np.newaxis]
    assert views.stretched(ramp, 1.0, 0.0).tolist() == ramp.tolist()
    assert views.stretched(ramp, 1.0, 10.0)[0, [0, 100, 250]].tolist() == [10, 110, 255]
    assert views.stretched(ramp, 2.0, 0.0)[0, [10, 100, 140]].tolist() == [0, 72, 152]


def test_windowed_knows_hounsfield_units_by_air_and_tissue() -> None:
    """In the mediastinum's window soft tissue (45 HU) is a little above the middle, and lungs are as black as air."""
    grey = views.windowed(chest(), 40, 400, generator())
    assert np.median(grey[chest() == TISSUE]) == pytest.approx((45 - 40 + 200) * 256 / 400, abs=2)
    assert grey[chest() != TISSUE].max() == 0
    assert len(np.unique(grey)) > 3  # the steps between few greys are filled


def test_contrast_brightens_what_lies_between_the_lungs() -> None:
    """The mediastinum by so many grey values; skin, lungs and air not at all."""
    grey = chest()
    change = views.contrasted(grey, 30.0).astype(int) - grey
    assert change[150, 200] == 30
    assert change[50, 200] == change[150, 130] == change[5, 5] == 0


def test_a_cut_leaves_the_middle_of_the_body() -> None:
    """So large a share of its box, which ends within it."""
    grey = views.cut(chest(), 0.8)
    assert grey.shape == pytest.approx((0.8 * 221, 0.8 * 301), abs=5)
    assert grey[0, grey.shape[1] // 2] == grey[grey.shape[0] // 2, 0] == TISSUE


def test_in_a_circle_the_slice_is_as_it_was() -> None:
    """Outside of it there is one grey value."""
    grey = views.in_circle(chest(), 1.0, 64)
    rows, columns = np.ogrid[:300, :400]
    away = np.hypot(rows - 150, columns - 200)
    assert set(grey[away > 158].tolist()) == {64}
    assert np.array_equal(grey[away < 147], chest()[away < 147])


def test_around_the_body_there_is_one_grey_value() -> None:
    """Air, table and all; the body with its lungs is as it was."""
    tabled = chest()
    tabled[280:290, 50:350] = 150
    grey = views.around(tabled, 100)
    assert grey[5, 5] == grey[285, 200] == 100
    inside = np.zeros((300, 400), np.uint8)
    cv2.ellipse(inside, (200, 150), (146, 106), 0, 0, 360, 1, -1)
    assert np.array_equal(grey[inside > 0], tabled[inside > 0])


# --- as a dataset has them --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", VIEWS)
def test_equal_seeds_give_equal_views(name: str) -> None:
    """Other seeds other ones; the slice itself stays as it was."""
    grey = draw_phantom(1, 2, 8, side=192)
    before, drawn = grey.copy(), [VIEWS[name](grey, generator(seed)) for seed in (3, 3, 4)]
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])
    assert np.array_equal(grey, before)


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_of_whatever_comes_can_be_prepared(name: str) -> None:
    """Grey values in two dimensions, whatever was drawn of a phantom, a small slice, noise, or nothing at all."""
    pictures = [draw_phantom(0, 3, 8, side=128), chest()[::9, ::12].copy(), np.zeros((40, 40), np.uint8),
                generator().integers(0, 256, (64, 50), np.uint8)]  # fmt: skip
    for number, grey in enumerate(pictures * 12):
        view = VIEWS[name](grey, generator(number))
        assert (view.dtype, view.ndim) == (np.uint8, 2)
        assert to_tensor(view, SMALL).shape == (48, 48, 1)


def test_a_dataset_has_the_views_it_was_asked_for(phantom_folder: Path) -> None:
    """One of each slice, in the order of the slices, drawn by what the slice shows: by any number of threads."""
    index = index_folder(phantom_folder, LUNG_CT_CLASSES)
    first = read_dataset(index, SMALL, threads=1, views=(ACQUIRED, SHOWN))
    again = read_dataset(index, SMALL, threads=4, views=(ACQUIRED, SHOWN))
    assert list(first.seen) == [AS_IS, ACQUIRED, SHOWN]
    for name, images in first.seen.items():
        assert images.shape == (24, 48, 48, 1)
        np.testing.assert_array_equal(images, again.seen[name])
    assert np.mean(first.views[ACQUIRED] != first.images) > 0.1
    plain = read_dataset(index, SMALL)
    assert plain.views == {}
    np.testing.assert_array_equal(plain.images, first.images)
    assert plain.acquisitions == first.acquisitions


def test_a_part_of_a_dataset_keeps_views_and_acquisitions(phantom_folder: Path) -> None:
    """Those of its rows, in their order."""
    dataset = read_dataset(index_folder(phantom_folder, LUNG_CT_CLASSES), SMALL, views=(ACQUIRED,))
    part = dataset.only(np.array([5, 2]))
    np.testing.assert_array_equal(part.views[ACQUIRED], dataset.views[ACQUIRED][[5, 2]])
    assert part.acquisitions == (dataset.acquisitions[5], dataset.acquisitions[2])
    np.testing.assert_array_equal(part.seen[AS_IS], part.images)


def test_a_dataset_knows_how_its_slices_were_acquired(phantom_folder: Path) -> None:
    """Slices of one phantom case share a scanner: their window and grain lie nearer than those of others."""
    dataset = read_dataset(index_folder(phantom_folder, LUNG_CT_CLASSES), SMALL)
    assert len(dataset.acquisitions) == 24
    points = np.array([one.coordinates() for one in dataset.acquisitions])
    within, across = np.abs(points[::2] - points[1::2]), np.abs(points[::2] - np.roll(points[1::2], 1, axis=0))
    assert np.median(within[:, 2]) < 0.5 * np.median(across[:, 2])
