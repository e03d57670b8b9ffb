"""Two models on the same slices: the difference, and whether chance explains it."""

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from trainer.data.balance import Labels
from trainer.data.cases import Groups
from trainer.evaluation.answers import Answers
from trainer.evaluation.case_figures import CaseFigures, Figure
from trainer.evaluation.intervals import Interval, percentiles
from trainer.evaluation.resampling import draw_cases


class Difference(BaseModel, frozen=True):
    """A figure of the first model minus that of the second, with its 95 % interval."""

    value: float
    interval: Interval

    @property
    def is_worse(self) -> bool:
        """Whether the first is worse beyond chance: the whole interval lies below 0."""
        return self.interval[1] < 0


class Comparison(BaseModel, frozen=True):
    """How a first set of probabilities does against a second one, paired by case."""

    n: int
    n_cases: int
    accuracy: Difference
    balanced_accuracy: Difference


class ServedComparison(BaseModel, frozen=True):
    """Figures of the first version as it is served minus those of the second one, paired by case.

    n and n_cases: what both versions answer, and all figures but `refused`, which counts every slice, are of. None: a
    version has no decision rules, or nothing is to be counted. As in the figures of one version, an uncertain verdict
    counts as not negative.
    """

    n: int
    n_cases: int
    balanced_accuracy: Figure | None
    accuracy: Figure | None
    sensitivity: Figure | None
    specificity: Figure | None
    uncertain: Figure | None
    refused: Figure | None


def compare_served(first: Answers, second: Answers, seed: int = 0) -> ServedComparison:
    """Compare two versions' answers to the same slices, entry by entry."""
    is_common = first.is_answered & second.is_answered
    one, other = first.only(is_common), second.only(is_common)
    of, is_target = CaseFigures(one.labels, one.groups, seed), one.is_target
    (negative, uncertain), (negative_2, uncertain_2) = (
        (answers.has_verdict("negative"), answers.has_verdict("uncertain")) for answers in (one, other)
    )
    return ServedComparison(
        n=len(one),
        n_cases=len(np.unique(one.groups)),
        balanced_accuracy=of.difference(one.is_right, other.is_right, is_balanced=True),
        accuracy=of.difference(one.is_right, other.is_right),
        # the second negative where the first is not: the first finds more
        sensitivity=of.difference(negative_2, negative, is_target),
        specificity=of.difference(negative, negative_2, ~is_target),
        uncertain=of.difference(uncertain, uncertain_2),
        refused=CaseFigures(first.labels, first.groups, seed).difference(~first.is_answered, ~second.is_answered),
    )


def paired_by_case(
    labels: Labels,
    first: NDArray[np.floating],
    second: NDArray[np.floating],
    groups: Groups,
    seed: int = 0,
) -> Comparison:
    """Compare probabilities for the same slices: 2,000 draws of cases, each of which takes both models' answers.

    labels, groups: int64 [n], n >= 1. first, second: float [n, classes], or [runs, n, classes], whose figures are means
    over the runs (the models need not have equally many). Raises ValueError for shapes that do not fit.
    """
    gain = _share_right(first, labels) - _share_right(second, labels)
    present = np.unique(labels)
    is_of_class = (labels[:, None] == present).astype(np.float64)
    accuracies, balanced = [], []
    for weights in (np.ones((1, len(labels))), *draw_cases(labels, groups, seed=seed)):
        accuracies.append(weights @ gain / weights.sum(axis=1))
        balanced.append(((weights @ (is_of_class * gain[:, None])) / (weights @ is_of_class)).mean(axis=1))
    return Comparison(
        n=len(labels),
        n_cases=len(np.unique(groups)),
        accuracy=_difference(accuracies),
        balanced_accuracy=_difference(balanced),
    )


def paired_shares(gain: NDArray[np.float64], groups: Groups, seed: int = 0) -> Difference:
    """Mean of what a first model has more than a second one on each slice, float64 [n], with an interval by case."""
    alike = np.zeros(len(gain), np.int64)
    blocks = (np.ones((1, len(gain))), *draw_cases(alike, groups, seed=seed))
    return _difference([weights @ gain / weights.sum(axis=1) for weights in blocks])


def _difference(values: list[NDArray[np.float64]]) -> Difference:
    """From the plain value, then the blocks of draws."""
    return Difference(value=float(values[0][0]), interval=percentiles(np.concatenate(values[1:])))


def _share_right(probabilities: NDArray[np.floating], labels: Labels) -> NDArray[np.float64]:
    """Share of the runs that call each slice right, float64 [n]."""
    runs = probabilities[None] if probabilities.ndim == 2 else probabilities  # noqa: PLR2004 - one run without its axis
    if runs.ndim != 3 or runs.shape[1] != len(labels) or not len(labels):  # noqa: PLR2004 - as documented
        raise ValueError(f"expected probabilities of {len(labels)} slices, got shape {probabilities.shape}")
    return np.asarray((runs.argmax(axis=2) == labels).mean(axis=0), np.float64)
