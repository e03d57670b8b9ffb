"""Operating points: thresholds that keep their promise, measured on what they were not chosen on."""

import numpy as np
import pytest

from shared.classes import LUNG_CT_CLASSES
from tests.support.inputs.labelled import answers
from trainer.evaluation.operating_points import (
    choose_rules,
    held_out_thresholds,
    threshold_for_sensitivity,
    threshold_for_specificity,
)


@pytest.mark.parametrize("share", [0.5, 0.9, 0.95, 0.97, 1.0])
def test_thresholds_keep_their_promise_and_are_the_best_that_do(share: float) -> None:
    """The share asked for is reached, and the next score up (or down) would miss it."""
    labels, probabilities, _, _ = answers()
    is_target, score = labels == 2, probabilities[:, 2]
    sensitive = threshold_for_sensitivity(is_target, score, share)
    assert np.mean(score[is_target] >= sensitive) >= share
    higher = np.min(score[is_target & (score >= sensitive)]) + 1e-12
    assert np.mean(score[is_target] >= higher) < share
    specific = threshold_for_specificity(is_target, score, share)
    assert np.mean(score[~is_target] < specific) >= share
    lower = np.max(score[score < specific])
    assert np.mean(score[~is_target] < lower) < share


def test_a_threshold_lies_between_scores() -> None:
    """Midway, so that rounding in another engine crosses nothing."""
    is_target, score = np.array([False, False, True, True]), np.array([0.1, 0.3, 0.5, 0.9])
    assert threshold_for_sensitivity(is_target, score, 1.0) == pytest.approx(0.4)
    assert threshold_for_specificity(is_target, score, 1.0) == pytest.approx(0.4)
    assert threshold_for_sensitivity(~is_target, score, 1.0) == pytest.approx(0.05)
    assert threshold_for_specificity(~is_target, score, 0.9) == 1.0


def test_rules_hold_four_points_and_the_band_between_two() -> None:
    """The band runs from high_sensitivity to high_specificity, in this order for poor models and for good ones."""
    for gain in (0.5, 2.0, 8.0):
        rules = choose_rules(*answers(gain=gain), LUNG_CT_CLASSES)
        points = rules.operating_points
        assert set(points) == {"high_sensitivity", "specificity_90", "specificity_95", "high_specificity"}
        assert rules.operating_point == "high_sensitivity"
        assert rules.uncertain.rule_out == points["high_sensitivity"].threshold
        assert rules.uncertain.rule_in == points["high_specificity"].threshold
        assert points["high_sensitivity"].threshold <= points["specificity_95"].threshold
        assert points["specificity_90"].threshold <= points["specificity_95"].threshold <= rules.uncertain.rule_in


def test_a_good_model_gives_no_sensitivity_away() -> None:
    """Where 95 % specificity is had with more than 97 % sensitivity, the sensitive point stays there."""
    points = choose_rules(*answers(gain=8.0), LUNG_CT_CLASSES).operating_points
    assert points["high_sensitivity"].threshold == points["specificity_95"].threshold
    assert points["high_sensitivity"].sensitivity > 0.98


def test_measured_shares_come_near_the_promise_on_new_cases() -> None:
    """Sensitivity and specificity are cross-fitted: near what was asked for, with an interval that holds them."""
    labels, probabilities, groups, folds = answers(cases=(150, 100, 150), size=3)
    points = choose_rules(labels, probabilities, groups, folds, LUNG_CT_CLASSES).operating_points
    assert points["high_sensitivity"].sensitivity == pytest.approx(0.97, abs=0.02)
    assert points["specificity_90"].specificity == pytest.approx(0.90, abs=0.03)
    for point in points.values():
        assert point.sensitivity_interval[0] <= point.sensitivity <= point.sensitivity_interval[1]
        assert point.specificity_interval[0] < point.specificity < point.specificity_interval[1]
    is_called = probabilities[:, 2] >= points["high_sensitivity"].threshold
    assert np.mean(is_called[labels == 2]) >= 0.97


def test_a_point_that_its_own_fold_misses_does_not_look_perfect() -> None:
    """One fold whose target slices score low: its sensitivity counts against the threshold of the other folds."""
    labels, probabilities, groups, folds = answers(gain=6.0)
    hidden = (labels == 2) & (folds == 0)
    probabilities[hidden] = [0.98, 0.01, 0.01]
    point = choose_rules(labels, probabilities, groups, folds, LUNG_CT_CLASSES).operating_points["high_sensitivity"]
    assert point.sensitivity < 0.85


def test_the_seed_decides_the_intervals() -> None:
    """Equal calls, equal rules."""
    assert choose_rules(*answers(), LUNG_CT_CLASSES) == choose_rules(*answers(), LUNG_CT_CLASSES)


def test_no_slice_has_a_part_in_its_own_threshold() -> None:
    """Other scores in a fold leave the thresholds of its slices, and change those of the other folds."""
    labels, probabilities, groups, folds = answers()
    score, others = probabilities[:, 2], probabilities[:, 2].copy()
    others[folds == 0] /= 2
    before, after = (
        held_out_thresholds("specificity_90", labels == 2, [one], groups, folds) for one in (score, others)
    )
    np.testing.assert_array_equal(before[folds == 0], after[folds == 0])
    assert (before[folds != 0] != after[folds != 0]).all()
