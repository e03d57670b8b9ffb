"""Operating points: thresholds that keep their promise, measured on what they were not chosen on."""

import numpy as np
import pytest

from shared.classes import LUNG_CT_CLASSES
from tests.support.inputs.labelled import answers
from trainer.evaluation.operating_points import (
    case_weights,
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


def test_a_case_of_many_slices_weighs_like_one_of_a_single_slice() -> None:
    """One case of 100 low slices and four of a single high one: by case, four of five are reached above the 100."""
    groups, score = (
        np.repeat([0, 1, 2, 3, 4], [100, 1, 1, 1, 1]),
        np.repeat([0.2, 0.6, 0.7, 0.8, 0.9], [100, 1, 1, 1, 1]),
    )
    weights, is_target = case_weights(groups), np.ones(104, np.bool_)
    assert np.bincount(groups, weights) == pytest.approx(1)
    assert threshold_for_sensitivity(is_target, score, 0.8) == pytest.approx(0.1)
    assert threshold_for_sensitivity(is_target, score, 0.8, weights) == pytest.approx(0.4)
    assert threshold_for_specificity(~is_target, score, 0.8, weights) == pytest.approx(0.85)
    assert threshold_for_specificity(~is_target, 1.1 - score, 0.8) == 1.0
    assert threshold_for_specificity(~is_target, 1.1 - score, 0.8, weights) == pytest.approx(0.7)


def test_repeating_a_cases_slices_moves_no_threshold() -> None:
    """Nor what is measured by case; what is measured by slice is moved."""
    labels, probabilities, groups, folds = answers()
    once = choose_rules(labels, probabilities, groups, folds, LUNG_CT_CLASSES).operating_points
    is_missed = (labels == 2) & (probabilities[:, 2] < 0.2)
    long = np.isin(groups, groups[is_missed])
    rows = np.concatenate([np.arange(len(labels)), *[np.flatnonzero(long)] * 20])
    repeated = choose_rules(labels[rows], probabilities[rows], groups[rows], folds[rows], LUNG_CT_CLASSES)
    for name, point in repeated.operating_points.items():
        assert point.threshold == pytest.approx(once[name].threshold), name
        assert point.sensitivity_by_case == pytest.approx(once[name].sensitivity_by_case), name
        assert point.specificity_by_case == pytest.approx(once[name].specificity_by_case), name
    strict = "high_specificity"
    assert repeated.operating_points[strict].sensitivity < once[strict].sensitivity - 0.01


def test_shares_by_case_weigh_cases_alike() -> None:
    """Where all cases have as many slices, figures and intervals are those by slice; an interval holds its figure."""
    points = choose_rules(*answers(), LUNG_CT_CLASSES).operating_points
    for point in points.values():
        assert point.sensitivity_by_case == pytest.approx(point.sensitivity)
        assert point.specificity_by_case == pytest.approx(point.specificity)
        for share, interval in (
            (point.sensitivity_by_case, point.sensitivity_by_case_interval),
            (point.specificity_by_case, point.specificity_by_case_interval),
        ):
            assert interval is not None
            assert interval[0] <= share <= interval[1]
        assert point.sensitivity_by_case_interval == pytest.approx(point.sensitivity_interval)
        assert point.specificity_by_case_interval == pytest.approx(point.specificity_interval)


def test_a_threshold_holds_on_views_too() -> None:
    """Views whose target slices score lower pull it down; what is measured on slices stays measured on slices."""
    labels, probabilities, groups, folds = answers(gain=4.0)
    lower = probabilities * np.where(labels == 2, 0.2, 1.0)[:, np.newaxis]
    alone = choose_rules(labels, probabilities, groups, folds, LUNG_CT_CLASSES)
    viewed = choose_rules(labels, probabilities, groups, folds, LUNG_CT_CLASSES, views=(lower,))
    name = "high_sensitivity"
    first, second = (one.operating_points[name] for one in (alone, viewed))
    assert second.threshold < first.threshold
    assert np.mean(lower[labels == 2, 2] >= second.threshold) >= 0.9
    assert second.sensitivity >= first.sensitivity
    assert second.specificity < first.specificity
    assert viewed.prediction_sets is not None


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
