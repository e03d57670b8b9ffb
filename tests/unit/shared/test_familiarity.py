"""Is a slice like those that a version knows? Distances, scores and sentences of plain numbers; grain of phantoms."""

import math

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from shared.familiarity import Acquisition, FamiliarityRules, acquisition_of
from shared.imaging import PreprocessingSpec, place
from shared.raster.decode import GreySlice
from shared.window import Window
from tests.support.acquisitions import MEDIASTINUM, acquisition, in_window, known
from trainer.phantoms.phantom import draw_phantom

MASKED = PreprocessingSpec(crop="body-mask", intensity="anchored")


def measured(grey: GreySlice, spec: PreprocessingSpec = MASKED, air: int | None = None) -> Acquisition:
    return acquisition_of(grey, place(grey, spec, air), air)


# --- the cases --------------------------------------------------------------------------------------------------------


def test_distance_is_to_the_nearest_case_in_spreads() -> None:
    """Two spreads away in contrast and none in anything else is 2, from whichever case is nearer."""
    cases = known(acquisition(100.0), acquisition(200.0)).cases
    assert cases.distance(acquisition(104.0).coordinates()) == pytest.approx(2)
    assert cases.distance(acquisition(196.0).coordinates()) == pytest.approx(2)
    assert cases.distance(acquisition(200.0, air=43.0, grain=10.0).coordinates()) == pytest.approx(1.5)


def test_grain_is_compared_by_its_ratio() -> None:
    """Half the grain is as far as twice the grain, and what is finer than half a unit is all one."""
    cases = known().cases
    half, twice = (cases.distance(acquisition(grain=grain).coordinates()) for grain in (5.0, 20.0))
    assert half == pytest.approx(twice)
    least = [cases.distance(acquisition(grain=grain).coordinates()) for grain in (0.0, 0.5)]
    assert least[0] == pytest.approx(least[1])


def test_what_was_not_measured_is_left_out() -> None:
    """A slice without enough lung is judged by the rest: it is neither far for that nor nowhere."""
    lungless = acquisition(124.0, lung_grain=math.nan, coarse_lung_grain=math.nan)
    assert known().cases.distance(lungless.coordinates()) == pytest.approx(2)


# --- the rules --------------------------------------------------------------------------------------------------------


def test_the_score_is_the_share_that_is_at_least_as_strange() -> None:
    """Of unseen training slices, by their levels: all at 0, half at the middle, none beyond the last."""
    rules = known(levels=(0.0, 0.5, 1.0, 1.5))
    assert [rules.score(value) for value in (0.0, 0.6, 1.5, 1.6)] == [1.0, 0.5, 0.25, 0.0]


def test_a_slice_like_a_training_case_is_familiar() -> None:
    """It has a score and the limit, and nothing to explain."""
    judged = known().judge(acquisition(), 1.0)
    assert (judged.limit, judged.is_familiar, judged.reasons) == (0.01, True, ())
    assert judged.score == pytest.approx(51 / 101)  # texture 1.0 is 0.5 of its unit


def test_the_limit_itself_is_familiar() -> None:
    """Scores below it are unfamiliar, as the manifest says."""
    rules = known(limit=0.25, levels=(0.0, 0.0, 0.0, 1.0))
    assert rules.judge(acquisition(), 2.0).is_familiar
    assert not rules.judge(acquisition(), 2.1).is_familiar


@pytest.mark.parametrize(
    ("slice_", "sentence"),
    [
        (acquisition(60.0), "Air and soft tissue are less distinct than in every training case: 60 grey values, there"),
        (acquisition(200.0), "Air and soft tissue are more distinct than in every training case: 200 grey values"),
        (acquisition(air=0.0), "Air is darker than in every training case: 0 grey values, there 38 to 52."),
        (acquisition(grain=2.0), "Soft tissue is smoother than in every training case: 2 HU of grain, there 9 to 22."),
        (acquisition(lung_grain=90.0), "The lungs are noisier than in every training case: 90 HU of grain"),
        (acquisition(coarse_grain=90.0), "Soft tissue has more coarse grain than in every training case: 90 HU"),
        (acquisition(coarse_lung_grain=1.0), "The lungs have less coarse grain than in every training case: 1 HU"),
    ],
)
def test_reasons_say_in_words_what_lies_beyond_all_cases(slice_: Acquisition, sentence: str) -> None:
    """What was measured, in its unit, and what training cases have, a spread of room included."""
    judged = known(acquisition(), acquisition(130.0, air=50.0, grain=20.0)).judge(slice_, None)
    assert not judged.is_familiar
    assert any(reason.startswith(sentence) for reason in judged.reasons), judged.reasons


def test_what_does_not_occur_together_is_unfamiliar() -> None:
    """Each measure lies between those of two cases, and no case is near: the reason says just that."""
    judged = known(acquisition(100.0, grain=10.0), acquisition(140.0, grain=40.0)).judge(
        acquisition(100.0, grain=40.0), 0
    )
    assert judged.reasons == (
        "No training case was acquired and shown like this: its window, sharpness and noise do not occur together.",
    )


def test_texture_has_a_reason_of_its_own() -> None:
    """Far in features alone, the slice was acquired like others; both can be said at once."""
    (reason,) = known().judge(acquisition(), 9.0).reasons
    assert reason == "To the model's own features, the slice is unlike those that it was trained on."
    assert len(known().judge(acquisition(air=0.0), 9.0).reasons) == 2


def test_a_texture_that_is_no_number_is_infinitely_far() -> None:
    """A network that overflows makes nothing familiar; a model without the output is judged by the rest."""
    judged = known().judge(acquisition(), math.nan)
    assert (judged.score, judged.is_familiar) == (0.0, False)
    assert known().judge(acquisition(), None).score == 1.0


def test_a_negative_that_rests_on_few_cases_says_so() -> None:
    """Cases of the class with the slice's noise, a quarter more or a fifth less, are counted: three are enough."""
    noisy = [acquisition(grain=grain) for grain in (27.0, 28.0, 31.0, 10.0)]
    rules = known(*noisy, classes=(2, 2, 0, 2))
    assert rules.few_cases(acquisition(grain=28.0), "Malignant cases", 2) == (
        "It is not called Malignant cases, but at its noise (28 HU) the model was trained on 2 cases of Malignant "
        "cases: that rests on little."
    )
    assert "1 case of" in str(rules.few_cases(acquisition(grain=10.0), "Malignant cases", 2))
    assert "no case of" in str(rules.few_cases(acquisition(grain=60.0), "Malignant cases", 2))
    enough = known(*noisy, classes=(2, 2, 2, 2))
    assert enough.few_cases(acquisition(grain=28.0), "Malignant cases", 2) is None
    assert rules.few_cases(acquisition(grain=math.nan), "Malignant cases", 2) is None


def test_rules_survive_json() -> None:
    """They are a part of the manifest."""
    rules = known()
    assert FamiliarityRules.model_validate_json(rules.model_dump_json()) == rules
    with pytest.raises(ValidationError, match="limit"):
        known(limit=0.0)


# --- the measures -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 4])
def test_noise_raises_grain_and_blur_lowers_it(seed: int) -> None:
    """In soft tissue and in lungs alike; the windows' two anchors stay where they are."""
    grey = draw_phantom(0, seed, 8)
    noise = np.random.default_rng(0).normal(0, 8, grey.shape)
    as_is, blurred = measured(grey), measured(np.asarray(cv2.GaussianBlur(grey, (0, 0), 1.0), np.uint8))
    noisy = measured(np.clip(grey + noise, 0, 255).astype(np.uint8))
    assert 1.5 * blurred.grain < as_is.grain < noisy.grain / 1.5
    assert 1.3 * blurred.lung_grain < as_is.lung_grain < noisy.lung_grain
    assert blurred.coarse_grain < as_is.coarse_grain < noisy.coarse_grain
    assert blurred.contrast == pytest.approx(as_is.contrast, abs=5)
    assert blurred.air == pytest.approx(as_is.air, abs=8)


def test_grain_is_in_hounsfield_units_whatever_the_window() -> None:
    """A window half as wide again shows less contrast between the same grains."""
    grey, wide = draw_phantom(1, 4, 8), Window(level=-300, width=2400)
    first, second = measured(grey), measured(in_window(grey, 4, wide))
    assert first.contrast == pytest.approx(second.contrast * 2400 / 1600, rel=0.1)
    assert first.grain == pytest.approx(second.grain, rel=0.15)


def test_the_window_shows_in_contrast_and_air() -> None:
    """A phantom of a lung window of about 1600 HU shows air at about 48; a mediastinal one is narrow."""
    grey = draw_phantom(2, 1, 8)
    lung, mediastinal = measured(grey), measured(in_window(grey, 1, MEDIASTINUM))
    assert lung.contrast == pytest.approx(1045 * 255 / 1600, rel=0.12)
    assert lung.air == pytest.approx(48, abs=12)
    assert (lung.is_narrow, mediastinal.is_narrow) == (False, True)


def test_how_a_model_wants_its_slices_does_not_matter() -> None:
    """Where preparing a slice found no exact body, it is looked for now: the measures are the same."""
    grey = draw_phantom(0, 1, 8)
    assert measured(grey, PreprocessingSpec(crop="none")) == measured(grey)
    assert measured(grey, PreprocessingSpec(), 44) == measured(grey, air=44)


def test_what_is_too_small_to_measure_is_no_number() -> None:
    """A slice of a few pixels has no grain that means anything, and no error."""
    tiny = measured(draw_phantom(0, 1, 8, side=32))
    assert math.isnan(tiny.grain)
    assert math.isfinite(tiny.contrast)
    assert math.isfinite(known().judge(tiny, None).score)


@pytest.mark.parametrize("grey", [0, 255])
def test_a_flat_picture_is_measured_without_an_error(grey: int) -> None:
    """Nothing is told apart in it, and the gate refuses it for that."""
    flat = measured(np.full((64, 64), grey, np.uint8))
    assert not known().judge(flat, None).is_familiar
