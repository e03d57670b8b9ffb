"""Thresholds on the target class's probability, chosen out of fold and frozen with the model."""

from collections.abc import Callable

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

_Threshold = Callable[[NDArray[np.bool_], NDArray[np.float64]], float]
_CHOICES: dict[str, _Threshold] = {
    HIGH_SENSITIVITY: lambda is_target, score: min(
        threshold_for_sensitivity(is_target, score, _SENSITIVITY),
        threshold_for_specificity(is_target, score, _ENOUGH_SPECIFICITY),
    ),
    "specificity_90": lambda is_target, score: threshold_for_specificity(is_target, score, 0.90),
    "specificity_95": lambda is_target, score: threshold_for_specificity(is_target, score, 0.95),
    HIGH_SPECIFICITY: lambda is_target, score: threshold_for_specificity(is_target, score, 0.99),
}


def choose_rules(
    labels: Labels,
    probabilities: NDArray[np.floating],
    groups: Groups,
    fold_of: NDArray[np.int64],
    classes: ClassSet,
    *,
    operating_point: str = HIGH_SENSITIVITY,
    seed: int = 0,
) -> DecisionRules:
    """Operating points, uncertain band and prediction sets from calibrated out-of-fold probabilities.

    labels, groups, fold_of: int64 [n]; probabilities: float [n, classes]. Every class must have slices outside of
    each fold, as split_by_case() sees to. A threshold is chosen on all slices; its sensitivity and specificity are
    measured with each fold judged by the threshold of the other folds, intervals by 2,000 draws of cases. The
    uncertain band runs from high_sensitivity's threshold (rule_out) to high_specificity's (rule_in).
    """
    target = classes.names.index(classes.target)
    is_target, score = labels == target, probabilities[:, target].astype(np.float64)
    points, called = {}, {}
    for name, choose in _CHOICES.items():
        is_called = np.zeros(len(labels), np.bool_)
        for fold in np.unique(fold_of):
            others = fold_of != fold
            is_called[~others] = score[~others] >= choose(is_target[others], score[others])
        called[name] = is_called
        sensitivity, of_sensitivity = _share(is_called, is_target, groups, seed)
        specificity, of_specificity = _share(~is_called, ~is_target, groups, seed)
        points[name] = OperatingPoint(
            threshold=choose(is_target, score),
            sensitivity=sensitivity,
            sensitivity_interval=of_sensitivity,
            specificity=specificity,
            specificity_interval=of_specificity,
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


def threshold_for_sensitivity(is_target: NDArray[np.bool_], score: NDArray[np.float64], sensitivity: float) -> float:
    """The highest threshold that calls at least this share of the target's slices positive: the best specificity."""
    of_target = np.sort(score[is_target])[::-1]
    needed = int(np.ceil(sensitivity * len(of_target) - 1e-9))
    return _below(float(of_target[needed - 1]), score)


def threshold_for_specificity(is_target: NDArray[np.bool_], score: NDArray[np.float64], specificity: float) -> float:
    """The lowest threshold that calls at least this share of the other slices negative: the best sensitivity."""
    of_others = np.sort(score[~is_target])[::-1]
    allowed = int(np.floor((1 - specificity) * len(of_others) + 1e-9))
    above = score[score > of_others[allowed]]
    # where no score lies above, no threshold up to 1 calls few enough, unless it calls nobody
    return _below(float(above.min()), score) if len(above) else 1.0


def _below(lowest_called: float, score: NDArray[np.float64]) -> float:
    """Midway to the next lower score, so that what another engine rounds otherwise does not cross the threshold."""
    lower = score[score < lowest_called]
    return (lowest_called + float(lower.max(initial=0.0))) / 2


def _share(
    is_right: NDArray[np.bool_], is_counted: NDArray[np.bool_], groups: Groups, seed: int
) -> tuple[float, Interval]:
    """Share of the counted slices that are right, with its interval by case."""
    right, cases = is_right[is_counted].astype(np.float64), groups[is_counted]
    same_class = np.zeros(len(right), np.int64)
    drawn = np.concatenate([w @ right / w.sum(axis=1) for w in draw_cases(same_class, cases, seed=seed)])
    share = float(right.mean())
    return share, never_narrower(percentiles(drawn), share, len(np.unique(cases)))
