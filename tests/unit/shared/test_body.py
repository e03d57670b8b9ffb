"""The body on a slice: found alike whatever surrounds it, and whole in narrow windows, such as the mediastinum's."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from shared.body import Body, find_body
from shared.imaging import PreprocessingSpec, to_tensor
from shared.masks import otsu
from shared.raster.decode import decode_grey
from shared.window import Window
from tests.support.acquisitions import MEDIASTINUM, in_window
from trainer.phantoms.phantom import draw_phantom

AIR = 43
ANCHORED = PreprocessingSpec(crop="body-mask", intensity="anchored")
SEEDS = (1, 2, 4, 5)


def scene(table: bool = True) -> np.ndarray:
    """uint8 [512, 512]: a body of grey 170 with two lungs and some noise in air of grey 43, above a curved table."""
    picture = np.full((512, 512), AIR, np.uint8)
    if table:
        cv2.ellipse(picture, (256, 330), (230, 90), 0, 20, 160, 150, 8)
    cv2.ellipse(picture, (256, 240), (180, 130), 0, 0, 360, 170, -1)
    for side in (-80, 80):
        cv2.ellipse(picture, (256 + side, 235), (60, 90), 0, 0, 360, 60, -1)
    noise = np.random.default_rng(0).integers(-3, 4, picture.shape)
    return (picture + np.where(picture > AIR, noise, 0)).astype(np.uint8)


def bordered(grey: np.ndarray, value: int, sides: tuple[int, int, int, int] = (40, 20, 0, 90)) -> np.ndarray:
    return cv2.copyMakeBorder(grey, *sides, cv2.BORDER_CONSTANT, value=value)


def test_the_box_is_the_body_without_its_table() -> None:
    """The box is the ellipse's, to five pixels; the lungs are inside, the table is not; around the body all is 0."""
    body = find_body(scene(), AIR)
    assert body.grey.shape == pytest.approx((261, 361), abs=5)
    assert abs(body.tissue - 170) <= 1
    assert body.grey[0, 0] == 0
    assert body.grey[body.grey.shape[0] // 2, 100] in range(56, 65)


@pytest.mark.parametrize("outside", [20, 43, 64, 90])
def test_air_is_what_lies_around_the_body(outside: int) -> None:
    """Where no file says it, the ring around the body does, grey or dark, table or none; the body stays the same."""
    picture = scene(table=False)
    picture[(picture > AIR) & (picture < 100)] += 50  # the lungs, so that they are brighter than any air here
    picture[picture == AIR] = outside
    found, expected = find_body(picture, None), find_body(picture, outside)
    assert found.air == outside
    assert found.box == expected.box


def windpipe_scene() -> np.ndarray:
    """A body whose windpipe shows air at 43 while its lungs are brighter."""
    picture = scene(table=False)
    cv2.circle(picture, (256, 190), 14, AIR, -1)
    return picture


def test_black_around_the_body_is_no_air() -> None:
    """Where somebody blackened the surroundings, the darkest of the body's inside is air: the windpipe."""
    found = find_body(windpipe_scene(), AIR)
    around = np.zeros((512, 512), np.uint8)
    rows, columns = (round(value) for value in (found.box.top, found.box.left))
    around[rows : rows + found.grey.shape[0], columns : columns + found.grey.shape[1]] = found.grey
    assert find_body(around, None).air == pytest.approx(AIR, abs=4)


def test_a_field_that_cuts_the_body_shows_air_inside_it() -> None:
    """No ring is left where the picture ends within the body."""
    assert find_body(windpipe_scene()[125:355, 95:417], None).air == pytest.approx(AIR, abs=4)


def test_air_that_is_given_stays() -> None:
    """Nothing is looked for where the file says it."""
    assert find_body(scene(), 10).air == 10


@pytest.mark.parametrize("value", [0, 43, 128, 255])
def test_borders_change_no_pixel(value: int) -> None:
    """Black, air-grey, grey and white borders, one-sided or around, leave the same tensor."""
    np.testing.assert_array_equal(to_tensor(bordered(scene(), value), ANCHORED), to_tensor(scene(), ANCHORED))
    twice = bordered(bordered(scene(), 255 - value), value, (10,) * 4)
    np.testing.assert_array_equal(to_tensor(twice, ANCHORED), to_tensor(scene(), ANCHORED))


def test_erasing_the_table_changes_no_pixel() -> None:
    """The tensor is the same with the table and without it."""
    np.testing.assert_array_equal(to_tensor(scene(table=False), ANCHORED), to_tensor(scene(), ANCHORED))


def test_anchors_cancel_the_window() -> None:
    """The same slice exported with 10 % less contrast around air has the same anchored grey, to one value."""
    flat = (AIR + (scene().astype(float) - AIR) * 0.9).round().astype(np.uint8)
    difference = to_tensor(flat, ANCHORED).astype(int) - to_tensor(scene(), ANCHORED)
    assert np.quantile(np.abs(difference), 0.99) <= 2
    exported = ANCHORED.model_copy(update={"intensity": "exported"})
    difference = to_tensor(flat, exported).astype(int) - to_tensor(scene(), exported)
    assert np.quantile(np.abs(difference), 0.99) > 5


def test_anchored_grey_is_in_hounsfield_units() -> None:
    """Soft tissue (45 HU) comes as 1045 / 1200 of 255, worked out by hand; air inside the body as 0."""
    tensor = to_tensor(scene(), ANCHORED)
    assert np.median(tensor[tensor > 150]) == pytest.approx(222, abs=1)


def test_anchoring_needs_the_mask() -> None:
    """A spec that anchors without finding the body is refused, naming both fields."""
    with pytest.raises(ValueError, match=r'needs crop "body-mask", got "none"'):
        PreprocessingSpec(crop="none", intensity="anchored")


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((64, 64), np.uint8),
        np.full((300, 200), 255, np.uint8),
        np.random.default_rng(1).integers(0, 256, (512, 512), np.uint8),
        np.random.default_rng(2).integers(0, 256, (32, 32), np.uint8),
        np.random.default_rng(3).integers(0, 256, (32, 6000), np.uint8),
        np.random.default_rng(4).integers(0, 256, (6000, 33), np.uint8),
        np.eye(64, dtype=np.uint8) * 255,
        np.linspace(0, 255, 512 * 512).reshape(512, 512).astype(np.uint8),
        np.pad(np.full((5, 5), 255, np.uint8), 100),
    ],
    ids=["black", "white", "noise", "small-noise", "strip", "column", "diagonal", "ramp", "dot"],
)
def test_whatever_comes_gives_a_tensor(picture: np.ndarray) -> None:
    """Slices without a body are taken whole: there is a tensor, with no error, of the shape that was asked for."""
    for pad in ("square", "none"):
        spec = PreprocessingSpec(height=64, width=96, crop="body-mask", intensity="anchored", pad=pad)
        assert to_tensor(picture, spec).shape == (64, 96, 1)
    assert find_body(picture, AIR).grey.size > 0


def test_large_slices_are_shrunk_first() -> None:
    """A slice at three times the resolution gives nearly the same tensor, though its body is cut from fewer pixels."""
    large = scene().repeat(3, axis=0).repeat(3, axis=1)
    assert max(find_body(large, AIR).grey.shape) <= 640
    assert np.abs(to_tensor(large, ANCHORED).astype(int) - to_tensor(scene(), ANCHORED)).mean() < 3


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_phantoms_have_bodies(kind: int) -> None:
    """On a drawn slice the box leaves some of the frame out and some of the body in."""
    phantom = draw_phantom(kind, 5, 2)
    assert 0.2 < find_body(phantom, AIR).grey.size / phantom.size < 1


def test_otsu_agrees_with_opencv() -> None:
    """On random histograms the threshold is OpenCV's."""
    generator = np.random.default_rng(5)
    for _ in range(20):
        dark, bright = generator.normal(generator.uniform(20, 90), 12, 900), generator.normal(170, 20, 600)
        grey = np.clip(np.concatenate([dark, bright]), 0, 255).astype(np.uint8).reshape(30, 50)
        expected, _ = cv2.threshold(grey, 0, 255, cv2.THRESH_OTSU)
        assert otsu(np.bincount(grey.ravel(), minlength=256).astype(float)) == expected


@pytest.mark.real_data
def test_borders_and_table_change_nothing_on_real_slices(real_slices: Path) -> None:
    """On real slices borders of any grey change no pixel at all, and a body is found on more than 95 %."""
    shares = []
    for file in sorted(real_slices.glob("*/*.jpg"))[::40]:
        grey = decode_grey(file.read_bytes())
        expected = to_tensor(grey, ANCHORED)
        for value in (0, 43, 255):
            np.testing.assert_array_equal(to_tensor(bordered(grey, value), ANCHORED), expected)
        shares.append(find_body(grey, AIR).grey.size / grey.size)
    assert np.mean([0.2 < share < 0.95 for share in shares]) > 0.95


# --- narrow windows ---------------------------------------------------------------------------------------------------


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
