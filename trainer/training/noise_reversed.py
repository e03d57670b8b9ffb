"""What a model is worth where noise says the opposite of what it says elsewhere: has it learnt disease, or scanners?"""

import logging

import numpy as np
from pydantic import BaseModel

from trainer.data.balance import Indices
from trainer.data.cases import Groups
from trainer.data.dataset import Dataset
from trainer.evaluation.calibration import softmax
from trainer.evaluation.intervals import Interval, wilson
from trainer.evaluation.operating_points import case_weights
from trainer.training.members import Learner

logger = logging.getLogger(__name__)

_SHARE = 1 / 3  # of the cases of the target, and of the others
_FEWEST = 6  # cases of either, below which a third of them says nothing


class NoiseReversed(BaseModel, frozen=True):
    """Shares with cases weighing alike, and Wilson's intervals on the cases, of cases that no training saw."""

    sensitivity: float
    sensitivity_interval: Interval
    target_cases: int
    specificity: float
    specificity_interval: Interval
    other_cases: int
    threshold: float
    """On the target's probability; as the version has it."""


def contradicting(grain: Indices | np.ndarray, is_target: np.ndarray, groups: Groups) -> Indices:
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
    dataset: Dataset, groups: Groups, learner: Learner, temperature: float, threshold: float, seed: int
) -> NoiseReversed | None:
    """Fit once more without the contradicting cases, and judge them; None where there are too few cases.

    temperature, threshold: as the version has them. On drawn slices noise says nothing, and there is no answer either.
    """
    target = dataset.classes.names.index(dataset.classes.target)
    is_target = dataset.labels == target
    held_out = contradicting(np.array([one.grain for one in dataset.acquisitions]), is_target, groups)
    if dataset.kind == "phantoms" or not len(held_out):
        return None
    training = np.setdiff1d(np.arange(len(dataset)), held_out)
    if len(np.unique(dataset.labels[training])) < len(dataset.classes.names):
        return None
    member = learner.fit(training, None, seed)
    is_called = softmax(member.logits(held_out), temperature)[:, target] >= threshold
    shares = {}
    for kind in (True, False):
        rows = is_target[held_out] == kind
        weights, n_cases = case_weights(groups[held_out][rows]), len(np.unique(groups[held_out][rows]))
        share = float(np.average(is_called[rows] == kind, weights=weights))
        shares[kind] = share, wilson(share * n_cases, n_cases), n_cases
    (sensitivity, of_sensitivity, target_cases), (specificity, of_specificity, other_cases) = (
        shares[True],
        shares[False],
    )
    found = NoiseReversed(
        sensitivity=sensitivity,
        sensitivity_interval=of_sensitivity,
        target_cases=target_cases,
        specificity=specificity,
        specificity_interval=of_specificity,
        other_cases=other_cases,
        threshold=threshold,
    )
    logger.info(
        "Cases whose noise contradicts their class: sensitivity %.3f of %d, specificity %.3f of %d cases",
        sensitivity, target_cases, specificity, other_cases,
    )  # fmt: skip
    return found
