"""How good the probabilities are, with 95 % intervals."""

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support, roc_auc_score

from shared.classes import ClassSet
from trainer.data.balance import Labels
from trainer.data.cases import Groups
from trainer.evaluation import weighted_metrics
from trainer.evaluation.intervals import Interval, mean_of_proportions, never_narrower, percentiles, wilson
from trainer.evaluation.resampling import Weights, draw_cases


class ClassMetrics(BaseModel, frozen=True):
    """One class against the rest. recall and auc are None where no slice (or every slice) is of the class."""

    precision: float
    recall: float | None
    f1: float
    auc: float | None
    support: int


class TargetMetrics(BaseModel, frozen=True):
    """The target class against the rest, by its probability alone, as a detector at a threshold would use it."""

    name: str
    auc: float
    sensitivity_at_specificity_90: float
    sensitivity_at_specificity_95: float


class TargetIntervals(BaseModel, frozen=True):
    """95 % intervals of TargetMetrics."""

    auc: Interval
    sensitivity_at_specificity_90: Interval
    sensitivity_at_specificity_95: Interval


class Intervals(BaseModel, frozen=True):
    """95 % intervals.

    Where cases are known or inferred, all are percentiles of 2,000 draws of cases; a proportion that every draw finds
    whole (or nil) gets Wilson's interval on the number of cases instead, for a bootstrap would call it certain.
    Else slices are taken for independent, which neighbouring slices of one patient are not: Wilson for accuracy and
    recall, MOVER over these for balanced accuracy, 2,000 draws of slices for the others.
    """

    accuracy: Interval
    balanced_accuracy: Interval
    macro_f1: Interval
    recall: dict[str, Interval | None]
    brier: Interval
    ece: Interval
    target: TargetIntervals | None


class Metrics(BaseModel, frozen=True):
    """What a set of labelled slices says of a model. confusion[i][j]: slices of class i that were called class j.

    balanced_accuracy and macro_f1 are means over the classes that have a slice. brier: 0 to 2; ece: top label, 10 bins
    of equal mass; target: None where the set lacks slices of the target class or of the others. n_cases: None where
    nothing is known of cases.
    """

    n: int
    n_cases: int | None
    accuracy: float
    balanced_accuracy: float
    macro_f1: float
    per_class: dict[str, ClassMetrics]
    confusion: tuple[tuple[int, ...], ...]
    brier: float
    ece: float
    target: TargetMetrics | None
    intervals: Intervals


def evaluate(
    labels: Labels,
    probabilities: NDArray[np.floating],
    classes: ClassSet,
    seed: int = 0,
    groups: Groups | None = None,
) -> Metrics:
    """Metrics of probabilities float [n, classes], n >= 1, against labels int64 [n]; equal calls give equal results.

    groups: int64 [n], the case of each slice. Raises ValueError for shapes that do not fit.
    """
    n_classes = len(classes.names)
    if not len(labels) or probabilities.shape != (len(labels), n_classes):
        raise ValueError(f"expected probabilities of shape ({len(labels)}, {n_classes}), got {probabilities.shape}")
    if groups is not None and groups.shape != labels.shape:
        raise ValueError(f"expected groups of shape {labels.shape}, got {groups.shape}")
    predicted, indices = probabilities.argmax(axis=1), np.arange(n_classes)
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, predicted, labels=indices, zero_division=0.0
    )
    per_class = {
        name: ClassMetrics(
            precision=precision[i],
            recall=recall[i] if support[i] else None,
            f1=f1[i],
            auc=roc_auc_score(labels == i, probabilities[:, i]) if 0 < support[i] < len(labels) else None,
            support=support[i],
        )
        for i, name in enumerate(classes.names)
    }
    figures = Figures(labels, probabilities.astype(np.float64), classes)
    plain = {name: float(values[0]) for name, values in figures.of(np.ones((1, len(labels)))).items()}
    cases = np.arange(len(labels)) if groups is None else groups  # nothing known: each slice for itself
    drawn = [figures.of(weights) for weights in draw_cases(labels, cases, seed=seed)]
    ends = {name: percentiles(np.concatenate([block[name] for block in drawn])) for name in plain}
    cases_of = [len(np.unique(cases[labels == i])) for i in indices]
    return Metrics(
        n=len(labels),
        n_cases=None if groups is None else len(np.unique(groups)),
        accuracy=plain["accuracy"],
        balanced_accuracy=plain["balanced_accuracy"],
        macro_f1=plain["macro_f1"],
        per_class=per_class,
        confusion=tuple(map(tuple, confusion_matrix(labels, predicted, labels=indices).tolist())),
        brier=plain["brier"],
        ece=plain["ece"],
        target=TargetMetrics(name=classes.target, **{name: plain[name] for name in _OF_TARGET})
        if figures.has_target
        else None,
        intervals=_intervals(plain, ends, classes, cases_of, is_by_case=groups is not None),
    )


_OF_TARGET = ("auc", "sensitivity_at_specificity_90", "sensitivity_at_specificity_95")


class Figures:
    """Every figure that is bootstrapped, by name, for any weights of the slices."""

    def __init__(self, labels: Labels, probabilities: NDArray[np.float64], classes: ClassSet) -> None:
        self._labels, self._probabilities, self._n_classes = labels, probabilities, len(classes.names)
        target = classes.names.index(classes.target)
        self._is_target, self._score = labels == target, probabilities[:, target]
        self.has_target = bool(0 < self._is_target.sum() < len(labels))
        self._present = np.unique(labels)

    def of(self, weights: Weights) -> dict[str, NDArray[np.float64]]:
        """Each figure float64 [draws] for weights float64 [draws, n]; recalls are called recall_0 and so on."""
        labels, probabilities = self._labels, self._probabilities
        matrices = weighted_metrics.confusions(labels, probabilities.argmax(axis=1), self._n_classes, weights)
        hits = np.diagonal(matrices, axis1=1, axis2=2)[:, self._present]
        support, called = (matrices.sum(axis=axis)[:, self._present] for axis in (2, 1))
        figures = {
            "accuracy": hits.sum(axis=1) / weights.sum(axis=1),
            "balanced_accuracy": (hits / support).mean(axis=1),
            # F1 of a class is twice the hits over what is of the class plus what was called it
            "macro_f1": (2 * hits / (support + called)).mean(axis=1),
            "brier": weighted_metrics.brier(labels, probabilities, weights),
            "ece": weighted_metrics.calibration_error(labels, probabilities, weights),
        }
        figures |= {f"recall_{label}": (hits / support)[:, i] for i, label in enumerate(self._present.tolist())}
        if self.has_target:
            figures["auc"] = weighted_metrics.area_under_roc(self._is_target, self._score, weights)
            for percent in (90, 95):
                sensitivity = weighted_metrics.sensitivity_at(percent / 100, self._is_target, self._score, weights)
                figures[f"sensitivity_at_specificity_{percent}"] = sensitivity
        return figures


def _intervals(
    plain: dict[str, float], drawn: dict[str, Interval], classes: ClassSet, cases_of: list[int], *, is_by_case: bool
) -> Intervals:
    """From the figures, their percentiles over the draws, and how many cases (or slices) each class has."""

    def of_proportion(name: str, count: int) -> Interval:
        share = plain[name]
        return never_narrower(drawn[name], share, count) if is_by_case else wilson(round(share * count), count)

    recall = {i: of_proportion(f"recall_{i}", count) for i, count in enumerate(cases_of) if count}
    mean_recall = mean_of_proportions(np.array([plain[f"recall_{i}"] for i in recall]), list(recall.values()))
    balanced = drawn["balanced_accuracy"]
    n_target = cases_of[classes.names.index(classes.target)]
    return Intervals(
        accuracy=of_proportion("accuracy", sum(cases_of)),
        balanced_accuracy=balanced if is_by_case and balanced[0] != balanced[1] else mean_recall,
        macro_f1=drawn["macro_f1"],
        recall={name: recall.get(i) for i, name in enumerate(classes.names)},
        brier=drawn["brier"],
        ece=drawn["ece"],
        target=TargetIntervals(
            auc=drawn["auc"], **{name: never_narrower(drawn[name], plain[name], n_target) for name in _OF_TARGET[1:]}
        )
        if "auc" in drawn
        else None,
    )
