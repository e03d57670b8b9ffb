"""Figures by slice and by case, and their intervals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.inputs.labelled import answers
from trainer.evaluation.case_figures import CaseFigures
from trainer.evaluation.intervals import wilson

# a case of four slices, all right; one of a single slice, wrong; of one class
LABELS, GROUPS = np.zeros(5, np.int64), np.array([0, 0, 0, 0, 1])
IS_RIGHT = np.array([True, True, True, True, False])


def test_a_case_weighs_by_its_slices_or_like_any_other() -> None:
    """Four of five slices are right, and one of two cases."""
    figure = CaseFigures(LABELS, GROUPS).mean(IS_RIGHT)
    assert figure is not None
    assert (figure.n, figure.n_cases) == (5, 2)
    assert figure.by_slice.value == pytest.approx(0.8)
    assert figure.by_case.value == pytest.approx(0.5)


def test_a_balanced_mean_is_that_of_the_classes() -> None:
    """Class 0 as above; of class 1 one slice, right: (0.8 + 1) / 2 by slice, (0.5 + 1) / 2 by case."""
    figure = CaseFigures(np.append(LABELS, 1), np.append(GROUPS, 2)).mean(np.append(IS_RIGHT, True), is_balanced=True)
    assert figure is not None
    assert figure.by_slice.value == pytest.approx(0.9)
    assert figure.by_case.value == pytest.approx(0.75)


def test_no_interval_is_narrower_than_wilsons_on_the_cases() -> None:
    """Ten cases without a mistake get Wilson's interval on ten, however many slices they have."""
    figure = CaseFigures(np.zeros(100, np.int64), np.repeat(np.arange(10), 10)).mean(np.ones(100, np.bool_))
    assert figure is not None
    assert figure.by_slice.value == 1
    assert figure.by_slice.interval == pytest.approx(wilson(10, 10))
    assert figure.by_case.interval == pytest.approx(wilson(10, 10))


def test_draws_that_vary_more_than_wilson_widen_the_interval() -> None:
    """Two long cases, one right and one wrong, among short ones that are right: by slice it could go either way."""
    sizes = [40, 40, *[1] * 18]
    is_right = np.repeat([True, False, *[True] * 18], sizes)
    figure = CaseFigures(np.zeros(98, np.int64), np.repeat(np.arange(20), sizes)).mean(is_right)
    assert figure is not None
    assert figure.by_slice.interval[0] < wilson(20 * figure.by_slice.value, 20)[0]


def test_what_is_not_counted_has_no_part() -> None:
    """Sensitivity of one class is a mean over its slices; nothing counted, and nothing known, is no figure."""
    figures, of_first = CaseFigures(LABELS, GROUPS), GROUPS == 0
    counted = figures.mean(IS_RIGHT, of_first)
    assert counted is not None
    assert (counted.by_slice.value, counted.n, counted.n_cases) == (1, 4, 1)
    assert figures.mean(IS_RIGHT, np.zeros(5, np.bool_)) is None
    assert figures.mean(None) is None


def test_a_mean_between_bounds_stays_within_them() -> None:
    """Sets of one class alone: the mean is 1, and its interval reaches up from there as Wilson's does from 0."""
    figure = CaseFigures(LABELS, GROUPS).mean(np.ones(5), bounds=(1, 3))
    assert figure is not None
    assert figure.by_slice.value == 1
    assert figure.by_slice.interval == pytest.approx((1, 1 + 2 * wilson(0, 2)[1]))


def test_the_auc_counts_pairs_by_slice_and_by_case() -> None:
    """The target's slices 0.9 (case 0) and 0.3 twice (case 1) against 0.5: one pair of three, one case of two."""
    labels, groups = np.array([2, 2, 2, 0]), np.array([0, 1, 1, 2])
    figure = CaseFigures(labels, groups).auc(labels == 2, np.array([0.9, 0.3, 0.3, 0.5]))
    assert figure is not None
    assert figure.by_slice.value == pytest.approx(1 / 3)
    assert figure.by_case.value == pytest.approx(1 / 2)
    assert CaseFigures(labels[:3], groups[:3]).auc(np.ones(3, np.bool_), np.ones(3)) is None


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), cases=st.integers(1, 6), size=st.integers(1, 3), gain=st.floats(-1, 4))
def test_every_interval_holds_its_figure_and_keeps_its_bounds(seed: int, cases: int, size: int, gain: float) -> None:
    """Also that of the calibration error, which draws of cases see larger than it is."""
    labels, probabilities, groups, _ = answers((cases, cases, cases), size, seed, gain)
    figures = CaseFigures(labels, groups)
    is_right = probabilities.argmax(axis=1) == labels
    for figure in (
        figures.ece(probabilities),
        figures.auc(labels == 2, probabilities[:, 2]),
        figures.mean(is_right, is_balanced=True),
        figures.mean(is_right, labels == 1),
    ):
        assert figure is not None
        for one in (figure.by_slice, figure.by_case):
            assert 0 <= one.interval[0] <= one.value <= one.interval[1] <= 1
            assert one.interval[0] < one.interval[1]


def test_a_difference_is_paired_and_signed() -> None:
    """Four of five against one of five: 0.6 by slice; by case 4/4 and 0/1 against 0/4 and 1/1, which is nothing."""
    figures, other = CaseFigures(LABELS, GROUPS), ~IS_RIGHT
    gain, loss = figures.difference(IS_RIGHT, other), figures.difference(other, IS_RIGHT)
    assert gain is not None
    assert loss is not None
    assert gain.by_slice.value == pytest.approx(0.6)
    assert gain.by_case.value == pytest.approx(0)
    assert loss.by_slice.value == pytest.approx(-0.6)
    assert loss.by_slice.interval[0] == pytest.approx(-gain.by_slice.interval[1])


def test_two_that_never_differed_are_not_certain_to_be_equal() -> None:
    """The interval reaches as far to either side as Wilson's does from nil on the cases."""
    none = CaseFigures(LABELS, GROUPS).difference(IS_RIGHT, IS_RIGHT)
    assert none is not None
    assert none.by_slice.value == 0
    assert none.by_slice.interval == pytest.approx((-wilson(0, 2)[1], wilson(0, 2)[1]))
