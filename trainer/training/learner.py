"""Which way of fitting members the settings ask for."""

import logging
from functools import partial
from pathlib import Path

import numpy as np

from trainer.data.cases import Groups
from trainer.data.dataset import Dataset
from trainer.networks.heads import Features
from trainer.networks.openvino_network import to_openvino
from trainer.networks.pretrained import build_backbone
from trainer.settings import FROM_SCRATCH, TrainerSettings
from trainer.training.fine_tuning import FineTuning
from trainer.training.from_scratch import FromScratch
from trainer.training.frozen_features import FrozenFeatures, extract, feature_extractor
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
    backbone = build_backbone(settings.network, settings.preprocessing, settings.weights)
    network, blocks = feature_extractor(backbone)
    features = None if work is None else work.load(_FEATURES_FILE, _read_features)
    if features is None or set(features) != set(dataset.seen):
        features = extract(to_openvino(network), dataset.seen)
        if work is not None:
            work.keep(_FEATURES_FILE, partial(_write_features, features))
    return FrozenFeatures(dataset, groups, head=settings.head, network=network, blocks=blocks, features=features)


def _write_features(features: dict[str, Features], file: Path) -> None:
    with file.open("wb") as opened:
        np.savez(opened, **features)  # type: ignore[arg-type] # its names are no options


def _read_features(file: Path) -> dict[str, Features]:
    with np.load(file, allow_pickle=False) as stored:
        return dict(stored)
