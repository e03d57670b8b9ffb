"""Frozen features: a pretrained network as it is, and a head that is fitted in a second.

Features are computed once and serve any number of heads.
"""

from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np
import openvino as ov
from numpy.typing import NDArray

from trainer.data.balance import Indices
from trainer.data.cases import Groups
from trainer.data.dataset import AS_IS, Dataset
from trainer.data.views import ACQUIRED
from trainer.networks.heads import Features, fit_head
from trainer.networks.openvino_network import compute_features
from trainer.settings import HeadName
from trainer.training.head_choice import choose_head
from trainer.training.members import Member


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


class FrozenFeatures:
    """Heads on given features of all slices and views; every fit takes seconds."""

    def __init__(
        self,
        dataset: Dataset,
        groups: Groups,
        *,
        head: HeadName,
        network: keras.Model,
        blocks: tuple[int, ...],
        features: Mapping[str, Features],
    ) -> None:
        """groups: give every slice one of its own where held-out slices may be of seen cases (a split by image).

        network: slices → features, in blocks of these widths. features: what it says of the slices and of each view.
        """
        self.network, self._blocks, self._features = network, blocks, features
        self._dataset, self._groups, self._head = dataset, groups, head
        self._known = {(name, row): one for name, of_view in features.items() for row, one in enumerate(of_view)}

    def on(self, features: Mapping[str, Features]) -> "FrozenFeatures":
        """The same on what another network says of the same slices and views, in as many numbers.

        Members' networks are the identity, features → features: the other one is no Keras model.
        """
        given = keras.Input((sum(self._blocks),), name="features")
        stand_in = keras.Model([given], keras.layers.Identity()(given), name="features")
        return FrozenFeatures(
            self._dataset, self._groups, head=self._head, network=stand_in, blocks=self._blocks, features=features
        )

    def fit(self, training: Indices, validation: Indices | None, seed: int) -> Member:  # noqa: ARG002
        """Fit a head to the training rows, which also decide for one. Nothing is random or stopped early."""
        labels, groups = self._dataset.labels[training], self._groups[training]
        features = self._features[AS_IS][training]
        views = [of_view[training] for name, of_view in self._features.items() if name == ACQUIRED]
        blocks, classes, name = self._blocks, len(self._dataset.classes.names), self._head
        if name == "auto":
            name = choose_head(features, labels, groups, blocks=blocks, classes=classes, views=views)
        head = fit_head(name, features, labels, groups, blocks=blocks, classes=classes, views=views)
        return Member(self.network, head, self._dataset.seen, self._known, shares_network=True)

    def load(self, file: Path) -> Member:
        """A member that save() wrote. Raises OSError or ValueError where the file is no such member."""
        return Member.load(file, self.network, self._dataset.seen, known=self._known, shares_network=True)


def extract(network: ov.Model, seen: Mapping[str, NDArray[np.uint8]], label: str = "Features") -> dict[str, Features]:
    """Features float32 [n, D] of slices uint8 [n, H, W, 1] as they are, and of each view of them, showing progress."""
    return {
        name: compute_features(network, images, label if name == AS_IS else f"{label}, {name}")
        for name, images in seen.items()
    }
