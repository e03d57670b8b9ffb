"""Thresholds on the target class's probability, chosen out of fold and frozen with the model."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from shared.classes import ClassSet
from shared.decisions import DecisionRules, OperatingPoint, UncertainBand
from trainer.data.balance import Labels
from trainer.data.cases import Groups
from trainer.evaluation.conformal import fit_prediction_sets
from trainer.evaluation.intervals import Interval, never_narrower, percentiles
from trainer.evaluation.resampling import draw_cases

HIGH_SENSITIVITY = "high_sensitivity"
"""Calls 97 % of the target's slices with the best specificity; beyond 95 % that is given up for more sensitivity."""
HIGH_SPECIFICITY = "high_specificity"
"""Calls at most 1 % of the other slices."""

_SENSITIVITY = 0.97
_ENOUGH_SPECIFICITY = 0.95
_ROUNDING = 1e-9

_Weights = NDArray[np.float64]
_Threshold = Callable[[NDArray[np.bool_], NDArray[np.float64], _Weights], float]
_CHOICES: dict[str, _Threshold] = {
    HIGH_SENSITIVITY: lambda is_target, score, weights: min(
        threshold_for_sensitivity(is_target, score, _SENSITIVITY, weights),
        threshold_for_specificity(is_target, score, _ENOUGH_SPECIFICITY, weights),
    ),
    "specificity_90": lambda is_target, score, weights: threshold_for_specificity(is_target, score, 0.90, weights),
    "specificity_95": lambda is_target, score, weights: threshold_for_specificity(is_target, score, 0.95, weights),
    HIGH_SPECIFICITY: lambda is_target, score, weights: threshold_for_specificity(is_target, score, 0.99, weights),
}


def choose_rules(
    labels: Labels,
    probabilities: NDArray[np.floating],
    groups: Groups,
    fold_of: NDArray[np.int64],
    classes: ClassSet,
    *,
    views: Sequence[NDArray[np.floating]] = (),
    operating_point: str = HIGH_SENSITIVITY,
    seed: int = 0,
) -> DecisionRules:
    """Operating points, uncertain band and prediction sets from calibrated out-of-fold probabilities.

    labels, groups, fold_of: int64 [n]; probabilities: float [n, classes]; views: the same of views of the slices. Every
    class must have slices outside of each fold, as split_by_case() sees to. A threshold is chosen on all slices and
    views together, cases weighing alike; its sensitivity and specificity are measured on slices alone, with each fold
    judged by the threshold of the other folds, by slice and by case, intervals by 2,000 draws of cases. The uncertain
    band runs from high_sensitivity's threshold (rule_out) to high_specificity's (rule_in).
    """
    target = classes.names.index(classes.target)
    is_target, by_case = labels == target, case_weights(groups)
    scores = [one[:, target].astype(np.float64) for one in (probabilities, *views)]
    score = scores[0]

    def chosen(choose: _Threshold, rows: NDArray[np.bool_]) -> float:
        together = np.concatenate([one[rows] for one in scores])
        return choose(np.tile(is_target[rows], len(scores)), together, np.tile(by_case[rows], len(scores)))

    points, called = {}, {}
    for name, choose in _CHOICES.items():
        is_called = np.zeros(len(labels), np.bool_)
        for fold in np.unique(fold_of):
            is_held_out = fold_of == fold
            is_called[is_held_out] = score[is_held_out] >= chosen(choose, ~is_held_out)
        called[name] = is_called
        (sensitivity, of_sensitivity), (sensitivity_case, of_sensitivity_case) = _shares(
            is_called, is_target, groups, by_case, seed
        )
        (specificity, of_specificity), (specificity_case, of_specificity_case) = _shares(
            ~is_called, ~is_target, groups, by_case, seed
        )
        points[name] = OperatingPoint(
            threshold=chosen(choose, np.ones(len(labels), np.bool_)),
            sensitivity=sensitivity,
            sensitivity_interval=of_sensitivity,
            specificity=specificity,
            specificity_interval=of_specificity,
            sensitivity_by_case=sensitivity_case,
            sensitivity_by_case_interval=of_sensitivity_case,
            specificity_by_case=specificity_case,
            specificity_by_case_interval=of_specificity_case,
        )
    return DecisionRules(
        class_names=classes.names,
        target_class=classes.target,
        operating_point=operating_point,
        operating_points=points,
        uncertain=UncertainBand(
            rule_out=points[HIGH_SENSITIVITY].threshold, rule_in=points[HIGH_SPECIFICITY].threshold
        ),
        prediction_sets=fit_prediction_sets(
            labels,
            probabilities,
            groups,
            fold_of,
            classes,
            not_negative=called[operating_point] | called[HIGH_SENSITIVITY],
        ),
    )


def case_weights(groups: Groups) -> NDArray[np.float64]:
    """float64 [n] that sum to 1 over the slices of each case."""
    _, case, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    return np.asarray(1 / sizes[case], np.float64)


def threshold_for_sensitivity(
    is_target: NDArray[np.bool_], score: NDArray[np.float64], sensitivity: float, weights: _Weights | None = None
) -> float:
    """The highest threshold that calls at least this share of the target's slices positive: the best specificity."""
    order, reached = _reached(score[is_target], None if weights is None else weights[is_target])
    return _below(float(order[np.searchsorted(reached, sensitivity - _ROUNDING)]), score)


def threshold_for_specificity(
    is_target: NDArray[np.bool_], score: NDArray[np.float64], specificity: float, weights: _Weights | None = None
) -> float:
    """The lowest threshold that calls at least this share of the other slices negative: the best sensitivity."""
    order, reached = _reached(score[~is_target], None if weights is None else weights[~is_target])
    first_too_many = int(np.searchsorted(reached, 1 - specificity + _ROUNDING, side="right"))
    above = score[score > order[first_too_many]] if first_too_many < len(order) else score
    # where no score lies above, no threshold up to 1 calls few enough, unless it calls nobody
    return _below(float(above.min()), score) if len(above) else 1.0


def _reached(score: NDArray[np.float64], weights: _Weights | None) -> tuple[NDArray[np.float64], _Weights]:
    """Scores from the highest on, and the share of all weights that have been reached with each."""
    weights = np.ones(len(score)) if weights is None else weights
    order = np.argsort(-score, kind="stable")
    return score[order], np.cumsum(weights[order]) / weights.sum()


def _below(lowest_called: float, score: NDArray[np.float64]) -> float:
    """Midway to the next lower score, so that what another engine rounds otherwise does not cross the threshold."""
    lower = score[score < lowest_called]
    return (lowest_called + float(lower.max(initial=0.0))) / 2


def _shares(
    is_right: NDArray[np.bool_], is_counted: NDArray[np.bool_], groups: Groups, by_case: _Weights, seed: int
) -> tuple[tuple[float, Interval], tuple[float, Interval]]:
    """Share of the counted slices that are right: by slice, and with cases weighing alike; with intervals by case."""
    right, cases = is_right[is_counted].astype(np.float64), groups[is_counted]
    n_cases, same_class, weights = len(np.unique(cases)), np.zeros(len(right), np.int64), by_case[is_counted]
    of_slices, of_cases = [], []
    for drawn in draw_cases(same_class, cases, seed=seed):
        of_slices.append(drawn @ right / drawn.sum(axis=1))
        of_cases.append(drawn @ (right * weights) / (drawn @ weights))
    means = float(right.mean()), min(1.0, float(right @ weights / weights.sum()))  # sums are rounded
    ends = [percentiles(np.concatenate(drawn)) for drawn in (of_slices, of_cases)]
    by_slice, by_case_ = ((mean, never_narrower(end, mean, n_cases)) for mean, end in zip(means, ends, strict=True))
    return by_slice, by_case_
