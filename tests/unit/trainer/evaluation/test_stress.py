"""Stress: figures of slices as they are and of their views, and the sentence on answers that flip."""

import numpy as np
import pytest

from shared.classes import LUNG_CT_CLASSES
from tests.support.inputs.labelled import answers
from trainer.evaluation.operating_points import choose_rules, held_out_thresholds
from trainer.evaluation.stress import Stress, stress

LABELS, PROBABILITIES, GROUPS, FOLDS = answers(cases=(6, 5, 6), size=2)
N = len(LABELS)


def stressed(view: np.ndarray, thresholds: np.ndarray | None = None) -> Stress:
    """The answers as they are, and one view of them."""
    return stress(
        LABELS,
        GROUPS,
        LUNG_CT_CLASSES,
        probabilities=PROBABILITIES,
        views={"acquired": view},
        thresholds=np.full(N, 0.5) if thresholds is None else thresholds,
        operating_point="high_sensitivity",
    )


def flipping(count: int) -> np.ndarray:
    """The answers, the first so many of which name another class."""
    flipped = PROBABILITIES.copy()
    flipped[:count] = np.roll(flipped[:count], 1, axis=1)
    return flipped


def test_a_view_that_changes_nothing_has_the_figures_of_the_slices() -> None:
    """No answer flips, and every figure is that of the slices as they are."""
    result = stressed(PROBABILITIES)
    view = result.views["acquired"]
    assert view.flips is not None
    assert view.flips.by_slice.value == 0
    assert view.model_copy(update={"flips": None}) == result.as_it_is


def test_a_flip_is_another_most_probable_class() -> None:
    """Five of 34 answers; a flip that was wrong before counts as much as one that was right."""
    view = stressed(flipping(5)).views["acquired"]
    assert view.flips is not None
    assert view.flips.by_slice.value == pytest.approx(5 / N)
    assert view.flips.n == N


@pytest.mark.parametrize(("count", "warnings"), [
    (2, ()),
    (4, ("Views of the same slices, as other scanners might show them, change 12 % of the answers.",)),
])  # fmt: skip
def test_more_than_eight_percent_are_warned_of(count: int, warnings: tuple[str, ...]) -> None:
    """2 of 34 are 6 %, 4 are 12 %."""
    assert stressed(flipping(count)).warnings() == warnings


def test_each_slice_is_judged_by_its_own_threshold() -> None:
    """A threshold that nobody reaches makes its slices negative: no sensitivity, all specificity."""
    as_it_is = stressed(PROBABILITIES, np.full(N, 1.1)).as_it_is
    assert as_it_is.sensitivity is not None
    assert as_it_is.specificity is not None
    assert (as_it_is.sensitivity.by_case.value, as_it_is.specificity.by_slice.value) == (0, 1)
    halves = np.where(LABELS == 2, 0.0, 1.1)
    as_it_is = stressed(PROBABILITIES, halves).as_it_is
    assert as_it_is.sensitivity is not None
    assert as_it_is.sensitivity.by_slice.value == 1


def test_slices_as_they_are_keep_what_the_rules_state() -> None:
    """With the thresholds of the other folds, sensitivity and specificity are those of the operating point."""
    rules = choose_rules(LABELS, PROBABILITIES, GROUPS, FOLDS, LUNG_CT_CLASSES, views=[flipping(5)])
    scores = [PROBABILITIES[:, 2], flipping(5)[:, 2]]
    thresholds = held_out_thresholds("high_sensitivity", LABELS == 2, scores, GROUPS, FOLDS)
    point, as_it_is = rules.operating_points["high_sensitivity"], stressed(PROBABILITIES, thresholds).as_it_is
    assert as_it_is.sensitivity is not None
    assert as_it_is.specificity is not None
    assert as_it_is.sensitivity.by_slice.value == pytest.approx(point.sensitivity)
    assert as_it_is.specificity.by_case.value == pytest.approx(point.specificity_by_case)
