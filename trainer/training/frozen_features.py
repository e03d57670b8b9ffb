"""Frozen features: a pretrained network as it is, and a head that is fitted in a second.

Features are computed once and serve any number of heads.
"""

from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from trainer.data.balance import Indices
from trainer.data.cases import Groups
from trainer.data.dataset import Dataset
from trainer.networks.heads import Features, fit_head
from trainer.networks.pretrained import build_backbone
from trainer.progress import with_progress
from trainer.settings import HeadName, TrainerSettings
from trainer.training.head_choice import choose_head
from trainer.training.members import Member

_BATCH = 8


def feature_extractor(backbone: keras.Model) -> tuple[keras.Model, tuple[int, ...]]:
    """Mean and standard deviation over the area of each feature map of a backbone.

    A model, image uint8 [B, H, W, 1] → features float32 [B, D], and the widths of its blocks, which add up to D: each
    is standardised for itself.
    """
    pooled = []
    for feature_map in backbone.outputs:
        pooled.append(keras.layers.GlobalAveragePooling2D()(feature_map))
        pooled.append(keras.ops.std(feature_map, axis=(1, 2)))
    model = keras.Model(backbone.inputs, keras.ops.concatenate(pooled, axis=1), name="features")
    return model, tuple(block.shape[1] for block in pooled)


def extract(extractor: keras.Model, images: NDArray[np.uint8]) -> Features:
    """float32 [n, D] for uint8 [n, H, W, 1], in the order of the images, showing progress."""
    features = np.empty((len(images), extractor.output_shape[-1]), np.float32)
    for row in with_progress(range(len(images)), len(images), "Features"):
        if row % _BATCH == 0:
            features[row : row + _BATCH] = extractor.predict_on_batch(images[row : row + _BATCH])
    return features


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
