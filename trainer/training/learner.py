"""Which way of fitting members the settings ask for."""

import logging
from pathlib import Path

import numpy as np

from trainer.data.cases import Groups
from trainer.data.dataset import Dataset
from trainer.networks.heads import Features
from trainer.settings import FROM_SCRATCH, TrainerSettings
from trainer.training.fine_tuning import FineTuning
from trainer.training.from_scratch import FromScratch
from trainer.training.frozen_features import FrozenFeatures
from trainer.training.members import Learner
from trainer.training.work_folder import WorkFolder

logger = logging.getLogger(__name__)

_FEATURES_FILE = "features.npz"


def make_learner(
    dataset: Dataset, groups: Groups, settings: TrainerSettings, work: WorkFolder | None = None
) -> Learner:
    """From scratch, fine-tuning, or heads on frozen features, which are kept in the work folder if there is one.

    groups: give every slice one of its own where held-out slices may be of seen cases (a split by image). Raises
    WeightsError where pretrained weights are not to be had.
    """
    if settings.network in FROM_SCRATCH:
        return FromScratch(dataset, settings)
    if not settings.is_frozen:
        return FineTuning(dataset, settings)
    if work is None:
        return FrozenFeatures(dataset, groups, settings)
    stored = work.load(_FEATURES_FILE, _read_features)
    learner = FrozenFeatures(dataset, groups, settings, stored)
    if stored is None:
        work.keep(_FEATURES_FILE, learner.save_features)
    return learner


def _read_features(file: Path) -> dict[str, Features]:
    with np.load(file, allow_pickle=False) as stored:
        return dict(stored)
