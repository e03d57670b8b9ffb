"""What a model is worth on slices that it has not seen, as they are and in views, as other scanners might show them."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from shared.classes import ClassSet
from trainer.data.balance import Labels
from trainer.data.cases import Groups
from trainer.evaluation.answers import Mask
from trainer.evaluation.case_figures import CaseFigures, Figure

_MANY = 0.08  # of the answers


class HeldOutFigures(BaseModel, frozen=True):
    """Figures of calibrated out-of-fold answers, by slice and by case. None: no slice to count.

    sensitivity and specificity are those of the operating point that decides; each fold is judged by the threshold of
    the other folds. flips: share of slices whose most probable class is another one than on the slice as it is; None
    for slices as they are.
    """

    accuracy: Figure | None
    balanced_accuracy: Figure | None
    recall: dict[str, Figure | None]
    auc: Figure | None
    """Of the target's probability."""
    ece: Figure | None
    sensitivity: Figure | None
    specificity: Figure | None
    flips: Figure | None = None


class Stress(BaseModel, frozen=True):
    """Figures of slices as they are, and of each view of them by its name in trainer.data.views."""

    operating_point: str
    as_it_is: HeldOutFigures
    views: dict[str, HeldOutFigures]

    def warnings(self) -> tuple[str, ...]:
        """A sentence for each view that flips more than 8 % of the answers."""
        flips = (one.flips.by_slice.value for one in self.views.values() if one.flips)
        who = "Views of the same slices, as other scanners might show them,"
        return tuple(f"{who} change {100 * share:.0f} % of the answers." for share in flips if share > _MANY)


def stress(
    labels: Labels,
    groups: Groups,
    classes: ClassSet,
    *,
    probabilities: NDArray[np.float64],
    views: Mapping[str, NDArray[np.float64]],
    thresholds: NDArray[np.float64],
    operating_point: str,
    seed: int = 0,
) -> Stress:
    """Judge answers float64 [n, classes], and those of each view, against labels int64 [n] in cases int64 [n].

    thresholds: float64 [n], on the target's probability, that each slice is judged by. Equal calls give equal results.
    """
    figures, target = CaseFigures(labels, groups, seed), classes.names.index(classes.target)
    is_target: Mask = labels == target
    before = probabilities.argmax(axis=1)

    def of(answers: NDArray[np.float64], flipped: Mask | None = None) -> HeldOutFigures:
        is_right, is_called = answers.argmax(axis=1) == labels, answers[:, target] >= thresholds
        return HeldOutFigures(
            accuracy=figures.mean(is_right),
            balanced_accuracy=figures.mean(is_right, is_balanced=True),
            recall={name: figures.mean(is_right, labels == label) for label, name in enumerate(classes.names)},
            auc=figures.auc(is_target, answers[:, target]),
            ece=figures.ece(answers),
            sensitivity=figures.mean(is_called, is_target),
            specificity=figures.mean(~is_called, ~is_target),
            flips=figures.mean(flipped),
        )

    return Stress(
        operating_point=operating_point,
        as_it_is=of(probabilities),
        views={name: of(answers, answers.argmax(axis=1) != before) for name, answers in views.items()},
    )
