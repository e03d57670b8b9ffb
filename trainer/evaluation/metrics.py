"""How good the probabilities are, with 95 % intervals."""

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support, roc_auc_score

from shared.classes import ClassSet
from trainer.data.balance import Labels
from trainer.data.cases import Groups
from trainer.evaluation import weighted_metrics as scores
from trainer.evaluation.intervals import Interval, mean_of_proportions, never_certain, percentiles, wilson
from trainer.evaluation.resampling import Weights, draw_cases


class ClassMetrics(BaseModel):
    """One class against the rest. recall and auc are None where no slice (or every slice) is of the class."""

    model_config = ConfigDict(frozen=True)

    precision: float
    recall: float | None
    f1: float
    auc: float | None
    support: int


class TargetMetrics(BaseModel):
    """The target class against the rest, by its probability alone, as a detector at a threshold would use it."""

    model_config = ConfigDict(frozen=True)

    name: str
    auc: float
    sensitivity_at_specificity_90: float
    sensitivity_at_specificity_95: float


class TargetIntervals(BaseModel):
    """Intervals of TargetMetrics."""

    model_config = ConfigDict(frozen=True)

    auc: Interval
    sensitivity_at_specificity_90: Interval
    sensitivity_at_specificity_95: Interval


class Intervals(BaseModel):
    """95 % intervals.

    Where cases are known or inferred, all are percentiles of 2,000 draws of cases; a proportion that every draw finds
    whole (or nil) gets Wilson's interval on the number of cases instead, for a bootstrap would call it certain.
    Else slices are taken for independent, which neighbouring slices of one patient are not: Wilson for accuracy and
    recall, MOVER over these for balanced accuracy, 2,000 draws of slices for the others.
    """

    model_config = ConfigDict(frozen=True)

    accuracy: Interval
    balanced_accuracy: Interval
    macro_f1: Interval
    recall: dict[str, Interval | None]
    brier: Interval
    ece: Interval
    target: TargetIntervals | None


class Metrics(BaseModel):
    """What a set of labelled slices says of a model. confusion[i][j]: slices of class i that were called class j.

    balanced_accuracy and macro_f1 are means over the classes that have a slice. brier: 0 to 2; ece: top label, 10 bins
    of equal mass; target: None where the set lacks slices of the target class or of the others. n_cases: None where
    nothing is known of cases.
    """

    model_config = ConfigDict(frozen=True)

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
    predicted = probabilities.argmax(axis=1)
    indices = np.arange(n_classes)
    confusion = np.asarray(confusion_matrix(labels, predicted, labels=indices), np.int64)
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
    plain = figures.of(np.ones((1, len(labels))))
    drawn = [figures.of(weights) for weights in draw_cases(labels, _or_each_slice(groups, labels), seed=seed)]
    ends = {name: percentiles(np.concatenate([block[name] for block in drawn])) for name in plain}
    return Metrics(
        n=len(labels),
        n_cases=None if groups is None else len(np.unique(groups)),
        accuracy=float(np.trace(confusion) / len(labels)),
        balanced_accuracy=float(_recalls(confusion).mean()),
        macro_f1=float(plain["macro_f1"][0]),
        per_class=per_class,
        confusion=tuple(tuple(int(count) for count in row) for row in confusion),
        brier=float(plain["brier"][0]),
        ece=float(plain["ece"][0]),
        target=TargetMetrics(name=classes.target, **{name: float(plain[name][0]) for name in _OF_TARGET})
        if figures.has_target
        else None,
        intervals=_intervals(labels, confusion, classes, groups, ends),
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
        """Each figure float64 [draws]; recalls are called recall_0 and so on."""
        labels, probabilities = self._labels, self._probabilities
        matrices = scores.confusions(labels, probabilities.argmax(axis=1), self._n_classes, weights)
        hits = np.diagonal(matrices, axis1=1, axis2=2)[:, self._present]
        support, called = (matrices.sum(axis=axis)[:, self._present] for axis in (2, 1))
        figures = {
            "accuracy": hits.sum(axis=1) / weights.sum(axis=1),
            "balanced_accuracy": (hits / support).mean(axis=1),
            # F1 of a class is twice the hits over what is of the class plus what was called it
            "macro_f1": (2 * hits / (support + called)).mean(axis=1),
            "brier": scores.brier(labels, probabilities, weights),
            "ece": scores.calibration_error(labels, probabilities, weights),
        }
        figures |= {f"recall_{label}": (hits / support)[:, i] for i, label in enumerate(self._present.tolist())}
        if self.has_target:
            figures["auc"] = scores.area_under_roc(self._is_target, self._score, weights)
            for percent in (90, 95):
                sensitivity = scores.sensitivity_at(percent / 100, self._is_target, self._score, weights)
                figures[f"sensitivity_at_specificity_{percent}"] = sensitivity
        return figures


def _intervals(
    labels: Labels,
    confusion: NDArray[np.int64],
    classes: ClassSet,
    groups: Groups | None,
    drawn: dict[str, Interval],
) -> Intervals:
    cases_of = [len(np.unique(_or_each_slice(groups, labels)[labels == i])) for i in range(len(classes.names))]
    recall: dict[str, Interval | None] = dict.fromkeys(classes.names)
    for i, name in enumerate(classes.names):
        if cases_of[i]:
            of_class = never_certain(drawn[f"recall_{i}"], cases_of[i])
            recall[name] = of_class if groups is not None else wilson(int(confusion[i, i]), int(confusion[i].sum()))
    mean_recall = mean_of_proportions(_recalls(confusion), [ends for ends in recall.values() if ends is not None])
    is_certain = drawn["balanced_accuracy"][0] == drawn["balanced_accuracy"][1]
    n_target = cases_of[classes.names.index(classes.target)]
    return Intervals(
        accuracy=wilson(int(np.trace(confusion)), int(confusion.sum()))
        if groups is None
        else never_certain(drawn["accuracy"], sum(cases_of)),
        balanced_accuracy=mean_recall if groups is None or is_certain else drawn["balanced_accuracy"],
        macro_f1=drawn["macro_f1"],
        recall=recall,
        brier=drawn["brier"],
        ece=drawn["ece"],
        target=TargetIntervals(
            auc=drawn["auc"],
            **{name: never_certain(drawn[name], n_target) for name in _OF_TARGET[1:]},
        )
        if "auc" in drawn
        else None,
    )


def _or_each_slice(groups: Groups | None, labels: Labels) -> Groups:
    """The cases, or each slice for itself where nothing is known of cases."""
    return np.arange(len(labels)) if groups is None else groups


def _recalls(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """Recall of each class that has a slice."""
    support = confusion.sum(axis=1)
    present = support > 0
    return np.asarray(np.diag(confusion)[present] / support[present], np.float64)
