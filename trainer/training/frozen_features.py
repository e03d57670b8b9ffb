"""Frozen features: a pretrained network as it is, and a head that is fitted in a second."""

from pathlib import Path

import numpy as np

from trainer.data.balance import Indices
from trainer.data.cases import Groups
from trainer.data.dataset import Dataset
from trainer.networks.heads import Features, fit_head
from trainer.networks.pretrained import build_backbone
from trainer.settings import HeadName, TrainerSettings
from trainer.training.features import extract, feature_extractor
from trainer.training.head_choice import choose_head
from trainer.training.members import Member


class FrozenFeatures:
    """Extracts the features of all slices when made; every fit after that takes seconds."""

    def __init__(
        self, dataset: Dataset, groups: Groups, settings: TrainerSettings, features: Features | None = None
    ) -> None:
        """groups: give every slice one of its own where held-out slices may be of seen cases (a split by image).

        features: those that an equal one extracted from the same slices. Raises WeightsError where the network's
        weights are not to be had.
        """
        backbone = build_backbone(settings.network, settings.preprocessing, settings.weights)
        self._network, self._blocks = feature_extractor(backbone)
        self._images = dataset.images
        self._features = extract(self._network, dataset.images) if features is None else features
        self._known = dict(enumerate(self._features))
        self._labels, self._groups = dataset.labels, groups
        self._classes = len(dataset.classes.names)
        self._head: HeadName = settings.head

    def fit(self, training: Indices, validation: Indices | None, seed: int) -> Member:  # noqa: ARG002
        """Fit a head to the training rows, which also decide for one. Nothing is random or stopped early."""
        features, labels, groups = self._features[training], self._labels[training], self._groups[training]
        blocks, classes, name = self._blocks, self._classes, self._head
        if name == "auto":
            name = choose_head(features, labels, groups, blocks=blocks, classes=classes)
        head = fit_head(name, features, labels, groups, blocks=blocks, classes=classes)
        return Member(self._network, head, self._images, self._known, shares_network=True)

    def save_features(self, file: Path) -> None:
        """Write the features to an .npy file, so that a run that was killed need not extract them again."""
        with file.open("wb") as opened:
            np.save(opened, self._features)

    def load(self, file: Path) -> Member:
        """A member that save() wrote. Raises OSError or ValueError where the file is no such member."""
        return Member.load(file, self._network, self._images, known=self._known, shares_network=True)
