"""Weighted figures: a weight of 2 is the slice twice."""

import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score, roc_curve

from trainer.evaluation import weighted_metrics as scores

RANDOM = np.random.default_rng(0)
LABELS = RANDOM.integers(0, 3, 97)
RAW = RANDOM.gamma(1, 1, (97, 3)) + 1.2 * np.eye(3)[LABELS]
PROBABILITIES = np.round(RAW / RAW.sum(axis=1, keepdims=True), 2)  # rounded, so that there are ties
IS_POSITIVE, SCORE = LABELS == 2, PROBABILITIES[:, 2]
ONES = np.ones((1, 97))


def every_figure(weights: np.ndarray, labels: np.ndarray, probabilities: np.ndarray) -> dict[str, np.ndarray]:
    is_positive, score = labels == 2, probabilities[:, 2]
    return {
        "brier": scores.brier(labels, probabilities, weights),
        "likelihood": scores.negative_log_likelihood(labels, probabilities, weights),
        "auc": scores.area_under_roc(is_positive, score, weights),
        "90": scores.sensitivity_at(0.9, is_positive, score, weights),
        "95": scores.sensitivity_at(0.95, is_positive, score, weights),
        "confusion": scores.confusions(labels, probabilities.argmax(axis=1), 3, weights).reshape(len(weights), -1),
    }


def test_weights_are_counts() -> None:
    """Each figure of a weighting equals the plain figure of the slices repeated that often, for many weightings."""
    weights = RANDOM.integers(0, 4, (5, 97)).astype(float)
    together = every_figure(weights, LABELS, PROBABILITIES)
    for draw, counts in enumerate(weights.astype(int)):
        rows = np.repeat(np.arange(97), counts)
        alone = every_figure(np.ones((1, len(rows))), LABELS[rows], PROBABILITIES[rows])
        for name, values in together.items():
            np.testing.assert_allclose(values[draw], alone[name][0], err_msg=name)


def test_auc_and_likelihood_are_scikit_learn_s() -> None:
    """Ties included."""
    assert scores.area_under_roc(IS_POSITIVE, SCORE, ONES)[0] == pytest.approx(roc_auc_score(IS_POSITIVE, SCORE))
    counts = RANDOM.integers(1, 4, 97).astype(float)
    weighted = scores.area_under_roc(IS_POSITIVE, SCORE, counts[None])[0]
    assert weighted == pytest.approx(roc_auc_score(IS_POSITIVE, SCORE, sample_weight=counts))
    clipped = np.clip(PROBABILITIES, 1e-12, 1)
    expected = log_loss(LABELS, clipped / clipped.sum(axis=1, keepdims=True), labels=[0, 1, 2])
    assert scores.negative_log_likelihood(LABELS, PROBABILITIES, ONES)[0] == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("specificity", [0.5, 0.9, 0.95, 1.0])
def test_sensitivity_at_a_specificity_is_the_best_point_of_the_curve(specificity: float) -> None:
    """Highest true positive rate of scikit-learn's ROC curve with a false positive rate that is allowed."""
    false_alarms, hits, _ = roc_curve(IS_POSITIVE, SCORE, drop_intermediate=False)
    expected = hits[false_alarms <= 1 - specificity + 1e-12].max()
    assert scores.sensitivity_at(specificity, IS_POSITIVE, SCORE, ONES)[0] == pytest.approx(expected)


def test_a_score_that_tells_nothing_reaches_no_specificity() -> None:
    """All slices at one score: calling any positive calls all, so the sensitivity is 0."""
    assert scores.sensitivity_at(0.9, IS_POSITIVE, np.full(97, 0.5), ONES)[0] == 0


def test_calibration_error_matches_bins_made_by_hand() -> None:
    """Equal bins, where 10 divides the number of slices: the textbook's sum."""
    labels, probabilities = LABELS[:90], RAW[:90] / RAW[:90].sum(axis=1, keepdims=True)
    top, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    bins = np.argsort(top).reshape(10, 9)
    expected = np.mean([abs(top[rows].mean() - right[rows].mean()) for rows in bins])
    assert scores.calibration_error(labels, probabilities, np.ones((1, 90)))[0] == pytest.approx(expected)
    doubled = scores.calibration_error(labels, probabilities, np.full((3, 90), 2.0))
    np.testing.assert_allclose(doubled, expected)


def test_honest_probabilities_have_a_small_calibration_error() -> None:
    """Labels drawn from the probabilities themselves; sharpened probabilities are caught."""
    random = np.random.default_rng(1)
    probabilities = random.dirichlet([1, 1, 1], 20_000)
    labels = (random.random((20_000, 1)) > probabilities.cumsum(axis=1)).sum(axis=1).clip(0, 2)
    ones = np.ones((1, 20_000))
    assert scores.calibration_error(labels, probabilities, ones)[0] < 0.02
    sharp = probabilities**4 / (probabilities**4).sum(axis=1, keepdims=True)
    assert scores.calibration_error(labels, sharp, ones)[0] > 0.15
