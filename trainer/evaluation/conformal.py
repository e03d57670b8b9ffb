"""Prediction sets that hold the right class for 90 % of the slices of each class, also of a new case.

Class-conditional (Mondrian: Vovk et al. 2003) split conformal prediction on out-of-fold scores, with cases in place of
slices as what is exchangeable (hierarchical conformal prediction: Lee, Barber & Willett 2023, arXiv 2306.06342): slices
of one case share one vote, so that a long series cannot set the bar for everybody.
"""

import numpy as np
from numpy.typing import NDArray

from shared.classes import ClassSet
from shared.decisions import PredictionSets
from trainer.data.balance import Labels
from trainer.data.cases import Groups

COVERAGE = 0.90
_ROUNDING = 1e-9  # of sums of votes


def fit_prediction_sets(
    labels: Labels,
    probabilities: NDArray[np.floating],
    groups: Groups,
    fold_of: NDArray[np.int64],
    classes: ClassSet,
    *,
    not_negative: NDArray[np.bool_],
    coverage: float = COVERAGE,
) -> PredictionSets:
    """Minimum probabilities from calibrated out-of-fold probabilities float [n, classes] of slices of every class.

    What is measured was not fitted to: each fold's sets come from the minima of the other folds. Sets are those of
    shared.decisions: with the most probable class, and the target where not_negative, bool [n], says that the verdict
    is not negative. A class with fewer cases than the coverage needs (nine for 90 %) has the minimum 0: it is in every
    set, for nothing rules it out.
    """
    n_classes = len(classes.names)
    in_set = np.zeros(probabilities.shape, np.bool_)
    for fold in np.unique(fold_of):
        others = fold_of != fold
        minima = _minima(labels[others], probabilities[others], groups[others], n_classes, coverage)
        in_set[~others] = probabilities[~others] >= minima
    every = np.arange(len(labels))
    in_set[every, probabilities.argmax(axis=1)] = True
    in_set[not_negative, classes.names.index(classes.target)] = True
    holds_label = in_set[every, labels]
    minima = _minima(labels, probabilities, groups, n_classes, coverage)
    return PredictionSets(
        coverage=coverage,
        min_probability=dict(zip(classes.names, minima.tolist(), strict=True)),
        measured_coverage={name: float(holds_label[labels == i].mean()) for i, name in enumerate(classes.names)},
        measured_size=float(in_set.sum(axis=1).mean()),
    )


def lowest_passing(of_class: NDArray[np.floating], groups: Groups, coverage: float) -> float:
    """The probability that a class's slices reach with the coverage: the bar of one class.

    of_class: each slice's probability of its own class; groups: its case. Cases have a vote each, and one more goes to
    a case that reaches nothing. 0 where that one alone outweighs what may be missed.
    """
    _, case_of, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    votes = 1 / (sizes[case_of] * (len(sizes) + 1))
    order = np.argsort(-of_class, kind="stable")
    reached = np.cumsum(votes[order])
    first = int(np.searchsorted(reached, coverage - _ROUNDING))
    return float(of_class[order[first]]) if first < len(order) else 0.0


def _minima(
    labels: Labels, probabilities: NDArray[np.floating], groups: Groups, n_classes: int, coverage: float
) -> NDArray[np.float64]:
    return np.array(
        [
            lowest_passing(probabilities[labels == label, label], groups[labels == label], coverage)
            for label in range(n_classes)
        ]
    )
