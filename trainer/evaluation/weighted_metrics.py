"""Figures of weighted slices, for many weightings at once: a weight of 2 is a slice that was drawn twice.

Every function takes weights float64 [draws, n] and gives float64 [draws]; weights of 1 give the plain figure.
"""

import numpy as np
from numpy.typing import NDArray

from trainer.data.balance import Labels
from trainer.evaluation.resampling import Weights

Values = NDArray[np.float64]
"""float64 [draws]."""

ECE_BINS = 10
_SLACK = 1e-9  # of sums of weights, which are whole numbers


def confusions(labels: Labels, predicted: Labels, n_classes: int, weights: Weights) -> NDArray[np.float64]:
    """Confusion matrices float64 [draws, labelled, predicted], sums of weights; labels, predicted: int64 [n]."""
    cells = np.eye(n_classes**2)[labels * n_classes + predicted]
    return np.asarray(weights @ cells, np.float64).reshape(-1, n_classes, n_classes)


def brier(labels: Labels, probabilities: NDArray[np.float64], weights: Weights) -> Values:
    """Mean squared distance from the one-hot label, summed over classes: 0 is best, 2 worst (Brier 1950)."""
    one_hot = np.eye(probabilities.shape[1])[labels]
    return _mean(((probabilities - one_hot) ** 2).sum(axis=1), weights)


def negative_log_likelihood(labels: Labels, probabilities: NDArray[np.float64], weights: Weights) -> Values:
    """Mean of -ln of the label's probability, which counts as 1e-12 at least."""
    return _mean(-np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-12)), weights)


def calibration_error(labels: Labels, probabilities: NDArray[np.float64], weights: Weights) -> Values:
    """Expected calibration error of the top label, 10 bins of equal mass (Nguyen & O'Connor 2015, arXiv 1508.05154).

    The mean over bins, by mass, of |share that is right - mean top probability|: 0 is best, 1 worst.
    """
    top = probabilities.max(axis=1)
    order = np.argsort(top, kind="stable")
    excess = (top - (probabilities.argmax(axis=1) == labels))[order]
    sorted_weights = weights[:, order]
    total = sorted_weights.sum(axis=1, keepdims=True)
    # a slice belongs to the bin in which the middle of its mass lies
    middle = np.cumsum(sorted_weights, axis=1) - sorted_weights / 2
    bins = np.minimum((middle * ECE_BINS / total).astype(np.int64), ECE_BINS - 1)
    draws = len(weights)
    flat = (np.arange(draws)[:, None] * ECE_BINS + bins).ravel()
    sums = np.bincount(flat, (sorted_weights * excess).ravel(), minlength=draws * ECE_BINS)
    return np.asarray(np.abs(sums.reshape(draws, ECE_BINS)).sum(axis=1) / total[:, 0], np.float64)


def area_under_roc(is_positive: NDArray[np.bool_], scores: NDArray[np.float64], weights: Weights) -> Values:
    """Chance that a positive scores above a negative, ties counting half (Mann-Whitney)."""
    positive, negative = _by_score(is_positive, scores, weights)
    below = np.cumsum(negative, axis=1) - negative
    won = (positive * (below + negative / 2)).sum(axis=1)
    return np.asarray(won / (positive.sum(axis=1) * negative.sum(axis=1)), np.float64)


def sensitivity_at(
    specificity: float, is_positive: NDArray[np.bool_], scores: NDArray[np.float64], weights: Weights
) -> Values:
    """Highest sensitivity of any threshold on the score whose specificity is at least the one asked for.

    A slice is called positive at and above the threshold.
    """
    positive, negative = _by_score(is_positive, scores, weights)
    hits, false_alarms = (np.cumsum(side[:, ::-1], axis=1) for side in (positive, negative))  # from the top down
    allowed = (1 - specificity) * false_alarms[:, -1:] + _SLACK
    fitting = (false_alarms <= allowed).sum(axis=1)  # how many distinct scores may be called positive
    reached = np.take_along_axis(hits, np.maximum(fitting - 1, 0)[:, None], axis=1)[:, 0]
    return np.asarray(np.where(fitting > 0, reached, 0) / hits[:, -1], np.float64)


def _by_score(
    is_positive: NDArray[np.bool_], scores: NDArray[np.float64], weights: Weights
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weight of positives and of negatives at each distinct score, ascending: [draws, distinct scores] each."""
    order = np.argsort(scores, kind="stable")
    ranked = scores[order]
    starts = np.flatnonzero(np.concatenate([[True], ranked[1:] > ranked[:-1]]))
    of_positives = weights[:, order] * is_positive[order]
    both = np.add.reduceat(weights[:, order], starts, axis=1)
    positive = np.add.reduceat(of_positives, starts, axis=1)
    return positive, both - positive


def _mean(values: NDArray[np.float64], weights: Weights) -> Values:
    return np.asarray(weights @ values / weights.sum(axis=1), np.float64)
