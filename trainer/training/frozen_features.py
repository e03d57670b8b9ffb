"""Frozen features: a pretrained network as it is, and a head that is fitted in a second.

Features are computed once and serve any number of heads.
"""

from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from trainer.data.balance import Indices
from trainer.data.cases import Groups
from trainer.data.dataset import AS_IS, Dataset
from trainer.data.views import ACQUIRED
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


def extract(extractor: keras.Model, images: NDArray[np.uint8], what: str = AS_IS) -> Features:
    """float32 [n, D] for uint8 [n, H, W, 1], in the order of the images, showing progress."""
    features = np.empty((len(images), extractor.output_shape[-1]), np.float32)
    for row in with_progress(range(len(images)), len(images), "Features" if what == AS_IS else f"Features, {what}"):
        if row % _BATCH == 0:
            features[row : row + _BATCH] = extractor.predict_on_batch(images[row : row + _BATCH])
    return features


class FrozenFeatures:
    """Extracts the features of all slices when made; every fit after that takes seconds."""

    def __init__(
        self,
        dataset: Dataset,
        groups: Groups,
        settings: TrainerSettings,
        features: Mapping[str, Features] | None = None,
    ) -> None:
        """groups: give every slice one of its own where held-out slices may be of seen cases (a split by image).

        features: those that an equal one extracted from the same slices, and from each view. Raises WeightsError where
        the network's weights are not to be had.
        """
        backbone = build_backbone(settings.network, settings.preprocessing, settings.weights)
        self._network, self._blocks = feature_extractor(backbone)
        self._seen = dataset.seen
        if features is None or set(features) != set(self._seen):
            features = {name: extract(self._network, images, name) for name, images in self._seen.items()}
        self._features = features
        self._known = {(name, row): one for name, of_view in features.items() for row, one in enumerate(of_view)}
        self._labels, self._groups = dataset.labels, groups
        self._classes = len(dataset.classes.names)
        self._head: HeadName = settings.head

    def fit(self, training: Indices, validation: Indices | None, seed: int) -> Member:  # noqa: ARG002
        """Fit a head to the training rows, which also decide for one. Nothing is random or stopped early."""
        features, labels, groups = self._features[AS_IS][training], self._labels[training], self._groups[training]
        views = [of_view[training] for name, of_view in self._features.items() if name == ACQUIRED]
        blocks, classes, name = self._blocks, self._classes, self._head
        if name == "auto":
            name = choose_head(features, labels, groups, blocks=blocks, classes=classes, views=views)
        head = fit_head(name, features, labels, groups, blocks=blocks, classes=classes, views=views)
        return Member(self._network, head, self._seen, self._known, shares_network=True)

    def save_features(self, file: Path) -> None:
        """Write the features to an .npz file, so that a run that was killed need not extract them again."""
        with file.open("wb") as opened:
            np.savez(opened, **dict(self._features))  # type: ignore[arg-type] # its names are no options

    def load(self, file: Path) -> Member:
        """A member that save() wrote. Raises OSError or ValueError where the file is no such member."""
        return Member.load(file, self._network, self._seen, known=self._known, shares_network=True)
