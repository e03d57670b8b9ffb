"""What a model is worth where noise says the opposite of what it says elsewhere: has it learnt disease, or scanners?"""

import logging
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from shared.decisions import OperatingPoint
from trainer.data.balance import Indices
from trainer.data.cases import Groups
from trainer.data.dataset import Dataset
from trainer.evaluation.calibration import softmax
from trainer.evaluation.intervals import Interval, wilson
from trainer.evaluation.operating_points import case_weights
from trainer.training.members import Member

logger = logging.getLogger(__name__)

_SHARE = 1 / 3  # of the cases of the target, and of the others
_FEWEST = 6  # cases of either, below which a third of them says nothing


class ShareOfCases(BaseModel, frozen=True):
    """A share of slices with cases weighing alike, and Wilson's interval on the cases."""

    share: float
    interval: Interval
    n_cases: int


class NoiseReversed(BaseModel, frozen=True):
    """What is right of cases that no training saw, at a threshold on the target's probability."""

    sensitivity: ShareOfCases
    specificity: ShareOfCases
    threshold: float

    def warnings(self, target: str, point: OperatingPoint) -> tuple[str, ...]:
        """What the operating point does not keep of its promise here."""
        broken = []
        for name, seen, promised in (
            ("sensitivity", self.sensitivity, point.sensitivity_by_case),
            ("specificity", self.specificity, point.specificity_by_case),
        ):
            if promised is not None and promised > seen.interval[1]:
                broken.append(f"a {name} of {seen.share:.2f} in place of {promised:.2f}")
        if not broken:
            return ()
        where = f"Where the noise of soft tissue contradicts what it mostly says of {target.lower()}"
        return (f"{where}, the model reached {' and '.join(broken)}: it leans on noise.",)


def contradicting(grain: NDArray[np.float64], is_target: NDArray[np.bool_], groups: Groups) -> Indices:
    """Rows int64 [m] of the third of the target's cases, and of the others', whose noise is most like the other kind's.

    grain: float [n], of soft tissue; is_target: bool [n]. None where either has fewer than 6 cases.
    """
    cases, first, case_of = np.unique(groups, return_index=True, return_inverse=True)
    grain_of = np.array([np.nanmedian(grain[case_of == case]) for case in range(len(cases))])
    target_of = is_target[first]
    if min(target_of.sum(), (~target_of).sum()) < _FEWEST:
        return np.empty(0, np.int64)
    sign = np.sign(np.median(grain_of[~target_of]) - np.median(grain_of[target_of])) or 1.0
    held_out: list[int] = []
    for of_kind, direction in ((target_of, -sign), (~target_of, sign)):
        rows = np.flatnonzero(of_kind)
        held_out += rows[np.argsort(direction * grain_of[rows], kind="stable")][: round(_SHARE * len(rows))].tolist()
    return np.flatnonzero(np.isin(case_of, held_out))


def judge_noise_reversed(
    dataset: Dataset, groups: Groups, fit: Callable[[Indices], Member], temperature: float, point: OperatingPoint
) -> NoiseReversed | None:
    """Fit once more without the contradicting cases, and judge them; None where there are too few cases.

    temperature, point: as the version has them. On drawn slices noise says nothing, and there is no answer either.
    """
    target = dataset.classes.names.index(dataset.classes.target)
    is_target = dataset.labels == target
    held_out = contradicting(np.array([one.grain for one in dataset.acquisitions]), is_target, groups)
    training = np.setdiff1d(np.arange(len(dataset)), held_out)
    is_missing = len(np.unique(dataset.labels[training])) < len(dataset.classes.names)
    if dataset.kind == "phantoms" or not len(held_out) or is_missing:
        return None
    is_called = softmax(fit(training).logits(held_out), temperature)[:, target] >= point.threshold
    sensitivity, specificity = (
        _of_cases(is_called[rows] == kind, groups[held_out][rows])
        for kind in (True, False)
        for rows in (is_target[held_out] == kind,)
    )
    found = NoiseReversed(sensitivity=sensitivity, specificity=specificity, threshold=point.threshold)
    logger.info(
        "Cases whose noise contradicts their class: sensitivity %.3f of %d, specificity %.3f of %d cases",
        sensitivity.share, sensitivity.n_cases, specificity.share, specificity.n_cases,
    )  # fmt: skip
    return found


def _of_cases(is_right: NDArray[np.bool_], groups: Groups) -> ShareOfCases:
    share, n_cases = float(np.average(is_right, weights=case_weights(groups))), len(np.unique(groups))
    return ShareOfCases(share=share, interval=wilson(share * n_cases, n_cases), n_cases=n_cases)
