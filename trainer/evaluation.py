"""How good the probabilities are: scikit-learn's metrics, with 95 % intervals."""

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support, roc_auc_score

from shared.classes import ClassSet
from trainer.balance import Labels

_Z95 = 1.959963984540054
_RESAMPLES = 2000

Interval = tuple[float, float]
"""Lower and upper end of a 95 % confidence interval."""


class ClassMetrics(BaseModel):
    """One class against the rest. recall and auc are None where no slice (or every slice) is of the class."""

    model_config = ConfigDict(frozen=True)

    precision: float
    recall: float | None
    f1: float
    auc: float | None
    support: int


class Intervals(BaseModel):
    """Wilson for accuracy and recall, MOVER over these for balanced accuracy, bootstrap of slices for macro F1."""

    model_config = ConfigDict(frozen=True)

    accuracy: Interval
    balanced_accuracy: Interval
    macro_f1: Interval
    recall: dict[str, Interval | None]


class Metrics(BaseModel):
    """What a set of labelled slices says of a model. confusion[i][j]: slices of class i that were called class j.

    balanced_accuracy and macro_f1 are means over the classes that have a slice.
    """

    model_config = ConfigDict(frozen=True)

    n: int
    accuracy: float
    balanced_accuracy: float
    macro_f1: float
    per_class: dict[str, ClassMetrics]
    confusion: tuple[tuple[int, ...], ...]
    intervals: Intervals


def evaluate(labels: Labels, probabilities: NDArray[np.float32], classes: ClassSet, seed: int = 0) -> Metrics:
    """Metrics of probabilities float32 [n, classes], n >= 1, against labels int64 [n]; equal calls give equal results.

    The intervals take slices for independent, which neighbouring slices of one patient are not.
    Raises ValueError for shapes that do not fit.
    """
    n_classes = len(classes.names)
    if not len(labels) or probabilities.shape != (len(labels), n_classes):
        raise ValueError(f"expected probabilities of shape ({len(labels)}, {n_classes}), got {probabilities.shape}")
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
    return Metrics(
        n=len(labels),
        accuracy=float(np.trace(confusion) / len(labels)),
        balanced_accuracy=float(_recalls(confusion).mean()),
        macro_f1=_macro_f1(confusion),
        per_class=per_class,
        confusion=tuple(tuple(int(count) for count in row) for row in confusion),
        intervals=_intervals(confusion, classes.names, seed),
    )


def wilson(successes: int, trials: int) -> Interval:
    """95 % interval of a proportion, trials >= 1 (Wilson 1927, 10.1080/01621459.1927.10502953)."""
    share, z2 = successes / trials, _Z95**2
    centre = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = _Z95 / (1 + z2 / trials) * float(np.sqrt(share * (1 - share) / trials + z2 / (4 * trials**2)))
    return max(0.0, centre - half), min(1.0, centre + half)


def _intervals(confusion: NDArray[np.int64], names: tuple[str, ...], seed: int) -> Intervals:
    total = int(confusion.sum())
    recall = {
        name: wilson(int(row[index]), int(row.sum())) if row.sum() else None
        for index, (name, row) in enumerate(zip(names, confusion, strict=True))
    }
    # drawing slices with replacement is drawing confusion matrices: one multinomial over its cells
    drawn = np.random.default_rng(seed).multinomial(total, confusion.ravel() / total, size=_RESAMPLES)
    macro_f1 = np.percentile([_macro_f1(matrix) for matrix in drawn.reshape(-1, *confusion.shape)], [2.5, 97.5])
    return Intervals(
        accuracy=wilson(int(np.trace(confusion)), total),
        balanced_accuracy=_mean_recall(confusion, [ends for ends in recall.values() if ends is not None]),
        macro_f1=(float(macro_f1[0]), float(macro_f1[1])),
        recall=recall,
    )


def _mean_recall(confusion: NDArray[np.int64], intervals: list[Interval]) -> Interval:
    """Interval of a mean of independent proportions from theirs (MOVER: Zou & Donner 2008, 10.1002/sim.3095).

    Unlike a bootstrap's, its width is not zero where every slice was called right.
    """
    recalls = _recalls(confusion)
    mean, lower, upper = recalls.mean(), *np.transpose(intervals)
    below = np.sqrt(np.sum((recalls - lower) ** 2)) / len(recalls)
    above = np.sqrt(np.sum((upper - recalls) ** 2)) / len(recalls)
    return float(max(0.0, mean - below)), float(min(1.0, mean + above))


def _recalls(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """Recall of each class that has a slice."""
    support = confusion.sum(axis=1)
    present = support > 0
    return np.asarray(np.diag(confusion)[present] / support[present], np.float64)


def _macro_f1(confusion: NDArray[np.int64]) -> float:
    """F1 of a class is twice the hits over what is of the class plus what was called it."""
    support = confusion.sum(axis=1)
    present = support > 0
    return float(np.mean(2 * np.diag(confusion)[present] / (support + confusion.sum(axis=0))[present]))
