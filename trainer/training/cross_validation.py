"""Each case judged by a member that saw none of it: the folds in turn, and what they say together."""

import logging
import time
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from trainer.data.dataset import Dataset
from trainer.data.splits import Folds, hold_out_to_stop
from trainer.data.views import ACQUIRED
from trainer.evaluation.calibration import Calibrated, cross_fit, softmax
from trainer.networks.heads import Logits
from trainer.settings import TrainerSettings
from trainer.training.members import Learner, Member
from trainer.training.work_folder import WorkFolder

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CrossValidated:
    """One member a fold, and out-of-fold logits float64 [n, classes], which each slice got from the fold it was held
    out of; uncalibrated, and calibrated by the other folds.
    """

    members: tuple[Member, ...]
    logits: Logits
    calibrated: Calibrated
    viewed: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    """Calibrated probabilities of each view, likewise."""


def cross_validate(
    dataset: Dataset,
    folds: Folds,
    learner: Learner,
    settings: TrainerSettings,
    work: WorkFolder | None = None,
    *,
    kept_as: str = "fold",
) -> CrossValidated:
    """Fit a member to all cases but those of each fold, or take up those that the work folder has under this name.

    What stops early does so by a fifth of the training cases: the fold that is held out decides about nothing. Equal
    arguments give equal results, resumed or not.
    """
    logits = np.empty((len(dataset), len(dataset.classes.names)))
    viewed = {name: np.empty_like(logits) for name in (ACQUIRED,) if name in dataset.views}
    members = []
    for fold in range(len(folds)):
        started, held_out = time.monotonic(), folds.split(fold).validation
        name = f"{kept_as}-{fold}.npz"
        member = None if work is None else work.load(name, learner.load)
        if member is None:
            training, to_stop = folds.split(fold).training, None
            if settings.stops_early:
                training, to_stop = hold_out_to_stop(dataset.labels, folds.cases.groups, training, settings.seed)
            member = learner.fit(training, to_stop, settings.seed + fold)
            if work is not None:
                work.keep(name, member.save)
        logits[held_out] = member.logits(held_out)
        for name, of_view in viewed.items():
            of_view[held_out] = member.logits(held_out, name)
        members.append(member)
        right = float((logits[held_out].argmax(axis=1) == dataset.labels[held_out]).mean())
        logger.info(
            "Fold %d of %d: %d slices of %d cases held out, accuracy %.4f (%.1f s)",
            fold + 1, len(folds), len(held_out), len(np.unique(folds.cases.groups[held_out])), right,
            time.monotonic() - started,
        )  # fmt: skip
    calibrated = cross_fit(logits, dataset.labels, folds.fold_of)
    temperatures = np.asarray(calibrated.of_folds)[folds.fold_of, np.newaxis]
    probabilities = {name: softmax(of_view / temperatures) for name, of_view in viewed.items()}
    return CrossValidated(tuple(members), logits, calibrated, probabilities)
